"""Roll-ups are what the batches in use add up to, whatever was withdrawn, restored or damaged meanwhile."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given
from hypothesis import settings as configured
from hypothesis import strategies as st

from app.data import observations as table
from app.data import rollups, stored
from app.data.harvest import Harvest
from app.data.learned import NOTHING, Learned, marked
from app.data.merged import Merged, Run
from app.data.observations import Batch, Observations, Transaction
from app.data.provenance import Provenance
from app.data.ranges import Ranges
from app.data.rollups import InUse, Node
from app.data.tables import Table
from app.model.cells import Cells
from app.model.design import leverages
from app.model.folds import FoldedMoments
from app.model.names import Names
from app.model.seasons import MOST_SEASONS
from app.model.sketch import Sketch
from tests.postgresql import Cluster

EXACT = 1e-12
FAN_OUT = 3
OPERATIONS = st.lists(st.tuples(st.sampled_from("aaaarwwkuu"), st.integers(0, 1_000)), min_size=10, max_size=60)
"""Add, restore, withdraw, keep a record, roll up: of the batch with this number, counted around."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trees be high with few batches."""
    monkeypatch.setattr(rollups, "FAN_OUT", FAN_OUT)
    monkeypatch.setattr(rollups, "MARGIN", 2)


def _table(number: int) -> Table:
    draw = np.random.default_rng(number)
    count = int(draw.integers(3, 9))
    weather = draw.normal((75.0, 90.0, 55.0), (9.0, 30.0, 9.0), (count, 3))
    if number % 5 == 4:
        weather[:, 2] = np.nan
    regions = [None if number % 4 == 3 and row == 0 else f"R{draw.integers(6)}" for row in range(count)]
    tons = weather[:, :2] @ np.array([[0.4, 0.1], [0.5, 0.3]]) + draw.normal(0, 3, (count, 2))
    tons[0, number % 2] = np.nan
    return Table(regions, [str(2000 + number % 7)] * count, weather, ("corn", "rye"), np.abs(tons))


def _sketch(number: int, seasons: int = 1) -> Sketch:
    draw = np.random.default_rng(number)
    names = [str(2000 + number % 7 + season) for season in range(seasons)]
    return Sketch.of(names, draw.normal(0, 1, seasons), 2.0, 1.3, 0.2)


def _add(transaction: Transaction, number: int, record: dict[str, Sketch] | None = None) -> Batch:
    harvest = Harvest.of(_table(number))
    batch = Batch.of(harvest, Provenance("test", "anna", str(number)))
    transaction.add(batch, harvest, record)
    return transaction.batch(batch.id)


def _filled(url: str, count: int) -> Observations:
    observations = Observations(url)
    with observations.transaction() as transaction:
        for number in range(count):
            _add(transaction, number, {"rye": _sketch(number)})
    return observations


def _execute(url: str, statement: str, **values: Any) -> list[Any]:
    """Change the database, or look at it, past the program."""
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        found = connection.execute(sql.text(statement), values)
        rows = list(found.mappings()) if found.returns_rows else []
    engine.dispose()
    return rows


def _nodes(url: str) -> set[Node]:
    return {Node(row["level"], row["number"]) for row in _execute(url, "SELECT level, number FROM rollups")}


def _by_place(cells: Cells) -> dict[Any, Any]:
    names = [*cells.regions, None], [*cells.seasons, None]
    places = zip(cells.region.tolist(), cells.season.tolist(), cells.count.tolist(), cells.mean, strict=True)
    return {(names[0][region], names[1][season]): (count, *mean) for region, season, count, mean in places}


