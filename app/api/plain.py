"""JSON as plain objects, and no more of them than a request can need.

A body within its limit of bytes may still hold millions of empty lists, or of unknown fields, of which validation would
make as many faults: gigabytes of them, and minutes.
"""

from typing import Any

from pydantic_core import from_json

from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge

PER_ROW = 4
"""Brackets and braces that a row of a body may have: its own, its yields', and some in its names."""
BESIDES = 1_000
"""And those that a body may have besides its rows."""
MOST_FIELDS = 1_000
"""Fields of one object, ten times as many as it can have crops."""


def plain(content: bytes, max_rows: int) -> Any:
    """Return what a body says, of an object's equal fields the last.

    Raises:
        MalformedInput: not JSON.
        TooLarge: one of its lists has more than ``max_rows`` rows, or there are more brackets than so many need.
    """
    most = PER_ROW * max_rows + BESIDES
    if (opened := content.count(b"{") + content.count(b"[")) > most:
        raise TooLarge(f"{opened} lists and objects: the limit is {most}")
    try:
        body = from_json(content, cache_strings="keys")
    except ValueError as error:
        message = f"the body is not JSON: {error}"
        raise MalformedInput(message, [FieldError((), message, "not_json")]) from error
    for name, rows in body.items() if isinstance(body, dict) else ():
        if isinstance(rows, list) and len(rows) > max_rows:
            raise TooLarge(f"{len(rows)} rows in {name[:100]}: the limit is {max_rows}")
    return body


def check_fields(body: Any) -> None:
    """Check that no object has more fields than validation should look at.

    Raises:
        InvalidInput: one has.
    """
    pending = [body]
    while pending:
        entry = pending.pop()
        if isinstance(entry, dict):
            if len(entry) > MOST_FIELDS:
                raise InvalidInput(f"an object has {len(entry)} fields: none has more than {MOST_FIELDS}")
            entry = entry.values()
        elif not isinstance(entry, list):
            continue
        pending += [inner for inner in entry if type(inner) in _HOLDING]


_HOLDING = frozenset({dict, list})
