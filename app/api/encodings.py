"""Content-Encoding, where it is read and written: gzip and deflate."""

import zlib

from starlette.requests import Request

from app.api.negotiation import accepted_encodings
from app.errors import MalformedInput, TooLarge
from app.wire.parts import Content, InMemoryFile, pieces

WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib is told of each encoding; HTTP's deflate is in zlib's form (RFC 9110, 8.4.1.2)."""


def decoded(content: bytes, encoding: str, limit: int) -> bytes:
    """Return what a body was before it was encoded, if that has no more than ``limit`` bytes.

    Raises:
        MalformedInput: it is not of that encoding.
        TooLarge: it has more bytes.
    """
    decompressor = zlib.decompressobj(WINDOWS[encoding])
    try:
        plain = decompressor.decompress(content, limit + 1)
    except zlib.error as error:
        raise MalformedInput(f"the body is not {encoding}: {error}") from error
    if len(plain) > limit:
        raise TooLarge(f"the body unfolds to more than {limit} bytes, which is the limit")
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedInput(f"the body is not {encoding}: it is cut off, or goes on behind its end")
    return plain


def wanted(request: Request) -> str | None:
    """Return how the client wants the answer encoded, None for not at all."""
    accepted = accepted_encodings(request)
    return next((name for name in ("gzip", "deflate") if accepted.get(name)), None)


def encoded(content: Content, encoding: str) -> bytes:
    """Return an answer encoded; a file is closed."""
    compressor = zlib.compressobj(1, wbits=WINDOWS[encoding])
    try:
        return b"".join([*map(compressor.compress, pieces(content)), compressor.flush()])
    finally:
        if isinstance(content, InMemoryFile):
            content.close()
