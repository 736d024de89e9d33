"""CSV by Arrow, many times as quick as `app.data.tables`, for what Arrow takes without complaint.

All else (quotes, faults) is left to the parser that names line, row and fault: None is returned.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from app.data import tables
from app.data.columns import Header
from app.data.dialect import Dialect, as_utf8, separator_of, text_of
from app.data.naming import MAX_CROPS, OUTCOME_COLUMNS, TEXT_COLUMNS
from app.data.tables import AS_IT_IS, BEGINNING, NO_VALUE, Asked, Reading, Start, Table, read_cell
from app.errors import InputError
from app.model.weather import FEATURE_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

Parsed = TypeVar("Parsed")
MOST_COLUMNS = len(TEXT_COLUMNS) + len(OUTCOME_COLUMNS) + len(FEATURE_NAMES) + MAX_CROPS
FROM_BYTES = 16 * 1024
"""Shorter bodies are parsed in the serving process, which does not import pyarrow for CSV (50 MB)."""
BLANK = b" \t\r\n,;\xef\xbb\xbf"
"""What a line without anything in it may hold, and the mark that a file may begin with."""


def parse_observations(content: bytes, max_rows: int, reading: Reading = AS_IT_IS) -> Table:
    """Parse a body as `app.data.tables.parse_observations` does.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as there.
    """
    content = as_utf8(content)
    table = observations(*header_and_rest(content), BEGINNING, reading) if len(content) >= FROM_BYTES else None
    if table is None or not 0 < len(table) <= max_rows - table.unreported:
        return tables.parse_observations(content, max_rows, reading)
    if reading.crops is None:
        tables.check_repeats_of_weather(table)
    return table


def parse_regions(content: bytes, max_rows: int, reading: Reading = AS_IT_IS) -> Asked:
    """Parse a body as `app.data.tables.parse_regions` does.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as there.
    """
    content = as_utf8(content)
    if len(content) >= FROM_BYTES:
        asked = _read(*header_and_rest(content), (), lambda rows, head: _asked(rows, head, reading))
        if asked is not None and 0 < len(asked.table) <= max_rows:
            return asked
    return tables.parse_regions(content, max_rows, reading)


def observations(header: bytes, content: bytes, start: Start, reading: Reading = AS_IT_IS) -> Table | None:
    """Parse a part of a table whose rows stand at ``start`` of the whole, without its header, or return None."""

    def made(rows: "pa.Table", head: "_Head") -> Table:
        from app.data.arrow import observations_of  # noqa: PLC0415 - imports pyarrow

        units = reading.units.also(head.columns.units)
        return observations_of(rows, start.row, read_cell, Reading(units, reading.crops))

    return _read(header, content, reading.crops, made)


def _asked(rows: "pa.Table", head: "_Head", reading: Reading) -> Asked:
    from app.data.arrow import regions_of  # noqa: PLC0415 - imports pyarrow

    tables.check_region_is_named(head.columns)
    units = reading.units.also(head.columns.units)
    used = [name for name in head.columns.names if name in ("region", *FEATURE_NAMES)]
    table = regions_of(rows.select(used), read_cell, units, reading.needs)

    def texts(name: str) -> list[str | None]:
        return [read_cell(cell.strip()) or None for cell in rows.column(name).to_pylist()]

    return tables.asked(table, head.columns, units, head.dialect, texts)


@dataclass(frozen=True, slots=True)
class _Head:
    """What a table's header says, and how the table is written."""

    columns: Header
    dialect: Dialect


def header_and_rest(content: bytes) -> tuple[bytes, bytes]:
    """Cut behind the first line that is not blank, and is not Excel's that names the separator."""
    end = content.find(b"\n") + 1
    while end and (content.count(b'"', 0, end) % 2 or not content[:end].strip(BLANK) or _is_for_excel(content[:end])):
        end = content.find(b"\n", end) + 1
    return (content[:end], content[end:]) if end else (content, b"")


def _is_for_excel(header: bytes) -> bool:
    plain = header.strip(b'\xef\xbb\xbf\r\n"').lower()
    return plain.startswith(b"sep=") and b"\n" not in plain


def _head(header: bytes, content: bytes) -> _Head:
    text = text_of(header, 0)
    separator, begin = separator_of(text)
    cells = list(csv.reader(io.StringIO(text[begin:]), delimiter=separator))[-1]
    return _Head(
        Header.of([read_cell(cell.strip()) for cell in cells]), Dialect(separator, separator != "," and b"," in content)
    )


def _read(
    header: bytes, content: bytes, crops: Sequence[str] | None, made: Callable[["pa.Table", _Head], Parsed]
) -> Parsed | None:
    """Read a table; ``crops``: the columns that hold numbers besides the weather, None: all that are nothing else."""
    if not content:  # no line break in it: there is nothing to read quickly
        return None
    try:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed, and 50 MB
        from pyarrow import csv as pa_csv  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    try:
        head = _head(header, content)
        names = head.columns.names
        if b'"' in content or len(names) > MOST_COLUMNS:
            return None
        numbers = (*FEATURE_NAMES, *(head.columns.others if crops is None else crops))
        rows = pa_csv.read_csv(
            pa.BufferReader(content),
            pa_csv.ReadOptions(use_threads=False, column_names=list(names), block_size=len(content) + 1),
            pa_csv.ParseOptions(delimiter=head.dialect.separator),
            pa_csv.ConvertOptions(
                column_types={name: pa.float64() if name in numbers else pa.string() for name in names},
                null_values=list(NO_VALUE),
                decimal_point="," if head.dialect.decimal_comma else ".",
            ),
        )
        return made(rows, head)
    except (pa.ArrowException, InputError, csv.Error, IndexError):
        return None
