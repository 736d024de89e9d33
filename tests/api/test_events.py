"""A stream, without a server: comments while nothing happens, and an end when the token or the store is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.api import events
from app.api.tokens import Tokens
from app.serving.listeners import Listeners
from app.serving.news import Event
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry
from tests.running import copy_store

READS = "a-token-for-reading-only"
HAPPENED = Event("activated", 2, {"version": "1", "who": "anna", "note": "x"})


class Services(SimpleNamespace):
    """What a stream asks of the services."""

    tokens: Tokens
    listeners: Listeners
    registry: Registry

    async def in_store(self, work: Callable[..., Any], *more: object) -> Any:
        """Return what some work returns that waits for the store."""
        return await asyncio.to_thread(work, *more)


@pytest.fixture
def services(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Return those of a store that nobody reads without a token; comments come at once."""
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.0)
    settings = Settings(model_store=copy_store(trained, tmp_path / "store"), read_token=READS)  # type: ignore[arg-type]
    return Services(tokens=Tokens(settings), listeners=Listeners(9), registry=Registry(open_store(settings)))


def _stream(services: Any, listener: Any, token: str, since: int | None = None) -> AsyncIterator[bytes]:
    return events._stream(services, listener, token, since)  # noqa: SLF001 - what the route answers with


def test_comments_come_while_nothing_happens(services: Services) -> None:
    """Then what has happened, then comments again."""

    async def listen() -> None:
        with services.listeners.joined() as listener:
            stream = _stream(services, listener, READS)
            assert [await anext(stream) for _ in range(3)] == [b"retry: 2000\nid: 0\n\n", *[b": still here\n\n"] * 2]
            services.listeners.tell([HAPPENED, HAPPENED], 2)
            one = b'event: activated\nid: 2\ndata: {"version":"1","who":"anna","note":"x"}\n\n'
            assert await anext(stream) == one * 2
            assert await anext(stream) == b": still here\n\n"
            services.listeners.close()
            assert [chunk async for chunk in stream] == []

    asyncio.run(listen())


def test_a_token_that_is_taken_away_ends_the_stream(services: Services) -> None:
    """Tokens come and go without a restart, also for those who listen already."""

    async def listen() -> None:
        (file,) = [
            path for path in (Path(services.registry.location("1")).parents[1]).iterdir() if path.name == "token"
        ]
        file.write_text("anna a-token-of-annas-own\n")
        with services.listeners.joined() as listener:
            stream = _stream(services, listener, "a-token-of-annas-own")
            for _ in range(3):
                await anext(stream)
            file.write_text("ben another-token-of-bens\n")
            assert [chunk async for chunk in stream] == []

    asyncio.run(listen())


def test_a_log_that_cannot_be_read_ends_the_stream(services: Services) -> None:
    """Its client comes again, from where it was."""

    async def listen() -> list[bytes]:
        services.listeners.tell([], 1)
        with services.listeners.joined() as listener:
            log = Path(services.registry.location("1")).parents[1] / "log"
            (log / "1.json").unlink()
            (log / "1.json").symlink_to("1.json")
            return [chunk async for chunk in _stream(services, listener, READS, 0)]

    assert asyncio.run(listen()) == [b"retry: 2000\n\n"]


def test_who_was_told_by_a_quicker_worker_hears_nothing_twice(services: Services) -> None:
    """Its last line is in the log, though this worker has not told of it so far; one that is not there is none."""

    async def listen(since: int) -> list[bytes]:
        with services.listeners.joined() as listener:
            stream = _stream(services, listener, READS, since)
            first = await anext(stream)
            services.listeners.tell([HAPPENED], 2)
            return [first, await anext(stream)]

    services.registry.activate("1", "anna", "x")
    one = b'event: activated\nid: 2\ndata: {"version":"1","who":"anna","note":"x"}\n\n'
    assert asyncio.run(listen(2)) == [b"retry: 2000\n\n", b": still here\n\n"]
    services.listeners = Listeners(9)
    assert asyncio.run(listen(3)) == [b"retry: 2000\nid: 0\n\n", one]
