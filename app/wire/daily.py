"""Days of weather as services give them: what each says of a place, as series of days, values and units."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from app.errors import FieldError
from app.faults import Faults
from app.model.moments import Array
from app.model.units import UNITS, unit_called
from app.wire.season import Days, Series
from app.wire.strict_json import Place

MOST_DAYS = 40_000
"""Days of one place: a century has 36 525."""
SHOWN = 20
"""Characters of a day or a unit that a message repeats."""

DayValue = Annotated[float | None, Field(allow_inf_nan=False)]
"""Null is a value that is missing."""


@dataclass(frozen=True, slots=True)
class DailyPlace:
    """One place's days: where it is, (latitude, longitude) as far as they are known, and its series.

    ``place``: where it stands in the body.
    """

    at: tuple[float | None, float | None]
    place: Place
    series: Sequence[Series]


def missing(found: Any, names: Iterable[str], at: Place, ask: str) -> Iterator[FieldError]:
    """Yield which variables an object has not; ``ask`` says what has to be asked for."""
    if isinstance(found, dict):
        yield from (FieldError((*at, name), f"is missing: {ask}", "missing") for name in names if name not in found)


def values_of(given: Iterable[float | None]) -> Array:
    """Return numbers as an array, NaN for null."""
    return np.array([np.nan if value is None else value for value in given], dtype=np.float64)


def days_of(given: Mapping[str, Any] | Sequence[str], at: Place, form: re.Pattern[str], ask: str) -> Days:
    """Return days as numbers: the names of an object, or the entries of a list.

    Raises:
        InvalidInput: a text is no day, or a day is there twice.
    """
    faults = Faults()
    days = dict[int, None]()
    for row, text in enumerate(given):
        place = (*at, text[:SHOWN] if isinstance(given, Mapping) else row)
        day = _day(text, form)
        if day is None:
            faults.add(FieldError(place, f"{text[:SHOWN]!r} is not a day: {ask}", "not_a_day"))
        elif day in days:
            faults.add(FieldError(place, f"{text} is given twice", "twice"))
        else:
            days[day] = None
    faults.raise_if_any(placed=True)
    return np.array(list(days), dtype=np.int64)


def _day(text: str, form: re.Pattern[str]) -> int | None:
    if not form.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return None


def units_of(given: Mapping[str, str], called: Mapping[str, str], place_of: Callable[[str], Place]) -> dict[str, str]:
    """Return each variable's unit, by its name in `app.model.units.UNITS`, in the order of the features.

    ``given``: the words for them. ``called``: the variables by feature. ``place_of``: where a variable's unit stands.

    Raises:
        InvalidInput: one is unknown.
    """
    faults = Faults()
    found = {}
    for feature, name in called.items():
        unit = unit_called(feature, given[name])
        if unit is None:
            known = " or ".join(each.symbol for each in UNITS[feature].values())
            told = f"{given[name][:SHOWN]!r} is no unit of {feature} that is known here: use {known}"
            faults.add(FieldError(place_of(name), told, "unknown_unit"))
        else:
            found[name] = unit
    faults.raise_if_any(placed=True)
    return found
