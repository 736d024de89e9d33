"""Residuals of rows held out: as by refitting without them, and no other error than the one that training records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from app.data.harvest import cells_of, moments_of
from app.data.tables import Table
from app.model.fit import least_squares
from app.model.folds import FOLDS, assign_folds
from app.model.held_out import HeldOut, held_out
from app.model.linear import CropModel, Spread
from app.model.residuals import Predicted, Residuals
from tests.panels import on_a_line


def _predicted(table: Table, level: float = 0.95) -> tuple[HeldOut, Predicted]:
    moments, cells = moments_of(table)["corn"], cells_of(table)["corn"]
    line, error = least_squares(moments.total), held_out(moments, cells)
    crop = CropModel.of("corn", line.weights, line.intercept, moments.total, Spread.of(moments), None, None)
    found = Residuals.of(crop, moments, error.by, cells)
    return error, found.predicted(table.weather, assign_folds(table.regions, table.weather), table.seasons, level)


def _groups(table: Table, by: str) -> NDArray[Any]:
    """Return which rows are held out together, shape (n,); -1: none is."""
    if by == "season":
        return np.array(table.seasons)
    return assign_folds(table.regions, table.weather) if by in {"region", "row"} else np.full(len(table), FOLDS)


def _without_humidity(table: Table) -> Table:
    return replace(table, weather=np.where([True, True, False], table.weather, np.nan))


TABLES = {
    "region": on_a_line(12, 5),
    "without humidity": _without_humidity(on_a_line(12, 5)),
    "season": on_a_line(2, 12),
    "row": on_a_line(30, 1, named=False),
    "nothing": on_a_line(2, 12, dated=False),
}


@pytest.mark.parametrize("kind", TABLES)
def test_their_root_mean_square_is_the_recorded_error(kind: str) -> None:
    """Whatever was held out: each row is predicted as it was when the error was taken."""
    table = TABLES[kind]
    error, found = _predicted(table)
    assert error.by == {"without humidity": "region"}.get(kind, kind)
    left = table.yields[:, 0] - found.out_of_fold
    assert np.sqrt(np.mean(left**2)) == pytest.approx(error.tons, rel=1e-9)


@pytest.mark.parametrize("kind", TABLES)
def test_they_are_those_of_refitting(kind: str) -> None:
    """Predictions and intervals from the rows of the other groups alone, with the textbook's formulas."""
    table = TABLES[kind]
    error, found = _predicted(table, 0.8)
    design = np.column_stack([np.ones(len(table)), table.weather[:, ~np.isnan(table.weather[0])]])
    groups = _groups(table, error.by)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    assert found.leverage == pytest.approx(np.diag(hat), rel=1e-6)
    assert found.fitted == pytest.approx(hat @ table.yields[:, 0], rel=1e-9)
    for group in np.unique(groups):
        of = groups == group
        others = ~of if error.by != "nothing" else of
        rows, tons = design[others], table.yields[others, 0]
        line = np.linalg.lstsq(rows, tons, rcond=None)[0]
        degrees = len(rows) - design.shape[1]
        deviation = np.sqrt(np.sum((tons - rows @ line) ** 2) / degrees)
        spread = 1 + np.einsum("ij,jk,ik->i", design[of], np.linalg.inv(rows.T @ rows), design[of])
        margin = student.ppf(0.9, degrees) * deviation * np.sqrt(spread)
        assert found.out_of_fold[of] == pytest.approx(design[of] @ line, rel=1e-8)
        assert found.high[of] - found.out_of_fold[of] == pytest.approx(margin, rel=1e-6)
        assert found.out_of_fold[of] - found.low[of] == pytest.approx(margin, rel=1e-6)


def test_where_seasons_are_held_out_their_lines_take_allon_a_line() -> None:
    """Where these are not known by season, nothing is said of rows held out, and the rest all the same."""
    table = TABLES["season"]
    moments = moments_of(table)["corn"]
    line = least_squares(moments.total)
    crop = CropModel.of("corn", line.weights, line.intercept, moments.total, Spread.of(moments), None, None)
    found = Residuals.of(crop, moments, "season", None).predicted(
        table.weather, assign_folds(table.regions, table.weather), table.seasons, 0.95
    )
    assert np.isnan([found.out_of_fold, found.low, found.high]).all()
    assert found.fitted == pytest.approx(_predicted(table)[1].fitted)


def test_several_rows_of_a_season_and_region() -> None:
    """The lines are those by which the error was taken, and the error, whose share of scatter is not known, is near."""
    table = on_a_line(2, 36)
    several = replace(table, seasons=tuple(str(number // 3) for number in range(36)) * 2)
    error, found = _predicted(several)
    assert error.by == "season"
    left = several.yields[:, 0] - found.out_of_fold
    assert np.sqrt(np.mean(left**2)) == pytest.approx(error.tons, rel=0.05)


@pytest.mark.parametrize(("regions", "seasons"), [(6, 1), (5, 2), (2, 3)])
def test_the_fewest_rows_have_intervals(regions: int, seasons: int) -> None:
    """Each line has a degree of freedom at least."""
    _, found = _predicted(on_a_line(regions, seasons))
    assert (found.high > found.low).all()
