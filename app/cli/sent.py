"""Tables that commands are given: files, or standard input."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import MalformedInput

STANDARD_INPUT, NAME = Path("-"), "standard input"
"""How it is asked for, and where its rows are said to come from."""
PART_BYTES = 2**20


def content(table: Path) -> bytes:
    """Return a table's content.

    Raises:
        MalformedInput: it cannot be read.
    """
    if table == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return table.read_bytes()
    except OSError as error:
        raise MalformedInput(f"{table} cannot be read: {error.strerror}") from error


@contextmanager
def file(table: Path | None) -> Iterator[Path | None]:
    """Return a table's path; standard input is put into a file, which lasts until the end of the block."""
    if table != STANDARD_INPUT:
        yield table
        return
    with tempfile.TemporaryDirectory(prefix="orchard-") as folder:
        path = Path(folder) / NAME
        with path.open("wb") as copy:
            while part := sys.stdin.buffer.read(PART_BYTES):
                copy.write(part)
        yield path


def check_readable(table: Path | None) -> None:
    """See that a table is there, before anything is asked of a service.

    Raises:
        MalformedInput: it cannot be read.
    """
    if table is not None and table != STANDARD_INPUT and not table.is_file():
        raise MalformedInput(
            f"{table} cannot be read: {'it is a folder' if table.is_dir() else 'there is no such file'}"
        )