def _assert_alike(found: list[Merged], batches: list[Batch], transaction: Transaction) -> None:
    """Compare what was found with what these batches, read one by one, add up to."""
    whole = Merged.merge(found)
    plain = transaction.moments(batches)
    assert whole.moments.keys() == plain.keys()
    for crop, moments in plain.items():
        other = FoldedMoments.merge(part.moments[crop] for part in found if crop in part.moments)
        for one, two in zip(other.folds, moments.folds, strict=True):
            assert one.count == two.count
            np.testing.assert_allclose(one.mean, two.mean, rtol=EXACT)
            np.testing.assert_allclose(one.factor, two.factor, rtol=EXACT, atol=EXACT * np.abs(two.factor).max())
            np.testing.assert_array_equal(one.minimum, two.minimum)
        largest = [leverages(each.frontier, each.total).max() for each in (other, moments)]
        assert largest[0] == pytest.approx(largest[1], rel=1e-9)
    for crop, parts in transaction.cells(batches)[0].items():
        flat = Cells.merge(parts)
        found_cells, flat_cells = _by_place(whole.cells[crop]), _by_place(flat)
        assert found_cells.keys() == flat_cells.keys()
        np.testing.assert_allclose([found_cells[key] for key in flat_cells], list(flat_cells.values()), rtol=EXACT)
        # Where a column is absent, many factors have the same product.
        scatter = [np.swapaxes(each.within, 1, 2) @ each.within for each in (whole.cells[crop], flat)]
        np.testing.assert_allclose(scatter[0], scatter[1], rtol=EXACT, atol=EXACT * np.abs(scatter[1]).max())
        np.testing.assert_array_equal(whole.cells[crop].lacking, flat.lacking)
    records = transaction.records(batches)
    flat_record = Sketch.merge(record["rye"] for record in records.values() if record and "rye" in record)
    record = whole.record.get("rye", Sketch.merge([]))
    assert record.seasons == flat_record.seasons
    np.testing.assert_array_equal(record.bins, flat_record.bins)
    np.testing.assert_allclose(record.squares, flat_record.squares, rtol=EXACT)
    assert set(whole.run.unasked) == {batch for batch, each in records.items() if each is None}


def _check(transaction: Transaction, learned: Learned) -> InUse:
    """Compare all that is read with what the batches in use add up to."""
    active = transaction.active()
    found = transaction.rollups.in_use(learned)
    run = found.run
    assert (run.count, run.rows) == (len(active), sum(batch.rows for batch in active))
    assert run.digest == sum(_digest(batch) for batch in active) % 2**256
    inside = Ranges(run.ranges)
    assert [batch.sequence in inside for batch in transaction.all()] == [
        batch.withdrawn is None for batch in transaction.all()
    ]
    known = [batch for batch in active if learned.has(batch.sequence, batch.id)]
    unknown = [batch for batch in active if not learned.has(batch.sequence, batch.id)]
    assert transaction.in_ranges(found.new, withdrawn=False) == unknown
    _assert_alike(found.merged(old=True), known, transaction)
    _assert_alike(found.merged(old=False), unknown, transaction)
    means = transaction.rollups.region_means().by_region()
    every = (batch.sequence for batch in active)
    plain = transaction.rollups.region_means(Ranges().also(every)).by_region()
    assert means.keys() == plain.keys()
    for region, mean in means.items():
        assert mean.rows == plain[region].rows
        np.testing.assert_allclose(mean.weather, plain[region].weather, rtol=EXACT)
    return found


def _digest(batch: Batch) -> int:
    return Run().with_digest(batch.digest).digest


def _carry_out(operations: list[tuple[str, int]], observations: Observations) -> None:
    for what, number in operations:
        if what == "u":
            observations.roll_up()
            continue
        with observations.transaction() as transaction:
            batches = transaction.all()
            if what == "a" or not batches:
                _add(transaction, number, {"rye": _sketch(number)} if number % 3 else None)
                continue
            batch = batches[number % len(batches)].id
            if what == "w":
                transaction.withdraw(batch, "anna", "")
            elif what == "r":
                transaction.restore(batch, "anna", "")
            else:
                transaction.keep_record(batch, {"rye": _sketch(number)})


def _holds(observations: Observations, operations: list[tuple[str, int]], split: int) -> None:
    _carry_out(operations, observations)
    with observations.reading() as transaction:
        batches = transaction.all()
        old = [batch for number, batch in enumerate(batches) if (number * 7 + split) % 11 or number < split]
        _check(transaction, Learned.of(batch.id for batch in old))
        assert list(transaction.faults()) == []


