"""The features of a region's season: their names, units and the bounds of what weather can be.

Three of them reach the service. The mathematics beside this file takes any number of columns.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of weather: ``low`` and ``high`` are in ``unit`` and belong to the allowed values."""

    name: str
    unit: str
    low: float
    high: float
    meaning: str


WEATHER = (
    Feature("temperature", "°F", -130.0, 140.0, "average over the season"),
    Feature("rainfall", "mm", 0.0, 30_000.0, "total over the season"),
    Feature("humidity", "%", 0.0, 100.0, "average relative humidity over the season"),
)
FEATURE_NAMES = tuple(feature.name for feature in WEATHER)
REGION_LENGTH = 200
"""The longest region, season or crop name, in characters."""

YIELD = Feature("yield", "tons", 0.0, 1e12, "harvested in the region in the season")
