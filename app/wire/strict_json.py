"""JSON as plain objects: every field named once, and no more of them than a request can need.

A body within its limit of bytes may still hold millions of empty lists, or of unknown fields, of which validation would
make as many faults: gigabytes of them, and minutes. Of a field named twice parsers keep one or the other (RFC 8259,
section 4): nobody could say which number was meant.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import from_json

from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge

PER_ROW = 4
"""Brackets and braces that a row of a body may have: its own, its yields', and some in its names."""
BESIDES = 1_000
"""And those that a body may have besides its rows."""
MOST_FIELDS = 1_000
"""Fields of one object, ten times as many as it can have crops."""
SHOWN = 100
"""Characters of a name that a message repeats."""

_NAMED = re.compile(rb'"[ \t\n\r]*:')
"""The end of a field's name; it is rare in a text."""
TOKEN = re.compile(rb'([{}\[\]])|("[^"\\]*+(?:\\.[^"\\]*+)*+")(?:[ \t\n\r]*+(:))?+')
"""In valid JSON, what opens or closes an object or a list; or a text, and what makes it a field's name."""
_OPENING = (b"{", b"[")
Place = tuple[str | int, ...]
"""The names and numbers that lead to a value."""


def parse_json(content: bytes, max_rows: int, per_row: int = PER_ROW) -> Any:
    """Return what a body says.

    ``per_row``: brackets and braces that a row may have.

    Raises:
        MalformedInput: not JSON, or an object names a field twice.
        TooLarge: one of its lists has more than ``max_rows`` rows, or there are more brackets than that many rows need.
    """
    most = per_row * max_rows + BESIDES
    if (opened := content.count(b"{") + content.count(b"[")) > most:
        raise TooLarge(f"{opened} lists and objects: the limit is {most}")
    try:
        body = from_json(content, cache_strings="keys")
    except ValueError as error:
        message = f"the body is not JSON: {error}" if content.strip() else "the body is empty: send a JSON object, {…}"
        raise MalformedInput(message, [FieldError((), message, "not_json")]) from error
    for name, rows in body.items() if isinstance(body, dict) else ():
        if isinstance(rows, list) and len(rows) > max_rows:
            raise TooLarge(f"{len(rows)} rows in {name[:SHOWN]}: the limit is {max_rows}")
    _check_named_once(content, body)
    return body


def _check_named_once(content: bytes, body: Any) -> None:
    """Check that no object names a field twice, by counting, and by reading it again only where that does not tell."""
    if _has_fields(body, content.count(b":")):
        return
    if _has_fields(body, sum(1 for _ in _NAMED.finditer(content))):
        return  # the other colons are in texts
    check_fields(body)
    if (doubled := _doubled(content)) is not None:
        message = "is given twice"
        raise MalformedInput(f"{'.'.join(map(str, doubled))}: {message}", [FieldError(doubled, message, "twice")])


def _has_fields(body: Any, count: int) -> bool:
    """Tell whether ``count`` fields are in all objects, level by level, so that what rows hold is rarely looked at.

    ``count``: not less than the body has fields, each as often as it is named.
    """
    found, level = 0, [body]
    while level and found < count:
        objects = [entry for entry in level if type(entry) is dict]
        found += sum(map(len, objects))
        if found < count:
            holding: list[Iterable[Any]] = [entry.values() for entry in objects]
            holding += [entry for entry in level if type(entry) is list]
            level = [inner for entries in holding for inner in entries if type(inner) in _HOLDING]
    return found == count


def _doubled(content: bytes) -> Place | None:
    """Return where the first field is that its object has named before; nothing behind it is read."""
    opened: list[set[str] | None] = []  # the names in each object around, None for a list
    for token in TOKEN.finditer(content):
        bracket, name, end = token.groups()
        if end:
            names = opened[-1]
            field = from_json(name)
            if names is None or field in names:
                return (*_place(content[: token.start()], len(opened)), field[:SHOWN])
            names.add(field)
        elif bracket in _OPENING:
            opened.append(set() if bracket == b"{" else None)
        elif bracket:
            opened.pop()
    return None


def _place(content: bytes, depth: int) -> Iterator[str | int]:
    """Yield what leads to the object in which a body is cut off, ``depth`` objects and lists deep."""
    entry = from_json(content, allow_partial=True)
    for _ in range(depth - 1):
        part = next(reversed(entry)) if isinstance(entry, dict) else len(entry) - 1
        yield part if isinstance(part, int) else part[:SHOWN]
        entry = entry[part]


def check_fields(body: Any, most: int = MOST_FIELDS) -> None:
    """Check that no object has more fields than validation should look at.

    Raises:
        InvalidInput: one has.
    """
    pending = [body]
    while pending:
        entry = pending.pop()
        if isinstance(entry, dict):
            if len(entry) > most:
                raise InvalidInput(f"an object has {len(entry)} fields: none has more than {most}")
            entry = entry.values()
        elif not isinstance(entry, list):
            continue
        pending += [inner for inner in entry if type(inner) in _HOLDING]


_HOLDING = frozenset({dict, list})
