"""Bodies of weather services as they come, told apart by their keys: days of weather, as regions that are asked about.

Units are those that the body names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.errors import FieldError, InvalidInput
from app.faults import Faults
from app.wire import open_meteo, power
from app.wire.daily import DailyPlace
from app.wire.questions import BodyOptions, Question, Shape
from app.wire.season import aggregated, check_order, season_of
from app.wire.strict_json import parse_json


def read(content: bytes, max_rows: int, options: BodyOptions) -> Question:
    """Read a body that can be nothing else.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `question`; InvalidInput also where it is of no weather service.
    """
    found = question(parse_json(content, max_rows), max_rows, options)
    if found is None:
        raise InvalidInput(
            "this is no answer of Open-Meteo, which has daily and daily_units, nor of NASA POWER, which has "
            f"properties.parameter: {open_meteo.ASK}, or {power.ASK}"
        )
    return found


def question(body: Any, max_rows: int, options: BodyOptions) -> Question | None:
    """Return the regions that a parsed body of a weather service asks about, or None for any other body.

    Raises:
        MalformedInput: a number is not finite.
        InvalidInput: the service has answered with an error; a variable or its unit is missing, unknown or of the wrong
            type; days are doubled, too few, or none; or the query does not fit the body.
        TooLarge: more than ``max_rows`` places.
    """
    open_meteo.refuse_error(body)
    power.refuse_error(body)
    is_power = power.is_power(body)
    if options.units.named and (is_power or open_meteo.is_open_meteo(body)):
        options.units.contradicted("the body names its own units")
    if open_meteo.is_open_meteo(body):
        check_order(options)
        shape: Shape = "several" if isinstance(body, list) else "one"
        return _aggregated(shape, list(open_meteo.places(body, max_rows)), options)
    if is_power:
        check_order(options)
        return _aggregated("several" if power.is_collection(body) else "one", list(power.places(body)), options)
    return None


def _aggregated(shape: Shape, places: Sequence[DailyPlace], options: BodyOptions) -> Question:
    names = _names(places, options)
    rows = [aggregated(each.series, season_of(each.series, options)) for each in places]
    weather = [np.ascontiguousarray(column) for column in np.array([row for row, _ in rows]).T]
    return Question(shape, names, weather, notes=[notes for _, notes in rows])


def _names(places: Sequence[DailyPlace], options: BodyOptions) -> list[str | None]:
    """Return the regions' names: the one that the query gives, else where each place is.

    Raises:
        InvalidInput: the query gives one name for several places, or nothing says where a place is.
    """
    if options.region is not None and len(places) == 1:
        return [options.region]
    faults = Faults()
    if options.region is not None:
        told = f"names one place, and the body has {len(places)}: leave it out"
        faults.add(FieldError(("query", "region"), told, "invalid"))
    for each in places:
        if None in each.at:
            told = "the place has no latitude and longitude: give the region's name as region= in the query"
            faults.add(FieldError(each.place, told, "missing"))
    faults.raise_if_any(placed=True)
    return [",".join(f"{angle:.12g}" for angle in each.at if angle is not None) for each in places]
