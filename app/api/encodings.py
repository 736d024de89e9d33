"""Content-Encoding, where it is read and written: gzip and deflate."""

import zlib
from typing import Protocol

from starlette.requests import Request
from typing_extensions import Buffer

from app.api.negotiation import accepted_encodings
from app.errors import MalformedInput, TooLarge, UnknownMediaType
from app.wire.parts import Content, InMemoryFile, pieces

WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib is told of each encoding; HTTP's deflate is in zlib's form (RFC 9110, 8.4.1.2)."""


WORTH_IT = 1_024
"""Answers of fewer bytes are not compressed."""
WORTH_ITS_TIME = 64 * 1024
"""Nor are predictions of fewer, which take less time to make than to compress: one region's never are."""


class Compressor(Protocol):
    """What zlib compresses with."""

    def compress(self, data: Buffer, /) -> bytes:
        """Take a part in, and return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


def compressor(encoding: str) -> Compressor:
    """Return what compresses quickly rather than well."""
    return zlib.compressobj(1, wbits=WINDOWS[encoding])


def given(request: Request) -> str | None:
    """Return how a request's body is encoded, None for not at all.

    Raises:
        UnknownMediaType: in another way than gzip and deflate.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return None
    if encoding not in WINDOWS:
        raise UnknownMediaType(
            f"{encoding[:40]}-encoded bodies are not accepted here: use gzip or deflate, or send the body uncompressed"
        )
    return encoding


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
    return _best(accepted_encodings(request))


def demanded(request: Request) -> str | None:
    """Return how the answer has to be encoded for a client that takes no other (``identity;q=0``), None for others."""
    accepted = accepted_encodings(request)
    return _best(accepted) if accepted.get("identity") is False else None


def _best(accepted: dict[str, bool]) -> str | None:
    return next((name for name in ("gzip", "deflate") if accepted.get(name)), None)


def encoded(content: Content, encoding: str) -> bytes:
    """Return an answer encoded; a file is closed."""
    by = compressor(encoding)
    try:
        return b"".join([*map(by.compress, pieces(content)), by.flush()])
    finally:
        if isinstance(content, InMemoryFile):
            content.close()
