"""Yields that are reported, asked of a version that does not know them: what it would have said."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.data.tables import Table
from app.model.linear import CropModel, LinearModel
from app.model.moments import Array
from app.model.names import Names
from app.model.sketch import Sketch
from app.model.student import t_quantile


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """One crop's n rows: ``tons`` reported, NaN where none were, and ``predicted``, shape (n,).

    ``error``: the standard error of predicting one, and ``own_error`` that of one whose season is known, tons, shape
    (n,); ``floor``: how many times as large as those of intervals these are. ``degrees``: of freedom, that they have.
    ``by_region``: whether the model knows regions to differ; ``by_season``: whether it knows what rows of a season
    share. ``t_95``, ``t_80``: the quantiles of Student's t that intervals are made of, shape (n,) or one for all.
    ``shared``: what share of the error's variance all rows of a season have in common, shape (n,).
    """

    crop: str
    tons: Array
    predicted: Array
    floor: float
    error: Array
    own_error: Array
    degrees: float
    by_region: bool
    by_season: bool
    t_95: Array | float
    t_80: Array | float
    shared: Array

    @property
    def away(self) -> Array:
        """Each row's (reported - predicted) / error, shape (n,)."""
        return np.asarray((self.tons - self.predicted) / self.error)

    @classmethod
    def of(cls, table: Table, model: LinearModel) -> list["Asked"]:
        """Ask of each crop that the table reports and of which the model can say how far off it may be.

        Not of one that needs a feature that the table has no column of.
        """
        places = model.places(table.regions)
        known = (crop for crop in model.crops if crop.crop in table.crops and crop.noise)
        unasked = {crop for name in table.absent for crop in model.needed_by.get(name, ())}
        return [cls._of(table, crop, places) for crop in known if crop.crop not in unasked]

    @classmethod
    def _of(cls, table: Table, crop: CropModel, places: NDArray[np.intp] | None) -> "Asked":
        tons = table.yields[:, table.crops.index(crop.crop)]
        weather = crop.spread.filled(list(table.weather.T))
        predicted, error = crop.expected(weather, places)
        by_region, by_season = crop.deviations
        own_error = np.sqrt(error**2 - by_season**2)
        t_95, t_80 = (_quantiles(crop, places, level) for level in (0.95, 0.8))
        known = (crop.degrees, by_region > 0, crop.effects is not None)
        shared = crop.shared(weather, places)
        return cls(crop.crop, tons, predicted, crop.floor, error, own_error, *known, t_95, t_80, shared)

    def sketch(self, seasons: Names) -> Sketch | None:
        """Return how far the rows lay from what was said, by season.

        None where no yield is reported, or where intervals have no width, as those of an exact line.
        """
        of = np.flatnonzero(~np.isnan(self.tons))
        if not len(of) or math.isinf(self.floor):
            return None
        t_95, t_80 = (t if isinstance(t, float) else t[of] for t in (self.t_95, self.t_80))
        return Sketch.of(
            Names(seasons.names, seasons.codes[of]), self.floor * self.away[of], t_95, t_80, self.shared[of]
        )


def _quantiles(crop: CropModel, places: NDArray[np.intp] | None, level: float) -> Array | float:
    if crop.effects is None or places is None:
        return t_quantile(level, crop.degrees_of_freedom)
    known, unseen = (t_quantile(level, degrees) for degrees in crop.effects.degrees)
    return np.where(crop.effects.rows[places] > 0, known, unseen)


class RecordOf:
    """What was said of a batch's rows before they were known, as they come, part by part."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Sketch]] = {}

    def add(self, table: Table, asked: Iterable[Asked]) -> None:
        """Take in what was said of a part."""
        seasons = Names.of(table.seasons)
        for crop in asked:
            sketch = crop.sketch(seasons)
            if sketch is not None:
                self._parts.setdefault(crop.crop, []).append(sketch)

    def by_crop(self) -> dict[str, Sketch]:
        """Return it by crop."""
        return {crop: Sketch.merge(parts) for crop, parts in self._parts.items()}


def record_of(tables: Iterator[Table], model: LinearModel) -> dict[str, Sketch]:
    """Return what a model says of rows that it does not know, by crop."""
    record = RecordOf()
    for table in tables:
        record.add(table, Asked.of(table, model))
    return record.by_crop()
