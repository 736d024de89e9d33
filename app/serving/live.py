"""The model being served: loaded completely, then swapped as one reference."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from app.errors import NotReady, OrchardError, StoreTooNew, StoreUnavailable, Unconfirmed
from app.model.linear import LinearModel
from app.serving.entries import Entries
from app.store.card import Card
from app.store.line import LogLine
from app.store.registry import Registry

LEVEL = 0.95
"""The level of intervals when nobody asks for another one."""
KEPT_VERSIONS = 8
"""Versions other than the live one that are kept in memory after someone asked for them."""


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
        self._lock = threading.Lock()

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

        One ``stat`` when nothing happened. ``thoroughly``: list the log, which may have lost lines or have others, and
        see whether the version is still there.

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
        last = self._registry.last_number() if thoroughly or not self._last else self._gallop()
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
        if self.loaded is None or line != self._line:
            self.loaded = Served(line.version, version.model, version.card)
        self._line, self._last = line, last

    def _gallop(self) -> int:
        """Look on from the last line known: listing the log would take the longer, the longer it is."""
        last = self._last
        while self._registry.has_line(last + 1):
            last += 1
        return last

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

    def version(self, number: str) -> Served:
        """Return any stored version.

        Raises:
            NotFound, StoreDamaged: there is no such version, or its file is damaged.
        """
        loaded = self.loaded
        if loaded is not None and loaded.version == number:
            return loaded
        with self._lock:
            if number in self._others:
                self._others.move_to_end(number)
                return self._others[number]
        version = self._registry.read(number)
        served = Served(number, version.model, version.card)
        with self._lock:
            self._others[number] = served
            while len(self._others) > KEPT_VERSIONS:
                self._others.popitem(last=False)
        return served
