"""Drift: what was asked about against training, in one process and over several."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.linear import Spread
from app.serving.drift import FOLDER, AskedWeather, Usage, drift
from app.store.objects import Objects


@pytest.fixture
def spread(tutorial: Table) -> Spread:
    """Return the spread of the tutorial's rows."""
    return Spread.of(moments_of(tutorial)["mango"])


def test_nothing_asked_has_no_drift(spread: Spread) -> None:
    """Before the first question there is no shift and no distance."""
    assert drift(AskedWeather().moments(), spread).distance is None


def test_asking_about_the_training_weather_has_no_drift(spread: Spread, tutorial: Table) -> None:
    """The training rows themselves lie at distance 0."""
    asked = AskedWeather()
    asked.note_many(Usage(list(tutorial.weather.T), 15, 0))
    asked.begin_merge()()
    found = drift(asked.moments(), spread)
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
    found = drift(asked.moments(), spread)
    assert found.asked == 3
    assert found.distance == pytest.approx(math.sqrt(away @ np.linalg.solve(covariance, away)), rel=1e-9)
    temperature = found.features["temperature"]
    assert temperature.asked_mean == pytest.approx(95.0)
    assert temperature.shift == pytest.approx(away[0] / tutorial.weather[:, 0].std(), rel=1e-9)


def test_processes_add_up(tmp_path: Path, spread: Spread) -> None:
    """What two processes were asked is added up in the answer of each; a damaged file counts as nothing."""
    shared = Objects(tmp_path)
    other = AskedWeather(shared)
    other.note((80.0, 60.0, 50.0))
    other.begin_merge()()
    (tmp_path / FOLDER / f"{os.getpid()}.safetensors").rename(tmp_path / FOLDER / "1.safetensors")
    (tmp_path / FOLDER / "2.safetensors").write_bytes(b"damaged")
    mine = AskedWeather(shared)
    mine.note((90.0, 70.0, 60.0))
    mine.begin_merge()()
    found = drift(mine.moments(), spread)
    assert found.asked == 2
    assert found.features["rainfall"].asked_mean == pytest.approx(65.0)
