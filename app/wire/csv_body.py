"""CSV: a table of regions, and the same table with their predictions."""

import numpy as np
import orjson

from app.data.quick_csv import parse_regions
from app.data.tables import safe_cell
from app.model.moments import Array
from app.wire.answers import Answer
from app.wire.questions import Question, Regions


def read(body: bytes, max_rows: int) -> Question:
    """Read and validate a table.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `app.data.quick_csv.parse_regions`.
    """
    table, header = parse_regions(body, max_rows)
    return Question("several", table.regions, [np.ascontiguousarray(column) for column in table.weather.T], header)


def write(answer: Answer) -> bytes:
    """Return the question's columns, and behind them the predictions (RFC 4180)."""
    rows = len(answer.question)
    columns = answer.table()
    cells = [_texts(columns[name], rows) for name in columns]
    lines = [",".join(map(_quoted, map(safe_cell, columns))), *map(",".join, zip(*cells, strict=True)), ""]
    return "\r\n".join(lines).encode()


def _texts(column: Array | Regions | str | None, rows: int) -> list[str]:
    """Return a column's cells of CSV."""
    if column is None:
        return [""] * rows
    if isinstance(column, str):
        return [column] * rows
    if isinstance(column, np.ndarray):
        # A JSON list of numbers or booleans, without its brackets: several times as quick as one cell after another.
        return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    return [_quoted(safe_cell(text)) if text else "" for text in column]


def _quoted(cell: str) -> str:
    """Return a cell that RFC 4180 reads back as one."""
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in ',"\r\n') else cell
