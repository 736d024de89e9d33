"""The crossed fit: one line, regions and seasons, fitted together by generalised least squares.

Henderson's mixed model equations (Henderson 1975, "Best linear unbiased estimation and prediction under a selection
model"; Searle, Casella and McCulloch 1992, "Variance Components", 7.6): least squares in which each region's and each
season's deviation is held near zero by its variance. Regions are eliminated one by one, seasons by one system of their
number, so that the work grows with the cells; what is left are moments, on which the line is fitted as on any others.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.cells import Cells, group_sums
from app.model.components import Components, Grouping, rows_by_season, season_system
from app.model.design import whitener
from app.model.effects import Effects, degrees
from app.model.moments import Array, Moments, triangle


@dataclass(frozen=True, eq=False, slots=True)
class Crossed:
    """Cells with regions and seasons taken out, as far as their variances say that these are more than noise.

    ``moments``: of the whitened rows; least squares on them is the generalised one. ``regions``: the codes of the R
    regions whose offsets are known. ``rows``: of each, shape (R,). ``shrunk``: n / (n + shrinkage) of each, shape (R,).
    ``means``: of each region's rows (1, features, yield) without the seasons, shape (R, k + 1), less ``middle`` but for
    the column of ones. ``uncertain``: the variance of a region's offset where the line is known, in units of the noise.
    ``ones``: the information on the line at its center, 1 / its variance in units of the noise.
    """

    moments: Moments
    components: Components
    regions: NDArray[np.int32]
    rows: Array
    shrunk: Array
    means: Array
    uncertain: Array
    ones: float
    middle: Array

    @classmethod
    def of(cls, cells: Cells, components: Components, common: Moments) -> Self:
        """Take them out; ``common``: the moments of the same rows."""
        work = _Elimination(cells, components, common.mean)
        factor = work.factor()
        ones = float(factor[0, 0])
        mean = common.mean + factor[0, 1:] / ones
        moments = Moments(common.count, mean, factor[1:, 1:], common.minimum, common.maximum)
        return cls(
            moments,
            components,
            work.codes,
            work.in_region,
            work.shrunk,
            work.region_means(work.left)[:-1],
            work.uncertain(),
            ones**2,
            common.mean,
        )

    @property
    def mean_variance(self) -> float:
        """The variance of the line at its center, in units of the noise."""
        return 1.0 / self.ones

    def effects(self, weights: Array, intercept: float) -> Effects:
        """Return what is served, of a line that was fitted on the moments."""
        middle = self.middle
        line = np.array([-(intercept + weights @ middle[:-1] - middle[-1]), *-weights, 1.0])
        center = self.moments.mean[:-1] - middle[:-1]
        known = self.shrunk[:, None] * self.means
        missing = 1.0 - known[:, 0]  # how far a region's rows are from telling of the line's level
        centers = np.vstack([known[:, 1:-1] + missing[:, None] * center, center]) + middle[:-1]
        base = self.uncertain + missing**2 / self.ones
        parts = self.components
        return Effects(
            np.asarray(weights, dtype=np.float64),
            float(intercept),
            np.append(self.rows, 0.0),
            np.append(known @ line, 0.0),
            centers,
            np.append(base, 1.0 / self.ones),
            whitener(self.moments),
            parts.noise,
            parts.region.variance,
            parts.season.variance,
            degrees(parts),
        )


class _Elimination:
    """The cells' rows (1, features, yield), centred, and what is eliminated from them.

    Cells of no known region, and those of no season, have the last number: nothing is taken out of them, and they weigh
    less, since each of their rows has a deviation of its own.
    """

    def __init__(self, cells: Cells, components: Components, middle: Array) -> None:
        self._cells = cells
        self._by_region = components.noise / components.region.variance if components.region.variance else np.inf
        self._by_season = components.noise / components.season.variance if components.season.variance else np.inf
        named = (cells.region >= 0) & np.isfinite(self._by_region)
        dated = (cells.season >= 0) & np.isfinite(self._by_season)
        self.codes, self._region = _places(cells.region, named)
        _, self._season = _places(cells.season, dated)
        self._named, self._dated = named, dated
        self._unnamed = 1.0 / (1.0 + 1.0 / self._by_region)
        undated = 1.0 / self._by_season
        alone = np.where(named, 0.0, 1.0 / self._by_region) + np.where(dated, 0.0, undated)
        self._weight = cells.count / (1.0 + alone)
        self.in_region: Array = np.bincount(self._region.place, cells.count, self._region.many)[:-1].astype(np.float64)
        self.shrunk = self.in_region / (self.in_region + self._by_region)
        self._rows = np.column_stack([np.ones(len(cells.count)), cells.mean - middle])
        self._system = self._season_system()
        self._seasons = self._season_means()
        self.left = self._rows - self._seasons[self._season.place]

    def region_means(self, rows: Array) -> Array:
        """Return the mean of each region's ``rows``, shape (R + 1, k + 1), zero in the last place."""
        total = np.append(self.in_region, 1.0)[:, None]
        means: Array = group_sums(self._region.place, self._region.many, self._cells.count[:, None] * rows) / total
        means[-1] = 0.0
        return means

    def _season_system(self) -> Array:
        """Return what normal equations leave to the seasons beside the regions, shape (S, S)."""
        seasons = self._season.many - 1
        if not seasons:
            return np.zeros((0, 0))
        of = self._dated & self._named
        some = Grouping(self._region.place[of], self._region.many), Grouping(self._season.place[of], seasons)
        system = season_system(*some, self._cells.count[of], self._by_region)
        others = self._dated & ~self._named
        more = np.bincount(self._season.place[others], self._weight[others], seasons)
        return np.asarray(system + np.diag(more + self._by_season))

    def _season_means(self) -> Array:
        """Return the seasons' shrunken means of all columns beside the regions, (S + 1, k + 1), zero in the last."""
        away = self._rows - np.append(self.shrunk, 0.0)[self._region.place, None] * self._expanded(self._rows)
        wanted = group_sums(self._season.place, self._season.many, self._weight[:, None] * away)[:-1]
        found = np.linalg.solve(self._system, wanted) if len(wanted) else wanted
        return np.vstack([found, np.zeros(wanted.shape[1])])

    def _expanded(self, rows: Array) -> Array:
        return np.asarray(self.region_means(rows)[self._region.place])

    def factor(self) -> Array:
        """Return the triangular factor of the whitened rows (1, features, yield), shape (k + 1, k + 1)."""
        part = 1.0 - np.sqrt(1.0 - np.append(self.shrunk, 0.0))
        away = self.left - part[self._region.place, None] * self._expanded(self.left)
        within, unnamed = (np.insert(factor, 0, 0.0, axis=1) for factor in self._cells.within)
        seasons = self._seasons[:-1]
        held = np.sqrt(self._by_season) * seasons if len(seasons) else seasons
        return triangle(
            np.concatenate([within, np.sqrt(self._unnamed) * unnamed, np.sqrt(self._weight)[:, None] * away, held])
        )

    def uncertain(self) -> Array:
        """Return the variance of each region's offset where the line is known, in units of the noise, shape (R,)."""
        if not len(self.codes):
            return np.zeros(0)
        variance = 1.0 / (self.in_region + self._by_region)
        if self._season.many > 1:
            of = self._dated & self._named
            some = (
                Grouping(self._region.place[of], len(self.codes)),
                Grouping(self._season.place[of], self._season.many - 1),
            )
            lower = np.linalg.cholesky(self._system)
            for regions, rows in rows_by_season(*some, self._cells.count[of]):
                shares = np.linalg.solve(lower, (rows / (self.in_region[regions] + self._by_region)[:, None]).T)
                variance[regions] += np.sum(shares**2, axis=0)
        return np.asarray(variance)


def _places(codes: NDArray[np.int32], of: NDArray[np.bool_]) -> tuple[NDArray[np.int32], Grouping]:
    """Number the groups of some cells; the others get the last number."""
    found, numbers = np.unique(codes[of], return_inverse=True)
    place = np.full(len(codes), len(found))
    place[of] = numbers
    return found, Grouping(place, len(found) + 1)
