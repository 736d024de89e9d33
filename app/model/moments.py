"""Moments: all that least squares needs to know of a set of rows.

A row is z = (features, yield), k numbers with the yield last. The moments of n rows are the count, the mean vector and
the centred co-moment matrix S = Σ (z - z̄)(z - z̄)ᵀ, which is held as its triangular factor F with FᵀF = S. The
factor keeps twice the digits: forming S squares the condition number (on NIST's Wampler1, S in float64 leaves six right
digits of the coefficients, F leaves ten). Moments of disjoint sets merge into the moments of their union.

A column that some row has no value in (NaN) is absent: nothing can be said of it for all the rows. It is left out, and
the other columns' moments are those of rows without it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 16_384
"""Rows that are centred and factored at a time: 16 384 rows of 4 columns are 512 KiB and stay in the cache."""

MANY = 1_024
"""Rows of a block from which the product is formed, where that is safe."""
INDEPENDENT = 0.02
"""Each column must have this share of its deviation of its own: then the product keeps twelve digits."""
NEARLY_DEPENDENT = 1e-2
"""Where a feature has a smaller share of its spread of its own than this, the factor is computed with more digits."""
LARGEST = 1e150
"""Deviations up to here can be squared and summed."""


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """Moments of ``count`` rows of k columns, the yield last; float64 throughout, in the columns' own units.

    ``mean``, ``minimum``, ``maximum``: shape (k,). ``factor``: shape (k, k), upper triangular with a diagonal >= 0,
    ``factor.T @ factor`` is the centred co-moment matrix. With no rows, mean and factor are zero and the range is empty
    (minimum +inf, maximum -inf); so are those of an absent column.
    """

    count: int
    mean: Array
    factor: Array
    minimum: Array
    maximum: Array

    @classmethod
    def empty(cls, columns: int) -> Self:
        """Return the moments of no rows: the neutral element of merging."""
        zero = np.zeros(columns)
        return cls(0, zero, np.zeros((columns, columns)), np.full(columns, np.inf), np.full(columns, -np.inf))

    @classmethod
    def of(cls, rows: Array) -> Self:
        """Compute the moments of ``rows``, shape (n, k), in two passes over blocks that fit the cache.

        A column with a NaN in it is absent.

        Raises:
            OverflowError: the squares of the values leave float64.
        """
        count, width = rows.shape
        room = np.ones((width + 1, min(count, BLOCK)))
        blocks = (rows[start : start + BLOCK] for start in range(0, count, BLOCK))
        return cls.merge([cls._of_block(block, room[:, : len(block)]) for block in blocks], columns=width)

    @classmethod
    def _of_block(cls, rows: Array, room: Array) -> Self:
        """``room``, shape (k + 1, n), is overwritten except its last row, which holds ones.

        NumPy runs along the last axis several times as fast as across it, and new memory for each block would cost as
        much as the arithmetic.
        """
        columns, ones = room[:-1], room[-1]
        np.copyto(columns, rows.T)
        minimum, maximum = columns.min(axis=1), columns.max(axis=1)
        if np.isnan(minimum).any():
            kept = np.flatnonzero(~np.isnan(minimum)).tolist()
            return cls.of(rows[:, kept])._among(kept, rows.shape[1])  # noqa: SLF001 - of the same class
        mean = columns @ ones / len(rows)
        np.subtract(columns, mean[:, None], out=columns)
        factor = _triangle_of_many(room) if len(rows) >= MANY else None
        if factor is None:
            factor = triangle(columns.T)
            if _is_nearly_dependent(factor):
                exact = rows.astype(np.longdouble)
                factor = _careful(exact - exact.mean(axis=0))
        return cls(len(rows), mean, factor, minimum, maximum)

    @classmethod
    def merge(cls, parts: Iterable[Self], columns: int) -> Self:
        """Merge the moments of disjoint sets of rows into those of their union.

        S = Σ Sᵢ + Σ nᵢ (z̄ᵢ - z̄)(z̄ᵢ - z̄)ᵀ: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
        variance", eq. 2.1, here for many sets at once and in factored form: the factor of all the Fᵢ and the weighted
        differences of the means, stacked. Nothing is ever subtracted from a set, which would cancel.

        Raises:
            OverflowError: the squares of the values leave float64.
        """
        present = [part for part in parts if part.count]
        if not present:
            return cls.empty(columns)
        if len(present) == 1:
            return present[0]
        absent = np.logical_or.reduce([part.minimum > part.maximum for part in present])
        if absent.any():
            kept = np.flatnonzero(~absent).tolist()
            return cls.merge((part.of_columns(kept) for part in present), len(kept))._among(kept, columns)  # noqa: SLF001
        counts = np.array([part.count for part in present], dtype=np.float64)
        means = np.stack([part.mean for part in present])
        total = sum(part.count for part in present)
        # weighted around one of the means, so that equal means merge without rounding
        mean = means[0] + (counts / total) @ (means - means[0])
        shifts = np.sqrt(counts)[:, None] * (means - mean)
        return cls(
            total,
            mean,
            triangle(np.concatenate([*(part.factor for part in present), shifts])),
            np.min([part.minimum for part in present], axis=0),
            np.max([part.maximum for part in present], axis=0),
        )

    def of_columns(self, numbers: list[int]) -> Self:
        """Return the moments of some of the columns, in this order."""
        if numbers == list(range(self.columns)):
            return self
        factor = triangle(self.factor[:, numbers])
        return type(self)(self.count, self.mean[numbers], factor, self.minimum[numbers], self.maximum[numbers])

    def _among(self, numbers: list[int], columns: int) -> Self:
        """Return the moments of more columns: these have the ``numbers``, the others are absent."""
        whole = type(self).empty(columns)
        for mine, theirs in ((self.mean, whole.mean), (self.minimum, whole.minimum), (self.maximum, whole.maximum)):
            theirs[numbers] = mine
        whole.factor[np.ix_(numbers, numbers)] = self.factor
        return type(self)(self.count, whole.mean, whole.factor, whole.minimum, whole.maximum)

    def lacking(self, absent: NDArray[np.bool_]) -> Self:
        """Return the same with more columns left out; ``absent``: which, shape (k,)."""
        missing = absent | self.absent
        if not self.count or np.array_equal(missing, self.absent):
            return self
        kept = np.flatnonzero(~missing).tolist()
        return self.of_columns(kept)._among(kept, self.columns)  # noqa: SLF001 - of the same class

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Which columns some row has no value in, shape (k,)."""
        return (self.minimum > self.maximum) & (self.count > 0)

    @property
    def columns(self) -> int:
        """How many columns a row has, the yield included."""
        return len(self.mean)

    @property
    def comoments(self) -> Array:
        """The centred co-moment matrix S, shape (k, k)."""
        return np.asarray(self.factor.T @ self.factor)

    @property
    def deviations(self) -> Array:
        """Standard deviations of the columns, shape (k,), with divisor n."""
        return np.asarray(np.linalg.norm(self.factor, axis=0) / np.sqrt(max(self.count, 1)))

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Which columns have one value only, or are absent, shape (k,)."""
        return ~(self.maximum > self.minimum)

    def squared_error(self, weights: Array, intercept: float) -> float:
        """Σ (yield - prediction)² over the rows, of any linear model.

        ``weights`` of shape (k - 1,), per unit of the features.
        """
        if not self.count:
            return 0.0
        direction = np.append(-weights, 1.0)
        bias = direction @ self.mean - intercept
        return float(self.count * bias**2 + np.sum((self.factor @ direction) ** 2))


def _triangle_of_many(room: Array) -> Array | None:
    """Return what `triangle` returns for ``room[:-1].T``, from the product, which is quicker.

    None where the columns are so nearly dependent that forming the product would cost digits.
    """
    columns = room[:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        # With one row more on the left this is BLAS' gemm; for columns @ columns.T NumPy calls syrk: four times slower.
        product = (room @ columns.T)[:-1]
    scale = np.sqrt(np.diag(product))
    if not (np.isfinite(product).all() and (scale > 0).all()):
        return None
    try:
        lower = np.linalg.cholesky(product / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return None
    if np.diag(lower).min() < INDEPENDENT:
        return None
    return np.asarray((lower * scale[:, None]).T)


def triangle(rows: Array) -> Array:
    """Return the upper triangular F, shape (k, k), with FᵀF = rowsᵀ rows, without forming the product.

    Raises:
        OverflowError: an entry of F is not finite.
    """
    columns = rows.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        factor: Array = np.asarray(np.linalg.qr(rows, mode="r"))
    if not (np.abs(factor) < LARGEST).all():
        raise OverflowError("the squares of the values are larger than float64 holds (1.8e308)")
    if _is_nearly_dependent(factor) and len(rows) <= BLOCK:
        factor = _careful(rows)
    if len(factor) < columns:
        factor = np.concatenate([factor, np.zeros((columns - len(factor), columns))])
    signs: Array = np.where(np.diag(factor) < 0, -1.0, 1.0)
    return np.asarray(signs[:, None] * factor)


def _is_nearly_dependent(factor: Array) -> bool:
    """Say whether a feature, of which the last column is none, is nearly a combination of those before it."""
    own = np.abs(np.diag(factor))[: factor.shape[1] - 1]
    spread = np.linalg.norm(factor, axis=0)[: len(own)]
    return bool((own < NEARLY_DEPENDENT * spread).any())


def _careful(rows: NDArray[np.floating]) -> Array:
    """Return F as `triangle` does, by the Gram-Schmidt process, each step twice, in the longest floats there are.

    Of 64 or more binary digits on most processors; where they are float64 nothing is lost but time. The process goes
    through the columns in order, so that all of F comes of it (Giraud, Langou and Rozloznik 2005).
    """
    columns = rows.astype(np.longdouble).T.copy()
    factor = np.zeros((len(columns), len(columns)), dtype=np.longdouble)
    for number in range(len(columns)):
        for _ in range(2):
            for before in range(number):
                along = columns[before] @ columns[number]
                factor[before, number] += along
                columns[number] -= along * columns[before]
        factor[number, number] = np.sqrt(columns[number] @ columns[number])
        if factor[number, number] > 0:
            columns[number] /= factor[number, number]
    return factor.astype(np.float64)
