"""The design: how a set of rows spreads over the features, and how far out a point lies from it."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.model.moments import BLOCK, Array, Moments

RANK_TOLERANCE = 1e-10
"""A direction in which standardised features vary by less than this share of the widest one counts as none."""
GROUP = 64
"""Values that are compared with each other before the largest of all are looked for."""


class Design(NamedTuple):
    """The standardised features: ``matrix`` A, shape (k - 1, k - 1), with AᵀA = their correlation matrix.

    ``scale``, shape (k - 1,), holds standard deviations, and 1 for a constant or an absent column, whose column of A is
    zero.
    ``rank``: how many directions they span.
    """

    matrix: Array
    scale: Array
    rank: int


@lru_cache(maxsize=16)
def design(moments: Moments) -> Design:
    """Return the design of the rows that the moments are of."""
    constant = moments.constant[:-1]
    scale = np.where(constant, 1.0, moments.deviations[:-1])
    matrix = moments.factor[:-1, :-1] / (scale * np.sqrt(max(moments.count, 1)))
    matrix[:, constant] = 0.0
    singular = np.linalg.svd(matrix, compute_uv=False)
    return Design(matrix, scale, int(np.sum(singular > RANK_TOLERANCE * max(singular.max(initial=0.0), 1.0))))


@lru_cache(maxsize=16)
def whitener(moments: Moments) -> Array:
    """Return T, shape (k - 1, k - 1), with |T(x - x̄)|² = (x - x̄)ᵀ S⁺ (x - x̄).

    Directions the rows do not span count as zero.
    """
    matrix, scale, rank = design(moments)
    root_n = np.sqrt(max(moments.count, 1))
    if rank == len(scale):
        return np.asarray(np.tril(np.linalg.inv(matrix).T) / (scale * root_n))
    return np.asarray(np.linalg.pinv(matrix, rcond=RANK_TOLERANCE).T / (scale * root_n))


def leverages(features: Array, moments: Moments) -> Array:
    """Return h(x) = 1/n + (x - x̄)ᵀ S⁻¹ (x - x̄) for each row of ``features``, shape (n, k - 1), as shape (n,)."""
    columns, root, middle = features.T, whitener(moments), moments.mean[:-1, None]
    result = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        away = root @ (columns[:, start : start + BLOCK] - middle)
        np.einsum("ij,ij->j", away, away, out=result[start : start + BLOCK])
    result += 1.0 / moments.count
    return result


def outermost(features: Array, moments: Moments, most: int) -> Array:
    """Return the up to ``most`` rows of ``features`` with the largest leverage."""
    if len(features) <= most:
        return features
    return features[_largest(leverages(features, moments), most)]


def _largest(values: Array, most: int) -> NDArray[np.intp]:
    """Return where the ``most`` largest are.

    Many values are cut into groups first: the smallest of the ``most`` largest group maxima is a bound that most
    values stay under, and only the others need to be ranked.
    """
    groups = len(values) // GROUP
    if groups > most:
        maxima = values[: groups * GROUP].reshape(groups, GROUP).max(axis=1)
        rows = np.flatnonzero(values >= np.partition(maxima, -most)[-most])
    else:
        rows = np.arange(len(values))
    return rows[np.argpartition(values[rows], -most)[-most:]] if len(rows) > most else rows


def undetermined(moments: Moments) -> tuple[list[int], list[int]]:
    """Return which features are constant, and which of the others depend linearly on each other, as column numbers.

    Those that are absent are neither.
    """
    matrix = design(moments).matrix
    constant = np.flatnonzero(moments.constant[:-1] & ~moments.absent[:-1]).tolist()
    _, singular, directions = np.linalg.svd(matrix)
    null = directions[singular <= RANK_TOLERANCE * max(singular.max(initial=0.0), 1.0)]
    involved = np.flatnonzero((np.abs(null) > _INVOLVED).any(axis=0)).tolist()
    return constant, [column for column in involved if not moments.constant[column]]


_INVOLVED = 1e-6
"""A column takes part in a dependence if its share of the null direction is larger than this."""


def condition_number(moments: Moments) -> float | None:
    """Return the largest over the smallest singular value of the standardised features.

    None where they are dependent. Those that are absent are not looked at.
    """
    matrix, _, rank = design(moments)
    kept = ~moments.absent[:-1]
    if rank < np.count_nonzero(kept) or not rank:
        return None
    singular = np.linalg.svd(matrix if kept.all() else matrix[:, kept], compute_uv=False)
    return float(singular.max() / singular.min())
