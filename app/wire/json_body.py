"""JSON: the body of POST /predict to regions, and predictions to its answer.

Large bodies are read as whole columns (`app.wire.quick_json`); what is short, or turns out to be invalid, is looked at
value by value, by the schemas that the document shows, so that the error names the place.
"""

from typing import Any

import numpy as np
import orjson

from app.faults import Faults
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES
from app.wire import features, given, quick_json, row_template, weather_body
from app.wire.answers import Answer
from app.wire.questions import PLAIN, BodyOptions, Question, Shape
from app.wire.schemas import SeveralRegions, WeatherColumns, predict_request
from app.wire.strict_json import parse_json
from app.wire.validation import checked_object, gaps, validated

QUICK_FROM = 16 * 1024
"""Bytes of a body that is worth reading as a whole; shorter ones are read where no library for that is loaded."""


def read(body: bytes, max_rows: int, options: BodyOptions = PLAIN) -> Question:
    """Read and validate a body: one of ours, or one of a weather service.

    Raises:
        MalformedInput: not JSON, or a number is not finite.
        InvalidInput: a field is missing, unknown, of the wrong type or out of bounds; the query does not fit; or it is
            GeoJSON, which has a content type of its own.
        TooLarge: more than ``max_rows`` regions.
    """
    found = quick_json.question(body, max_rows, options) if len(body) >= QUICK_FROM else None
    if found is not None:
        options.check_of_rows()
        return found
    parsed = parse_json(body, max_rows)
    found = weather_body.question(parsed, max_rows, options)
    if found is not None:
        return found
    options.check_of_rows()
    features.refuse(parsed)
    return _by_schema(parsed, options)


def _by_schema(body: Any, options: BodyOptions) -> Question:
    """Validate value by value."""
    units = options.units
    stored = given.as_stored(checked_object(body, "regions"), units)
    asked = validated(predict_request(frozenset(options.needs)), stored, options.needs, units=units)
    if isinstance(asked, WeatherColumns):
        weather = [_column(asked, name) for name in FEATURE_NAMES]
        return Question("columns", asked.region, weather, units=units)
    rows = asked.regions if isinstance(asked, SeveralRegions) else [asked]
    faults = Faults()
    for fault in gaps(quick_json.ROWS, rows):
        faults.add(fault)
    faults.raise_if_any(placed=True)
    weather = [np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in FEATURE_NAMES]
    shape: Shape = "several" if isinstance(asked, SeveralRegions) else "one"
    return Question(shape, [row.region for row in rows], weather, units=units)


def _column(asked: WeatherColumns, name: str) -> Array:
    """Return a feature's values, NaN where they were not given."""
    return np.array(getattr(asked, name) or [np.nan] * asked.rows, dtype=np.float64)


def write(answer: Answer) -> bytes:
    """Return predictions in the shape of the question: of a CSV one as several regions, of an Arrow one as columns."""
    if answer.question.shape == "columns":
        return to_bytes(_columns(answer))
    predictions = row_template.rows(answer)
    version = b'{"model_version":' + orjson.dumps(answer.version) + _units(answer)
    if answer.question.shape == "one":
        return version + b"," + predictions[1:]
    return version + b',"predictions":[' + predictions + b"]}"


def _units(answer: Answer) -> bytes:
    """Return the units that the question is in, where it says which."""
    named = answer.question.units.named
    return b',"units":' + orjson.dumps(named) if named else b""


def _columns(answer: Answer) -> dict[str, Any]:
    unknown = [None] * len(answer.question)
    explanations = answer.explanations()
    named = answer.question.units.named
    return {
        "model_version": answer.version,
        **({"units": named} if named else {}),
        "region": list(answer.question.regions) if answer.question.has_regions else None,
        "yields": {
            crop: {name: unknown if column is None else column for name, column in columns.items()} | explanations[crop]
            for crop, columns in answer.tons().items()
        },
        "extrapolated": answer.extrapolated,
        "warnings": answer.warnings(),
    }


def to_bytes(answer: dict[str, Any]) -> bytes:
    """Return an answer as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
