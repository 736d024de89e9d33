"""Forecasts in the database: as they were said, found again, erased; on SQLite and PostgreSQL."""

import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sql

from app.data.forecasts import ForecastBatch, Foretold, Wanted, among
from app.data.harvest import Harvest
from app.data.observations import Batch, KeptAnswer, Observations, Transaction
from app.data.provenance import Once, Provenance
from app.data.stored import FORECAST_BATCHES, FORECASTS, OBSERVATIONS, SCHEMA
from app.data.tables import Table
from app.errors import IdTaken, NotFound, StoreDamaged
from app.serving.retention import Retention
from tests.postgresql import Cluster

FROM = Provenance("test", "anna", "spring")
NOW = datetime.now(UTC)
DIGEST = "89810679cb17cece251c484500bcf9fde05d995a353adc2017bba21465a96c2e"
"""Of two rows, by the program of format 6."""


def _told(*places: str, season: str = "2027", ids: list[str | None] | None = None) -> Foretold:
    """Return forecasts of two crops for some regions, all numbers different; of rye there is no interval."""
    rows = len(places)
    yields = np.arange(rows * 6, dtype=np.float64).reshape(rows, 2, 3) / 7
    yields[:, 1, 1:] = np.nan
    return Foretold(
        ids or [None] * rows,
        places,
        [season] * rows,
        ["2027-09-30", *[None] * (rows - 1)],
        np.array([[70.5, np.nan, -0.0]] * rows),
        ("mango", "rye"),
        yields,
        [row % 2 == 1 for row in range(rows)],
        [["dry, and “hot”"] * (row % 2) for row in range(rows)],
    )


def _add(observations: Observations, told: Foretold, *, days_ago: float = 0.0) -> ForecastBatch:
    batch = replace(ForecastBatch.of("3", 0.8, told, FROM), created=NOW - timedelta(days=days_ago))
    with observations.transaction() as transaction:
        transaction.forecasts.add(batch, told)
    return batch


def _report(
    observations: Observations, region: str | None, season: str | None, crop: str, forecast: str | None = None
) -> str:
    said = None if forecast is None else [forecast]
    weather, tons = np.array([[70.0, 60, 50]]), np.array([[9.5]])
    harvest = Harvest.of(Table([region], [season], weather, (crop,), tons, forecasts=said))
    batch = Batch.of(harvest, FROM)
    with observations.transaction() as transaction:
        transaction.add(batch, harvest)
    return batch.id


def _ids(observations: Observations, wanted: Wanted, limit: int = 100) -> list[str]:
    found: list[str] = []
    after = None
    with observations.reading() as transaction:
        while True:
            page, after = transaction.forecasts.page(limit, after, wanted)
            found += [each.id for each in page]
            if after is None:
                return found


def test_what_was_said_is_kept(observations: Observations) -> None:
    """To the bit: numbers, also those that are none; names, days, warnings; version and level."""
    told = _told("A", "Brüssel", "C", ids=[None, "b", None])
    batch = _add(observations, told)
    with observations.reading() as transaction:
        entry, found = transaction.forecasts.of_batch(batch.id)
        page, following = transaction.forecasts.page(2, None)
        rest, end = transaction.forecasts.page(2, following)
        assert list(transaction.faults()) == []
    assert entry == batch
    assert found.yields.tobytes() == told.yields.tobytes()
    np.testing.assert_array_equal(found.weather, told.weather)
    assert (found.regions, found.dues) == (["A", "Brüssel", "C"], ["2027-09-30", None, None])
    assert (found.warnings, found.extrapolated) == ([(), ("dry, and “hot”",), ()], [False, True, False])
    assert [each.id for each in (*page, *rest)] == [f"{batch.id}-0", "b", f"{batch.id}-2"]
    assert end is None
    assert page[0].yields == {"mango": (0.0, 1 / 7, 2 / 7), "rye": (3 / 7, None, None)}
    assert (page[0].batch.version, page[0].batch.level) == ("3", 0.8)


def test_an_id_is_given_once(observations: Observations) -> None:
    """Neither one that somebody chose nor one that was made; nothing of the batch is stored then."""
    batch = _add(observations, _told("A", "B", ids=["mine", None]))
    for taken in ("mine", f"{batch.id}-1"):
        with pytest.raises(IdTaken, match=f"row 2: a forecast has the id '{taken}' already"):
            _add(observations, _told("C", "D", ids=["other", taken]))
    _add(
        observations, _told("C", "D", ids=[f"{batch.id}-0", f"{batch.id}-9"])
    )  # row 0 has another id, and there is no row 9
    with observations.reading() as transaction:
        assert [each.rows for each in transaction.forecasts.batches(10, None)] == [2, 2]


