"""Drift: what was asked about against training, in one process and over several."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from scipy import stats

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.folds import FoldedMoments
from app.model.linear import Spread
from app.model.moments import Array, Moments
from app.model.rounding import rounded
from app.serving.drift import FOLDER, AskedWeather, Usage, drift
from app.store.objects import Objects


@pytest.fixture
def spread(tutorial: Table) -> Spread:
    """Return the spread of the tutorial's rows."""
    return Spread.of(moments_of(tutorial)["mango"])


def test_nothing_asked_has_no_drift(spread: Spread) -> None:
    """Before the first question there is no shift and no distance."""
    assert drift(AskedWeather().lately(), spread).distance is None


def test_asking_about_the_training_weather_has_no_drift(spread: Spread, tutorial: Table) -> None:
    """The training rows themselves lie at distance 0."""
    asked = AskedWeather()
    asked.note_many(Usage(list(tutorial.weather.T), 15, 0))
    asked.begin_merge()()
    found = drift(asked.lately(), spread)
    assert found.asked == 15
    assert found.distance == pytest.approx(0.0, abs=1e-12)


def test_shift_and_distance_are_those_of_the_rows(spread: Spread, tutorial: Table) -> None:
    """Shift is in training's deviations, and the distance is that of NumPy's covariance with divisor n."""
    asked = AskedWeather()
    rows = [(90.0, 60.0, 50.0), (100.0, 50.0, 40.0), (95.0, 70.0, 61.0)]
    for row in rows[:2]:
        asked.note(row)
    asked.begin_merge()()
    asked.note(rows[2])
    asked.begin_merge()()
    away = np.mean(rows, axis=0) - tutorial.weather.mean(axis=0)
    covariance = np.cov(tutorial.weather.T, ddof=0)
    found = drift(asked.lately(), spread)
    assert found.asked == 3
    assert found.distance == pytest.approx(math.sqrt(away @ np.linalg.solve(covariance, away)), rel=1e-9)
    temperature = found.features["temperature"]
    assert temperature.asked_mean == pytest.approx(95.0)
    assert temperature.shift == pytest.approx(away[0] / tutorial.weather[:, 0].std(), rel=1e-9)


def test_processes_add_up(tmp_path: Path, spread: Spread) -> None:
    """What two processes were asked is added up in the answer of each; a damaged or earlier file counts as nothing."""
    shared = Objects(tmp_path)
    other = AskedWeather(shared)
    other.note((80.0, 60.0, 50.0))
    other.begin_merge()()
    (tmp_path / FOLDER / f"{os.getpid()}.safetensors").rename(tmp_path / FOLDER / "1.safetensors")
    (tmp_path / FOLDER / "2.safetensors").write_bytes(b"damaged")
    earlier = safetensors.numpy.save({"count": np.ones(1), "mean": np.ones(3)})
    (tmp_path / FOLDER / "3.safetensors").write_bytes(earlier)
    mine = AskedWeather(shared)
    mine.note((90.0, 70.0, 60.0))
    mine.begin_merge()()
    found = drift(mine.lately(), spread)
    assert found.asked == 2
    assert found.features["rainfall"].asked_mean == pytest.approx(65.0)


def _noted(rows: Array, shared: Objects | None = None) -> AskedWeather:
    asked = AskedWeather(shared)
    asked.note_many(Usage(list(rows.T), len(rows), 0))
    asked.begin_merge()()
    return asked


@pytest.mark.parametrize("shift", [0.0, 2.0, 20.0])
def test_the_means_are_tested_as_by_hotelling(spread: Spread, tutorial: Table, shift: float) -> None:
    """T² is that of the two samples, with their pooled covariance, and F's tail is SciPy's."""
    rows = tutorial.weather[:9] + np.array([0.0, shift, 0.0])
    away = rows.mean(axis=0) - tutorial.weather.mean(axis=0)
    scatter = 8 * np.cov(rows.T) + 14 * np.cov(tutorial.weather.T)
    squared = 9 * 15 / 24 * away @ np.linalg.solve(scatter / 22, away)
    chance = stats.f.sf(squared * 20 / (3 * 22), 3, 20)
    told = [sentence for sentence in drift(_noted(rows).lately(), spread).reasons if "Hotelling" in sentence]
    expected = (
        f"the mean weather asked about is not that of training (Hotelling's T² {rounded(squared)}, probability by "
        f"chance {chance:.2g})"
    )
    assert told == ([expected] if chance < 0.01 else [])


