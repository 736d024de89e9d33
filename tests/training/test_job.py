"""A training is one transaction: it happens, or nothing has changed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from app.data.observations import Observations
from app.data.provenance import Once, Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.errors import Diverged, InvalidInput, KeyReused, RetrainRunning, StoreUnavailable, TooFewRows
from app.settings import Settings
from app.store.line import LogLine
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order, Recipe
from tests.conftest import ROOT

ROWS = [[56.5, 70.2], [81.3, 100.4], [118.7, 133.6]]


@pytest.fixture
def job(settings: Settings, tutorial: Table) -> Iterator[Job]:
    """Return trainings on a store whose live model is that of the tutorial."""
    job = Job(settings)
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    yield job
    job.close()


@pytest.fixture
def three(tutorial: Table) -> Table:
    """Return three new rows."""
    return Table(("K", "L", "M"), (None,) * 3, tutorial.weather[:3] + 0.5, tutorial.crops, np.array(ROWS))


def _state(settings: Settings) -> Any:
    registry = Registry(Objects(settings.folder))
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        rows = transaction.page(1_000, None)
        active = transaction.active()
    observations.close()
    return registry.versions(), registry.log(100).lines, rows, active


def test_three_new_rows_equal_all_eighteen(settings: Settings, job: Job, tutorial: Table, three: Table) -> None:
    """Retraining with three rows gives the model of all 18 rows from scratch, to 1e-9."""
    grown = job.run(Order(Provenance("test", "test"), three, activate="always")).version
    scratch = Job(settings.model_copy(update={"model_store": settings.folder / "other"}))
    whole = Table(
        [*tutorial.regions, *three.regions],
        [*tutorial.seasons, *three.seasons],
        np.concatenate([tutorial.weather, three.weather]),
        tutorial.crops,
        np.concatenate([tutorial.yields, three.yields]),
    )
    fresh = scratch.run(Order(Provenance("test", "test"), whole, alone=True)).version
    scratch.close()
    np.testing.assert_allclose(grown.weights, fresh.weights, rtol=1e-9)
    np.testing.assert_allclose(grown.intercepts, fresh.intercepts, rtol=1e-9)
    for crop, card in grown.card.crops.items():
        other = fresh.card.crops[crop]
        assert card.residual_sd == pytest.approx(other.residual_sd, rel=1e-9)
        assert card.largest_leverage == pytest.approx(other.largest_leverage, rel=1e-9)
        assert card.out_of_fold.rmse == pytest.approx(other.out_of_fold.rmse, rel=1e-9)


FAILURES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"recipe": Recipe("tutorial", learning_rate=1.2e-4, seed=1), "alone": True}, Diverged),
    ({"recipe": Recipe("descent", learning_rate=5.0)}, Diverged),
    ({"recipe": Recipe("descent", batch_size=3)}, InvalidInput),
]


@pytest.mark.parametrize(("options", "error"), FAILURES)
def test_a_failure_changes_nothing(
    settings: Settings, job: Job, tutorial: Table, options: dict[str, Any], error: type[Exception]
) -> None:
    """Diverging and wrong recipes leave versions, log, rows and batches as they were."""
    before = _state(settings)
    with pytest.raises(error):
        job.run(Order(Provenance("test", "test"), tutorial, **options))
    assert _state(settings) == before


def test_too_few_rows_are_named(settings: Settings, three: Table) -> None:
    """On an empty store, three rows are too few: each crop is named with its count, and nothing is stored."""
    job = Job(settings)
    with pytest.raises(
        TooFewRows, match="too few rows: mango has 3 rows and is left out: a crop needs at least 6; orange"
    ):
        job.run(Order(Provenance("test", "test"), three))
    assert _state(settings) == ([], [], [], [])
    job.close()


def test_numbers_too_large_to_square_are_an_error(settings: Settings, tutorial: Table) -> None:
    """Yields whose squares leave float64 are invalid input."""
    job = Job(settings)
    huge = Table(tutorial.regions, tutorial.seasons, tutorial.weather, tutorial.crops, tutorial.yields * 1e200)
    with pytest.raises(InvalidInput, match="larger than float64 holds"):
        job.run(Order(Provenance("test", "test"), huge))
    job.close()


def test_one_training_at_a_time(settings: Settings, job: Job, three: Table) -> None:
    """While the store's lock is held, a training is refused at once."""
    with filelock.FileLock(settings.folder / "retrain.lock"), pytest.raises(RetrainRunning):
        job.run(Order(Provenance("test", "test"), three))


