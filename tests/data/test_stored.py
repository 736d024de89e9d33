"""What is stored is compared with its checksum; a database of an earlier version is brought up to date."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import sqlalchemy as sql

from app.data import database, stored
from app.data.integrity import database_fault, has_trainings
from app.data.observations import Observations
from app.data.provenance import Once
from app.errors import StoreDamaged, StoreTooNew, StoreUnavailable
from app.model.cells import Cells
from app.model.names import Names
from app.model.sketch import Sketch
from app.stored_formats import DATABASE
from tests.conftest import ROOT
from tests.postgresql import Cluster

GOLDEN = ROOT / "tests" / "stores" / "0.1.0"


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database as version 0.1.0 left it."""
    if request.param == "SQLite":
        shutil.copy(GOLDEN / "sqlite" / "observations.db", tmp_path)
        return f"sqlite:///{tmp_path / 'observations.db'}"
    server: Cluster = request.getfixturevalue("postgresql")
    url = server.database()
    server.fill(url, (GOLDEN / "postgresql" / "observations.sql").read_text())
    return url


def _execute(url: str, *statements: str) -> None:
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sql.text(statement))
    engine.dispose()


def test_an_earlier_database_is_brought_up_to_date(observations: Observations, url: str) -> None:
    """All is there, each row with a checksum that is right; a second look changes nothing."""
    with observations.reading() as transaction:
        batches, rows = transaction.all(), transaction.page(100, None)
        moments = transaction.moments(transaction.active())
    assert [batch.rows for batch in batches] == [15, 3, 1, 2, 3]
    assert [batch.withdrawn is not None for batch in batches] == [False, False, True, False, True]
    assert len(rows) == 24
    assert {"mango", "orange", "blé"} == set(moments)
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []
    engine = sql.create_engine(url)
    with engine.connect() as connection:
        for table in ("batches", "observations", "answers"):
            missing = f"SELECT count(*) FROM {table} WHERE checksum IS NULL"  # noqa: S608 - a name of ours
            assert connection.execute(sql.text(missing)).scalar() == 0
        assert connection.execute(sql.text("SELECT number FROM orchard_format")).scalar() == DATABASE
    engine.dispose()


