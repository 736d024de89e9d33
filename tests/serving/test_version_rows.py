"""The rows of a version beside what is predicted of them, in either database: whichever rows it learned, and how."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.data import harvest
from app.data.observations import Observations, Transaction
from app.data.provenance import Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.errors import InvalidInput, NotFound, StoreDamaged
from app.serving import version_rows as module
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order, Recipe
from app.wire import records
from app.wire.schemas import ResidualPage
from tests.panels import with_effects


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return settings of an empty store, with either database."""
    if request.param == "SQLite":
        return Settings(model_store=tmp_path / "store")
    url = request.getfixturevalue("postgresql").database()
    return Settings(model_store=tmp_path / "store", database_url=url)


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on it."""
    job = Job(settings)
    yield job
    job.close()


def _of(settings: Settings, version: str = "1", crop: str | None = None) -> ResidualPage:
    observations = Observations(settings.database)
    try:
        return records.residuals(Registry(open_store(settings)), observations, version, crop)
    finally:
        observations.close()


def _learn(job: Job, table: Table | TableFile, *, alone: bool = False, recipe: Recipe | None = None) -> str:
    order = Order(Provenance("test.csv", "test"), table, activate="always", alone=alone, recipe=recipe or Recipe())
    version = job.run(order).report.version
    assert version is not None
    return version


def _check(settings: Settings, page: ResidualPage) -> None:
    """The rows of each crop, and their error, are those of the card."""
    card = Registry(open_store(settings)).read(page.model_version).card
    assert page.crops.keys() == card.crops.keys()
    for crop, of in page.crops.items():
        told = card.crops[crop]
        assert of.rows == told.rows
        assert of.rmse == pytest.approx(told.out_of_fold.rmse, rel=1e-9)
        assert of.by == told.out_of_fold.by
        shown = [row.yields[crop] for row in page.residuals if crop in row.yields]
        if page.selected_by is None:
            left = [each.tons - (each.out_of_fold or 0.0) for each in shown]
            assert np.sqrt(np.mean(np.square(left))) == pytest.approx(told.out_of_fold.rmse, rel=1e-9)
            assert max(each.leverage for each in shown) == pytest.approx(told.largest_leverage, rel=1e-9)
    assert (page.not_stored, page.reason, page.shown) == (0, None, len(page.residuals))


def test_all_rows_of_all_batches(settings: Settings, job: Job) -> None:
    """Those of the batch before, too, and not those that came later; a crop that a row does not report is not there."""
    table = with_effects()
    _learn(job, table)
    first = _of(settings)
    _check(settings, first)
    assert (first.total, first.level) == (45, 0.95)
    assert [row.region for row in first.residuals] == list(table.regions)
    assert [row.row for row in first.residuals] == list(range(45))
    tons = [
        [row.yields[crop].tons if crop in row.yields else np.nan for crop in table.crops] for row in first.residuals
    ]
    assert np.array_equal(tons, table.yields, equal_nan=True)
    more = replace(table, seasons=tuple(f"later {season}" for season in table.seasons), weather=table.weather + 0.5)
    assert _learn(job, more) == "2"
    both = _of(settings, "2")
    _check(settings, both)
    assert both.total == 90
    assert _of(settings).residuals == first.residuals
    alone = _of(settings, "2", "orange")
    assert (alone.total, list(alone.crops)) == (80, ["orange"])
    assert {crop for row in alone.residuals for crop in row.yields} == {"orange"}
    assert [row.yields["orange"] for row in both.residuals if row.region != "I"] == [
        row.yields["orange"] for row in alone.residuals
    ]


def test_batches_that_were_withdrawn_since(settings: Settings, job: Job, tutorial: Table) -> None:
    """Their rows are there as before, and said to be withdrawn: it was trained on them."""
    _learn(job, tutorial)
    before = _of(settings)
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        transaction.withdraw(before.residuals[0].batch, "test", "wrong")
    observations.close()
    after = _of(settings)
    _check(settings, after)
    assert all(row.withdrawn for row in after.residuals)
    assert [row.model_copy(update={"withdrawn": False}) for row in after.residuals] == before.residuals


def test_seasons_held_out(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few regions, each season by the others, over all batches together: without one of these nothing is said."""
    draw = np.random.default_rng(3)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (24, 3))
    tons = 50 + weather @ [2.0, 0.05, -1.0] + draw.normal(0, 5, 24)
    seasons = tuple(str(2_000 + number // 2) for number in range(24))
    table = Table(("north", "south") * 12, seasons, weather, ("corn",), tons[:, None])
    _learn(job, table.rows(np.arange(24) < 15))
    assert _learn(job, table.rows(np.arange(24) >= 15)) == "2"
    page = _of(settings, "2")
    assert page.crops["corn"].by == "season"
    _check(settings, page)
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        batch = transaction.all()[0]
    observations.close()
    monkeypatch.setattr(Transaction, "learned", lambda *_: [batch])  # the others are of another database
    part = _of(settings, "2")
    assert (part.total, part.not_stored, part.crops["corn"].rows, part.crops["corn"].rmse) == (15, 9, 15, None)
    assert part.residuals[0].yields["corn"].out_of_fold is None
    assert part.residuals[0].yields["corn"].fitted == page.residuals[0].yields["corn"].fitted


def test_a_feature_that_one_batch_lacks(settings: Settings, job: Job) -> None:
    """It is left out for the crop, and null in the rows without it."""
    table = with_effects()
    _learn(job, table)
    weather = table.weather + 1.0
    weather[:, 2] = np.nan
    _learn(job, replace(table, weather=weather, seasons=tuple(f"later {season}" for season in table.seasons)))
    page = _of(settings, "2")
    _check(settings, page)
    assert {row.humidity is None for row in page.residuals[:45]} == {False}
    assert {row.humidity is None for row in page.residuals[45:]} == {True}


def test_rows_that_the_tutorials_recipe_leaves_out(settings: Settings, job: Job) -> None:
    """It learns from those alone that report every crop, and `fitted` is by its own line, which is no least squares."""
    _learn(job, with_effects(), alone=True, recipe=Recipe("tutorial", seed=1))
    page = _of(settings)
    assert page.total == 40
    assert {crop: of.rows for crop, of in page.crops.items()} == {"mango": 40, "orange": 40, "pear": 40}
    card = Registry(open_store(settings)).read("1").card
    row = page.residuals[0]
    weather = {"temperature": row.temperature, "rainfall": row.rainfall, "humidity": row.humidity}
    for crop, of in row.yields.items():
        line = card.crops[crop]
        by_hand = line.intercept + sum(line.weights[name] * (value or 0.0) for name, value in weather.items())
        assert of.fitted == pytest.approx(by_hand, rel=1e-12)


def test_rows_that_were_learned_from_a_file(
    settings: Settings, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one too large to keep there are no points, and it says why; of rows that are stored beside it there are."""
    monkeypatch.setattr(harvest, "HELD_ROWS", 30)
    path = tmp_path / "large.csv"
    draw = np.random.default_rng(1)
    weather = draw.normal([80.0, 70.0, 50.0], [8.0, 25.0, 9.0], (40, 3)).round(2)
    tons = (weather @ [0.4, 0.6, -0.2] + draw.normal(0, 2, 40)).round(2)
    lines = [f"R{number % 9},{','.join(map(str, (*row, tons[number])))}" for number, row in enumerate(weather.tolist())]
    path.write_text("\n".join(["region,temperature,rainfall,humidity,mango", *lines]))
    _learn(job, TableFile(path))
    page = _of(settings)
    assert (page.total, page.shown, page.not_stored, page.residuals) == (0, 0, 40, [])
    assert page.reason == "these rows were learned from a file and not stored: no points"
    assert page.crops["mango"].rmse is None
    table = with_effects()
    few = np.arange(len(table)) < 20
    _learn(job, table.rows(few))
    page = _of(settings, "2")
    assert (page.total, page.not_stored) == (20, 40)
    assert page.reason == "40 of 60 rows were learned from a file and not stored: no points of these"


def test_batches_of_another_database(settings: Settings, job: Job, tutorial: Table, tmp_path: Path) -> None:
    """A version whose database is not the one that is asked has no points, and says so."""
    _learn(job, tutorial)
    other = Settings(model_store=settings.folder, database_url=f"sqlite:///{tmp_path / 'other.db'}")
    page = _of(other)
    assert (page.total, page.not_stored) == (0, 15)
    assert page.reason == (
        "1 of the version's 1 batches are not in this database: the points of 15 of its 15 rows are missing"
    )


def test_of_many_rows_a_choice(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The farthest ones, and others spread over all: their errors are still those of all rows."""
    monkeypatch.setattr(module, "MOST", 20)
    monkeypatch.setattr(module, "READ_AT_ONCE", 7)
    table = with_effects()
    _learn(job, table)
    page = _of(settings)
    _check(settings, page)
    assert (page.total, page.shown) == (45, len(page.residuals))
    assert page.shown <= 20
    assert page.selected_by == (
        "the 10 rows that lie farthest from what is predicted of them out of fold, counted in the RMSE of their crop, "
        "and the first of every 8 rows"
    )
    monkeypatch.undo()
    everything = _of(settings)

    def far(page: ResidualPage) -> list[float]:
        errors = [
            max(abs(of.tons - (of.out_of_fold or 0)) / (page.crops[crop].rmse or 1) for crop, of in row.yields.items())
            for row in page.residuals
        ]
        return sorted(errors, reverse=True)[:10]

    assert far(page) == pytest.approx(far(everything))
    assert set(range(0, 45, 8)) <= {row.row for row in page.residuals}


def test_what_there_is_not(settings: Settings, job: Job, tutorial: Table) -> None:
    """No such version, and no such crop, are named."""
    _learn(job, tutorial)
    with pytest.raises(NotFound, match="there is no version 2"):
        _of(settings, "2")
    with pytest.raises(
        InvalidInput, match=r"query\.crop: version 1 has no crop 'plum': it has mango and orange"
    ) as error:
        _of(settings, "1", "plum")
    assert error.value.errors[0].loc == ("query", "crop")


def test_a_row_that_is_not_what_was_written(settings: Settings, job: Job, tutorial: Table) -> None:
    """Is told as damage, and drawn by nobody; one that is gone is, too."""
    import sqlalchemy as sql  # noqa: PLC0415 - the database from outside

    _learn(job, tutorial)
    engine = sql.create_engine(settings.database)
    with engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM observations WHERE row = 14"))
    with pytest.raises(StoreDamaged, match="has 14 rows in the database, 15 were written"):
        _of(settings)
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE observations SET rainfall = 1 WHERE row = 3"))
    engine.dispose()
    with pytest.raises(StoreDamaged, match=r"row 3 of batch .* is damaged"):
        _of(settings)
