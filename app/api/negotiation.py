"""Which content type a body has, and which one the answer gets."""

import re
from collections.abc import Iterator, Sequence

from starlette.requests import Request

from app.errors import NotAcceptable, UnknownMediaType
from app.wire.media_types import JSON

LONGEST = 1_000
"""Characters of a header that is read here; honest ones have a tenth."""
FORM = "application/x-www-form-urlencoded"
CURL = "; curl sends this type with -d: use --json (curl 7.82 and later), or -H 'Content-Type: application/json'"


def body_type(request: Request, offered: Sequence[str]) -> str:
    """Return the body's content type; none given means JSON.

    Raises:
        UnknownMediaType: it is not one of ``offered``.
    """
    given = request.headers.get("content-type")
    if not given:
        return JSON
    if len(given) > LONGEST:
        raise UnknownMediaType(
            f"a Content-Type of {len(given)} characters: at most {LONGEST} are read, send a shorter one"
        )
    plain = _type(given)
    if plain in offered:
        return plain
    hint = CURL if plain == FORM else ""
    raise UnknownMediaType(f"the content type {plain[:100]!r} is not understood here: use {' or '.join(offered)}{hint}")


def answer_type(request: Request, offered: Sequence[str]) -> str:
    """Return the first of ``offered`` among the types that the client accepts most (RFC 9110, 12.5.1).

    Raises:
        NotAcceptable: it accepts none of them.
    """
    ranges = _ranges(request)
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(f"this call answers in {' or '.join(offered)}")
    return best


def prefers(request: Request, media_type: str, offered: Sequence[str]) -> bool:
    """Say whether the client names a type, and accepts none of ``offered`` more than that.

    Raises:
        NotAcceptable: the header is too long.
    """
    ranges = _ranges(request)
    named = any(accepted == media_type and quality > 0 for accepted, quality in ranges)
    wanted = _quality(media_type, ranges)
    return named and all(_quality(other, ranges) <= wanted for other in offered)


def _ranges(request: Request) -> list[tuple[str, float]]:
    """Return the ranges of types that the client accepts, each with its q."""
    return [(_type(part), _weight(part)) for part in _parts(_accepted(request, "accept"))]


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The q of the most specific range that covers a type; 0 if none does."""
    family = media_type.partition("/")[0] + "/*"
    for pattern in (media_type, family, "*/*"):
        for accepted, quality in ranges:
            if accepted == pattern:
                return quality
    return 0.0


def accepted_encodings(request: Request) -> dict[str, bool]:
    """Return the encodings that the client names for the answer, and whether it accepts them.

    Raises:
        NotAcceptable: the header is too long.
    """
    return {_type(part): _weight(part) > 0 for part in _parts(_accepted(request, "accept-encoding"))}


def _accepted(request: Request, header: str) -> str:
    value = ", ".join(request.headers.getlist(header))  # several lines are one list (RFC 9110, 5.3)
    if len(value) > LONGEST:
        raise NotAcceptable(f"{header} has {len(value)} characters: at most {LONGEST} are read, send a shorter one")
    return value


# Each goes over a value once, from left to right, and never back: `++` and `*+` give nothing back.
_PART = re.compile(r"""(?:"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^",])++""", re.DOTALL)
"""What stands between commas, outside of quotes."""
_PARAMETER = re.compile(r""";\s*+([^\s=;"]*+)\s*+(?:=\s*+("(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^\s;"]*+))?+""", re.DOTALL)


def _parts(value: str) -> Iterator[str]:
    return (found[0] for found in _PART.finditer(value) if found[0].strip())


def _type(part: str) -> str:
    """Return a part's type or encoding, without its parameters."""
    return part.partition(";")[0].strip().lower()


def _weight(part: str) -> float:
    """Return a part's q, 1 if it has none, 0 if that is not a number."""
    given = next((value for name, value in _PARAMETER.findall(part) if name.lower() == "q"), "1")
    try:
        weight = float(given)
    except ValueError:
        return 0.0
    return min(1.0, max(0.0, weight))  # of 0 and NaN it is 0
