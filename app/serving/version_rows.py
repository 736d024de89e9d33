"""The rows that a version was trained on, beside what is predicted of them: read part by part, of many a choice kept.

Rows are never erased, so that those of an old version are there as those of the live one are, withdrawn since or not.
No transaction is held from one part to the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from app.data.tables import Mask, Table
from app.errors import FieldError, InvalidInput, StoreDamaged
from app.model.cells import Cells
from app.model.folds import assign_folds
from app.model.moments import Array
from app.model.residuals import Predicted, Residuals
from app.model.weather import REGION_LENGTH
from app.serving.live import LEVEL
from app.serving.selection import Selection
from app.store.registry import Registry
from app.store.version import Version
from app.training.learned import learned_by

if TYPE_CHECKING:
    from app.data.observations import Batch, Observations, Transaction

MOST = 2_000
"""Rows that are kept: what a chart draws without delay, and a reader can tell apart."""
READ_AT_ONCE = 1_000
"""Rows of a part."""


class CropPoint(NamedTuple):
    """A crop's reported ``tons`` of a row, and what is predicted of them, as in `app.model.residuals.Predicted`.

    ``out_of_fold``, ``low`` and ``high``: None where the line fitted without the row cannot be known.
    """

    tons: float
    fitted: float
    out_of_fold: float | None
    low: float | None
    high: float | None
    leverage: float


@dataclass(frozen=True, slots=True)
class Point:
    """A row; ``weather``: None for a feature that it has no value of."""

    batch: str
    row: int
    region: str | None
    season: str | None
    weather: tuple[float | None, ...]
    withdrawn: bool
    yields: dict[str, CropPoint]


class Sums:
    """A crop's rows so far, and the sum of their squared errors out of fold, tons²; NaN where these are not known."""

    def __init__(self) -> None:
        self.rows = 0
        self.squares = 0.0

    @property
    def rmse(self) -> float | None:
        """Their root mean square, tons; None without rows, or where they are not known."""
        return None if not self.rows or math.isnan(self.squares) else math.sqrt(self.squares / self.rows)


class VersionRows:
    """The stored rows of a version, as far as they were read, of one crop or of all."""

    def __init__(
        self,
        number: str,
        version: Version,
        residuals: dict[str, Residuals],
        batches: Sequence["Batch"],
        complete: dict[str, int],
    ) -> None:
        """``complete``: how many crops a row must report to have been learned from, by batch, where not one is enough.

        ``batches``: those of the version that are stored here.
        """
        self.number = number
        self.card = version.card
        self.residuals = residuals
        self.batches = batches
        self.sums = {crop: Sums() for crop in residuals}
        self.chosen = Selection[Point](MOST)
        self.read = 0
        """Rows that were read, of all crops."""
        self._complete = complete
        self._to_do = list(reversed(batches))
        self._after = -1
        self._of_batch = 0

    @property
    def is_done(self) -> bool:
        """Whether all rows have been read."""
        return not self._to_do

    def read_on(self, transaction: "Transaction") -> None:
        """Read the next part.

        Raises:
            StoreDamaged: a row is not what was written, or is gone.
        """
        batch = self._to_do[-1]
        table = transaction.rows_behind(batch, self._after, READ_AT_ONCE)
        self._of_batch += len(table)
        if len(table):
            self._after = int(table.number(-1))
            self._take(batch, table)
        if len(table) == READ_AT_ONCE:
            return
        if self._of_batch not in {0, batch.rows}:
            raise StoreDamaged(
                f"batch {batch.id} has {self._of_batch} rows in the database, {batch.rows} were written: restore it"
            )
        self.read += self._of_batch
        self._to_do.pop()
        self._after, self._of_batch = -1, 0

    def _take(self, batch: "Batch", table: Table) -> None:
        if batch.id in self._complete:
            complete: Mask = np.equal(np.sum(~np.isnan(table.yields), axis=1), self._complete[batch.id])
            table = table.rows(complete)
        wanted = [crop for crop in table.crops if crop in self.residuals]
        tons = table.yields[:, [table.crops.index(crop) for crop in wanted]]
        reporting: Mask = np.logical_not(np.isnan(tons).all(axis=1))
        table, tons = table.rows(reporting), tons[reporting]
        if not len(table):
            return
        fold = assign_folds(table.regions, table.weather)
        found: dict[str, Predicted] = {}
        sizes = np.zeros(len(table))
        for place, crop in enumerate(wanted):
            found[crop] = self.residuals[crop].predicted(table.weather, fold, table.seasons, LEVEL)
            sizes = np.fmax(sizes, self._sizes(crop, tons[:, place], found[crop].out_of_fold))
        rows = _Rows(batch, table, tons, found)
        self.chosen.add(sizes, rows.point)

    def _sizes(self, crop: str, tons: Array, predicted: Array) -> Array:
        """Count a crop's errors in; return them in units of its error, shape (n,), NaN where there are none."""
        errors = np.abs(tons - predicted)
        known = errors[~np.isnan(tons)]
        sums = self.sums[crop]
        sums.rows += len(known)
        sums.squares += float(known @ known)
        return errors / (self.card.crops[crop].out_of_fold.rmse or 1.0)


class _Rows(NamedTuple):
    """The rows of a part: ``tons``, shape (n, crops), and what is ``found`` of the same crops."""

    batch: "Batch"
    table: Table
    tons: Array
    found: dict[str, Predicted]

    def point(self, row: int) -> Point:
        """Return one of them."""
        pairs = zip(self.found.items(), self.tons[row].tolist(), strict=True)
        yields = {crop: _point(tons, found, row) for (crop, found), tons in pairs if not math.isnan(tons)}
        table = self.table
        weather = tuple(map(_known, table.weather[row].tolist()))
        withdrawn = self.batch.withdrawn is not None
        number = int(table.number(row))
        return Point(self.batch.id, number, table.regions[row], table.seasons[row], weather, withdrawn, yields)


def _point(tons: float, found: Predicted, row: int) -> CropPoint:
    middle, low, high = (_known(column[row]) for column in (found.out_of_fold, found.low, found.high))
    return CropPoint(tons, float(found.fitted[row]), middle, low, high, float(found.leverage[row]))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def version_rows(registry: Registry, observations: "Observations", number: str, crop: str | None = None) -> VersionRows:
    """Begin to read the rows of a version; `VersionRows.read_on` reads them.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it does not predict the ``crop``.
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    version = registry.read(number)
    crops = [each for each in version.model.crops if crop in {None, each.crop}]
    if not crops:
        message = (
            f"version {number} has no crop {str(crop)[:REGION_LENGTH]!r}: it has {' and '.join(version.card.crops)}"
        )
        raise InvalidInput(f"query.crop: {message}", [FieldError(("query", "crop"), message, "invalid")])
    with observations.reading() as transaction:
        batches = transaction.learned(learned_by(version.card, transaction.ids_at))
        by = {each.crop: version.card.crops[each.crop].out_of_fold.by for each in crops}
        # Of a part of the batches the lines would be others than those of training.
        is_whole = len(batches) == version.card.batch_count
        cells = transaction.cells(batches)[0] if "season" in by.values() and is_whole else {}
        complete = {}
        if version.card.recipe == "tutorial":  # it learns from rows alone that report every crop of their table
            complete = {batch.id: len(transaction.moments([batch])) for batch in batches}
    residuals = {
        each.crop: Residuals.of(
            each,
            version.moments[each.crop],
            by[each.crop],
            Cells.merge(cells[each.crop]) if each.crop in cells else None,
        )
        for each in crops
    }
    return VersionRows(number, version, residuals, batches, complete)
