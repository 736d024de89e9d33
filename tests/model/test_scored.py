"""Scored: figures that are those of a computation by hand, and sentences that say no more than they show."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.moments import Array
from app.model.pairs import Pairs
from app.model.scored import Scored
from app.model.sums import Sums
from scripts.simulate_scores import pairs_of

SEASONS: list[str | None] = [season for season in ("2024", "2025", "2026") for _ in range(8)]
HALF = 3.0


def _pairs(errors: Array, weather: float = 0.0) -> Pairs:
    """Return pairs with these errors, of which so much is the weather forecast's, with intervals of 3 t either side."""
    pairs = pairs_of(errors)
    predicted, nothing = pairs.predicted, np.zeros(len(errors))
    by_weather = np.column_stack([nothing, nothing + weather, nothing])
    return replace(
        pairs,
        low=predicted - HALF,
        high=predicted + HALF,
        baseline=predicted - 10.0,
        on_reported=predicted + weather,
        by_weather=by_weather,
    )


def _scored(errors: Array, seasons: list[str | None], weather: float = 0.0) -> Scored:
    return Scored.of(Sums.of(seasons, _pairs(errors, weather)))


def _drawn(mean: float, deviation: float = 2.0) -> Array:
    return np.asarray(np.random.default_rng(3).normal(mean, deviation, len(SEASONS)))


def test_figures_are_those_of_a_computation_by_hand() -> None:
    """Each, to 1e-12, in NumPy."""
    errors = _drawn(-1.2, 2.5)
    scored, tons = _scored(errors, SEASONS, -0.7), 50.0 + errors
    assert scored.bias is not None
    assert scored.rmse is not None
    assert scored.coverage is not None
    outside = np.maximum(np.abs(errors) - HALF, 0.0)
    assert (scored.n, scored.seasons) == (24, 3)
    assert scored.bias.tons == pytest.approx(errors.mean(), rel=1e-12)
    assert scored.mae == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert scored.rmse.tons == pytest.approx(math.sqrt(np.mean(errors**2)), rel=1e-12)
    assert (scored.coverage.inside, scored.coverage.of) == (int(np.sum(np.abs(errors) <= HALF)), 24)
    assert scored.coverage.promised == 0.95
    assert scored.width == pytest.approx(6.0, rel=1e-12)
    assert scored.interval_score == pytest.approx(6.0 + 40.0 * outside.mean(), rel=1e-12)
    assert scored.skill == pytest.approx(1.0 - np.sum(errors**2) / np.sum((tons - 40.0) ** 2), rel=1e-12)
    assert scored.model_error is not None
    assert scored.weather_error is not None
    assert scored.weather_error == pytest.approx(-0.7, rel=1e-12)
    assert scored.model_error + scored.weather_error == pytest.approx(scored.bias.tons, rel=1e-12)
    assert scored.by_weather == pytest.approx({"temperature": 0.0, "rainfall": -0.7, "humidity": 0.0})


@given(st.lists(st.tuples(st.sampled_from(("2024", "2025", "2026", "2027", None)), st.floats(-1e6, 1e6)), max_size=60))
def test_whatever_the_errors_all_figures_are_numbers(rows: list[tuple[str | None, float]]) -> None:
    """Finite, bands around their figures, and a sentence."""
    scored = _scored(np.array([error for _, error in rows]), [season for season, _ in rows])
    figures = [scored.mae, scored.width, scored.interval_score, scored.skill, scored.model_error, scored.weather_error]
    for banded in (scored.bias, scored.rmse):
        if banded is None:
            assert not rows
            continue
        figures += [banded.tons, banded.low, banded.high]
        assert (banded.low is None) == (len(rows) < 8)
        if banded.low is not None and banded.high is not None:
            assert banded.low <= banded.tons <= banded.high
    if scored.coverage is not None and scored.coverage.low is not None and scored.coverage.high is not None:
        assert 0.0 <= scored.coverage.low <= scored.coverage.inside / scored.coverage.of <= scored.coverage.high <= 1.0
    assert all(math.isfinite(figure) for figure in figures if figure is not None)
    assert scored.verdict()


