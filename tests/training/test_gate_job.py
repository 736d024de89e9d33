"""The gate through whole trainings: what is rejected, what stays live, where the rows go, what a dry run shows."""

from collections.abc import Iterator

import numpy as np
import pytest

from app.data.observations import Observation, Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.model.moments import Array
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from app.training.report import Report

HONEST = [[56.5, 70.2], [81.3, 100.4], [118.7, 133.6]]


@pytest.fixture
def job(settings: Settings, tutorial: Table) -> Iterator[Job]:
    """Return trainings on a store whose live model is that of the tutorial."""
    job = Job(settings)
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    yield job
    job.close()


def _rows(tutorial: Table, yields: list[list[float]], weather: Array | None = None) -> Table:
    count = len(yields)
    weather = tutorial.weather[:count] if weather is None else weather
    return Table(tuple("KLMNOPQRST"[:count]), ("2026",) * count, weather, tutorial.crops, np.array(yields))


def _run(job: Job, table: Table, note: str = "", **options: object) -> Report:
    return job.run(Order(Provenance("test", "tester", note), table, **options)).report  # type: ignore[arg-type]


def _stored(settings: Settings) -> list[Observation]:
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        rows = transaction.page(1_000, None)
    observations.close()
    return rows


def _live(settings: Settings) -> str:
    return Registry(Objects(settings.folder)).live()[0].version


def test_good_rows_are_accepted_and_live(job: Job, settings: Settings, tutorial: Table) -> None:
    """Three honest rows give version 2, live, on 18 rows."""
    report = _run(job, _rows(tutorial, HONEST))
    assert (report.decision, report.activated, report.rows.total) == ("accepted", True, 18)
    assert _live(settings) == "2"
    assert report.suspicious == []


def test_kilograms_are_rejected_and_set_aside(job: Job, settings: Settings, tutorial: Table) -> None:
    """A yield in kilograms: rejected with mango and numbers, version 1 stays live, the rows are kept but withdrawn."""
    report = _run(job, _rows(tutorial, [[56_000.0, 70.0], *HONEST[1:]]))
    assert (report.version, report.decision, report.activated) == ("2", "rejected", False)
    assert report.reasons[0].startswith(
        "mango: row 1 (K): 56,000 tons, where the current model says 57.32, looks like kil"
    )
    assert report.reasons[1].startswith("mango: on 3 new rows the current model is off by 28,680 tons")
    assert report.reasons[2].startswith("mango: on 3 new rows its out-of-fold error is ")
    assert _live(settings) == "1"
    rows = _stored(settings)
    assert len(rows) == 18
    assert [row.withdrawn for row in rows] == [False] * 15 + [True] * 3
    found = report.suspicious[0]
    assert (found.row, found.region, found.crop, found.tons) == (0, "K", "mango", 56_000.0)
    assert found.standard_errors > 40_000


def test_after_a_rejection_good_rows_are_accepted(job: Job, settings: Settings, tutorial: Table) -> None:
    """A rejected batch does not poison the next retrain: the corrected rows go live on 18 rows."""
    _run(job, _rows(tutorial, [[56_000.0, 70.0], *HONEST[1:]]))
    report = _run(job, _rows(tutorial, HONEST))
    assert (report.decision, report.rows.total) == ("accepted", 18)
    assert _live(settings) == "3"


def test_swapped_columns_are_rejected(job: Job, settings: Settings, tutorial: Table) -> None:
    """Mango's and orange's columns swapped: rejected, and version 1 stays live."""
    report = _run(job, _rows(tutorial, [row[::-1] for row in HONEST]))
    assert report.decision == "rejected"
    assert _live(settings) == "1"


def test_always_overrides_and_the_log_says_so(job: Job, settings: Settings, tutorial: Table) -> None:
    """With always, a rejected version goes live, its rows stay in training, and the log gives the gate's reason."""
    report = _run(job, _rows(tutorial, [[560.0, 70.0], *HONEST[1:]]), activate="always", note="we know better")
    assert (report.decision, report.activated) == ("rejected", True)
    assert not any(row.withdrawn for row in _stored(settings))
    why = Registry(Objects(settings.folder)).line(2).why
    assert why.startswith("we know better (activated although the gate rejects it: mango: row 1 (K): 560 tons, where")


