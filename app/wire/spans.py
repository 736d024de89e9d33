"""Where in the bytes of a GeoJSON body something is to be written, so that all else comes back as it came."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import orjson
from pydantic_core import from_json

from app.wire.questions import Original
from app.wire.strict_json import TOKEN

MODEL_VERSION = b'"model_version"'
PROPERTIES, FEATURES = b'"properties"', b'"features"'
SPACE = b" \t\n\r"


@dataclass(slots=True)
class Spans:
    """Places in a body.

    ``ends``: behind the last value of each feature's properties, and ``end`` behind that of the whole. ``given``: by
    feature, the values that are there already under a name that is to be written: name, start and end. ``version``: the
    same of the body's own `model_version`.
    """

    ends: list[int] = field(default_factory=list)
    end: int = 0
    given: dict[int, list[tuple[bytes, int, int]]] = field(default_factory=dict)
    version: tuple[int, int] | None = None


def spans(original: Original, names: AbstractSet[bytes], *, many: bool) -> Spans:
    """Return the places in a valid body.

    ``names``: of properties that are to be written, as JSON has them. ``many``: it is a collection, not one feature.
    """
    return _Walk(original.body, names, many=many).through(original.plain)


class _Walk:
    """Goes through a body once, from bracket to name to bracket."""

    def __init__(self, body: bytes, names: AbstractSet[bytes], *, many: bool) -> None:
        self._body = body
        self._names = names
        self._many = many
        self._level = 4 if many else 2
        """How deep the properties of a feature stand."""
        self._keys = [b""] * (self._level + 1)
        """The last name at each depth down to there."""
        self._open: dict[int, tuple[bytes, int]] = {}
        """By depth, a value that has begun, and is to be written anew: its name and start."""
        self._found = Spans()

    def through(self, plain: bytes) -> Spans:
        depth = last = 0
        for token in TOKEN.finditer(plain):
            bracket, text, colon = token.groups()
            if bracket is None:
                if colon and depth <= self._level:
                    self._name(depth, text, last, token)
            elif bracket in b"{[":
                depth += 1
            else:
                self._close(depth, last, token.start())
                depth -= 1
            last = token.end()
        return self._found

    def _name(self, depth: int, text: bytes, last: int, token: "re.Match[bytes]") -> None:
        """Note a field's name; what was begun before it ends before the comma."""
        if depth in self._open:
            self._end(depth, self._behind(last, token.start(), comma=True))
        self._keys[depth] = name = orjson.dumps(from_json(text)) if b"\\" in text else text
        if (depth == 1 and name == MODEL_VERSION) or (name in self._names and self._in_properties(depth)):
            start = token.end()
            while self._body[start] in SPACE:
                start += 1
            self._open[depth] = (name, start)

    def _close(self, depth: int, last: int, at: int) -> None:
        """Note where an object ends."""
        if depth == 1 or self._in_properties(depth):
            end = self._behind(last, at)
            self._end(depth, end)
            if depth == 1:
                self._found.end = end
            else:
                self._found.ends.append(end)

    def _in_properties(self, depth: int) -> bool:
        if depth != self._level or self._keys[depth - 1] != PROPERTIES:
            return False
        return not self._many or self._keys[1] == FEATURES

    def _behind(self, last: int, at: int, *, comma: bool = False) -> int:
        """Return where the value ends that is the last one before ``at``; ``last``: the end of the token before."""
        rest = self._body[last:at].rstrip(SPACE)
        return last + len(rest[:-1].rstrip(SPACE) if comma else rest)

    def _end(self, depth: int, end: int) -> None:
        if depth not in self._open:
            return
        name, start = self._open.pop(depth)
        if depth == 1:
            self._found.version = (start, end)
        else:
            self._found.given.setdefault(len(self._found.ends), []).append((name, start, end))
