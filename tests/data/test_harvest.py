"""What a training learns from: each crop's moments over the rows that report it, and rows where they are few."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data import harvest as harvests
from app.data import table_file
from app.data.harvest import Harvest, moments_of
from app.data.table_file import TableFile
from app.data.tables import Table, parse_observations
from app.errors import InvalidInput, MalformedInput, OrchardError
from app.model import folds
from app.model.folds import FOLDS, assign_folds
from app.model.moments import Array, Moments
from app.model.names import Names

HEADER = "region,temperature,rainfall,humidity,mango,orange\n"
CROPS = ("mango", "orange", "corn", "rye")


def _table(yields: Array, crops: tuple[str, ...] = CROPS) -> Table:
    """Return a table of these yields, a region a row."""
    count = len(yields)
    weather = np.random.default_rng(0).uniform([60, 20, 30], [105, 900, 90], (count, 3))
    return Table(tuple(f"R{row}" for row in range(count)), (None,) * count, weather, crops, yields)


def _text(rows: int, silent: tuple[int, ...] = ()) -> str:
    """Return CSV of so many rows; those in ``silent`` report no yield."""
    lines = [f"R{row},{70 + row},{50 + row * 7 % 40},55,{'' if row in silent else row + 1}," for row in range(rows)]
    return HEADER + "".join(f"{line}\n" for line in lines)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableFile:
    """Return a CSV file that is to be written, and is read 60 bytes at a time: two or three rows."""
    monkeypatch.setattr(table_file, "PART_BYTES", 60)
    return TableFile(tmp_path / "harvest.csv")


@given(st.lists(st.tuples(*[st.booleans()] * len(CROPS)), max_size=30))
@settings(max_examples=60)
def test_a_crop_is_learned_from_the_rows_that_report_it(reported: list[tuple[bool, ...]]) -> None:
    """Whatever other rows report, each is in its region's fold; a crop that nobody reports is absent."""
    told = np.array(reported, dtype=np.bool_).reshape(-1, len(CROPS))
    yields = np.where(told, np.arange(told.size, dtype=np.float64).reshape(told.shape), np.nan)
    table = _table(yields)
    learned = moments_of(table)
    assert list(learned) == [crop for number, crop in enumerate(CROPS) if told[:, number].any()]
    fold = assign_folds(table.regions, table.weather)
    for crop, moments in learned.items():
        number = CROPS.index(crop)
        rows = np.column_stack([table.weather, yields[:, number]])
        for part in range(FOLDS):
            wanted = Moments.of(rows[told[:, number] & (fold == part)])
            found = moments.folds[part]
            assert found.count == wanted.count
            np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(found.comoments, wanted.comoments, rtol=1e-9, atol=1e-9)


def test_a_yield_of_zero_is_a_report() -> None:
    """A harvest that failed is learned; only what is empty is not."""
    (moments,) = moments_of(_table(np.array([[0.0], [np.nan], [-0.0]]), ("mango",))).values()
    assert moments.total.count == 2


@pytest.mark.parametrize(
    ("large", "crops"), [([0], "mango"), ([1, 2], "orange and corn"), ([2], "orange and corn"), ([3], "rye")]
)
def test_yields_too_large_to_be_squared_are_named(large: list[int], crops: str) -> None:
    """By the crops of the rows that cannot be fitted: those that the same rows report are fitted together."""
    yields = np.arange(24.0).reshape(6, 4)
    yields[0, 0] = yields[5, 3] = np.nan
    yields[3, large] = 1e200
    with pytest.raises(InvalidInput) as caught:
        Harvest.of(replace(_table(yields), regions=("A",) * 6))
    told = "the squares of the values are larger than float64 holds (1.8e308)"
    assert caught.value.detail == f"the yields of {crops} cannot be fitted: {told}"


