"""Coverage: how many yields lay in the intervals that were given before, and what that says of further ones."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from app.model.bands import LEAST_SEASONS, LEVEL, Band
from app.model.moments import Array
from app.model.record import binomial_tail
from app.model.student import t_quantile
from app.model.sums import Sums

PRIOR_SEASONS = 4.0
PRIOR_ALIKE = 0.25
"""What is taken to be known before any season is seen, as of so many of them: how alike two pairs of a season are in
being inside. It is the most that there is where the correlation of their errors is a half."""
FOR_NORMAL = 1e9
"""Degrees of freedom of which Student's t is the normal distribution."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """``inside`` of the pairs with an interval, ``of`` so many, which promised to hold ``promised`` of them, a share.

    They tell as much as ``independent`` that share nothing, known to ``degrees`` of freedom, of ``seasons`` seasons.
    Where there are three seasons these are the pairs that are of one: the others may be of any.
    """

    inside: float
    of: float
    promised: float
    independent: float
    degrees: float
    seasons: int

    @classmethod
    def of_sums(cls, sums: Sums) -> Self | None:
        """Count them; None where no pair has an interval."""
        named = sums.named()
        counts = named.by_season("bounded")
        has = counts > 0
        seasons = int(has.sum())
        counted = named if seasons >= LEAST_SEASONS else sums
        inside, of = counted.total("inside"), counted.total("bounded")
        if not of:
            return None
        promised = counted.total("promised") / of
        if seasons < LEAST_SEASONS:
            return cls(inside, of, promised, of, FOR_NORMAL, seasons)
        effect = _design_effect(counts[has], named.by_season("inside")[has], _alike(named))
        return cls(inside, of, promised, of / effect, PRIOR_SEASONS + seasons - 1.0, seasons)

    def band(self) -> Band:
        """Return that of the share inside: Wilson's (1927), with Student's t in place of the normal quantile."""
        square = t_quantile(LEVEL, self.degrees) ** 2
        share, n = self.inside / self.of, self.independent
        half = math.sqrt(square * (share * (1.0 - share) / n + square / (4.0 * n * n)))
        middle = share + square / (2.0 * n)
        low, high = ((middle + side) / (1.0 + square / n) for side in (-half, half))
        return Band(low if self.inside else 0.0, high if self.inside < self.of else 1.0)

    @property
    def chance(self) -> float:
        """How often chance alone leaves as few inside, where intervals hold what they promise.

        The exact binomial test of as many pairs as are independent of each other: that of all pairs would raise a false
        alarm on one table in five where seasons differ.
        """
        weight = self.independent / self.of
        return binomial_tail(self.inside * weight, self.independent, self.promised)


def _design_effect(counts: Array, inside: Array, alike: float) -> float:
    """Return how many pairs tell as much as one that shares nothing with others (Kish 1965), at least 1.

    The scatter of the seasons' shares shows it, poorly where they are few or nearly all are inside. So it is moderated
    by what is known before, as variances are by Smyth (2004), and at least what the errors show: where two have the
    correlation ``alike``, being inside has at most its square, if predictions are right on average.
    """
    seasons, of = len(counts), float(counts.sum())
    share = float(inside.sum()) / of
    beside = float(np.sum(counts**2)) / of - 1.0
    scatter = float(np.sum((inside - share * counts) ** 2)) * seasons / (seasons - 1.0)
    alone = share * (1.0 - share) * of * of / (of - 1.0)  # what it would be of pairs that share nothing
    seen = scatter / alone if alone else 0.0
    known = PRIOR_SEASONS + seasons - 1.0
    moderated = (PRIOR_SEASONS * (1.0 + beside * PRIOR_ALIKE) + (seasons - 1.0) * seen) / known
    return max(1.0, moderated, 1.0 + beside * alike**2)


def _alike(sums: Sums) -> float:
    """Return the correlation of two errors of a season, 0 to 1: that of the analysis of variance (Fisher 1925)."""
    counts, errors = sums.by_season("pairs"), sums.by_season("error")
    pairs, seasons = float(counts.sum()), len(counts)
    if pairs <= seasons:
        return 0.0
    own = float(np.sum(errors**2 / counts))
    within = max(0.0, sums.total("squares") - own) / (pairs - seasons)
    between = max(0.0, own - float(errors.sum()) ** 2 / pairs) / (seasons - 1.0)
    each = (pairs - float(np.sum(counts**2)) / pairs) / (seasons - 1.0)
    added = max(0.0, between - within) / each
    return added / (added + within) if added else 0.0
