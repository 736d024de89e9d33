"""CSV: a table of regions, and the same table with their predictions."""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
import orjson

from app.data.dialect import Dialect
from app.data.quick_csv import parse_regions
from app.data.tables import Asked, Reading, safe_cell
from app.model.moments import Array
from app.model.names import Names
from app.wire.answers import Answer
from app.wire.questions import PLAIN, BodyOptions, Question, Regions

END = b"\r\n"
BETWEEN = b"],["
"""What stands between the rows of a list of lists of numbers."""

Column = Array | Regions | str | None


def read(body: bytes, max_rows: int, options: BodyOptions = PLAIN) -> Question:
    """Read and validate a table.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `app.data.quick_csv.parse_regions`.
    """
    options.check_of_rows()
    asked = parse_regions(body, max_rows, Reading(units=options.units, needs=options.needs))
    return question_of(asked)


def question_of(asked: Asked) -> Question:
    """Return a table of regions as a question."""
    weather = [np.ascontiguousarray(column) for column in asked.table.weather.T]
    return Question(
        "several", asked.table.regions, weather, columns=asked.columns, units=asked.units, dialect=asked.dialect
    )


def write(answer: Answer) -> bytes:
    """Return the question's columns, and behind them the predictions (RFC 4180), written as the question was.

    Who has sent semicolons and decimal commas, as Excel does in many languages, gets them back.
    """
    rows = len(answer.question)
    columns = answer.table()
    cells = _Cells(answer.question.dialect, rows)
    header = cells.separator.join(cells.texts(list(columns)))
    grouped = [(is_number, list(some)) for is_number, some in groupby(columns.values(), _is_number)]
    same = cells.same_in_all(grouped[-1][1])
    if same is not None and len(grouped) == 2:  # noqa: PLR2004 - numbers, and what is the same behind all of them
        end = cells.separator + same + END
        return header + END + cells.numbers(grouped[0][1], end) + end
    found = [
        column
        for is_number, some in grouped
        for column in ([cells.numbers(some, BETWEEN).split(BETWEEN)] if is_number else map(cells.column, some))
    ]
    return END.join([header, *map(cells.separator.join, zip(*found, strict=True)), b""])


def _is_number(column: Column) -> bool:
    """Say whether a column is of numbers; None stands for those that are not known."""
    return column is None or (isinstance(column, np.ndarray) and column.dtype == np.float64)


class _Cells:
    """Columns of ``rows`` as the cells of a table."""

    def __init__(self, dialect: Dialect, rows: int) -> None:
        self.separator = dialect.separator.encode()
        self._dialect = dialect
        self._rows = rows
        self._to_quote = re.compile(rf'[{dialect.separator}"\r\n]')

    def numbers(self, columns: list[Any], between: bytes) -> bytes:
        """Return the rows of neighbouring columns of numbers, with ``between`` between them.

        They are the JSON of a list of lists: many times as quick as one cell after another.
        """
        unknown = np.full(self._rows, np.nan)
        table = np.column_stack([unknown if column is None else column for column in columns])
        text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
        if any(column is None for column in columns):
            text = text.replace(b"null", b"")
        if self._dialect.separator != ",":
            text = text.replace(b",", self.separator).replace(b"]" + self.separator + b"[", BETWEEN)
        if self._dialect.decimal_comma:
            text = text.replace(b".", b",")
        return text if between == BETWEEN else text.replace(BETWEEN, between)

    def same_in_all(self, columns: list[Any]) -> bytes | None:
        """Return the cells that a row has in these columns, if they are the same in all; None if they differ."""
        cells = []
        for column in columns:
            if isinstance(column, str):
                cells.append(self._quoted(column).encode())
            elif isinstance(column, np.ndarray) and not column.any():
                cells.append(b"false")
            else:
                return None
        return self.separator.join(cells)

    def column(self, column: Any) -> list[bytes]:
        """Return the cells of a column of texts, of booleans, or of one text for all rows."""
        if isinstance(column, str):
            return [self._quoted(column).encode()] * self._rows
        if isinstance(column, np.ndarray):
            return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        if isinstance(column, Names):
            known = [*self.texts(column.names), b""]
            return [known[code] for code in column.codes.tolist()]
        return list(self.texts(column))

    def texts(self, names: Iterable[str | None]) -> Iterable[bytes]:
        """Return texts as cells that no spreadsheet takes for a formula."""
        return (self._quoted(safe_cell(name)).encode() if name else b"" for name in names)

    def _quoted(self, cell: str) -> str:
        """Return a cell that RFC 4180 reads back as one."""
        return '"' + cell.replace('"', '""') + '"' if self._to_quote.search(cell) else cell
