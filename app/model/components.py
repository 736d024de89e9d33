"""How much of what the weather leaves unexplained is the region, how much the season, and how much neither.

The model of a yield is y = b + w·x + u_region + v_season + e, with independent deviations of three variances. They are
estimated by Henderson's third method (Henderson 1953, "Estimation of variance and covariance components"; Searle,
Casella and McCulloch 1992, "Variance Components", 5.6): by how much less is left when a grouping is taken out, compared
with what taking it out would do by chance alone. A grouping that an F test does not see is left out.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.model.cells import Cells, centred, group_sums
from app.model.fisher import f_tail
from app.model.moments import Array, triangle

LEVEL = 0.01
"""A grouping is kept where chance alone would show as much in this share of all cases."""
LEAST_GROUPS = 3
"""Fewer regions, or seasons, tell nothing of how they differ."""
MOST_SEASONS = 500
"""With more seasons than these their names are not seasons; the system to solve grows with their square."""
LEAST_NOISE = 0.05
"""The share of all variance that is left to neither region nor season, at least."""
TOLERANCE = 1e-10
"""A direction that has less than this share of its spread left is one that the groups determine."""
AT_A_TIME = 4_096
"""Regions whose rows by season are held as a matrix at a time."""

Groups = NDArray[np.integer]


class Part(NamedTuple):
    """A grouping's share: its ``variance``, tons², and of how many ``groups``; 0 where the test does not see any."""

    variance: float
    groups: int


@dataclass(frozen=True, slots=True)
class Components:
    """The variances of a yield's deviations from its line, tons²: by region, by season, and the ``noise`` of each row.

    ``rows``: those that name their region, from which this was learned.
    """

    rows: int
    region: Part
    season: Part
    noise: float

    @property
    def total(self) -> float:
        """The variance of a yield of a region and a season that are not known."""
        return self.region.variance + self.season.variance + self.noise

    @classmethod
    def of(cls, cells: Cells) -> "Components | None":
        """Estimate them; None where the rows are too few, or nothing is seen of regions and seasons."""
        named = cells.named()
        if not len(named.count):
            return None
        sums = _Sums(named)
        region, season = sums.both() or (0.0, 0.0)
        if not region and not season:
            region, season = sums.alone(sums.region), sums.alone(sums.season)
            if region and season:  # they cannot be told apart: which explains more
                region, season = (region, 0.0) if region >= season else (0.0, season)
        if not region and not season:
            return None
        noise = max(sums.noise(bool(region), bool(season)), LEAST_NOISE * sums.common.mean_square)
        return cls(int(sums.rows), Part(region, sums.region.many), Part(season, sums.season.many), noise)


class _Grouping(NamedTuple):
    """The cells' groups, numbered from 0, and how ``many`` there are."""

    place: Groups
    many: int


class _Left(NamedTuple):
    """What is left of the rows once groups are taken out.

    ``factor``: triangular, of the co-moments, shape (k, k). ``degrees``: rows less all that was fitted.
    """

    factor: Array
    degrees: int

    @property
    def squares(self) -> float:
        """The residual sum of squares of one line for all groups, tons²."""
        return float(self.factor[-1, -1] ** 2)

    @property
    def mean_square(self) -> float:
        return self.squares / self.degrees


