"""Excel workbooks (.xlsx): the first sheet as a table of cells. Needs python-calamine (extra `excel`).

A workbook is a compressed archive of XML. What it unfolds to is counted before it is read, and so are the rows and
columns that its cells claim to be in: the library holds every cell of that rectangle.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as clock

from app.data.tables import Sheet
from app.errors import InvalidInput, MalformedInput, TooLarge

MOST_UNPACKED = 256 * 2**20
"""Bytes that a workbook may unfold to: 200 000 rows of ten columns have a third of that."""
MOST_CELLS = 4_000_000
"""Cells of the rectangle that a sheet spans: 200 000 rows of twenty columns."""
PIECE = 2**20
_PLACE = re.compile(rb'<(?:\w+:)?(?:c|row)\b[^>]*?\br="([A-Z]*)(\d+)"')
_WHOLE = 10**15
"""Below it every whole number is itself as a float."""

Cell = str | float | bool | datetime | date | clock | timedelta


def sheet_of(content: bytes, max_rows: int | None = None) -> Sheet:
    """Return the first sheet of a workbook.

    Raises:
        MalformedInput: it is not one.
        InvalidInput: it cannot be read here, or holds no table.
        TooLarge: it unfolds to more than it should, or has more than ``max_rows`` rows.
    """
    try:
        import python_calamine  # noqa: PLC0415 - not everywhere installed
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "this installation does not read Excel workbooks: install orchard's extra `excel`, or save as 'CSV UTF-8'"
        ) from error
    _check_size(content)
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = workbook.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, OSError, ValueError, IndexError) as error:
        raise MalformedInput(f"the workbook cannot be read: {str(error)[:200]}") from error
    return Sheet(_lines(rows, max_rows))


def _lines(rows: list[list[Cell]], max_rows: int | None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the rows that are not blank, as wide as the header."""
    count, first, last = -1, 0, 0
    for number, cells in enumerate(rows, 1):
        texts = [_text(cell) for cell in cells]
        if not any(text.strip() for text in texts):
            continue
        if count < 0:  # the header: the table is as wide as its names
            named = [place for place, text in enumerate(texts) if text.strip()]
            first, last = named[0], named[-1] + 1
        count += 1
        if max_rows is not None and count > max_rows:
            raise TooLarge(f"more than {max_rows} rows, which is the limit")
        beyond = [text for text in (*texts[:first], *texts[last:]) if text.strip()]
        yield number, [*texts[first:last], *beyond]


def _text(cell: Cell) -> str:
    """Return a cell as CSV would have it: whole numbers without a point, since 19001 is a region's code."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float | int):
        return str(int(cell)) if cell == int(cell) and abs(cell) < _WHOLE else repr(cell)
    return str(cell)


def _check_size(content: bytes) -> None:
    """Check what a workbook unfolds to, by unfolding it piece by piece.

    Raises:
        MalformedInput: it is not a workbook.
        TooLarge: it unfolds to too much, or its cells span too many rows and columns.
    """
    unpacked = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if "xl/workbook.xml" not in archive.namelist():
                raise MalformedInput("the body is an archive, and not an Excel workbook (.xlsx)")
            for name in archive.namelist():
                extent = _Extent() if name.startswith("xl/worksheets/") else None
                with archive.open(name) as file:
                    while piece := file.read(PIECE):
                        unpacked += len(piece)
                        if unpacked > MOST_UNPACKED:
                            raise TooLarge(f"the workbook unfolds to more than {MOST_UNPACKED} bytes: send it as CSV")
                        if extent is not None:
                            extent.add(piece)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise MalformedInput(f"the workbook cannot be read: {str(error)[:200]}") from error


class _Extent:
    """How many rows and columns the cells of a sheet claim to be in."""

    def __init__(self) -> None:
        self._rows = self._columns = 1
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """Look at some more of a sheet's XML.

        Raises:
            TooLarge: the cells so far span too much.
        """
        text = self._rest + piece
        for letters, number in _PLACE.findall(text):
            self._rows = max(self._rows, int(number[:10]))
            column = 0
            for letter in letters[:4]:
                column = column * 26 + letter - 64
            self._columns = max(self._columns, column)
        if self._rows * self._columns > MOST_CELLS:
            raise TooLarge(
                f"the sheet's cells reach to row {self._rows} and column {self._columns}: {MOST_CELLS} cells are the "
                "limit; delete what is far from the table, or send it as CSV"
            )
        self._rest = text[text.rfind(b"<") :][-1_000:]
