"""Files of observations, read in parts: the same rows, faults and moments as in one piece."""

import builtins
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from app.data import harvest as harvests
from app.data import table_file
from app.data.harvest import Harvest, cells_of
from app.data.table_file import TableFile, ahead
from app.data.tables import Table, parse_observations
from app.errors import FieldError, InvalidInput, MalformedInput, OrchardError
from app.model.weather import FEATURE_NAMES

HEADER = "region,season,temperature,rainfall,humidity,mango,orange\n"
Write = Callable[[str], TableFile]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a CSV file, which is read 200 bytes at a time."""
    monkeypatch.setattr(table_file, "PART_BYTES", 200)

    def file(text: str) -> TableFile:
        path = tmp_path / "harvest.csv"
        path.write_text(text)
        return TableFile(path)

    return file


def _lines(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [
        f"R{row % 7},2026,{draw.uniform(60, 100):.3f},{draw.uniform(45, 130):.3f},{draw.uniform(40, 70):.3f},"
        f"{draw.uniform(0, 100):.3f},{'' if row % 3 else f'{draw.uniform(0, 100):.3f}'}"
        for row in range(count)
    ]


def _rows(tables: list[Table]) -> list[tuple[Any, ...]]:
    return [
        (region, season, *weather, *(None if tons != tons else tons for tons in yields))  # noqa: PLR0124 - NaN
        for table in tables
        for region, season, weather, yields in zip(
            table.regions, table.seasons, table.weather.tolist(), table.yields.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_parts_are_the_whole(write: Write, ending: str) -> None:
    """Many parts hold the rows that parsing in one piece gives, with Unix and Windows ends of lines, and none."""
    newline = ending or "\n"
    text = (HEADER + "\n".join(_lines(60))).replace("\n", newline) + ending
    parts = list(write(text).parts())
    assert len(parts) > 5
    assert _rows(parts) == _rows([parse_observations(text.encode())])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), max_size=30))
@settings(max_examples=60)
def test_any_region_name_survives_the_cuts(write: Write, names: list[str]) -> None:
    """Quotes, commas and ends of lines within names do not move the cuts: read or refused, it is as in one piece."""
    lines = [HEADER]
    for name in [*names, "last"]:
        cell = '"' + name.replace('"', '""') + '"'
        lines.append(f"{cell},,73,67,43,56,70\n")
    file = write("")
    file.path.write_text("".join(lines), newline="")
    whole = "".join(lines).encode()
    assert _regions_or_fault(lambda: list(file.parts())) == _regions_or_fault(lambda: [parse_observations(whole)])


def _regions_or_fault(read: Callable[[], list[Table]]) -> list[str | None] | FieldError:
    try:
        return [region for part in read() for region in part.regions]
    except InvalidInput as error:
        return error.errors[0]


def test_defused_names_in_a_file(write: Write) -> None:
    """Arrow's parser and ours take the apostrophe off alike; Parquet has none to take off."""
    lines = [line.replace("R1,2026", "'=R1,''-1") for line in _lines(60)]
    text = HEADER + "\n".join(lines)
    parts = list(write(text).parts())
    assert _rows(parts) == _rows([parse_observations(text.encode())])
    assert {"=R1"} < {region for part in parts for region in part.regions}
    assert {"2026", "'-1"} == {season for part in parts for season in part.seasons}


def test_names_in_parquet(tmp_path: Path) -> None:
    """As they are, apostrophes and all; what looks like another name is refused by its row."""
    names = ["'=A", "B"] * 30
    (table,) = _parquet(tmp_path / "good.parquet", _columns(60) | {"region": names}).parts()
    assert list(table.regions) == names
    names[40] = "cafe\u0301"
    with pytest.raises(InvalidInput) as caught:
        list(_parquet(tmp_path / "bad.parquet", _columns(60) | {"region": names}).parts())
    assert caught.value.detail.startswith(r"row 41, column region: 'cafe\u0301' is not in Unicode's composed form")
    assert caught.value.errors[0].loc == (40, "region")