def test_a_database_of_format_2_is_brought_up_to_date(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has withdrawn a batch gets a place of its own; what was damaged before is told after."""
    engine = sql.create_engine(url)
    with monkeypatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 2)
        stored.bring_up_to_date(connection)
    with engine.connect() as connection:
        whole = str(connection.execute(sql.text("SELECT id FROM batches WHERE rows = 15")).scalar())
        assert "withdrawn_by" not in {column["name"] for column in sql.inspect(connection).get_columns("batches")}
    engine.dispose()
    _execute(url, "UPDATE batches SET who = 'otto' WHERE note = 'late'")
    observations = Observations(url)
    with observations.reading() as transaction:
        (fault,) = transaction.faults()
    assert "is damaged" in fault
    with observations.transaction() as transaction:
        told = transaction.withdraw(whole, "anna", "twice")
        assert (told.withdrawn_by, told.withdrawn_why) == ("anna", "twice")
        assert transaction.restore(whole, "otto", "").withdrawn_by is None
    observations.close()


def test_what_an_earlier_version_adds_meanwhile_is_read(observations: Observations, url: str) -> None:
    """A server of version 0.1.0 on the same database writes no checksums: its rows are taken as they are."""
    with observations.reading() as transaction:
        before = len(transaction.page(100, None))
    _execute(
        url,
        "INSERT INTO batches (sequence, id, digest, source, note, who, rows, created, moments) "
        "SELECT 99, 'new', digest, source, note, who, 1, created, moments FROM batches WHERE rows = 1",
        'INSERT INTO observations (batch, "row", temperature, rainfall, humidity, yields) '
        "VALUES (99, 0, 70, 70, 70, '{\"mango\": 1.5}')",
    )
    with observations.reading() as transaction:
        assert len(transaction.page(100, None)) == before + 1
        assert transaction.active()[-1].id == "new"


def _page(observations: Observations) -> object:
    with observations.reading() as transaction:
        return transaction.page(100, None)


def _active(observations: Observations) -> object:
    with observations.reading() as transaction:
        return transaction.active()


def _learn(observations: Observations) -> object:
    with observations.reading() as transaction:
        return transaction.moments(transaction.active())


def _answer(observations: Observations) -> object:
    with observations.reading() as transaction:
        return transaction.answer(Once("harvest-2026", "any"))


DAMAGE: dict[str, tuple[str, Callable[[Observations], object], str]] = {
    "a yield": (
        "UPDATE observations SET yields = replace(yields, '70.2', '72.2')",
        _page,
        "row 0 of batch",
    ),
    "a region": ("UPDATE observations SET region = 'X' WHERE region = 'L'", _page, "row 1 of batch"),
    "weather": ("UPDATE observations SET rainfall = 68 WHERE rainfall = 67", _page, "of batch"),
    "a batch's entry": ("UPDATE batches SET who = 'otto' WHERE note = 'late'", _active, "batch"),
    "a withdrawal": ("UPDATE batches SET withdrawn = NULL", _active, "batch"),
    "moments": (
        "UPDATE batches SET moments = (SELECT moments FROM batches WHERE rows = 1) WHERE rows = 15",
        _learn,
        "the moments of batch",
    ),
    "an answer": (
        "UPDATE answers SET body = replace(body, 'accepted', 'rejected')",
        _answer,
        "the answer under the idempotency key 'harvest-2026'",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_and_not_learned(observations: Observations, url: str, name: str) -> None:
    """Whatever is not what was written is named when it is read, and by a look at all."""
    _page(observations)
    statement, look, told = DAMAGE[name]
    _execute(url, statement)
    with pytest.raises(StoreDamaged, match=told):
        look(observations)
    with observations.reading() as transaction:
        assert any(told in fault for fault in transaction.faults())


def test_damage_gets_no_new_checksum(observations: Observations, url: str) -> None:
    """A damaged batch cannot be withdrawn or restored, which would vouch for it anew."""
    with observations.reading() as transaction:
        batch = transaction.all()[3]
    _execute(url, "UPDATE batches SET who = 'otto' WHERE note = 'late'")
    for change in ("withdraw", "restore"):
        with pytest.raises(StoreDamaged), observations.transaction() as transaction:
            getattr(transaction, change)(batch.id, "anna", "why")


def test_a_newer_database_is_refused(observations: Observations, url: str) -> None:
    """Nothing is read or written where a later version has been at work."""
    _page(observations)
    _execute(url, "UPDATE orchard_format SET number = 99")
    for use in (observations.reading, observations.transaction):
        with pytest.raises(StoreTooNew, match=r"newer version of Orchard \(format 99"), use():
            """Never reached."""


def test_what_cannot_be_read_is_damage(tmp_path: Path) -> None:
    """A time or a text that cannot be decoded is no error of the program."""
    shutil.copy(GOLDEN / "sqlite" / "observations.db", tmp_path)
    path = tmp_path / "observations.db"
    url = f"sqlite:///{path}"
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE batches SET created = 'yesterday' WHERE rows = 15")
        database.execute("UPDATE observations SET region = CAST(X'ff41' AS TEXT) WHERE region = 'K'")
        database.commit()
    observations = Observations(url)
    for look in (_page, _active):
        with pytest.raises(StoreDamaged):
            look(observations)
    observations.close()


def test_rows_without_their_batch_are_seen_at_the_start(tmp_path: Path) -> None:
    """A batch whose number has changed leaves its rows behind."""
    shutil.copy(GOLDEN / "sqlite" / "observations.db", tmp_path)
    path = tmp_path / "observations.db"
    assert database_fault(f"sqlite:///{path}") is None
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE batches SET sequence = 77 WHERE rows = 15")
        database.commit()
    assert "rows of a batch that is not there" in (database_fault(f"sqlite:///{path}") or "")


def test_an_earlier_database_gets_its_cells(observations: Observations) -> None:
    """Each batch's rows by region and season, as if they were stored today."""
    with observations.reading() as transaction:
        batches = transaction.all()
        found, missing = transaction.cells(batches)
        rows = transaction.page(1_000, None)
    assert missing == 0
    for crop, each in found.items():
        pairs = [
            {(row.region, row.season) for row in rows if row.batch == batch.id and crop in row.yields}
            for batch in batches
        ]
        assert [len(cells.count) for cells in each] == [len(names) for names in pairs if names]
    (first, *_) = found["mango"]
    of_batch = [row for row in rows if row.batch == batches[0].id]
    assert set(first.regions) == {row.region for row in of_batch} - {None}
    assert first.count.sum() == len(of_batch)
    unnamed = [row.yields["mango"] for row in of_batch if row.region is None]
    assert first.mean[first.region < 0, -1].tolist() == [pytest.approx(sum(unnamed) / len(unnamed))]


def test_a_damaged_batch_gets_no_cells(url: str) -> None:
    """Neither one whose entry is not what was written, nor one of whose rows one is not; the others do."""
    engine = sql.create_engine(url)
    with pytest.MonkeyPatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 3)
        stored.bring_up_to_date(connection)
    engine.dispose()
    _execute(
        url,
        "UPDATE batches SET who = 'otto' WHERE rows = 15",
        'UPDATE observations SET temperature = 71 WHERE "row" = 0 AND batch = '
        "(SELECT sequence FROM batches WHERE rows = 2)",
    )
    observations = Observations(url)
    with observations.reading() as transaction:
        assert len(list(transaction.faults())) == 2
    observations.close()
    engine = sql.create_engine(url)
    with engine.connect() as connection:
        query = "SELECT rows, cells IS NULL FROM batches ORDER BY sequence"
        assert [(rows, bool(none)) for rows, none in connection.execute(sql.text(query))] == [
            (15, True),
            (3, False),
            (1, False),
            (2, True),
            (3, False),
        ]
    engine.dispose()


