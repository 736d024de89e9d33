"""What versions would have said of yields when these came: the record and the scores find it here.

Which version was live then, the activation log says. Versions and the log never change, so that it is known of all that
is stored, whenever somebody asks.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.data.learned import Learned
from app.data.observations import Batch
from app.data.tables import Table
from app.errors import NotFound, StoreDamaged, StoreTooNew
from app.model.linear import LinearModel
from app.model.names import Names
from app.model.pairs import Pairs
from app.store.line import LogLine
from app.store.registry import Registry
from app.store.version import Version
from app.training.learned import IdsAt, learned_by

logger = logging.getLogger("orchard.training")

LEVEL = 0.95
"""Of the intervals that yields are held against when they come: that of a prediction of which nobody asks another."""
KEPT = 16
"""Versions that are kept in memory: batches of one time were predicted by the same one."""


class Versions:
    """Versions as they are needed, the last ones kept; those that cannot be read are told of, once."""

    def __init__(self, registry: Registry, ids_at: IdsAt) -> None:
        """``ids_at``: of the database whose batches are asked about."""
        self._registry = registry
        self._ids_at = ids_at
        self._kept: OrderedDict[tuple[str, str | None], Version | None] = OrderedDict()
        self._learned: dict[str, Learned] = {}

    def of(self, number: str, sha256: str | None = None) -> Version | None:
        """Return a version; None where it cannot be read, or is another than the one of that ``sha256``."""
        key = number, sha256
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            found: Version | None = self._registry.read(number, sha256)
        except (NotFound, StoreDamaged, StoreTooNew) as error:
            logger.warning("what version %s would have said is not known: %s", number, error.detail)
            found = None
        self._kept[key] = found
        if len(self._kept) > KEPT:
            (forgotten, _), _ = self._kept.popitem(last=False)
            self._learned.pop(forgotten, None)
        return found

    def learned(self, number: str, version: Version) -> Learned:
        """Return which batches a version was trained on: what it says of these is no prediction."""
        if number not in self._learned:
            self._learned[number] = learned_by(version.card, self._ids_at)
        return self._learned[number]


class Arrivals:
    """Finds what the version that was live when a batch came would have said of it."""

    def __init__(self, registry: Registry, ids_at: IdsAt) -> None:
        self._versions = Versions(registry, ids_at)
        self._lines = sorted(registry.log().lines, key=lambda line: line.number)

    def line(self, batch: Batch) -> LogLine | None:
        """Return the line of the log that says what was live; None where nothing was."""
        return next((line for line in reversed(self._lines) if line.when <= batch.created), None)

    def version(self, line: LogLine) -> Version | None:
        """Return the version of a line; None where it cannot be read now."""
        return self._versions.of(line.version, line.sha256)

    def is_news(self, batch: Batch, line: LogLine, version: Version) -> bool:
        """Say whether the version of a line had not learned the batch."""
        return not self.learned(line, version).has(batch.sequence, batch.id)

    def learned(self, line: LogLine, version: Version) -> Learned:
        """Return which batches the version of a line had learned."""
        return self._versions.learned(line.version, version)


class Arrived(NamedTuple):
    """A crop's yields that came, beside what a version answers: of the ``rows`` of their table, shape (n,).

    ``extrapolated``: which of them lie outside what the version has seen, shape (n,).
    """

    crop: str
    rows: NDArray[np.intp]
    seasons: Names
    extrapolated: NDArray[np.bool_]
    pairs: Pairs


def arrived(table: Table, model: LinearModel, level: float = LEVEL) -> Iterator[Arrived]:
    """Yield what a version that does not know a table's yields answers on their weather, crop by crop.

    Not of a crop that needs a feature which the table has no column of.
    """
    wanted = [crop for crop in model.crops if crop.crop in table.crops]
    if not len(table) or not wanted:
        return
    unasked = {crop for name in table.absent for crop in model.needed_by.get(name, ())}
    seasons = Names.of(table.seasons)
    yields = model.yields(list(table.weather.T), level, table.regions)
    for crop in wanted:
        tons = table.yields[:, table.crops.index(crop.crop)]
        rows = np.flatnonzero(~np.isnan(tons))
        if len(rows) and crop.crop not in unasked:
            named = Names(seasons.names, seasons.codes[rows])
            pairs = Pairs.arrival(tons, crop, yields).rows(rows)
            yield Arrived(crop.crop, rows, named, yields.extrapolated[rows], pairs)
