"""GeoJSON (RFC 7946): the features of a map's regions, and the same features with their predictions.

An answer is the body that was sent, byte for byte, with values written into its properties: geometry and all members
that mean nothing here are never parsed into numbers, and come back as they came.
"""

from collections.abc import Iterator

import numpy as np
import orjson

from app.model.units import Units
from app.model.weather import FEATURE_NAMES
from app.wire import features, power, row_template, weather_body
from app.wire.answers import Answer
from app.wire.questions import PLAIN, BodyOptions, Original, Question
from app.wire.row_template import Part, joined, names_of, numbers_of
from app.wire.spans import MODEL_VERSION, Spans, spans

Edit = tuple[int, int, bytes]
"""A part of a body, from where to where, and what stands there instead."""


def read(body: bytes, max_rows: int, options: BodyOptions = PLAIN) -> Question:
    """Read a Feature or a FeatureCollection: of regions with their weather, or of NASA POWER.

    Raises:
        MalformedInput: not JSON, or a number is not finite.
        InvalidInput: no GeoJSON; a property is missing, of the wrong type or out of bounds; or the query does not fit.
        TooLarge: more than ``max_rows`` features, or more positions than a body may have.
    """
    parsed, plain = features.parsed(body, max_rows)
    if power.is_power(parsed):
        question = weather_body.question(parsed, max_rows, options)
        assert question is not None  # noqa: S101 - it is one of a weather service
        features.check_finite(plain)
    else:
        options.check_of_rows()
        question = _question(features.checked(features.WEATHER_FEATURES, parsed, plain, options.units), options.units)
    question.original = Original(body, plain)
    return question


def _question(body: features.WeatherFeature | features.WeatherFeatures, units: Units) -> Question:
    found, places = features.rows_of(body)
    names, _ = features.regions_of(found, places)
    weather = [
        np.array([getattr(feature.properties, name) for feature in found], dtype=np.float64) for name in FEATURE_NAMES
    ]
    return Question("several" if isinstance(body, features.WeatherFeatures) else "one", names, weather, units=units)


def write(answer: Answer) -> bytes:
    """Return predictions as properties: written into the features that were sent, or of features without a geometry."""
    original = answer.question.original
    return _made(answer) if original is None else _written_into(original, answer)


def _made(answer: Answer) -> bytes:
    question = answer.question
    rows = row_template.filled(_feature(answer), len(question))[:-1]
    version = b"," + MODEL_VERSION + b":" + orjson.dumps(answer.version) + b"}"
    if question.shape == "one":
        return rows[:-1] + version
    return b'{"type":"FeatureCollection","features":[' + rows + b"]" + version


def _feature(answer: Answer) -> Iterator[Part]:
    yield b'{"type":"Feature","geometry":null,"properties":{'
    question = answer.question
    values = _values(answer)
    for name, column in question.columns.items():
        if (key := orjson.dumps(name)) not in values:
            yield key + b":"
            yield numbers_of(column) if isinstance(column, np.ndarray) else names_of(column)
            yield b","
    yield from _properties(values)
    yield b"}},"


def _values(answer: Answer) -> dict[bytes, Part]:
    """Return the properties that an answer adds: their names, as JSON has them, and their texts."""
    values: dict[bytes, Part] = {}
    for crop, columns in answer.tons().items():
        for end, column in columns.items():
            values[orjson.dumps(f"{crop}_{end}")] = b"null" if column is None else numbers_of(column)
    values[b'"extrapolated"'] = row_template.extrapolated(answer)
    values[b'"warnings"'] = row_template.warnings(answer)
    return values


def _properties(values: dict[bytes, Part]) -> Iterator[Part]:
    separator = b""
    for name, texts in values.items():
        yield separator + name + b":"
        yield texts
        separator = b","


def _written_into(original: Original, answer: Answer) -> bytes:
    question = answer.question
    values = _values(answer)
    found = spans(original, values.keys(), many=question.shape == "several")
    edits = sorted(
        [*_new_properties(found, values), *_given_properties(found, values), _version(found, answer.version)]
    )
    pieces, at = [], 0
    for start, end, text in edits:
        pieces += [original.body[at:start], text]
        at = end
    return b"".join([*pieces, original.body[at:]])


def _new_properties(found: Spans, values: dict[bytes, Part]) -> Iterator[Edit]:
    """Yield what is written behind each feature's properties."""
    template, columns = joined(_properties(values))
    texts = zip(*columns, strict=True) if columns else iter([()] * len(found.ends))
    for row, (end, some) in enumerate(zip(found.ends, texts, strict=True)):
        if row not in found.given:
            yield end, end, b"," + template % some
        else:
            given = {name for name, _, _ in found.given[row]}
            new = [name + b":" + _text(part, row) for name, part in values.items() if name not in given]
            yield end, end, b"".join(b"," + one for one in new)


def _given_properties(found: Spans, values: dict[bytes, Part]) -> Iterator[Edit]:
    """Yield what is written over properties that are there: an answer can be asked again."""
    for row, given in found.given.items():
        yield from ((start, end, _text(values[name], row)) for name, start, end in given)


def _version(found: Spans, version: str) -> Edit:
    text = orjson.dumps(version)
    if found.version is not None:
        return (*found.version, text)
    return found.end, found.end, b"," + MODEL_VERSION + b":" + text


def _text(part: Part, row: int) -> bytes:
    return part if isinstance(part, bytes) else part[row]
