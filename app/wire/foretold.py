"""What is to be forecast: regions with season and expected weather, in any of the formats that questions come in.

Region and season must be there, and be names that can be stored: by them a forecast is found again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.data.naming import day_problem, id_problem, name_problem
from app.data.quick_csv import parse_regions
from app.data.tables import Asked, Reading, asked_of
from app.errors import FieldError
from app.faults import Faults
from app.model.moments import Array
from app.model.units import Units
from app.model.weather import FEATURE_NAMES, REGION_LENGTH, Needs, why_needed
from app.wire import csv_body, features, given
from app.wire.features import FORECAST_FEATURES
from app.wire.media_types import ARROW, CSV, GEOJSON, JSON, XLSX
from app.wire.questions import BodyOptions, Question
from app.wire.schemas import FORECAST_REQUEST, ForecastColumns, SeveralForecasts
from app.wire.strict_json import Place, parse_json
from app.wire.validation import checked_object, gaps, validated

MORE = ("season", "id", "due")
"""Columns of texts besides the region's."""
ROWS = "regions"


def _region_or_season(name: str) -> str | None:
    if len(name) > REGION_LENGTH:
        return f"{len(name)} characters, at most {REGION_LENGTH}"
    return name_problem(name)


PROBLEMS: Mapping[str, Callable[[str], str | None]] = {
    "region": _region_or_season,
    "season": _region_or_season,
    "id": id_problem,
    "due": day_problem,
}
NEEDED = ("region", "season")


class ToForecast(NamedTuple):
    """A question, and of each of its regions what a forecast is called and found by; None for an id or a day not given.

    Its regions all have a name.
    """

    question: Question
    regions: Sequence[str]
    seasons: Sequence[str]
    ids: Sequence[str | None]
    dues: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Texts:
    """The columns of texts by name, and how to say where a row's is, and what is wrong with it."""

    columns: Mapping[str, Sequence[str | None]]
    place: Callable[[int, str], Place]
    is_table: bool

    def fault(self, row: int, name: str, problem: str, code: str) -> FieldError:
        """Return a fault of one of them."""
        told = f"row {row + 1}, column {name}: {problem}" if self.is_table else problem
        return FieldError(self.place(row, name), told, code)


def _in_table(row: int, name: str) -> Place:
    return row, name


def read(body: bytes, media_type: str, max_rows: int, options: BodyOptions) -> ToForecast:
    """Read and validate a body.

    Raises:
        MalformedInput: it is not what its type says, or a number is not finite.
        InvalidInput: a field is missing, unknown, of the wrong type or out of bounds; a region or a season is no name
            that can be stored; or an id is there twice.
        TooLarge: more than ``max_rows`` regions.
    """
    question, texts = READ[media_type](body, max_rows, options)
    _check(texts, len(question))
    columns = {name: [text or None for text in column] for name, column in texts.columns.items()}
    regions, seasons = ([text or "" for text in columns[name]] for name in NEEDED)
    question.regions = regions
    return ToForecast(question, regions, seasons, columns["id"], columns["due"])


def _check(texts: Texts, rows: int) -> None:
    """Check what no schema can.

    Raises:
        InvalidInput: a text is missing, or not what it must be.
    """
    faults = Faults()
    for name, problem_of in PROBLEMS.items():
        column = texts.columns[name]
        if texts.is_table and name in NEEDED and not any(column):
            told = f"the column {name!r} is missing, or empty: by its region and its season a forecast is found again"
            faults.add(FieldError((name,), told, "missing"))
            continue
        wrong = {text: found for text in set(column) if text and (found := problem_of(text))}
        for row in range(rows) if wrong or name in NEEDED else ():
            text = column[row]
            if text in wrong:
                faults.add(texts.fault(row, name, wrong[text], "invalid"))
            elif not text and name in NEEDED:
                told = "is missing: by its region and its season a forecast is found again"
                faults.add(texts.fault(row, name, told, "missing"))
    for row, name in _doubled(texts.columns["id"]):
        told = f"the id {name!r} is there twice: give each forecast its own, or none"
        faults.add(texts.fault(row, "id", told, "doubled"))
    faults.raise_if_any(placed=not texts.is_table)


def _doubled(ids: Sequence[str | None]) -> Iterator[tuple[int, str]]:
    seen = set()
    for row, name in enumerate(ids):
        if name and name in seen:
            yield row, name
        seen.add(name)


