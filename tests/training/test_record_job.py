"""The record through whole trainings: what yields were predicted as before they were known, batch by batch."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from scipy import stats

from app.data.harvest import Harvest
from app.data.observations import Batch, Observations
from app.data.provenance import Once, Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.errors import StoreUnavailable
from app.model.linear import LinearModel
from app.model.sketch import Sketch
from app.settings import Settings
from app.store.card import RecordCard
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from app.training.job import Job, Outcome
from app.training.order import Order
from tests.panels import with_effects

TEST = Provenance("test", "test")


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on an empty store."""
    job = Job(settings)
    yield job
    job.close()


@pytest.fixture
def observations(settings: Settings) -> Iterator[Observations]:
    """Return what the trainings store."""
    table = Observations(settings.database)
    yield table
    table.close()


def _season(year: int, rows: int = 30, *, noise: float = 5.0, crops: tuple[str, ...] = ("corn", "soy")) -> Table:
    """Return rows of regions that do not differ, half of them of the season after; every fifth one has no soy."""
    draw = np.random.default_rng(year)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (rows, 3))
    tons = {"corn": 200 + weather @ [2.0, 0.05, -1.0], "soy": 90 + weather @ [1.0, 0.01, 0.5]}
    yields = np.column_stack([tons[crop] + draw.normal(0, noise, rows) for crop in crops])
    if "soy" in crops:
        yields[::5, crops.index("soy")] = np.nan
    regions = tuple(f"{year}, {row}" for row in range(rows))
    return Table(regions, tuple(str(year + row % 2) for row in range(rows)), weather, crops, yields)


def _run(job: Job, table: Table | TableFile | None = None, **options: object) -> Outcome:
    return job.run(Order(TEST, table, **options))  # type: ignore[arg-type]


def _version(job: Job, table: Table | TableFile | None = None, **options: object) -> Version:
    outcome = _run(job, table, **options)
    assert outcome.report.activated, outcome.report.reasons
    return outcome.version


def _add(observations: Observations, table: Table) -> str:
    """Store a batch as POST /observations does, which asks nobody, and return its id."""
    harvest = Harvest.of(table)
    batch = Batch.of(harvest, Provenance("POST /observations", "test"))
    with observations.transaction() as transaction:
        transaction.add(batch, harvest)
    return batch.id


def _records(observations: Observations) -> list[dict[str, Sketch] | None]:
    """Return those of all batches, oldest first."""
    with observations.reading() as transaction:
        return list(transaction.records(transaction.all()).values())


def _forget(settings: Settings, where: str = "1 = 1") -> None:
    """Make batches such as were stored before anything was kept of them."""
    engine = sql.create_engine(settings.database)
    with engine.begin() as connection:
        statement = f"UPDATE batches SET record = NULL, record_sha256 = NULL, checksum = NULL WHERE {where}"  # noqa: S608
        connection.execute(sql.text(statement))
    engine.dispose()


def _numbers(sketch: Sketch) -> dict[str, object]:
    arrays = {name: array.tolist() for name, array in sketch.to_arrays("").items()}
    return arrays | {"seasons": sketch.seasons}


def _same(first: dict[str, Sketch] | None, second: dict[str, Sketch] | None) -> bool:
    assert first is not None
    assert second is not None
    return {crop: _numbers(of) for crop, of in first.items()} == {crop: _numbers(of) for crop, of in second.items()}


def _z(known: Table, coming: Table, crop: str) -> tuple[np.ndarray, int]:
    """Return (y - ŷ) / its standard error of the coming rows that report a crop, and the degrees of freedom."""
    sides = []
    for table in (known, coming):
        tons = table.yields[:, table.crops.index(crop)]
        of = ~np.isnan(tons)
        sides.append((np.column_stack([np.ones(of.sum()), table.weather[of]]), tons[of]))
    (design, tons), (asked, reported) = sides
    line, (squares,), _, _ = np.linalg.lstsq(design, tons, rcond=None)
    degrees = len(tons) - 4
    leverage = np.sum(asked @ np.linalg.inv(design.T @ design) * asked, axis=1)
    return (reported - asked @ line) / np.sqrt(squares / degrees * (1.0 + leverage)), degrees


