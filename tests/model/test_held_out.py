"""Errors on rows that were held out: what is held out depends on what there is enough of."""

import numpy as np
import pytest

from app.data.harvest import cells_of, moments_of
from app.data.tables import Table
from app.model.held_out import HeldOut, held_out
from app.model.moments import Array
from tests.panels import on_a_line


def _held_out(table: Table) -> HeldOut:
    return held_out(moments_of(table)["corn"], cells_of(table)["corn"])


def _refitted(table: Table, group: Array) -> float:
    """Return the error of rows predicted by the rows of the other groups."""
    design = np.column_stack([np.ones(len(table)), table.weather])
    errors = []
    for number in np.unique(group):
        of = group == number
        line = np.linalg.lstsq(design[~of], table.yields[~of, 0], rcond=None)[0]
        errors.append(table.yields[of, 0] - design[of] @ line)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


@pytest.mark.parametrize(
    ("table", "by"),
    [
        (on_a_line(12, 5), "region"),
        (on_a_line(12, 5, dated=False), "region"),
        (on_a_line(2, 12), "season"),
        (on_a_line(1, 20), "season"),
        (on_a_line(30, 1, named=False), "row"),
        (on_a_line(2, 12, dated=False), "nothing"),
        (on_a_line(4, 2), "nothing"),
    ],
)
def test_what_is_held_out_is_said(table: Table, by: str) -> None:
    """Regions, where there are enough; else seasons; rows that have no names; else nothing."""
    assert _held_out(table).by == by


@pytest.mark.parametrize("table", [on_a_line(2, 12), on_a_line(1, 20)])
def test_a_season_is_predicted_by_the_others(table: Table) -> None:
    """As by refitting without its rows."""
    found = _held_out(table)
    assert found.tons == pytest.approx(_refitted(table, np.array(table.seasons)), rel=1e-9)
    assert found.rows == len(table)


def test_several_rows_of_a_season_and_region() -> None:
    """Their scatter is shared out by rows: near to refitting, and equal to it where nothing scatters."""
    table = on_a_line(2, 36)
    seasons = tuple(str(number // 3) for number in range(36)) * 2
    several = Table(table.regions, seasons, table.weather, table.crops, table.yields)
    assert _held_out(several).tons == pytest.approx(_refitted(several, np.array(seasons)), rel=0.05)


def test_in_sample_is_in_sample() -> None:
    """The root mean squared residual of all rows."""
    table = on_a_line(2, 12, dated=False)
    design = np.column_stack([np.ones(len(table)), table.weather])
    left = table.yields[:, 0] - design @ np.linalg.lstsq(design, table.yields[:, 0], rcond=None)[0]
    assert _held_out(table).tons == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-9)


def test_too_few_seasons_to_refit() -> None:
    """Where the other seasons cannot be fitted, nothing is held out."""
    assert _held_out(on_a_line(1, 6)).by == "season"
    few = on_a_line(2, 3)
    assert _held_out(few).by == "nothing"


def test_without_cells_regions_are_taken_for_granted() -> None:
    """Of a file that is learned in passing only the folds are known."""
    table = on_a_line(12, 5)
    assert held_out(moments_of(table)["corn"], None).by == "region"
    assert held_out(moments_of(on_a_line(1, 20))["corn"], None).by == "nothing"
