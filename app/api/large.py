"""Answers of megabytes, sent in parts."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import Buffer

from app.errors import TooLarge

SMALL = 4_096
"""Bytes that are cheaper to copy than to send on their own."""
LONGEST = 256 * 2**20
"""Bytes of an answer."""
PART = 128 * 1024
"""Bytes that are handed to the system at a time: they take a tenth of a millisecond or less."""


def check_size(size: int) -> None:
    """Check that an answer has no more bytes than anyone should ask for at once.

    Raises:
        TooLarge: it has.
    """
    if size > LONGEST:
        raise TooLarge(f"the answer would have {size} bytes, the limit is {LONGEST}: ask for fewer regions at a time")


@dataclass(frozen=True, slots=True)
class InMemoryFile:
    """A file without a name, which this process owns, of ``size`` bytes."""

    descriptor: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, count: int) -> bytes:
        """Return a part of it."""
        content = os.pread(self.descriptor, count, start)
        while len(content) < min(count, self.size - start):
            content += os.pread(self.descriptor, count - len(content), start + len(content))
        return content

    def close(self) -> None:
        """Give its memory back."""
        os.close(self.descriptor)


class Parts:
    """Bytes in several places, written like a file: large ones are kept where they are, small ones are put together."""

    closed = False

    def __init__(self) -> None:
        self._views: list[memoryview] = []
        self._small = bytearray()
        self._size = 0

    def write(self, content: Buffer) -> int:
        """Add to the end."""
        view = memoryview(content).cast("B")
        self._size += len(view)
        if len(view) < SMALL:
            self._small += view
        else:
            self._flush_small()
            self._views.append(view)
        return len(view)

    def _flush_small(self) -> None:
        if self._small:
            self._views.append(memoryview(self._small))
            self._small = bytearray()

    def flush(self) -> None:
        """Keep all; there is nowhere to write it to."""

    def close(self) -> None:
        """Keep all; there is nothing to close."""

    def __len__(self) -> int:
        return self._size

    def views(self) -> list[memoryview]:
        """Return all, in order."""
        self._flush_small()
        return self._views


Content = bytes | Parts | InMemoryFile


def pieces(content: Content) -> Iterator[bytes | memoryview]:
    """Yield it in pieces of at most 128 KiB."""
    if isinstance(content, InMemoryFile):
        for start in range(0, len(content), PART):
            yield content.read(start, PART)
        return
    for view in content.views() if isinstance(content, Parts) else [memoryview(content)]:
        for start in range(0, len(view), PART):
            yield view[start : start + PART]


class LargeResponse(Response):
    """A response that lets other requests in between its parts.

    Written at once, ten megabytes would hold up the event loop for five milliseconds: a client that reads as quickly as
    it is written to takes them all.
    """

    def __init__(self, content: Content, headers: Mapping[str, str], media_type: str) -> None:
        """``content`` is sent as it is, without a copy; a file is closed at the end."""
        super().__init__(headers=headers, media_type=media_type)
        self.headers["content-length"] = str(len(content))
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in pieces(self._content):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if isinstance(self._content, InMemoryFile):
                # Giving twelve megabytes back takes a millisecond.
                await asyncio.to_thread(self._content.close)
