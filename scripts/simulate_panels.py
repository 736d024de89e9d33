"""How often yields lie in their intervals where regions and seasons differ: panels, season after season.

Each panel is learned season by season through the real code: moments, cells, components, crossed fit, record. Before a
season is learned, its yields are asked of what is known so far, and so are those of regions that are never learned.
Beside it stands what the common line alone would say (`effects=none`, `exact=true`).
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from app.data.harvest import cells_of, moments_of
from app.data.tables import Table
from app.model.components import Components
from app.model.crossed import Crossed
from app.model.fit import least_squares
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.record import Record
from app.model.sketch import Sketch
from app.model.weather import FEATURE_NAMES
from app.training.asked import record_of

LEVELS = (0.8, 0.95)
NEVER_LEARNED = 5
"""Regions of each panel that nothing is learned of."""
FIRST = 3
"""Seasons that are learned before anything is counted."""
WEIGHTS = np.array([0.5, 0.02, -0.3])
CROP = "corn"


@dataclass(frozen=True, slots=True)
class Panel:
    """Regions times seasons; deviations of regions and of seasons in units of each row's own."""

    regions: int
    seasons: int
    region_sd: float
    season_sd: float

    def __str__(self) -> str:
        return f"{self.regions:3d} × {self.seasons:2d}, sd {self.region_sd:g} and {self.season_sd:g}"

    def draw(self, draw: np.random.Generator) -> Table:
        """Draw one, with some regions more than are learned."""
        regions = self.regions + NEVER_LEARNED
        region, season = np.divmod(np.arange(regions * self.seasons), self.seasons)
        weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
        weather += draw.normal(0.0, [3.0, 90.0, 4.0], (regions, 3))[region]
        tons = 50.0 + weather @ WEIGHTS + draw.normal(size=len(region))
        tons += self.region_sd * draw.normal(size=regions)[region]
        tons += self.season_sd * draw.normal(size=self.seasons)[season]
        names = tuple(str(number) for number in region), tuple(str(2_000 + number) for number in season)
        return Table(*names, weather, (CROP,), tons[:, None])


@dataclass(slots=True)
class Count:
    """Yields inside their intervals, of how many; and the intervals' widths beside those of the common line."""

    rows: int = 0
    inside: int = 0
    common: int = 0
    widths: list[float] = field(default_factory=list)
    by_season: dict[int, list[float]] = field(default_factory=dict)

    def add(self, season: int, tons: Array, answers: tuple[Array, Array], commons: tuple[Array, Array]) -> None:
        """Count some yields: what was answered, and the common line, each tons and half the interval's width."""
        held = np.abs(tons - answers[0]) <= answers[1]
        self.rows += len(tons)
        self.inside += int(held.sum())
        self.common += int((np.abs(tons - commons[0]) <= commons[1]).sum())
        self.widths.append(float(answers[1].mean() / commons[1].mean()))
        self.by_season.setdefault(season, []).append(float(held.mean()))

    @property
    def worst_season(self) -> float:
        """The share inside in the worst season."""
        return min(float(np.mean(shares)) for shares in self.by_season.values())


def learned(table: Table, sketches: list[Sketch]) -> LinearModel:
    """Return the model of a table, with the record so far."""
    moments = moments_of(table)
    total = moments[CROP].total
    line = least_squares(total)
    effects, regions = {}, []
    cells = cells_of(table)[CROP]
    parts = Components.of(cells)
    if parts is not None:
        crossed = Crossed.of(cells, parts, total)
        fit = least_squares(crossed.moments)
        effects[CROP] = crossed.effects(fit.weights, fit.intercept)
        regions = [cells.regions[code] for code in crossed.regions.tolist()]
    records = {CROP: Record(Sketch.merge(sketches))}
    return LinearModel.of(FEATURE_NAMES, {CROP: (line.weights, line.intercept)}, moments, effects, regions, records)


Counts = dict[tuple[str, float], Count]


def follow(table: Table, panel: Panel, counts: Counts) -> None:
    """Learn a panel season by season, and ask about each season before it is learned."""
    place = np.arange(len(table))
    region, season = np.divmod(place, panel.seasons)
    known = region < panel.regions
    sketches: list[Sketch] = []
    for number in range(1, panel.seasons):
        if (known & (season < number)).sum() < 8:  # noqa: PLR2004 - as many as make a model
            continue
        model = learned(table.rows(known & (season < number)), sketches)
        for who, rows in (("next season", known), ("unseen region", ~known)):
            if number >= FIRST:
                _ask(model, table.rows(rows & (season == number)), who, number, counts)
        sketches += record_of(iter([table.rows(known & (season == number))]), model).values()


def _ask(model: LinearModel, rows: Table, who: str, season: int, counts: Counts) -> None:
    weather, regions = list(rows.weather.T), list(rows.regions)
    for level in LEVELS:
        answers, commons = (
            (found.tons[CROP], found.margins[CROP])
            for found in (model.yields(weather, level, regions), model.common.plain.yields(weather, level))
        )
        assert answers[1] is not None  # noqa: S101 - there are degrees of freedom
        assert commons[1] is not None  # noqa: S101
        counts.setdefault((who, level), Count()).add(season, rows.yields[:, 0], answers, commons)  # type: ignore[arg-type]


PANELS = [
    Panel(regions, seasons, region_sd, season_sd)
    for regions, seasons in ((12, 6), (20, 5), (99, 4), (6, 20))
    for region_sd in (0.0, 1.0, 2.0)
    for season_sd in (0.0, 0.5, 1.0)
]


def main() -> None:
    """Print a line a panel: coverage (worst season; by the common line) and width, for each question and level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=300, help="panels a line (300)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)
    print(f"of {given.panels} panels a line: inside (in the worst season; by the common line), width / common line's")
    for panel in PANELS:
        counts: Counts = {}
        for _ in range(given.panels):
            follow(panel.draw(draw), panel, counts)
        cells = [
            f"{who} {level:g}: {count.inside / count.rows:.3f} ({count.worst_season:.3f}; "
            f"{count.common / count.rows:.3f}) {np.mean(count.widths):.2f}"
            for (who, level), count in counts.items()
        ]
        print(f"{panel!s:24s} " + "; ".join(cells), flush=True)


if __name__ == "__main__":
    main()