@pytest.mark.parametrize("change", ["cells_sha256 = 'x'", "cells = moments, cells_sha256 = moments_sha256"])
def test_cells_that_are_not_what_was_written(observations: Observations, url: str, change: str) -> None:
    """They are told, by the batch's checksum or their own, and not learned from."""
    with observations.reading() as transaction:
        batch = transaction.all()[0]
    _execute(url, f"UPDATE batches SET {change} WHERE rows = 15")  # noqa: S608 - ours
    with observations.reading() as transaction:
        told = list(transaction.faults())
        with pytest.raises(StoreDamaged, match="the cells of batch"):
            transaction.cells([batch])
    assert any("cells of batch" in sentence for sentence in told)


def test_a_table_whose_definition_is_no_text(tmp_path: Path) -> None:
    """What SQLite says of it cannot be decoded: it is damage all the same."""
    path = tmp_path / "observations.db"
    path.write_bytes((GOLDEN / "sqlite" / "observations.db").read_bytes())
    url = f"sqlite:///{path}"
    observations = Observations(url)
    with observations.reading() as transaction:
        assert transaction.all()
    observations.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE orchard_format", b"CREATE TABLE\xa0orchard_format"))
    assert database_fault(url) == "the observations' database is damaged: its tables are not what they were"
    assert not has_trainings(url)
    damaged = Observations(url)
    with pytest.raises(StoreDamaged), damaged.reading():
        """It is not read."""
    damaged.close()