def test_never_keeps_the_live_version(job: Job, settings: Settings, tutorial: Table) -> None:
    """With never, an accepted version is stored and not live."""
    report = _run(job, _rows(tutorial, HONEST), activate="never")
    assert (report.decision, report.activated, report.version) == ("accepted", False, "2")
    assert _live(settings) == "1"


def test_a_dry_run_shows_the_changes_and_makes_none(job: Job, settings: Settings, tutorial: Table) -> None:
    """A dry run shows old and new coefficients and each region's predictions, and publishes and stores nothing."""
    report = _run(job, _rows(tutorial, HONEST), dry_run=True)
    assert (report.version, report.batch, report.activated) == (None, None, False)
    assert Registry(Objects(settings.folder)).versions() == [1]
    assert len(_stored(settings)) == 15
    changes = report.changes
    assert changes is not None
    temperature = changes.coefficients["mango"].weights["temperature"]
    assert temperature.old == pytest.approx(-0.421544664576864, rel=1e-9)
    assert temperature.new is not None
    assert temperature.new != temperature.old
    assert [row.region for row in changes.regions] == [None, *"ABCDEFGHIJKLM"]
    region = changes.regions[1]
    assert (region.temperature, region.rainfall, region.humidity) == (73.0, 67.0, 43.0)
    assert region.yields["mango"].old == pytest.approx(57.32309988948513, rel=1e-9)


def test_without_activation_the_next_gate_still_calls_the_rows_new(job: Job, tutorial: Table) -> None:
    """Rows that the live model has not learned are new to it, however often they were trained on."""
    _run(job, _rows(tutorial, HONEST), activate="never")
    report = job.run(Order(Provenance("test", "tester"))).report
    assert report.reasons[0].startswith("mango: on 3 new rows")


@pytest.mark.usefixtures("job")
def test_the_card_says_how_far_to_trust_each_crop(settings: Settings) -> None:
    """The card holds statsmodels' standard errors, residual deviation, R² and condition number of this fit."""
    card = Registry(Objects(settings.folder)).live()[1].card.crops["mango"]
    errors = card.standard_errors
    assert errors is not None
    assert errors.intercept == pytest.approx(3.378533348733678, rel=1e-9)
    expected = {"temperature": 0.02830979360765169, "rainfall": 0.013748932351929843, "humidity": 0.03586760841555529}
    assert errors.weights == pytest.approx(expected, rel=1e-9)
    assert card.residual_sd == pytest.approx(1.1810605769841, rel=1e-9)
    assert card.r_squared == pytest.approx(0.999140009811032, rel=1e-12)
    assert card.condition_number == pytest.approx(2.6493861924660873, rel=1e-9)
    assert card.largest_leverage == pytest.approx(0.3518679448190174, rel=1e-9)
    assert (card.degrees_of_freedom, card.constant_features, card.collinear_features) == (11, [], [])


def test_constant_and_collinear_columns_are_named(settings: Settings, tutorial: Table) -> None:
    """A constant rainfall and a humidity that follows temperature are named in the card; the version is not live."""
    weather = tutorial.weather.copy()
    weather[:, 1] = 60.0
    weather[:, 2] = 2.0 * weather[:, 0] - 110.0
    job = Job(settings)
    table = Table(tutorial.regions, tutorial.seasons, weather, tutorial.crops, tutorial.yields)
    outcome = job.run(Order(Provenance("test", "tester"), table, alone=True))
    job.close()
    card = outcome.version.card.crops["mango"]
    assert card.constant_features == ["rainfall"]
    assert card.collinear_features == ["temperature", "humidity"]
    assert card.weights["rainfall"] == 0.0
    assert not outcome.report.activated
