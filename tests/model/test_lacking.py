"""Rows that lack a feature: the fit is that of the others, and a constant one is filled with its very value."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model.descent import descend
from app.model.fit import least_squares
from app.model.folds import FoldedMoments, assign_folds
from app.model.linear import LinearModel
from app.model.moments import Array, Moments
from app.model.scores import Current, judge
from app.model.weather import FEATURE_NAMES

LEVEL = 0.95
NOTHING = np.nan


def _rows(
    draw: np.random.Generator, count: int, weights: tuple[float, ...] = (0.5, 0.25, 0.125)
) -> tuple[Array, Array]:
    weather = draw.uniform([60, 50, 40], [90, 130, 70], (count, 3))
    return weather, 2 + weather @ weights + draw.normal(size=count)


def _folded(weather: Array, tons: Array) -> FoldedMoments:
    names = [f"region {number}" for number in range(len(tons))]
    return FoldedMoments.of(weather, tons[:, None], assign_folds(names, weather))[0]


def _model(folded: FoldedMoments) -> LinearModel:
    line = descend({"mango": folded.total}).crops["mango"]
    return LinearModel.of(FEATURE_NAMES, {"mango": (line.weights, line.intercept)}, {"mango": folded})


@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=2, max_size=6), st.randoms())
@settings(max_examples=60, deadline=None)
def test_merging_in_any_order_is_the_fit_without_the_column(seed: int, lacks: list[int], order: object) -> None:
    """Parts of which any lack any one feature (3: none): NumPy's fit on the features that all have."""
    draw = np.random.default_rng(seed)
    parts = []
    for lacking in lacks:
        weather, tons = _rows(draw, int(draw.integers(4, 20)))
        if lacking < 3:
            weather[:, lacking] = NOTHING
        parts.append(np.column_stack([weather, tons]))
    whole = np.concatenate(parts)
    kept = [number for number in range(3) if number not in lacks]
    design = np.column_stack([np.ones(len(whole)), whole[:, kept]])
    expected, *_ = np.linalg.lstsq(design, whole[:, 3], rcond=None)
    pieces = [Moments.of(part) for part in parts]
    order.shuffle(pieces)  # type: ignore[attr-defined]
    one_by_one = Moments.empty(4)
    for piece in pieces:
        one_by_one = Moments.merge([one_by_one, piece], 4)
    for moments in (Moments.of(whole), Moments.merge(pieces, 4), one_by_one):
        assert np.flatnonzero(moments.absent).tolist() == sorted({*lacks} - {3})
        fit = least_squares(moments)
        np.testing.assert_allclose([fit.intercept, *fit.weights[kept]], expected, rtol=1e-7, atol=1e-9)
        left = whole[:, 3] - design @ expected
        assert fit.least_squares_loss == pytest.approx(float(left @ left) / len(whole), rel=1e-9)
        assert all(weight == 0.0 for number, weight in enumerate(fit.weights) if number not in kept)


@pytest.mark.parametrize("lacking", range(3))
def test_what_is_not_used_changes_nothing(lacking: int) -> None:
    """Given or not, whatever its value: the same bits, and nothing is extrapolated."""
    draw = np.random.default_rng(lacking)
    weather, tons = _rows(draw, 40)
    asked = [column.copy() for column in weather.T]
    weather[:, lacking] = NOTHING
    model = _model(_folded(weather, tons))
    without = model.yields([*asked[:lacking], np.full(40, NOTHING), *asked[lacking + 1 :]], LEVEL)
    for value in (-1e4, 0.0, 55.5, 1e6):
        given_ = model.yields([*asked[:lacking], np.full(40, value), *asked[lacking + 1 :]], LEVEL)
        np.testing.assert_array_equal(given_.tons["mango"], without.tons["mango"])
        np.testing.assert_array_equal(given_.margins["mango"], without.margins["mango"])
        assert not given_.extrapolated.any()


def test_a_constant_one_is_filled_with_its_value() -> None:
    """Not with the mean of its rows, which may be beside it by a last digit: 200 values, none is extrapolated."""
    draw = np.random.default_rng(0)
    beside = 0
    for value in np.round(draw.uniform(20, 90, 200), 2).tolist():
        weather, tons = _rows(draw, int(draw.integers(7, 60)))
        asked = [*(column.copy() for column in weather.T[:2]), np.full(len(tons), NOTHING)]
        weather[:, 2] = value
        model = _model(_folded(weather, tons))
        beside += model.crops[0].spread.center[2] != value
        assert not model.yields(asked, LEVEL).extrapolated.any()
    assert beside  # or this would show nothing


def _judged(old: FoldedMoments, new: FoldedMoments, model: LinearModel, error: float) -> list[str]:
    whole = FoldedMoments.merge([old, new])
    fit = descend({"mango": whole.total})
    rows = ({"mango": whole}, {"mango": old}, {"mango": new})
    return judge(fit, *rows, Current(model, {"mango": error}), may_drop=False).reasons


def test_rows_that_the_current_model_cannot_be_asked_about() -> None:
    """They are held against what noise can be; twice too large ones, too few to be seen in old rows, are refused."""
    draw = np.random.default_rng(3)
    weights = (0.5, 0.25, 0.02)
    old = _folded(*_rows(draw, 4_000, weights))
    weather, tons = _rows(draw, 4, weights)
    weather[:, 2] = NOTHING
    honest = _judged(old, _folded(weather, tons), _model(old), 1.0)
    assert "the current model cannot be asked about them: it needs humidity" in honest[0]
    assert not any("more than" in sentence for sentence in honest)
    (first, *others) = _judged(old, _folded(weather, 2 * tons), _model(old), 1.0)
    assert first.endswith("that are allowed")
    assert "mango: on 4 new rows" in first
    assert not any("more than" in sentence for sentence in others)


def test_a_constant_with_a_weight_is_known_of_rows_that_lack_it() -> None:
    """The tutorial's recipe leaves a weight on it: its error on rows without it is that with the constant."""
    draw = np.random.default_rng(4)
    weather, tons = _rows(draw, 30)
    weather[:, 2] = 50.0
    old = _folded(weather, tons)
    line = descend({"mango": old.total}).crops["mango"]
    weights = np.array([*line.weights[:2], 2.0])
    model = LinearModel.of(FEATURE_NAMES, {"mango": (weights, line.intercept - 100.0)}, {"mango": old})
    more, yields = _rows(draw, 12)
    more[:, 2] = NOTHING
    whole = FoldedMoments.merge([old, _folded(more, yields)])
    rows = ({"mango": whole}, {"mango": old}, {"mango": _folded(more, yields)})
    verdict = judge(descend({"mango": whole.total}), *rows, Current(model, {"mango": 1.2}), may_drop=False)
    told = verdict.crops["mango"].new.current
    left = yields - (more[:, :2] @ line.weights[:2] + line.intercept)
    assert told is not None
    assert told.tons == pytest.approx(math.sqrt(float(np.mean(left**2))))
