"""Answers of megabytes, sent in parts."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PART = 128 * 1024
"""Bytes that are handed to the system at a time: they take a tenth of a millisecond or less."""


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


class LargeResponse(Response):
    """A response that lets other requests in between its parts.

    Written at once, ten megabytes would hold up the event loop for five milliseconds: a client that reads as quickly as
    it is written to takes them all.
    """

    def __init__(self, content: bytes | memoryview | InMemoryFile, headers: Mapping[str, str], media_type: str) -> None:
        """``content`` is sent as it is, without a copy; a file is closed at the end."""
        super().__init__(headers=headers, media_type=media_type)
        self.headers["content-length"] = str(len(content))
        self._content = content if isinstance(content, InMemoryFile) else memoryview(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(self._content), PART):
                more = start + PART < len(self._content)
                await send({"type": "http.response.body", "body": self._part(start), "more_body": more})
                await asyncio.sleep(0)
        finally:
            if isinstance(self._content, InMemoryFile):
                # Giving twelve megabytes back takes a millisecond.
                await asyncio.to_thread(self._content.close)

    def _part(self, start: int) -> bytes | memoryview:
        if isinstance(self._content, InMemoryFile):
            return self._content.read(start, PART)
        return self._content[start : start + PART]
