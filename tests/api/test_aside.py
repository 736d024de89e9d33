"""The process aside, without a server."""

import asyncio
import time

import pytest

from app.api.aside import Aside
from app.errors import AnsweringFailed
from tests.running import sleep


def test_work_that_does_not_end_is_given_up() -> None:
    """After its patience the process is killed, the call is an error, and the next one has a new process."""

    async def call() -> None:
        aside = Aside(patience_s=2.0)
        try:
            with pytest.raises(AnsweringFailed):
                await aside.call(sleep, b"60")
            file, word = await aside.call(sleep, b"0")
            assert (file.read(0, 1), word) == (b"0", "slept")
            file.close()
        finally:
            await aside.close()

    began = time.monotonic()
    asyncio.run(call())
    assert time.monotonic() - began < 30