def test_spreads_are_compared(spread: Spread, tutorial: Table) -> None:
    """Weather whose mean is that of training, and which varies more, is different too; less is not."""
    middle = tutorial.weather.mean(axis=0)
    wide = drift(_noted(middle + (tutorial.weather - middle) * [1.0, 4.0, 1.0]).lately(), spread)
    assert [sentence.partition(" (")[0] for sentence in wide.reasons] == [
        "rainfall asked about spreads 4 times as widely as in training"
    ]
    assert wide.features["rainfall"].asked_deviation == pytest.approx(4 * wide.features["rainfall"].training_deviation)
    narrow = drift(_noted(middle + (tutorial.weather - middle) * [0.1, 1.0, 1.0]).lately(), spread)
    assert narrow.reasons == []


@pytest.mark.parametrize(("known", "asked"), [(400, 12), (15, 15), (30, 500)])
def test_weather_like_that_of_training_is_not_different(tutorial: Table, known: int, asked: int) -> None:
    """Of 300 worlds with a day's questions about regions like those of training, 1 in 100 are different by a test."""
    draw = np.random.default_rng(7)
    root = np.linalg.cholesky(np.cov(tutorial.weather.T))
    reasons: list[str] = []
    for _ in range(300):
        rows = tutorial.weather.mean(axis=0) + draw.normal(size=(known + asked, 3)) @ root.T
        reasons += drift(_noted(rows[known:]).lately(), Spread.of(_learned(rows[:known]))).reasons
    means = sum("Hotelling" in reason for reason in reasons)
    assert means < 10
    assert len(reasons) - means < 10


def _learned(weather: Array) -> FoldedMoments:
    fold = np.arange(len(weather), dtype=np.uint8) % 5
    return FoldedMoments.of(weather, np.zeros((len(weather), 1)), fold)[0]


@pytest.mark.parametrize("rows", [[0], [0, 1, 2], list(range(15))])
@pytest.mark.parametrize("shares", [False, True])
def test_a_question_that_is_repeated_is_no_evidence(
    tmp_path: Path, spread: Spread, tutorial: Table, rows: list[int], shares: bool
) -> None:
    """A dashboard that asks for regions of training again and again, hour after hour, is not different."""
    hour = 0
    asked = AskedWeather(Objects(tmp_path) if shares else None, lambda: hour * 3_600.0)
    for hour in range(20):  # noqa: B007 - the clock
        asked.note_many(Usage(list(np.tile(tutorial.weather[rows], (40, 1)).T), 40, 0))
        asked.note(tutorial.weather[rows[0]].tolist())
        asked.begin_merge()()
    found = drift(asked.lately(), spread)
    assert (found.asked, found.reasons) == (20 * (40 * len(rows) + 1), [])


def test_few_places_that_are_others_are_different(spread: Spread, tutorial: Table) -> None:
    """Five places that are far from training, asked about once each or often."""
    rows = tutorial.weather[:5] + np.array([0.0, 60.0, 0.0])
    for times in (1, 100):
        assert drift(_noted(np.tile(rows, (times, 1))).lately(), spread).reasons


def test_a_grid_that_another_process_worked_on_counts(spread: Spread, tutorial: Table) -> None:
    """Of it the moments are known: its regions count once, however often it comes."""
    grid = Moments.of(tutorial.weather + np.array([0.0, 60.0, 0.0]))
    asked = AskedWeather()
    for _ in range(3):
        asked.note_many(Usage(grid, 15, 0))
    asked.begin_merge()()
    assert asked.lately().different == 15
    assert drift(asked.lately(), spread).reasons


@pytest.mark.parametrize("shares", [False, True])
def test_what_was_asked_a_day_ago_is_forgotten(tmp_path: Path, shares: bool) -> None:
    """Hour by hour, also by another process that has asked nothing since."""
    hours = [100.0]
    shared = Objects(tmp_path) if shares else None
    asked = AskedWeather(shared, lambda: hours[0] * 3_600)
    counts = []
    for hour in (100.0, 100.9, 110.0, 123.9, 124.0, 134.0):
        hours[0] = hour
        asked.note((80.0, 60.0, 50.0))
        asked.begin_merge()()
        counts.append(asked.lately().moments.count)
    assert counts == [1, 2, 3, 4, 3, 3]
    if shares:
        (tmp_path / FOLDER / f"{os.getpid()}.safetensors").rename(tmp_path / FOLDER / "1.safetensors")
        other = AskedWeather(shared, lambda: hours[0] * 3_600)
        assert other.lately().moments.count == 3
        hours[0] = 147.5
        assert other.lately().moments.count == 2
        hours[0] = 158.0
        assert other.lately().moments.count == 0
