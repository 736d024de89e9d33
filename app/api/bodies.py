"""Bodies with observations, JSON or CSV: read, validated and made into a table."""

import hashlib
from functools import cache
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter

from app.api.faults import validated
from app.api.plain import plain
from app.api.schemas import ReportedSeason, to_table
from app.data.tables import Table, check_crop_names

Body = TypeVar("Body", bound=BaseModel)


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
    return validated(adapter, plain(content or b"{}", max_rows))


def table_of(rows: list[ReportedSeason]) -> Table:
    """Turn reported seasons into a table.

    Raises:
        InvalidInput: they name too many crops.
    """
    table = to_table(rows)
    check_crop_names(table.crops)
    return table


def digest_of(request: Request, content: bytes) -> str:
    """Return what tells, under one idempotency key, a repeated request from another one."""
    line = f"{request.method} {request.url.path}?{request.url.query} {request.headers.get('content-type', '')}\n"
    return hashlib.sha256(line.encode() + content).hexdigest()
