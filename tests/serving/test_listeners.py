"""Those who listen: each hears all in order, nobody waits for another, and who falls behind is let go."""

import asyncio

import pytest

from app.errors import Overloaded
from app.serving.listeners import MOST_WAITING, Listeners
from app.serving.news import Event


def _event(line: int) -> Event:
    return Event("activated", line, {"version": "1", "who": "anna", "note": ""})


def test_each_hears_what_happens_while_it_listens() -> None:
    """From the line on at which it began; nothing from before, and nothing after it has left."""

    async def listen() -> None:
        listeners = Listeners(2)
        listeners.tell([_event(1)], 1)
        with listeners.joined() as first:
            listeners.tell([_event(2)], 2)
            with listeners.joined() as second:
                assert (first.line, second.line, len(listeners)) == (1, 2, 2)
                listeners.tell([_event(3), _event(4)], 4)
                assert [event.line for event in await first.heard(60)] == [2, 3, 4]
                assert [event.line for event in await second.heard(60)] == [3, 4]
                assert await first.heard(0) == []
            assert len(listeners) == 1
            listeners.tell([_event(5)], 5)
            assert await second.heard(0) == []

    asyncio.run(listen())


def test_what_happens_wakes_who_waits() -> None:
    """At once, not when the time is over."""

    async def listen() -> list[Event]:
        listeners = Listeners(1)
        with listeners.joined() as listener:
            waiting = asyncio.create_task(listener.heard(3_600))
            await asyncio.sleep(0)
            listeners.tell([_event(1)], 1)
            return await waiting

    assert asyncio.run(listen()) == [_event(1)]


def test_who_does_not_listen_is_let_go() -> None:
    """As many as may wait are kept for it, in their order; then it is over, whatever comes, and others hear on."""

    async def listen() -> None:
        listeners = Listeners(2)
        with listeners.joined() as slow, listeners.joined() as quick:
            for line in range(1, MOST_WAITING + 3):
                listeners.tell([_event(line)], line)
                assert [event.line for event in await quick.heard(60)] == [line]
                assert slow.is_over == (line > MOST_WAITING)
            heard = await slow.heard(60)
            assert [event.line for event in heard] == list(range(1, MOST_WAITING + 1))
            assert not quick.is_over

    asyncio.run(listen())


def test_there_are_not_more_than_may_be() -> None:
    """The next one is told so, and may come when another one has left; with a limit of 0 nobody may."""
    listeners = Listeners(1)
    with listeners.joined(), pytest.raises(Overloaded, match="1 clients listen to events"), listeners.joined():
        pass
    with listeners.joined():
        assert len(listeners) == 1
    with pytest.raises(Overloaded), Listeners(0).joined():
        pass


def test_at_the_end_all_are_let_go() -> None:
    """Also who waits, and who comes then."""

    async def listen() -> None:
        listeners = Listeners(2)
        with listeners.joined() as waits:
            waiting = asyncio.create_task(waits.heard(3_600))
            await asyncio.sleep(0)
            listeners.close()
            assert (await waiting, waits.is_over) == ([], True)
            with listeners.joined() as late:
                assert late.is_over

    asyncio.run(listen())
