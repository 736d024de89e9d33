"""A few threads for work that waits for something else, such as the database, and a limit on what waits for them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.errors import Overloaded

Result = TypeVar("Result")


class Pool:
    """Threads of their own: what they wait for stops nothing but its own kind of work."""

    def __init__(self, name: str, threads: int, most: int, patience_s: float) -> None:
        """``most``: calls that are at work or wait. ``patience_s``: how long a call may wait for a thread, seconds."""
        self._name = name
        self._threads = ThreadPoolExecutor(threads, name)
        self._most = most
        self._patience_s = patience_s
        self._calls = 0

    async def run(self, work: Callable[..., Result], *more: object) -> Result:
        """Return what ``work(*more)`` returns, done in one of the threads.

        Raises:
            Overloaded: too many calls wait already, or this one has waited for too long; nothing was done.
            OrchardError: whatever the work raises.
        """
        if self._calls >= self._most:
            raise self._full()
        self._calls += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._begun, time.monotonic(), work, more)
        finally:
            self._calls -= 1

    def _begun(self, since: float, work: Callable[..., Result], more: tuple[object, ...]) -> Result:
        if time.monotonic() - since > self._patience_s:
            raise self._full()
        return work(*more)

    def _full(self) -> Overloaded:
        return Overloaded(f"too many calls wait for the {self._name}: nothing was done; try again in a second")

    def close(self) -> None:
        """Let the threads end when they have nothing to do any more."""
        self._threads.shutdown(wait=False)
