"""NASA POWER's answers as they come: a Feature of GeoJSON, or a FeatureCollection, with values by day."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from app.errors import FieldError, InvalidInput
from app.faults import Faults
from app.model.weather import FEATURE_NAMES, WEATHER
from app.wire.daily import MOST_DAYS, DailyPlace, DayValue, days_of, missing, units_of, values_of
from app.wire.schemas import Loose
from app.wire.season import Series
from app.wire.strict_json import Place
from app.wire.validation import validated

CALLED = dict(zip(FEATURE_NAMES, ("T2M", "PRECTOTCORR", "RH2M"), strict=True))
"""What the features are called there."""
ASK = f"ask NASA POWER for /api/temporal/daily/point?parameters={','.join(CALLED.values())}"
BY_DAY = "/day"
"""Behind the unit of a total: a day's is given by the day."""
MESSAGE_LENGTH = 200
"""Characters of the service's own error that are told."""

_DAY = re.compile(r"\d{8}", re.ASCII)
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class PowerDays(Loose):
    """Days of weather, an object for each parameter, by `YYYYMMDD`; null or the fill value is one that is missing."""

    T2M: dict[str, DayValue]
    PRECTOTCORR: dict[str, DayValue]
    RH2M: dict[str, DayValue]


class PowerProperties(Loose):
    """What POWER says of a place."""

    parameter: PowerDays


class PowerPoint(Loose):
    """Where a place is: longitude, latitude, and its height, metres."""

    coordinates: Annotated[list[Coordinate], Field(min_length=2, max_length=3)]


class PowerHeader(Loose):
    """What the days have in common."""

    fill_value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class PowerUnit(Loose):
    """A parameter's unit."""

    units: str


class PowerUnits(Loose):
    """The units of the parameters."""

    T2M: PowerUnit
    PRECTOTCORR: PowerUnit
    RH2M: PowerUnit


class PowerPlace(Loose):
    """One place of several."""

    type: Literal["Feature"]
    geometry: PowerPoint | None = None
    properties: PowerProperties


class PowerFeature(PowerPlace):
    """The answer of NASA POWER's daily API for a point."""

    header: PowerHeader
    parameters: PowerUnits


class PowerCollection(Loose):
    """The same for several places."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[PowerPlace], Field(min_length=1, fail_fast=True)]
    header: PowerHeader
    parameters: PowerUnits


_ONE: TypeAdapter[PowerFeature] = TypeAdapter(PowerFeature)
_SEVERAL: TypeAdapter[PowerCollection] = TypeAdapter(PowerCollection)


def is_power(body: Any) -> bool:
    """Tell a body by its keys; a collection, by those of its first feature."""
    first = body["features"][0] if isinstance(body, dict) and is_collection(body) and body["features"] else body
    properties = first.get("properties") if isinstance(first, dict) else None
    return isinstance(properties, dict) and "parameter" in properties


def is_collection(body: dict[str, Any]) -> bool:
    """Tell whether a body has several places."""
    return isinstance(body.get("features"), list)


def refuse_error(body: Any) -> None:
    """Tell what the service has answered instead of weather.

    Raises:
        InvalidInput: that is what the body is.
    """
    header, messages = (body.get("header"), body.get("messages")) if isinstance(body, dict) else (None, None)
    if isinstance(header, str) and isinstance(messages, list):
        texts = " ".join([header, *(text for text in messages if isinstance(text, str))])[:MESSAGE_LENGTH]
        told = f"NASA POWER has answered with an error: {texts}"
        raise InvalidInput(told, [FieldError(("messages",), told, "weather_service")])


def places(body: dict[str, Any]) -> Iterator[DailyPlace]:
    """Yield the places of a parsed body.

    Raises:
        MalformedInput: a number is not finite.
        InvalidInput: a parameter or its unit is missing, unknown or of the wrong type, or values are not by day.
    """
    _check_asked(body)
    found = (
        validated(_SEVERAL, body, most_fields=MOST_DAYS)
        if is_collection(body)
        else validated(_ONE, body, most_fields=MOST_DAYS)
    )
    words = {name: getattr(found.parameters, name).units.removesuffix(BY_DAY) for name in CALLED.values()}
    units = units_of(words, CALLED, lambda name: ("parameters", name, "units"))
    if isinstance(found, PowerFeature):
        yield _read(found, (), units, found.header.fill_value)
        return
    for number, place in enumerate(found.features):
        yield _read(place, ("features", number), units, found.header.fill_value)


def _check_asked(body: dict[str, Any]) -> None:
    """Check that POWER was asked for the right parameters, and say for what it has to be asked."""
    several = is_collection(body)
    faults = Faults()
    for number, feature in enumerate(body["features"] if several else [body]):
        at: Place = ("features", number) if several else ()
        properties = feature.get("properties") if isinstance(feature, dict) else None
        parameter = properties.get("parameter") if isinstance(properties, dict) else None
        for fault in missing(parameter, CALLED.values(), (*at, "properties", "parameter"), ASK):
            faults.add(fault)
    faults.raise_if_any(placed=True)


def _read(found: PowerPlace, at: Place, units: dict[str, str], fill: float | None) -> DailyPlace:
    """Return a validated place's series."""
    series = []
    for feature, (name, unit) in zip(WEATHER, units.items(), strict=True):
        by_day = getattr(found.properties.parameter, name)
        place = (*at, "properties", "parameter", name)
        days = days_of(by_day, place, _DAY, ASK)
        values = values_of(by_day.values())
        if fill is not None:
            values[values == fill] = np.nan
        series.append(Series(feature, unit, days, values, place, list(by_day)))
    longitude, latitude = found.geometry.coordinates[:2] if found.geometry is not None else (None, None)
    return DailyPlace((latitude, longitude), at, series)
