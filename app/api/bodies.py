"""Bodies with observations, JSON or CSV: read, validated and made into a table, beside what the query says of them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, TypeAdapter, WithJsonSchema
from pydantic_core import to_json

from app.data.naming import NOTE_PATTERN, SHOWN, TEXT_COLUMNS, name_problem
from app.data.tables import MAX_ERRORS, Table, check_crop_names
from app.errors import FieldError, InvalidInput
from app.wire.schemas import NOTE_LENGTH, Note, ReportedSeason, to_table
from app.wire.strict_json import parse_json
from app.wire.validation import validated

Body = TypeVar("Body", bound=BaseModel)
NoteQuery = Annotated[
    Note | None,
    Query(description="Why, for the records."),
    WithJsonSchema({"type": "string", "maxLength": NOTE_LENGTH, "pattern": NOTE_PATTERN}),
]


@dataclass(frozen=True, slots=True)
class Sent:
    """How a body is to be read: its content type, the most rows that it may have, and what the query says beside it."""

    media_type: str
    max_rows: int
    query: Mapping[str, Any]


def said(**query: Any) -> dict[str, Any]:
    """Return those of a query's parameters that are given."""
    return {name: value for name, value in query.items() if value is not None}


def agreed(query: Mapping[str, Any], body: BaseModel) -> dict[str, Any]:
    """Return what a query and a body say together of what both can say.

    Raises:
        InvalidInput: they say different things.
    """
    in_body = {name: value for name, value in body if name in body.model_fields_set}
    faults = [
        FieldError(
            ("query", name),
            f"the query says {_shown(value)}, the body {_shown(in_body[name])}: give one, or the same in both",
            "contradiction",
        )
        for name, value in query.items()
        if name in in_body and in_body[name] != value
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidInput(f"query.{faults[0].loc[-1]}: {faults[0].message}{more}", faults)
    return {name: value for name, value in in_body.items() if name != "observations"} | dict(query)


def _shown(value: Any) -> str:
    text = to_json(value).decode()
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


@cache
def _adapter(model: type[Body]) -> TypeAdapter[Body]:
    return TypeAdapter(model)


def parse(model: type[Body], content: bytes, max_rows: int) -> Body:
    """Validate a JSON body; an empty one is an empty object.

    Raises:
        MalformedInput: not JSON, or a number that is not finite.
        InvalidInput: well-formed and invalid.
        TooLarge: more than ``max_rows`` rows.
    """
    adapter: TypeAdapter[Body] = _adapter(model)
    return validated(adapter, parse_json(content or b"{}", max_rows))


def table_of(rows: list[ReportedSeason]) -> Table:
    """Turn reported seasons into a table.

    Raises:
        InvalidInput: they name too many crops, or a region or a season is not in Unicode's composed form.
    """
    table = to_table(rows)
    check_crop_names(table.crops)
    faults = [
        fault
        for name, labels in zip(TEXT_COLUMNS, (table.regions, table.seasons), strict=True)
        for fault in _label_faults(name, labels)
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        place = ".".join(map(str, faults[0].loc))
        raise InvalidInput(f"{place}: {faults[0].message}{more}", faults[:MAX_ERRORS])
    return table


def _label_faults(name: str, labels: Sequence[str | None]) -> Iterator[FieldError]:
    """Yield what no pattern can find."""
    wrong = {label: problem for label in set(labels) if label and (problem := name_problem(label))}
    for row, label in enumerate(labels) if wrong else ():
        if label in wrong:
            yield FieldError(("observations", row, name), wrong[label], "invalid")


def digest_of(request: Request, content: bytes) -> str:
    """Return what tells, under one idempotency key, a repeated request from another one."""
    line = f"{request.method} {request.url.path}?{request.url.query} {request.headers.get('content-type', '')}\n"
    return hashlib.sha256(line.encode() + content).hexdigest()
