"""The helper process, without a server."""

import asyncio
import os
import sys
import time
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from app.api.helper import LARGE, Helper, Turns
from app.data.quick_csv import FROM_BYTES
from app.errors import HelperFailed, TooLarge
from app.model.moments import Moments
from app.serving.drift import Usage
from app.wire.parts import take
from tests.running import hoard, sleep, usage, variables, where

pytestmark = pytest.mark.measured


@pytest.mark.long
def test_work_that_does_not_end_is_given_up() -> None:
    """After its patience the process is killed, the call is an error, and the next one has a new process."""

    async def call() -> None:
        helper = Helper(patience_s=6.0)  # more than a start takes on a busy machine
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


@pytest.mark.parametrize("reads_store", [False, True])
def test_it_inherits_no_settings(monkeypatch: pytest.MonkeyPatch, reads_store: bool) -> None:
    """Tokens are not where hostile bodies are parsed, nor are keys; the latter are where the store is read."""
    secrets = ("ORCHARD_TOKEN", "ORCHARD_READ_TOKEN", "ORCHARD_DATABASE_URL")
    keys = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY")
    for name in (*secrets, *keys):
        monkeypatch.setenv(name, "secret")

    async def call() -> list[str]:
        helper = Helper(reads_store=reads_store)
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
    assert set(keys) & set(names) == (set(keys) if reads_store else set())


def test_short_bodies_are_worked_on_here() -> None:
    """Longer ones, and short ones for many crops, in the helper process; in a thread what can be, if it will."""

    async def call() -> None:
        helper, asker = Helper(), Request({"type": "http"}, _silence)

        async def place(size: int, **more: Any) -> int:
            content, process = await helper.run(where, b" " * size, asker=asker, **more)
            take(content)
            found: int = process
            return found

        try:
            assert await place(LARGE - 1) == os.getpid()
            assert await place(LARGE) != os.getpid()
            assert await place(LARGE - 1, crops=100) != os.getpid()
            assert await place(LARGE, in_thread=where) == os.getpid()
            assert await place(LARGE, in_thread=lambda _body: None) != os.getpid()
        finally:
            await helper.close()

    asyncio.run(call())


async def _silence() -> Any:
    await asyncio.Event().wait()


def test_csv_by_arrow_is_for_the_helper_process() -> None:
    """What is short enough for the serving process is parsed without pyarrow, which would take it 50 MB."""
    assert FROM_BYTES >= LARGE


def test_weather_crosses_as_its_moments() -> None:
    """However many regions were asked about, little has to cross; the counts are the same."""

    async def call() -> Usage:
        helper = Helper()
        try:
            file, found = await helper.call(usage, b"1000")
            file.close()
            assert isinstance(found, Usage)
            return found
        finally:
            await helper.close()

    found = asyncio.run(call())
    assert isinstance(found.weather, Moments)
    assert (found.weather.count, found.regions, found.extrapolated) == (1000, 1000, 7)
    assert found.weather.mean.tolist() == pytest.approx([499.5] * 3)


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
