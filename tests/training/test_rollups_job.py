"""Trainings where batches are rolled up: the same models as of all batches, and as little to read."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql

from app.data import rollups
from app.data.harvest import Harvest
from app.data.observations import Batch, Observations
from app.data.provenance import Provenance
from app.data.ranges import Ranges
from app.data.rollups import Rollups
from app.data.tables import Table
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from app.training.job import Job, Outcome
from app.training.learned import learned_by
from app.training.order import Order

EXACT = 1e-12


def _roll_up(patch: pytest.MonkeyPatch, fan_out: int = 2, margin: int = 1) -> None:
    patch.setattr(rollups, "FAN_OUT", fan_out)
    patch.setattr(rollups, "MARGIN", margin)


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Return a store on either database."""
    if request.param == "SQLite":
        return settings
    return settings.model_copy(update={"database_url": request.getfixturevalue("postgresql").database()})


def _table(number: int, rows: int = 6, season: str | None = None) -> Table:
    draw = np.random.default_rng(number)
    weather = draw.normal((75.0, 90.0, 55.0), (9.0, 30.0, 9.0), (rows, 3))
    tons = 20 + weather[:, :2] @ np.array([[0.4, 0.1], [0.5, 0.3]]) + draw.normal(0, 3, (rows, 2))
    regions = [f"R{(number + row) % 8}" for row in range(rows)]
    return Table(regions, [season or str(2000 + number % 5)] * rows, weather, ("corn", "rye"), tons)


def _order(table: Table | None = None, **options: Any) -> Order:
    return Order(Provenance("test", "anna"), table, **({"activate": "always"} | options))


def _store(settings: Settings, *numbers: int, is_asked: bool = True) -> None:
    """Store batches without a training, every seventh withdrawn; ``is_asked``: with a record, though an empty one."""
    with closing(Observations(settings.database)) as observations, observations.transaction() as transaction:
        for number in numbers:
            harvest = Harvest.of(_table(number))
            batch = Batch.of(harvest, Provenance("test", "anna", str(number)))
            transaction.add(batch, harvest, {} if is_asked else None)
            if number % 7 == 5:
                transaction.withdraw(batch.id, "anna", "hail")


def _nodes(settings: Settings) -> int:
    engine = sql.create_engine(settings.database)
    with engine.connect() as connection:
        count = int(connection.execute(sql.text("SELECT count(*) FROM rollups")).scalar_one())
    engine.dispose()
    return count


def _history(settings: Settings) -> list[Version]:
    """Store, learn, withdraw, restore, roll back; return the versions that came of it."""
    job = Job(settings)
    versions = []

    def run(order: Order) -> None:
        versions.append(job.run(order).version)

    _store(settings, *range(9), is_asked=False)
    run(_order())
    _store(settings, *range(9, 16), is_asked=False)
    run(_order(_table(100, 3)))
    run(_order(_table(101, 3)))
    with closing(Observations(settings.database)) as observations, observations.transaction() as transaction:
        batches = transaction.all()
        transaction.withdraw(batches[2].id, "anna", "")
        transaction.restore(batches[5].id, "anna", "")
    run(_order(_table(102, 3)))
    job.run(_order(_table(103, 3), dry_run=True))
    Registry(Objects(settings.folder)).activate("1", "anna", "")
    run(_order(_table(104, 3)))
    run(_order(_table(105, 9), alone=True))
    run(_order(_table(106, 3)))
    job.close()
    return versions


def _assert_same(ours: Version, theirs: Version) -> None:
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=EXACT)
    np.testing.assert_allclose(ours.intercepts, theirs.intercepts, rtol=EXACT)
    assert ours.regions == theirs.regions
    mine, other = ours.predicting(), theirs.predicting()
    assert mine.keys() == other.keys()
    for name in mine:
        np.testing.assert_allclose(mine[name].astype(float), other[name].astype(float), rtol=1e-11, atol=1e-11)
    told = [version.card.model_dump(exclude={"created", "batches", "stored"}) for version in (ours, theirs)]
    _assert_said(*told)
    assert ours.card.batch_count == theirs.card.batch_count
    ranges = [version.card.stored.ranges if version.card.stored else None for version in (ours, theirs)]
    assert ranges[0] == ranges[1]


def _assert_said(ours: Any, theirs: Any) -> None:
    if isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-10)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            _assert_said(ours[name], theirs[name])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs, strict=True):
            _assert_said(one, two)
    else:
        assert ours == theirs


