"""Open-Meteo's answers as they come: one place, or a list of them, with a list for each variable of the days."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from app.errors import FieldError, InvalidInput, TooLarge
from app.faults import Faults
from app.model.weather import FEATURE_NAMES, WEATHER
from app.wire.daily import MOST_DAYS, DailyPlace, DayValue, days_of, missing, units_of, values_of
from app.wire.schemas import Loose
from app.wire.season import Series
from app.wire.strict_json import Place
from app.wire.validation import validated

CALLED = dict(
    zip(FEATURE_NAMES, ("temperature_2m_mean", "precipitation_sum", "relative_humidity_2m_mean"), strict=True)
)
"""What the features are called there."""
ASK = f"ask Open-Meteo for daily={','.join(CALLED.values())}"
KEYS = frozenset({"daily", "daily_units", "hourly", "hourly_units", "minutely_15", "minutely_15_units"})
REASON_LENGTH = 200
"""Characters of the service's own error that are told."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
Column = Annotated[list[DayValue], Field(max_length=MOST_DAYS, fail_fast=True)]


class OpenMeteoDays(Loose):
    """Days of weather, a list for each variable; null is a value that is missing."""

    time: Annotated[list[str], Field(max_length=MOST_DAYS, fail_fast=True)]
    temperature_2m_mean: Column
    precipitation_sum: Column
    relative_humidity_2m_mean: Column


class OpenMeteoUnits(Loose):
    """The units of the days' variables."""

    temperature_2m_mean: str
    precipitation_sum: str
    relative_humidity_2m_mean: str


class OpenMeteoPlace(Loose):
    """The answer of Open-Meteo for one place, asked with `daily=`; a list of these is as good."""

    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=360, allow_inf_nan=False)] | None = None
    daily: OpenMeteoDays
    daily_units: OpenMeteoUnits


_ONE: TypeAdapter[OpenMeteoPlace] = TypeAdapter(OpenMeteoPlace)
_SEVERAL: TypeAdapter[list[OpenMeteoPlace]] = TypeAdapter(Annotated[list[OpenMeteoPlace], Field(fail_fast=True)])


def is_open_meteo(body: Any) -> bool:
    """Tell a body by its keys; a list, by those of its first place."""
    first = body[0] if isinstance(body, list) and body else body
    return isinstance(first, dict) and not KEYS.isdisjoint(first)


def refuse_error(body: Any) -> None:
    """Tell what the service has answered instead of weather.

    Raises:
        InvalidInput: that is what the body is.
    """
    if isinstance(body, dict) and body.get("error") is True and isinstance(reason := body.get("reason"), str):
        told = f"Open-Meteo has answered with an error: {reason[:REASON_LENGTH]}"
        raise InvalidInput(told, [FieldError(("reason",), told, "weather_service")])


def places(body: Any, max_rows: int) -> Iterator[DailyPlace]:
    """Yield the places of a parsed body.

    Raises:
        MalformedInput: a number is not finite.
        InvalidInput: a variable or its unit is missing, unknown or of the wrong type, or a day is none or doubled.
        TooLarge: more than ``max_rows`` places.
    """
    if isinstance(body, dict):
        _check_asked([body], [()])
        yield _read(validated(_ONE, body, most_fields=MOST_DAYS), ())
        return
    if len(body) > max_rows:
        raise TooLarge(f"{len(body)} places: the limit is {max_rows}")
    where: list[Place] = [(number,) for number in range(len(body))]
    _check_asked(body, where)
    found: list[OpenMeteoPlace] = validated(_SEVERAL, body, most_fields=MOST_DAYS)
    for place, at in zip(found, where, strict=True):
        yield _read(place, at)


def _check_asked(given: list[Any], where: list[Place]) -> None:
    """Check that Open-Meteo was asked for the right things, and say for what it has to be asked."""
    faults = Faults()
    for place, at in zip(given, where, strict=True):
        for fault in _not_asked_for(place, at) if isinstance(place, dict) else ():
            faults.add(fault)
    faults.raise_if_any(placed=True)


def _not_asked_for(place: dict[str, Any], at: Place) -> Iterator[FieldError]:
    if "daily" not in place:
        had = "hours" if "hourly" in place else "no days"
        yield FieldError((*at, "daily"), f"is missing, the body has {had}: {ASK}", "missing")
        return
    units = place.get("daily_units")
    if isinstance(units, dict) and units.get("time") == "unixtime":
        told = "'unixtime' counts seconds: ask Open-Meteo without timeformat=unixtime"
        yield FieldError((*at, "daily_units", "time"), told, "invalid")
    yield from missing(place["daily"], CALLED.values(), (*at, "daily"), ASK)


def _read(found: OpenMeteoPlace, at: Place) -> DailyPlace:
    """Return a validated place's series."""
    days = days_of(found.daily.time, (*at, "daily", "time"), _DAY, ASK)
    columns = {name: getattr(found.daily, name) for name in CALLED.values()}
    faults = Faults()
    for name, column in columns.items():
        if len(column) != len(days):
            faults.add(FieldError((*at, "daily", name), f"has {len(column)} values, time {len(days)}", "length"))
    faults.raise_if_any(placed=True)
    words = {name: getattr(found.daily_units, name) for name in CALLED.values()}
    units = units_of(words, CALLED, lambda name: (*at, "daily_units", name))
    series = [
        Series(feature, unit, days, values_of(columns[name]), (*at, "daily", name), range(len(days)))
        for feature, (name, unit) in zip(WEATHER, units.items(), strict=True)
    ]
    return DailyPlace((found.latitude, found.longitude), at, series)
