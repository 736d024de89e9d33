"""Pairs: whose error it was adds up, whatever is predicted, and both bases tell the same of the model."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.linear import CropModel, LinearModel
from app.model.moments import Array
from app.model.pairs import Pairs
from app.model.weather import FEATURE_NAMES
from scripts.simulate_gate import effects_of, fit_closed
from tests.panels import REGIONS, with_effects

NOTHING = np.full(1, np.nan)
WEATHER = st.lists(
    st.tuples(st.floats(-130, 140), st.floats(0, 30_000), st.floats(0, 100), st.floats(0, 1e6), st.booleans()),
    min_size=1,
    max_size=20,
)


def _model(table: Table, *, effects: bool = True) -> LinearModel:
    moments = moments_of(table)
    fit = fit_closed(moments)
    lines = {crop: (line.weights, line.intercept) for crop, line in fit.crops.items()}
    return LinearModel.of(FEATURE_NAMES, lines, moments, *(effects_of(table, fit) if effects else ()))


@pytest.fixture(scope="module")
def model() -> LinearModel:
    """Return one that knows regions A to I; of pear it knows the common line alone."""
    return _model(with_effects())


def _answered(
    model: LinearModel, crop: CropModel, weather: list[Array], regions: Sequence[str | None]
) -> tuple[Array, ...]:
    """Return what is answered: the prediction and its bounds, 0 where they are below it."""
    yields = model.yields(weather, 0.95, regions)
    middle, margin = yields.tons[crop.crop], yields.margins[crop.crop]
    assert margin is not None
    return tuple(np.maximum(tons, 0.0) for tons in (middle, middle - margin, middle + margin))


@given(WEATHER, st.sampled_from(("mango", "orange", "pear")), st.data())
def test_the_split_adds_up(
    model: LinearModel, rows: list[tuple[float, float, float, float, bool]], name: str, data: st.DataObject
) -> None:
    """To rounding: also where predictions are held at 0, of regions that are known and others, of any weather."""
    crop = next(crop for crop in model.crops if crop.crop == name)
    tons = np.array([row[3] for row in rows])
    regions = data.draw(st.lists(st.sampled_from([*REGIONS, "Z"]), min_size=len(rows), max_size=len(rows)))
    reported = list(np.array([row[:3] for row in rows]).T)
    forecast = [np.where([row[4] for row in rows], column, column[::-1]) for column in reported]
    said = _answered(model, crop, forecast, regions)
    pairs = Pairs.forecast(tons, (said[0], said[1], said[2]), 0.95, crop, forecast, reported, model.places(regions))
    error, by_model, by_weather = tons - said[0], tons - pairs.on_reported, pairs.on_reported - pairs.predicted
    scale = np.abs(tons) + said[0] + pairs.on_reported + 1.0
    assert (np.abs(by_model + by_weather - error) <= 1e-13 * scale).all()
    # Along the line: what each feature adds is all of it where nothing is held at 0.
    free = (said[0] > 0.0) & (pairs.on_reported > 0.0)
    terms = 1.0 + np.abs(pairs.by_weather).sum(axis=1) + scale
    assert (np.abs(pairs.by_weather.sum(axis=1) - by_weather)[free] <= 1e-11 * terms[free]).all()


def test_the_models_part_is_the_error_on_arrival(model: LinearModel) -> None:
    """Of the same rows and version: both bases tell the same of the model, to the last bit."""
    table = with_effects()
    regions, weather = list(table.regions), list(table.weather.T)
    yields = model.yields(weather, 0.9, regions)
    for number, crop in enumerate(model.crops):
        told = ~np.isnan(table.yields[:, number])
        tons = table.yields[:, number]
        arrived = Pairs.arrival(tons, crop, yields).rows(told)
        forecast = [weather[0] + 1.5, weather[1] * 1.2, weather[2] - 3.0]
        said = _answered(model, crop, forecast, regions)
        pairs = Pairs.forecast(tons, (said[0], said[1], said[2]), 0.9, crop, forecast, weather, model.places(regions))
        np.testing.assert_array_equal(pairs.rows(told).on_reported, arrived.predicted)
        np.testing.assert_array_equal(arrived.on_reported, arrived.predicted)
        assert not arrived.by_weather.any()
        weights = crop.weights if crop.effects is None else crop.effects.weights.tolist()
        expected = np.column_stack(
            [weights[0] * -1.5 + 0 * weather[0], weights[1] * weather[1] * -0.2, weights[2] * 3 + 0 * weather[0]]
        )
        np.testing.assert_allclose(pairs.by_weather, expected, atol=1e-10)
        assert set(arrived.level.tolist()) == {0.9}
        assert set(arrived.baseline.tolist()) == {crop.mean}


def test_answers_are_paired_as_they_were_given(tutorial: Table) -> None:
    """Below 0 is 0, with effects or without, as `/predict` answers."""
    model = _model(tutorial, effects=False)
    crop = model.crops[0]
    weather = [np.array([20.0, 75.0]), np.array([0.0, 80.0]), np.array([0.0, 55.0])]
    pairs = Pairs.arrival(np.array([1.0, 60.0]), crop, model.yields(weather, 0.95))
    assert crop.tons([20.0, 0.0, 0.0]) < 0.0
    assert pairs.predicted[0] == pairs.low[0] == 0.0
    assert pairs.low[1] < pairs.predicted[1] < pairs.high[1]
    assert len(pairs) == 2


def test_what_cannot_be_asked_is_not_known(tutorial: Table) -> None:
    """Where the report lacks a feature that the crop needs, row by row; one that it does not need does not matter."""
    crop = _model(tutorial, effects=False).crops[0]
    said = (np.array([50.0, 50.0]), np.array([45.0, np.nan]), np.array([55.0, np.nan]))
    forecast = [np.full(2, value) for value in (75.0, 80.0, 55.0)]
    reported = [np.full(2, 75.0), np.array([80.0, np.nan]), np.full(2, 55.0)]
    pairs = Pairs.forecast(np.array([51.0, 52.0]), said, 0.95, crop, forecast, reported, None)
    assert np.isnan(pairs.on_reported).tolist() == [False, True]
    same = tutorial.weather.copy()
    same[:, 1] = 80.0
    of_two = _model(Table(tutorial.regions, tutorial.seasons, same, tutorial.crops, tutorial.yields), effects=False)
    pairs = Pairs.forecast(np.array([51.0, 52.0]), said, 0.95, of_two.crops[0], forecast, reported, None)
    assert pairs.on_reported[0] == pairs.on_reported[1] > 0.0
    assert pairs.by_weather[:, 1].tolist() == [0.0, 0.0]
