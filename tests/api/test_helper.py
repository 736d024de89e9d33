"""The process aside, without a server."""

import asyncio
import sys
import time
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from app.api.helper import Helper, Turns
from app.errors import HelperFailed, TooLarge
from tests.running import hoard, sleep, variables


def test_work_that_does_not_end_is_given_up() -> None:
    """After its patience the process is killed, the call is an error, and the next one has a new process."""

    async def call() -> None:
        helper = Helper(patience_s=2.0)
        try:
            with pytest.raises(HelperFailed):
                await helper.call(sleep, b"60")
            file, word = await helper.call(sleep, b"0")
            assert (file.read(0, 1), word) == (b"0", "slept")
            file.close()
        finally:
            await helper.close()

    began = time.monotonic()
    asyncio.run(call())
    assert time.monotonic() - began < 30


def test_what_takes_too_much_memory_is_refused() -> None:
    """The process has a limit: beyond it the call is an error that says what to do, and the next one is answered."""

    async def call() -> None:
        helper = Helper(2**20)
        try:
            with pytest.raises(TooLarge, match="10 bytes takes more than 304 MB to work on: send it in parts"):
                await helper.call(hoard, b"1000000000")
            file, size = await helper.call(hoard, b"100000000")
            assert size == 100_000_000
            file.close()
        finally:
            await helper.close()

    asyncio.run(call())


def test_an_answer_has_a_longest_length() -> None:
    """Of 256 MB: what is more is refused where it was made."""

    async def call() -> None:
        helper = Helper()
        try:
            with pytest.raises(TooLarge, match="the answer would have 300000000 bytes, the limit is 268435456"):
                await helper.call(hoard, b"300000000", True)
        finally:
            await helper.close()

    asyncio.run(call())


def test_a_process_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said to whoever asked; the next call tries again."""

    async def call() -> None:
        helper = Helper()
        try:
            with monkeypatch.context() as without:
                without.setattr(sys, "executable", "/nowhere/python")
                with pytest.raises(HelperFailed, match="could not be started \\(No such file or directory\\)"):
                    await helper.call(sleep, b"0")
            file, _ = await helper.call(sleep, b"0")
            file.close()
        finally:
            await helper.close()

    asyncio.run(call())


def test_it_inherits_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are not where hostile bodies are parsed."""
    for name in ("ORCHARD_TOKEN", "ORCHARD_READ_TOKEN", "ORCHARD_DATABASE_URL"):
        monkeypatch.setenv(name, "secret")

    async def call() -> list[str]:
        helper = Helper()
        try:
            file, names = await helper.call(variables, b"")
            file.close()
            found: list[str] = names
            return found
        finally:
            await helper.close()

    names = asyncio.run(call())
    assert "PATH" in names
    assert [name for name in names if name.startswith("ORCHARD_")] == []


def _order(*sizes: int, later: tuple[int, ...] = ()) -> list[int]:
    """Return in which order bodies have their turn that come while a first one is worked on, others after that one."""

    async def order() -> list[int]:
        turns, served = Turns(), list[int]()

        async def work(size: int) -> None:
            async with turns.turn(size):
                served.append(size)
                await asyncio.sleep(0)

        async with turns.turn(1):
            waiting = [asyncio.create_task(work(size)) for size in sizes]
            await asyncio.sleep(0)
        for size in later:
            waiting.append(asyncio.create_task(work(size)))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        return served

    return asyncio.run(order())


def test_shorter_bodies_come_first() -> None:
    """Among equals the first to come."""
    assert _order(30, 2, 30, 1) == [1, 2, 30, 30]


def test_nobody_waits_for_ever() -> None:
    """A long body is overtaken by no more bytes than it has itself."""
    served = _order(30, later=(10,) * 9)
    assert served.index(30) <= 3


def test_who_has_left_has_no_turn() -> None:
    """A request whose client goes while it waits is given up at once, and the next one has its turn."""

    async def leave() -> None:
        turns, gone = Turns(), asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def wait(asker: Request | None) -> str:
            async with turns.turn(5, asker):
                return "served"

        async with turns.turn(1):
            leaving = asyncio.create_task(wait(Request({"type": "http"}, receive)))
            staying = asyncio.create_task(wait(None))
            cancelled = asyncio.create_task(wait(None))
            await asyncio.sleep(0)
            gone.set()
            cancelled.cancel()
            with pytest.raises(ClientDisconnect):
                await leaving
            assert not staying.done()
        assert await staying == "served"
        assert await wait(None) == "served"

    asyncio.run(leave())
