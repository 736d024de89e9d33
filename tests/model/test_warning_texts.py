"""The sentences beside a prediction, word for word, for one region and for many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.model.effects import Effects
from app.model.linear import CropModel, LinearModel, Spread
from app.model.names import Names
from app.model.warning_texts import (
    region_warnings,
    warnings_for,
    warnings_for_many,
    weather_warnings,
    yield_warnings,
)
from app.model.weather import FEATURE_NAMES

SPREAD = Spread(
    rows=10,
    center=(80.0, 100.0, 50.0),
    minimum=(60.0, 40.0, 40.0),
    maximum=(100.0, 160.0, 60.5),
    deviations=(10.0, 30.0, 5.0),
    whitener=((0.02, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 0.05)),
    largest_leverage=0.5,
    rank=3,
)
"""Of rows around 80 °F, 100 mm and 50 %: there the leverage is 1/10."""
FEW = replace(SPREAD, rows=4, minimum=(70.0, 90.0, 45.0), maximum=(90.0, 110.0, 55.0))
"""Of as many rows as a line has coefficients."""
MIDDLE = SPREAD.center
COMBINATION = "this combination of weather lies farther out than any in training"


def _crop(name: str, spread: Spread, intercept: float = 0.0) -> CropModel:
    return CropModel(name, intercept, (-0.5, 0.25, 0.125), 20.0, 24.0, spread)


ONE = LinearModel(FEATURE_NAMES, (_crop("mango", SPREAD),))
SEVERAL = LinearModel(FEATURE_NAMES, (_crop("mango", SPREAD, 9.0), _crop("rye", FEW), _crop("corn", SPREAD, -1.0)))


def _outside(name: str, value: float, low: float, high: float) -> str:
    unit = {"temperature": "°F", "rainfall": "mm", "humidity": "%"}[name]
    return f"{name} {value:g} {unit} is outside the training range, {low:g} to {high:g} {unit}"


@pytest.mark.parametrize(
    ("weather", "told"),
    [
        (MIDDLE, []),
        (SPREAD.minimum, []),
        (SPREAD.maximum, []),
        ((59.5, 100.0, 50.0), ["temperature 59.5 °F is outside the training range, 60 to 100 °F"]),
        ((80.0, 1234567.0, 50.0), ["rainfall 1.23457e+06 mm is outside the training range, 40 to 160 mm"]),
        ((80.0, 100.0, 60.75), ["humidity 60.75 % is outside the training range, 40 to 60.5 %"]),
        (
            (110.0, 0.0, 100.0),
            [
                "temperature 110 °F is outside the training range, 60 to 100 °F",
                "rainfall 0 mm is outside the training range, 40 to 160 mm",
                "humidity 100 % is outside the training range, 40 to 60.5 %",
            ],
        ),
    ],
)
def test_what_training_has_not_seen(weather: tuple[float, ...], told: list[str]) -> None:
    """A sentence for each feature outside its range, in the features' order; the range's ends are inside."""
    assert weather_warnings(ONE, weather, [0.1]) == told


@pytest.mark.parametrize(
    ("place", "value", "hint"),
    [
        (0, 25.0, "; if it is in °C, that is 77 °F"),
        (0, 15.75, "; if it is in °C, that is 60.35 °F"),
        (0, 15.5, ""),
        (0, 38.0, ""),
        (0, 120.0, ""),
        (1, 4.0, "; if it is in inches, that is 101.6 mm"),
        (1, 1.5, ""),
        (1, 200.0, ""),
        (2, 0.5, "; if it is a share of 1, that is 50 %"),
        (2, 0.605, "; if it is a share of 1, that is 60.5 %"),
        (2, 0.7, ""),
    ],
)
def test_a_likely_mistake_is_told(place: int, value: float, hint: str) -> None:
    """Where the value in another unit would be within the range, and only there."""
    weather = [*MIDDLE]
    weather[place] = value
    (told,) = weather_warnings(ONE, weather, [9.0])
    assert told == _outside(FEATURE_NAMES[place], value, SPREAD.minimum[place], SPREAD.maximum[place]) + hint


@pytest.mark.parametrize(
    ("leverage", "told"),
    [
        (0.5, []),
        (0.5 * (1 + 1e-10), []),
        (
            0.51234,
            [f"{COMBINATION} (leverage 0.512, in training at most 0.5)"],
        ),
    ],
)
def test_an_unusual_combination(leverage: float, told: list[str]) -> None:
    """Each value is within its range: the leverage of the outermost training row is inside, up to its last bit."""
    assert weather_warnings(ONE, MIDDLE, [leverage]) == told


def test_a_value_outside_says_it_all() -> None:
    """That the combination is unusual too is not said besides."""
    (told,) = weather_warnings(ONE, (110.0, 100.0, 50.0), [9.0])
    assert told.startswith("temperature 110 °F")


def test_crops_of_other_rows_are_named() -> None:
    """Where not all crops were learned from the same rows, each sentence begins with those that it is about."""
    assert weather_warnings(SEVERAL, (65.0, 100.0, 50.0), [0.6, 0.6]) == [
        f"mango, corn: {COMBINATION} (leverage 0.6, in training at most 0.5)",
        "rye: temperature 65 °F is outside the training range, 70 to 90 °F",
    ]


def test_what_is_so_for_several_crops_is_said_once() -> None:
    """With their names in the model's order, and without where it is so for all; what differs is said of each."""
    drier = replace(SPREAD, minimum=(60.0, 50.0, 40.0))
    both = LinearModel(FEATURE_NAMES, (_crop("mango", SPREAD), _crop("rye", drier)))
    cold = _outside("temperature", 24.0, 60.0, 100.0) + "; if it is in °C, that is 75.2 °F"
    dry, drought = (_outside("rainfall", 30.0, least, 160.0) for least in (40.0, 50.0))
    assert weather_warnings(both, (24.0, 30.0, 50.0), [9.0, 9.0]) == [cold, f"mango: {dry}", f"rye: {drought}"]
    several = LinearModel(FEATURE_NAMES, (_crop("oats", drier), *SEVERAL.crops))
    narrow = _outside("temperature", 24.0, 70.0, 90.0) + "; if it is in °C, that is 75.2 °F"
    assert weather_warnings(several, (24.0, 100.0, 50.0), [9.0, 9.0, 9.0]) == [
        f"oats, mango, corn: {cold}",
        f"rye: {narrow}",
    ]


