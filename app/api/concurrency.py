"""How much is at work: requests over the limit are turned away at once.

Large bodies have a limit of their own, on the bytes of them all; so have large answers, which are held while their
clients do not read them.
"""

import asyncio
import contextlib
import time

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.helper import LARGE
from app.errors import BodyTimeout, Overloaded

KEPT_FREE = 8
"""This share of the bytes that bodies may have together, one in eight, is kept for bodies that fit into it."""
MOST_ANSWER_BYTES = 512 * 2**20
"""Twice the longest answer (`app.wire.parts.LONGEST`)."""
POLL_S = 0.01
HELD = "held"
"""In a request's scope: how many bytes it holds of those that bodies may have."""


class Concurrency:
    """The requests of one process that are being answered.

    ``most_bytes``: those of all large bodies, from their arrival until their answers begin. ``most_answer_bytes``:
    those of all large answers, until their clients have taken them.
    """

    def __init__(
        self,
        limit: int,
        body_timeout_s: float,
        most_bytes: int = 64 * 2**20,
        most_answer_bytes: int = MOST_ANSWER_BYTES,
    ) -> None:
        self.limit = limit
        self.most_bytes = most_bytes
        self.most_answer_bytes = most_answer_bytes
        self.answering = 0
        """Bytes of large answers that are being sent."""
        self.held = 0
        """Bytes of large bodies that are there."""
        self._timeout_s = body_timeout_s
        self.at_work = 0
        self.stopping_since: float | None = None
        """When the service was told to stop, seconds of the monotonic clock."""

    @property
    def is_full(self) -> bool:
        """Whether the next request is one too many."""
        return self.at_work >= self.limit

    def check_room(self, scope: Scope, size: int) -> None:
        """Check that a body of ``size`` bytes fits beside the others; one alone always does.

        Raises:
            Overloaded: it does not, or would leave no room for short ones.
        """
        others = self.held - scope.get(HELD, 0)
        free = 0 if size <= self.most_bytes // KEPT_FREE else self.most_bytes // KEPT_FREE
        if size >= LARGE and others and others + size > self.most_bytes - free:
            raise Overloaded(
                f"bodies of {others} bytes are being worked on, and {size} more are over the limit of "
                f"{self.most_bytes - free}: try again in a second, or send smaller ones"
            )

    def hold(self, scope: Scope, size: int) -> None:
        """Record that a request's body has ``size`` bytes by now.

        Raises:
            Overloaded: they do not fit beside those of others.
        """
        self.check_room(scope, size)
        if size >= LARGE:
            self.held += size - scope.get(HELD, 0)
            scope[HELD] = size

    def let_go(self, scope: Scope) -> None:
        """Record that a request's body has been worked on, or is given up."""
        self.held -= scope.pop(HELD, 0)

    def check_answer(self, size: int) -> None:
        """Check that an answer of ``size`` bytes may be held beside those that are being sent; one alone always may.

        Raises:
            Overloaded: it may not.
        """
        if self.answering and self.answering + size > self.most_answer_bytes:
            raise Overloaded(
                f"answers of {self.answering} bytes are being sent, and {size} more are over the limit of "
                f"{self.most_answer_bytes}: try again in a second, or ask for fewer regions"
            )

    def stop(self) -> None:
        """Be not ready from now on; what comes all the same is answered."""
        self.stopping_since = self.stopping_since or time.monotonic()

    async def answered(self, within_s: float) -> None:
        """Wait, at most so long, until every request has its answer: those that were broken off are told why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.at_work:  # noqa: ASYNC110 - waited for once, at the end; requests would pay for an event
                    await asyncio.sleep(POLL_S)

    def too_slow(self) -> BodyTimeout:
        """Return the error for a body that did not come in time."""
        return BodyTimeout(f"the body did not arrive within {self._timeout_s:g} s")


class ConcurrencyLimit:
    """Turns requests over the limit away, and counts the bodies of the others no longer than they are worked on."""

    def __init__(self, app: ASGIApp, exempt: frozenset[str]) -> None:
        """``exempt``: paths that are answered even then."""
        self._app = app
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it is one too many."""
        if scope["type"] != "http" or scope["path"].rstrip("/") in self._exempt:
            await self._app(scope, receive, send)
            return
        concurrency: Concurrency = scope["app"].state.services.concurrency
        if concurrency.is_full:
            problem = problems.response(Request(scope), Overloaded("too many requests at once: try again in a second"))
            await problem(scope, receive, send)
            return

        async def answering(message: Message) -> None:
            concurrency.let_go(scope)
            await send(message)

        concurrency.at_work += 1
        try:
            await self._app(scope, receive, answering)
        finally:
            concurrency.let_go(scope)
            concurrency.at_work -= 1