def _check(card: RecordCard, z: np.ndarray, degrees: int, seasons: list[str | None]) -> None:
    assert card.rows == len(z)
    for level, held in card.levels.items():
        assert held.inside == np.sum(np.abs(z) <= stats.t.ppf(0.5 + float(level) / 2, degrees))
    assert set(card.levels) == {"0.8", "0.95"}
    for season in card.seasons:
        of = [name == season.season for name in seasons]
        assert season.rows == sum(of)
        assert season.mean == pytest.approx(np.mean(z[of]), rel=1e-9)
    assert {season.season for season in card.seasons} == set(seasons)


def _reporting(table: Table, crop: str) -> list[str | None]:
    of = ~np.isnan(table.yields[:, table.crops.index(crop)])
    return [season for season, reported in zip(table.seasons, of, strict=True) if reported]


def test_the_first_version_has_none(job: Job, observations: Observations) -> None:
    """Nobody could predict its rows: it says so, and its file is one that earlier programs read."""
    version = _version(job, _season(2010, 40))
    for card in version.card.record.values():
        assert (card.rows, card.levels, card.seasons, card.lean) == (0, {}, [], None)
        assert card.said[0].startswith("not yet known how well its intervals hold: no yield has been reported after")
    assert version.records == {}
    assert b'"format":"2"' in version.to_bytes()
    assert _records(observations) == [{}]


def test_rows_are_asked_before_they_are_learned(job: Job) -> None:
    """Of the live version: counts and means are those of its line, computed directly from its rows."""
    first, second = _season(2010, 40), _season(2020)
    _version(job, first)
    version = _version(job, second)
    for crop, card in version.card.record.items():
        _check(card, *_z(first, second, crop), _reporting(second, crop))
        assert card.said[0].startswith(f"of {card.rows} yields reported after they could be predicted, ")
    content = version.to_bytes()
    assert b'"format":"3"' in content
    again = Version.from_bytes(content)
    assert again.card == version.card
    assert _same(again.records, version.records)


def test_regions_are_asked_as_they_are_served(job: Job) -> None:
    """Known and unseen ones: what lies inside is inside the intervals that the version before gave."""
    table = with_effects()
    is_late = np.array([season == "2004" for season in table.seasons])
    late = table.rows(is_late)
    late = replace(late, regions=tuple("elsewhere" if name == "B" else name for name in late.regions))
    before = _version(job, table.rows(~is_late)).model
    assert before.has_effects
    card = _version(job, late, activate="always").card.record
    for level in (0.8, 0.95):
        yields = before.yields(list(late.weather.T), level, late.regions)
        for number, crop in enumerate(late.crops):
            tons, margin = late.yields[:, number], yields.margins[crop]
            assert margin is not None
            inside = np.sum(np.abs(tons - yields.tons[crop]) <= margin)  # NaN is not
            assert card[crop].rows == np.sum(~np.isnan(tons))
            assert card[crop].levels[f"{level:g}"].inside == inside


def test_batches_add(job: Job) -> None:
    """The second is asked of the first version, the third of the second: the record is that of both."""
    tables = [_season(year) for year in (2010, 2020, 2030)]
    for table in tables[:2]:
        _version(job, table)
    card = _version(job, tables[2]).card.record["corn"]
    both = Table(
        (*tables[0].regions, *tables[1].regions),
        (*tables[0].seasons, *tables[1].seasons),
        np.concatenate([table.weather for table in tables[:2]]),
        tables[0].crops,
        np.concatenate([table.yields for table in tables[:2]]),
    )
    parts = [_z(tables[0], tables[1], "corn"), _z(both, tables[2], "corn")]
    assert card.rows == 60
    for level, held in card.levels.items():
        assert held.inside == sum(np.sum(np.abs(z) <= stats.t.ppf(0.5 + float(level) / 2, df)) for z, df in parts)
    assert [season.season for season in card.seasons] == ["2020", "2021", "2030", "2031"]


