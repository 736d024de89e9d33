"""The units that weather may be given in, and how a number in one becomes the number that is stored: °F and mm, always.

Conversion happens at the edge, where a body is read; bounds and warnings speak the unit of who asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NoReturn, get_args

from app.errors import FieldError, InvalidInput
from app.model.weather import WEATHER, Feature

TemperatureUnit = Literal["fahrenheit", "celsius", "kelvin"]
RainfallUnit = Literal["mm", "inch"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: ``stored = (given - zero) * factor + offset``. ``others``: what else it is called, in lower case."""

    symbol: str
    factor: float = 1.0
    zero: float = 0.0
    offset: float = 0.0
    others: tuple[str, ...] = ()

    def stored(self, given: Any) -> Any:
        """Return a number, or each of an array, in the unit that is stored."""
        return (given - self.zero) * self.factor + self.offset

    def given(self, stored: Any) -> Any:
        """Return what is stored in this unit."""
        return (stored - self.offset) / self.factor + self.zero

    def shown(self, stored: Any) -> Any:
        """Return the same to nine decimals: beyond them is what converting there and back has left."""
        value = self.given(stored)
        return value.round(9) if hasattr(value, "round") else round(value, 9)


UNITS: dict[str, dict[str, Unit]] = {
    "temperature": {
        "fahrenheit": Unit("°F", others=("°f", "f", "degf", "[degf]", "deg f")),
        "celsius": Unit("°C", 1.8, 0.0, 32.0, ("°c", "c", "cel", "degc", "deg c", "℃")),
        "kelvin": Unit("K", 1.8, 273.15, 32.0, ("k",)),
    },
    "rainfall": {
        "mm": Unit("mm", others=("millimeter", "millimetre", "millimeters", "millimetres", "kg/m2", "kg m-2")),
        "inch": Unit("in", 25.4, 0.0, 0.0, ("in", "inches", "[in_i]", '"', "″")),
    },
    "humidity": {"percent": Unit("%", others=("%", "pct"))},
}
"""By feature and name. The others: UCUM's codes, and what headers of tables have (`temperature (°C)`)."""


@dataclass(frozen=True)
class Units:
    """The units that somebody gives weather in; None: nobody has said, so they are those that are stored."""

    temperature: TemperatureUnit | None = None
    rainfall: RainfallUnit | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: a unit is not one of these."""
        for name, known in (("temperature", TemperatureUnit), ("rainfall", RainfallUnit)):
            given = getattr(self, name)
            if given is not None and given not in get_args(known):
                raise ValueError(f"{name}_unit {given!r} is unknown: use {' or '.join(get_args(known))}")

    def __reduce__(self) -> "tuple[type[Units], tuple[str | None, str | None]]":
        """Take to another process what was said, and nothing of what follows from it."""
        return Units, (self.temperature, self.rainfall)

    @cached_property
    def named(self) -> dict[str, str]:
        """Return those that were said, by feature."""
        given = {"temperature": self.temperature, "rainfall": self.rainfall}
        return {name: unit for name, unit in given.items() if unit is not None}

    def of(self, feature: str) -> Unit:
        """Return a feature's unit."""
        units = UNITS[feature]
        return units[self.named.get(feature) or next(iter(units))]

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """Return the features with bounds in these units; where one was said, nothing is guessed about it."""
        return tuple(self._feature(feature) for feature in WEATHER)

    def _feature(self, feature: Feature) -> Feature:
        if feature.name not in self.named:
            return feature
        unit = self.of(feature.name)
        low, high = (unit.shown(end) for end in (feature.low, feature.high))
        return replace(feature, unit=unit.symbol, low=low, high=high, mistake=None, plausible=None)

    def stored(self, weather: Sequence[Any]) -> list[Any]:
        """Return columns in the order of WEATHER as they are stored."""
        return [
            self.of(feature.name).stored(column) if feature.name in self.named else column
            for feature, column in zip(WEATHER, weather, strict=True)
        ]

    def given(self, weather: Sequence[Any]) -> list[Any]:
        """Return columns as they were given of what is stored."""
        return [
            self.of(feature.name).shown(column) if feature.name in self.named else column
            for feature, column in zip(WEATHER, weather, strict=True)
        ]

    def contradicted(self, why: str) -> NoReturn:
        """Refuse units that a query names beside a body that needs none.

        Raises:
            InvalidInput: with a fault for each of them.
        """
        faults = [FieldError(("query", f"{name}_unit"), f"{why}: leave it out", "unit") for name in self.named]
        raise InvalidInput(f"query.{faults[0].loc[1]}: {faults[0].message}", faults)

    def also(self, header: "Units") -> "Units":
        """Return these with what a table's header says.

        Raises:
            InvalidInput: they contradict each other.
        """
        faults = [
            FieldError(
                ("query", f"{name}_unit"), f"the query says {self.named[name]}, the header {unit}: give one", "unit"
            )
            for name, unit in header.named.items()
            if self.named.get(name, unit) != unit
        ]
        if faults:
            raise InvalidInput(faults[0].message, faults)
        return Units(**{**self.named, **header.named})  # type: ignore[arg-type]


STORED = Units()
"""Nobody has said a unit."""


def unit_called(feature: str, word: str) -> str | None:
    """Return the name of the unit of a feature that a word stands for; None for a word that stands for none."""
    plain = word.strip().casefold().replace("º", "°").replace("° ", "°")
    return next(
        (name for name, unit in UNITS[feature].items() if plain in (name, unit.symbol.casefold(), *unit.others)), None
    )
