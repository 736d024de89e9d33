"""The units that weather may be given in."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.model.units import STORED, UNITS, Units, unit_called
from app.model.weather import WEATHER


@pytest.mark.parametrize(
    ("feature", "unit", "there", "stored"),
    [
        ("temperature", "celsius", 24.0, 75.2),
        ("temperature", "celsius", -40.0, -40.0),
        ("temperature", "kelvin", 297.15, 75.2),
        ("temperature", "kelvin", 273.15, 32.0),
        ("temperature", "fahrenheit", 73.0, 73.0),
        ("rainfall", "inch", 1.0, 25.4),
        ("rainfall", "mm", 67.0, 67.0),
    ],
)
def test_a_number_in_a_unit_is_the_number_that_is_stored(feature: str, unit: str, there: float, stored: float) -> None:
    """A number in a unit is the number that is stored."""
    assert UNITS[feature][unit].stored(there) == pytest.approx(stored, abs=1e-9)


@given(st.sampled_from([(f, u) for f, units in UNITS.items() for u in units]), st.floats(-1e4, 1e4))
def test_there_and_back_is_the_same(which: tuple[str, str], value: float) -> None:
    """There and back is the same."""
    unit = UNITS[which[0]][which[1]]
    assert unit.given(unit.stored(value)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("feature", "word", "name"),
    [
        ("temperature", "°C", "celsius"),
        ("temperature", "ºC", "celsius"),
        ("temperature", "Cel", "celsius"),
        ("temperature", "[degF]", "fahrenheit"),
        ("temperature", "K", "kelvin"),
        ("rainfall", "in", "inch"),
        ("rainfall", "Inches", "inch"),
        ("rainfall", "[in_i]", "inch"),
        ("rainfall", "MM", "mm"),
        ("humidity", "%", "percent"),
        ("temperature", "mm", None),
        ("rainfall", "cm", None),
    ],
)
def test_words_for_units(feature: str, word: str, name: str | None) -> None:
    """Words for units."""
    assert unit_called(feature, word) == name


def test_bounds_are_in_the_unit_of_who_asks_and_nothing_is_guessed_there() -> None:
    """Bounds are in the unit of who asks and nothing is guessed there."""
    temperature, rainfall, humidity = Units("kelvin").features
    assert (temperature.low, temperature.high, temperature.unit) == (183.15, 333.15, "K")
    assert temperature.mistake is None
    assert (rainfall, humidity) == WEATHER[1:]


def test_what_nobody_has_said_stays_to_the_bit() -> None:
    """What nobody has said stays to the bit."""
    weather = [0.1, 0.2, 0.3]
    assert STORED.stored(weather) == weather
    assert STORED.features == WEATHER


def test_units_cross_to_another_process() -> None:
    """Also after they were asked for what follows from them."""
    units = Units("celsius")
    assert units.features[0].high == 60
    assert pickle.loads(pickle.dumps(units)) == units  # noqa: S301 - our own


def test_a_unit_that_is_none_is_refused() -> None:
    """A unit that is none is refused."""
    with pytest.raises(ValueError, match="temperature_unit 'C' is unknown: use fahrenheit or celsius or kelvin"):
        Units("C")  # type: ignore[arg-type]


def test_a_header_adds_to_the_query_and_does_not_contradict_it() -> None:
    """A header adds to the query and does not contradict it."""
    assert Units("celsius").also(Units(None, "inch")) == Units("celsius", "inch")
    assert Units("celsius").also(Units("celsius")) == Units("celsius")
    with pytest.raises(InvalidInput, match="the query says celsius, the header kelvin"):
        Units("celsius").also(Units("kelvin"))