class _Sums:
    """The sums of squares of some cells, with the groupings taken out that are asked for."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.rows = float(np.sum(cells.count))
        self.region = _numbered(cells.region)
        self._nothing = _Grouping(np.zeros_like(self.region.place), 1)
        # Rows without a season are of many: beside others that have one they cannot be told from these.
        self.season = _numbered(cells.season) if (cells.season >= 0).all() else self._nothing

    @cached_property
    def common(self) -> _Left:
        """One mean is taken out."""
        return self._without(self._nothing)

    @cached_property
    def _spread(self) -> Array:
        """The deviations of the features, times √n."""
        return np.asarray(np.linalg.norm(self.common.factor[:, :-1], axis=0))

    def noise(self, region: bool, season: bool) -> float:
        """Return the variance that neither of the groupings explains."""
        match region, season:
            case True, True:
                return self._crossed.mean_square
            case True, False:
                return self._without(self.region).mean_square
            case _:
                return self._without(self.season).mean_square

    def both(self) -> tuple[float, float] | None:
        """Return the variances by region and by season, each beside the other; None where they cannot be told apart."""
        if min(self.region.many, self.season.many) < LEAST_GROUPS or self.season.many > MOST_SEASONS:
            return None
        fine = self._crossed
        if fine.degrees < 1:
            return None
        region = self._variance(self.region, self.season, fine)
        season = self._variance(self.season, self.region, fine)
        if region and season:
            return region, season
        # What is not seen is not taken out either.
        return (self.alone(self.region), 0.0) if region else (0.0, self.alone(self.season) if season else 0.0)

    def alone(self, grouping: _Grouping) -> float:
        """Return the variance by one grouping, with nothing else taken out; 0 where nothing is seen."""
        if grouping.many < LEAST_GROUPS:
            return 0.0
        fine = self._without(grouping)
        return self._variance(grouping, self._nothing, fine) if fine.degrees >= 1 else 0.0

    def _variance(self, grouping: _Grouping, others: _Grouping, fine: _Left) -> float:
        """Return a grouping's variance, 0 where the test does not see it.

        ``others``: what is taken out besides; ``fine``: what is left without both.
        """
        coarse = self._without(others)
        degrees = coarse.degrees - fine.degrees
        gained = coarse.squares - fine.squares
        if degrees < 1 or coarse.degrees < 1 or not is_seen(gained / degrees, fine.mean_square, degrees, fine.degrees):
            return 0.0
        weight = self._weight(grouping, others, coarse)
        return (gained - degrees * fine.mean_square) / weight if weight > 0 else 0.0

    def _weight(self, grouping: _Grouping, others: _Grouping, coarse: _Left) -> float:
        """Return what a grouping's variance adds to the squares left without ``others``: tr(Zᵀ M Z)."""
        count = self._cells.count
        pairs, place = np.unique(grouping.place.astype(np.int64) * others.many + others.place, return_inverse=True)
        in_pair = np.bincount(place, count)
        in_other = np.bincount(others.place, count, others.many)
        features = self._cells.mean[:, :-1]
        _, away = centred(others.place, others.many, count, features)
        by_group = group_sums(grouping.place, grouping.many, count[:, None] * away)
        explained = by_group @ np.linalg.pinv(coarse.factor[:-1, :-1], rcond=TOLERANCE)
        return float(self.rows - np.sum(in_pair**2 / in_other[pairs % others.many]) - np.sum(explained**2))

    def _without(self, grouping: _Grouping) -> _Left:
        """Return what is left once each group's mean is taken out."""
        _, away = centred(grouping.place, grouping.many, self._cells.count, self._cells.mean)
        return self._left(away, grouping.many, is_common=grouping is self._nothing)

    @cached_property
    def _crossed(self) -> _Left:
        """Return what is left once regions and seasons are taken out: regions by elimination, then the seasons."""
        count = self._cells.count
        _, away = centred(self.region.place, self.region.many, count, self._cells.mean)
        system = self._season_system()
        wanted = group_sums(self.season.place, self.season.many, count[:, None] * away)
        seasons, _, rank, _ = np.linalg.lstsq(system, wanted, rcond=TOLERANCE)
        _, away = centred(self.region.place, self.region.many, count, self._cells.mean - seasons[self.season.place])
        return self._left(away, self.region.many + int(rank))

    def _season_system(self) -> Array:
        """Return diag(n_s) - Nᵀ diag(1 / n_r) N, shape (seasons, seasons), N the rows by region and season."""
        count, region, season = self._cells.count, self.region.place, self.season.place
        system: Array = np.diag(np.bincount(season, count, self.season.many).astype(np.float64))
        order = np.argsort(region, kind="stable")
        ends = np.searchsorted(region[order], np.arange(0, self.region.many + AT_A_TIME, AT_A_TIME))
        for start, end in pairwise(ends.tolist()):
            of = order[start:end]
            if not len(of):
                continue
            first = int(region[of[0]])
            rows = np.zeros((int(region[of[-1]]) - first + 1, self.season.many))
            np.add.at(rows, (region[of] - first, season[of]), count[of])
            system -= rows.T @ (rows / rows.sum(axis=1, keepdims=True))
        return system

    def _left(self, away: Array, fitted: int, *, is_common: bool = False) -> _Left:
        factor = triangle(np.concatenate([self._cells.within[0], np.sqrt(self._cells.count)[:, None] * away]))
        spread = np.linalg.norm(factor[:, :-1], axis=0) if is_common else self._spread
        rank = int(np.sum(np.diag(factor)[:-1] > TOLERANCE * spread))
        return _Left(factor, int(self.rows) - fitted - rank)


def _numbered(codes: NDArray[np.int32]) -> _Grouping:
    groups, place = np.unique(codes, return_inverse=True)
    return _Grouping(place, len(groups))


def is_seen(gained: float, noise: float, degrees: int, noise_degrees: int) -> bool:
    """Say whether an F test sees a grouping, at the level of `LEVEL`.

    ``gained`` and ``noise``: mean squares, of ``degrees`` and ``noise_degrees`` degrees of freedom.
    """
    if noise <= 0 or gained <= noise:
        return noise <= 0 < gained
    return f_tail(gained / noise, degrees, noise_degrees) < LEVEL
