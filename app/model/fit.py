"""What fitting returns, whichever recipe did it, and the closed form that it is compared with."""

from dataclasses import dataclass

import numpy as np

from app.model.design import RANK_TOLERANCE, design
from app.model.moments import Array, Moments

CONVERGED_GAP = 1e-10
ROUNDING = 1e-15
"""A loss below this share of the yields' variance is a perfect fit; gaps are not measured in smaller units."""


@dataclass(frozen=True, eq=False, slots=True)
class CropFit:
    """One crop's line.

    ``weights`` in tons per unit of each feature, shape (k - 1,), ``intercept`` in tons, losses in tons².

    ``moments`` are those of the rows it was fitted on; ``rank`` is how many of the features they can tell apart.
    """

    weights: Array
    intercept: float
    moments: Moments
    rank: int
    least_squares_loss: float

    @property
    def loss(self) -> float:
        """Mean squared error over the crop's rows."""
        return self.moments.squared_error(self.weights, self.intercept) / self.moments.count

    @property
    def full_rank(self) -> bool:
        """Whether the rows determine the coefficient of every feature that varies; one that does not has weight 0."""
        return self.rank == int(np.sum(~self.moments.constant[:-1]))


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """All crops' lines, fitted together.

    ``losses``: the loss after each epoch. ``excess``: what the loss has above the least-squares loss, in tons²,
    computed without cancellation where the recipe can.
    """

    recipe: str
    crops: dict[str, CropFit]
    epochs: int
    losses: tuple[float, ...]
    excess: float

    @property
    def rows(self) -> int:
        """Reported yields over all crops: the number of elements that the loss is a mean of."""
        return sum(crop.moments.count for crop in self.crops.values())

    @property
    def least_squares_loss(self) -> float:
        """The smallest loss any linear model can have on these rows (mean over all elements)."""
        return sum(crop.least_squares_loss * crop.moments.count for crop in self.crops.values()) / self.rows

    @property
    def loss(self) -> float:
        """Mean squared error over all elements."""
        return self.least_squares_loss + self.excess

    @property
    def relative_gap(self) -> float:
        """(loss - least-squares loss) / least-squares loss; the divisor at least ROUNDING of the yields' variance."""
        variance = sum(float(np.sum(crop.moments.factor[:, -1] ** 2)) for crop in self.crops.values()) / self.rows
        unit = max(self.least_squares_loss, ROUNDING * variance)
        return self.excess / unit if unit else 0.0

    @property
    def converged(self) -> bool:
        """Whether the loss is the least-squares loss to a relative 1e-10."""
        return self.relative_gap <= CONVERGED_GAP


def least_squares(moments: Moments) -> CropFit:
    """Solve the crop's least squares in closed form: minimum norm in standardised features where they are collinear."""
    matrix, scale, rank = design(moments)
    target = moments.factor[:-1, -1] / np.sqrt(moments.count)
    standardised = np.linalg.lstsq(matrix, target, rcond=RANK_TOLERANCE)[0]
    weights = standardised / scale
    intercept = float(moments.mean[-1] - weights @ moments.mean[:-1])
    left = np.append(target - matrix @ standardised, moments.factor[-1, -1] / np.sqrt(moments.count))
    return CropFit(weights, intercept, moments, rank, float(left @ left))
