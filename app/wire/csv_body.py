"""CSV: a table of regions, and the same table with their predictions."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
import orjson

from app.data.quick_csv import parse_regions
from app.data.tables import safe_cell
from app.model.moments import Array
from app.model.names import Names
from app.model.weather import ALL, Needs
from app.wire.answers import Answer
from app.wire.questions import Question, Regions

END = b"\r\n"
BETWEEN = b"],["
"""What stands between the rows of a list of lists of numbers."""

Column = Array | Regions | str | None


def read(body: bytes, max_rows: int, needs: Needs = ALL) -> Question:
    """Read and validate a table; ``needs``: the features that must be there.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `app.data.quick_csv.parse_regions`.
    """
    table, header = parse_regions(body, max_rows, needs)
    return Question("several", table.regions, [np.ascontiguousarray(column) for column in table.weather.T], header)


def write(answer: Answer) -> bytes:
    """Return the question's columns, and behind them the predictions (RFC 4180)."""
    rows = len(answer.question)
    columns = answer.table()
    header = ",".join(map(_quoted, map(safe_cell, columns))).encode()
    grouped = [(is_number, list(some)) for is_number, some in groupby(columns.values(), _is_number)]
    same = _same_in_all(grouped[-1][1])
    if same is not None and len(grouped) == 2:  # noqa: PLR2004 - numbers, and what is the same behind all of them
        end = b"," + same + END
        return header + END + _numbers(grouped[0][1], rows).replace(BETWEEN, end) + end
    cells = [
        column
        for is_number, some in grouped
        for column in ([_numbers(some, rows).split(BETWEEN)] if is_number else [_texts(one, rows) for one in some])
    ]
    return END.join([header, *map(b",".join, zip(*cells, strict=True)), b""])


def _is_number(column: Column) -> bool:
    """Say whether a column is of numbers; None stands for those that are not known."""
    return column is None or (isinstance(column, np.ndarray) and column.dtype == np.float64)


def _numbers(columns: list[Any], rows: int) -> bytes:
    """Return the rows of neighbouring columns of numbers, with BETWEEN between them.

    They are the JSON of a list of lists: many times as quick as one cell after another.
    """
    unknown = np.full(rows, np.nan)
    table = np.column_stack([unknown if column is None else column for column in columns])
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    return text.replace(b"null", b"") if any(column is None for column in columns) else text


def _same_in_all(columns: list[Any]) -> bytes | None:
    """Return the cells that a row has in these columns, if they are the same in all rows; None if they differ."""
    cells = []
    for column in columns:
        if isinstance(column, str):
            cells.append(_quoted(column).encode())
        elif isinstance(column, np.ndarray) and not column.any():
            cells.append(b"false")
        else:
            return None
    return b",".join(cells)


def _texts(column: Any, rows: int) -> list[bytes]:
    """Return the cells of a column of texts, of booleans, or of one text for all rows."""
    if isinstance(column, str):
        return [_quoted(column).encode()] * rows
    if isinstance(column, np.ndarray):
        return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    if isinstance(column, Names):
        known = [*_cells(column.names), b""]
        return [known[code] for code in column.codes.tolist()]
    return list(_cells(column))


def _cells(names: Iterable[str | None]) -> Iterable[bytes]:
    return (_quoted(safe_cell(name)).encode() if name else b"" for name in names)


def _quoted(cell: str) -> str:
    """Return a cell that RFC 4180 reads back as one."""
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in ',"\r\n') else cell