def test_without_arrow_it_reads_the_same(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is not installed, CSV is read by our own parser."""
    file = write(HEADER + "\n".join(_lines(40)))
    quick = list(file.parts())
    imported = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return imported(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert _rows(list(file.parts())) == _rows(quick)


FAULTS = [
    (35, "R,2026,warm,67,43,1,2", InvalidInput, "row 36 (line 37), column temperature: 'warm' is not a number"),
    (35, "R,2026,73,67,143,1,2", InvalidInput, "row 36 (line 37), column humidity: 143 is above 100 %"),
    (35, "R,2026,73,67,43,nan,2", MalformedInput, "row 36 (line 37), column mango: nan is not finite"),
    (35, "R,2026,73,67,43,1", InvalidInput, "row 36 (line 37) has 6 cells, the header 7"),
    (35, "R,2026,73,,43,1,2", InvalidInput, "row 36 (line 37), column rainfall: the cell is empty"),
    (0, "R,2026,73,67,43,-1,2", InvalidInput, "row 1 (line 2), column mango: -1 is below 0 tons"),
]


@pytest.mark.parametrize(("row", "line", "kind", "message"), FAULTS)
def test_a_fault_is_named_by_its_place_in_the_file(
    write: Write, row: int, line: str, kind: type[OrchardError], message: str
) -> None:
    """Row and line count from the file's beginning, whichever part they are in."""
    lines = _lines(50)
    lines[row] = line
    with pytest.raises(kind) as caught:
        list(write(HEADER + "\n".join(lines)).parts())
    assert message in caught.value.detail
    assert caught.value.errors[0].loc[0] == row


def test_what_is_not_utf_8_is_named_by_its_line(write: Write) -> None:
    """A byte of another encoding, in the header or far behind it, is a clear error."""
    file = write("")
    for row in (0, 40):
        lines = [HEADER.strip(), *_lines(50)]
        content = [line.encode() for line in lines]
        content[row] = b"R\xe9gion" + content[row]
        file.path.write_bytes(b"\n".join(content))
        with pytest.raises(MalformedInput, match=f"not UTF-8: line {row + 1} "):
            list(file.parts())


def test_blank_lines_before_the_header_are_passed_over(write: Write) -> None:
    """Of a file in many parts, too."""
    text = "\n , \n" + HEADER + "\n".join(_lines(60))
    assert _rows(list(write(text).parts())) == _rows([parse_observations(text.encode())])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        (HEADER, "a header and no rows"),
        (HEADER + "A,,73,67,43,,\n" * 30, "every yield is empty"),
        (HEADER + '"' + "x" * 900, "longer than 200 bytes, or its quotes never close"),
    ],
)
def test_files_without_observations_are_refused(write: Write, text: str, message: str) -> None:
    """An empty file, one without rows or yields, and one without an end to its quotes."""
    with pytest.raises(OrchardError, match=message):
        Harvest.of(write(text))


