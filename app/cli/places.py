"""Where a row stands in what was sent: counted from 1 as people count, with its line where a file tells it."""

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from app.training.report import SuspiciousYield

REGION = "region"


def places(table: Path | None, found: Iterable[SuspiciousYield]) -> Callable[[SuspiciousYield], str]:
    """Return what names the place of a yield; ``found``: those that will be asked about."""
    lines = _lines(table, {item.row: item.region for item in found}) if table is not None else {}

    def place(item: SuspiciousYield) -> str:
        line = f" (line {lines[item.row]})" if item.row in lines else ""
        return f"row {item.row + 1}{line}" + (f", {item.region}" if item.region else "")

    return place


def _lines(table: Path, rows: dict[int, str | None]) -> dict[int, int]:
    """Return the lines of some rows of a CSV file, where they are known to be of these: their regions agree."""
    found: dict[int, int] = {}
    if not rows:
        return found
    last = max(rows)
    # What is no plain CSV in UTF-8 has no lines that could be named.
    with suppress(OSError, UnicodeDecodeError, csv.Error), table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        records = (record for record in reader if any(cell.strip() for cell in record))
        header = [name.strip() for name in next(records, [])]
        column = header.index(REGION) if REGION in header else None
        for row, record in enumerate(records):
            named = record[column].strip() if column is not None and column < len(record) else ""
            if row in rows and named == (rows[row] or ""):
                found[row] = reader.line_num
            if row >= last:
                break
    return found
