"""Prediction intervals cover what they promise: simulated on the tutorial's design, through the code that serves."""

from collections.abc import Callable

import numpy as np
import pytest

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model import linear
from app.model.fit import least_squares
from app.model.linear import CropModel, LinearModel
from app.model.weather import FEATURE_NAMES

SAMPLES = 20_000
POINTS = {"inside": (75.0, 80.0, 55.0), "extrapolated": (32.0, 400.0, 95.0)}


def coverage(table: Table, point: tuple[float, ...], samples: int = SAMPLES) -> float:
    """Return the share of fresh yields at ``point`` inside their 95% intervals, each from a model of its own.

    The truth is mango's least-squares line; each sample draws 15 yields around it, fits them, and predicts one more.
    """
    truth = least_squares(moments_of(table)["mango"].total)
    draw = np.random.default_rng(2026)
    inside = 0
    middle = table.weather @ truth.weights + truth.intercept
    true_tons = float(np.array(point) @ truth.weights + truth.intercept)
    weather = [np.array([value]) for value in point]
    for _ in range(samples):
        yields = middle + draw.normal(0.0, 1.2, len(middle))
        rows = Table(table.regions, table.seasons, table.weather, ("mango",), yields[:, None])
        moments = moments_of(rows)
        fit = least_squares(moments["mango"].total)
        model = LinearModel.of(FEATURE_NAMES, {"mango": (fit.weights, fit.intercept)}, moments)
        predicted = model.yields(weather, 0.95)
        margin = predicted.margins["mango"]
        assert margin is not None
        fresh = true_tons + draw.normal(0.0, 1.2)
        inside += abs(fresh - predicted.tons["mango"][0]) <= margin[0]
    return inside / samples


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_intervals_cover_what_they_promise(tutorial: Table, point: str) -> None:
    """95% intervals cover between 94.4% and 95.6% of fresh yields, inside the data and far outside."""
    assert 0.944 <= coverage(tutorial, POINTS[point]) <= 0.956


def _normal_quantile(_level: float, _degrees_of_freedom: int) -> float:
    return 1.96


def _over_n(crop: CropModel) -> float:
    return float(np.sqrt(crop.squared_error / crop.spread.rows))


def _plant_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "t_quantile", _normal_quantile)


def _plant_over_n(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CropModel, "residual_sd", property(_over_n))


def _plant_no_leverage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear.Spread, "leverage", lambda _self, weather: 0.0 * weather[0])


@pytest.mark.parametrize(
    ("plant", "point"),
    [
        (_plant_normal, "inside"),
        pytest.param(_plant_over_n, "inside", marks=pytest.mark.long),
        pytest.param(_plant_no_leverage, "extrapolated", marks=pytest.mark.long),
    ],
)
def test_the_simulation_finds_wrong_intervals(
    tutorial: Table, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], point: str
) -> None:
    """1.96 in place of t, the deviation over n, and intervals without leverage are each found."""
    plant(monkeypatch)
    assert coverage(tutorial, POINTS[point], 4_000) < 0.94