def test_cells_that_are_gone_are_told(observations: Observations, url: str) -> None:
    """A batch that had cells and has none now is damaged."""
    with observations.reading() as transaction:
        batch = transaction.all()[0]
    _execute(url, "UPDATE batches SET cells = NULL WHERE rows = 15")
    with observations.reading() as transaction, pytest.raises(StoreDamaged, match="the cells of batch"):
        transaction.cells([batch])


def test_cells_may_have_many_long_names() -> None:
    """More than a header of safetensors holds: 40 000 names of 200 characters."""
    names = Names.of(f"{number:0199}é" for number in range(40_000))
    cells = {"corn": Cells.of(names, Names.of([None] * 40_000), np.ones((40_000, 4)))}
    packed = stored.packed_cells(cells)
    found = stored.unpacked_cells(packed["cells"])["corn"]
    assert list(found.regions) == list(names.names)
    assert stored.packed_cells({}) == stored.packed_cells(None) == {"cells": None, "cells_sha256": None}


def _format_4(url: str) -> None:
    """Leave a database as the version before records left it."""
    engine = sql.create_engine(url)
    with pytest.MonkeyPatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 4)
        stored.bring_up_to_date(connection)
    with engine.connect() as connection:
        assert "record" not in {column["name"] for column in sql.inspect(connection).get_columns("batches")}
        assert connection.execute(sql.text("SELECT number FROM orchard_format")).scalar() == 4
    engine.dispose()


def _record() -> dict[str, Sketch]:
    z = np.array([0.5, -1.7, 3.0, 0.0])
    return {"blé": Sketch.of(["2025", None, "2026", "2025"], z, 2.2, 1.4), "mango": Sketch.of(["été"], z[:1], 2.2, 1.4)}


def _arrays(record: dict[str, Sketch] | None) -> object:
    assert record is not None
    return [
        (crop, of.seasons, {name: each.tolist() for name, each in of.to_arrays("").items()})
        for crop, of in record.items()
    ]


def test_a_database_of_format_4_is_brought_up_to_date(url: str) -> None:
    """Its batches have no record, which can be kept once."""
    _format_4(url)
    observations = Observations(url)
    with observations.transaction() as transaction:
        batches = transaction.all()
        assert transaction.records(batches) == {batch.id: None for batch in batches}
        transaction.keep_record(batches[0].id, _record())
        transaction.keep_record(batches[2].id, {})
        transaction.keep_record(batches[0].id, {})
    with observations.reading() as transaction:
        found = transaction.records(transaction.all())
        assert list(transaction.faults()) == []
        assert transaction.all() == batches
    observations.close()
    assert _arrays(found[batches[0].id]) == _arrays(_record())
    assert [found[batch.id] for batch in batches[1:]] == [None, {}, None, None]


def test_what_was_damaged_before_records_is_told_after(url: str) -> None:
    """A batch that was not what was written in format 4 is not vouched for in the next."""
    _format_4(url)
    _execute(url, "UPDATE batches SET who = 'otto' WHERE note = 'late'")
    observations = Observations(url)
    with observations.reading() as transaction:
        (fault,) = transaction.faults()
    observations.close()
    assert "is damaged" in fault


def test_a_record_stays_with_its_batch(observations: Observations) -> None:
    """Whatever becomes of that; only the records that are asked for are read."""
    with observations.transaction() as transaction:
        first, second, *_ = transaction.all()
        transaction.keep_record(first.id, _record())
        transaction.withdraw(first.id, "anna", "")
        transaction.restore(first.id, "anna", "")
    with observations.reading() as transaction:
        assert _arrays(transaction.records([first])[first.id]) == _arrays(_record())
        assert transaction.records([second]) == {second.id: None}
        assert transaction.records([]) == {}
        assert list(transaction.faults()) == []