def test_a_repeated_order_is_answered_once(settings: Settings, job: Job, three: Table) -> None:
    """Under one key a training happens once; another order under it is refused."""
    first = job.run(Order(Provenance("test", "test"), three, once=Once("k", "d"))).report
    before = _state(settings)
    assert job.run(Order(Provenance("test", "test"), three, once=Once("k", "d"))).report == first
    assert _state(settings) == before
    with pytest.raises(KeyReused):
        job.run(Order(Provenance("test", "test"), once=Once("k", "other")))


def test_a_crash_before_activation_is_made_good(settings: Settings, job: Job, three: Table) -> None:
    """A version that was committed and not activated goes live when its call is repeated with its key."""
    order = Order(Provenance("test", "test"), three, activate="always", once=Once("k", "d"))
    report = job.run(order).report
    (settings.folder / "log" / "2.json").unlink()
    registry = Registry(Objects(settings.folder))
    assert registry.live()[0].version == "1"
    assert job.run(order).report == report
    assert registry.live()[0].version == "2"


def _full_disk(_registry: Registry, *_line: object) -> LogLine:
    raise StoreUnavailable("the model store cannot be written: No space left on device")


def test_an_activation_that_fails_is_taken_back(
    settings: Settings, job: Job, three: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the log cannot be written after the commit, the rows are withdrawn, the answer forgotten, the version gone."""
    with monkeypatch.context() as full, pytest.raises(StoreUnavailable):  # noqa: PT012 - only there is the disk full
        full.setattr(Registry, "activate_after", _full_disk)
        job.run(Order(Provenance("test", "test"), three, activate="always", once=Once("k", "d")))
    versions, lines, rows, active = _state(settings)
    assert (versions, len(lines), len(active)) == ([1], 1, 1)
    assert [row.withdrawn for row in rows] == [False] * 15 + [True] * 3
    assert (
        job.run(Order(Provenance("test", "test"), three, activate="always", once=Once("k", "d"))).report.version == "3"
    )


def test_training_alone_starts_anew(settings: Settings, job: Job, tutorial: Table, tmp_path: Path) -> None:
    """A table of its own withdraws the others; the same table again is taken up, not stored twice."""
    lines = ["region,temperature,rainfall,humidity,corn,rye"]
    lines += [
        f"R{row},{60 + row % 7},{500 + 37 * row % 101},{70 + row % 5},{100 + row},{row or ''}" for row in range(9)
    ]
    path = tmp_path / "corn.csv"
    path.write_text("\n".join(lines))
    report = job.run(Order(Provenance("corn.csv", "test"), TableFile(path), alone=True, activate="always")).report
    live = Registry(Objects(settings.folder)).live()[1]
    assert set(live.card.crops) == {"corn", "rye"}
    assert live.card.crops["rye"].rows == 8
    assert report.rows.total == 9
    again = job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True)).report
    assert (again.rows.total, again.activated) == (15, True)
    rows = _state(settings)[2]
    assert len(rows) == 15 + 9
    assert [row.withdrawn for row in rows] == [False] * 15 + [True] * 9


def _again(**asked: Any) -> Order:
    return Order(Provenance("test", "otto", "again"), **asked)


def test_where_nothing_has_changed_there_is_no_version(settings: Settings, job: Job, three: Table) -> None:
    """A retrain on what the live version has learned says so, however many batches that is, and changes nothing."""
    for season in ("2027", "2028", "2029"):
        later = Table(three.regions, (season,) * 3, three.weather + float(season[-1]) / 16, three.crops, three.yields)
        job.run(Order(Provenance("test", "test"), later, activate="always"))
    before = _state(settings)
    for dry_run in (True, False):
        report = job.run(_again(dry_run=dry_run)).report
        assert (report.decision, report.activated, report.batch, report.rows.total) == ("accepted", False, None, 24)
        assert report.version == (None if dry_run else "4")
        assert report.reasons == ["nothing has changed since version 4: no batch was added or withdrawn"]
    assert _state(settings) == before


@pytest.mark.parametrize(
    "asked",
    [
        {"activate": "always"},
        {"activate": "never"},
        {"recipe": Recipe(epochs=1_000)},
        {"recipe": Recipe(seed=7)},
    ],
)
def test_who_asks_for_a_version_gets_one(job: Job, asked: dict[str, Any]) -> None:
    """What is asked for by name is made, even where nothing has changed."""
    assert job.run(_again(**asked)).report.version == "2"


def test_a_batch_that_is_withdrawn_or_comes_back_is_a_change(settings: Settings, job: Job, three: Table) -> None:
    """After either there is something to learn; with the first version live again there is as well."""
    batch = job.run(Order(Provenance("test", "test"), three, activate="always")).report.batch
    assert batch is not None
    Registry(Objects(settings.folder)).activate("1", "anna", "back")
    assert job.run(_again()).report.version == "3"
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        transaction.withdraw(batch, "anna", "wrong")
    assert job.run(_again()).report.version == "4"
    with observations.transaction() as transaction:
        transaction.restore(batch, "anna", "right")
    observations.close()
    assert job.run(_again()).report.version == "5"
    assert job.run(_again()).report.reasons[0].startswith("nothing has changed since version 5")


def test_that_nothing_has_changed_is_kept_under_its_key(settings: Settings, job: Job, three: Table) -> None:
    """The call repeated later is answered as before, though a version has come since; another one is refused."""
    order = _again(once=Once("nothing-new", "digest"))
    first = job.run(order).report
    assert first.reasons[0].startswith("nothing has changed since version 1")
    job.run(Order(Provenance("test", "test"), three, activate="always"))
    before = _state(settings)
    assert job.run(order).report == first
    assert _state(settings) == before
    with pytest.raises(KeyReused):
        job.run(_again(once=Once("nothing-new", "another")))


@pytest.mark.parametrize("lacking", ["record", "by", "effects"])
def test_what_an_earlier_version_lacks_is_a_change(panel: Path, lacking: str) -> None:
    """A version that was written before something was told of its crops is made anew, and then has it."""
    version = Registry(Objects(panel)).live()[1]
    assert version.is_like(version)
    card = version.card
    if lacking == "record":
        older = replace(version, card=card.model_copy(update={"record": {}}))
    elif lacking == "by":
        name, crop = next(iter(card.crops.items()))
        held = crop.out_of_fold.model_copy(update={"by": None})
        crops = card.crops | {name: crop.model_copy(update={"out_of_fold": held})}
        older = replace(version, card=card.model_copy(update={"crops": crops}))
    else:
        older = replace(version, regions=(), effects={})
    assert not version.is_like(older)
    assert not older.is_like(version)


def test_rounding_is_no_difference_and_a_ton_is_one(job: Job) -> None:
    """Rows that were added up in another order give the same line but for its last digits."""
    version = job.run(_again(activate="never")).version
    assert version.is_like(replace(version, weights=version.weights * (1.0 + 1e-12)))
    assert not version.is_like(replace(version, weights=version.weights * (1.0 + 1e-5)))
    assert not version.is_like(replace(version, intercepts=version.intercepts + 1.0))


def test_a_store_of_the_first_release_is_trained_anew(tmp_path: Path) -> None:
    """Its versions lack what is told today: a retrain without new rows makes one that has it, and a second one none."""
    store = tmp_path / "store"
    shutil.copytree(ROOT / "tests" / "stores" / "0.1.0" / "sqlite", store)
    job = Job(Settings(model_store=store))
    live = Registry(Objects(store)).live()[0].version
    first, second = (job.run(_again()).report for _ in range(2))
    job.close()
    assert first.version is not None
    assert first.version != live
    assert second.reasons == [f"nothing has changed since version {first.version}: no batch was added or withdrawn"]
