"""How often the gate is right: honest batches that it accepts and poisoned ones that it refuses, through the real code.

Two worlds. The tutorial's: the current model is fitted on its 15 regions; a batch's weather is that of random regions
of these, each value moved by at most 1, its yields the model's predictions with its own residual deviation as noise.
And panels of regions and seasons, with deviations of each region, of each season and of each row, in which the weather
explains a given share: all seasons but the last are learned, and the last one is sent, as it is or poisoned.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from app.data.harvest import cells_of, moments_of
from app.data.tables import Table, parse_observations
from app.model.components import Components
from app.model.crossed import Crossed
from app.model.effects import Effects
from app.model.fit import Fit, least_squares
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.scores import Current, judge, out_of_fold
from app.model.weather import FEATURE_NAMES
from app.training.seen import Seen

Poison = Callable[[np.random.Generator, Array, Array], tuple[Array, Array]]
HONEST_SIZES = (1, 3, 6, 15, 50)
POISONED_SIZE = 10
POUNDS, SHORT_TONS = 2.2046, 1.1023
LINES = np.array([[3.0, 0.06, 1.5], [-2.0, 0.09, 1.0]])
"""Weights of two crops in the panels, tons per °F, mm and %."""


def kilograms(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give one yield in kilograms."""
    return weather, _scaled(draw, yields, 1_000.0)


