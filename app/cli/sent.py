"""Tables that commands are given: files, or standard input."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import MalformedInput

if TYPE_CHECKING:
    from app.data.tables import Asked
    from app.model.units import Units

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


def regions(table: bytes, units: "Units") -> "Asked":
    """Return the regions of a table, CSV or a workbook, whose weather is in ``units`` or in those that its header says.

    Raises:
        MalformedInput, InvalidInput: as `app.data.tables.parse_regions`.
    """
    from app.data.dialect import ZIP
    from app.data.tables import Reading, asked_of, parse_regions
    from app.model.weather import NONE

    reading = Reading(units, needs=NONE)
    if not table.startswith(ZIP):
        return parse_regions(table, reading=reading)
    from app.data.workbook import sheet_of

    return asked_of(sheet_of(table), reading)


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


@contextmanager
def place(table: str | None) -> Iterator[str | None]:
    """Return where a table is, as `file` does of a path; a URL stays what it is."""
    if table != str(STANDARD_INPUT):
        yield table
        return
    with file(STANDARD_INPUT) as path:
        yield str(path)


def check_readable(table: Path | None) -> None:
    """See that a table is there, before anything is asked of a service.

    Raises:
        MalformedInput: it cannot be read.
    """
    if table is not None and table != STANDARD_INPUT and not table.is_file():
        raise MalformedInput(
            f"{table} cannot be read: {'it is a folder' if table.is_dir() else 'there is no such file'}"
        )
