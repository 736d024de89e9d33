"""The connections of a process: what they share, and the clock that they go by.

It knows no server: under one whose protocol is not `app.api.door.Door`, there are none here.
"""

import asyncio
import logging
from typing import Any, Protocol

from app.api.express import Express

TICK_S = 1.0
"""How often the clocks of all connections are looked at, seconds."""
MOST_HEADS = 256
"""Different heads of plain requests that are known again; a client sends the same one every time."""
A_TURN = 512
"""Answers of the lane in one turn of the event loop. libuv goes on with whoever has sent something for up to 48 times
1 024 connections; without this, a new connection among thousands of busy ones would have its turn a second later."""
LONGEST_HEAD = 2_048
"""Bytes of a head that is known again."""

logger = logging.getLogger("orchard")


class Connection(Protocol):
    """What has clocks."""

    def look(self) -> None:
        """See whether one has run out."""


class Doors:
    """All connections of a process, and the clock that they go by."""

    def __init__(self, lane: Express, keep_alive_s: float) -> None:
        self.lane = lane
        self.open: set[Connection] = set()
        self.tick = 0
        self.keep_alive_ticks = max(1, round(keep_alive_s / TICK_S))
        self.heads: dict[bytes, int] = {}
        """Heads of plain requests, byte by byte, and the length of the body behind each."""

        self.answered = 0
        """Answers of the lane in this turn of the event loop, or in a few turns where they are few."""

    def count(self, answers: int) -> None:
        """Count answers of the lane."""
        before, self.answered = self.answered, self.answered + answers
        if before < A_TURN // 2 <= self.answered:
            asyncio.get_running_loop().call_soon(self._next_turn)

    @property
    def is_others_turn(self) -> bool:
        """Whether the lane has answered enough for one turn."""
        return self.answered >= A_TURN

    def _next_turn(self) -> None:
        self.answered = 0

    def remember(self, head: bytes, length: int) -> None:
        """Know a head again."""
        if len(head) <= LONGEST_HEAD:
            if len(self.heads) >= MOST_HEADS:
                self.heads.clear()
            self.heads[head] = length

    async def watch(self) -> None:
        """Look at all clocks, for as long as the service runs."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick += 1
            for connection in list(self.open):
                try:
                    connection.look()
                except Exception:
                    # The clocks of all others go on.
                    self.open.discard(connection)
                    logger.exception("the clocks of a connection cannot be looked at")


def doors_of(app: Any) -> Doors | None:
    """Return those of an application, whatever is wrapped around it; None of another one."""
    while app is not None and not hasattr(app, "doors"):
        app = getattr(app, "app", None)
    return getattr(app, "doors", None)
