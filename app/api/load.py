"""How much is at work: requests over the limit are turned away at once, bodies that trickle in not waited for."""

import asyncio
import time
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.errors import BodyTimeout, Overloaded

OPEN = ("/health/", "/v2/health/", "/metrics")
"""What is answered even then."""


class Load:
    """The requests of one process that are being answered, and those whose body is still coming."""

    def __init__(self, limit: int, body_timeout_s: float) -> None:
        self.limit = limit
        self._timeout_s = body_timeout_s
        self.at_work = 0
        self.waiting: dict[asyncio.Task[Any] | None, int] = {}
        """Tasks of the express lane that wait for a body, each with the tick at which it began."""
        self.tick = 0
        self.stopping_since: float | None = None
        """When the service was told to stop, seconds of the monotonic clock."""

    @property
    def is_full(self) -> bool:
        """Whether the next request is one too many."""
        return self.at_work + len(self.waiting) >= self.limit

    def stop(self) -> None:
        """Be not ready from now on; what comes all the same is answered."""
        self.stopping_since = self.stopping_since or time.monotonic()

    def too_slow(self) -> BodyTimeout:
        """Return the error for a body that did not come in time."""
        return BodyTimeout(f"the body did not arrive within {self._timeout_s:g} s")

    async def watch(self) -> None:
        """Cancel, for as long as the service runs, those that have waited too long: cheaper than a timer for each."""
        step = self._timeout_s / 4
        while True:
            await asyncio.sleep(step)
            self.tick += 1
            for task, since in list(self.waiting.items()):
                if task is not None and self.tick - since > 4:  # noqa: PLR2004 - quarters of the time they have
                    del self.waiting[task]
                    task.cancel()


class Limited:
    """Turns requests over the limit away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it is one too many."""
        if scope["type"] != "http" or scope["path"].startswith(OPEN):
            await self._app(scope, receive, send)
            return
        load: Load = scope["app"].state.services.load
        if load.is_full:
            problem = problems.response(Request(scope), Overloaded("too many requests at once: try again in a second"))
            await problem(scope, receive, send)
            return
        load.at_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            load.at_work -= 1
