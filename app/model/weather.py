"""The features of a region's season: their names, units and the bounds of what weather can be.

Three of them reach the service. The mathematics beside this file takes any number of columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class UnitMistake:
    """What a feature is easily given as by mistake, and how to convert it to the right unit."""

    given: str
    convert: Callable[[Any], Any]
    """Of a number, or of each of an array."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of weather: ``low`` and ``high`` are in ``unit`` and belong to the allowed values.

    ``plausible``: what no season in which a crop grows is below; less than that is likely to be in another unit.
    """

    name: str
    unit: str
    low: float
    high: float
    meaning: str
    mistake: UnitMistake | None = None
    plausible: float | None = None

    def admits(self, values: Any) -> Any:
        """Tell of a number, or of each of an array, whether it is within the bounds; NaN is not."""
        return (values >= self.low) & (values <= self.high)

    def mistaken(self, values: Any) -> int:
        """Count the numbers of an array that are less than is plausible, and not so if they are in another unit."""
        if self.mistake is None or self.plausible is None:
            return 0
        less = values < self.plausible
        return int((less & (self.mistake.convert(values) >= self.plausible)).sum()) if less.any() else 0

    def problem(self, value: float) -> str | None:
        """Say which bound a number breaks, with value, bound and unit, or return None."""
        if value < self.low:
            return f"{value:g} is below {self.low:g} {self.unit}"
        if value > self.high:
            return f"{value:g} is above {self.high:g} {self.unit}"
        return None


WEATHER = (
    Feature(
        "temperature",
        "°F",
        -130.0,
        140.0,
        "average over the season",
        UnitMistake("in °C", lambda celsius: celsius * 9.0 / 5.0 + 32.0),
        plausible=32.0,
    ),
    Feature(
        "rainfall", "mm", 0.0, 30_000.0, "total over the season", UnitMistake("in inches", lambda inches: inches * 25.4)
    ),
    Feature(
        "humidity",
        "%",
        0.0,
        100.0,
        "average relative humidity over the season",
        UnitMistake("a share of 1", lambda share: share * 100.0),
        plausible=2.0,
    ),
)
FEATURE_NAMES = tuple(feature.name for feature in WEATHER)

Needs = Mapping[str, Sequence[str]]
"""The features that must be there, by name, and the crops that cannot be predicted without each."""
ALL: Needs = dict.fromkeys(FEATURE_NAMES, ())
NONE: Needs = {}
MOST_NAMED = 3
"""Crops that a sentence names."""
LEAST = f"give at least one of {', '.join(FEATURE_NAMES)}"


def why_needed(crops: Sequence[str]) -> str:
    """Return the end of a sentence about a feature that is missing: which crops need it; nothing for none."""
    if not crops:
        return ""
    named, more = list(crops[:MOST_NAMED]), len(crops) - MOST_NAMED
    last = [f"{more} more"] if more > 0 else []
    *first, end = [*named, *last]
    return f": {', '.join(first)} and {end} need it" if first else f": {end} needs it"


REGION_LENGTH = 200
"""The longest region, season or crop name, in characters."""

YIELD = Feature("yield", "tons", 0.0, 1e12, "harvested in the region in the season")