def test_a_withdrawn_batch_takes_its_own_along(job: Job, observations: Observations) -> None:
    """And brings it back when it is restored, without being asked again."""
    for year in (2010, 2020, 2030):
        whole = _version(job, _season(year)).records
    with observations.transaction() as transaction:
        batch = transaction.all()[1].id
        transaction.withdraw(batch, "anna", "")
    without = _version(job, activate="always")
    assert without.card.record["corn"].rows == 30
    assert without.records["corn"].seasons == ("2030", "2031")
    with observations.transaction() as transaction:
        transaction.restore(batch, "anna", "")
    assert _same(_version(job, activate="always").records, whole)


def test_a_batch_that_was_only_stored_is_asked_of_the_version_of_then(
    job: Job, observations: Observations, settings: Settings
) -> None:
    """Not of the one that is live when it is learned; what is found is kept."""
    first, second, stored = (_season(year) for year in (2010, 2020, 2030))
    of_first = _version(job, first).model
    of_second = _version(job, second).model
    _add(observations, stored)
    assert _records(observations)[2] is None
    Registry(Objects(settings.folder)).activate("1", "anna", "back")
    version = _version(job, activate="always")
    found = _records(observations)[2]
    assert found is not None
    corn = stored.yields[:, 0]
    means = []
    for model in (of_first, of_second):
        predicted, error = model.crops[0].expected(list(stored.weather.T), None)
        means.append(float(np.mean((corn - predicted) / error)))
    assert found["corn"].total.sum() / 30 == pytest.approx(means[1], rel=1e-9)
    assert means[0] != pytest.approx(means[1], rel=1e-3)
    assert version.card.record["corn"].rows == 60
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []


def test_batches_of_an_earlier_program_are_asked_late(job: Job, observations: Observations, settings: Settings) -> None:
    """And found as they would have been found then."""
    for year in (2010, 2020, 2030):
        before = _version(job, _season(year)).records
    kept = _records(observations)
    _forget(settings)
    assert _records(observations) == [None, None, None]
    assert _same(_version(job, activate="always").records, before)
    for found, expected in zip(_records(observations), kept, strict=True):
        assert _same(found, expected)
    with observations.reading() as transaction:
        assert list(transaction.faults()) == []


def test_a_batch_that_was_withdrawn_meanwhile_is_asked_when_it_is_restored(
    job: Job, observations: Observations, settings: Settings
) -> None:
    """Until then nothing is kept of it."""
    for year in (2010, 2020):
        before = _version(job, _season(year)).records
    _forget(settings)
    with observations.transaction() as transaction:
        batch = transaction.all()[1].id
        transaction.withdraw(batch, "anna", "")
    assert _version(job, activate="always").records == {}
    assert _records(observations) == [{}, None]
    with observations.transaction() as transaction:
        transaction.restore(batch, "anna", "")
    assert _same(_version(job, activate="always").records, before)