def test_a_harvest_in_parts_has_the_moments_of_the_whole(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments, folds and counts agree to rounding; few rows are held, many are not."""
    text = HEADER + "\n".join([*_lines(90), "S,,73,67,43,,"])
    whole = Harvest.of(parse_observations(text.encode()))
    held = Harvest.of(write(text))
    assert held.table is not None
    assert _rows([held.table]) == _rows([parse_observations(text.encode())])
    assert held.digest == whole.digest
    monkeypatch.setattr(harvests, "HELD_ROWS", 50)
    monkeypatch.setattr(harvests, "MERGED_PARTS", 3)
    passed = Harvest.of(write(text))
    assert passed.table is None
    assert passed.digest != whole.digest
    assert (passed.rows, passed.unreported) == (whole.rows, whole.unreported) == (90, 1)
    assert passed.left_out == [
        "1 of 91 rows report no yield and are left out",
        "of a file of more than 50 rows the regions are not told apart: its seasons are",
    ]
    for crop, cells in passed.cells.items():
        by_season = cells_of(parse_observations(text.encode()))[crop]
        assert np.sum(cells.count) == np.sum(by_season.count)
        assert set(cells.region.tolist()) == {-1}
    for crop, moments in whole.moments.items():
        found = passed.moments[crop]
        assert [part.count for part in found.folds] == [part.count for part in moments.folds]
        np.testing.assert_allclose(found.total.factor, moments.total.factor, rtol=1e-11, atol=1e-11)
        assert len(found.frontier) == len(moments.frontier)


def _parquet(path: Path, columns: dict[str, Any]) -> TableFile:
    parquet.write_table(pa.table(columns), path)
    return TableFile(path)


def _columns(count: int) -> dict[str, Any]:
    table = parse_observations((HEADER + "\n".join(_lines(count))).encode())
    weather = dict(zip(FEATURE_NAMES, table.weather.T, strict=True))
    tons = {crop: pa.array(table.yields[:, i], from_pandas=True) for i, crop in enumerate(table.crops)}
    return {"region": pa.array(table.regions).dictionary_encode(), **weather, **tons}


def test_parquet_gives_the_same_harvest(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows as Parquet, with nulls for what is not reported and dictionary-encoded names, in parts of 16."""
    monkeypatch.setattr(table_file, "PART_ROWS", 16)
    file = _parquet(tmp_path / "harvest.parquet", _columns(60))
    assert len(list(file.parts())) == 4
    from_csv = Harvest.of(write(HEADER + "\n".join(_lines(60))))
    from_parquet = Harvest.of(file)
    for crop, moments in from_csv.moments.items():
        np.testing.assert_allclose(from_parquet.moments[crop].total.factor, moments.total.factor, rtol=1e-12, atol=1e-9)


def test_faults_in_parquet_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types and columns at once; values by their row in the file."""
    monkeypatch.setattr(table_file, "PART_ROWS", 16)
    good = _columns(60)
    weather = good["humidity"].copy()
    weather[40] = 101.0
    faults: list[tuple[dict[str, Any], str]] = [
        (good | {"humidity": weather}, "row 41, column humidity: 101 is above 100 %"),
        (good | {"rainfall": pa.array([1.0, None] * 30)}, "row 2, column rainfall: the value is null"),
        (good | {"temperature": pa.array(["warm"] * 60)}, "temperature is string, not a number"),
        ({name: good[name] for name in good if name not in FEATURE_NAMES}, "no column of weather: give at least one"),
        ({name: good[name] for name in ("region", *FEATURE_NAMES)}, "no crop column"),
        ({name: column[:0] for name, column in good.items()}, "columns and no rows"),
    ]
    for columns, message in faults:
        with pytest.raises(OrchardError) as caught:
            Harvest.of(_parquet(tmp_path / "bad.parquet", columns))
        assert message in caught.value.detail
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(_parquet(tmp_path / "whole.parquet", good).path.read_bytes()[:500])
    with pytest.raises(MalformedInput, match="is not a Parquet file"):
        Harvest.of(TableFile(cut))


def test_a_file_that_changes_meanwhile_is_not_learned(write: Write) -> None:
    """A file that is written to while it is read is refused: half of it would be learned."""
    file = write(HEADER + "\n".join(_lines(60)))

    def grow(_part: Table, first_row: int) -> None:
        if not first_row:
            with file.path.open("a") as more:
                more.write("\nR1,2026,73,67,43,1,2")

    with pytest.raises(OrchardError, match="was changed while it was read"):
        Harvest.of(file, grow)


def test_a_wait_for_the_next_part_is_ended() -> None:
    """Whoever wants no more does not wait for a part on whose way nothing comes."""
    more, table = Event(), parse_observations(b"rainfall,mango\n50,1\n51,2\n")

    def parts() -> Iterator[Table]:
        yield table
        assert more.wait(20)

    reading = ahead(parts(), more.set)
    assert next(reading) is table
    reading.close()  # type: ignore[attr-defined]
    assert more.is_set()
