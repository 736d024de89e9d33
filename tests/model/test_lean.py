"""Leans: told where the last seasons came out on one side beyond chance, and only there."""

import numpy as np
import pytest

from app.model.lean import Lean
from app.model.sketch import Sketch


def _sketch(*means: float, seasons: list[str | None] | None = None) -> Sketch:
    """Return that of seasons of four rows each, whose z has these means; named by number from 7 on, "10" after "9"."""
    names = seasons or [str(number) for number in range(7, 7 + len(means))]
    z = np.repeat(means, 4) + np.tile([-0.25, -0.125, 0.125, 0.25], len(means))
    return Sketch.of([name for name in names for _ in range(4)], z, 2.0, 1.3)


@pytest.mark.parametrize(
    ("means", "sentence"),
    [
        ((0.3, -1.1, -1.3, -1.2, -1.2, -1.2), "the last 5 seasons came out 1.2 standard errors below prediction"),
        (
            (-1.2, -1.2, -1.2, -1.2, -1.2, -1.2, -1.2),
            "the last 5 seasons came out 1.2 standard errors below prediction",
        ),
        ((-2.0, 1.9, 2.1), "the last 2 seasons came out 2.0 standard errors above prediction"),
        ((-1.0, 1.0, 1.1, 0.9), "the last 3 seasons came out 1.0 standard error above prediction"),
    ],
)
def test_seasons_on_one_side(means: tuple[float, ...], sentence: str) -> None:
    """The longest run of up to five is told of, with the mean of its seasons; names are sorted as numbers."""
    lean = Lean.of(_sketch(*means))
    assert lean is not None
    assert lean.sentence() == sentence


@pytest.mark.parametrize(
    "means",
    [
        (),
        (-5.0,),
        (-5.0, 5.0),
        (-5.0, -5.0, 0.0),
        (-1.5, -1.5),  # two of variance 1 may lie as far
        (-0.4, -0.41, -0.4, -0.41, -0.4),  # certain, but small
        (-1.9, -0.1, -1.9, -0.1, -1.0),  # large, but as far as they scatter
        (0.1, 1.0, 1.1, 0.9),  # without the first it would be one, but that is on their side
    ],
)
def test_chance_is_no_lean(means: tuple[float, ...]) -> None:
    """Nor is one season, or what is too small to matter."""
    assert Lean.of(_sketch(*means)) is None


def test_small_scatter_shows_a_smaller_lean() -> None:
    """Where the season is little of the noise, seasons that agree tell more."""
    assert Lean.of(_sketch(-0.7, -0.6, -0.65, -0.7, -0.7)) is not None
    assert Lean.of(_sketch(-0.1, -1.2, -0.2, -1.3, -0.6)) is None


def test_rows_without_a_season_are_not_looked_at() -> None:
    """It is not known when they were; the others are in the order of their names, wherever they appear."""
    lean = Lean.of(_sketch(-3.0, -3.0, 3.0, 3.0, seasons=["10", "2026 late", None, "2"]))
    assert lean == Lean(2, -3.0)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_honest_seasons_are_seldom_said_to_lean(share: float) -> None:
    """The season in the standard error, as ``share`` of the noise of 12 rows: at most 5% of looks, here of 2,000."""
    noise = np.random.default_rng(5)
    names = [str(season) for season in range(6) for _ in range(12)]
    told = 0
    for _ in range(2_000):
        seasons = np.repeat(noise.standard_normal(6), 12)
        z = np.sqrt(share) * seasons + np.sqrt(1.0 - share) * noise.standard_normal(72)
        told += Lean.of(Sketch.of(names, z, 2.0, 1.3)) is not None
    assert told <= 100