@configured(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS, st.integers(0, 40))
def test_they_are_what_the_batches_add_up_to(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]], split: int
) -> None:
    """After whatever was added, withdrawn and restored, old and new apart."""
    path = tmp_path_factory.mktemp("rollups") / "observations.db"
    with closing(Observations(f"sqlite:///{path}")) as observations:
        _holds(observations, operations, split)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_they_stay_so(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Example after example on one database, which grows."""
    server: Cluster | None = request.getfixturevalue("postgresql") if kind == "PostgreSQL" else None
    url = server.database() if server is not None else f"sqlite:///{tmp_path / 'observations.db'}"
    with closing(Observations(url)) as observations:

        @configured(max_examples=12, deadline=None, database=None, derandomize=True)
        @given(OPERATIONS, st.integers(0, 200))
        def holds(operations: list[tuple[str, int]], split: int) -> None:
            _holds(observations, operations, split)

        holds()
        assert max(node.level for node in _nodes(url)) >= 3


def test_a_withdrawal_erases_what_lies_above(observations: Observations, url: str) -> None:
    """In its own transaction: where that fails nothing is erased. The next training makes it anew."""
    with closing(_filled(url, 32)) as filled:
        filled.roll_up()
        before = _nodes(url)
        assert before == {Node(1, number) for number in range(10)} | {Node(2, number) for number in range(3)} | {
            Node(3, 0)
        }
        with filled.reading() as transaction:
            batch = transaction.all()[3]
        with pytest.raises(ZeroDivisionError), filled.transaction() as transaction:  # noqa: PT012
            transaction.withdraw(batch.id, "anna", "hail")
            raise ZeroDivisionError
        assert _nodes(url) == before
        with filled.transaction() as transaction:
            transaction.withdraw(batch.id, "anna", "hail")
        assert before - _nodes(url) == {Node(1, 1), Node(2, 0), Node(3, 0)}
        with filled.reading() as transaction:
            _check(transaction, NOTHING)
        filled.roll_up()
        assert _nodes(url) == before
        with observations.reading() as transaction:
            found = _check(transaction, NOTHING)
            assert found.run.ranges == ((1, 3), (5, 32))
            assert len(found.parts) < 12


@pytest.fixture
def rolled_up(url: str) -> Iterator[Observations]:
    """Return 32 batches, rolled up."""
    with closing(_filled(url, 32)) as filled:
        filled.roll_up()
        yield filled


@pytest.mark.parametrize("column", ["run", "moments", "cells", "record", "checksum", "cells that are gone"])
def test_a_damaged_one_is_passed_over(
    rolled_up: Observations, url: str, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, what lies below is read, and it is made anew once it was erased."""
    binary = column not in {"run", "checksum"}
    value: Any = b"damaged" if binary else "damaged"
    if column.endswith("gone"):
        column, value = "cells", None
    _execute(url, f"UPDATE rollups SET {column} = :value WHERE level = 3", value=value)  # noqa: S608
    with rolled_up.reading() as transaction:
        (fault,) = transaction.faults()
    assert fault.startswith("the roll-up of batches 0 to 26 (level 3) is damaged in the database")
    with caplog.at_level(logging.WARNING, "orchard.data"), rolled_up.reading() as transaction:
        found = _check(transaction, NOTHING)
    assert "the roll-up of batches 0 to 26 (level 3) is damaged" in caplog.text
    assert found.damaged == [Node(3, 0)]
    with rolled_up.transaction() as transaction:
        transaction.rollups.erase(found.damaged)
    rolled_up.roll_up()
    with rolled_up.reading() as transaction:
        assert list(transaction.faults()) == []
        assert transaction.rollups.in_use(NOTHING).damaged == []


def test_region_means_pass_over_damage(rolled_up: Observations, url: str) -> None:
    """Those of what lies below are as good."""
    _execute(url, "UPDATE rollups SET regions = :value WHERE level = 3", value=b"damaged")
    with rolled_up.reading() as transaction:
        _check(transaction, NOTHING)
        (fault,) = transaction.faults()
    assert "withdraw one of its batches and restore it" in fault  # no training looks at it
    with rolled_up.transaction() as transaction:
        batch = transaction.all()[1].id
        transaction.withdraw(batch, "anna", "")
        transaction.restore(batch, "anna", "")
    rolled_up.roll_up()
    with rolled_up.reading() as transaction:
        assert list(transaction.faults()) == []


def test_one_that_holds_something_else_is_told(rolled_up: Observations, url: str) -> None:
    """Whole, by its checksum, and not what its batches add up to: as if somebody had withdrawn one by hand."""
    kept = _execute(url, "SELECT * FROM rollups")
    with rolled_up.transaction() as transaction:
        batch = transaction.all()[1]
        transaction.withdraw(batch.id, "anna", "")
    _execute(url, "DELETE FROM rollups")
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.insert(stored.ROLLUPS), [dict(row) for row in kept])
    engine.dispose()
    with rolled_up.reading() as transaction:
        (fault,) = transaction.faults()
    assert fault.startswith("the roll-up of batches 0 to 2 (level 1) is not what its batches add up to")
    with rolled_up.transaction() as transaction:
        transaction.restore(batch.id, "anna", "")
    rolled_up.roll_up()
    with rolled_up.reading() as transaction:
        assert list(transaction.faults()) == []


