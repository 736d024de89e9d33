"""The observation table: batches whole or not at all, withdrawn and not erased, answers kept under their keys."""

import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql

from app.data import observations as table
from app.data.harvest import Harvest, moments_of
from app.data.observations import Batch, KeptAnswer, Observations, Transaction
from app.data.provenance import Once, Provenance
from app.data.ranges import Ranges
from app.data.tables import Table
from app.errors import KeyReused, NotFound, StoreDamaged, StoreUnavailable
from app.settings import Settings


def _table(count: int, first: float = 1.0) -> Table:
    weather = np.array([[60.0 + row, 100.0 * first, 50.0] for row in range(count)])
    yields = np.array([[first + row, np.nan if row % 2 else 5.0] for row in range(count)])
    return Table(tuple(f"R{row}" for row in range(count)), (None,) * count, weather, ("corn", "rye"), yields)


def _add(transaction: Transaction, table: Table, note: str = "") -> Batch:
    harvest = Harvest.of(table)
    batch = Batch.of(harvest, Provenance("test", "me", note))
    transaction.add(batch, harvest)
    return batch


def test_a_batch_is_read_back_in_order(observations: Observations) -> None:
    """Rows come back in order, in pages, with their labels, weather and reported yields."""
    with observations.transaction() as transaction:
        batch = _add(transaction, _table(5), note="n")
    with observations.reading() as transaction:
        first = transaction.page(3, None)
        second = transaction.page(3, first[-1].cursor)
        third = transaction.page(3, second[-1].cursor)
    rows = first + second
    assert third == []
    assert [row.region for row in rows] == ["R0", "R1", "R2", "R3", "R4"]
    assert [row.yields for row in rows[:2]] == [{"corn": 1.0, "rye": 5.0}, {"corn": 2.0}]
    assert {row.batch for row in rows} == {batch.id}
    assert rows[4].weather == (64.0, 100.0, 50.0)


def test_a_batch_is_whole_or_not_there(observations: Observations) -> None:
    """A transaction that raises leaves nothing of its batch."""
    with pytest.raises(KeyReused), observations.transaction() as transaction:  # noqa: PT012 - undone as a whole
        _add(transaction, _table(5))
        transaction.keep_answer(Once("k", "d"), "{}")
        transaction.answer(Once("k", "other"))
    with observations.reading() as transaction:
        assert transaction.page(10, None) == []
        assert transaction.active() == []


def test_withdrawing_and_restoring(observations: Observations) -> None:
    """A withdrawn batch is out of training and still there; it can come back; an unknown one is an error."""
    with observations.transaction() as transaction:
        first, second = (_add(transaction, _table(2, start)) for start in (1.0, 2.0))
        withdrawn = transaction.withdraw(first.id, "anna", "wrong")
        assert (withdrawn.withdrawn is not None, withdrawn.withdrawn_why) == (True, "wrong")
        assert transaction.withdraw(first.id, "anna", "again").withdrawn_why == "wrong"
        assert [batch.id for batch in transaction.active()] == [second.id]
        assert [row.withdrawn for row in transaction.page(10, None)] == [True, True, False, False]
        transaction.restore(first.id, "anna", "right after all")
        assert [batch.id for batch in transaction.active()] == [first.id, second.id]
        with pytest.raises(NotFound):
            transaction.withdraw("none", "anna", "")


def test_moments_come_back_with_the_batch(observations: Observations) -> None:
    """A batch's stored moments are those of its rows, crop by crop."""
    table = _table(9)
    with observations.transaction() as transaction:
        batch = _add(transaction, table)
        stored = transaction.moments([batch])
    expected = moments_of(table)
    assert set(stored) == {"corn", "rye"}
    for crop, moments in stored.items():
        assert moments.total.count == expected[crop].total.count
        np.testing.assert_array_equal(moments.total.factor, expected[crop].total.factor)
        np.testing.assert_array_equal(moments.frontier, expected[crop].frontier)


def test_answers_are_kept_under_their_key(observations: Observations) -> None:
    """A key gives back its first answer, refuses another request, and can be freed."""
    with observations.transaction() as transaction:
        assert transaction.answer(Once("k", "d")) is None
        transaction.keep_answer(Once("k", "d"), "{}")
    with observations.transaction() as transaction:
        assert transaction.answer(Once("k", "d")) == KeptAnswer("{}")
        with pytest.raises(KeyReused):
            transaction.answer(Once("k", "other"))
        transaction.forget_answer("k")
        assert transaction.answer(Once("k", "other")) is None


