"""A file of observations, CSV or Parquet, read in parts, so that it may be larger than memory."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from app.data.naming import TEXT_COLUMNS, name_problem
from app.data.tables import BEGINNING, Start, Table, crops_of, parse_part, read_cell
from app.errors import InputError, InvalidInput, MalformedInput
from app.model.names import Names
from app.model.weather import FEATURE_NAMES, WEATHER, YIELD

if TYPE_CHECKING:
    import pyarrow as pa

PART_BYTES = 8 * 2**20
"""CSV that is read at a time; a line must be shorter, bytes."""
PART_ROWS = 131_072
"""Parquet that is read at a time, rows: a part's columns stay in the cache."""
BLANK = b" \t\r\n,\xef\xbb\xbf"
"""What a line without anything in it may hold, and the mark that a file may begin with."""
PARQUET = b"PAR1"
"""What a Parquet file begins with."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """Columns as `app.data.tables.parse_observations` describes them."""

    path: Path

    def parts(self) -> Iterator[Table]:
        """Yield the rows in order, part by part, each part read while the one before is worked on.

        Raises:
            MalformedInput, InvalidInput: as `parse_observations`; the file cannot be read, or is not what it claims.
        """
        with _reported(self.path), self.path.open("rb") as file:
            is_parquet = file.read(len(PARQUET)) == PARQUET
            file.seek(0)
            yield from _ahead(_parquet_parts(self.path) if is_parquet else _csv_parts(file))

    def digest(self) -> str:
        """Return the sha256 of the file, hexadecimal."""
        with _reported(self.path), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MalformedInput(f"{path} cannot be read: {error.strerror or error}") from error


def _ahead(parts: Iterator[Table]) -> Iterator[Table]:
    """Take each part in a thread while the one before is worked on: most of both leaves Python's lock alone."""
    with ThreadPoolExecutor(1, "reading") as thread:
        coming = thread.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = thread.submit(next, parts, None)
            yield part


def _csv_parts(file: IO[bytes]) -> Iterator[Table]:
    """Parse by Arrow what it takes without complaint, and all else by the parser that names line, row and fault."""
    quick = _quick_parser()
    header, start, rest = b"", BEGINNING, b""
    while part := file.read(PART_BYTES):
        whole, rest = _cut(rest + part)
        if len(rest) > PART_BYTES:
            raise MalformedInput(f"line {start.line + 2} is longer than {PART_BYTES} bytes, or its quotes never close")
        if whole and not header:
            header, whole = _header(whole)
        if whole:
            table = quick(header, whole, start) or parse_part(header + whole, start)
            yield table
            start = Start(start.row + len(table) + table.unreported, start.line + whole.count(b"\n"))
    if rest or not header:
        yield parse_part(header + rest, start)
    elif not start.row:
        parse_part(header)


def _cut(content: bytes) -> tuple[bytes, bytes]:
    """Cut behind the last line that ends outside quotes."""
    end = content.rfind(b"\n") + 1
    while end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end], content[end:]


def _header(content: bytes) -> tuple[bytes, bytes]:
    """Cut behind the first line that is not blank."""
    end = content.find(b"\n") + 1
    while end and (content.count(b'"', 0, end) % 2 or not content[:end].strip(BLANK)):
        end = content.find(b"\n", end) + 1
    return (content[:end], content[end:]) if end else (content, b"")


QuickParser = Callable[[bytes, bytes, Start], Table | None]


def _quick_parser() -> QuickParser:
    try:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed, and 50 MB
        from pyarrow import csv as pa_csv  # noqa: PLC0415
    except ModuleNotFoundError:
        return lambda _header, _content, _start: None

    def parse(header: bytes, content: bytes, start: Start) -> Table | None:
        try:
            cells = list(csv.reader(io.StringIO(header.decode("utf-8-sig"))))[-1]
            names = [read_cell(cell.strip()) for cell in cells]
            if b'"' in content or len(set(names)) < len(names):
                return None
            types = {name: pa.string() if name in TEXT_COLUMNS else pa.float64() for name in names}
            rows = pa_csv.read_csv(
                pa.BufferReader(content),
                pa_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(content) + 1),
                convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
            )
            return _table(rows, start.row, read_cell)
        except (pa.ArrowException, InputError, UnicodeDecodeError, csv.Error):
            return None

    return parse


def _parquet_parts(path: Path) -> Iterator[Table]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InvalidInput("this installation does not read Parquet: pyarrow is not installed") from error
    row = 0
    try:
        # Buffered reading takes the pages of a column one by one: a row group may be larger than memory.
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for batch in file.iter_batches(PART_ROWS, use_threads=False):
                yield _table(batch, row)
                row += len(batch)
            if not row:
                _table(file.schema_arrow.empty_table(), 0)
                raise InvalidInput("the table has columns and no rows")
    except pa.ArrowException as error:
        raise MalformedInput(f"{path} is not a Parquet file: {str(error)[:200]}") from error


def _table(rows: "pa.Table | pa.RecordBatch", first_row: int, read: Callable[[str], str] = str) -> Table:
    """``read``: makes a name of a cell's text."""
    from app.data.arrow import Reading, check_schema  # noqa: PLC0415

    schema = rows.schema
    crops = crops_of(schema.names)
    check_schema(schema, texts=TEXT_COLUMNS, numbers=(*FEATURE_NAMES, *crops), optional=TEXT_COLUMNS)
    reading = Reading(rows, first_row)
    weather = np.stack([reading.numbers(feature.name, feature) for feature in WEATHER])
    yields = np.stack([reading.numbers(crop, YIELD, optional=True) for crop in crops])
    regions, seasons = (_stripped(reading.names(name), read) for name in TEXT_COLUMNS)
    for column, names in zip(TEXT_COLUMNS, (regions, seasons), strict=True):
        reading.check_names(column, names, name_problem)
    reading.raise_faults()
    return Table(regions, seasons, weather.T, crops, yields.T).reporting()


def _stripped(sent: Names, read: Callable[[str], str]) -> Names:
    names = [read(name.strip()) for name in sent.names]
    blank = [code for code, name in enumerate(names) if not name]
    codes: Any = np.where(np.isin(sent.codes, blank), -1, sent.codes) if blank else sent.codes
    return Names(names, codes)
