"""Components of variance: those that rows were made with, and none where there are none."""

from dataclasses import dataclass

import numpy as np
import pytest

from app.model.cells import Cells
from app.model.components import Components
from app.model.moments import Array
from app.model.names import Names


@dataclass(frozen=True)
class Panel:
    """Regions times seasons, with deviations of regions and of seasons, in units of each row's own."""

    regions: int
    seasons: int
    region_sd: float = 0.0
    season_sd: float = 0.0
    missing: float = 0.0

    def cells(self, draw: np.random.Generator) -> Cells:
        """Draw one; some rows may be missing."""
        region, season = np.divmod(np.arange(self.regions * self.seasons), self.seasons)
        weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
        weather += draw.normal(0, [3.0, 90.0, 4.0], (self.regions, 3))[region]
        tons = 50 + weather @ [0.5, 0.02, -0.3] + draw.normal(size=len(region))
        tons += (
            draw.normal(0, self.region_sd, self.regions)[region] + draw.normal(0, self.season_sd, self.seasons)[season]
        )
        kept = draw.random(len(region)) >= self.missing
        names = Names.of(f"region {number}" for number in region[kept]), Names.of(map(str, season[kept]))
        return Cells.of(*names, np.column_stack([weather, tons])[kept])


def _mean(panel: Panel, times: int = 100) -> Array:
    """Return the mean estimates of the variances by region, by season and of noise, over so many panels."""
    draw = np.random.default_rng(1)
    found = [Components.of(panel.cells(draw)) for _ in range(times)]
    rows = [[part.region.variance, part.season.variance, part.noise] for part in found if part]
    return np.asarray(np.mean(rows, axis=0))


@pytest.mark.parametrize(
    ("panel", "tolerance"),
    [
        (Panel(60, 6, 2, 1, 0.1), [0.3, 0.3, 0.05]),
        (Panel(20, 20, 1, 1), [0.15, 0.15, 0.05]),
        (Panel(99, 4, 2), [0.4, 0.05, 0.05]),
    ],
)
def test_they_are_those_of_the_world(panel: Panel, tolerance: list[float]) -> None:
    """On the average over a hundred panels, whole or with gaps."""
    away = _mean(panel) - [panel.region_sd**2, panel.season_sd**2, 1.0]
    assert (np.abs(away) <= tolerance).all(), away


@pytest.mark.parametrize("panel", [Panel(12, 6), Panel(20, 5), Panel(99, 4), Panel(6, 20), Panel(30, 8, missing=0.3)])
def test_where_there_are_none_few_are_seen(panel: Panel) -> None:
    """By two tests at 1 in 100, of 200 panels."""
    draw = np.random.default_rng(2)
    assert sum(Components.of(panel.cells(draw)) is not None for _ in range(200)) < 14


def test_a_balanced_panel_has_the_textbooks_answer() -> None:
    """Without features that explain anything, they are those of the two-way analysis of variance, exactly."""
    draw = np.random.default_rng(4)
    regions, seasons = 30, 8
    tons = draw.normal(size=(regions, seasons)) + 2 * draw.normal(size=(regions, 1)) + 1.5 * draw.normal(size=seasons)
    region, season = np.divmod(np.arange(tons.size), seasons)
    rows = np.column_stack([np.ones(tons.size), tons.ravel()])
    found = Components.of(Cells.of(Names.of(map(str, region)), Names.of(map(str, season)), rows))
    by_region, by_season = tons.mean(axis=1, keepdims=True), tons.mean(axis=0)
    noise = np.sum((tons - by_region - by_season + tons.mean()) ** 2) / ((regions - 1) * (seasons - 1))
    assert found is not None
    assert found.noise == pytest.approx(noise, rel=1e-9)
    assert found.region.variance == pytest.approx(by_region.var(ddof=1) - noise / seasons, rel=1e-9)
    assert found.season.variance == pytest.approx(by_season.var(ddof=1) - noise / regions, rel=1e-9)
    assert (found.region.groups, found.season.groups, found.rows) == (regions, seasons, 240)
    assert found.total == found.region.variance + found.season.variance + found.noise


def test_regions_alone() -> None:
    """Rows that name no season: those of one region still resemble each other."""
    draw = np.random.default_rng(5)
    region = np.repeat(np.arange(40), 5)
    rows = np.column_stack([draw.normal(size=200), 3 * draw.normal(size=40)[region] + draw.normal(size=200)])
    found = Components.of(Cells.of(Names.of(map(str, region)), Names.of([None] * 200), rows))
    assert found is not None
    assert found.season.variance == 0.0
    assert found.region.variance == pytest.approx(9.0, rel=0.5)
    assert found.noise == pytest.approx(1.0, rel=0.3)


def test_rows_without_a_season_beside_others() -> None:
    """They are of many seasons, and no season of their own: regions are told alone."""
    draw = np.random.default_rng(5)
    region, season = np.divmod(np.arange(200), 5)
    rows = np.column_stack([draw.normal(size=200), 3 * draw.normal(size=40)[region] + 9.0 * season])
    seasons = [None if number < 2 else str(number) for number in season]
    found = Components.of(Cells.of(Names.of(map(str, region)), Names.of(seasons), rows))
    assert found is None or found.season == (0.0, 1)


def test_what_tells_nothing() -> None:
    """No names, or a row a region: nothing can be seen, and nothing is said."""
    draw = np.random.default_rng(6)
    rows = draw.normal(size=(50, 4))
    nobody, each = Names.of([None] * 50), Names.of(map(str, range(50)))
    for regions, seasons in ((nobody, nobody), (nobody, each), (each, nobody), (each, each)):
        assert Components.of(Cells.of(regions, seasons, rows)) is None


@pytest.mark.parametrize("unnamed", [False, True])
def test_what_has_too_many_names_is_no_season(monkeypatch: pytest.MonkeyPatch, unnamed: bool) -> None:
    """Alone or beside regions, and whoever names them: seasons are solved for together."""
    draw = np.random.default_rng(1)
    season = np.repeat(np.arange(20), 4)
    region = np.tile([0, 1], 40) if not unnamed else np.where(season < 10, season % 5, -1)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (80, 3))
    tons = 50 + weather @ [0.5, 0.02, -0.3] + draw.normal(size=80) + draw.normal(0, 5, 20)[season]
    seasons = Names.of(map(str, season.tolist()))
    cells = Cells.of(Names(list("abcde"), region.astype(np.int32)), seasons, np.column_stack([weather, tons]))
    found = Components.of(cells)
    assert found is not None
    assert found.season.variance > 0
    monkeypatch.setattr("app.model.components.MOST_SEASONS", 19)
    without = Components.of(cells)
    assert without is None or without.season.variance == 0
