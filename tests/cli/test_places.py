"""Where a row stands: its number from 1, its line where the file tells it, its region."""

from pathlib import Path

import pytest

from app.cli.places import places
from app.training.report import SuspiciousYield

HEADER = "region,season,temperature,rainfall,humidity,mango\n"


def _item(row: int, region: str | None) -> SuspiciousYield:
    return SuspiciousYield(row=row, region=region, crop="mango", tons=1.0, predicted=2.0, standard_errors=9.0)


@pytest.mark.parametrize(
    ("content", "row", "region", "said"),
    [
        (f"{HEADER}A,1,73,67,43,56\nB,1,91,88,64,81\n", 1, "B", "row 2 (line 3), B"),
        (f"\ufeff{HEADER}\n\nA,1,73,67,43,56\r\n,,,,,\r\nB,1,91,88,64,81\r\n", 1, "B", "row 2 (line 6), B"),
        (f'{HEADER}"A\nB",1,73,67,43,56\nC,1,91,88,64,81\n', 1, "C", "row 2 (line 4), C"),
        ("temperature,rainfall,humidity,mango\n73,67,43,56\n", 0, None, "row 1 (line 2)"),
        (f"{HEADER},1,73,67,43,56\n", 0, None, "row 1 (line 2)"),
        # Lines that are of another row, or of none, are not named.
        (f"{HEADER}A,1,73,67,43,56\nB,1,91,88,64,81\n", 1, "C", "row 2, C"),
        (f"{HEADER}A,1,73,67,43,56\n", 5, "A", "row 6, A"),
        ("", 0, "A", "row 1, A"),
    ],
)
def test_a_row_of_a_table(tmp_path: Path, content: str, row: int, region: str | None, said: str) -> None:
    """Blank lines are lines and no rows; quotes may hold line ends."""
    table = tmp_path / "table.csv"
    table.write_bytes(content.encode())
    item = _item(row, region)
    assert places(table, [item])(item) == said


def test_what_has_no_lines(tmp_path: Path) -> None:
    """Parquet, what is not UTF-8, no table at all: the row is named."""
    item = _item(4, "J")
    for content in (b"PAR1\xff\xfe\x00", "région,mango\nJ,1\n".encode("latin-1"), b"a,\0b\n"):
        table = tmp_path / "table"
        table.write_bytes(content)
        assert places(table, [item])(item) == "row 5, J"
    assert places(tmp_path / "none", [item])(item) == "row 5, J"
    assert places(None, [item])(item) == "row 5, J"
