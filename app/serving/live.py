"""The model being served: loaded completely, then swapped as one reference."""

import math
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from app.errors import NotFound, NotReady, OrchardError, StoreTooNew, StoreUnavailable, Unconfirmed
from app.model.linear import LinearModel
from app.serving.entries import Entries
from app.store.card import Card
from app.store.line import LogLine
from app.store.registry import Registry

LEVEL = 0.95
"""The level of intervals when nobody asks for another one."""
KEPT_VERSIONS = 8
"""Versions other than the live one that are kept in memory after someone asked for them."""
LONGEST_NUMBER = 18
MISSED_S, MISSED_OFTEN, KEPT_MISSES = 1.0, 10, 1_000
"""Who asks again and again for a version that is not there is answered from memory for so long, seconds, once so many
looks within that time found none; and of how many versions that is known."""


@dataclass(frozen=True, eq=False, slots=True)
class Served:
    """A version, ready to predict."""

    version: str
    model: LinearModel
    card: Card


class Live:
    """The live version of one process. A request takes one reference, `current`, and answers from that alone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.loaded: Served | None = None
        """The version to answer from, or None."""
        self._line: LogLine | None = None
        """The line that names it."""
        self._is_known = False
        self._last = 0
        """The log's last line, as far as is known; above the one of `_line` where that is passed over as damaged."""
        self._reason = "no model has been trained yet"
        self._damage = ""
        self._shrunk = ""
        self._looked = time.monotonic()
        self.entries = Entries(registry)
        self._others: OrderedDict[str, Served] = OrderedDict()
        self._missed: OrderedDict[str, float] = OrderedDict()
        self._misses: deque[float] = deque(maxlen=MISSED_OFTEN)
        self._lock, self._keeping = threading.Lock(), threading.Lock()

    @property
    def current(self) -> Served:
        """The version to answer from.

        Raises:
            NotReady: no version is live.
        """
        if self.loaded is None:
            raise NotReady(self._reason)
        return self.loaded

    @property
    def last_line(self) -> int | None:
        """The number of the log's last line, 0 for an empty log, None if it could not be looked at so far."""
        return self._last if self._is_known else None

    @property
    def damage(self) -> list[str]:
        """Why the version that was activated last is not the one served, if it is not, and what the log has lost."""
        served = f"version {self.loaded.version} is served instead" if self.loaded is not None else "none is served"
        return [*([f"{self._damage}: {served}"] if self._damage else []), *([self._shrunk] if self._shrunk else [])]

    @property
    def unseen_s(self) -> float:
        """How long ago the log was looked at, seconds."""
        return time.monotonic() - self._looked

    def follow(self, *, thoroughly: bool = False) -> None:
        """Look whether the log has grown, and if so swap to the version that is live now.

        One look for the next line when nothing happened. ``thoroughly``: see what the last line is, since the log may
        have lost lines or have others, and whether the version is still there.

        Raises:
            StoreUnavailable: the log cannot be looked at; what was served is served on.
        """
        with self._lock:
            try:
                if thoroughly or self.loaded is None or self._registry.has_line(self._last + 1):
                    self._look(thoroughly=thoroughly)
                    self._is_known = True
            except StoreUnavailable as error:
                self._reason = error.detail
                raise
            self._looked = time.monotonic()

    def _look(self, *, thoroughly: bool) -> None:
        last = self._registry.last_number() if thoroughly or not self._last else self._registry.last_after(self._last)
        if last == self._last and self._is_as_it_was():
            return
        if last < self._last:
            self._shrunk = f"the log has lost lines: it ended with line {self._last}, and now with line {last}"
        try:
            line, version, damage = self._registry.live(last)
        except (NotReady, StoreTooNew) as error:
            self._reason = self._damage = error.detail
            self._last = last
            return
        self._damage = damage
        version.model.prepare(LEVEL)
        self.published(line.version)
        if self.loaded is None or line != self._line:
            self.loaded = Served(line.version, version.model, version.card)
        self._line, self._last = line, last

    def _is_as_it_was(self) -> bool:
        if self._line is None or self._line.number != self._last or self._damage:
            return False
        try:
            return self._registry.line(self._last) == self._line and self._registry.has_version(self._line.version)
        except OrchardError:
            return False

    def confirm(self, version: str) -> None:
        """Follow the log to the end, after this process has made a version live.

        Raises:
            Unconfirmed: neither that version nor one that was made live after it is what this process serves.
        """
        detail = ""
        try:
            self.follow(thoroughly=True)
        except OrchardError as error:
            detail = error.detail
        served = self.loaded
        if detail or self._damage or served is None:
            kept = "no version" if served is None else f"version {served.version}"
            raise Unconfirmed(
                f"version {version} is in the log as live, and this process serves {kept}: {detail or self._damage}"
            )

    def held(self, number: str) -> Served | None:
        """Return a version that is in memory, None for any other: reading one may take long."""
        loaded = self.loaded
        if loaded is not None and loaded.version == number:
            return loaded
        with self._keeping:  # and not the lock that `follow` holds for as long as it looks at the store
            if number in self._others:
                self._others.move_to_end(number)
            return self._others.get(number)

    def version(self, number: str) -> Served:
        """Return any stored version; one that is not in memory is read.

        Raises:
            NotFound, StoreDamaged: there is no such version, or its file is damaged.
        """
        if (held := self.held(number)) is not None:
            return held
        self._refuse_missed(number)
        try:
            version = self._registry.read(number)
        except NotFound:
            self._miss(number)
            raise
        served = Served(number, version.model, version.card)
        with self._keeping:
            self._missed.pop(number, None)
            self._others[number] = served
            while len(self._others) > KEPT_VERSIONS:
                self._others.popitem(last=False)
        return served

    def _refuse_missed(self, number: str) -> None:
        """Say from memory that there is no such version, where too many looks have just found none."""
        now = time.monotonic()
        with self._keeping:
            is_often = len(self._misses) == MISSED_OFTEN and now - self._misses[0] < MISSED_S
            if is_often and now - self._missed.get(number, -math.inf) < MISSED_S:
                raise NotFound(f"there is no version {number}")

    def published(self, number: str) -> None:
        """Know that there is a version now, whatever looks have found before."""
        with self._keeping:
            self._missed.pop(number, None)

    def _miss(self, number: str) -> None:
        if len(number) > LONGEST_NUMBER:  # it is none, for which no store is looked at
            return
        now = time.monotonic()
        with self._keeping:
            self._misses.append(now)
            self._missed[number] = now
            self._missed.move_to_end(number)
            while len(self._missed) > KEPT_MISSES:
                self._missed.popitem(last=False)
