"""Bands of 95%: how far what few pairs show of a bias, an error or a coverage may be off what further ones would show.

Regions of a season fail together, so that many pairs of few seasons tell little more than the seasons do. From three
seasons on bands are made of these; `scripts/simulate_scores.py` shows that they hold what they promise, and that bands
which take pairs for independent do not.
"""

import math
from dataclasses import dataclass

import numpy as np

from app.model.chi_square import chi_square_quantile
from app.model.student import t_quantile
from app.model.sums import Sums

LEVEL = 0.95
LEAST_PAIRS = 8
"""Of fewer pairs a band would say next to nothing: 7 of 7 inside are anything from two thirds on."""
LEAST_SEASONS = 3
"""Of fewer seasons nothing tells how they differ: bands are those of the pairs alone, and are to be called so."""


@dataclass(frozen=True, slots=True)
class Band:
    """From ``low`` to ``high``."""

    low: float
    high: float

    def stretched_to(self, value: float) -> "Band":
        """Return it, stretched to a value: pairs without a season, or seasons of few pairs, may pull that out of it."""
        return Band(min(self.low, value), max(self.high, value))


def of_bias(sums: Sums) -> Band | None:
    """Return the band of the mean error, tons; None where there are too few pairs.

    From three seasons on mean ± t(S - 1) · deviation / √S of the seasons' mean errors. That holds whatever each one's
    variance is, and so however many pairs it has (Ibragimov and Müller 2010, "t-Statistic Based Correlation and
    Heterogeneity Robust Inference"). Of fewer seasons mean ± t(n - 1) · deviation / √n of all errors.
    """
    pairs = sums.total("pairs")
    if pairs < LEAST_PAIRS:
        return None
    mean, seasons = sums.total("error") / pairs, sums.named()
    if len(seasons.seasons) < LEAST_SEASONS:
        variance = max(0.0, sums.total("squares") / pairs - mean**2) * pairs / (pairs - 1.0)
        half = t_quantile(LEVEL, pairs - 1.0) * math.sqrt(variance / pairs)
        return Band(mean - half, mean + half)
    means = seasons.by_season("error") / seasons.by_season("pairs")
    many, middle = len(means), float(means.mean())
    half = t_quantile(LEVEL, many - 1) * float(means.std(ddof=1)) / math.sqrt(many)
    return Band(middle - half, middle + half).stretched_to(mean)


def of_rmse(sums: Sums) -> Band | None:
    """Return the band of the root of the mean squared error, tons; None where there are too few pairs.

    Of one or two seasons RMSE · √(n / χ²(n)). From three on the mean square is taken apart: how errors scatter within
    seasons, known to n - S degrees of freedom, and the squares of the seasons' mean errors, known to as many as there
    are seasons, fewer where one has most of the pairs (Kish's n). Bounds of a sum of two that are known so differently
    are those of Graybill and Wang (1980), "Confidence Intervals on Nonnegative Linear Combinations of Variances".
    """
    pairs = sums.total("pairs")
    if pairs < LEAST_PAIRS:
        return None
    mean_square, seasons = sums.total("squares") / pairs, sums.named()
    if len(seasons.seasons) < LEAST_SEASONS:
        return _root(mean_square, [(mean_square, pairs)])
    counts = seasons.by_season("pairs")
    known = float(counts.sum())
    between = float(np.sum(seasons.by_season("error") ** 2 / counts)) / known
    square = seasons.total("squares") / known
    parts = [(between, known**2 / float(np.sum(counts**2)))]
    if known > len(counts):
        parts.append((max(0.0, square - between), known - len(counts)))
    return _root(square, parts).stretched_to(math.sqrt(mean_square))


def _root(square: float, parts: list[tuple[float, float]]) -> Band:
    """Return the band of √square, the sum of parts that are each known to some degrees of freedom."""
    tail = (1.0 - LEVEL) / 2.0
    down = math.hypot(*(part * (1.0 - of / chi_square_quantile(1.0 - tail, of)) for part, of in parts))
    up = math.hypot(*(part * (of / chi_square_quantile(tail, of) - 1.0) for part, of in parts))
    return Band(math.sqrt(max(0.0, square - down)), math.sqrt(square + up))