@pytest.mark.parametrize(
    "change",
    [
        "record_sha256 = 'x'",
        "record = NULL",
        "record_sha256 = NULL",
        "record = moments, record_sha256 = moments_sha256",
    ],
)
def test_a_record_that_is_not_what_was_written(observations: Observations, url: str, change: str) -> None:
    """It is told, by the batch's checksum or its own, and not taken for one, nor for none."""
    with observations.transaction() as transaction:
        batch = transaction.all()[0]
        transaction.keep_record(batch.id, _record())
    _execute(url, f"UPDATE batches SET {change} WHERE rows = 15")  # noqa: S608 - ours
    with observations.reading() as transaction:
        told = list(transaction.faults())
        with pytest.raises(StoreDamaged, match="the record of batch"):
            transaction.records([batch])
    assert any("the record of batch" in sentence for sentence in told)


def test_every_bit_of_a_record_is_looked_at(observations: Observations, url: str) -> None:
    """A batch whose record is damaged can be withdrawn, and then keeps no training from going on."""
    with observations.transaction() as transaction:
        batch, other, *_ = transaction.all()
        transaction.keep_record(batch.id, _record())
    content = stored.packed_record(_record())["record"]
    engine = sql.create_engine(url)
    for place in range(0, len(content), 331):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        with engine.begin() as connection:
            change = sql.update(stored.BATCHES).where(stored.BATCHES.c.id == batch.id).values(record=bytes(damaged))
            connection.execute(change)
        with observations.reading() as transaction, pytest.raises(StoreDamaged, match="withdraw the batch"):
            transaction.records([batch, other])
    engine.dispose()
    with observations.transaction() as transaction:
        transaction.withdraw(batch.id, "anna", "its record is damaged")
    with observations.reading() as transaction:
        assert set(transaction.records(transaction.active())) == {one.id for one in transaction.active()}


def test_a_record_is_what_was_packed() -> None:
    """Crops and seasons of any name; no crop at all; what is none is refused."""
    assert _arrays(stored.unpacked_record(stored.packed_record(_record())["record"])) == _arrays(_record())
    assert stored.unpacked_record(stored.packed_record({})["record"]) == {}
    long = {"é" * 200: Sketch.of([f"{number:0199}東" for number in range(500)], np.zeros(500), 2.2, 1.4)}
    assert _arrays(stored.unpacked_record(stored.packed_record(long)["record"])) == _arrays(long)
    tensors = safetensors.numpy.load(stored.packed_record(_record())["record"])
    spoilt = (
        {"crops": tensors["crops"]},
        tensors | {"0/seasons": tensors["1/seasons"]},
        tensors | {"0/seasons": np.frombuffer(b"7", np.uint8)},
        tensors | {"0/bins": tensors["0/bins"][:, :-1]},
        tensors | {"0/count": tensors["0/count"] + 1},
    )
    for wrong in spoilt:
        with pytest.raises((ValueError, KeyError, TypeError)):
            stored.unpacked_record(safetensors.numpy.save(wrong))


def _format_5(url: str) -> None:
    """Leave a database as the version before absent features left it: weather is never NULL."""
    engine = sql.create_engine(url)
    with pytest.MonkeyPatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 5)
        stored.bring_up_to_date(connection)
    with engine.connect() as connection:
        columns = {column["name"]: column for column in sql.inspect(connection).get_columns("observations")}
        assert not any(columns[name]["nullable"] for name in ("temperature", "rainfall", "humidity"))
    engine.dispose()


