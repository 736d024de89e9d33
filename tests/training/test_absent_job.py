"""Trainings on rows that lack a feature: left out in words, judged fairly, stored as it is, rolled back and forth."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from app.data.observations import Observations
from app.data.provenance import Provenance
from app.data.table_file import TableFile
from app.data.tables import Table, parse_observations
from app.errors import InvalidInput
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from app.training.job import Job
from app.training.order import Order, Recipe
from app.training.report import Report

NAMES = tuple("ABCDEFGH")


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


def _table(
    seed: int, season: int, rows: int = 16, crops: tuple[str, ...] = ("orange",), of_humidity: float = 0.0
) -> Table:
    """Return honest rows of eight regions and as many seasons as it takes."""
    draw = np.random.default_rng(seed)
    weather = np.column_stack([draw.uniform(60, 90, rows), draw.uniform(50, 130, rows), draw.uniform(40, 70, rows)])
    line = 20 + weather @ [0.5, 0.25, of_humidity]
    yields = np.column_stack([line + draw.normal(size=rows) for _ in crops])
    places = [(NAMES[number % 8], str(season + number // 8)) for number in range(rows)]
    regions, seasons = zip(*places, strict=True)
    return Table(regions, seasons, weather, crops, yields)


def _lacking(table: Table, column: int = 2) -> Table:
    weather = table.weather.copy()
    weather[:, column] = np.nan
    return replace(table, weather=weather)


def _run(job: Job, table: Table | TableFile, **more: object) -> Report:
    order = Order(Provenance("test", "tester", ""), table)
    return job.run(replace(order, **more)).report  # type: ignore[arg-type]


def _version(settings: Settings, number: str) -> Version:
    return Registry(Objects(settings.folder)).read(number)


def test_a_first_model_is_learned_without_humidity(job: Job, settings: Settings) -> None:
    """It says so, its card has no number for it, and no earlier program reads its file; a season more is judged."""
    report = _run(job, _lacking(_table(1, 2015, 40)), alone=True)
    assert (report.decision, report.activated) == ("accepted", True)
    assert report.left_out == ["orange: humidity is not in its rows and is left out"]
    card = _version(settings, "1").card
    assert [(feature.minimum, feature.mean) for feature in card.features if feature.name == "humidity"] == [
        (None, None)
    ]
    crop = card.crops["orange"]
    assert (crop.absent_features, crop.constant_features, crop.weights["humidity"]) == (["humidity"], [], 0.0)
    assert crop.standard_errors is not None
    assert crop.condition_number is not None
    assert b'"format":"3"' in (settings.folder / "versions" / "1.safetensors").read_bytes()[:200_000]
    report = _run(job, _lacking(_table(2, 2020)))
    assert report.decision == "accepted"
    assert report.scores["orange"].new.current_rmse is not None
    assert _version(settings, "2").card.record["orange"].rows == 16


def test_a_model_with_all_features_is_written_as_before(job: Job, settings: Settings) -> None:
    """In format 2, and its card has no new field."""
    assert _run(job, _table(1, 2015, 40), alone=True).decision == "accepted"
    content = (settings.folder / "versions" / "1.safetensors").read_bytes()
    assert b'"format":"2"' in content
    assert b"absent_features" not in content


def test_any_two_features_may_be_absent(job: Job, settings: Settings) -> None:
    """One that is left is learned from."""
    report = _run(job, _lacking(_lacking(_table(1, 2015, 40)), 0), alone=True)
    assert report.left_out == [
        "orange: temperature is not in its rows and is left out",
        "orange: humidity is not in its rows and is left out",
    ]
    assert list(_version(settings, "1").model.needed_by) == ["rainfall"]


def test_rows_of_both_kinds_do_without_it(job: Job, settings: Settings) -> None:
    """A crop whose rows all have it keeps it; of the other it is said how many rows lack it."""
    assert _run(job, _table(1, 2010, 80, ("orange", "mango")), alone=True).decision == "accepted"
    report = _run(job, _lacking(_table(2, 2020)))
    assert report.left_out == ["orange: humidity is missing in 16 of 96 rows and is left out"]
    assert report.decision == "accepted"
    asked = [reason for reason in report.reasons if "the current model cannot be asked about them" in reason]
    assert len(asked) == 1
    assert asked[0].startswith("orange: on 16 new rows its out-of-fold error is ")
    assert "it needs humidity; up to" in asked[0]
    scores = report.scores["orange"].new
    assert (scores.current_rmse, scores.candidate_rmse is not None) == (None, True)
    assert report.suspicious == []
    second = _version(settings, "2")
    assert {crop: part.absent_features for crop, part in second.card.crops.items()} == {
        "mango": [],
        "orange": ["humidity"],
    }
    assert second.model.needed_by["humidity"] == ("mango",)
    assert second.model.widest_spread.needed == (True, True, True)
    assert "orange" not in second.records
    assert _run(job, _table(3, 2022, crops=("orange", "mango"))).decision == "accepted"


def test_leaving_out_what_matters_is_refused(job: Job) -> None:
    """The error on new and on old rows tells, and the batch is withdrawn."""
    assert _run(job, _table(1, 2010, 80, of_humidity=0.5), alone=True).decision == "accepted"
    report = _run(job, _lacking(_table(2, 2020, of_humidity=0.5)))
    assert report.decision == "rejected"
    assert ["on 16 new rows" in report.reasons[0], "on the 80 old rows" in report.reasons[1]] == [True, True]
    assert all(reason.endswith("that are allowed") for reason in report.reasons[:2])


def test_it_is_learned_again_once_no_row_lacks_it(job: Job, settings: Settings) -> None:
    """After the batch is withdrawn that lacked it."""
    _run(job, _table(1, 2010, 80), alone=True)
    batch = _run(job, _lacking(_table(2, 2020))).batch
    assert batch is not None
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        transaction.withdraw(batch, "anna", "")
    observations.close()
    report = job.run(Order(Provenance("stored", "tester", ""))).report
    assert report.left_out == []
    assert "humidity" in _version(settings, "3").model.needed_by


def test_versions_with_and_without_it_take_turns(job: Job, settings: Settings) -> None:
    """Each predicts as when it was made, whichever is live."""
    _run(job, _table(1, 2010, 80), alone=True)
    _run(job, _lacking(_table(2, 2020)))
    registry = Registry(Objects(settings.folder))
    weather = [np.array([75.0]), np.array([90.0]), np.array([55.0])]
    before = [_version(settings, number).model.yields(weather, 0.95).tons["orange"] for number in ("1", "2")]
    for number in ("1", "2", "1"):
        registry.activate(number, "anna", "")
        assert registry.live().version.model.yields(weather, 0.95).tons["orange"] == before[int(number) - 1]
    assert _run(job, _lacking(_table(3, 2022))).left_out == [
        "orange: humidity is missing in 32 of 112 rows and is left out"
    ]


def test_stored_rows_are_as_they_were(job: Job, settings: Settings) -> None:
    """With no value where there was none; each with a checksum that is right."""
    table = _lacking(_table(1, 2015, 40))
    _run(job, table, alone=True)
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []
        (batch,) = transaction.all()
        rows = transaction.page(100, None)
        (again,) = transaction.tables(batch)
        means = transaction.rollups.region_means([(batch.sequence, batch.sequence)]).by_region()
    observations.close()
    assert [row.weather[2] for row in rows] == [None] * 40
    assert again.digest == table.digest
    assert all(math.isnan(mean.weather[2]) for mean in means.values())


def test_a_dry_run_says_what_can_be_said(job: Job) -> None:
    """Of regions whose rows have no humidity: nothing by a model that needs it, no NaN anywhere."""
    _run(job, _table(1, 2010, 80), alone=True)
    new = replace(_lacking(_table(2, 2020)), regions=tuple("IJKLMNOPIJKLMNOP"))
    report = _run(job, new, dry_run=True)
    assert report.changes is not None
    by_region = {region.region: region for region in report.changes.regions}
    assert by_region["I"].humidity is None
    assert (by_region["I"].yields["orange"].old, by_region["I"].yields["orange"].new is None) == (None, False)
    assert by_region["A"].humidity is not None
    assert "NaN" not in report.model_dump_json()
    report = _run(job, _lacking(_table(2, 2020)), dry_run=True)
    assert report.changes is not None
    assert all(region.humidity is not None for region in report.changes.regions)


def test_rows_that_come_again_are_known(job: Job) -> None:
    """The same rows without humidity are told as such; with it, or without it, they are other numbers."""
    _run(job, _lacking(_table(1, 2015, 40)), alone=True)
    again = _run(job, _lacking(_table(1, 2015, 40).rows(np.arange(40) < 16)))
    assert again.decision == "rejected"
    assert again.reasons[0].startswith("16 of 16 rows are stored already, with the same region, season and numbers")
    full = _run(job, _table(1, 2015, 40).rows(np.arange(40) < 16))
    assert full.decision == "rejected"
    assert any("orange, humidity" in reason and "stored none)" in reason for reason in full.reasons)


def test_units_are_looked_at_all_the_same(job: Job) -> None:
    """Of the columns that there are; of one that training lacks what is possible at all."""
    _run(job, _lacking(_table(1, 2015, 40)), alone=True)
    table = _table(2, 2020)
    weather = table.weather.copy()
    weather[:, 0] = (weather[:, 0] - 32) / 1.8
    report = _run(job, _lacking(replace(table, weather=weather)), dry_run=True)
    assert any("temperature: 16 of 16 rows" in reason and "in °C" in reason for reason in report.reasons)
    shares = table.weather.copy()
    shares[:, 2] /= 100
    report = _run(job, replace(table, weather=shares), dry_run=True)
    assert any("humidity: 16 of 16 rows" in reason and "a share of 1" in reason for reason in report.reasons)
    assert _run(job, table, dry_run=True).decision == "accepted"


def test_the_tutorials_recipe_needs_them_all(job: Job) -> None:
    """Its tensors have no gaps."""
    with pytest.raises(
        InvalidInput, match="the tutorial recipe needs temperature, rainfall, humidity, and the table has no"
    ):
        _run(job, _lacking(_table(1, 2015, 40)), alone=True, recipe=Recipe("tutorial"))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_without_the_column(job: Job, settings: Settings, tmp_path: Path, kind: str) -> None:
    """CSV and Parquet alike, to the same rows; columns that are there must have values."""
    table = _table(1, 2015, 40)
    columns = {
        "region": table.regions,
        "season": table.seasons,
        "temperature": table.weather[:, 0],
        "rainfall": table.weather[:, 1],
        "orange": table.yields[:, 0],
    }
    path = tmp_path / f"harvest.{kind}"
    if kind == "csv":
        lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    else:
        parquet.write_table(pa.table(columns), path)
    report = _run(job, TableFile(path), alone=True)
    assert report.left_out == ["orange: humidity is not in its rows and is left out"]
    assert _version(settings, "1").card.rows.total == 40


def test_an_empty_cell_is_a_fault_still() -> None:
    """Only a column that is not there is absent."""
    for cells in ("70,80,\n", "70,80,50\n70,80,\n"):
        with pytest.raises(InvalidInput, match="column humidity: the cell is empty"):
            parse_observations(f"temperature,rainfall,humidity,corn\n{cells.replace(chr(10), ',1' + chr(10))}".encode())


def test_a_large_file_without_the_column(
    job: Job, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are not held, and are counted by season."""
    monkeypatch.setattr("app.data.harvest.HELD_ROWS", 100)
    draw = np.random.default_rng(4)
    rows = 3_000
    weather = draw.uniform(50, 90, (rows, 2))
    columns = {
        "region": [f"region {n % 300}" for n in range(rows)],
        "season": [str(2015 + n // 300) for n in range(rows)],
        "temperature": weather[:, 0],
        "rainfall": weather[:, 1],
        "corn": 20 + weather @ [0.5, 0.25] + draw.normal(size=rows),
    }
    path = tmp_path / "large.parquet"
    parquet.write_table(pa.table(columns), path)
    report = _run(job, TableFile(path), alone=True)
    assert "corn: humidity is not in its rows and is left out" in report.left_out
    full = _run(job, TableFile(path), activate="always")
    assert full.left_out[0] == "corn: humidity is not in its rows and is left out"
    assert _version(settings, "2").card.crops["corn"].rows == 2 * rows
