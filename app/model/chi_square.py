"""Quantiles of the chi-square distribution, in plain Python: how large a sum of squared noise can be."""

import math
from functools import lru_cache
from statistics import NormalDist

APPROXIMATE_FROM = 10_000
"""Degrees of freedom from which the approximation of a quantile is right to a relative 1e-6."""
_MOST_STEPS = 100_000
_CLOSE = 1e-16
_NEAR = 1e-14
_STEPS = 200
_TINY = 1e-300


@lru_cache(maxsize=4096)
def chi_square_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return x with P(X <= x) = ``probability`` (0 to 1, exclusive): how large honest noise on k rows can be.

    ``degrees_of_freedom``: from 1 on, whole or not. Relative error below 1e-10 up to 10 000 of them, below 1e-6 beyond
    (tested against SciPy). Wilson and Hilferty (1931): the cube root of X / k is nearly normal; below 10 000 that is
    where the search for ln x begins.

    Raises:
        ValueError: the probability is out of bounds, or ``degrees_of_freedom`` is below 1.
    """
    if not 0.0 < probability < 1.0 or not degrees_of_freedom >= 1:
        raise ValueError(f"no chi-square quantile for {probability} and {degrees_of_freedom} degrees of freedom")
    part = 2.0 / (9.0 * degrees_of_freedom)
    near = degrees_of_freedom * (1.0 - part + NormalDist().inv_cdf(probability) * math.sqrt(part)) ** 3
    if degrees_of_freedom >= APPROXIMATE_FROM:
        return near
    return 2.0 * math.exp(_search(probability, degrees_of_freedom / 2.0, math.log(max(near, 1e-4) / 2.0)))


def _search(probability: float, a: float, logarithm: float) -> float:
    """Return ln x with P(a, x) = ``probability``, by Newton's method from ``logarithm``, kept between bounds."""
    low, high = -math.inf, math.inf
    for _ in range(_STEPS):
        below, density = _lower_gamma(a, math.exp(logarithm))
        if below < probability:
            low = logarithm
        else:
            high = logarithm
        step = (probability - below) / max(density, _TINY)
        following = logarithm + max(-1.0, min(1.0, step))
        if not low <= following <= high:
            following = (low + high) / 2.0
        if abs(following - logarithm) < _NEAR:
            return following
        logarithm = following
    return logarithm


def _lower_gamma(a: float, x: float) -> tuple[float, float]:
    """Return the regularised incomplete gamma function P(a, x), and its derivative by ln x.

    By its series where that converges quickly (NIST DLMF 8.11.4), else by the continued fraction of 1 - P (8.9.2,
    Lentz's method).
    """
    density = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        for step in range(1, _MOST_STEPS):
            term *= x / (a + step)
            total += term
            if term < _CLOSE * total:
                break
        return density * total, density
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    fraction = d
    for step in range(1, _MOST_STEPS):
        along = -step * (step - a)
        b += 2.0
        d, c = 1.0 / _away_from_zero(along * d + b), _away_from_zero(b + along / c)
        fraction *= c * d
        if abs(c * d - 1.0) <= _CLOSE:
            break
    return 1.0 - density * fraction, density


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