@pytest.mark.parametrize(
    ("tons", "low", "told"),
    [
        (10.0, 1.0, []),
        (0.0, 0.0, []),
        (-0.0, -0.0, []),
        (10.0, -0.04567, ["mango: the lower bound -0.04567 tons is below 0 and is reported as 0"]),
        (-12345.678, -2e9, ["mango: -12,350 tons is below 0 and is reported as 0"]),
        (-1e-9, -1.0, ["mango: -1e-09 tons is below 0 and is reported as 0"]),
        (10.0, None, ["mango has no interval: 10 rows leave no degrees of freedom for 4 coefficients"]),
        (
            -1.0,
            None,
            [
                "mango has no interval: 10 rows leave no degrees of freedom for 4 coefficients",
                "mango: -1 tons is below 0 and is reported as 0",
            ],
        ),
    ],
)
def test_what_is_reported_otherwise(tons: float, low: float | None, told: list[str]) -> None:
    """A yield below 0, or else its lower bound, with four digits of it, and an interval that there is not."""
    assert yield_warnings(ONE, {"mango": tons}, {"mango": low}) == told


def test_crops_keep_their_order() -> None:
    """Sentences about yields come in the order of the model's crops, whatever order the numbers come in."""
    tons = {"corn": -3.0, "rye": -2.0, "mango": -1.0}
    told = yield_warnings(SEVERAL, tons, dict.fromkeys(tons, -5.0))
    assert [sentence.partition(" ")[0] for sentence in told] == ["mango:", "rye:", "corn:"]


def test_weather_comes_before_yields() -> None:
    """All there is to say of one region, in one list."""
    told = warnings_for(SEVERAL, (130.0, 100.0, 50.0), 0.95)
    assert [sentence.partition(" tons")[0] for sentence in told] == [
        "mango, corn: " + _outside("temperature", 130, 60, 100),
        "rye: " + _outside("temperature", 130, 70, 90),
        *("mango: -24.75", "rye has no interval: 4 rows leave no degrees of freedom for 4 coefficients"),
        *("rye: -33.75", "corn: -34.75"),
    ]


def test_the_level_moves_the_bound() -> None:
    """The wider the interval, the sooner its lower bound is below 0; without anything to say there is no sentence."""
    weather = (80.0, 150.0, 50.0)
    assert warnings_for(ONE, weather, 0.5) == []
    (told,) = warnings_for(ONE, weather, 0.95)
    assert told.startswith("mango: the lower bound -")


