"""The mean weather of regions, over stored rows: what a dry run shows predictions for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import safetensors.numpy

from app.model.cells import group_sums
from app.model.moments import Array
from app.model.names import packed_names, unpacked_names
from app.model.weather import FEATURE_NAMES

Region = str | None


@dataclass(frozen=True, slots=True)
class RegionMean:
    """The mean weather of a region's ``rows``, shape (3,), of those that have a value; NaN where none has."""

    rows: int
    weather: Array


@dataclass(frozen=True, eq=False, slots=True)
class RegionMeans:
    """Those of m ``regions``, among them None, the rows without one.

    ``rows``: how many each has, shape (m,); ``known``: how many have a value of each feature, shape (m, 3); ``mean``:
    theirs, shape (m, 3), 0 where none has.
    """

    regions: tuple[Region, ...]
    rows: Array
    known: Array
    mean: Array

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Self:
        """Take rows of a query: region, count, each feature's count, each feature's mean or None."""
        table = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), 1 + 2 * len(FEATURE_NAMES))
        known, mean = np.split(table[:, 1:], 2, axis=1)
        return cls(tuple(row[0] for row in rows), table[:, 0], known, np.nan_to_num(mean))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Merge those of disjoint sets of rows."""
        present = list(parts)
        if len(present) == 1:
            return present[0]
        numbers: dict[Region, int] = {}
        place = np.array(
            [numbers.setdefault(region, len(numbers)) for part in present for region in part.regions], dtype=np.intp
        )
        empty = np.zeros((0, len(FEATURE_NAMES)))
        known = np.concatenate([empty, *(part.known for part in present)])
        mean = np.concatenate([empty, *(part.mean for part in present)])
        rows = np.concatenate([np.zeros(0), *(part.rows for part in present)])
        counts = group_sums(place, len(numbers), known)
        sums = group_sums(place, len(numbers), known * mean)
        totals = group_sums(place, len(numbers), rows[:, None])[:, 0]
        return cls(tuple(numbers), totals, counts, sums / np.maximum(counts, 1.0))

    def by_region(self) -> dict[Region, RegionMean]:
        """Return each region's."""
        means = np.where(self.known > 0, self.mean, np.nan)
        return {
            region: RegionMean(int(rows), mean)
            for region, rows, mean in zip(self.regions, self.rows.tolist(), means, strict=True)
        }

    def to_bytes(self) -> bytes:
        """Return it as bytes."""
        arrays = {"rows": self.rows, "known": self.known, "mean": self.mean}
        tensors: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return safetensors.numpy.save(tensors | {"regions": packed_names(self.regions)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` returned.

        Raises:
            ValueError, KeyError, TypeError, SafetensorError: it is not that.
        """
        tensors = safetensors.numpy.load(content)
        return cls(tuple(unpacked_names(tensors["regions"])), *(tensors[name] for name in ("rows", "known", "mean")))
