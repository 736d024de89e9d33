"""A database of format 5 is brought up to date with all that others have put beside its rows, and with its damage."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from app.data import stored
from app.data.harvest import Harvest
from app.data.integrity import database_fault
from app.data.observations import Batch, Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.stored_formats import DATABASE
from tests.conftest import ROOT
from tests.postgresql import Cluster

GOLDEN = ROOT / "tests" / "stores" / "0.1.0" / "sqlite" / "observations.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database of format 5."""
    path = tmp_path / "observations.db"
    shutil.copy(GOLDEN, path)
    engine = sql.create_engine(f"sqlite:///{path}")
    with pytest.MonkeyPatch.context() as patch, engine.begin() as connection:
        patch.setattr(stored, "DATABASE", 5)
        stored.bring_up_to_date(connection)
    engine.dispose()
    return path


def _columns(path: Path) -> dict[str, bool]:
    with closing(sqlite3.connect(path)) as database:
        return {name: bool(needed) for _, name, _, needed, *_ in database.execute("PRAGMA table_info(observations)")}


def _read(path: Path) -> list[str]:
    """Bring a database up to date, and return what is wrong with it."""
    observations = Observations(f"sqlite:///{path}")
    with observations.reading() as transaction:
        assert len(transaction.all()) == 5
        faults = list(transaction.faults())
    observations.close()
    return faults


def test_rows_may_lack_weather_afterwards(path: Path) -> None:
    """The rows are the same ones, and their weather need not be there any more."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT * FROM observations ORDER BY batch, row").fetchall()
    assert _read(path) == []
    needed = _columns(path)
    assert not any(needed[name] for name in ("temperature", "rainfall", "humidity"))
    assert needed["yields"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM observations ORDER BY batch, row").fetchall() == [
            (*row, None, None)
            for row in rows  # what format 7 has beside them
        ]
        assert database.execute("SELECT number FROM orchard_format").fetchall() == [(DATABASE,)]
        assert database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%of_5%'").fetchall() == []


def test_what_others_have_put_there_stays(path: Path) -> None:
    """A view, an index and a trigger work as before."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE VIEW mean AS SELECT avg(humidity) FROM observations")
        database.execute("CREATE INDEX by_region ON observations (region)")
        database.execute("CREATE TABLE told (region TEXT)")
        database.execute(
            "CREATE TRIGGER tell AFTER INSERT ON observations BEGIN INSERT INTO told VALUES (new.region); END"
        )
        (before,) = database.execute("SELECT * FROM mean").fetchone()
    assert _read(path) == []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM mean").fetchone() == (pytest.approx(before),)
        plan = database.execute("EXPLAIN QUERY PLAN SELECT * FROM observations WHERE region = 'A'").fetchall()
        assert "by_region" in str(plan)
        assert database.execute("SELECT count(*) FROM told").fetchone() == (0,)  # copied rows are no new ones
        database.execute("INSERT INTO observations (batch, row, region, yields) VALUES (1, 99, 'Z', '{}')")
        assert database.execute("SELECT region FROM told").fetchall() == [("Z",)]


def test_rows_of_a_batch_that_is_gone_stop_nothing(path: Path) -> None:
    """They stay the damage that they were: all the rest is read."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE batches SET sequence = 77 WHERE rows = 15")
        database.commit()
    observations = Observations(f"sqlite:///{path}")
    with observations.reading() as transaction:
        assert len(transaction.page(100, None)) == 24 - 15
        assert any("batch" in fault for fault in transaction.faults())
    observations.close()
    assert "rows of a batch that is not there" in (database_fault(f"sqlite:///{path}") or "")


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database as version 0.1.0 left it."""
    if request.param == "SQLite":
        shutil.copy(GOLDEN, tmp_path)
        return f"sqlite:///{tmp_path / GOLDEN.name}"
    server: Cluster = request.getfixturevalue("postgresql")
    url = server.database()
    server.fill(url, (GOLDEN.parent.parent / "postgresql" / "observations.sql").read_text())
    return url


def test_a_batch_that_lacks_a_feature_comes_back(url: str) -> None:
    """Its rows, moments and cells are those that were stored, beside batches that have it, and nothing is damaged."""
    weather = np.array([[70.0, 100.0, np.nan], [75.5, 90.0, np.nan], [81.0, 130.25, np.nan]])
    tons = np.array([[50.0], [52.5], [61.0]])
    harvest = Harvest.of(Table(("A", "B", "C"), ("2026",) * 3, weather, ("mango",), tons))
    observations = Observations(url)
    batch = Batch.of(harvest, Provenance("test", "anna", ""))
    with observations.transaction() as transaction:
        transaction.add(batch, harvest)
    with observations.reading() as transaction:
        (table,) = transaction.tables(batch)
        np.testing.assert_array_equal(table.weather, weather)
        assert table.digest == harvest.digest
        assert [row.weather for row in transaction.page(100, None)[-3:]] == [
            (*row[:2], None) for row in weather.tolist()
        ]
        alone = transaction.moments([batch])["mango"]
        assert alone.total.absent.tolist() == [False, False, True, False]
        assert transaction.moments(transaction.active())["mango"].total.absent.tolist() == alone.total.absent.tolist()
        cells, missing = transaction.cells([batch])
        assert (missing, cells["mango"][0].lacking.tolist()) == (0, [0.0, 0.0, 3.0, 0.0])
        sequence = transaction.batch(batch.id).sequence
        means = transaction.rollups.region_means([(sequence, sequence)]).by_region()
        assert np.isnan(means["A"].weather).tolist() == [False, False, True]
        assert list(transaction.faults()) == []
    observations.close()
