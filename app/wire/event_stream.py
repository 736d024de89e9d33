"""Server-sent events (WHATWG HTML, 9.2)."""

from pydantic_core import to_json

from app.serving.news import Event

KEEP_ALIVE = b": still here\n\n"
"""A comment: proxies close a connection on which nothing comes."""


def named(name: str, data: bytes, number: int | None = None) -> bytes:
    """Return an event. ``data``: JSON, which has no line breaks. ``number``: its id, where it has one."""
    identity = b"" if number is None else b"id: %d\n" % number
    return b"event: " + name.encode() + b"\n" + identity + b"data: " + data + b"\n\n"


def written(event: Event) -> bytes:
    """Return something that has happened as an event whose id is a line of the log."""
    return named(event.name, to_json(event.told), event.line)


def beginning(number: int | None, retry_s: float) -> bytes:
    """Return what comes first: after how long to come again when the stream has ended, and a first id.

    A client keeps an id without an event too, and sends it when it comes again.
    """
    identity = b"" if number is None else b"id: %d\n" % number
    return b"retry: %d\n" % (1e3 * retry_s) + identity + b"\n"
