"""Columns of weather in another unit: told of most rows alike, however they are cut into parts."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.data.harvest import Harvest, moments_of
from app.data.observations import Batch, Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.model.linear import Spread
from app.model.moments import Array
from app.model.slips import WAY_OUT
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from app.training.units import UnitCheck

Slip = Callable[[Array], Array]


def _celsius(weather: Array) -> Array:
    return (weather - [32.0, 0.0, 0.0]) * [5 / 9, 1.0, 1.0]


def _inches(weather: Array) -> Array:
    return weather / [1.0, 25.4, 1.0]


def _shares(weather: Array) -> Array:
    return weather / [1.0, 1.0, 100.0]


def _exchanged(weather: Array) -> Array:
    return weather[:, [1, 0, 2]]


def _as_sent(weather: Array) -> Array:
    return weather


def _wetter(weather: Array) -> Array:
    return weather * [1.0, 1.2, 1.0]


def _hotter(weather: Array) -> Array:
    return weather * [1.2, 1.0, 1.0]


def _elsewhere(weather: Array) -> Array:
    return weather * [1.3, 5.0, 1.2]


def _outside(feature: str, low_to_high: str, given: str) -> str:
    inside = f"and in it or near it if they are {given}"
    return f"{feature}: 40 of 40 rows lie outside the training range, {low_to_high}, {inside}"


PAIR = "temperature and rainfall look exchanged: 40 of 40 rows lie far outside the training range"
SLIPS: dict[str, tuple[Slip, str]] = {
    "temperature": (_celsius, _outside("temperature", "60.3 to 79.9 °F", "in °C")),
    "rainfall": (_inches, _outside("rainfall", "511 to 996 mm", "in inches")),
    "humidity": (_shares, _outside("humidity", "40.2 to 69.7 %", "a share of 1")),
    "both": (_exchanged, f"{PAIR}, and in it or near it the other way round"),
}
WORLD = np.array([[60.3, 511.0, 40.2], [79.9, 996.0, 69.7]])
"""The range of each column."""


def _table(draw: np.random.Generator, rows: int, season: str = "2026") -> Table:
    weather = np.concatenate([WORLD, draw.uniform(WORLD[0], WORLD[1], (rows - 2, 3))])
    tons = weather @ [1.0, 0.1, 0.5] + draw.normal(0, 5, rows)
    return Table(tuple(map(str, range(rows))), (season,) * rows, weather, ("corn",), tons[:, None])


@pytest.fixture
def known() -> Table:
    """Return the rows that were learned."""
    return _table(np.random.default_rng(1), 40)


@pytest.fixture
def spread(known: Table) -> Spread:
    """Return their spread."""
    return Spread.of(moments_of(known)["corn"])


def _said(spread: Spread | None, *parts: Table) -> list[str]:
    check = UnitCheck(spread)
    for part in parts:
        check.add(part.weather)
    return list(check.sentences())


@pytest.mark.parametrize("name", SLIPS)
def test_a_column_in_another_unit_is_told(known: Table, spread: Spread, name: str) -> None:
    """With the range, what it looks like and what to do, whole or in parts."""
    slip, sentence = SLIPS[name]
    rows = replace(known, weather=slip(known.weather))
    halves = [rows.rows(np.arange(40) < 13), rows.rows(np.arange(40) >= 13)]
    assert _said(spread, rows) == _said(spread, *halves) == [f"{sentence}: {WAY_OUT}"]


@pytest.mark.parametrize("slip", [_as_sent, _wetter, _hotter, _elsewhere])
def test_another_season_is_not_told(known: Table, spread: Spread, slip: Slip) -> None:
    """Rows inside the range, or beyond it in a way that no unit explains."""
    assert _said(spread, replace(known, weather=slip(known.weather))) == []


def test_few_rows_are_not_told(known: Table, spread: Spread) -> None:
    """Half of the rows in another unit are not most of them."""
    half = np.arange(40)[:, None] % 2 == 0
    assert _said(spread, replace(known, weather=np.where(half, _celsius(known.weather), known.weather))) == []


@pytest.mark.parametrize(("slip", "name"), [(_celsius, "temperature"), (_shares, "humidity"), (_as_sent, None)])
def test_a_first_model_has_what_is_possible(known: Table, slip: Slip, name: str | None) -> None:
    """Where nothing was learned, a season below what crops grow in is told."""
    said = _said(None, replace(known, weather=slip(known.weather)))
    assert [sentence.partition(":")[0] for sentence in said] == ([name] if name else [])
    assert all("rows lie below the" in sentence for sentence in said)


@pytest.fixture
def job(settings: Settings, known: Table) -> Iterator[Job]:
    """Return trainings on a store that has learned them."""
    job = Job(settings)
    job.run(Order(Provenance("known", "test", ""), known, alone=True))
    yield job
    job.close()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("name", SLIPS)
def test_the_gate_refuses_them(job: Job, name: str, dry_run: bool) -> None:
    """The cause is the first reason, and always overrides it."""
    new = _table(np.random.default_rng(2), 40, "2027")
    slip, sentence = SLIPS[name]
    wrong = replace(new, weather=slip(new.weather))
    report = job.run(Order(Provenance("new", "test", ""), wrong, dry_run=dry_run)).report
    assert (report.decision, report.activated) == ("rejected", False)
    assert report.reasons[0] == f"{sentence}: {WAY_OUT}"
    assert job.run(Order(Provenance("new", "test", ""), new)).report.decision == "accepted"


def test_always_overrides_it(job: Job) -> None:
    """Who knows better says so."""
    new = _table(np.random.default_rng(2), 40, "2027")
    wrong = replace(new, weather=_celsius(new.weather))
    report = job.run(Order(Provenance("new", "test", ""), wrong, activate="always")).report
    assert (report.decision, report.activated) == ("rejected", True)


def test_a_first_model_in_celsius_is_refused(settings: Settings, known: Table) -> None:
    """It is kept and not live."""
    job = Job(settings)
    wrong = replace(known, weather=_celsius(known.weather))
    report = job.run(Order(Provenance("first", "test", ""), wrong, alone=True)).report
    job.close()
    assert (report.decision, report.activated) == ("rejected", False)
    assert report.reasons[0].startswith("temperature: 40 of 40 rows lie below the 32 °F that a season has at least")


def test_training_anew_may_change_the_climate(job: Job, known: Table) -> None:
    """Rows that stand for all that was learned before are not compared with what they replace."""
    elsewhere = replace(known, weather=_elsewhere(known.weather), yields=known.yields * 50)
    assert job.run(Order(Provenance("new", "test", ""), elsewhere, alone=True)).report.decision == "accepted"


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_just_outside_is_no_exchange(tutorial: Table, column: int, side: int) -> None:
    """Ranges of different features overlap: one step beyond its own range, a row is accepted by what it is."""
    spread = Spread.of(moments_of(tutorial)["mango"])
    row = np.array([spread.center])
    row[0, column] = spread.minimum[column] - 2 if side == 0 else spread.maximum[column] + 2
    check = UnitCheck(spread)
    check.add(row)
    assert list(check.sentences()) == []


def test_a_part_without_rows_says_nothing(spread: Spread) -> None:
    """A part of a file may hold no yield at all."""
    check = UnitCheck(spread)
    check.add(np.empty((0, 3)))
    assert list(check.sentences()) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_rows_that_were_stored_before_are_looked_at(settings: Settings, known: Table, is_first: bool) -> None:
    """A retrain without rows learns what was uploaded: in another unit it is refused, too; what was learned is not."""
    job = Job(settings)
    if not is_first:
        job.run(Order(Provenance("known", "test", ""), known))
    wrong = replace(_table(np.random.default_rng(2), 40, "2027"), weather=_celsius(known.weather))
    harvest = Harvest.of(wrong)
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        transaction.add(Batch.of(harvest, Provenance("upload", "test", "")), harvest)
    report = job.run(Order(Provenance("retrain", "test", ""))).report
    assert report.decision == "rejected"
    assert report.reasons[0].startswith("temperature: 40 of 40 rows lie ")
    with observations.transaction() as transaction:
        transaction.withdraw(transaction.all()[-1].id, "test", "in °C")
    if not is_first:
        assert job.run(Order(Provenance("retrain", "test", ""))).report.decision == "accepted"
    observations.close()
    job.close()


def test_one_cause_is_told_for_a_column(tutorial: Table) -> None:
    """Temperatures in °C that would be rainfalls, too, are told as what they are, once."""
    spread = Spread.of(moments_of(tutorial)["mango"])
    weather = np.array([[22.8, 67, 43], [32.8, 88, 64], [30.5, 134, 58]])
    check = UnitCheck(spread)
    check.add(weather)
    (said,) = check.sentences()
    assert said.startswith(
        "temperature: 3 of 3 rows lie outside the training range, 68 to 103 °F, and in it or near it"
    )
