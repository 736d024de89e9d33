"""Bands: those of the books where there is one season; of several they hold where regions of a season fail together."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chi2, t

from app.model import bands
from app.model.bands import LEAST_PAIRS
from app.model.moments import Array
from app.model.sums import Sums
from scripts.simulate_scores import Panel, held, pairs_of

RUNS = 250
LEAST = 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / RUNS)
"""Three standard errors of a share of 250 runs below what is promised: 0.909."""


def _sums(errors: Array, seasons: Sequence[str | None]) -> Sums:
    return Sums.of(seasons, pairs_of(errors))


def _errors(many: int) -> Array:
    return np.asarray(np.random.default_rng(7).normal(-1.2, 2.0, many))


@pytest.mark.parametrize("seasons", [["2026"] * 24, [None] * 24, ["2025"] * 12 + ["2026"] * 12])
def test_of_few_seasons_they_are_those_of_the_books(seasons: list[str | None]) -> None:
    """Mean ± t(n - 1) · s / √n, and RMSE · √(n / χ²(n)), by SciPy's quantiles."""
    errors = _errors(24)
    bias, rmse = bands.of_bias(_sums(errors, seasons)), bands.of_rmse(_sums(errors, seasons))
    assert bias is not None
    assert rmse is not None
    low, high = t.interval(0.95, 23, errors.mean(), errors.std(ddof=1) / math.sqrt(24))
    assert (bias.low, bias.high) == pytest.approx((low, high), rel=1e-9)
    root = math.sqrt(float(np.mean(errors**2)))
    expected = [root * math.sqrt(24 / chi2.ppf(tail, 24)) for tail in (0.975, 0.025)]
    assert (rmse.low, rmse.high) == pytest.approx(expected, rel=1e-9)


def test_of_several_seasons_the_bias_is_that_of_their_means() -> None:
    """Each counts once, however many pairs it has: t(S - 1)."""
    errors, seasons = _errors(24), ["2024"] * 4 + ["2025"] * 12 + ["2026"] * 8
    band = bands.of_bias(_sums(errors, seasons))
    assert band is not None
    means = np.array([part.mean() for part in np.split(errors, [4, 16])])
    expected = t.interval(0.95, 2, means.mean(), means.std(ddof=1) / math.sqrt(3))
    assert (band.low, band.high) == pytest.approx(expected, rel=1e-9)


def test_of_a_pair_a_season_the_error_is_that_of_the_books() -> None:
    """Then nothing is shared, and what is taken apart is one part alone."""
    errors = _errors(12)
    band = bands.of_rmse(_sums(errors, [str(season) for season in range(12)]))
    assert band is not None
    root = math.sqrt(float(np.mean(errors**2)))
    expected = [root * math.sqrt(12 / chi2.ppf(tail, 12)) for tail in (0.975, 0.025)]
    assert (band.low, band.high) == pytest.approx(expected, rel=1e-9)


def test_of_several_seasons_the_error_is_in_two_parts() -> None:
    """Within seasons to n - S degrees of freedom, of their means to as many as seasons count: by hand, with SciPy."""
    errors, sizes = _errors(24), np.array([4, 12, 8])
    band = bands.of_rmse(_sums(errors, ["2024"] * 4 + ["2025"] * 12 + ["2026"] * 8))
    assert band is not None
    means = np.array([part.mean() for part in np.split(errors, [4, 16])])
    between = float(np.sum(sizes * means**2)) / 24
    within = float(np.mean(errors**2)) - between
    known = [(within, 21.0), (between, 24**2 / float(np.sum(sizes**2)))]
    down = math.hypot(*(part * (1 - of / chi2.ppf(0.975, of)) for part, of in known))
    up = math.hypot(*(part * (of / chi2.ppf(0.025, of) - 1) for part, of in known))
    expected = (math.sqrt(max(0.0, within + between - down)), math.sqrt(within + between + up))
    assert (band.low, band.high) == pytest.approx(expected, rel=1e-8)


def test_too_few_pairs_have_none() -> None:
    """Seven have none, eight have."""
    for many, has in ((LEAST_PAIRS - 1, False), (LEAST_PAIRS, True)):
        sums = _sums(_errors(many), [str(season) for season in range(many)])
        assert (bands.of_bias(sums) is not None, bands.of_rmse(sums) is not None) == (has, has)


def test_a_band_holds_its_own_figure() -> None:
    """Also where most pairs have no season, or are of one, and these lie elsewhere."""
    errors = np.concatenate([np.array([0.0, 0.1, -0.1]), np.full(40, 9.0)])
    for others in ([None] * 40, ["2026"] * 40):
        seasons: list[str | None] = ["2024", "2025", "2026", *others]
        bias, rmse = bands.of_bias(_sums(errors, seasons)), bands.of_rmse(_sums(errors, seasons))
        assert bias is not None
        assert rmse is not None
        assert bias.low <= errors.mean() <= bias.high
        assert rmse.low <= math.sqrt(float(np.mean(errors**2))) <= rmse.high


def test_errors_that_are_all_the_same() -> None:
    """The bias is certain, as far as is seen; nothing is divided by 0."""
    band = bands.of_bias(_sums(np.full(24, -2.0), ["2024"] * 8 + ["2025"] * 8 + ["2026"] * 8))
    assert band is not None
    assert (band.low, band.high) == pytest.approx((-2.0, -2.0))
    nothing = bands.of_rmse(_sums(np.zeros(24), ["2024"] * 8 + ["2025"] * 8 + ["2026"] * 8))
    assert nothing is not None
    assert (nothing.low, nothing.high) == (0.0, 0.0)


@pytest.mark.parametrize("seasons", [3, 5, 10, 20])
@pytest.mark.parametrize("unequal", [False, True])
def test_they_hold_where_regions_fail_together(seasons: int, unequal: bool) -> None:
    """Bias, RMSE and the share inside, in 3 to 20 seasons of regions whose errors have a correlation of a half.

    Those that take pairs for independent hold in fewer than seven runs of ten. `scripts/simulate_scores.py` shows more.
    """
    ours, naive = held(Panel(seasons, 30, unequal, 0.5, 0.0), np.random.default_rng(seasons), RUNS)
    assert (ours[:3] >= LEAST).all(), ours
    assert ours[3] <= 0.01 + 3.0 * math.sqrt(0.01 * 0.99 / RUNS)
    assert (naive[:2] < 0.7).all(), naive
    assert naive[2] < LEAST
    assert naive[3] > 0.04


def test_they_are_not_wide_for_nothing() -> None:
    """Where nothing is shared, the bias of 20 seasons is known nearly as well as pairs that are independent tell it."""
    errors = np.random.default_rng(1).standard_normal(600)
    seasons: list[str | None] = [str(place % 20) for place in range(600)]
    ours, naive = bands.of_bias(_sums(errors, seasons)), bands.of_bias(_sums(errors, [None] * 600))
    assert ours is not None
    assert naive is not None
    assert ours.high - ours.low < 1.5 * (naive.high - naive.low)
