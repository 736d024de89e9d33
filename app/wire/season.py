"""Days of weather to a region's season: mean temperature, total rainfall, mean humidity, as they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from app.errors import FieldError, InvalidInput
from app.faults import Faults
from app.model.moments import Array
from app.model.units import UNITS, Units
from app.model.weather import Feature
from app.wire.questions import BodyOptions
from app.wire.strict_json import Place

LEAST_PERCENT = 80
"""Of a season's days that must have a value."""
SUMMED = "rainfall"
"""The feature that is a total over the season; the others are means."""

Days = NDArray[np.int64]
"""As `datetime.date.toordinal` counts them."""


@dataclass(frozen=True, slots=True)
class Series:
    """One feature's weather by day.

    ``unit``: its name in `app.model.units.UNITS`. ``days`` and ``values`` have one shape, (n,), in any order, no day
    twice; NaN is a value that is missing. ``place``: where it stands in the body. ``entries``: how each day is called
    there.
    """

    feature: Feature
    unit: str
    days: Days
    values: Array
    place: Place
    entries: Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Season:
    """Days of which the first and the last, as ordinals, belong to it."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many days it has."""
        return self.last - self.first + 1

    def of(self, series: Series) -> NDArray[np.bool_]:
        """Tell which days of a series belong to it, shape (n,)."""
        return (series.days >= self.first) & (series.days <= self.last)


def season_of(series: Sequence[Series], options: BodyOptions) -> Season:
    """Return the season that the query names; without it, from the first day to the last of a place's series.

    Raises:
        InvalidInput: it ends before it begins, or no day of the series is in it.
    """
    check_order(options)
    days = np.concatenate([each.days for each in series])
    if not len(days):
        place = series[0].place
        raise InvalidInput(f"{'.'.join(map(str, place))}: has no days", [FieldError(place, "has no days", "no_days")])
    first, last = int(days.min()), int(days.max())
    start, end = options.season_start, options.season_end
    season = Season(start.toordinal() if start else first, end.toordinal() if end else last)
    if not any(season.of(each).any() for each in series):
        name = "season_end" if start is None else "season_start"
        asked = " ".join([*([f"from {start}"] if start else []), *([f"to {end}"] if end else [])])
        told = f"the body has no day {asked}: its days are {_day(first)} to {_day(last)}"
        raise InvalidInput(f"query.{name}: {told}", [FieldError(("query", name), told, "no_days")])
    return season


def check_order(options: BodyOptions) -> None:
    """Check that a season does not end before it begins.

    Raises:
        InvalidInput: it does.
    """
    start, end = options.season_start, options.season_end
    if start is not None and end is not None and start > end:
        told = f"{start} is after season_end, {end}"
        raise InvalidInput(f"query.season_start: {told}", [FieldError(("query", "season_start"), told, "invalid")])


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def aggregated(series: Sequence[Series], season: Season) -> tuple[list[float], list[str]]:
    """Return a place's row in the order and the units of what is stored, and what has to be said of missing days.

    Raises:
        InvalidInput: a value is not one that weather can have, or too many are missing.
    """
    faults = Faults()
    row, notes = [], []
    for each in series:
        inside = season.of(each)
        values = each.values[inside]
        known = ~np.isnan(values)
        fault = _first_fault(each, inside) or _too_few(each, int(known.sum()), season)
        if fault is None:
            row.append(_stored(each, values[known], faults))
        else:
            faults.add(fault)
        notes += _notes(each.feature.name, int(known.sum()), season.length)
    faults.raise_if_any(placed=True)
    return row, notes


def _first_fault(series: Series, inside: NDArray[np.bool_]) -> FieldError | None:
    """Return what is wrong with the first day whose value no day can have; such a value is a mark for a missing one."""
    bounds = _bounds(series)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(inside & ~np.isnan(series.values) & ~bounds.admits(series.values))
    if not len(wrong):
        return None
    place = (*series.place, series.entries[int(wrong[0])])
    problem = bounds.problem(float(series.values[wrong[0]]))
    return FieldError(place, f"{problem}, on {_day(int(series.days[wrong[0]]))}", "out_of_bounds")


def _bounds(series: Series) -> Feature:
    """Return the feature with bounds in the unit of the body."""
    feature = series.feature
    if feature.name not in ("temperature", "rainfall"):
        return feature
    units = Units(**{feature.name: series.unit})  # type: ignore[arg-type]
    return next(each for each in units.features if each.name == feature.name)


def _too_few(series: Series, known: int, season: Season) -> FieldError | None:
    if 100 * known >= LEAST_PERCENT * season.length:
        return None
    told = (
        f"{known} of {season.length} days have a value, from {_day(season.first)} to {_day(season.last)}: at least "
        f"{LEAST_PERCENT}% must; add the missing ones, or give a season by season_start and season_end"
    )
    return FieldError(series.place, told, "too_few_days")


def _stored(series: Series, values: Array, faults: Faults) -> float:
    """Return the season's number, in the unit that is stored."""
    feature = series.feature
    given = float(values.sum() if feature.name == SUMMED else values.mean())
    stored = float(UNITS[feature.name][series.unit].stored(given))
    if problem := _bounds(series).problem(given) or feature.problem(stored):
        faults.add(FieldError(series.place, f"over the season, {problem}", "out_of_bounds"))
    return stored


def _notes(name: str, known: int, length: int) -> list[str]:
    if known == length:
        return []
    return [
        f"{name}: {known} of {length} days" + ("; the sum is too low by the missing ones" if name == SUMMED else "")
    ]
