"""The record: how well intervals held that could have been given before the yields were known.

An interval's rows vouch for it only if later rows are like them. The record counts whether they were, and says by how
much wider an interval has to be to hold what it promises.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.model.lean import Lean
from app.model.moments import Array
from app.model.sketch import LOG_EDGES, OCTAVE, UP_TO_1, Sketch
from app.model.student import incomplete_beta, t_quantile

LEAST = 20
"""Rows from which on the record says anything: of fewer, one more outside than is promised would be a lot."""
CHANCE = 0.05
"""An interval is widened where chance alone would leave as few rows inside in less than this share of all cases."""
INNER = 0.80
OUTER = 0.95
"""The two levels of which rows are counted exactly."""
NESTED = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Levels whose intervals those of higher levels hold."""
_SLACK = 1e-9
"""So that (n + 1) · level, meant to be whole, is not rounded up for its last bit."""
_MOST_DECIMALS = 9


@dataclass(frozen=True, eq=False)
class Record:
    """What is to be said of one crop's ``sketch``.

    Levels are probabilities, 0.5 to 0.999. ``degrees``: the degrees of freedom of the interval that is asked about,
    at least 1; rows were counted by r = |z| / t(95%) with those of their own time.
    """

    sketch: Sketch

    @cached_property
    def rows(self) -> int:
        """How many yields were reported that could have been predicted before."""
        return int(self.sketch.count.sum())

    @cached_property
    def _below(self) -> Array:
        """How many rows have an r up to each edge of the bins, shape (65,)."""
        return np.concatenate([[0.0], self.sketch.bins.sum(axis=0).cumsum()])

    def inside(self, level: float, degrees: float) -> float:
        """Return how many rows lay inside their plain interval of ``level``.

        Exact for 80% and 95%. Between edges rows are taken to be spread evenly over log r; what that makes of other
        levels is held by the exact counts of these two. Beyond the last edge all rows count as inside.

        Raises:
            ValueError: there is no quantile of t for these arguments.
        """
        within = float(self.sketch.within_80.sum())
        if level == INNER:
            return within
        between = float(np.interp(math.log2(_reach(level, degrees)), LOG_EDGES, self._below))
        if level < INNER:
            return min(between, within)
        return max(between, within)

    def factor(self, level: float, degrees: float) -> float:
        """Return how many times as wide as its rows alone would have it an interval is to be, at least 1.

        1 while fewer than 20 rows are known, or while chance may have left as few of them inside: a one-sided binomial
        test at 5%. Else the conformal quantile, the ⌈(n + 1) · level⌉-th smallest r (Vovk, Gammerman and Shafer 2005,
        "Algorithmic Learning in a Random World", 2), over the r at which the plain interval of ``level`` ends. Rows
        beyond the last edge are taken to lie in the last bin, so that it stays below 11.4 at 95%.

        Raises:
            ValueError: there is no quantile of t for these arguments.
        """
        if self.rows < LEAST:
            return 1.0
        # An interval of a lower level lies within those of higher ones, whatever the tests of each say.
        lower = (known for known in NESTED if known < level)
        least = max((self._alone(known, degrees) * _reach(known, degrees) for known in lower), default=0.0)
        return max(self._alone(level, degrees), least / _reach(level, degrees))

    def _alone(self, level: float, degrees: float) -> float:
        """Return the factor that one level asks for."""
        # Rows of a season are outside together: so many of them tell as much as fewer that are not.
        weight = self.sketch.independent / self.rows
        inside = self._whole_inside(level, degrees)
        if binomial_tail(inside * weight, self.rows * weight, level) >= CHANCE:
            return 1.0
        return max(1.0, self._quantile(level) / _reach(level, degrees))

    def _whole_inside(self, level: float, degrees: float) -> int:
        """Return whole rows: a part of one that interpolation leaves counts as outside, in P(X <= x) as in words."""
        return math.floor(self.inside(level, degrees))

    def _quantile(self, level: float) -> float:
        """Return the ⌈(n + 1) · level⌉-th smallest r, or the largest if that is beyond it.

        Rows are spread over their bin as `inside` spreads them: right within a bin's width, 9%, on either side.
        """
        place = min(self.rows, math.ceil((self.rows + 1) * level - _SLACK))
        upper = int(np.searchsorted(self._below, place))
        low, high = self._below[upper - 1 : upper + 1].tolist()
        return math.exp2(float(LOG_EDGES[upper - 1]) + (place - low) / (high - low) / OCTAVE)

    def sentence(self) -> str:
        """Say how well intervals held; the first letter is a small one."""
        if self.rows < LEAST:
            known = {0: "no yield has", 1: "only 1 yield has"}.get(self.rows, f"only {self.rows} yields have")
            they = "they" if self.rows > 1 else "it"
            return f"not yet known how well its intervals hold: {known} been reported after {they} could be predicted"
        outer, inner = int(self._below[UP_TO_1]), int(self.sketch.within_80.sum())
        return (
            f"of {self.rows:,} yields reported after they could be predicted, {outer:,} ({self._percent(outer)}%) lay "
            f"in their {OUTER:.0%} interval and {inner:,} ({self._percent(inner)}%) in their {INNER:.0%} one"
        )

    def _percent(self, inside: int) -> str:
        return _unlike(100.0 * inside / self.rows, (0.0, 100.0), 0)

    def warning(self, crop: str, level: float, degrees: float) -> str | None:
        """Say beside an answer that its interval is wider, and why; None where its factor is 1."""
        factor = self.factor(level, degrees)
        if factor == 1.0:
            return None
        promised = f"{100.0 * level:.10g}"
        wide = f"this one is {_unlike(factor, (1.0,), 2)} times as wide as its rows alone would have it"
        if self._alone(level, degrees) == 1.0:
            return f"{crop}: narrower intervals than those of {promised}% held less than they promise; {wide}"
        decimals = len(promised.partition(".")[2])
        held = _unlike(100.0 * self._whole_inside(level, degrees) / self.rows, (float(promised),), decimals)
        return f"{crop}: {promised}% intervals held {held}% of the {self.rows:,} yields reported since; {wide}"

    def lean(self) -> Lean | None:
        """Return whether the last seasons all came out on the same side of what was predicted."""
        return Lean.of(self.sketch)


def binomial_tail(most: float, trials: float, chance: float) -> float:
    """Return P(X <= ``most``) of X successes in ``trials``, each of probability ``chance`` (NIST DLMF 8.17.5).

    ``most``: 0 to ``trials``; neither need be whole. ``chance``: 0 to 1, exclusive. Absolute error below 1e-9 up to a
    million trials (tested).
    """
    if most >= trials:
        return 1.0
    return incomplete_beta(trials - most, most + 1.0, 1.0 - chance)


def _reach(level: float, degrees: float) -> float:
    """Return the r at which an interval of ``level`` ends, t(level) / t(95%)."""
    return t_quantile(level, degrees) / t_quantile(OUTER, degrees)


def _unlike(number: float, others: tuple[float, ...], decimals: int) -> str:
    """Return a number with ``decimals``, or with more where it would look like one of ``others`` that it is not."""
    text = f"{number:.{decimals}f}"
    alike = any(float(text) == other != number for other in others)
    return _unlike(number, others, decimals + 1) if alike and decimals < _MOST_DECIMALS else text