def test_readers_do_not_wait_for_a_writer(observations: Observations, url: str) -> None:
    """While a transaction is open, another connection reads what was there before it."""
    with observations.transaction() as transaction:
        _add(transaction, _table(2))
    other = Observations(url)
    with observations.transaction() as transaction:
        _add(transaction, _table(3))
        with other.reading() as reader:
            assert len(reader.page(10, None)) == 2
    with other.reading() as reader:
        assert len(reader.page(10, None)) == 5
    other.close()


def test_mean_weather_by_region(observations: Observations) -> None:
    """Each region's mean weather over the batches asked for."""
    with observations.transaction() as transaction:
        for start in (1.0, 3.0):
            _add(transaction, _table(2, start))
        means = transaction.rollups.region_means().by_region()
        first = transaction.rollups.region_means([(1, 1)]).by_region()
    assert {region: (mean.rows, mean.weather.tolist()) for region, mean in means.items()} == {
        "R0": (2, [60.0, 200.0, 50.0]),
        "R1": (2, [61.0, 200.0, 50.0]),
    }
    assert {region: mean.rows for region, mean in first.items()} == {"R0": 1, "R1": 1}


def test_a_database_that_is_none(settings: Settings) -> None:
    """A file that is no database is a clear error, which names no path."""
    settings.folder.mkdir()
    (settings.folder / "observations.db").write_bytes(b"no database" * 100)
    observations = Observations(settings.database)
    with pytest.raises(StoreDamaged) as caught, observations.transaction():
        """Never reached."""
    assert caught.value.detail == "the observations cannot be reached: file is not a database"
    observations.close()


def test_an_answer_is_forgotten_after_400_days(observations: Observations, url: str) -> None:
    """Longer than from one harvest to the next a key is remembered, and then its room is given back."""
    with observations.transaction() as transaction:
        transaction.keep_answer(Once("old", "d"), "{}")
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE answers SET created = '2020-01-01 00:00:00', checksum = NULL"))
    engine.dispose()
    with observations.transaction() as transaction:
        transaction.keep_answer(Once("new", "d"), "{}")
    with observations.reading() as transaction:
        assert transaction.answer(Once("old", "d")) is None
        assert transaction.answer(Once("new", "d")) == KeptAnswer("{}")


def test_what_the_database_refuses_is_not_in_its_error(observations: Observations, url: str) -> None:
    """An error that is logged holds no row that a region reported."""
    with observations.reading() as transaction:
        assert transaction.all() == []
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text("DROP TABLE observations"))
    engine.dispose()
    with pytest.raises(StoreUnavailable) as refused, observations.transaction() as transaction:
        _add(transaction, _table(2))
    assert "INSERT INTO observations" in str(refused.value.__cause__)
    assert "R0" not in str(refused.value.__cause__)


def test_of_many_batches_a_few_are_looked_through_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept with a hundred thousand batches has no room in memory at once."""
    monkeypatch.setattr(table, "FEW_AT_A_TIME", 2)
    size, count = 400_000, 20
    with closing(Observations(f"sqlite:///{tmp_path / 'observations.db'}")) as observations:
        with observations.transaction() as transaction:
            for _ in range(count):
                _add(transaction, _table(2), note="n" * size)
        with observations.reading() as transaction:
            tracemalloc.start()
            try:
                assert list(transaction.faults()) == []
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert most < count * size * 0.75


def test_ranges_of_batches_are_found_without_looking_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also many of them, as of a version that has learned every second batch; SQLite goes through none in between."""
    monkeypatch.setattr(table, "FEW_AT_A_TIME", 4)
    told: list[Any] = []

    def note(*of: Any) -> None:
        told.append(of[2:4])

    with closing(Observations(f"sqlite:///{tmp_path / 'observations.db'}")) as observations:
        with observations.transaction() as transaction:
            batches = [_add(transaction, _table(2)).id for _ in range(24)]
        with observations.reading() as transaction:
            sql.event.listen(sql.Engine, "before_cursor_execute", note)
            found = transaction.in_ranges(Ranges((number, number) for number in range(1, 24, 2)), withdrawn=True)
            sql.event.remove(sql.Engine, "before_cursor_execute", note)
    assert [batch.id for batch in found] == batches[::2]
    engine = sql.create_engine(f"sqlite:///{tmp_path / 'observations.db'}")
    with engine.connect() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all() for query, values in told]
    engine.dispose()
    assert len(plans) == 3
    assert not any("SCAN" in row[-1] for plan in plans for row in plan)