def _of_json(body: bytes, max_rows: int, options: BodyOptions) -> tuple[Question, Texts]:
    parsed = parse_json(body, max_rows)
    features.refuse(parsed)
    stored = given.as_stored(checked_object(parsed, ROWS), options.units)
    asked = validated(FORECAST_REQUEST, stored, options.needs, units=options.units)
    if isinstance(asked, ForecastColumns):
        return _of_columns(asked, options)
    several = isinstance(asked, SeveralForecasts)
    rows = asked.regions if isinstance(asked, SeveralForecasts) else [asked]
    places: list[Place] = [(ROWS, row) if several else () for row in range(len(rows))]
    _check_weather(rows, places, options.needs)
    texts = {name: [getattr(row, name) for row in rows] for name in ("region", *MORE)}
    return _question(rows, texts["region"], options.units), Texts(texts, lambda row, name: (*places[row], name), False)


def _of_columns(asked: ForecastColumns, options: BodyOptions) -> tuple[Question, Texts]:
    rows = len(asked.region)
    faults = Faults()
    for name, crops in options.needs.items():
        if getattr(asked, name) is None:
            faults.add(FieldError((name,), "is missing" + why_needed(crops), "missing"))
    faults.raise_if_any(placed=True)
    absent = [np.nan] * rows
    weather = [np.array(getattr(asked, name) or absent, dtype=np.float64) for name in FEATURE_NAMES]
    texts = {name: getattr(asked, name) or [None] * rows for name in ("region", *MORE)}
    question = Question("columns", texts["region"], weather, units=options.units)
    return question, Texts(texts, lambda row, name: (name, row), False)


def _of_features(body: bytes, max_rows: int, options: BodyOptions) -> tuple[Question, Texts]:
    parsed, plain = features.parsed(body, max_rows)
    found, places = features.rows_of(features.checked(FORECAST_FEATURES, parsed, plain, options.units))
    regions, named = features.regions_of(found, places)
    rows = [feature.properties for feature in found]
    _check_weather(rows, [(*place, "properties") for place in places], options.needs)
    texts = {"region": regions} | {name: [getattr(row, name) for row in rows] for name in MORE}

    def place(row: int, name: str) -> Place:
        if name == "region":
            return named[row] if regions[row] else (*places[row], "properties", name)
        return (*places[row], "properties", name)

    return _question(rows, regions, options.units), Texts(texts, place, False)


def _question(rows: Sequence[Any], regions: Sequence[str | None], units: Units) -> Question:
    weather: list[Array] = [np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in FEATURE_NAMES]
    return Question("several", regions, weather, units=units)


def _check_weather(rows: Sequence[Any], places: Sequence[Place], needs: Needs) -> None:
    """Check that each row has the features that the model needs, and no row another one that some lack.

    Raises:
        InvalidInput: one lacks it.
    """
    faults = Faults()
    for place, row in zip(places, rows, strict=True):
        for name, crops in needs.items():
            if name not in row.model_fields_set:
                faults.add(FieldError((*place, name), "is missing" + why_needed(crops), "missing"))
    faults.raise_if_any(placed=True)
    for fault in gaps(ROWS, rows):
        faults.add(fault)
    faults.raise_if_any(placed=True)


def _of_csv(body: bytes, max_rows: int, options: BodyOptions) -> tuple[Question, Texts]:
    return _of_table(parse_regions(body, max_rows, Reading(units=options.units, needs=options.needs)))


def _of_workbook(body: bytes, max_rows: int, options: BodyOptions) -> tuple[Question, Texts]:
    from app.data.workbook import sheet_of  # noqa: PLC0415 - few send one

    return _of_table(asked_of(sheet_of(body, max_rows), Reading(units=options.units, needs=options.needs)))


def _of_table(asked: Asked) -> tuple[Question, Texts]:
    sent = {name.casefold(): column for name, column in asked.columns.items()}
    nothing = (None,) * len(asked.table)
    texts = {"region": asked.table.regions} | {name: sent.get(name, nothing) for name in MORE}
    columns: Any = texts
    return csv_body.question_of(asked), Texts(columns, _in_table, is_table=True)


def _of_arrow(body: bytes, max_rows: int, options: BodyOptions) -> tuple[Question, Texts]:
    from app.wire.arrow_stream import read_with  # noqa: PLC0415 - pyarrow takes 50 MB, and few ask in Arrow

    question, more = read_with(body, max_rows, options, MORE, days=("due",))
    texts = {"region": question.regions} | more
    stripped = {name: [text and text.strip() for text in column] for name, column in texts.items()}
    return question, Texts(stripped, _in_table, is_table=True)


READ: Mapping[str, Callable[[bytes, int, BodyOptions], tuple[Question, Texts]]] = {
    JSON: _of_json,
    CSV: _of_csv,
    GEOJSON: _of_features,
    ARROW: _of_arrow,
    XLSX: _of_workbook,
}
"""How bodies are read, by content type."""
