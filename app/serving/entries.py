"""What a list of versions tells of each: kept once it was read, since a version never changes."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from app.data import example
from app.errors import OrchardError
from app.model.worth import By
from app.store.card import Card, Decision
from app.store.registry import Registry

MANY, AT_ONCE = 2, 8
"""From how many on versions in object storage are read at once, and how many."""
KEPT = 10_000
"""Entries that are kept, a few hundred bytes each."""


@dataclass(frozen=True, slots=True)
class Held:
    """A crop's error on rows held out, tons, and by what they were: as the card's ``out_of_fold`` tells it."""

    rmse: float
    by: By | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in short; ``loss`` in tons², ``out_of_fold`` by crop, ``parent``: the version that was live before."""

    created: datetime
    recipe: str
    rows: int
    crops: tuple[str, ...]
    decision: Decision
    loss: float
    source: str
    note: str
    parent: str | None
    out_of_fold: dict[str, Held]

    @classmethod
    def of(cls, card: Card) -> "Entry":
        """Take it from a version's card."""
        return cls(
            card.created,
            card.recipe,
            card.rows.total,
            tuple(card.crops),
            card.decision,
            card.fit.loss,
            example.told(card.source, card.data_digest),
            card.note,
            card.parent,
            {name: Held(crop.out_of_fold.rmse, crop.out_of_fold.by) for name, crop in card.crops.items()},
        )


class Entries:
    """The entries of a registry's versions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: OrderedDict[str, Entry] = OrderedDict()

    def read_ahead(self, versions: Iterable[str]) -> None:
        """Read several at once where each takes its time; one that cannot be read is told of when it is asked for."""
        missing = [version for version in versions if version not in self._kept]
        if not self._registry.is_remote or len(missing) < MANY:
            return
        with ThreadPoolExecutor(AT_ONCE, "entries") as threads:
            for _ in threads.map(self._tried, missing):
                """It is kept now."""

    def _tried(self, version: str) -> None:
        with contextlib.suppress(OrchardError):
            self.of(version)

    def of(self, version: str) -> Entry:
        """Return a version's entry.

        Raises:
            NotFound, StoreDamaged, StoreTooNew: there is no such version, or it cannot be read.
        """
        if (entry := self._kept.get(version)) is None:
            entry = self._kept[version] = Entry.of(self._registry.read(version).card)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return entry
