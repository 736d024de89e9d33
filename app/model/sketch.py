"""A sketch: how far yields lay from what was predicted of them, put together by season.

Sketches add: those of batches make that of all rows, and a batch that is withdrawn takes its own along.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.cells import group_sums
from app.model.moments import Array
from app.model.names import Names
from app.model.seasons import numbered, together

BINS = 64
OCTAVE = 8
"""Bins in a doubling of r: an edge is 2^(1/8) = 1.09 times the one below it."""
LOG_EDGES: Array = np.arange(-36, -36 + BINS + 1) / OCTAVE
"""log2 of the edges of the bins, shape (65,): r from 1/22.6 to 11.3, with r = 1 exactly an edge."""
UP_TO_1 = int(np.searchsorted(LOG_EDGES, 0.0))
"""The bins that hold r <= 1: the rows inside their 95% interval."""
BEYOND = 1e6
"""A row farther off counts as this far in the sums of z, which therefore stay finite; the counts know no such bound."""
_COLUMNS = ("count", "total", "squares", "within_80", "shared")


@dataclass(frozen=True, eq=False, slots=True)
class Sketch:
    """One crop's rows by season, S of them, in the order in which they first appear; None: the rows without one.

    Of more than 500 seasons there is but None.

    z = (y - ŷ) / (the standard error of predicting y) of a row, and r = |z| / t(95%, df), of the degrees of freedom
    of the model that predicted it: a row lies inside its 95% interval where r <= 1. Neither has a unit.

    By season, float64: ``count``: its rows, ``total``: Σz, ``squares``: Σz², ``within_80``: rows inside their 80%
    interval, ``shared``: Σc², c the share of a z's variance that all rows of its season have in common, all of shape
    (S,). ``bins``: rows by r, shape (S, 64), each bin without its lower edge and with its upper one; what is below all
    edges is in the first bin, what is above them in the last. Counts are exact up to 2^53.
    """

    seasons: tuple[str | None, ...]
    count: Array
    total: Array
    squares: Array
    within_80: Array
    shared: Array
    bins: Array

    @classmethod
    def of(
        cls,
        seasons: Names | Sequence[str | None],
        z: Array,
        t_95: Array | float,
        t_80: Array | float,
        shared: Array | float = 0.0,
    ) -> Self:
        """Put n rows together: ``z``, shape (n,), may be infinite.

        ``t_95`` and ``t_80``: the quantiles of Student's t that belong to them, shape (n,) or one for all; ``shared``:
        what share of each z's variance all rows of its season have in common, 0 to 1, alike.

        Raises:
            ValueError: a z is not a number, the rows are not as many as their seasons, not 0 < t_80 <= t_95 < ∞, or a
                share is not one.
        """
        z = np.asarray(z, dtype=np.float64)
        t_95, t_80, shared = (np.broadcast_to(given, z.shape) for given in (t_95, t_80, shared))
        if z.shape != (len(seasons),) or np.isnan(z).any():
            raise ValueError(f"{len(seasons)} rows need a number z each")
        if not ((t_80 > 0.0) & (t_80 <= t_95) & np.isfinite(t_95)).all():
            raise ValueError("the quantiles of t are to be 0 < t_80 <= t_95")
        if not ((shared >= 0.0) & (shared <= 1.0)).all():
            raise ValueError("what rows share of their variance is to be 0 to 1")
        names, place = numbered(Names.of(seasons))
        away, kept = np.abs(z), np.clip(z, -BEYOND, BEYOND)
        # A quotient rounds to 1 only where both are equal, so that r <= 1 is |z| <= t exactly.
        bins = np.searchsorted(np.exp2(LOG_EDGES[1:-1]), away / t_95)
        many = len(names)
        rows = np.column_stack([np.ones(len(z)), kept, kept * kept, away <= t_80, shared**2])
        count, total, squares, within_80, squared_share = np.ascontiguousarray(group_sums(place, many, rows).T)
        by_bin = np.bincount(place * BINS + bins, minlength=many * BINS).reshape(many, BINS)
        return cls(names, count, total, squares, within_80, squared_share, by_bin.astype(np.float64))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Add those of disjoint sets of rows, season by season; of no set it is the one without rows."""
        present = list(parts)
        names, place = together(part.seasons for part in present)
        tables = [np.column_stack([*(getattr(part, name) for name in _COLUMNS), part.bins]) for part in present]
        rows = np.concatenate([np.zeros((0, len(_COLUMNS) + BINS)), *tables])
        sums = group_sums(place, len(names), rows)
        count, total, squares, within_80, shared = np.ascontiguousarray(sums[:, : len(_COLUMNS)].T)
        return cls(names, count, total, squares, within_80, shared, sums[:, len(_COLUMNS) :])

    def without_seasons(self) -> Self:
        """Return the same rows as those of no season."""
        nothing: tuple[str | None, ...] = (None,)
        rows = np.column_stack([*(getattr(self, name) for name in _COLUMNS), self.bins]).sum(axis=0, keepdims=True)
        if not len(self.seasons):
            return self
        count, total, squares, within_80, shared = np.ascontiguousarray(rows[:, : len(_COLUMNS)].T)
        return type(self)(nothing, count, total, squares, within_80, shared, rows[:, len(_COLUMNS) :])

    @property
    def independent(self) -> float:
        """As many rows of which none share anything tell as much: Σ n / (1 + (n - 1) c²) over the seasons.

        Whether a row lies inside depends on z's size, not its sign: of two such questions the correlation is at most c²
        where that of the two z is c. Rows without a season are taken as of one.
        """
        shared = self.shared / np.maximum(self.count, 1.0)
        return float(np.sum(self.count / (1.0 + (self.count - 1.0) * shared)))

    def to_arrays(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """Return named arrays, for a file; the names of the seasons are not among them."""
        smallest = np.uint32 if self.bins.max(initial=0.0) <= np.iinfo(np.uint32).max else np.uint64
        return {
            **{prefix + name: np.ascontiguousarray(getattr(self, name)) for name in _COLUMNS},
            f"{prefix}bins": np.ascontiguousarray(self.bins, dtype=smallest),
        }

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Mapping[str, NDArray[np.generic]], seasons: Sequence[str | None]) -> Self:
        """Read back what `to_arrays` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not belong together, or are of no rows that there could be.
        """
        found = [np.asarray(arrays[prefix + name], dtype=np.float64) for name in (*_COLUMNS, "bins")]
        bins = found[-1]
        many = len(seasons)
        if bins.shape != (many, BINS) or any(array.shape != (many,) for array in found[:-1]):
            raise ValueError("the arrays of the sketch do not belong together")
        if len(set(seasons)) != many or not all(np.isfinite(array).all() for array in found):
            raise ValueError("a season of the sketch is there twice, or a number of it is not finite")
        sketch = cls(tuple(seasons), *found)
        if not sketch._adds_up():
            raise ValueError("the counts of the sketch do not add up")
        return sketch

    def _adds_up(self) -> bool:
        """Return whether its counts are those of rows, at least one a season."""
        counts = np.column_stack([self.within_80, self.bins])
        whole = (counts >= 0.0) & (counts == np.floor(counts))
        inside = self.within_80 <= self.bins[:, :UP_TO_1].sum(axis=1)
        present = (self.count >= 1.0) & (self.count == self.bins.sum(axis=1)) & (self.squares >= 0.0)
        present &= (self.shared >= 0.0) & (self.shared <= self.count)
        return bool(whole.all() and inside.all() and present.all())
