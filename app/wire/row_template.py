"""Predictions as rows of objects, written without an object a row: a template, and the texts of whole columns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from app.model.moments import Array
from app.model.names import Names
from app.wire.answers import Answer

AT_A_TIME = 10_000
"""Rows that are put together at a time."""

Texts = list[bytes]
Part = bytes | Texts
"""A part of a row: the same in all rows, or a text for each."""


def rows(answer: Answer) -> bytes:
    """Return all predictions, as JSON has them in a list: objects with commas between."""
    return filled(_parts(answer), len(answer.question))[:-1]


def filled(parts: Iterable[Part], total: int) -> bytes:
    """Return so many rows, one behind the other."""
    template, columns = joined(parts)
    some = (_some(template, columns, start, min(total, start + AT_A_TIME)) for start in range(0, total, AT_A_TIME))
    return b"".join(some)


def _some(template: bytes, columns: list[Texts], start: int, end: int) -> bytes:
    texts: list[Any] = [None] * ((end - start) * len(columns))
    for place, column in enumerate(columns):
        texts[place :: len(columns)] = column[start:end]
    return (template * (end - start)) % tuple(texts)


def joined(parts: Iterable[Part]) -> tuple[bytes, list[Texts]]:
    """Return a row with a place for each text that differs, and the texts of these places."""
    template, columns = [], []
    for part in parts:
        if isinstance(part, bytes):
            template.append(part.replace(b"%", b"%%"))
        else:
            template.append(b"%b")
            columns.append(part)
    return b"".join(template), columns


def _parts(answer: Answer) -> Iterator[Part]:
    yield b'{"region":'
    yield names_of(answer.question.regions)
    explanations, separator = answer.explanations(), b""
    yield b',"yields":{'
    for crop, columns in answer.tons().items():
        yield separator + orjson.dumps(crop) + b":{"
        yield from _numbers(columns)
        yield from _explanation(explanations[crop])
        yield b"}"
        separator = b","
    yield b'},"extrapolated":'
    yield extrapolated(answer)
    yield b',"warnings":'
    yield warnings(answer)
    yield b"},"


def extrapolated(answer: Answer) -> Part:
    """Return the texts of what regions are extrapolated."""
    return numbers_of(answer.extrapolated) if answer.extrapolated.any() else b"false"


def warnings(answer: Answer) -> Part:
    """Return the texts of the regions' warnings."""
    told = answer.warnings()
    return texts_of(told) if any(told) else b"[]"


def _numbers(columns: dict[str, Array | None]) -> Iterator[Part]:
    """Yield named numbers, one behind the other."""
    separator = b""
    for name, column in columns.items():
        yield separator + orjson.dumps(name) + b":"
        yield b"null" if column is None else numbers_of(column)
        separator = b","


def _explanation(explanation: dict[str, Any]) -> Iterator[Part]:
    if explanation:
        yield b',"baseline":' + orjson.dumps(explanation["baseline"]) + b',"contributions":{'
        yield from _numbers(explanation["contributions"])
        yield b"}"


def numbers_of(column: "np.ndarray[Any, Any]") -> Texts:
    """Return the texts of numbers or booleans: those of a list, without its brackets, cut at its commas."""
    column = np.ascontiguousarray(column)
    return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def names_of(regions: Sequence[str | None]) -> Part:
    """Return the texts of names, null for none."""
    if isinstance(regions, Names):
        texts = [*texts_of(regions.names), b"null"]
        return [texts[code] for code in regions.codes.tolist()]
    return texts_of(regions) if any(region is not None for region in regions) else b"null"


def texts_of(values: Iterable[object]) -> Texts:
    """Return the texts of values of any kind.

    They are copied: what orjson returns stands in a kilobyte or more, which many short texts would take each.
    """
    return [bytes(memoryview(orjson.dumps(value))) for value in values]
