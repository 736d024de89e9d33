"""A file of observations, CSV or Parquet, read in parts, so that it may be larger than memory."""

import codecs
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.data import quick_csv
from app.data.dialect import UTF16, ZIP
from app.data.tables import (
    AS_IT_IS,
    BEGINNING,
    Reading,
    Start,
    Table,
    check_repeats_of_weather,
    observations_of,
    parse_part,
)
from app.errors import InvalidInput, MalformedInput

PART_BYTES = 8 * 2**20
"""CSV that is read at a time; a line must be shorter, bytes."""
PART_ROWS = 131_072
"""Parquet that is read at a time, rows: a part's columns stay in the cache."""
PARQUET = b"PAR1"
"""What a Parquet file begins with."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """Columns as `app.data.tables.parse_observations` describes them."""

    path: Path
    reading: Reading = field(default=AS_IT_IS)

    def parts(self) -> Iterator[Table]:
        """Yield the rows in order, part by part, each part read while the one before is worked on.

        Raises:
            MalformedInput, InvalidInput: as `parse_observations`; the file cannot be read, or is not what it claims.
        """
        with _reported(self.path), self.path.open("rb") as file:
            first = file.read(len(PARQUET))
            file.seek(0)
            for number, part in enumerate(ahead(self._parts_of(file, first))):
                if not number and self.reading.crops is None:
                    check_repeats_of_weather(part)
                yield part

    def _parts_of(self, file: IO[bytes], first: bytes) -> Iterator[Table]:
        """Read a file by what it begins with."""
        if first == PARQUET:
            return _parquet_parts(self.path, self.reading)
        if first == ZIP:
            return _workbook_parts(file, self.reading)
        if first.startswith(UTF16):
            return csv_parts(codecs.EncodedFile(file, "utf-8", "utf-16"), self.reading)
        return csv_parts(file, self.reading)

    def __str__(self) -> str:
        return str(self.path)

    def state(self) -> tuple[int, int] | None:
        """Return when it was written, and how many bytes there are; None where there is no file."""
        if not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size

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


def ahead(parts: Iterator[Table], stop: Callable[[], None] | None = None) -> Iterator[Table]:
    """Take each part in a thread while the one before is worked on: most of both leaves Python's lock alone.

    ``stop``: called where no more is wanted before the end, to end a wait for the next part.
    """
    with ThreadPoolExecutor(1, "reading") as thread:
        try:
            coming = thread.submit(next, parts, None)
            while (part := coming.result()) is not None:
                coming = thread.submit(next, parts, None)
                yield part
        except BaseException:
            if stop is not None:
                stop()
            raise


def csv_parts(file: IO[bytes] | codecs.StreamRecoder, reading: Reading) -> Iterator[Table]:
    """Yield CSV in parts.

    Parse by Arrow what it takes without complaint, and all else by the parser that names line, row and fault.
    """
    header, start, rest = b"", BEGINNING, b""
    while part := file.read(PART_BYTES):
        whole, rest = _cut(rest + part)
        if len(rest) > PART_BYTES:
            raise MalformedInput(f"line {start.line + 2} is longer than {PART_BYTES} bytes, or its quotes never close")
        if whole and not header:
            header, whole = quick_csv.header_and_rest(whole)
        if whole:
            quick = quick_csv.observations(header, whole, start, reading)
            table = quick or parse_part(header + whole, start, reading=reading)
            yield table
            start = Start(start.row + len(table) + table.unreported, start.line + whole.count(b"\n"))
    if rest or not header:
        yield parse_part(header + rest, start, reading=reading)
    elif not start.row:
        parse_part(header, reading=reading)


def _workbook_parts(file: IO[bytes], reading: Reading) -> Iterator[Table]:
    from app.data.workbook import sheet_of  # noqa: PLC0415 - not everywhere installed

    yield observations_of(sheet_of(file.read()), reading)


def _cut(content: bytes) -> tuple[bytes, bytes]:
    """Cut behind the last line that ends outside quotes."""
    end = content.rfind(b"\n") + 1
    while end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end], content[end:]


def _parquet_parts(path: Path, reading: Reading) -> Iterator[Table]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        from app.data.arrow import observations_of as observations_of_arrow  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InvalidInput("this installation does not read Parquet: pyarrow is not installed") from error
    row = 0
    try:
        # Buffered reading takes the pages of a column one by one: a row group may be larger than memory.
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for batch in file.iter_batches(PART_ROWS, use_threads=False):
                yield observations_of_arrow(batch, row, reading=reading)
                row += len(batch)
            if not row:
                observations_of_arrow(file.schema_arrow.empty_table(), reading=reading)
                raise InvalidInput("the table has columns and no rows")
    except pa.ArrowException as error:
        raise MalformedInput(f"{path} is not a Parquet file: {str(error)[:200]}") from error
