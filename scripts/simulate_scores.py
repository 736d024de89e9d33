"""Whether bands of scores hold what they promise where the regions of a season fail together, and what naive ones do.

A yield's error is the season's, which all its regions share, and its own: of two of a season the correlation is ICC.
The true bias is what is drawn, the true RMSE and the true share inside follow. All bands are of 95%, through the real
code: pairs, sums, bands. Naive ones take pairs for independent: t(n - 1), n / chi-square(n), Wilson, the exact binomial
test. Unequal: the largest season has eight times the pairs of the smallest.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from app.model.coverage import Coverage
from app.model.moments import Array
from app.model.names import Names
from app.model.pairs import Pairs
from app.model.scored import ALARM, Scored
from app.model.sums import Sums

SEASONS = (3, 5, 10, 20)
SIZES = (5, 20, 80)
"""Pairs a season, on average."""
SHARED = (0.0, 0.5, 0.8)
BIASES = (0.0, 1.0)
MOST_TIMES = 8.0
LEVEL = 0.95
YIELD = 50.0


@dataclass(frozen=True, slots=True)
class Panel:
    """Seasons of pairs; the errors have a deviation of 1 t, of which seasons share so much of the variance."""

    seasons: int
    pairs: int
    unequal: bool
    shared: float
    bias: float

    def __str__(self) -> str:
        sizes = "unequal" if self.unequal else "equal"
        return f"{self.seasons:2d} seasons of {self.pairs:2d} {sizes:7s} ICC {self.shared:3.1f} bias {self.bias:3.1f}"

    @property
    def counts(self) -> NDArray[np.intp]:
        """The pairs of each season, shape (seasons,)."""
        shares = np.geomspace(1.0, MOST_TIMES, self.seasons) if self.unequal else np.ones(self.seasons)
        counts: Array = np.maximum(1.0, np.round(self.seasons * self.pairs * shares / shares.sum()))
        return counts.astype(np.intp)

    @property
    def truth(self) -> tuple[float, float, float]:
        """The bias and RMSE that are true, tons, and the share that is inside."""
        reach = NormalDist().inv_cdf(0.5 + LEVEL / 2.0)
        inside = NormalDist().cdf(reach - self.bias) - NormalDist().cdf(-reach - self.bias)
        return self.bias, math.hypot(1.0, self.bias), inside

    def draw(self, draw: np.random.Generator, runs: int) -> Iterator[Sums]:
        """Draw so many sets of pairs, and add each up."""
        counts = self.counts
        season = np.repeat(np.arange(self.seasons), counts)
        own = draw.standard_normal((runs, len(season)))
        common = draw.standard_normal((runs, self.seasons))[:, season]
        errors = self.bias + math.sqrt(self.shared) * common + math.sqrt(1.0 - self.shared) * own
        seasons = Names(tuple(map(str, range(self.seasons))), np.tile(season, runs).astype(np.int32))
        return iter(Sums.by(np.repeat(np.arange(runs), len(season)), runs, seasons, pairs_of(errors.ravel())))


PANELS = [Panel(*of) for of in itertools.product(SEASONS, SIZES, (False, True), SHARED, BIASES)]


def pairs_of(errors: Array) -> Pairs:
    """Return pairs of yields that were predicted as 50 t, with intervals right for a deviation of 1 t."""
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2.0)
    of, predicted = np.full(len(errors), LEVEL), np.full(len(errors), YIELD)
    low, high = predicted - reach, predicted + reach
    return Pairs(YIELD + errors, predicted, low, high, of, predicted, predicted, np.zeros((len(errors), 3)))


def unseasoned(sums: Sums) -> Sums:
    """Return the same pairs as if of one season: what a naive band is made of."""
    return Sums((None,), sums.table.sum(axis=0, keepdims=True))


def held(panel: Panel, draw: np.random.Generator, runs: int) -> Array:
    """Return in what share of the runs each band holds the truth, and how often coverage is told to be too low.

    Shape (2, 4): those of bias, RMSE and share inside, and the alarms; ours, and naive ones.
    """
    counts = np.zeros((2, 4))
    for sums in panel.draw(draw, runs):
        for way, of in enumerate((sums, unseasoned(sums))):
            scored, coverage = Scored.of(of), Coverage.of_sums(of)
            assert scored.bias and scored.rmse and scored.coverage and coverage  # noqa: S101, PT018 - there are 8 pairs
            bands = [(band.low, band.high) for band in (scored.bias, scored.rmse)]
            bands.append((scored.coverage.low, scored.coverage.high))
            counts[way, :3] += [
                low is not None and high is not None and low <= true <= high
                for (low, high), true in zip(bands, panel.truth, strict=True)
            ]
            counts[way, 3] += coverage.chance < ALARM
    return counts / runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000, help="sets of pairs per line (1000)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)
    print(f"{'share of runs in which bands of 95% hold':44s} bias  RMSE  inside alarm; naive: bias  RMSE  inside alarm")
    lowest = np.ones(3)
    for panel in PANELS:
        ours, naive = held(panel, draw, given.runs)
        lowest = np.minimum(lowest, ours[:3])
        cells = "          ".join(" ".join(f"{share:5.3f}" for share in shares) for shares in (ours, naive))
        alarm = "" if panel.bias == 0.0 else " (alarms are right)"
        print(f"{panel!s:44s} {cells}{alarm}", flush=True)
    print(f"{'lowest':44s} {' '.join(f'{share:5.3f}' for share in lowest)}")


if __name__ == "__main__":
    main()