def test_those_without_an_outcome_are_found(observations: Observations) -> None:
    """An outcome is found by the id, or by region and season, of a crop that was forecast; none that was withdrawn."""
    batch = _add(observations, _told("A", "B", "Été", "D", "E", ids=[None, "b", None, None, None]))
    everything = [f"{batch.id}-0", "b", *(f"{batch.id}-{row}" for row in (2, 3, 4))]
    assert _ids(observations, Wanted(is_open=True)) == everything
    _report(observations, "A", "2026", "mango")
    _report(observations, "A", "2027", "wheat")
    assert _ids(observations, Wanted(is_open=True), limit=2) == everything
    _report(observations, "A", "2027", "rye")
    _report(observations, None, None, "mango", forecast="b")
    _report(observations, None, None, "mango", forecast=f"{batch.id}-4")
    _report(observations, "E\u0301te\u0301", "2027", "mango")  # as version 0.1.0 may have stored it
    assert _ids(observations, Wanted(is_open=True)) == [everything[3]]
    gone = _report(observations, "D", "2027", "mango")
    assert _ids(observations, Wanted(is_open=True)) == []
    with observations.transaction() as transaction:
        transaction.withdraw(gone, "anna", "")
    assert _ids(observations, Wanted(is_open=True)) == [everything[3]]
    assert _ids(observations, Wanted(region="E\u0301te\u0301 ")) == [everything[2]]
    assert _ids(observations, Wanted(season="2026")) == []


def test_places_and_rows_are_looked_up_in_an_index() -> None:
    """SQLite reads no whole table for some places or ids: scores of many forecasts would read it thousands of times."""
    place = OBSERVATIONS.c.region, OBSERVATIONS.c.season
    entry = FORECAST_BATCHES.c.id, FORECASTS.c.row
    rows = sql.select(FORECASTS.c.row).join(FORECAST_BATCHES, FORECASTS.c.batch == FORECAST_BATCHES.c.sequence)
    asked = {
        sql.select(OBSERVATIONS).where(among(place, [("A", "2026"), ("B", "2027")])): 1,
        rows.where(among(entry, [("a" * 32, 1), ("b" * 32, 2)])): 2,
    }
    engine = sql.create_engine("sqlite://")
    with engine.connect() as connection:
        SCHEMA.create_all(connection)
        for query, tables in asked.items():
            text = query.compile(engine, compile_kwargs={"literal_binds": True})
            steps = [row[-1] for row in connection.execute(sql.text(f"EXPLAIN QUERY PLAN {text}"))]
            assert sum(step.startswith("SEARCH") for step in steps) == tables, steps
            assert [step for step in steps if re.match(r"SCAN (observations|forecast)", step)] == []
    engine.dispose()


