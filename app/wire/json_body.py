"""JSON: the body of POST /predict to regions, and predictions to its answer.

Large bodies are validated as whole lists and arrays; only what turns out to be invalid is looked at value by value, by
the schemas that the document shows, so that the error names the place.
"""

import contextlib
from operator import itemgetter
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from app.model.moments import Array
from app.model.weather import FEATURE_NAMES, WEATHER
from app.wire.answers import Answer
from app.wire.questions import Question
from app.wire.schemas import PREDICT_REQUEST, Name, SeveralRegions, WeatherColumns, shape_of
from app.wire.strict_json import parse_json
from app.wire.validation import validated

_STRICT = ConfigDict(strict=True, extra="ignore")


class _Row(TypedDict):
    """`RegionWeather` without the bounds and unknown fields, which are looked for in all rows at once."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]  # read by pydantic
    region: NotRequired[Name | None]
    temperature: float
    rainfall: float
    humidity: float


class _Rows(TypedDict):
    """`SeveralRegions`, in the same way."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    regions: Annotated[list[_Row], Field(min_length=1, fail_fast=True)]


class _Columns(TypedDict):
    """`WeatherColumns`, in the same way."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    temperature: Annotated[list[float], Field(min_length=1, fail_fast=True)]
    rainfall: Annotated[list[float], Field(fail_fast=True)]
    humidity: Annotated[list[float], Field(fail_fast=True)]
    region: NotRequired[Annotated[list[Name | None], Field(fail_fast=True)] | None]


_ROWS = TypeAdapter(_Rows).validator
_COLUMNS = TypeAdapter(_Columns).validator


def read(body: bytes, max_rows: int) -> Question:
    """Read and validate a body.

    Raises:
        MalformedInput: not JSON, or a number is not finite.
        InvalidInput: a field is missing, unknown, of the wrong type or out of bounds.
        TooLarge: more than ``max_rows`` regions.
    """
    asked = parse_json(body, max_rows)
    shape, question = shape_of(asked), None
    with contextlib.suppress(ValidationError):
        if shape == "several":
            question = _of_rows(asked, _ROWS.validate_python(asked))
        elif shape == "columns":
            question = _of_columns(asked, _COLUMNS.validate_python(asked))
    return question if question is not None and _is_within_bounds(question) else _by_schema(asked)


def _of_rows(asked: _Rows, known: _Rows) -> Question | None:
    """``known``: what was asked, without unknown fields."""
    rows = known["regions"]
    if len(asked) > len(known) or sum(map(len, asked["regions"])) > sum(map(len, rows)):
        return None
    weather = [np.fromiter(map(itemgetter(name), rows), np.float64, len(rows)) for name in FEATURE_NAMES]
    return Question("several", [row.get("region") for row in rows], weather)


def _of_columns(asked: _Columns, known: _Columns) -> Question | None:
    rows = len(known["temperature"])
    given = [known["temperature"], known["rainfall"], known["humidity"]]
    regions = known.get("region")
    if any(len(column) != rows for column in given) or (regions is not None and len(regions) != rows):
        return None
    if len(asked) > len(known):
        return None
    return Question("columns", regions, [np.fromiter(column, np.float64, rows) for column in given])


def _is_within_bounds(question: Question) -> bool:
    return all(bool(feature.admits(column).all()) for column, feature in zip(question.weather, WEATHER, strict=True))


def _by_schema(body: Any) -> Question:
    """Validate value by value."""
    asked = validated(PREDICT_REQUEST, body)
    if isinstance(asked, WeatherColumns):
        return Question(
            "columns", asked.region, [np.array(getattr(asked, name), dtype=np.float64) for name in FEATURE_NAMES]
        )
    rows = asked.regions if isinstance(asked, SeveralRegions) else [asked]
    weather = [np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in FEATURE_NAMES]
    return Question("several" if isinstance(asked, SeveralRegions) else "one", [row.region for row in rows], weather)


def write(answer: Answer) -> bytes:
    """Return predictions in the shape of the question: of a CSV one as several regions, of an Arrow one as columns."""
    if answer.question.shape == "columns":
        return to_bytes(_columns(answer))
    predictions = _rows(answer)
    version = {"model_version": answer.version}
    if answer.question.shape == "one":
        return to_bytes(version | predictions[0])
    return to_bytes(version | {"predictions": predictions})


def _columns(answer: Answer) -> dict[str, Any]:
    unknown = [None] * len(answer.question)
    explanations = answer.explanations()
    return {
        "model_version": answer.version,
        "region": list(answer.question.regions) if answer.question.has_regions else None,
        "yields": {
            crop: {name: unknown if column is None else column for name, column in columns.items()} | explanations[crop]
            for crop, columns in answer.tons().items()
        },
        "extrapolated": answer.extrapolated,
        "warnings": answer.warnings(),
    }


def _rows(answer: Answer) -> list[dict[str, Any]]:
    crops = list(answer.model.crops)
    names = [crop.crop for crop in crops]
    explanations = answer.explanations()
    tons = answer.tons()
    cells = [_cells(tons[name], explanations[name], len(answer.question)) for name in names]
    rows = zip(*cells, strict=True)
    told = zip(answer.question.regions, rows, answer.extrapolated.tolist(), answer.warnings(), strict=True)
    return [
        {
            "region": region,
            "yields": dict(zip(names, row, strict=True)),
            "extrapolated": extrapolated,
            "warnings": warnings,
        }
        for region, row, extrapolated, warnings in told
    ]


def _cells(columns: dict[str, Array | None], explanation: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    """Return one crop's object for each region."""
    lists = (_listed(column, rows) for column in columns.values())
    cells: list[dict[str, Any]] = [
        {"tons": tons, "low": low, "high": high} for tons, low, high in zip(*lists, strict=True)
    ]
    if explanation:
        contributions = explanation["contributions"]
        parts = zip(*(column.tolist() for column in contributions.values()), strict=True)
        for cell, part in zip(cells, parts, strict=True):
            cell["baseline"] = explanation["baseline"]
            cell["contributions"] = dict(zip(contributions, part, strict=True))
    return cells


def to_bytes(answer: dict[str, Any]) -> bytes:
    """Return an answer as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _listed(column: Array | None, rows: int) -> list[float] | list[None]:
    return [None] * rows if column is None else column.tolist()
