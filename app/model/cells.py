"""Cells: a crop's rows put together by region and season, which is all that their effects are learned from.

Rows of one region and season share whatever that region and that season have of their own: between cells the means
tell, within cells only how far the rows scatter. A panel has one row a cell.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.moments import Array, Moments, triangle
from app.model.names import Names
from app.model.weather import FEATURE_NAMES

Codes = NDArray[np.int32]
FEATURES = len(FEATURE_NAMES)
MOST_SHORT = np.iinfo(np.int16).max
"""Names that are told apart by short integers."""
MANY_REGIONS = ""
"""Is among the regions' names where rows have named regions that are not told apart."""


@dataclass(frozen=True, eq=False, slots=True)
class Cells:
    """m cells of rows of k columns, the yield last; a cell for each pair of a region and a season that rows name.

    ``regions`` and ``seasons``: their names, among the former MANY_REGIONS where some rows' are not told apart.
    ``region`` and ``season``: each cell's, as a number into the names, -1 for none, shape (m,). ``count``: its rows,
    shape (m,). ``mean``: their mean, in the columns' own units, shape (m, k). ``within``: shape (2, k, k), the
    triangular factors of the rows' co-moments about the means of their cells: of rows that name a region, and of those
    that name none, of which a cell holds those of many regions. ``lacking``: how many rows have no value in a column,
    shape (k,); where any has none, the column is absent, and zero in ``mean`` and ``within``.
    """

    regions: Sequence[str]
    seasons: Sequence[str]
    region: Codes
    season: Codes
    count: Array
    mean: Array
    within: Array
    lacking: Array

    @classmethod
    def of(cls, regions: Names, seasons: Names, rows: Array) -> Self:
        """Put ``rows``, shape (n, k), together; a column with a NaN in it is absent.

        Raises:
            OverflowError: the squares of the values leave float64.
        """
        return cls.single(regions, seasons, rows)._put_together()  # noqa: SLF001 - of the same class

    @classmethod
    def single(cls, regions: Names, seasons: Names, rows: Array) -> Self:
        """Take each of ``rows``, shape (n, k), as a cell of its own; a column with a NaN in it is absent."""
        nothing = np.zeros((2, rows.shape[1], rows.shape[1]))
        lacking = np.isnan(rows).sum(axis=0).astype(np.float64)
        if lacking.any():
            rows = np.where(lacking, 0.0, rows)
        names = (regions.names, seasons.names, regions.codes, seasons.codes)
        return cls(*names, np.ones(len(rows)), rows, nothing, lacking)

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Merge those of disjoint sets of rows, of which there is at least one."""
        present = list(parts)
        if len(present) == 1:
            return present[0]
        regions, region = _together([(part.regions, part.region) for part in present])
        seasons, season = _together([(part.seasons, part.season) for part in present])
        lacking = np.sum([part.lacking for part in present], axis=0)
        mean = np.concatenate([part.mean for part in present])
        within = [np.concatenate([part.within[side] for part in present]) for side in (0, 1)]
        if lacking.any():
            mean, *within = (np.where(lacking, 0.0, each) for each in (mean, *within))
        joined = cls(
            regions,
            seasons,
            region,
            season,
            np.concatenate([part.count for part in present]),
            mean,
            np.stack([triangle(each) for each in within]),
            lacking,
        )
        return joined._put_together()

    def _put_together(self) -> Self:
        """Merge the cells of the same region and season."""
        key = (self.region.astype(np.int64) + 1) * (len(self.seasons) + 1) + self.season + 1
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        if len(first) == len(key):
            return self
        mean, away = centred(place, len(first), self.count, self.mean)
        named = self.region >= 0
        shifts = np.sqrt(self.count)[:, None] * away
        within = [triangle(np.concatenate([self.within[side], shifts[of]])) for side, of in enumerate((named, ~named))]
        return type(self)(
            self.regions,
            self.seasons,
            self.region[first],
            self.season[first],
            np.bincount(place, self.count).astype(np.float64),
            mean,
            np.stack(within),
            self.lacking,
        )

    def named(self) -> Self:
        """Return the cells whose rows name their region."""
        named = self.region >= 0
        if named.all():
            return self
        within = np.stack([self.within[0], np.zeros_like(self.within[1])])
        return type(self)(
            self.regions,
            self.seasons,
            self.region[named],
            self.season[named],
            self.count[named],
            self.mean[named],
            within,
            self.lacking,
        )

    def in_one_region(self) -> Self:
        """Return the cells as if all rows were of one region: what tells of seasons alone."""
        scatter = triangle(np.concatenate(list(self.within)))
        within = np.stack([scatter, np.zeros_like(scatter)])
        region = np.zeros_like(self.region)
        one = dataclasses.replace(self, regions=(MANY_REGIONS,), region=region, within=within)
        return one._put_together()  # noqa: SLF001 - of the same class

    @classmethod
    def by_season(cls, regions: Sequence[str], seasons: Names, rows: Array) -> list[Self]:
        """Put rows together by season alone, one result for each crop.

        ``regions``: those that rows name. ``rows``: shape (n, features + crops), the yields of crops that all rows
        report last.
        """
        told = (MANY_REGIONS,) if len(regions) else ()
        # NumPy sorts short integers by their digits, many times as quickly as others.
        codes = seasons.codes if len(seasons.names) > MOST_SHORT else seasons.codes.astype(np.int16)
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(seasons.codes[order], return_index=True)
        columns = np.take(rows, order, axis=0)
        ends = [*starts[1:].tolist(), len(rows)]
        parts = [Moments.of(columns[start:end]) for start, end in zip(starts.tolist(), ends, strict=True)]
        return [cls.of_moments(parts, told, seasons.names, present, crop) for crop in range(FEATURES, rows.shape[1])]

    @classmethod
    def of_moments(
        cls, parts: list[Moments], regions: Sequence[str], seasons: Sequence[str], present: Codes, crop: int = FEATURES
    ) -> Self:
        """Take each part's moments as a cell of no region.

        ``present``: each part's season, as a number into the names, shape (m,). ``crop``: the column of the yield.
        """
        of = [part.of_columns([*range(FEATURES), crop]) for part in parts]
        lacking = np.sum([np.where(part.absent, float(part.count), 0.0) for part in of], axis=0)
        if lacking.any():
            of = [part.lacking(lacking > 0) for part in of]
        within = triangle(np.concatenate([part.factor for part in of]))
        return cls(
            regions,
            seasons,
            np.full(len(of), -1, dtype=np.int32),
            present,
            np.array([part.count for part in of], dtype=np.float64),
            np.stack([part.mean for part in of]),
            np.stack([np.zeros_like(within), within]),
            lacking,
        )

    def to_arrays(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """Return named arrays, for a file; the names of regions and seasons are not among them."""
        return {
            f"{prefix}region": self.region,
            f"{prefix}season": self.season,
            f"{prefix}count": self.count,
            f"{prefix}mean": np.ascontiguousarray(self.mean),
            f"{prefix}within": self.within,
            **({f"{prefix}lacking": self.lacking} if self.lacking.any() else {}),
        }

    @classmethod
    def from_arrays(
        cls, prefix: str, arrays: Mapping[str, NDArray[np.generic]], regions: Sequence[str], seasons: Sequence[str]
    ) -> Self:
        """Read back what `to_arrays` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not belong together.
        """
        region, season = (np.asarray(arrays[prefix + name], dtype=np.int32) for name in ("region", "season"))
        count, mean, within = (
            np.asarray(arrays[prefix + name], dtype=np.float64) for name in ("count", "mean", "within")
        )
        columns = mean.shape[1]
        lacking = np.asarray(arrays.get(prefix + "lacking", np.zeros(columns)), dtype=np.float64)
        if not len(region) == len(season) == len(count) == len(mean) or within.shape != (2, columns, columns):
            raise ValueError("the arrays of the cells do not belong together")
        if lacking.shape != (columns,):
            raise ValueError("the arrays of the cells do not belong together")
        if region.max(initial=-1) >= len(regions) or season.max(initial=-1) >= len(seasons):
            raise ValueError("a cell has a name that is not there")
        return cls(regions, seasons, region, season, count, mean, within, lacking)


def centred(place: NDArray[np.integer], groups: int, count: Array, rows: Array) -> tuple[Array, Array]:
    """Return the mean of each group's ``rows``, shape (groups, k), and the rows less the mean of their group, (n, k).

    ``place``: each row's group, 0 to groups - 1; ``count``: its weight. The mean is corrected by that of what is left,
    so that it is right to the last digits.
    """
    total = np.bincount(place, count, groups)[:, None]
    mean = group_sums(place, groups, count[:, None] * rows) / total
    away = rows - mean[place]
    correction = group_sums(place, groups, count[:, None] * away) / total
    return mean + correction, away - correction[place]


def group_sums(place: NDArray[np.integer], groups: int, rows: Array) -> Array:
    """Return the sum of each group's ``rows``, shape (groups, k); ``place``: each row's group."""
    return np.column_stack([np.bincount(place, column, groups) for column in rows.T])


def _together(parts: list[tuple[Sequence[str], Codes]]) -> tuple[Sequence[str], Codes]:
    """Return the names of all parts, each once, and all their codes as numbers into these."""
    numbers: dict[str, int] = {}
    codes = []
    for names, of in parts:
        table = np.array([*(numbers.setdefault(name, len(numbers)) for name in names), -1], dtype=np.int32)
        codes.append(table[of])
    return tuple(numbers), np.concatenate(codes)
