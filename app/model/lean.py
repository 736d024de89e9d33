"""A lean: seasons that all came out on the same side of what was predicted, farther than chance puts them."""

import itertools
import math
import re
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Self

from app.model.sketch import Sketch
from app.model.student import t_quantile

LONGEST = 5
"""Seasons looked at, from the newest backwards: a level that has changed for good shows in the last ones."""
LEAST_SEASONS = 2
LEAST_FOR_SCATTER = 3
"""From how many seasons on their own scatter says anything."""
LEAST_LEAN = 0.5
"""Standard errors: a smaller lean, however certain, is little beside an interval of 2 on either side."""
CHANCE = 0.01
"""Of each of the two tests in `_by_chance`, two-sided. A run of two to four seasons is ended by one on the other side,
as half of all seasons are; one of five is not looked beyond. So that seasons without a lean are said to have one in
at most 2 · 1% · (3/2 + 1) = 5% of all looks."""


@dataclass(frozen=True, slots=True)
class Lean:
    """The last ``seasons`` came out ``standard_errors`` above what was predicted, on average; below it where negative.

    Standard errors are those of predicting one yield.
    """

    seasons: int
    standard_errors: float

    @classmethod
    def of(cls, sketch: Sketch) -> Self | None:
        """Return the lean of the last seasons, by their names; None where there is none that chance would not explain.

        Rows without a season tell nothing of when they were.
        """
        run = _run(sketch)
        mean = fmean(run) if run else 0.0
        if len(run) < LEAST_SEASONS or abs(mean) < max(LEAST_LEAN, _by_chance(run)):
            return None
        return cls(len(run), mean)

    def sentence(self) -> str:
        """Say it; the first letter is a small one."""
        side = "below" if self.standard_errors < 0.0 else "above"
        away = f"{abs(self.standard_errors):,.1f}"
        errors = "standard error" if away == "1.0" else "standard errors"
        return f"the last {self.seasons} seasons came out {away} {errors} {side} prediction"


def _run(sketch: Sketch) -> list[float]:
    """Return the mean z of the last seasons that are on the same side, the newest first."""
    last = [mean for _, mean in newest(sketch)]
    return list(itertools.takewhile(lambda mean: mean != 0.0 and (mean > 0.0) == (last[0] > 0.0), last))


def newest(sketch: Sketch) -> list[tuple[str, float]]:
    """Return the last seasons, as many as are looked at, the newest first, with the mean z of each."""
    means = (sketch.total / sketch.count).tolist()
    named = [(season, mean) for season, mean in zip(sketch.seasons, means, strict=True) if season is not None]
    return sorted(named, key=lambda one: _natural(one[0]), reverse=True)[:LONGEST]


def _by_chance(means: list[float]) -> float:
    """Return how far from 0 the mean of k seasons' mean z may lie by chance.

    The rows of a season share its deviation, so that the seasons are what is counted, not the rows. Two bounds hold:

    * the season is in the standard error, so that a season's mean z has a variance of 1 at most (exactly 1 where the
      season is all there is), and the mean of k of them one of 1/k;
    * where seasons are less than all of the noise they scatter by less than 1, and the smaller the scatter that
      they are seen to have, the smaller a lean is seen: Student's test of their mean, from three seasons on.

    Predictions made one season ahead, each by a model that has learned the season before, err independently of each
    other. Those of one model for several seasons share its error: a lean is then told somewhat more often.
    """
    root = math.sqrt(len(means))
    bounds = [NormalDist().inv_cdf(1.0 - CHANCE / 2.0) / root]
    if len(means) >= LEAST_FOR_SCATTER:
        bounds.append(t_quantile(1.0 - CHANCE, len(means) - 1) * stdev(means) / root)
    return min(bounds)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return what sorts names as people number them, "2" before "10"."""
    parts = re.split(r"(\d+)", name)  # text and digits by turns
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
