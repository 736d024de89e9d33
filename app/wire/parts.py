"""Bytes of megabytes without copies: in several places, or in a file in memory; and how large an answer may be."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import Buffer

from app.errors import TooLarge

SMALL = 4_096
"""Bytes that are cheaper to copy than to send on their own."""
LONGEST = 256 * 2**20
"""Bytes of an answer."""
MOST_HERE = 2_000_000
"""Predictions, a region's crop each, that a thread of this process may hold as arrays: some 16 MB for each column."""
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


def take(content: Content) -> bytes:
    """Return it as bytes; a file is closed."""
    try:
        return content if isinstance(content, bytes) else b"".join(pieces(content))
    finally:
        if isinstance(content, InMemoryFile):
            content.close()


def pieces(content: Content) -> Iterator[bytes | memoryview]:
    """Yield it in pieces of at most 128 KiB."""
    if isinstance(content, InMemoryFile):
        for start in range(0, len(content), PART):
            yield content.read(start, PART)
        return
    for view in content.views() if isinstance(content, Parts) else [memoryview(content)]:
        for start in range(0, len(view), PART):
            yield view[start : start + PART]
