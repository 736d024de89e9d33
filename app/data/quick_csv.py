"""CSV by Arrow, many times as quick as `app.data.tables`, for what Arrow takes without complaint.

All else (quotes, faults) is left to the parser that names line, row and fault: None is returned.
"""

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.data import tables
from app.data.naming import MAX_CROPS, TEXT_COLUMNS
from app.data.tables import BEGINNING, Start, Table, read_cell
from app.errors import InputError
from app.model.weather import ALL, FEATURE_NAMES, Needs

if TYPE_CHECKING:
    import pyarrow as pa

MOST_COLUMNS = len(TEXT_COLUMNS) + len(FEATURE_NAMES) + MAX_CROPS
FROM_BYTES = 16 * 1024
"""Shorter bodies are parsed in the serving process, which does not import pyarrow for CSV (50 MB)."""
BLANK = b" \t\r\n,\xef\xbb\xbf"
"""What a line without anything in it may hold, and the mark that a file may begin with."""


def parse_observations(content: bytes, max_rows: int) -> Table:
    """Parse a body as `app.data.tables.parse_observations` does.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as there.
    """
    table = observations(*header_and_rest(content), BEGINNING) if len(content) >= FROM_BYTES else None
    if table is None or not 0 < len(table) <= max_rows - table.unreported:
        return tables.parse_observations(content, max_rows)
    return table


def parse_regions(content: bytes, max_rows: int, needs: Needs = ALL) -> tuple[Table, Sequence[str]]:
    """Parse a body as `app.data.tables.parse_regions` does.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as there.
    """
    if len(content) >= FROM_BYTES:
        header, rest = header_and_rest(content)
        table = _read(header, rest, partial(_regions, needs))
        if table is not None and 0 < len(table) <= max_rows:
            return table, _names(header)
    return tables.parse_regions(content, max_rows, needs)


def observations(header: bytes, content: bytes, start: Start) -> Table | None:
    """Parse a part of a table whose rows stand at ``start`` of the whole, without its header, or return None."""

    def made(rows: "pa.Table") -> Table:
        from app.data.arrow import observations_of  # noqa: PLC0415 - imports pyarrow

        return observations_of(rows, start.row, read_cell)

    return _read(header, content, made)


def _regions(needs: Needs, rows: "pa.Table") -> Table:
    from app.data.arrow import regions_of  # noqa: PLC0415 - imports pyarrow

    return regions_of(rows, read_cell, needs)


def header_and_rest(content: bytes) -> tuple[bytes, bytes]:
    """Cut behind the first line that is not blank."""
    end = content.find(b"\n") + 1
    while end and (content.count(b'"', 0, end) % 2 or not content[:end].strip(BLANK)):
        end = content.find(b"\n", end) + 1
    return (content[:end], content[end:]) if end else (content, b"")


def _names(header: bytes) -> list[str]:
    cells = list(csv.reader(io.StringIO(header.decode("utf-8-sig"))))[-1]
    return [read_cell(cell.strip()) for cell in cells]


def _read(header: bytes, content: bytes, made: Callable[["pa.Table"], Table]) -> Table | None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed, and 50 MB
        from pyarrow import csv as pa_csv  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    try:
        names = _names(header)
        if b'"' in content or len(names) > MOST_COLUMNS or len(set(names)) < len(names):
            return None
        types = {name: pa.string() if name in TEXT_COLUMNS else pa.float64() for name in names}
        rows = pa_csv.read_csv(
            pa.BufferReader(content),
            pa_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(content) + 1),
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
        )
        return made(rows)
    except (pa.ArrowException, InputError, UnicodeDecodeError, csv.Error, IndexError):
        return None