def ten_times(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give one yield times ten."""
    return weather, _scaled(draw, yields, 10.0)


def all_kilograms(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give all yields in kilograms."""
    return weather, yields * 1_000.0


def all_pounds(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give all yields times what pounds are to kilograms."""
    return weather, yields * POUNDS


def all_short_tons(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give all yields in short tons."""
    return weather, yields * SHORT_TONS


def swapped_crops(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Swap the columns of the two crops."""
    return weather, yields[:, ::-1]


def swapped_weather(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Swap temperature and humidity."""
    return weather[:, [2, 1, 0]], yields


def celsius(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give the temperature in °C."""
    return (weather - [32.0, 0.0, 0.0]) * [5.0 / 9.0, 1.0, 1.0], yields


def inches(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give the rainfall in inches."""
    return weather / [1.0, 25.4, 1.0], yields


def shares(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give the humidity as a share of 1."""
    return weather / [1.0, 1.0, 100.0], yields


def shifted(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give each row the yields of the row before."""
    return weather, np.roll(yields, 1, axis=0)


def one_in_pounds(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give the yields of one region times what pounds are to kilograms."""
    yields = yields.copy()
    yields[draw.integers(len(yields))] *= POUNDS
    return weather, yields


def random_tenth(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Make a tenth of the rows random: weather and yields anywhere in the tutorial's ranges."""
    rows = draw.choice(len(yields), max(1, len(yields) // 10), replace=False)
    weather, yields = weather.copy(), yields.copy()
    weather[rows] = draw.uniform([68.0, 43.0, 36.0], [103.0, 135.0, 71.0], (len(rows), 3))
    yields[rows] = draw.uniform([20.0, 37.0], [119.0, 134.0], (len(rows), 2))
    return weather, yields


POISONS: tuple[Poison, ...] = (kilograms, ten_times, swapped_crops, swapped_weather, celsius, random_tenth)
SEASON_POISONS: tuple[Poison, ...] = (
    kilograms,
    all_kilograms,
    all_pounds,
    all_short_tons,
    swapped_crops,
    swapped_weather,
    celsius,
    inches,
    shares,
    shifted,
    one_in_pounds,
)


def _scaled(draw: np.random.Generator, yields: Array, factor: float) -> Array:
    yields = yields.copy()
    yields[draw.integers(len(yields)), draw.integers(2)] *= factor
    return yields


def fit_closed(moments: dict[str, FoldedMoments]) -> Fit:
    """Return the least-squares fit: where descent ends, without its epochs."""
    return Fit("descent", {crop: least_squares(part.total) for crop, part in moments.items()}, 0, (), 0.0)


def effects_of(table: Table, fit: Fit) -> tuple[dict[str, Effects], list[str]]:
    """Return what regions and seasons of a table have of their own, by crop, over the same regions."""
    found = {}
    regions = list(dict.fromkeys(name for name in table.regions if name))
    for crop, cells in cells_of(table).items():
        parts = Components.of(cells)
        if parts is not None:
            crossed = Crossed.of(cells, parts, fit.crops[crop].moments)
            line = least_squares(crossed.moments)
            places = np.array([regions.index(cells.regions[code]) for code in crossed.regions.tolist()], dtype=np.intp)
            found[crop] = crossed.effects(line.weights, line.intercept).placed(places, len(regions))
    return found, regions


class Gate:
    """The gate, with a current model fitted on ``table``."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._old = moments_of(table)
        fit = fit_closed(self._old)
        lines = {crop: (line.weights, line.intercept) for crop, line in fit.crops.items()}
        self.model = LinearModel.of(FEATURE_NAMES, lines, self._old, *effects_of(table, fit))
        recorded = {crop: score.tons for crop, part in self._old.items() if (score := out_of_fold(part, part))}
        self._current = Current(self.model, recorded)

    def accepts(self, rows: Table) -> bool:
        """Say whether new rows are accepted."""
        seen = Seen(self.model, alone=False)
        seen.look(rows, 0)
        new = moments_of(rows)
        together = {crop: FoldedMoments.merge([self._old[crop], new[crop]]) for crop in new}
        verdict = judge(
            fit_closed(together), together, self._old, new, self._current, may_drop=False, noticed=seen.sentences()
        )
        return verdict.accepted


class Tutorial:
    """Draws batches near the tutorial's rows, and asks the gate about them."""

    def __init__(self, seed: int) -> None:
        with as_file(files("app.data").joinpath("tutorial.csv")) as path:
            self._gate = Gate(parse_observations(path.read_bytes()))
        self._draw = np.random.default_rng(seed)

    def accepts(self, rows: int, poison: Poison | None) -> bool:
        """Draw one batch and say whether the gate accepts it."""
        weather, yields = self._batch(rows)
        if poison is not None:
            weather, yields = poison(self._draw, weather, yields)
        names = tuple(f"region {number}" for number in self._draw.integers(10**9, size=rows))
        return self._gate.accepts(Table(names, (None,) * rows, weather, self._gate.table.crops, yields))

    def _batch(self, rows: int) -> tuple[Array, Array]:
        known = self._gate.table.weather
        moved = known[self._draw.integers(len(known), size=rows)] + self._draw.integers(-1, 2, (rows, 3))
        weather = np.clip(moved, known.min(axis=0), known.max(axis=0))
        columns = list(weather.T)
        noise = [self._draw.normal(0.0, crop.residual_sd or 0.0, rows) for crop in self._gate.model.crops]
        lines = [crop.tons(columns) for crop in self._gate.model.crops]
        return weather, np.column_stack(lines) + np.column_stack(noise)

    def accepted(self, batches: int, rows: int, poison: Poison | None = None) -> int:
        """Return how many of so many batches the gate accepts."""
        return sum(self.accepts(rows, poison) for _ in range(batches))


@dataclass(frozen=True, slots=True)
class Panel:
    """Regions times seasons.

    ``region_sd`` and ``season_sd`` in units of each row's own deviation. ``r_squared``: the share of the yields'
    variance that the weather explains. ``tails``: noise of Student's t with 4 degrees of freedom, not normal noise.
    """

    regions: int
    seasons: int
    region_sd: float
    season_sd: float
    r_squared: float
    tails: bool = False

    def __str__(self) -> str:
        noise = "t4" if self.tails else "normal"
        spread = f"sd {self.region_sd:g}, {self.season_sd:g}"
        return f"{self.regions:3d} × {self.seasons:2d}, {spread:9s} R² {self.r_squared:4.2f}, {noise}"

    def draw(self, draw: np.random.Generator) -> tuple[Table, Table]:
        """Draw one: all seasons but the last, and the last."""
        region, season = np.divmod(np.arange(self.regions * self.seasons), self.seasons)
        rows = len(region)
        weather = np.column_stack(
            [draw.normal(mean, sd, rows) for mean, sd in ((65.0, 3.0), (800.0, 150.0), (72.0, 4.0))]
        )
        weather += draw.normal(0.0, [2.0, 100.0, 3.0], (self.regions, 3))[region]
        lines = weather @ LINES.T
        share = 1.0 + self.region_sd**2 + self.season_sd**2
        unit = lines.std(axis=0) * np.sqrt((1.0 / self.r_squared - 1.0) / share)
        own = draw.standard_t(4, (rows, 2)) / np.sqrt(2.0) if self.tails else draw.normal(size=(rows, 2))
        own += self.region_sd * draw.normal(size=(self.regions, 2))[region]
        own += self.season_sd * draw.normal(size=(self.seasons, 2))[season]
        # Far enough above 0, and the crops as different in size as real ones are.
        yields = (lines - lines.mean(axis=0) + unit * own) + 8.0 * np.hypot(unit, lines.std(axis=0)) * [1.0, 2.5]
        whole = Table(
            tuple(f"region {number}" for number in region),
            tuple(str(2000 + number) for number in season),
            weather,
            ("corn", "soy"),
            np.maximum(yields, 0.0),
        )
        return whole.rows(season < self.seasons - 1), whole.rows(season == self.seasons - 1)


PANELS = [
    Panel(regions, seasons, region_sd, season_sd, r_squared, tails)
    for regions, seasons in ((12, 6), (20, 5), (99, 4), (6, 20))
    for region_sd, season_sd, r_squared, tails in (
        (0.0, 0.0, 0.99, False),
        (0.0, 0.0, 0.5, False),
        (1.0, 0.5, 0.5, False),
        (2.0, 1.0, 0.5, False),
        (2.0, 1.0, 0.1, False),
        (1.0, 0.5, 0.5, True),
    )
]


def _row(panel: Panel, batches: int, draw: np.random.Generator) -> list[float]:
    """Return the shares of honest seasons accepted, and of each poison refused."""
    counts = np.zeros(1 + len(SEASON_POISONS))
    for _ in range(batches):
        known, season = panel.draw(draw)
        gate = Gate(known)
        counts[0] += gate.accepts(season)
        for number, poison in enumerate(SEASON_POISONS, 1):
            weather, yields = poison(draw, season.weather, season.yields)
            wrong = Table(season.regions, season.seasons, weather, season.crops, np.ascontiguousarray(yields))
            counts[number] += not gate.accepts(wrong)
    return list(counts / batches)


def _tutorial(batches: int, seed: int) -> None:
    simulation = Tutorial(seed)
    for rows in HONEST_SIZES:
        accepted = simulation.accepted(batches, rows)
        print(f"honest, {rows:2d} rows            accepted {accepted / batches:7.1%}")
    for poison in POISONS:
        refused = batches - simulation.accepted(batches, POISONED_SIZE, poison)
        print(f"{poison.__name__:15s} {POISONED_SIZE} rows    refused  {refused / batches:7.1%}")


def _panels(batches: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = [poison.__name__.replace("_", " ") for poison in SEASON_POISONS]
    print(f"\n{'a next season of a panel':38s} honest accepted; refused: {', '.join(names)}; their mean")
    rows = []
    for panel in PANELS:
        rows.append(_row(panel, batches, draw))
        _print(str(panel), rows[-1])
    _print("mean", list(np.mean(rows, axis=0)))


def _print(name: str, shares_: list[float]) -> None:
    honest, *refused = shares_
    cells = " ".join(f"{share:5.2f}" for share in refused)
    print(f"{name:38s} {honest:5.2f};  {cells};  {np.mean(refused):5.2f}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=500, help="batches per line of the tutorial's table (500)")
    parser.add_argument("--panels", type=int, default=100, help="panels per line of the other (100)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    _tutorial(given.batches, given.seed)
    _panels(given.panels, given.seed)


if __name__ == "__main__":
    main()