def test_a_page_of_those_without_an_outcome_is_bounded(
    observations: Observations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many have one: such a page is short, and leads on."""
    monkeypatch.setattr("app.data.forecasts.LOOKED_AT", 40)
    _add(observations, _told(*["A"] * 100, "B"))
    _report(observations, "A", "2027", "mango")
    with observations.reading() as transaction:
        page, following = transaction.forecasts.page(5, None, Wanted(is_open=True))
    assert (page, following is not None) == ([], True)
    assert len(_ids(observations, Wanted(is_open=True), limit=5)) == 1


def test_a_batch_is_erased(observations: Observations) -> None:
    """All of it, and nothing else; its ids may be given again."""
    first, second = _add(observations, _told("A", ids=["a"])), _add(observations, _told("B", ids=["b"]))
    with observations.transaction() as transaction:
        assert transaction.forecasts.erase(first.id) == 1
    with pytest.raises(NotFound), observations.transaction() as transaction:
        transaction.forecasts.erase(first.id)
    assert _ids(observations, Wanted()) == ["b"]
    with observations.transaction() as transaction:
        transaction.forecasts.erase(second.id)
    with observations.reading() as transaction:
        _, before = transaction.forecasts.page(1, "2-0")
    _add(observations, _told("C", ids=["a"]))
    assert before is None
    with observations.reading() as transaction:
        assert [each.cursor for each in transaction.forecasts.page(1, "2-0")[0]] == ["3-0"]  # no place is given again


def test_old_ones_without_an_outcome_are_forgotten(observations: Observations) -> None:
    """Where the outcome was withdrawn they stay; a batch goes with its last one, and a look goes on where it was."""
    old = _add(observations, _told("A", "B", "C", "D"), days_ago=40)
    gone = _add(observations, _told("X", "Y"), days_ago=31)
    young = _add(observations, _told("A", "B"), days_ago=29)
    for region in ("B", "D"):
        withdrawn = _report(observations, region, "2027", "mango")
    with observations.transaction() as transaction:
        transaction.withdraw(withdrawn, "anna", "")
    looks = Retention(30, lambda: NOW)
    assert [looks.look(observations, at_a_time=1, most=3) for _ in range(3)] == [2, 2, 0]
    assert _ids(observations, Wanted()) == [f"{old.id}-1", f"{old.id}-3", f"{young.id}-0", f"{young.id}-1"]
    with observations.reading() as transaction:
        assert [(each.id, each.rows, each.erased) for each in transaction.forecasts.batches(10, None)] == [
            (young.id, 2, 0),
            (old.id, 4, 2),
        ]
        assert list(transaction.faults()) == []
        with pytest.raises(NotFound):
            transaction.forecasts.of_batch(gone.id)


DAMAGE = {
    "a number": ("UPDATE forecasts SET temperature = 71 WHERE region = 'B'", "forecast 1 of batch"),
    "a region": ("UPDATE forecasts SET region = 'X' WHERE region = 'A'", "forecast 0 of batch"),
    "a warning": ("UPDATE forecasts SET warnings = NULL WHERE region = 'B'", "forecast 1 of batch"),
    "a level": ("UPDATE forecast_batches SET level = 0.9", "the batch of forecasts"),
    "yields": (
        "UPDATE forecasts SET yields = (SELECT f.yields FROM forecasts f WHERE f.region = 'B') WHERE region = 'A'",
        "forecast 0 of batch",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(observations: Observations, url: str, name: str) -> None:
    """By whatever reads it, and by a look at all; it is never forgotten for it, and it can be erased."""
    batch = _add(observations, _told("A", "B"), days_ago=50)
    statement, told = DAMAGE[name]
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text(statement))
    engine.dispose()
    with pytest.raises(StoreDamaged, match=told), observations.reading() as transaction:
        transaction.forecasts.page(10, None)
    with observations.reading() as transaction:
        assert any(told in fault for fault in transaction.faults())
    Retention(30).look(observations)
    with observations.reading() as transaction:
        assert any(told in fault for fault in transaction.faults())
    with observations.transaction() as transaction:
        transaction.forecasts.erase(batch.id)


def test_a_lost_row_is_told(observations: Observations, url: str) -> None:
    """A batch says how many there were."""
    batch = _add(observations, _told("A", "B"))
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM forecasts WHERE region = 'B'"))
    engine.dispose()
    with observations.reading() as transaction:
        assert list(transaction.faults()) == [f"batch {batch.id} has 1 forecasts in the database, not 2"]


def test_observations_say_what_they_are_the_outcome_of(observations: Observations) -> None:
    """Their columns are kept and summed up; a batch without them has the digest that it had before there were any."""
    weather, tons = np.array([[70.0, 60, 50]] * 2), np.array([[1.0], [2.0]])
    plain = Table(["A", "B"], [None, None], weather, ("mango",), tons)
    said = replace(plain, forecasts=["x", None], harvested=[None, "2027-10-01"])
    assert plain.digest == DIGEST
    assert said.digest != plain.digest
    for each in (plain, said):
        harvest = Harvest.of(each)
        with observations.transaction() as transaction:
            transaction.add(Batch.of(harvest, FROM), harvest)
            columns = transaction.outcome_columns()
        assert columns == (() if each is plain else ("forecast", "harvested"))
    with observations.reading() as transaction:
        rows = transaction.page(10, None)
        assert list(transaction.faults()) == []
    assert [(row.forecast, row.harvested) for row in rows] == [(None, None)] * 2 + [("x", None), (None, "2027-10-01")]


@pytest.mark.parametrize("column", ["forecast", "harvested"])
def test_damage_of_an_outcome_is_told(observations: Observations, url: str, column: str) -> None:
    """Also where there was none before."""
    _report(observations, "A", "2027", "mango")
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text(f"UPDATE observations SET {column} = 'x'"))  # noqa: S608 - a name of ours
    engine.dispose()
    with pytest.raises(StoreDamaged), observations.reading() as transaction:
        transaction.page(10, None)


def test_a_call_repeated_in_the_same_moment_has_the_first_ones_answer(postgresql: Cluster) -> None:
    """Though its ids are taken by then: by itself."""
    url, once, told = postgresql.database(), Once("key", "the same"), _told("A", ids=["a"])
    with closing(Observations(url)) as first, closing(Observations(url)) as second:
        answers: list[KeptAnswer | None] = []

        def add(transaction: Transaction) -> None:
            transaction.forecasts.add(ForecastBatch.of("3", 0.8, told, FROM), told)

        def add_behind(transaction: Transaction) -> None:
            if not answers:
                answers.append(first.write_once(once, "of the first", add))
            add(transaction)

        answers.append(second.write_once(once, "of the second", add_behind))
        assert answers == [None, KeptAnswer("of the first")]
        assert _ids(first, Wanted()) == ["a"]
        with pytest.raises(IdTaken):
            second.write_once(Once("another", "call"), "of a third", add)
