"""CSV tables: what is read, and which cell is at fault when it cannot be."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.data.harvest import Harvest
from app.data.naming import name_problem
from app.data.table_file import TableFile
from app.data.tables import parse_observations, parse_regions, read_cell, safe_cell
from app.errors import InvalidInput, MalformedInput, OrchardError, TooLarge
from app.model.folds import assign_folds
from app.wire.records import csv_of
from app.wire.schemas import ObservationEntry

HEADER = "region,season,temperature,rainfall,humidity,mango,orange\n"


def test_a_table_is_read_as_it_is() -> None:
    """Labels, weather and yields are read; an empty cell is a crop not reported.

    BOM, CRLF and blank lines do not matter.
    """
    text = "\ufeff" + HEADER.replace("\n", "\r\n") + "A,2026,73,67,43,56,\r\n\r\n , ,91.5,8.8e1,64,,101\r\n"
    table = parse_observations(text.encode())
    assert (table.regions, table.seasons) == (("A", None), ("2026", None))
    assert table.weather.tolist() == [[73.0, 67.0, 43.0], [91.5, 88.0, 64.0]]
    assert table.crops == ("mango", "orange")
    np.testing.assert_array_equal(table.yields, [[56.0, np.nan], [np.nan, 101.0]])


def test_rows_without_any_yield_are_left_out_and_said() -> None:
    """A row that reports no crop is left out, and the table says so."""
    table = parse_observations((HEADER + "A,,73,67,43,,\nB,,73,67,43,5,\n").encode())
    assert table.regions == ("B",)
    assert table.unreported == 1
    assert Harvest.of(table).left_out == ["1 of 2 rows report no yield and are left out"]


FAULTS: list[tuple[str, type[OrchardError], str]] = [
    ("", MalformedInput, "the table is empty"),
    (HEADER, InvalidInput, "the table has a header and no rows"),
    ("region,mango\nA,3\n", InvalidInput, "no column of weather: give at least one of temperature, rainfall, humidity"),
    ("temperature,rainfall,humidity,mango,mango\n1,2,3,4,5\n", InvalidInput, "the column 'mango' appears twice"),
    ("temperature,rainfall,humidity\n1,2,3\n", InvalidInput, "no crop column"),
    (HEADER + "A,1,73,67,43,,\n", InvalidInput, "no crop column holds a number"),
    (HEADER + "A,1,73,67,43,56\n", InvalidInput, "row 1 (line 2) has 6 cells, the header 7"),
    (HEADER + "A\x1b,1,73,67,43,56,70\n", InvalidInput, "row 1 (line 2), column region: has U+001B at place 2"),
    (HEADER.replace("mango", "extrapolated") + "A,1,73,67,43,56,70\n", InvalidInput, "means something else"),
    (HEADER + "A,1,73,x,43,56,70\n", InvalidInput, "row 1 (line 2), column rainfall: 'x' is not a number"),
    (HEADER + "A,1,73,,43,56,70\n", InvalidInput, "row 1 (line 2), column rainfall: the cell is empty"),
    (HEADER + "\nA,1,73,1_0,43,56,70\n", InvalidInput, "row 1 (line 3), column rainfall: '1_0' is not a plain"),
    (HEADER + "A,1,73,٣,43,56,70\n", InvalidInput, "column rainfall: '٣' is not a plain decimal number"),
    (HEADER + "A,1,73,nan,43,56,70\n", MalformedInput, "row 1 (line 2), column rainfall: nan is not finite"),
    (HEADER + "A,1,73,67,43,inf,70\n", MalformedInput, "row 1 (line 2), column mango: inf is not finite"),
    (HEADER + "A,1,73,67,43,1e999,70\n", MalformedInput, "row 1 (line 2), column mango: 1e999 is not finite"),
    (HEADER + "A,1,141,67,43,56,70\n", InvalidInput, "column temperature: 141 is above 140 °F"),
    (HEADER + "A,1,73,67,-1,56,70\n", InvalidInput, "column humidity: -1 is below 0 %"),
    (HEADER + "A,1,73,67,43,56,-70\n", InvalidInput, "column orange: -70 is below 0 tons"),
    (HEADER + "A,1,73,67,43,2e12,70\n", InvalidInput, "column mango: 2e+12 is above 1e+12 tons"),
    (HEADER + f"{'r' * 201},1,73,67,43,56,70\n", InvalidInput, "column region: 201 characters, at most 200"),
    (HEADER.replace("mango", "a_low") + "A,1,73,67,43,56,70\n", InvalidInput, "'a_low' means something else"),
    (HEADER.replace("mango", "=x") + "A,1,73,67,43,56,70\n", InvalidInput, "the crop name '=x' has characters"),
    (HEADER.replace("mango", "") + "A,1,73,67,43,56,70\n", InvalidInput, "a crop's name has 1 to 200 characters"),
    (HEADER + 'A,1,73,67,43,"56,70\n', MalformedInput, "the table is not CSV: line 2"),
    (HEADER + "A,1,73,67,43,56,\0\n", MalformedInput, "NUL byte"),
]


@pytest.mark.parametrize(("text", "kind", "message"), FAULTS)
def test_faults_name_their_cell(text: str, kind: type[OrchardError], message: str) -> None:
    """Each fault is an error of its kind that names row, line, column, value and bound."""
    with pytest.raises(kind) as caught:
        parse_observations(text.encode())
    assert message in caught.value.detail
    assert type(caught.value) is kind


def test_all_faults_are_listed_and_counted() -> None:
    """Every faulty cell is listed, up to 100, and the first message counts them."""
    rows = "A,1,73,x,43,56,70\n" * 150
    with pytest.raises(InvalidInput) as caught:
        parse_observations((HEADER + rows).encode())
    assert caught.value.detail.endswith("(and 149 more)")
    assert len(caught.value.errors) == 100
    assert caught.value.errors[99].loc == (99, "rainfall")


def test_bytes_that_are_not_text() -> None:
    """Invalid UTF-8 is malformed, and the byte is named."""
    with pytest.raises(MalformedInput, match="not UTF-8: line 1 cannot be read"):
        parse_observations(b"abc\xff")


def test_too_many_rows() -> None:
    """More rows than the limit are refused with the limit."""
    with pytest.raises(TooLarge, match="more than 2 rows"):
        parse_observations((HEADER + "A,1,73,67,43,56,70\n" * 3).encode(), max_rows=2)


def test_an_unreadable_file(tmp_path: Path) -> None:
    """A file that is not there is malformed input that names it."""
    with pytest.raises(MalformedInput, match=r"none.csv cannot be read: No such file or directory"):
        list(TableFile(tmp_path / "none.csv").parts())


finite = st.floats(0, 1e12, allow_subnormal=False)
name = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: name_problem(read_cell(text)) is None
)
label = st.builds(str.__add__, st.text("'=+-@", max_size=3), st.just("") | name).filter(lambda text: len(text) <= 20)


@given(
    st.lists(st.tuples(st.none() | name, st.floats(-130, 140), st.floats(0, 30_000), finite), min_size=1, max_size=9)
)
def test_numbers_survive_to_the_bit(rows: list[tuple[str | None, float, float, float]]) -> None:
    """Any valid table, written with repr, is read back to the bit, names and all."""
    quoted = ['"' + (region or "").replace('"', '""') + '"' for region, *_ in rows]
    lines = [f"{cell},{a!r},{b!r},50,{c!r}" for cell, (_, a, b, c) in zip(quoted, rows, strict=True)]
    table = parse_observations("\n".join(["region,temperature,rainfall,humidity,corn", *lines]).encode())
    assert table.regions == tuple(None if region is None else read_cell(region) for region, *_ in rows)
    assert table.weather[:, :2].tolist() == [[a, b] for _, a, b, _ in rows]
    assert table.yields[:, 0].tolist() == [c for *_, c in rows]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_formulas_are_defused(text: str) -> None:
    """A cell that a spreadsheet would take for a formula gets a quote in front."""
    assert safe_cell(text) == "'" + text
    assert safe_cell("'" + text) == "''" + text
    assert safe_cell("A" + text) == "A" + text


@given(st.text())
def test_what_is_defused_comes_back(text: str) -> None:
    """Any text, whatever it begins with, and no cell begins as a formula does."""
    assert read_cell(safe_cell(text)) == text
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.tuples(st.none() | label, st.none() | label), min_size=1, max_size=9))
@hypothesis_settings(deadline=None)  # the first file imports pyarrow
def test_what_is_exported_can_be_sent(names: list[tuple[str | None, str | None]]) -> None:
    """Exported and sent again: the same regions and seasons, in the same folds; from a file, too."""
    entries = [
        ObservationEntry(
            batch="b",
            row=row,
            region=region or None,
            season=season or None,
            temperature=73,
            rainfall=67,
            humidity=43,
            yields={"'=crop": 5.0},
            withdrawn=False,
        )
        for row, (region, season) in enumerate(names)
    ]
    text = csv_of(entries).encode()
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(text)
        file.flush()
        (from_file,) = TableFile(Path(file.name)).parts()
    for table in (parse_observations(text), from_file):
        assert list(table.regions) == [entry.region for entry in entries]
        assert list(table.seasons) == [entry.season for entry in entries]
        sent = assign_folds([entry.region for entry in entries], table.weather)
        assert assign_folds(table.regions, table.weather).tolist() == sent.tolist()
        assert table.crops == ("'=crop",)


def test_defused_regions_are_asked_about_by_their_names() -> None:
    """A cell of a table to predict for is read in the same way."""
    table = parse_regions(b"region,temperature,rainfall,humidity\n'=A1,73,67,43\n''-x,73,67,43\n'B,73,67,43\n").table
    assert table.regions == ("=A1", "'-x", "'B")


@pytest.mark.parametrize("column", ["region", "season"])
def test_names_that_look_like_others_are_refused(column: str) -> None:
    """With row, line and column, and what to do."""
    row = "A,2026,73,67,43,56,70\n"
    bad = row.replace("A" if column == "region" else "2026", "cafe\u0301")
    with pytest.raises(InvalidInput) as caught:
        parse_observations((HEADER + row + bad).encode())
    where = f"row 2 (line 3), column {column}: "
    assert caught.value.detail == where + r"'cafe\u0301' is not in Unicode's composed form (NFC): send it as 'caf\xe9'"
    assert caught.value.errors[0].loc == (1, column)
