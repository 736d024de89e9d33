"""The model being served: loaded completely, then swapped as one reference."""

from collections import OrderedDict
from dataclasses import dataclass

from app.errors import NotReady, OrchardError
from app.model.linear import LinearModel
from app.store.card import Card
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
        self._line = 0
        self._reason = "no model has been trained yet"
        self.damage = ""
        """Why the version that was activated last is not the one served, if it is not."""
        self._others: OrderedDict[str, Served] = OrderedDict()

    @property
    def current(self) -> Served:
        """The version to answer from.

        Raises:
            NotReady: there is none.
        """
        if self.loaded is None:
            raise NotReady(self._reason)
        return self.loaded

    def follow(self) -> None:
        """Look whether the log has grown, and if so swap to the version that is live now.

        One ``stat`` when nothing happened.
        """
        if self.loaded is not None and not self._registry.has_line(self._line + 1):
            return
        try:
            last = self._last_line()
            line, version, self.damage = self._registry.live(last)
        except OrchardError as error:
            if self.loaded is None:
                self._reason = error.detail
            return
        version.model.prepare(LEVEL)
        self.loaded = Served(line.version, version.model, version.card)
        self._line = last

    def _last_line(self) -> int:
        """Look on from the line known so far: listing the log would take the longer, the longer it is."""
        if not self._line:
            return self._registry.last_number()
        last = self._line
        while self._registry.has_line(last + 1):
            last += 1
        return last

    def version(self, number: str) -> Served:
        """Return any stored version.

        Raises:
            NotFound, StoreDamaged: there is none of that number, or its file is damaged.
        """
        if self.loaded is not None and self.loaded.version == number:
            return self.loaded
        if number not in self._others:
            version = self._registry.read(number)
            self._others[number] = Served(number, version.model, version.card)
        self._others.move_to_end(number)
        while len(self._others) > KEPT_VERSIONS:
            self._others.popitem(last=False)
        return self._others[number]
