"""Which content type a body has, and which one the answer gets."""

from collections.abc import Sequence
from email.message import Message

from starlette.requests import Request

from app.errors import NotAcceptable, UnknownMediaType

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
EVENTS = "text/event-stream"
BINARY = "application/octet-stream"


def body_type(request: Request, offered: Sequence[str]) -> str:
    """Return the body's content type; none given means JSON.

    Raises:
        UnknownMediaType: it is not one of ``offered``.
    """
    given = request.headers.get("content-type")
    if not given:
        return JSON
    plain = _parsed(given)[0]
    if plain in offered:
        return plain
    raise UnknownMediaType(f"the content type {plain[:100]!r} is not understood here: use {' or '.join(offered)}")


def answer_type(request: Request, offered: Sequence[str]) -> str:
    """Return the first of ``offered`` among the types that the client accepts most (RFC 9110, 12.5.1).

    Raises:
        NotAcceptable: it accepts none of them.
    """
    accept = request.headers.get("accept")
    if not accept:
        return offered[0]
    ranges = [_parsed(part) for part in accept.split(",") if part.strip()]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(f"this call answers in {' or '.join(offered)}")
    return best


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The q of the most specific range that covers a type; 0 if none does."""
    family = media_type.partition("/")[0] + "/*"
    for pattern in (media_type, family, "*/*"):
        for accepted, quality in ranges:
            if accepted == pattern:
                return quality
    return 0.0


def _parsed(value: str) -> tuple[str, float]:
    message = Message()
    message["content-type"] = value.strip()
    try:
        quality = float(str(message.get_param("q", "1")))
    except ValueError:
        quality = 0.0
    return message.get_content_type() if "/" in value else value.strip(), quality