@pytest.mark.parametrize("model", [ONE, SEVERAL], ids=["one spread", "several"])
@pytest.mark.parametrize("level", [0.5, 0.95])
@given(weather=st.lists(st.tuples(st.floats(50, 130), st.floats(0, 250), st.floats(0, 100)), min_size=1, max_size=8))
@example(weather=[MIDDLE, SPREAD.minimum, (25.0, 4.0, 0.5), (80.0, 160.0, 60.5), (80.0, 150.0, 50.0)])
def test_many_regions_are_told_what_each_is(
    model: LinearModel, level: float, weather: list[tuple[float, float, float]]
) -> None:
    """The same sentences, to the letter, as for each region asked about alone."""
    columns = [np.array(column) for column in zip(*weather, strict=True)]
    told = warnings_for_many(model, columns, model.yields(columns, level))
    assert told == [warnings_for(model, region, level) for region in weather]


def _knowing(crop: CropModel, *rows: float, by_region: float = 4.0) -> CropModel:
    """Return a crop that knows so many rows of each region, and of one never seen."""
    places = len(rows)
    nothing = np.zeros(places)
    line = np.array(crop.weights), crop.intercept + 50.0
    center, whitener = np.tile(SPREAD.center, (places, 1)), np.array(SPREAD.whitener)
    effects = Effects(*line, np.array(rows), nothing, center, nothing + 0.1, whitener, 1.0, by_region, 0.0, (9.0, 9.0))
    return replace(crop, effects=effects)


MANGO, RYE, CORN = SEVERAL.crops
REGIONAL = LinearModel(
    FEATURE_NAMES,
    (_knowing(MANGO, 5, 2, 0), _knowing(CORN, 3, 0, 0), _knowing(MANGO, 0, 0, 0, by_region=0.0)),
    ("A", "B"),
)
"""Mango knows both regions, corn only A; of the third crop no region differs."""
UNKNOWN = "has been learned: what regions differ by is in the interval"


@pytest.mark.parametrize(
    ("region", "told"),
    [
        ("A", []),
        ("B", [f"corn: no season of B {UNKNOWN}"]),
        ("C", [f"mango, corn: no season of C {UNKNOWN}"]),
        ("a", [f"mango, corn: no season of a {UNKNOWN}"]),
        ("", []),
        (None, []),
    ],
)
def test_regions_that_are_not_known(region: str | None, told: list[str]) -> None:
    """The crops that they are not known of are named; what has no name is not told to be unknown."""
    place = REGIONAL.index.get(region or "", 2)
    assert region_warnings(REGIONAL, region, place) == told
    assert region_warnings(ONE, region, None) == []
    assert warnings_for(REGIONAL, MIDDLE, 0.95, region) == told
    assert warnings_for(REGIONAL.common, MIDDLE, 0.5, region) == warnings_for(REGIONAL.common, MIDDLE, 0.5)


def test_a_region_that_no_crop_knows() -> None:
    """Where it is about all crops, none is named."""
    model = LinearModel(FEATURE_NAMES, (_knowing(MANGO, 5, 0), _knowing(CORN, 3, 0)), ("A",))
    assert region_warnings(model, "Z", 1) == [f"no season of Z {UNKNOWN}"]


NAMED = ["A", "B", "C", None, "", "A"]


@pytest.mark.parametrize("regions", [NAMED, tuple(NAMED), Names.of(NAMED)], ids=["list", "tuple", "names"])
def test_many_regions_are_told_the_same(regions: list[str | None]) -> None:
    """In the order of one region: weather, region, yields."""
    columns = [np.array([80.0, 80.0, 110.0, 110.0, 80.0, 80.0]), np.full(6, 100.0), np.full(6, 50.0)]
    columns[1][-1] = 0.0
    yields = REGIONAL.yields(columns, 0.95, regions)
    many = warnings_for_many(REGIONAL, columns, yields)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    assert many == [warnings_for(REGIONAL, row, 0.95, name) for row, name in zip(rows, regions, strict=True)]
    assert [len(told) > 0 for told in many] == [False, True, True, True, False, True]
    nameless = warnings_for_many(REGIONAL, columns, REGIONAL.yields(columns, 0.95))
    assert not any(UNKNOWN in sentence for told in nameless for sentence in told)
