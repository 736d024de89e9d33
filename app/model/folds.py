"""One crop's rows as moments per fold: what makes cross-validation cost one pass, and merging exact.

The fold of a row depends on its region's name (or, unnamed, on its weather), never on its place in the table.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.design import outermost
from app.model.moments import Array, Moments
from app.model.names import Names

FOLDS = 5
FRONTIER = 64
"""How many of a batch's outermost rows are kept, from which the largest leverage is found after merging."""

KNOWN_NAMES = 2**17
"""Names whose fold is remembered until `forget_names`: parts of one table have mostly the same ones."""


def assign_folds(regions: Sequence[str | None], weather: Array) -> NDArray[np.uint8]:
    """Return the fold, 0 to 4, of each row: shape (n,).

    ``weather``, shape (n, features), stands in for a missing name.
    """
    names = Names.of(regions)
    if not names.names:
        return _folds_of_weather(weather)
    named = names.codes >= 0
    by_name = np.fromiter(map(_fold_of_name, names.names), np.uint8, len(names.names))
    if named.all():
        return by_name[names.codes]
    folds = _folds_of_weather(weather)
    folds[named] = by_name[names.codes[named]]
    return folds


@lru_cache(KNOWN_NAMES)
def _fold_of_name(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") % FOLDS


def forget_names() -> None:
    """Give back the memory of names that have been told from one another."""
    _fold_of_name.cache_clear()


def hashes(weather: Array) -> NDArray[np.uint64]:
    """Mix the bits of each row's numbers, shape (n, k): steps are those of SplitMix64 (Steele, Lea and Flood 2014).

    A column without any value (NaN) has no part in it.
    """
    mixed = np.zeros(len(weather), dtype=np.uint64)
    for column in weather.T:
        if np.isnan(column).all():
            continue
        mixed ^= (column + 0.0).view(np.uint64)  # + 0.0: -0 and 0 are one number
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _folds_of_weather(weather: Array) -> NDArray[np.uint8]:
    mixed = hashes(weather)
    mixed *= np.uint64(0x94D049BB133111EB)
    return ((mixed >> np.uint64(32)) % np.uint64(FOLDS)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class FoldedMoments:
    """Moments of one crop's rows, fold by fold, and the frontier.

    The features of their outermost rows, shape (m, k - 1); 0 in a column that is absent.
    """

    folds: tuple[Moments, ...]
    frontier: Array

    @classmethod
    def of(cls, features: Array, yields: Array, fold: NDArray[np.uint8]) -> list[Self]:
        """Compute those of crops that the same rows report, in one pass, one for each column of ``yields``.

        ``features``: shape (n, k - 1). ``yields``: shape (n, crops), tons. ``fold``: each row's, shape (n,).
        """
        order = np.argsort(fold, kind="stable")
        columns = np.empty((features.shape[1] + yields.shape[1], len(order)))
        for number, column in enumerate((*features.T, *yields.T)):
            np.take(column, order, out=columns[number], mode="clip")
        ends = np.cumsum(np.bincount(fold, minlength=FOLDS)).tolist()
        joint = [Moments.of(columns[:, start:end].T) for start, end in pairwise([0, *ends])]
        weather = range(features.shape[1])
        crops = [[part.of_columns([*weather, crop]) for part in joint] for crop in range(len(weather), len(columns))]
        total = Moments.merge(crops[0], len(weather) + 1)
        known = np.where(total.absent[:-1], 0.0, features) if total.absent.any() else features
        frontier = outermost(known, total, FRONTIER)
        return [cls(tuple(folds), frontier) for folds in crops]

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Merge those of disjoint sets of rows; at least one part."""
        present = list(parts)
        columns = present[0].folds[0].columns
        folds = [Moments.merge((part.folds[number] for part in present), columns) for number in range(FOLDS)]
        frontier = np.concatenate([part.frontier for part in present])
        absent = np.logical_or.reduce([fold.absent for fold in folds])
        if absent.any():  # what some rows lack is left out of all folds: each is predicted by a fit on the others
            folds = [fold.lacking(absent) for fold in folds]
            frontier = np.where(absent[:-1], 0.0, frontier)
        return cls(tuple(folds), frontier)

    def trimmed(self) -> Self:
        """Keep only the outermost rows of the frontier."""
        return type(self)(self.folds, outermost(self.frontier, self.total, FRONTIER))

    @cached_property
    def total(self) -> Moments:
        """The moments of all the rows."""
        return Moments.merge(self.folds, self.folds[0].columns)

    def spreads_as(self, other: Self) -> bool:
        """Say whether the other's rows have the same features."""
        mine, theirs = self.total, other.total
        return (
            mine.count == theirs.count
            and np.array_equal(mine.mean[:-1], theirs.mean[:-1])
            and np.array_equal(mine.factor[:-1, :-1], theirs.factor[:-1, :-1])
            and np.array_equal(mine.absent, theirs.absent)
            and np.array_equal(self.frontier, other.frontier)
        )

    def without(self, fold: int) -> Moments:
        """The moments of the rows outside one fold: merged from the others, not subtracted."""
        others = self.folds[:fold] + self.folds[fold + 1 :]
        return Moments.merge(others, self.folds[0].columns)

    def to_arrays(self, prefix: str) -> dict[str, Array]:
        """Return named float64 arrays, for a file: ``prefix`` + count, mean, factor, minimum, maximum, frontier."""
        arrays = {
            "count": np.array([part.count for part in self.folds], dtype=np.float64),
            "mean": np.stack([part.mean for part in self.folds]),
            "factor": np.stack([part.factor for part in self.folds]),
            "minimum": np.stack([part.minimum for part in self.folds]),
            "maximum": np.stack([part.maximum for part in self.folds]),
            "frontier": self.frontier,
        }
        return {prefix + name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Mapping[str, Array]) -> Self:
        """Read back what `to_arrays` returned.

        Raises:
            KeyError: an array is missing.
        """
        stacks = (arrays[prefix + name] for name in ("mean", "factor", "minimum", "maximum"))
        folds = zip(arrays[prefix + "count"], *stacks, strict=True)
        return cls(tuple(Moments(int(count), *parts) for count, *parts in folds), arrays[prefix + "frontier"])