@pytest.mark.parametrize(
    ("rows", "silent", "told"),
    [
        (3, (), []),
        (3, (1,), ["1 of 3 rows report no yield and are left out"]),
        (9, (0, 1, 2, 3, 8), ["5 of 9 rows report no yield and are left out"]),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_left_out_is_said(
    file: TableFile, rows: int, silent: tuple[int, ...], told: list[str], whole: bool
) -> None:
    """Of a table and of a file in parts alike, also where the first part reports nothing."""
    file.path.write_text(_text(rows, silent))
    harvest = Harvest.of(parse_observations(file.path.read_bytes()) if whole else file)
    assert (harvest.rows, harvest.unreported) == (rows - len(silent), len(silent))
    assert harvest.left_out == told
    assert list(harvest.moments) == ["mango"]
    assert harvest.table is not None
    assert (len(harvest.table), harvest.table.unreported) == (harvest.rows, harvest.unreported)


def test_a_table_is_looked_at_once() -> None:
    """The table itself, with no row before it; it is also what is held, under its digest."""
    seen: list[tuple[Table, int]] = []
    table = _table(np.ones((4, 4)))
    harvest = Harvest.of(table, lambda part, before: seen.append((part, before)))
    assert [(part is table, before) for part, before in seen] == [(True, 0)]
    assert harvest.table is table
    assert harvest.digest == table.digest


def test_a_file_is_looked_at_part_by_part(file: TableFile) -> None:
    """With the number of rows before each part in the file, those without a yield counted too."""
    seen: list[tuple[int, int, int]] = []
    file.path.write_text(_text(12, silent=(0, 5, 6, 7, 8)))
    Harvest.of(file, lambda part, before: seen.append((before, len(part), part.unreported)))
    assert len(seen) == 3
    ends = np.cumsum([rows + unreported for _, rows, unreported in seen]).tolist()
    assert [before for before, _, _ in seen] == [0, *ends[:-1]]
    assert (ends[-1], sum(rows for _, rows, _ in seen)) == (12, 7)


@pytest.mark.parametrize(("held", "is_held"), [(8, True), (7, False), (1, False), (0, False)])
def test_rows_are_held_up_to_a_number(
    file: TableFile, monkeypatch: pytest.MonkeyPatch, held: int, is_held: bool
) -> None:
    """So many rows with a yield and no more; the digest is that of the rows, or of the file whose rows are gone."""
    monkeypatch.setattr(harvests, "HELD_ROWS", held)
    file.path.write_text(_text(10, silent=(2, 9)))
    harvest = Harvest.of(file)
    whole = parse_observations(file.path.read_bytes())
    assert (harvest.rows, harvest.table is not None) == (8, is_held)
    assert harvest.digest == (whole.digest if is_held else hashlib.sha256(file.path.read_bytes()).hexdigest())


def test_a_file_of_one_part(tmp_path: Path) -> None:
    """It is learned as the table that it holds."""
    path = tmp_path / "harvest.csv"
    path.write_text(_text(5))
    harvest = Harvest.of(TableFile(path))
    assert harvest.digest == parse_observations(path.read_bytes()).digest


@pytest.mark.parametrize("merged", [1, 2, 64])
def test_few_moments_are_held_at_once(file: TableFile, monkeypatch: pytest.MonkeyPatch, merged: int) -> None:
    """However often parts are merged on the way, the moments are those of the whole."""
    monkeypatch.setattr(harvests, "MERGED_PARTS", merged)
    file.path.write_text(_text(30))
    found = Harvest.of(file).moments["mango"]
    wanted = Harvest.of(parse_observations(file.path.read_bytes())).moments["mango"]
    for part, other in zip(found.folds, wanted.folds, strict=True):
        assert part.count == other.count
        np.testing.assert_allclose(part.comoments, other.comoments, rtol=1e-9, atol=1e-9)
    assert sorted(found.frontier.tolist()) == sorted(wanted.frontier.tolist())


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (None, MalformedInput, "harvest.csv cannot be read: No such file or directory"),
        ("", MalformedInput, "the table is empty: its first line must name the columns"),
        (HEADER, InvalidInput, "the table has a header and no rows"),
        (_text(9, tuple(range(9))), InvalidInput, "no crop column holds a number: every yield is empty"),
    ],
)
def test_a_file_to_learn_nothing_from(file: TableFile, text: str | None, kind: type[OrchardError], told: str) -> None:
    """One that is not there, or has no header, no rows or no yields, is refused with a sentence."""
    if text is not None:
        file.path.write_text(text)
    with pytest.raises(kind) as caught:
        Harvest.of(file)
    assert caught.value.detail.endswith(told)


