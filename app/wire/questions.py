"""What is asked: the body of POST /predict, in any of its formats, as columns of weather.

Large bodies are validated as whole lists and arrays; only what turns out to be invalid is looked at value by value, by
the schemas that the document shows, so that the error names the place.
"""

import contextlib
from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from app.api.negotiation import ARROW, CSV
from app.data.tables import parse_regions
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES, WEATHER
from app.wire.schemas import PREDICT_REQUEST, Name, SeveralRegions, WeatherColumns, shape_of
from app.wire.strict_json import parse_json
from app.wire.validation import validated

Shape = Literal["one", "several", "columns"]
Regions = Sequence[str | None]

_STRICT = ConfigDict(strict=True, extra="ignore")


class _Row(TypedDict):
    """`RegionWeather` but for the bounds and unknown fields, which are looked for in all rows at once."""

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


class Question:
    """Regions as columns, and the shape that they came in."""

    def __init__(
        self,
        shape: Shape,
        regions: Regions | None,
        weather: Sequence[Array],
        header: Sequence[str] = (),
    ) -> None:
        """``weather``: one contiguous array, shape (n,), per feature. ``header``: a table's columns, as sent."""
        self.shape = shape
        self.weather = weather
        self.has_regions = regions is not None
        self.regions: Regions = regions if regions is not None else (None,) * len(weather[0])
        named = regions is not None and any(regions)
        self.header: Sequence[str] = header or [*(["region"] if named else []), *FEATURE_NAMES]

    def __len__(self) -> int:
        return len(self.weather[0])


def read(body: bytes, media_type: str, max_rows: int) -> Question:
    """Read and validate a body.

    Raises:
        MalformedInput: not of its type, or a number is not finite.
        InvalidInput: a field is missing, unknown, of the wrong type or out of bounds.
        TooLarge: more than ``max_rows`` regions.
    """
    if media_type == CSV:
        table, header = parse_regions(body, max_rows)
        return Question("several", table.regions, [np.ascontiguousarray(column) for column in table.weather.T], header)
    if media_type == ARROW:
        from app.wire.arrow_stream import read_regions  # noqa: PLC0415 - pyarrow takes 50 MB, and few ask in Arrow

        regions, weather, names = read_regions(body, max_rows)
        return Question("columns", regions, weather, names)
    return _of_json(parse_json(body, max_rows))


def _of_json(asked: Any) -> Question:
    shape, question = shape_of(asked), None
    with contextlib.suppress(ValidationError):
        if shape == "several":
            question = _of_rows(asked, _ROWS.validate_python(asked))
        elif shape == "columns":
            question = _of_columns(asked, _COLUMNS.validate_python(asked))
    return question if question is not None and _is_within_bounds(question) else _by_schema(asked)


def _of_rows(asked: _Rows, known: _Rows) -> Question | None:
    """``known``: what was asked, but for unknown fields."""
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
    # NaN is within no bounds
    return all(
        bool(((column >= feature.low) & (column <= feature.high)).all())
        for column, feature in zip(question.weather, WEATHER, strict=True)
    )


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
