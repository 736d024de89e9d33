"""Those who listen to what happens: each has a queue with an end to it, and is let go when it falls behind."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from app.errors import Overloaded
from app.serving.news import Event

MOST_WAITING = 64
"""Events that may wait for one who listens: a few hundred bytes each, and there are few in a day."""


class Listener:
    """One who listens. All of it is for the thread of the event loop."""

    def __init__(self, line: int) -> None:
        self.line = line
        """The log's last line when it began: of later ones it is told."""
        self.is_over = False
        """Whether it hears nothing more, but what waits for it."""
        self._waiting: list[Event] = []
        self._woken = asyncio.Event()

    def tell(self, events: Sequence[Event]) -> None:
        """Let events wait for it; if they are too many, it is over, and what waited before is the last it hears."""
        if len(self._waiting) + len(events) > MOST_WAITING:
            self.end()
        else:
            self._waiting += events
            self._woken.set()

    def end(self) -> None:
        """Tell it nothing more."""
        self.is_over = True
        self._woken.set()

    async def heard(self, within_s: float) -> list[Event]:
        """Wait for events, at most so long, and return them; none also where it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._woken.wait()
        self._woken.clear()
        heard, self._waiting = self._waiting, []
        return heard


class Listeners:
    """All who listen to one process, ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._present: set[Listener] = set()
        self._line = 0
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._present)

    @contextlib.contextmanager
    def joined(self) -> Iterator[Listener]:
        """Let another one listen until the end of the block.

        Raises:
            Overloaded: there are as many as may be.
        """
        if len(self._present) >= self._most:
            raise Overloaded(
                f"{len(self._present)} clients listen to events here, and more are over the limit "
                "(ORCHARD_MAX_LISTENERS): try again later, or ask /models/log"
            )
        listener = Listener(self._line)
        if self._is_closed:
            listener.end()
        self._present.add(listener)
        try:
            yield listener
        finally:
            self._present.discard(listener)

    def tell(self, events: Sequence[Event], line: int) -> None:
        """Tell all of what has happened up to a line of the log."""
        self._line = line
        if events:
            for listener in self._present:
                listener.tell(events)

    def close(self) -> None:
        """Let all go, and whoever comes as soon as it has what it missed: the process ends."""
        self._is_closed = True
        for listener in self._present:
            listener.end()