def test_what_is_not_known_of_all_pairs_is_not_told() -> None:
    """The parts of the bias are its sum or nothing; a mean absolute error is of all pairs; intervals are of some."""
    pairs = _pairs(_drawn(0.0))
    some = np.arange(24) < 20
    lacking = replace(pairs, on_reported=np.where(some, pairs.on_reported, np.nan))
    scored = Scored.of(Sums.of(SEASONS, lacking))
    assert (scored.model_error, scored.weather_error, scored.by_weather) == (None, None, None)
    assert scored.mae is not None
    unbounded = replace(pairs, low=np.where(some, pairs.low, np.nan), high=np.where(some, pairs.high, np.nan))
    scored = Scored.of(Sums.of(SEASONS, unbounded))
    assert scored.coverage is not None
    assert scored.coverage.of == 20
    assert scored.width == pytest.approx(6.0)
    nothing = Scored.of(Sums.of(SEASONS, replace(pairs, low=pairs.low * np.nan)))
    assert (nothing.coverage, nothing.width, nothing.interval_score) == (None, None, None)
    sums = Sums.of(SEASONS, pairs)
    unseen = sums.table.copy()
    unseen[0, 4:6] = 0.0  # those of one season are known by their moments alone
    scored = Scored.of(Sums(sums.seasons, unseen))
    assert scored.mae is None
    assert scored.bias is not None


def test_a_bias_in_words() -> None:
    """Which side, how far, and how certain that is; of what the caller says it is of."""
    errors = np.concatenate([np.full(8, bias) + np.array([-0.1, 0.1] * 4) for bias in (-2.8, -3.1, -3.4)])
    assert _scored(errors, SEASONS).bias_sentence("the live version was") == (
        "the live version was 3.1 t too high on 24 yields (2.4 to 3.8)"
    )
    assert _scored(-errors, SEASONS).bias_sentence() == "the forecasts were 3.1 t too low on 24 yields (2.4 to 3.8)"
    thousands = _scored(1_000.0 * errors, SEASONS).bias_sentence()
    assert thousands == "the forecasts were 3,100 t too high on 24 yields (2,400 to 3,800)"
    around = np.concatenate([np.full(8, bias) for bias in (-1.0, 0.2, 0.9)])
    assert _scored(around, SEASONS).bias_sentence() == (
        "the forecasts were right on average as far as 24 yields tell: between 2.4 t too high and 2.4 t too low"
    )
    assert _scored(np.zeros(3), ["2026"] * 3).bias_sentence() == "the forecasts were exactly right on 3 yields"
    assert _scored(np.zeros(0), []).bias_sentence() is None


def test_a_verdict() -> None:
    """All that there is to say, and no band or percentage of a few yields."""
    errors = np.concatenate([np.full(8, bias) + np.array([-0.1, 0.1] * 4) for bias in (-2.3, -2.6, -2.9)])
    assert _scored(errors, SEASONS, -1.5).verdict() == (
        "the forecasts were 2.6 t too high on 24 yields (1.9 to 3.3): the model's part is 1.1 t too high, the weather "
        "forecast's 1.5 t too high; 24 of 24 yields lay in their intervals, which promise 95%"
    )
    assert _scored(np.array([-2.0]), ["2026"]).verdict("the predictions") == (
        "the predictions were 2.0 t too high on 1 yield; of fewer than 8 yields nothing is certain"
    )
    assert _scored(np.zeros(0), []).verdict() == "no yield has been reported of what the forecasts were about"


@pytest.mark.parametrize(
    ("seasons", "said"),
    [
        (["2026"] * 24, "one season: years differ more than regions"),
        (["2025", "2026"] * 12, "2 seasons: years differ more than regions"),
        ([None] * 24, "no season is told: years differ more than regions"),
    ],
)
def test_few_seasons_are_said_to_be_few(seasons: list[str | None], said: str) -> None:
    """Since bands of them are those of the regions alone; nothing is told to be below promise."""
    scored = _scored(np.full(24, 9.0), seasons)
    assert scored.verdict().endswith(said)
    assert not scored.below_promise
    assert said not in _scored(np.full(24, 9.0), SEASONS).verdict()


def test_coverage_below_promise() -> None:
    """In three seasons that were all bad it is told; one bad season of three is no proof, though the rows are many."""
    all_bad = np.tile([0.0, 0.0, 9.0, -9.0], 6)
    scored = _scored(all_bad, SEASONS)
    assert scored.below_promise
    assert "12 of 24 yields lay in their intervals, which promise 95%: coverage is below promise" in scored.verdict()
    one_bad = np.concatenate([np.zeros(16), np.full(5, 9.0), np.zeros(3)])
    scored = _scored(one_bad, SEASONS)
    assert not scored.below_promise
    assert "19 of 24 yields lay in their intervals, which promise 95%" in scored.verdict()
    few = _scored(np.array([9.0] * 6), ["2024", "2025", "2026"] * 2)
    assert not few.below_promise