def test_what_a_lost_version_would_have_said_is_not_known(
    job: Job, observations: Observations, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A training goes on without; once its file is there again it is asked again."""
    for year in (2010, 2020, 2030):
        before = _version(job, _season(year)).records
    _forget(settings)
    path = settings.folder / "versions" / "1.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with caplog.at_level(logging.WARNING, "orchard.training"):
        version = _version(job, activate="always")
    assert "what version 1 would have said is not known" in caplog.text
    assert version.records["corn"].seasons == ("2030", "2031")
    assert [record is None for record in _records(observations)] == [False, True, False]
    path.write_bytes(content)
    assert _same(_version(job, activate="always").records, before)


def test_rows_that_are_damaged_are_not_asked(job: Job, observations: Observations, settings: Settings) -> None:
    """They are learned, by their moments; the record of their batch is not known."""
    for year in (2010, 2020):
        _version(job, _season(year))
    _forget(settings)
    engine = sql.create_engine(settings.database)
    with engine.begin() as connection:
        connection.execute(sql.text('UPDATE observations SET rainfall = 700 WHERE batch = 2 AND "row" = 29'))
    engine.dispose()
    version = _version(job, activate="always")
    assert (version.card.rows.total, version.card.record["corn"].rows) == (60, 0)
    assert _records(observations) == [{}, None]


def test_a_store_out_of_reach_is_no_lost_version(
    job: Job, observations: Observations, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training fails, and nothing is said of its batches for good."""
    for year in (2010, 2020):
        before = _version(job, _season(year)).records
    _forget(settings)
    read = Registry.read

    def unavailable(registry: Registry, version: str, sha256: str | None = None) -> Version:
        if version == "1":
            raise StoreUnavailable("the network is down")
        return read(registry, version, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "read", unavailable)
        with pytest.raises(StoreUnavailable):
            _run(job)
    assert _records(observations) == [None, None]
    assert _same(_version(job, activate="always").records, before)


def test_rows_that_stand_for_all_are_not_asked(job: Job, observations: Observations, settings: Settings) -> None:
    """Among them are such as the live version knows; also not later, where nobody has kept that."""
    _version(job, _season(2010))
    _version(job, _season(2020))
    assert _version(job, _season(2030), alone=True).card.record["corn"].rows == 0
    assert _records(observations)[2] == {}
    _forget(settings)
    assert _version(job, activate="always").card.record["corn"].rows == 0
    assert _version(job, _season(2040)).card.record["corn"].rows == 30


def test_a_dry_run_keeps_nothing(job: Job, observations: Observations, settings: Settings) -> None:
    """It says what would be said."""
    _version(job, _season(2010))
    _version(job, _season(2020))
    _forget(settings)
    version = _run(job, _season(2030), dry_run=True).version
    assert version.card.record["corn"].rows == 60
    assert _records(observations) == [None, None]


def test_a_refused_batch_is_not_in_it(job: Job, observations: Observations) -> None:
    """Its own record is kept with it, and counts once it is restored."""
    _version(job, _season(2010, 40))
    wrong = _season(2020)
    report = _run(job, replace(wrong, yields=wrong.yields * 1_000)).report
    assert report.decision == "rejected"
    assert _version(job, _season(2030)).records["corn"].seasons == ("2030", "2031")
    assert report.batch is not None
    with observations.transaction() as transaction:
        transaction.restore(report.batch, "anna", "they are right")
    card = _version(job, activate="always").card.record["corn"]
    assert (card.rows, card.levels["0.95"].inside <= 30) == (60, True)
    assert card.seasons[0].mean > 100


def test_a_version_that_is_not_made_live_is_not_asked(job: Job) -> None:
    """Rows are asked once: of the version that was live, though another was the last one to be made."""
    first, second, third = (_season(year) for year in (2010, 2020, 2030))
    model = _version(job, first).model
    _run(job, second, activate="never")
    card = _version(job, third).card.record["corn"]
    assert card.rows == 60
    expected = []
    for table in (second, third):
        predicted, error = model.crops[0].expected(list(table.weather.T), None)
        expected += ((table.yields[:, 0] - predicted) / error).tolist()
    assert sum(season.rows * season.mean for season in card.seasons) == pytest.approx(sum(expected), rel=1e-9)


def test_a_repeated_call_counts_once(job: Job, observations: Observations) -> None:
    """Under its key."""
    _version(job, _season(2010))
    once = Once("key", "the same")
    for _ in range(2):
        outcome = _run(job, _season(2020), once=once)
        assert outcome.version.card.record["corn"].rows == 30
    assert len(_records(observations)) == 2


def test_crops_come_and_go(job: Job) -> None:
    """Of a crop that is new nothing could be said; one that is not reported keeps what was said of it."""
    _version(job, _season(2010, crops=("corn",)))
    card = _version(job, _season(2020)).card.record
    assert {crop: of.rows for crop, of in card.items()} == {"corn": 30, "soy": 0}
    card = _version(job, _season(2030)).card.record
    assert {crop: of.rows for crop, of in card.items()} == {"corn": 60, "soy": 24}
    card = _version(job, _season(2040, crops=("corn",))).card.record
    assert {crop: of.rows for crop, of in card.items()} == {"corn": 90, "soy": 24}


def test_a_file_in_passing_is_asked_part_by_part(
    job: Job, observations: Observations, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are not stored, their record is; if that is lost it cannot be found again."""
    first, second = _season(2010, 40), _season(2020, 100)
    _version(job, first)
    path = tmp_path / "large.csv"
    rows = zip(second.regions, second.seasons, second.weather.tolist(), second.yields.tolist(), strict=True)
    lines = [
        f'"{region}",{season},{",".join(map(repr, weather))},{corn!r},{soy if soy == soy else ""}'  # noqa: PLR0124
        for region, season, weather, (corn, soy) in rows
    ]
    path.write_text("region,season,temperature,rainfall,humidity,corn,soy\n" + "\n".join(lines))
    monkeypatch.setattr("app.data.harvest.HELD_ROWS", 50)
    card = _version(job, TableFile(path), activate="always").card.record
    for crop in ("corn", "soy"):
        _check(card[crop], *_z(first, second, crop), _reporting(second, crop))
    assert _run(job).version.card.record["corn"].rows == 100
    _forget(settings)
    assert _run(job).version.card.record["corn"].rows == 0
    assert _records(observations) == [{}, {}]


def test_rows_that_each_have_a_season_of_their_own(job: Job) -> None:
    """Thousands of names are no seasons: the card does not name them, and its file can be written."""
    _version(job, _season(2010))
    dated = replace(_season(2020, 2_000), seasons=tuple(f"{row:0200}" for row in range(2_000)))
    version = _version(job, dated)
    assert [(season.season, season.rows) for season in version.card.record["corn"].seasons] == [(None, 2_000)]
    assert Version.from_bytes(version.to_bytes()).card == version.card


def _ratios(model: LinearModel, level: float, table: Table) -> dict[str, float]:
    """Return how many times as wide intervals are as the plain ones."""
    weather = list(table.weather.T)
    wide, plain = (of.yields(weather, level, table.regions).margins for of in (model, model.plain))
    found = {}
    for crop, margin in wide.items():
        narrow = plain[crop]
        assert margin is not None
        assert narrow is not None
        (found[crop],) = np.unique(np.round(margin / narrow, 9))
    return found


def test_intervals_that_held_too_little_are_wider(job: Job) -> None:
    """By what the card says, at each level; without the record they are as wide as before."""
    _version(job, _season(2010, 60))
    noisy = _season(2020, 40, noise=10.0)
    calm = _season(2020, 40)
    mixed = replace(noisy, yields=np.column_stack([noisy.yields[:, 0], calm.yields[:, 1]]))
    mixed.yields[:, 1] = np.where(np.isnan(calm.yields[:, 1]), np.nan, calm.yields[:, 1])
    mixed.yields[:, 1] += (noisy.weather - calm.weather) @ [1.0, 0.01, 0.5]
    version = _version(job, mixed, activate="always")
    card = version.card.record
    for level in (0.8, 0.95):
        ratios = _ratios(version.model, level, noisy)
        held = card["corn"].levels[f"{level:g}"]
        assert held.inside < level * 40
        assert ratios["corn"] == pytest.approx(held.widening, rel=1e-6)
        assert 1.3 < held.widening < 4.0
        assert ratios["soy"] == card["soy"].levels[f"{level:g}"].widening == 1.0
    without = replace(version, records={})
    weather = list(noisy.weather.T)
    plain = version.model.plain.yields(weather, 0.95).margins["corn"]
    rows_alone = without.model.yields(weather, 0.95).margins["corn"]
    assert plain is not None
    assert rows_alone is not None
    assert plain.tobytes() == rows_alone.tobytes()
    assert version.model.plain.plain is version.model.plain
    assert without.model.plain is without.model
