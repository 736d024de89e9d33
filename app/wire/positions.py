"""The positions of GeoJSON's geometries, blanked before a body is parsed: nobody here reads them.

A country's outline has more brackets than a body may have otherwise, and parsed it would take twenty times its length.
What stands in `coordinates` is held against the grammar of nested lists of numbers instead, which makes no objects; the
rest of the body keeps its places, so that an error's line and column are those of the body as it was sent.
"""

import re

from app.errors import FieldError, TooLarge

MOST_POSITIONS = 2_000_000
"""Positions, and lists of them, in one body: 32 MB have fewer, with five digits behind each point."""

_SPACE = rb"[ \t\n\r]*+"
_NUMBER = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"


def _list_of(entry: bytes) -> bytes:
    """Return the pattern of a list; `*+` gives nothing back, so that no input takes more than one pass."""
    return rb"\[%b(?:%b%b(?:,%b%b%b)*+)?+\]" % (_SPACE, entry, _SPACE, _SPACE, entry, _SPACE)


_LINE = _list_of(_list_of(_NUMBER))
_RINGS = _list_of(_LINE)
_AREAS = _list_of(_RINGS)
_POSITIONS = re.compile(rb'("coordinates"%b:%b)(%b|%b|%b)' % (_SPACE, _SPACE, _AREAS, _RINGS, _LINE))
"""A field's name and its value, from a LineString's to a MultiPolygon's; a Point's is left where it is.

In JSON a quote behind this word ends a text or a name, so that with a colon behind it, it is nothing but a name's end.
"""
_BLANK = bytes(sign if sign in b"\n\r" else ord(" ") for sign in range(256))


def blanked(body: bytes) -> bytes:
    """Return a body of the same length, with an empty list of spaces for positions.

    Raises:
        TooLarge: there are more of them than anyone should send at once.
    """
    plain = _POSITIONS.sub(_nothing, body)
    if (count := body.count(b"[") - plain.count(b"[")) > MOST_POSITIONS:
        told = (
            f"{count} positions and lists of them: a body may have {MOST_POSITIONS}: simplify the outlines, or send "
            "fewer regions at a time"
        )
        raise TooLarge(f"coordinates: {told}", [FieldError(("coordinates",), told, "too_many_positions")])
    return plain


def _nothing(found: re.Match[bytes]) -> bytes:
    name, positions = found.groups()
    return b"".join((name, b"[", positions[1:-1].translate(_BLANK), b"]"))
