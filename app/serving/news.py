"""What is new in the store since it was last looked at: versions that were trained or made live; drift.

Every process looks for itself, in the loop in which it follows the log, so that those who listen to one hear what was
done in another, by a second server, or by a command.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.errors import NotFound, OrchardError, StoreDamaged, StoreTooNew, StoreUnavailable
from app.serving.drift import AskedWeather, drift
from app.serving.live import Live
from app.store.line import LogLine
from app.store.registry import Registry

COMPARED_EVERY_S = 60.0
"""How often the weather asked about is compared with that of training, at most, seconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened. ``line``: the log's line that it is, or the last one before it."""

    name: Literal["activated", "trained", "drift"]
    line: int
    told: dict[str, str | float | bool | None]

    @classmethod
    def of(cls, line: LogLine) -> "Event":
        """Return the activation that a line of the log is."""
        return cls("activated", line.number, {"version": line.version, "who": line.who, "note": line.why})


def lines(registry: Registry, first: int, last: int) -> Iterator[LogLine]:
    """Yield those lines of the log, without any that is damaged or missing.

    Raises:
        StoreUnavailable: the log cannot be read.
    """
    for number in range(first, last + 1):
        try:
            yield registry.line(number)
        except (NotFound, StoreDamaged, StoreTooNew):
            continue


class News:
    """What has happened in a store, each thing once. `look` is for one thread alone."""

    def __init__(
        self, registry: Registry, live: Live, asked: AskedWeather, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.line = 0
        """The log's last line of which was told."""
        self._registry = registry
        self._live = live
        self._asked = asked
        self._clock = clock
        self._has_looked = False
        self._newest: int | None = None
        """The number of the newest version that was seen; None before the first look, and while looks are spared."""
        self._seen: list[str] = []
        """Versions that the last look has found, and that no line names so far."""
        self._compared: float | None = None
        self._is_different = False

    def look(self, *, is_listening: bool) -> list[Event]:
        """Return what has happened since the last look, in its order; nothing at the first one.

        A version is told of as trained when a line of the log names it, or at the second look that finds it: what is
        not committed by then is rarely taken back. ``is_listening``: whether anybody wants to hear of drift.

        Raises:
            StoreUnavailable: the store cannot be read; the next look returns what this one would have.
        """
        last = self._live.last_line
        if last is None:
            return []
        if not self._has_looked:
            self._has_looked, self.line = True, last
            self._newest = None if self._is_spared(is_listening=is_listening) else self._registry.newest()
            return []
        if self._is_spared(is_listening=is_listening):
            self._newest, self._seen, self.line = None, [], last
            return []
        if self._newest is None:  # somebody listens again
            self._newest = self._registry.newest()
        added = list(lines(self._registry, self.line + 1, last))
        named = {line.version for line in added}
        found = list(self._registry.given_after(self._newest))
        new = [str(number) for number in found]
        events = [
            *self._trained([*self._seen, *(version for version in new if version in named)]),
            *map(Event.of, added),
            *(self._drift(last) if is_listening else ()),
        ]
        self._newest = max(found, default=self._newest)
        self._seen = [version for version in new if version not in named]
        self.line = last
        return events

    def _is_spared(self, *, is_listening: bool) -> bool:
        """Say whether looks at versions are spared: in object storage they are paid for, and nobody would hear."""
        return self._registry.is_remote and not is_listening

    def _trained(self, versions: Iterable[str]) -> Iterator[Event]:
        for version in versions:
            decision: str | None = None
            try:
                decision = self._live.entries.of(version).decision
            except NotFound:  # it was taken back
                continue
            except StoreUnavailable:
                raise
            except OrchardError:
                """It cannot be read; that it was trained is true all the same."""
            yield Event("trained", self.line, {"version": version, "decision": decision})

    def _drift(self, line: int) -> Iterator[Event]:
        """Yield an event where the weather asked about has become different from that of training, or no longer is."""
        now, served = self._clock(), self._live.loaded
        if served is None or (self._compared is not None and now - self._compared < COMPARED_EVERY_S):
            return
        self._compared = now
        found = drift(self._asked.lately(), served.model.widest_spread)
        if bool(found.reasons) != self._is_different:
            self._is_different = bool(found.reasons)
            yield Event("drift", line, {"distance": found.distance, "different": self._is_different})