def test_what_a_look_raises_ends_it(file: TableFile) -> None:
    """Who looks at the parts may refuse one: nothing is learned."""
    file.path.write_text(_text(12))

    def refuse(_part: Table, before: int) -> None:
        if before:
            raise InvalidInput("suspicious")

    with pytest.raises(InvalidInput, match="suspicious"):
        Harvest.of(file, refuse)


def test_gaps_among_the_names_are_no_region(tmp_path: Path) -> None:
    """A file with empty cells is one whose regions are told apart; a space around a name makes no other one."""
    path = tmp_path / "gaps.csv"
    rows = ["A,73,67,43,56", ",91,88,64,81", " A ,87,134,58,119", "  ,102,43,37,22"]
    path.write_text("\n".join(["region,temperature,rainfall,humidity,mango", *rows]))
    harvest = Harvest.of(TableFile(path))
    assert harvest.left_out == []
    assert harvest.table is not None
    assert list(harvest.table.regions) == ["A", None, "A", None]
    assert list(harvest.cells["mango"].regions) == list(
        Harvest.of(parse_observations(path.read_bytes())).cells["mango"].regions
    )


def test_rows_keep_their_place_where_others_report_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and in parts: what is said of a row is said of the one that was sent."""
    lines = ["region,temperature,rainfall,humidity,mango"]
    lines += [f"R{number},73,67,43,{'' if number % 3 == 0 else number}" for number in range(60)]
    (tmp_path / "gaps.csv").write_text("\n".join(lines))
    expected = [number for number in range(60) if number % 3]
    assert parse_observations((tmp_path / "gaps.csv").read_bytes()).number(slice(None)).tolist() == expected
    for part_bytes in (2**20, 200):
        monkeypatch.setattr(table_file, "PART_BYTES", part_bytes)
        table = Harvest.of(TableFile(tmp_path / "gaps.csv")).table
        assert table is not None
        assert table.number(slice(None)).tolist() == expected
        assert [table.regions[row] for row in range(len(table))] == [f"R{number}" for number in expected]


def test_what_is_coded_stays_coded() -> None:
    """Rows without any yield are left out of a table with coded names by their codes, and outcome columns by theirs."""
    codes = np.array([0, -1, 1, 0], dtype=np.int32)
    names, none = Names(("Kent", "Surrey"), codes), Names((), np.full(4, -1, dtype=np.int32))
    yields = np.array([[1.0], [2.0], [np.nan], [4.0]])
    table = Table(names, none, np.ones((4, 3)), ("mango",), yields, forecasts=names, harvested=none).reporting()
    assert isinstance(table.regions, Names)
    assert isinstance(table.seasons, Names)
    assert list(table.regions) == ["Kent", None, "Kent"]
    assert list(table.seasons) == [None] * 3
    assert table.forecasts == ("Kent", None, "Kent")
    assert table.harvested is None
    assert table.unreported == 1
    assert table.number(2) == 3


def test_names_are_forgotten_behind_a_table() -> None:
    """What is remembered of the names of a table is given back when it has been learned."""
    Harvest.of(TableFile(Path("app/data/tutorial.csv")))
    assert folds._fold_of_name.cache_info().currsize == 0  # noqa: SLF001