def test_a_database_of_format_5_is_brought_up_to_date(url: str) -> None:
    """Its rows are as they were, with their checksums; from then on weather may be NULL, and no batch without rows."""
    _format_5(url)
    engine = sql.create_engine(url)
    everything = sql.text('SELECT * FROM observations ORDER BY batch, "row"')
    with engine.connect() as connection:
        before = [dict(row) for row in connection.execute(everything).mappings()]
    later = {"forecast": None, "harvested": None}  # what format 7 has beside them
    observations = Observations(url)
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []
        assert len(transaction.page(100, None)) == len(before)
    with engine.connect() as connection:
        inspected = sql.inspect(connection)
        assert [dict(row) for row in connection.execute(everything).mappings()] == [row | later for row in before]
        columns = {column["name"]: column for column in inspected.get_columns("observations")}
        assert all(columns[name]["nullable"] for name in ("temperature", "rainfall", "humidity"))
        assert not columns["yields"]["nullable"]
        assert inspected.get_pk_constraint("observations")["constrained_columns"] == ["batch", "row"]
        (reference,) = inspected.get_foreign_keys("observations")
        assert (reference["referred_table"], reference["referred_columns"]) == ("batches", ["sequence"])
        assert "observations_of_5" not in inspected.get_table_names()
    engine.dispose()
    observations.close()


def test_what_was_damaged_before_weather_could_be_null_is_told_after(url: str) -> None:
    """A row that was not what was written in format 5 is copied as it is."""
    _format_5(url)
    _execute(url, "UPDATE observations SET humidity = humidity + 1 WHERE region = 'L'")
    observations = Observations(url)
    with observations.reading() as transaction:
        faults = list(transaction.faults())
    observations.close()
    assert faults
    assert all("is damaged" in fault for fault in faults)


def test_a_program_of_before_refuses_it(observations: Observations, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take what is NULL for a number."""
    _page(observations)
    monkeypatch.setattr(stored, "DATABASE", 5)
    before = Observations(url)
    with pytest.raises(StoreTooNew, match=r"format 8; this one reads up to 5"), before.reading():
        """Never reached."""
    before.close()


def test_a_database_of_format_6_is_brought_up_to_date(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are as they were, with their checksums, and say nothing of forecasts; there is room for both."""
    engine = sql.create_engine(url)
    with monkeypatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 6)
        stored.bring_up_to_date(connection)
        for index in (stored.BY_PLACE, stored.BY_FORECAST):
            index.drop(connection, checkfirst=True)
        there = {column["name"] for column in sql.inspect(connection).get_columns("observations")}
        for name in {"forecast", "harvested"} & there:  # the tables of format 6 were made without these
            connection.execute(sql.text(f"ALTER TABLE observations DROP COLUMN {name}"))
        for table in (stored.FORECASTS, stored.FORECAST_BATCHES):
            table.drop(connection)
        before = connection.execute(sql.text('SELECT * FROM observations ORDER BY batch, "row"')).all()
    assert len(before[0]) == stored.SUM + 1
    observations = Observations(url)
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []
        assert transaction.forecasts.batches(1, None) == []
        rows = transaction.page(100, None)
    assert [(row.forecast, row.harvested) for row in rows] == [(None, None)] * len(before)
    with engine.connect() as connection:
        after = connection.execute(sql.text('SELECT * FROM observations ORDER BY batch, "row"')).all()
        indexes = {index["name"] for index in sql.inspect(connection).get_indexes("observations")}
    engine.dispose()
    assert [tuple(row) for row in after] == [(*row, None, None) for row in before]
    assert {"observations_place", "observations_forecast"} <= indexes
    observations.close()


@pytest.mark.long
def test_a_step_may_take_long(postgresql: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL says nothing while it makes an index of many rows: it is waited for, and for nothing else."""
    url = postgresql.database()
    with closing(Observations(url)) as observations, observations.reading():
        pass
    _execute(url, "UPDATE orchard_format SET number = 7")
    monkeypatch.setattr(database, "SILENCE_S", 1.0)
    step = stored.STEPS[8]

    def slow(connection: sql.Connection) -> None:
        connection.execute(sql.text("SELECT pg_sleep(2)"))
        step(connection)

    monkeypatch.setitem(stored.STEPS, 8, slow)
    with closing(database.Database(url)) as again:
        with again.reading() as connection:
            assert stored.is_up_to_date(connection)
        with pytest.raises(StoreUnavailable), again.transaction() as connection:
            connection.execute(sql.text("SELECT pg_sleep(2)"))
