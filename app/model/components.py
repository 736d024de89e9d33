"""How much of what the weather leaves unexplained is the region, how much the season, and how much neither.

The model of a yield is y = b + w·x + u_region + v_season + e, with independent deviations of three variances. They are
estimated by Henderson's third method (Henderson 1953, "Estimation of variance and covariance components"; Searle,
Casella and McCulloch 1992, "Variance Components", 5.6): by how much less is left when a grouping is taken out, compared
with what taking it out would do by chance alone. A grouping that an F test does not see is left out.
"""

from collections.abc import Iterator
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
LEAST_NOISE = 1e-6
"""The share of all variance that is left to neither region nor season, at least: it is divided by."""
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

    ``rows``: those that name their region, or all where none does, from which this was learned; ``degrees``: of
    freedom, that the noise has.
    """

    rows: int
    region: Part
    season: Part
    noise: float
    degrees: int

    @property
    def total(self) -> float:
        """The variance of a yield of a region and a season that are not known."""
        return self.region.variance + self.season.variance + self.noise

    @classmethod
    def of(cls, cells: Cells) -> "Components | None":
        """Estimate them; None where the rows are too few, or nothing is seen of regions and seasons."""
        named = cells.named()
        known = named if len(named.count) else cells.in_one_region()
        sums = _Sums(known, has_seasons=_has_seasons(cells))
        region, season = sums.both() or (0.0, 0.0)
        if not region and not season:
            region, season = sums.alone(sums.region), sums.alone(sums.season)
            if region and season:  # they cannot be told apart: which explains more
                region, season = (region, 0.0) if region >= season else (0.0, season)
        if not region and not season:
            return None
        left = sums.without(bool(region), bool(season))
        noise = max(left.mean_square, LEAST_NOISE * sums.common.mean_square)
        parts = Part(region, sums.region.many), Part(season, sums.season.many)
        return cls(int(sums.rows), *parts, noise, left.degrees)


class Grouping(NamedTuple):
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

    def __init__(self, cells: Cells, *, has_seasons: bool) -> None:
        self._cells = cells
        self.rows = float(np.sum(cells.count))
        self.region = numbered(cells.region)
        self._nothing = Grouping(np.zeros_like(self.region.place), 1)
        # Rows without a season are of many: beside others that have one they cannot be told from these.
        self.season = numbered(cells.season) if has_seasons and (cells.season >= 0).all() else self._nothing

    @cached_property
    def common(self) -> _Left:
        """One mean is taken out."""
        return self._without(self._nothing)

    @cached_property
    def _spread(self) -> Array:
        """The deviations of the features, times √n."""
        return np.asarray(np.linalg.norm(self.common.factor[:, :-1], axis=0))

    def without(self, region: bool, season: bool) -> _Left:
        """Return what is left once these groupings are taken out."""
        if region and season:
            return self._crossed
        return self._without(self.region if region else self.season)

    def both(self) -> tuple[float, float] | None:
        """Return the variances by region and by season, each beside the other; None where they cannot be told apart."""
        if min(self.region.many, self.season.many) < LEAST_GROUPS:
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

    def alone(self, grouping: Grouping) -> float:
        """Return the variance by one grouping, with nothing else taken out; 0 where nothing is seen."""
        if grouping.many < LEAST_GROUPS:
            return 0.0
        fine = self._without(grouping)
        return self._variance(grouping, self._nothing, fine) if fine.degrees >= 1 else 0.0

    def _variance(self, grouping: Grouping, others: Grouping, fine: _Left) -> float:
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

    def _weight(self, grouping: Grouping, others: Grouping, coarse: _Left) -> float:
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

    def _without(self, grouping: Grouping) -> _Left:
        """Return what is left once each group's mean is taken out."""
        _, away = centred(grouping.place, grouping.many, self._cells.count, self._cells.mean)
        return self._left(away, grouping.many, is_common=grouping is self._nothing)

    @cached_property
    def _crossed(self) -> _Left:
        """Return what is left once regions and seasons are taken out: regions by elimination, then the seasons."""
        count = self._cells.count
        _, away = centred(self.region.place, self.region.many, count, self._cells.mean)
        system = season_system(self.region, self.season, count, 0.0)
        wanted = group_sums(self.season.place, self.season.many, count[:, None] * away)
        seasons, _, rank, _ = np.linalg.lstsq(system, wanted, rcond=TOLERANCE)
        _, away = centred(self.region.place, self.region.many, count, self._cells.mean - seasons[self.season.place])
        return self._left(away, self.region.many + int(rank))

    def _left(self, away: Array, fitted: int, *, is_common: bool = False) -> _Left:
        factor = triangle(np.concatenate([self._cells.within[0], np.sqrt(self._cells.count)[:, None] * away]))
        spread = np.linalg.norm(factor[:, :-1], axis=0) if is_common else self._spread
        rank = int(np.sum(np.diag(factor)[:-1] > TOLERANCE * spread))
        return _Left(factor, int(self.rows) - fitted - rank)


def season_system(region: Grouping, season: Grouping, count: Array, shrinkage: float) -> Array:
    """Return diag(n_s) - Nᵀ diag(1 / (n_r + shrinkage)) N, shape (seasons, seasons), N the rows by region and season.

    That is what normal equations leave to the seasons once the regions are eliminated. ``count``: each cell's rows.
    """
    system: Array = np.diag(np.bincount(season.place, count, season.many).astype(np.float64))
    for _, rows in rows_by_season(region, season, count):
        system -= rows.T @ (rows / (rows.sum(axis=1, keepdims=True) + shrinkage))
    return system


def rows_by_season(region: Grouping, season: Grouping, count: Array) -> Iterator[tuple[slice, Array]]:
    """Yield the regions, some at a time, and how many rows each has in each season, shape (some, seasons)."""
    order = np.argsort(region.place, kind="stable")
    starts = np.arange(0, region.many + AT_A_TIME, AT_A_TIME).clip(max=region.many)
    ends = np.searchsorted(region.place[order], starts)
    for (first, last), (start, end) in zip(pairwise(starts.tolist()), pairwise(ends.tolist()), strict=True):
        of = order[start:end]
        rows = np.zeros((last - first, season.many))
        np.add.at(rows, (region.place[of] - first, season.place[of]), count[of])
        yield slice(first, last), rows


def _has_seasons(cells: Cells) -> bool:
    """Say whether what rows name as their season, those of no known region included, can be seasons."""
    return numbered(cells.season[cells.season >= 0]).many <= MOST_SEASONS


def numbered(codes: NDArray[np.int32]) -> Grouping:
    """Number the groups that there are cells of, in the order of their codes."""
    groups, place = np.unique(codes, return_inverse=True)
    return Grouping(place, len(groups))


def is_seen(gained: float, noise: float, degrees: int, noise_degrees: int) -> bool:
    """Say whether an F test sees a grouping, at the level of `LEVEL`.

    ``gained`` and ``noise``: mean squares, of ``degrees`` and ``noise_degrees`` degrees of freedom.
    """
    if noise <= 0 or gained <= noise:
        return noise <= 0 < gained
    return f_tail(gained / noise, degrees, noise_degrees) < LEVEL
