"""A fitted model as it is served: reference intervals and leverages, and the same bits for one region and for many."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.fit import least_squares
from app.model.linear import LinearModel
from app.model.units import STORED
from app.model.warning_texts import warnings_for
from app.model.weather import FEATURE_NAMES, WEATHER
from tests.reference import REFERENCE

POINTS = {"inside_75_80_55": (75.0, 80.0, 55.0), "extrapolated_32_400_95": (32.0, 400.0, 95.0)}


def _model(table: Table) -> LinearModel:
    moments = moments_of(table)
    fits = {crop: least_squares(part.total) for crop, part in moments.items()}
    return LinearModel.of(FEATURE_NAMES, {crop: (fit.weights, fit.intercept) for crop, fit in fits.items()}, moments)


@pytest.fixture(scope="module")
def model(tutorial: Table) -> LinearModel:
    """Return the tutorial's least-squares model."""
    return _model(tutorial)


@pytest.mark.parametrize("point", POINTS)
def test_reference_intervals(model: LinearModel, point: str) -> None:
    """Predictions, leverages and 95% intervals are those of the 50-digit reference to 1e-9."""
    weather = POINTS[point]
    for crop in model.crops:
        exact = REFERENCE["tutorial"][crop.crop]["prediction"][point]
        leverage = crop.spread.leverage(weather)
        assert leverage == pytest.approx(float(exact["leverage_x0"]), rel=1e-9)
        tons = crop.tons(weather)
        assert tons == pytest.approx(float(exact["mean"]), rel=1e-9)
        margin = crop.margin(math.sqrt(1.0 + leverage), 0.95)
        assert margin is not None
        assert tons - margin == pytest.approx(float(exact["obs_ci_lower"]), rel=1e-9)
        assert tons + margin == pytest.approx(float(exact["obs_ci_upper"]), rel=1e-9)
        assert crop.residual_sd == pytest.approx(float(REFERENCE["tutorial"][crop.crop]["sigma"]), rel=1e-9)


def test_leverages_of_the_training_rows(model: LinearModel, tutorial: Table) -> None:
    """Each training row's leverage is the reference's; they add up to 4 coefficients; none is extrapolated."""
    spread = model.crops[0].spread
    found = spread.leverage(list(tutorial.weather.T))
    np.testing.assert_allclose(found, REFERENCE["leverages"], rtol=1e-9)
    assert found.sum() == pytest.approx(4.0, rel=1e-12)
    assert spread.largest_leverage == pytest.approx(max(REFERENCE["leverages"]), rel=1e-9)
    assert not model.yields(list(tutorial.weather.T), 0.95).extrapolated.any()


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99, 0.999])
def test_other_levels_are_scipys(model: LinearModel, level: float) -> None:
    """At any level the margin is SciPy's t quantile times s √(1 + h)."""
    crop = model.crops[0]
    assert crop.residual_sd is not None
    quantile = float(student.isf((1 - level) / 2, 11))
    expected = quantile * crop.residual_sd * math.sqrt(1.3)
    assert crop.margin(math.sqrt(1.3), level) == pytest.approx(expected, rel=1e-11)


@given(st.tuples(st.floats(-130, 140), st.floats(0, 30_000), st.floats(0, 100)), st.floats(0.5, 0.999))
def test_one_and_many_get_the_same_bits(model: LinearModel, weather: tuple[float, ...], level: float) -> None:
    """Leverage, tons, margin and contributions are the same bits from floats and from arrays."""
    columns = [np.array([5.0, value]) for value in weather]
    for crop in model.crops:
        leverage = crop.spread.leverage(weather)
        many = crop.spread.leverage(columns)
        assert many[1] == leverage
        assert crop.tons(columns)[1] == crop.tons(weather)
        margins = crop.margin(np.sqrt(1.0 + many), level)
        assert margins is not None
        assert margins[1] == crop.margin(math.sqrt(1.0 + leverage), level)
        parts = {name: part[1] for name, part in crop.contributions(columns).items()}
        assert parts == crop.contributions(weather)
        assert crop.baseline + sum(parts.values()) == pytest.approx(crop.tons(weather), rel=1e-12, abs=1e-9)


def test_without_degrees_of_freedom_there_is_no_interval(tutorial: Table) -> None:
    """Four rows determine four coefficients and leave nothing to judge them by.

    No margin, and a sentence that says so.
    """
    rows = Table(tutorial.regions[:4], tutorial.seasons[:4], tutorial.weather[:4], ("mango",), tutorial.yields[:4, :1])
    model = _model(rows)
    crop = model.crops[0]
    assert (crop.degrees_of_freedom, crop.residual_sd, crop.standard_errors) == (0, None, None)
    assert model.yields([np.array([75.0]), np.array([80.0]), np.array([55.0])], 0.95).margins["mango"] is None
    sentence = "mango has no interval: 4 rows leave no degrees of freedom for 4 coefficients"
    assert sentence in warnings_for(model, (75.0, 80.0, 55.0), 0.95)


def test_crops_of_different_rows_are_named_in_cautions(tutorial: Table) -> None:
    """Where crops were reported by different rows, a caution says which crop it is about."""
    yields = tutorial.yields.copy()
    yields[tutorial.weather[:, 1] > 100, 1] = np.nan
    model = _model(Table(tutorial.regions, tutorial.seasons, tutorial.weather, tutorial.crops, yields))
    found = warnings_for(model, (88.0, 134.0, 59.0), 0.95)
    assert found == ["orange: rainfall 134 mm is outside the training range, 43 to 97 mm"]


def test_a_feature_needs_no_unit_mistake(model: LinearModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a feature is easily mistaken for is told where it is known, and is no error where it is not."""
    weather = (24.0, 80.0, 55.0)
    (told,) = warnings_for(model, weather, 0.95)
    assert told.endswith("; if it is in °C, that is 75.2 °F")
    monkeypatch.setitem(vars(STORED), "features", tuple(replace(feature, mistake=None) for feature in WEATHER))
    assert warnings_for(model, weather, 0.95) == [told.partition(";")[0]]


def test_a_bound_below_zero_is_said(model: LinearModel) -> None:
    """A prediction above 0 whose lower bound is below is reported with that bound as 0."""
    mango = model.crops[0]
    rainfall = (1.0 - mango.tons((100.0, 0.0, 40.0))) / mango.weights[1]
    found = warnings_for(model, (100.0, rainfall, 40.0), 0.95)
    assert any(sentence.startswith("mango: the lower bound -") for sentence in found)