def test_a_batch_that_nothing_vouches_for_is_not_rolled_up(observations: Observations, url: str) -> None:
    """Version 0.1.0 writes no checksums, and would withdraw it without a word to what lies above."""
    with closing(_filled(url, 32)) as filled:
        _execute(url, "UPDATE batches SET checksum = NULL WHERE sequence = 4")
        filled.roll_up()
        assert {Node(1, 1), Node(2, 0), Node(3, 0)}.isdisjoint(_nodes(url))
        _execute(url, "UPDATE batches SET withdrawn = created WHERE sequence = 4")
        with observations.reading() as transaction:
            assert transaction.rollups.in_use(NOTHING).run.count == 31


def test_others_write_while_they_are_made(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many the first training makes all: now and then it waits, and holds nothing while it does."""
    stored_meanwhile: list[Batch] = []

    def write(seconds: float) -> None:
        assert seconds > 0.1  # who waits for SQLite asks ten times a second
        with closing(Observations(url)) as other, other.transaction() as transaction:
            stored_meanwhile.append(_add(transaction, 100 + len(stored_meanwhile), {}))

    monkeypatch.setattr(table, "AT_WORK_S", 0.0)
    monkeypatch.setattr(table, "ROLLED_UP_AT_ONCE", 5)
    monkeypatch.setattr("app.data.observations.time.sleep", write)
    with closing(_filled(url, 32)) as filled:
        filled.roll_up()
        with filled.reading() as transaction:
            _check(transaction, NOTHING)
    assert len(_nodes(url)) == 14
    assert len(stored_meanwhile) == 3


def test_what_is_read_does_not_grow(tmp_path: Path) -> None:
    """As many queries for 20 as for 120 batches, and no more parts than the tree has to give."""
    found = []
    for count in (20, 120):
        url = f"sqlite:///{tmp_path / str(count)}.db"
        with closing(_filled(url, count)) as filled:
            filled.roll_up()
            with filled.reading() as transaction:
                statements: list[str] = []

                def note(*of: Any, told: list[str] = statements) -> None:
                    told.append(of[2])

                sql.event.listen(sql.Engine, "before_cursor_execute", note)
                whole = Learned.of([], count, [(1, count)], [(count, "x")], {count: "x"})
                parts = transaction.rollups.in_use(whole).parts
                sql.event.remove(sql.Engine, "before_cursor_execute", note)
                found.append((len(statements), len(parts)))
    (few, _), (many, read) = found
    assert few == many == 4
    assert read <= 4 * (FAN_OUT - 1) + 2 * FAN_OUT


@pytest.mark.parametrize("withdrawn", [True, False])
def test_what_takes_turns_is_not_merged_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, withdrawn: bool
) -> None:
    """Where every second batch is withdrawn, or learned, and none is rolled up: each is merged a few times at most."""
    monkeypatch.setattr(rollups, "HELD", 4)
    merged = []
    merge = Merged.merge

    def noted(parts: list[Merged]) -> Merged:
        merged.append(len(parts))
        return merge(parts)

    with closing(_filled(f"sqlite:///{tmp_path / 'observations.db'}", 64)) as filled:
        with filled.transaction() as transaction:
            batches = transaction.all()[1::2]
            for batch in batches if withdrawn else ():
                transaction.withdraw(batch.id, "anna", "")
        learned = NOTHING if withdrawn else Learned.of(batch.id for batch in batches)
        with filled.reading() as transaction:
            monkeypatch.setattr(Merged, "merge", noted)
            found = transaction.rollups.in_use(learned)
            monkeypatch.undo()
            _check(transaction, learned)
    assert sum(merged) <= 3 * 64
    assert len(found.parts) <= (4 if withdrawn else 64)


def test_many_seasons_are_none_as_ever(url: str) -> None:
    """More than 500 in all batches together: a record of no season, though no single batch has as many."""
    with closing(Observations(url)) as observations:
        with observations.transaction() as transaction:
            for number in range(30):
                z = np.random.default_rng(number).normal(0, 1, 40)
                names = [str(number * 40 + row) for row in range(40)] if number < 20 else ["2000"] * 40
                _add(transaction, number, {"rye": Sketch.of(names, z, 2.0, 1.3)})
            records = transaction.records(transaction.active())
        observations.roll_up()
        with observations.reading() as transaction:
            parts = transaction.rollups.in_use(NOTHING).merged(old=False)
            assert "rye" in Run.merge(part.run for part in parts).many_seasons
        flat = Sketch.merge(record["rye"] for record in records.values() if record)
        assert sum(len(set(record["rye"].seasons)) for record in records.values() if record) > MOST_SEASONS
        found = Sketch.merge(part.record["rye"] for part in parts).without_seasons()
        assert found.seasons == flat.seasons == (None,)
        np.testing.assert_array_equal(found.bins, flat.bins)


def test_cells_of_crops_have_names_of_their_own(url: str) -> None:
    """One crop is reported in other regions than another: merged, neither has the other's."""
    with closing(Observations(url)) as observations:
        with observations.transaction() as transaction:
            for number in range(8):
                crop, region = ("corn", "rye")[number % 2], f"{'AB'[number % 2]}{number}"
                table = Table(
                    [region] * 3, ["2020"] * 3, _table(number).weather[:3] * 0 + 70.0, (crop,), np.ones((3, 1))
                )
                harvest = Harvest.of(table)
                transaction.add(Batch.of(harvest, Provenance("test", "anna")), harvest, {})
        observations.roll_up()
        with observations.reading() as transaction:
            cells = Merged.merge(transaction.rollups.in_use(NOTHING).merged(old=False)).cells
    assert set(cells["corn"].regions) == {"A0", "A2", "A4", "A6"}
    assert set(cells["rye"].regions) == {"B1", "B3", "B5", "B7"}


def test_rows_that_are_alike_are_found(observations: Observations) -> None:
    """Of the same region, season and weather, of batches in use, also where a season or a feature is missing."""
    table = Table(
        ["A", "A", "B"],
        ["2020", None, "2020"],
        np.array([[70.0, 80.0, np.nan], [70.5, 81.0, np.nan], [71.0, 82.0, np.nan]]),
        ("corn",),
        np.array([[1.0], [2.0], [3.0]]),
    )
    with observations.transaction() as transaction:
        harvest = Harvest.of(table)
        batch = Batch.of(harvest, Provenance("test", "anna"))
        transaction.add(batch, harvest, {})
        (found,) = transaction.alike(table.rows(np.array([True, True, False])))
        assert (list(found.regions), list(found.seasons)) == (["A", "A"], ["2020", None])
        other = Table(["A"], ["2021"], table.weather[:1], ("corn",), table.yields[:1])
        assert transaction.alike(other) == []
        transaction.withdraw(batch.id, "anna", "")
        assert transaction.alike(table) == []


@given(st.lists(st.integers(1, 60)), st.lists(st.integers(1, 60)))
def test_ranges_are_the_set_that_they_were_made_of(first: list[int], more: list[int]) -> None:
    """Whether a number is in it, whether all of some are, whether any is."""
    ranges, numbers = Ranges((number, number) for number in first).also(more), {*first, *more}
    assert [number for number in range(70) if number in ranges] == sorted(numbers)
    for start in range(1, 60, 7):
        span = set(range(start, start + 5))
        assert ranges.hold(start, start + 4) == (span <= numbers)
        assert ranges.touch(start, start + 4) == bool(span & numbers)
    assert [number for number in range(70) if number in ranges.up_to(30)] == sorted(
        each for each in numbers if each <= 30
    )
    assert all(last + 1 < first for (_, last), (first, _) in zip(list(ranges), list(ranges)[1:], strict=False))


@pytest.mark.parametrize("lost", [0, 1, 5, 60, 99])
def test_of_an_older_copy_only_what_is_there_is_known(lost: int) -> None:
    """What is stored behind the copy's end has the sequences of what was lost, and other ids: it was not learned."""
    marks = [(sequence, f"first {sequence}") for sequence in marked(100)]
    here = {sequence: f"{'first' if sequence <= 100 - lost else 'then'} {sequence}" for sequence in range(1, 200)}
    learned = Learned.of([], 100, [(1, 100)], marks, here)
    known = [sequence for sequence in here if learned.has(sequence, here[sequence])]
    assert known == list(range(1, len(known) + 1))
    assert 100 - 2 * lost <= len(known) <= 100 - lost
    assert learned.count == 100


def test_of_another_database_nothing_is_known() -> None:
    """Whatever its sequences: none of its batches has a mark's id."""
    learned = Learned.of(["a"], 9, [(1, 9)], [(9, "nine"), (1, "one")], {1: "x", 9: "y"})
    assert [learned.has(sequence, "z") for sequence in (1, 5, 9)] == [False] * 3
    assert learned.has(77, "a")


def test_single_cells_are_rows() -> None:
    """Cells of single rows keep each row, also two of one region and season."""
    names = Names.of(["A", "A"])
    assert len(Cells.single(names, names, np.array([[1.0, 2.0], [1.0, 2.0]])).count) == 2