@pytest.mark.long
def test_versions_are_the_same(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was stored, withdrawn and restored: the same models, verdicts and sentences as of all batches."""
    plain = Settings(model_store=tmp_path / "plain")
    with monkeypatch.context() as patch:
        _roll_up(patch, 10**6)
        expected = _history(plain)
        assert _nodes(plain) == 0
    _roll_up(monkeypatch)
    found = _history(place)
    assert _nodes(place) > 10
    for ours, theirs in zip(found, expected, strict=True):
        _assert_same(ours, theirs)


@pytest.fixture
def rolled_up(place: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a store whose live version has learned eleven batches, which are rolled up; two more are withdrawn."""
    _roll_up(monkeypatch)
    _store(place, *range(13))
    with closing(Job(place)) as job:
        job.run(_order())
    return place


def _run(settings: Settings, order: Order) -> Outcome:
    with closing(Job(settings)) as job:
        return job.run(order)


def test_a_card_tells_ranges(rolled_up: Settings) -> None:
    """Not every id: what it has learned is a few numbers, and the batch that came with it by its id."""
    outcome = _run(rolled_up, _order(_table(50, 3)))
    card = outcome.version.card
    assert (card.batches, card.batch_count, card.rows.total) == ([outcome.report.batch], 11 + 1, 69)
    assert card.stored is not None
    assert card.stored.ranges == [(1, 5), (7, 12)]
    with closing(Observations(rolled_up.database)) as observations, observations.reading() as transaction:
        learned = learned_by(card, transaction.ids_at)
        batches = transaction.all()
        assert [learned.has(batch.sequence, batch.id) for batch in batches] == [
            batch.withdrawn is None for batch in batches
        ]
        assert transaction.learned(learned) == [batch for batch in batches if batch.withdrawn is None]


def test_a_training_alone_makes_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads no other batch, and withdraws all of them."""
    _roll_up(monkeypatch)
    _store(settings, *range(13))
    made = []
    monkeypatch.setattr(Rollups, "make", lambda _, nodes: made.append(nodes))
    assert _run(settings, _order(_table(50, 9), alone=True)).version.card.batch_count == 1
    assert made == []


def test_nothing_new_is_no_version(rolled_up: Settings) -> None:
    """The live version has learned the same batches: none more, none less."""
    assert _run(rolled_up, _order(activate="if_better")).report.version == "1"
    with closing(Observations(rolled_up.database)) as observations, observations.transaction() as transaction:
        batch = transaction.all()[0]
        transaction.withdraw(batch.id, "anna", "")
    assert _run(rolled_up, _order(activate="if_better")).report.version == "2"


def test_a_version_that_names_all_is_learned_from(rolled_up: Settings) -> None:
    """As those of earlier programs do, on a database of the format before: the same model comes of it."""
    registry = Registry(Objects(rolled_up.folder))
    live = registry.live().version
    with closing(Observations(rolled_up.database)) as observations, observations.reading() as transaction:
        ids = [batch.id for batch in transaction.active()]
    named = registry.publish(
        Version(**(vars(live) | {"card": live.card.model_copy(update={"batches": ids, "stored": None})}))
    )
    engine = sql.create_engine(rolled_up.database)
    with engine.begin() as connection:
        connection.execute(sql.text("DROP TABLE rollups"))
        connection.execute(sql.text("UPDATE orchard_format SET number = 7"))
    engine.dispose()
    expected = _run(rolled_up, _order(_table(50, 3), dry_run=True))
    registry.activate(named.version, "anna", "", sha256=named.sha256)
    assert "stored" not in registry.read(named.version).card.model_dump()
    assert _run(rolled_up, _order(activate="if_better")).report.version == named.version
    outcome = _run(rolled_up, _order(_table(50, 3)))
    _assert_said(*(report.model_dump()["scores"] for report in (outcome.report, expected.report)))
    np.testing.assert_allclose(outcome.version.weights, expected.version.weights, rtol=EXACT)
    assert outcome.version.card.stored is not None
    assert outcome.version.card.stored.count == 11
    registry.activate(named.version, "anna", "back")
    assert _run(rolled_up, _order(_table(51, 3))).report.version is not None


def test_a_restored_copy_was_not_learned_beyond_its_end(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches stored since have sequences that the live version's card has, and are new to it all the same."""
    _roll_up(monkeypatch)
    _store(settings, *range(8))
    copy = tmp_path / "copy.db"
    with closing(Observations(settings.database)) as observations, observations.reading():
        shutil.copy(settings.folder / "observations.db", copy)
        for suffix in ("-wal", "-shm"):
            shutil.copy(f"{settings.folder / 'observations.db'}{suffix}", f"{copy}{suffix}")
    _store(settings, *range(8, 12))
    live = _run(settings, _order()).version
    assert live.card.stored is not None
    assert live.card.stored.ranges[-1][1] == 12
    elsewhere = settings.model_copy(update={"database_url": f"sqlite:///{copy}"})
    _store(elsewhere, *range(20, 26))
    with closing(Observations(elsewhere.database)) as observations, observations.reading() as transaction:
        learned = learned_by(live.card, transaction.ids_at)
        known = [batch.note for batch in transaction.all() if learned.has(batch.sequence, batch.id)]
        in_use = transaction.rollups.in_use(learned)
        assert Ranges(in_use.new).hold(9, 12)
    assert known == [str(number) for number in (0, 1, 2, 3, 4, 6, 7)]
    report = _run(elsewhere, _order(activate="if_better")).report
    assert report.version == "2"


def test_a_damaged_roll_up_is_made_anew(rolled_up: Settings) -> None:
    """A training passes it over, learns the same, and erases it; the next one has it again."""
    before = _nodes(rolled_up)
    expected = _run(rolled_up, _order(_table(50, 3), dry_run=True)).version
    engine = sql.create_engine(rolled_up.database)
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE rollups SET moments = cells WHERE level = 3"))
    engine.dispose()
    np.testing.assert_allclose(_run(rolled_up, _order(_table(50, 3))).version.weights, expected.weights, rtol=EXACT)
    assert _nodes(rolled_up) < before
    _run(rolled_up, _order(_table(51, 3)))
    assert _nodes(rolled_up) >= before
    with closing(Observations(rolled_up.database)) as observations, observations.reading() as transaction:
        assert list(transaction.faults()) == []


def test_rows_are_known_again(rolled_up: Settings) -> None:
    """Of batches that are rolled up, where a region and season have rows of several: only cells are left there."""
    _store(rolled_up, *range(20, 40))
    _run(rolled_up, _order())
    again = _run(rolled_up, _order(_table(1), dry_run=True)).report
    assert any("6 of 6 rows are stored already" in reason for reason in again.reasons)
    other = _run(rolled_up, _order(_table(1_000_001), dry_run=True)).report
    assert not any("stored already" in reason for reason in other.reasons)


def test_a_dry_run_shows_the_same_regions(rolled_up: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their mean weather, of roll-ups as of all rows; and it writes none."""
    before = _nodes(rolled_up)
    _store(rolled_up, 30, 31, 32, 33)
    found = _run(rolled_up, _order(_table(50, 3), dry_run=True)).report.changes
    assert _nodes(rolled_up) == before
    _roll_up(monkeypatch, 10**6)
    plain = _run(rolled_up, _order(_table(50, 3), dry_run=True)).report.changes
    assert found is not None
    assert plain is not None
    _assert_said(found.model_dump(), plain.model_dump())


def _statements(job: Job, number: int) -> int:
    """Count those of a retrain."""
    told: list[str] = []

    def note(*of: Any) -> None:
        told.append(of[2])

    sql.event.listen(sql.Engine, "before_cursor_execute", note)
    job.run(_order(_table(20_000 + number, 3, str(2031 + number))))
    sql.event.remove(sql.Engine, "before_cursor_execute", note)
    return len(told)


@pytest.mark.long
def test_a_retrain_reads_no_more_where_more_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same statements, and a few more rows, at ten times as many batches."""
    monkeypatch.setattr(rollups, "FAN_OUT", 4)
    monkeypatch.setattr(rollups, "MARGIN", 4)
    counts = []
    for number in (30, 150):
        settings = Settings(model_store=tmp_path / str(number))
        _store(settings, *(each for each in range(number * 2) if each % 7 != 5))
        with closing(Job(settings)) as job:
            job.run(_order())
            job.run(_order(_table(10_000, 3, "2030")))
            counts.append(min(_statements(job, each) for each in range(4)))  # some roll up besides
            with closing(Observations(settings.database)) as observations, observations.reading() as transaction:
                card = Registry(Objects(settings.folder)).live().version.card
                parts = transaction.rollups.in_use(learned_by(card, transaction.ids_at)).parts
            assert len(parts) <= 2 * 4 + 3 * 5
            assert len(card.model_dump_json(include={"batches", "stored"})) < 1_000
    assert counts[0] == counts[1]
