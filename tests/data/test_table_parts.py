"""One function over Arrow batches: any split gives the same moments, and faults are returned, bounded and named."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.arrow import observations_of
from app.data.harvest import Harvest
from app.data.parts import EXAMPLES, RESULT, Learned, in_parts, learned, put_together
from app.data.tables import Reading
from app.errors import InputError, InvalidInput, MalformedInput
from app.model.folds import FoldedMoments
from scripts.bench.panel import harvests

ROWS = harvests(300, 7)


def _whole() -> Harvest:
    return Harvest.of(observations_of(ROWS))


def _assert_same(found: dict[str, FoldedMoments], wanted: dict[str, FoldedMoments]) -> None:
    assert sorted(found) == sorted(wanted)
    for crop, moments in wanted.items():
        for mine, theirs in zip(found[crop].folds, moments.folds, strict=True):
            assert mine.count == theirs.count
            np.testing.assert_allclose(mine.mean, theirs.mean, rtol=1e-12)
            np.testing.assert_allclose(
                mine.comoments, theirs.comoments, rtol=1e-10, atol=1e-12 * theirs.comoments.max()
            )
            np.testing.assert_allclose(mine.factor, theirs.factor, rtol=1e-12, atol=1e-12 * theirs.factor.max())
            np.testing.assert_array_equal(mine.minimum, theirs.minimum)
            np.testing.assert_array_equal(mine.maximum, theirs.maximum)


def _cut(rows: pa.Table, ends: list[int]) -> list[pa.RecordBatch]:
    places = [0, *sorted(ends), len(rows)]
    return [
        rows.slice(start, end - start).combine_chunks().to_batches()[0]
        for start, end in itertools.pairwise(places)
        if end > start
    ]


@settings(max_examples=12)
@given(
    st.lists(st.lists(st.integers(0, 300), max_size=4), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 300)
)
def test_any_split_into_parts_and_batches_gives_the_same(ends: list[list[int]], mergers: int, at: int) -> None:
    """However rows are dealt to parts, parts to batches, and these are merged in one step or two: all is the same."""
    places = np.linspace(0, len(ROWS), len(ends) + 1).astype(int).tolist()
    places[1:-1] = sorted(min(at + 7 * number, len(ROWS)) for number in range(len(places) - 2))
    parts = [
        list(learned(_cut(ROWS.slice(start, end - start), [cut for cut in cuts if cut < end - start])))
        for start, end, cuts in zip(places[:-1], places[1:], ends, strict=True)
    ]
    records = [record for part in parts for record in part]
    merged = Learned()
    for first in range(mergers):
        for record in put_together(records[first::mergers]):
            merged.join(record)
    whole = _whole()
    assert (merged.sums.rows, merged.sums.unreported) == (whole.rows, whole.unreported)
    _assert_same(merged.sums.moments(), whole.moments)
    for crop, cells in merged.sums.cells().items():
        in_one = whole.cells[crop].in_one_region()
        assert dict(zip(cells.seasons, cells.count[np.argsort(cells.season)], strict=False)).keys() == {*in_one.seasons}
        assert cells.count.sum() == in_one.count.sum()


def test_a_part_without_rows_says_nothing() -> None:
    """An empty partition is a record of no rows."""
    (record,) = learned(iter(()))
    assert record.schema == RESULT
    merged = Learned()
    merged.join(record)
    assert (merged.sums.rows, merged.sums.moments(), bool(merged.found)) == (0, {}, False)


def test_small_batches_are_put_together_and_large_ones_cut() -> None:
    """Batches of the same columns are learned some thousand rows at a time."""
    small, large = _cut(ROWS, list(range(0, 300, 10))), ROWS.combine_chunks().to_batches()
    assert [len(part) for part in in_parts(small, 120)] == [120, 120, 60]
    assert [len(part) for part in in_parts(large, 120)] == [120, 120, 60]
    other = pa.table({**{name: ROWS[name] for name in ROWS.schema.names}, "mango": ROWS["mango"].cast(pa.float32())})
    mixed = [*small[:2], *_cut(other, [])]
    assert [len(part) for part in in_parts(mixed, 2_000)] == [20, 300]


def _faulty(count: int) -> pa.Table:
    """Return rows with faults of several kinds, ``count`` of the first."""
    rows = {
        "Region": ["Kent"] * count + ["Surrey", "Devon", "x" * 201],
        "Season": pa.array([*range(count), 2021, 2022, None], pa.int32()),
        "temperature (°C)": [500.0] * count + [20.0, None, 20.0],
        "mango": [1.0] * count + [float("inf"), 2.0, 3.0],
    }
    return pa.table(rows)


def _raised(records: Iterator[pa.RecordBatch]) -> InputError:
    merged = Learned()
    for record in records:
        merged.join(record)
    with pytest.raises(InputError) as raised:
        merged.found.raise_if_any()
    return raised.value


def test_faults_are_returned_counted_and_named() -> None:
    """Each kind is counted in full and told with ten examples, by region, season, column and value, in all parts."""
    error = _raised(record for part in (_faulty(30), _faulty(12)) for record in learned(_cut(part, [5])))
    assert isinstance(error, MalformedInput)
    assert error.detail == (
        "48 values cannot be learned: 42 of temperature (out of bounds), 2 of temperature (missing), "
        "2 of mango (not finite), 2 of region (too long); nothing is learned of any row"
    )
    by_kind: dict[Any, list[str]] = {}
    for fault in error.errors:
        by_kind.setdefault((*fault.loc, fault.code), []).append(fault.message)
    assert len(by_kind["temperature", "out_of_bounds"]) == EXAMPLES
    assert by_kind["temperature", "out_of_bounds"][3] == "region 'Kent', season '3': 500 is above 60 °C"
    assert by_kind["mango", "not_finite"] == ["region 'Surrey', season '2021': inf is not finite"] * 2
    assert by_kind["temperature", "missing"] == ["region 'Devon', season '2022': the value is null"] * 2
    assert by_kind["region", "too_long"][0].endswith(f"'{'x' * 40}…': 201 characters, at most 200")


def test_faults_of_many_parts_are_bounded() -> None:
    """What comes back of a thousand faults has the size of what comes back of twenty."""
    (few,), (many,) = (list(learned(_cut(_faulty(count), []))) for count in (20, 20_000))
    assert len(many["faults"][0].as_py()) < len(few["faults"][0].as_py()) + 20


def test_one_fault_is_told_as_it_is() -> None:
    """A single fault is the message, with its place."""
    rows = pa.table({"region": ["Kent"], "humidity": [101.0], "mango": [1.0]})
    error = _raised(learned(_cut(rows, [])))
    assert isinstance(error, InvalidInput)
    assert error.detail == "humidity: region 'Kent': 101 is above 100 %"


def test_a_fault_of_the_columns_is_told_once() -> None:
    """What all batches have wrong alike is one fault, and so is a column that repeats the weather."""
    rows = pa.table({"rainfall": [1.0] * 10, "farm_id": [1.0] * 10, "mango": [2.0] * 10})
    error = _raised(record for _ in range(3) for record in learned(_cut(rows, [5])))
    assert error.detail.startswith("the column 'farm_id' does not look like a crop's")
    assert len(error.errors) == 1
    rain = np.linspace(10.0, 20.0, 10)
    error = _raised(learned(_cut(pa.table({"rainfall": rain, "mango": rain / 25.4}), [])))
    assert error.detail.startswith("the column 'mango' repeats rainfall")


def test_numbers_too_large_are_returned_too() -> None:
    """What only learning finds is a fault like others."""
    rows = pa.table({"rainfall": np.linspace(1, 9, 9), "mango": np.linspace(0, 1e12, 9)})
    merged = Learned()
    for record in learned(_cut(rows, [])):
        merged.join(record)
    assert not merged.found
    assert merged.sums.rows == 9


TYPES = {
    "decimals": {"mango": pa.decimal128(30, 20), "temperature": pa.decimal256(40, 20)},
    "integer seasons": {"season": pa.int16()},
    "seasons as whole decimals": {"season": pa.decimal128(38, 0)},
    "views": {"region": pa.string_view(), "season": pa.string_view()},
    "large strings": {"region": pa.large_string(), "season": pa.large_string()},
    "dictionaries": {"region": pa.dictionary(pa.int16(), pa.string()), "season": pa.dictionary(pa.int8(), pa.string())},
    "dictionaries of large strings": {"region": pa.dictionary(pa.int32(), pa.large_string())},
}


@pytest.mark.parametrize("kinds", TYPES.values(), ids=TYPES)
def test_types_that_warehouses_have(kinds: dict[str, pa.DataType]) -> None:
    """They are read as the numbers and texts that they are."""
    rows = ROWS.slice(0, 200)
    for name, kind in kinds.items():
        number = rows.schema.get_field_index(name)
        column = rows[name]
        if pa.types.is_decimal(kind):
            values = [None if value is None else Decimal(str(value)) for value in column.to_pylist()]
            column = pa.chunked_array([pa.array(values, kind)])
        rows = rows.set_column(number, name, column.cast(kind))
    merged = Learned()
    merged.join(next(learned(rows.to_batches())))
    assert not merged.found
    _assert_same(merged.sums.moments(), Harvest.of(observations_of(ROWS.slice(0, 200))).moments)


def test_postgresql_numerics_are_read() -> None:
    """The driver hands them over as texts of a type of its own; what is none is told."""
    numeric = pa.opaque(pa.string(), "numeric", "PostgreSQL")
    texts = [["80.5", "90.25"], ["80.5", "Infinity"], ["80.5", "many"]]
    good, infinite, bad = (
        pa.table(
            {"temperature": pa.array([70.0, 71.0]), "mango": pa.ExtensionArray.from_storage(numeric, pa.array(each))}
        )
        for each in texts
    )
    merged = Learned()
    merged.join(next(learned(good.to_batches())))
    assert merged.sums.moments()["mango"].total.maximum.tolist()[-1] == 90.25
    assert "inf is not finite" in _raised(learned(infinite.to_batches())).detail
    assert "many" in _raised(learned(bad.to_batches())).detail


def test_faults_beside_a_postgresql_numeric_that_is_null() -> None:
    """A null is told as one, and where it is the season, that is not named."""
    numeric = pa.opaque(pa.string(), "numeric", "PostgreSQL")
    season = pa.ExtensionArray.from_storage(numeric, pa.array(["2021", None]))
    temperature = pa.ExtensionArray.from_storage(numeric, pa.array([None, "999"]))
    error = _raised(learned(_cut(pa.table({"season": season, "temperature": temperature, "mango": [1.0, 2.0]}), [])))
    assert [fault.message for fault in error.errors] == [
        "season '2021': the value is null",
        "a row without region and season: 999 is above 140 °F",
    ]


def _not_utf8(count: int) -> pa.Array:
    """Return texts that are none, as Parquet may hold them: nobody looks when they are written."""
    return pa.Array.from_buffers(pa.string(), count, pa.array([b"K\xf6ln"] * count).buffers())


def test_texts_that_are_not_utf8_are_told() -> None:
    """They are a fault of their column, alone or beside others."""
    good = pa.table({"region": _not_utf8(2), "temperature": [70.0, 71.0], "mango": [1.0, 2.0]})
    assert _raised(learned(_cut(good, []))).detail == "region holds a text that is not UTF-8: b'K\\xf6ln'"
    bad = good.set_column(1, "temperature", pa.array([999.0, 71.0]))
    assert _raised(learned(_cut(bad, []))).detail == "temperature: region 'K\ufffdln': 999 is above 140 °F"


def test_a_null_in_a_dictionary_is_no_name() -> None:
    """Arrow allows it; the row is one without a region."""
    region = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["Kent", None]))
    table = observations_of(pa.table({"region": region, "rainfall": [1.0, 2.0, 3.0], "mango": [1.0, 2.0, 3.0]}))
    assert list(table.regions) == ["Kent", None, "Kent"]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([1.5, 2.5]), "season is double, not text"),
        (pa.array([0, 1], pa.date32()), "season is date32[day], not text"),
        (pa.array([Decimal("1.5"), Decimal("2.5")]), "season is decimal128(2, 1), not text"),
    ],
)
def test_what_is_no_season_is_refused(column: pa.Array, says: str) -> None:
    """Nobody guesses a season from a day or a fraction."""
    rows = pa.table({"season": column, "rainfall": [1.0, 2.0], "mango": [1.0, 2.0]})
    assert _raised(learned(rows.to_batches())).detail == says


def test_named_crops_are_learned_alone() -> None:
    """With crops named, other columns are left alone."""
    rows = pa.table({"rainfall": [1.0, 2.0], "farm_id": [1, 2], "mango": [1.0, 2.0]})
    merged = Learned()
    merged.join(next(learned(rows.to_batches(), Reading(crops=("mango",)))))
    assert list(merged.sums.moments()) == ["mango"]
