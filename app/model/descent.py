"""Gradient descent in PyTorch: on moments (the default), and on mini-batches (the tutorial's recipe).

The only room that imports torch, and so never imported by a process that serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from app.errors import Diverged
from app.model.design import RANK_TOLERANCE, design
from app.model.fit import CropFit, Fit, least_squares
from app.model.moments import Array, Moments
from app.model.progress import FITTING, Progress, Step, no_progress

ROUND = 1e-8
"""By how much a round of descent reduces the gradient before the residual is computed anew."""
EXACT = 1e-12
"""The relative error of the smallest weight at which descent is done."""


@dataclass(frozen=True, eq=False, slots=True)
class _Problem:
    """The standardised problem, minimise ½|A w - q|² per crop.

    AᵀA is the correlation matrix, yields have deviation 1.
    """

    matrix: Array  # A, shape (crops, d, d)
    target: Array  # q, shape (crops, d)
    scale: Array  # features' deviations over the yield's, shape (crops, d): w / scale is in tons per unit
    largest: Array  # L, the largest eigenvalue of AᵀA, shape (crops,)
    smallest: Array  # µ, the smallest that is not zero, shape (crops,)
    energy: Array  # n · deviation², tons² per unit of |A w - q|², shape (crops,)


def descend(
    crops: Mapping[str, Moments],
    *,
    epochs: int = 100_000,
    learning_rate: float | None = None,
    progress: Progress = no_progress,
) -> Fit:
    """Fit one line per crop by full-batch gradient descent on the moments of its rows, down to rounding level.

    Starts at zero with step 1/L and Nesterov's constant momentum (Nesterov 2004, "Introductory Lectures on Convex
    Optimization", 2.2.22), on standardised features and yields. Whenever the gradient has become ROUND times smaller,
    the residual is computed exactly and descent goes on from there (iterative refinement, Wilkinson 1963), which is
    what carries ill-conditioned problems to full precision. With ``learning_rate`` (standardised units) it is plain
    descent.

    Raises:
        Diverged: ``learning_rate`` is larger than 2/L.
    """
    closed = {crop: least_squares(moments) for crop, moments in crops.items()}
    problem = _standardise([fit.moments for fit in closed.values()])
    weights, losses = _refine(problem, list(closed.values()), epochs, learning_rate, progress)
    fits = {}
    for number, (crop, best) in enumerate(closed.items()):
        raw = weights[number] / problem.scale[number]
        intercept = float(best.moments.mean[-1] - raw @ best.moments.mean[:-1])
        fits[crop] = CropFit(raw, intercept, best.moments, best.rank, best.least_squares_loss)
    rows = sum(fit.moments.count for fit in fits.values())
    left = _residual(problem, [weights])
    excess = float(np.sum(problem.energy * np.sum(left**2, axis=1))) / rows
    return Fit("descent", fits, len(losses), tuple(losses), excess)


def _standardise(crops: list[Moments]) -> _Problem:
    parts = [_standardise_crop(moments) for moments in crops]
    return _Problem(*(np.stack(values) for values in zip(*parts, strict=True)))


def _standardise_crop(moments: Moments) -> tuple[Array, Array, Array, Array, Array, Array]:
    matrix, scale, rank = design(moments)
    deviation = moments.deviations[-1] if not moments.constant[-1] else 1.0
    target = moments.factor[:-1, -1] / (np.sqrt(moments.count) * deviation)
    if rank < len(scale):
        # In the directions that the rows do span, so that the optimum has residual zero here too.
        left, singular, right = np.linalg.svd(matrix)
        singular[singular <= RANK_TOLERANCE] = 0.0
        matrix, target = singular[:, None] * right, np.where(singular > 0, left.T @ target, 0.0)
    eigenvalues = np.linalg.svd(matrix, compute_uv=False) ** 2
    spanned = eigenvalues[eigenvalues > RANK_TOLERANCE**2]
    largest, smallest = (spanned.max(), spanned.min()) if len(spanned) else (1.0, 1.0)
    energy = moments.count * deviation**2
    return matrix, target, scale / deviation, np.asarray(largest), np.asarray(smallest), np.asarray(energy)


def _refine(
    problem: _Problem, closed: list[CropFit], epochs: int, learning_rate: float | None, progress: Progress
) -> tuple[Array, list[float]]:
    """Run rounds of descent until each weight is right to EXACT or ``epochs`` are used up.

    Return weights and losses.
    """
    corrections: list[Array] = []
    weights = np.zeros_like(problem.target)
    losses: list[float] = []
    while True:
        residual = _residual(problem, corrections)
        gradient = np.linalg.norm(np.einsum("cji,cj->ci", problem.matrix, residual), axis=1)
        size = np.abs(weights)
        error = gradient / problem.smallest
        if len(losses) >= epochs or np.all(
            (gradient == 0) | (error <= np.maximum(EXACT * size.min(axis=1), EXACT**1.5 * size.max(axis=1)))
        ):
            return weights, losses
        step = _Round(problem, residual, closed, learning_rate)
        corrections.append(step.run(losses, epochs, progress))
        weights = np.sum(corrections, axis=0)


def _residual(problem: _Problem, corrections: list[Array]) -> Array:
    """Return q - A Σ w exactly, rounded once: rational arithmetic, a few hundred products. Shape (crops, d)."""
    result = np.empty_like(problem.target)
    for crop in range(len(result)):
        weights = [sum((Fraction(w) for w in column), Fraction()) for column in _columns(corrections, crop)]
        for row, target in enumerate(problem.target[crop]):
            products = (Fraction(a) * w for a, w in zip(problem.matrix[crop, row].tolist(), weights, strict=False))
            result[crop, row] = float(Fraction(float(target)) - sum(products, Fraction()))
    return result


def _columns(corrections: list[Array], crop: int) -> list[tuple[float, ...]]:
    return list(zip(*(part[crop].tolist() for part in corrections), strict=True))


class _Round:
    """One round of descent with autograd: from zero, on what is left of the target."""

    def __init__(self, problem: _Problem, residual: Array, closed: list[CropFit], learning_rate: float | None) -> None:
        self._matrix = torch.from_numpy(problem.matrix)
        self._target = torch.from_numpy(residual)
        root = np.sqrt(problem.smallest / problem.largest)
        if learning_rate is None:
            step, momentum = 1.0 / problem.largest, (1.0 - root) / (1.0 + root)
        else:
            step, momentum = np.full_like(root, learning_rate), np.zeros_like(root)
        self._step = torch.from_numpy(step)[:, None]
        self._momentum = torch.from_numpy(momentum)[:, None]
        self._energy = torch.from_numpy(problem.energy)
        self._largest_stable = 2.0 / float(problem.largest.max())
        self._learning_rate = learning_rate
        self._rows = sum(fit.moments.count for fit in closed)
        self._floor = sum(fit.least_squares_loss * fit.moments.count for fit in closed)

    def run(self, losses: list[float], epochs: int, progress: Progress) -> Array:
        """Descend until every crop's gradient is ROUND of what it was; append each epoch's loss; return the weights."""
        weights = previous = torch.zeros_like(self._target)
        goal: torch.Tensor | None = None
        start: float | None = None
        while len(losses) < epochs:
            ahead = (weights + self._momentum * (weights - previous)).requires_grad_()
            left = (self._matrix @ ahead[..., None])[..., 0] - self._target
            error = left.square().sum(dim=1)
            (0.5 * error.sum()).backward()  # type: ignore[no-untyped-call]
            gradient = ahead.grad
            assert gradient is not None  # noqa: S101 - backward has just filled it
            with torch.no_grad():
                previous, weights = weights, ahead - self._step * gradient
                loss = (self._floor + float(self._energy @ error)) / self._rows
                norm = gradient.norm(dim=1)
            start = loss if start is None else start
            self._check(loss, start)
            losses.append(loss)
            progress(Step(FITTING, len(losses), epochs, loss))
            goal = ROUND * norm if goal is None else goal
            if bool((norm <= goal).all()):
                break
        return weights.detach().numpy()

    def _check(self, loss: float, start: float) -> None:
        if self._learning_rate is not None and not loss <= 1e3 * start:
            raise diverged(self._learning_rate, self._largest_stable)


def diverged(learning_rate: float, largest: float) -> Diverged:
    """The error for a learning rate beyond what the rows allow, which names both."""
    return Diverged(
        f"descent diverged with learning rate {learning_rate:g}: the largest stable one on these rows is {largest:.4e}"
    )


@dataclass(frozen=True, slots=True)
class TutorialRecipe:
    """The hyper-parameters of the recipe that the model comes from."""

    epochs: int = 50
    learning_rate: float = 1e-6
    batch_size: int = 3
    seed: int | None = None


def follow_tutorial(
    features: Array,
    targets: Array,
    crops: Mapping[str, Moments],
    recipe: TutorialRecipe = TutorialRecipe(),
    progress: Progress = no_progress,
) -> tuple[Fit, Array]:
    """Fit as the tutorial does, step by step and unchanged: float32 mini-batches, a hand-written loss and update.

    Args:
        features: shape (n, d), weather in raw units.
        targets: shape (n, crops), tons; every crop reported in every row.
        crops: the crops' moments over the same rows, in the order of the targets' columns.
        recipe: epochs, learning rate, batch size and seed.
        progress: called after each epoch with the loss over all rows.

    Returns:
        The fit and its predictions for the rows, shape (n, crops), tons.

    Raises:
        Diverged: the learning rate is too large for these rows.
    """
    if recipe.seed is not None:
        torch.manual_seed(recipe.seed)
    inputs = torch.from_numpy(features.astype(np.float32))
    wanted = torch.from_numpy(targets.astype(np.float32))
    loader = DataLoader(TensorDataset(inputs, wanted), recipe.batch_size, shuffle=True)

    w = torch.randn(targets.shape[1], features.shape[1], requires_grad=True)
    b = torch.randn(targets.shape[1], requires_grad=True)

    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ w.t() + b

    def mse(t1: torch.Tensor, t2: torch.Tensor) -> torch.Tensor:
        diff = t1 - t2
        return torch.sum(diff * diff) / diff.numel()

    with torch.no_grad():
        start = float(mse(model(inputs), wanted))
    losses: list[float] = []
    for epoch in range(1, recipe.epochs + 1):
        for x, y in loader:
            loss = mse(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                _update(w, recipe.learning_rate)
                _update(b, recipe.learning_rate)
        with torch.no_grad():
            whole = float(mse(model(inputs), wanted))
        if not np.isfinite(whole):
            break
        losses.append(whole)
        progress(Step(FITTING, epoch, recipe.epochs, whole))
    if not np.isfinite(whole) or whole > start:
        raise diverged(recipe.learning_rate, largest_stable_rate(features, targets.shape[1]))
    with torch.no_grad():
        predictions = model(inputs).numpy().astype(np.float64)
    return _tutorial_fit(w.detach().numpy(), b.detach().numpy(), crops, losses), predictions


def _update(parameter: torch.Tensor, learning_rate: float) -> None:
    gradient = parameter.grad
    assert gradient is not None  # noqa: S101 - backward has just filled it
    parameter -= gradient * learning_rate
    gradient.zero_()


def _tutorial_fit(w: Array, b: Array, crops: Mapping[str, Moments], losses: list[float]) -> Fit:
    fits = {}
    for number, (crop, moments) in enumerate(crops.items()):
        best = least_squares(moments)
        fits[crop] = CropFit(
            w[number].astype(np.float64), float(b[number]), moments, best.rank, best.least_squares_loss
        )
    rows = sum(fit.moments.count for fit in fits.values())
    excess = sum((fit.loss - fit.least_squares_loss) * fit.moments.count for fit in fits.values()) / rows
    return Fit("tutorial", fits, len(losses), tuple(losses), excess)


def largest_stable_rate(features: Array, crops: int) -> float:
    """Return 2 / λ, λ the largest eigenvalue of the Hessian (2 / crops) · XᵀX / n, with a column of ones in X."""
    design_matrix = np.column_stack([features, np.ones(len(features))])
    largest = np.linalg.svd(design_matrix, compute_uv=False)[0] ** 2 / len(features)
    return float(crops / largest)
