"""Sums: what pairs of forecasts and yields add up to, season by season.

Sums add: those of parts make those of all pairs, in any order.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.cells import group_sums
from app.model.linear import CropModel
from app.model.moments import Array, Moments
from app.model.names import Names
from app.model.pairs import Pairs
from app.model.seasons import Seasons, numbered, together
from app.model.slips import as_known
from app.model.weather import FEATURE_NAMES

COLUMNS = (
    "pairs",
    "error",
    "squares",
    "baseline",
    "seen",
    "absolute",
    "bounded",
    "inside",
    "promised",
    "width",
    "penalised",
    "split",
    "model",
    "weather",
    *FEATURE_NAMES,
)
"""``pairs``: how many. ``error``: Σe, e = reported - predicted, tons; ``squares``: Σe²; ``baseline``: the same of the
mean yield in training. ``seen``: pairs that are known one by one; ``absolute``: Σ|e| of those. ``bounded``: pairs with
an interval; of those ``inside``: how many lie in it; ``promised``: Σ level; ``width``: Σ (high - low); ``penalised``: Σ
interval score (Gneiting and Raftery 2007, "Strictly Proper Scoring Rules", 6.2). ``split``: pairs whose version can be
asked on the weather reported; of those ``model`` and ``weather``: the two parts of Σe, and what each feature of the
weather adds to the latter."""
_PLACES = {name: place for place, name in enumerate(COLUMNS)}


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """Those of the pairs of S seasons, which are different; None: the pairs without one. ``table``: (S, columns)."""

    seasons: Seasons
    table: Array

    @classmethod
    def of(cls, seasons: Names | Sequence[str | None], pairs: Pairs) -> Self:
        """Add n pairs up; of more than 500 seasons nothing is said by season."""
        names, place = numbered(Names.of(seasons))
        return cls(names, group_sums(place, len(names), _addends(pairs)))

    @classmethod
    def by(cls, place: NDArray[np.integer], groups: int, seasons: Names, pairs: Pairs) -> list[Self]:
        """Add up each group's pairs. ``place``: each pair's group, 0 to groups - 1, shape (n,)."""
        many = len(seasons.names) + 1
        cell, first, of_cell = np.unique(
            place.astype(np.int64) * many + seasons.codes, return_index=True, return_inverse=True
        )
        group = place[first]
        order = np.lexsort((first, group))
        table = group_sums(of_cell, len(cell), _addends(pairs))[order]
        names = [seasons[row] for row in first[order].tolist()]
        ends = np.searchsorted(group[order], np.arange(groups + 1)).tolist()
        parts = itertools.pairwise(ends)
        return [cls.merge([cls(tuple(names[start:end]), table[start:end])]) for start, end in parts]

    @classmethod
    def of_moments(cls, crop: CropModel, rows: Moments, season: str | None = None) -> Self:
        """Add up rows that are known by their moments alone, asked of a crop's common line on their own weather.

        They have no absolute errors and no intervals, and what is predicted of them may be below 0. The line must not
        need a feature that they lack (`app.model.slips.lacked`).
        """
        known = as_known(crop, rows)
        weights = np.array(crop.weights)
        error = rows.count * float(known.mean[-1] - weights @ known.mean[:-1] - crop.intercept)
        baseline = rows.count * float(known.mean[-1] - crop.mean) ** 2 + float(np.sum(known.factor[:, -1] ** 2))
        values = {
            "pairs": rows.count,
            "error": error,
            "squares": known.squared_error(weights, crop.intercept),
            "baseline": baseline,
            "split": rows.count,
            "model": error,
        }
        return cls((season,), np.array([[float(values.get(name, 0.0)) for name in COLUMNS]]))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Add those of disjoint sets of pairs, season by season; of no set it is the one without pairs."""
        present = list(parts)
        seasons, place = together(part.seasons for part in present)
        rows = np.concatenate([np.zeros((0, len(COLUMNS))), *(part.table for part in present)])
        return cls(seasons, group_sums(place, len(seasons), rows))

    def named(self) -> Self:
        """Return those of pairs that are of a season: the others may be of any, so that nothing sets them apart."""
        kept = [number for number, season in enumerate(self.seasons) if season is not None]
        return type(self)(tuple(self.seasons[number] for number in kept), self.table[kept])

    def total(self, name: str) -> float:
        """Return the sum of a column."""
        return float(self.table[:, _PLACES[name]].sum())

    def by_season(self, name: str) -> Array:
        """Return a column, shape (S,)."""
        return self.table[:, _PLACES[name]]


def _addends(pairs: Pairs) -> Array:
    """Return what each pair adds, shape (n, columns); each column lies together, as it is added up."""
    error = pairs.tons - pairs.predicted
    bounded = ~(np.isnan(pairs.low) | np.isnan(pairs.high))
    below, above = np.maximum(pairs.low - pairs.tons, 0.0), np.maximum(pairs.tons - pairs.high, 0.0)
    width = pairs.high - pairs.low
    bounds = [
        (pairs.low <= pairs.tons) & (pairs.tons <= pairs.high),
        pairs.level,
        width,
        width + 2.0 / (1.0 - pairs.level) * (below + above),
    ]
    split = ~np.isnan(pairs.on_reported)
    parts = [pairs.tons - pairs.on_reported, pairs.on_reported - pairs.predicted, *pairs.by_weather.T]
    ones = np.ones(len(pairs))
    columns = [ones, error, error * error, (pairs.tons - pairs.baseline) ** 2, ones, np.abs(error)]
    columns += [bounded, *(np.where(bounded, column, 0.0) for column in bounds)]
    columns += [split, *(np.where(split, column, 0.0) for column in parts)]
    return np.array(columns, dtype=np.float64).T
