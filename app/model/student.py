"""Quantiles of Student's t distribution, in plain Python.

SciPy would add 30 MB and a third of a second to every serving process for this one function; the tests compare with it.
"""

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_STEPS = 60
_SERIES_FROM = 1_000
"""Degrees of freedom from which the asymptotic series is exact to rounding."""


@lru_cache(maxsize=4096)
def t_quantile(level: float, degrees_of_freedom: float) -> float:
    """Return t with P(-t <= T <= t) = ``level`` (0 to 1, exclusive) for ``degrees_of_freedom`` >= 1, whole or not.

    Relative error below 1e-12 for levels from 0.5 to 0.9999 (tested against SciPy).

    Raises:
        ValueError: an argument is out of bounds.
    """
    if not 0.0 < level < 1.0 or degrees_of_freedom < 1:
        raise ValueError(f"no t quantile for level {level} and {degrees_of_freedom} degrees of freedom")
    if degrees_of_freedom == 1:
        return math.tan(math.pi * level / 2.0)
    if degrees_of_freedom == 2:  # noqa: PLR2004 - these two have closed forms
        return level * math.sqrt(2.0 / ((1.0 - level) * (1.0 + level)))
    start = _series(NormalDist().inv_cdf(0.5 + level / 2.0), degrees_of_freedom)
    return start if degrees_of_freedom >= _SERIES_FROM else _refined(start, level, degrees_of_freedom)


def _series(z: float, df: float) -> float:
    """Return Abramowitz and Stegun 26.7.5: the t quantile around the normal quantile ``z``, in powers of 1/df."""
    s = z * z
    g1 = (s + 1.0) / 4.0
    g2 = ((5.0 * s + 16.0) * s + 3.0) / 96.0
    g3 = (((3.0 * s + 19.0) * s + 17.0) * s - 15.0) / 384.0
    g4 = ((((79.0 * s + 776.0) * s + 1482.0) * s - 1920.0) * s - 945.0) / 92160.0
    return z * (1.0 + (g1 + (g2 + (g3 + g4 / df) / df) / df) / df)


def _refined(t: float, level: float, df: float) -> float:
    """Refine by Newton's method, on P(|T| > t) = I_y(df/2, 1/2) at y = df / (df + t²), which is convex."""
    scale = math.exp(math.lgamma((df + 1) / 2.0) - math.lgamma(df / 2.0)) / math.sqrt(df * math.pi)
    for _ in range(_STEPS):
        outside = incomplete_beta(df / 2.0, 0.5, df / (df + t * t))
        step = (outside - (1.0 - level)) / (2.0 * scale * (1.0 + t * t / df) ** (-(df + 1) / 2.0))
        t = max(t + step, 0.1 * t)
        if abs(step) < 1e-13 * t:  # the next step would be its square
            break
    return t


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) for 0 < x < 1 (NIST DLMF 8.17.22, Lentz's method)."""
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction converges slowly, use the mirror image
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    fraction, c, d = 1.0, 1.0, 0.0
    for i in range(10_000):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        d = 1.0 / _away_from_zero(1.0 + term * d)
        c = _away_from_zero(1.0 + term / c)
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-16:  # noqa: PLR2004 - half a unit in the last place
            break
    return math.exp(front) * (fraction - 1.0) / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
