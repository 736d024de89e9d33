"""How often the gate is right: honest batches that it accepts and poisoned ones that it refuses, through the real code.

The current model is the one fitted on the tutorial's 15 regions. A batch's weather is that of random regions of these,
each value moved by at most 1; its yields are the model's predictions with its own residual deviation as normal noise.
"""

import argparse
import sys
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from app.data.harvest import moments_of
from app.data.tables import Table, parse_observations
from app.model.fit import Fit, least_squares
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.scores import Current, judge, out_of_fold
from app.model.weather import FEATURE_NAMES

Poison = Callable[[np.random.Generator, Array, Array], tuple[Array, Array]]
HONEST_SIZES = (1, 3, 6, 15, 50)
POISONED_SIZE = 10


def kilograms(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give one yield in kilograms."""
    return weather, _scaled(draw, yields, 1_000.0)


def ten_times(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give one yield times ten."""
    return weather, _scaled(draw, yields, 10.0)


def swapped_crops(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Swap the columns of the two crops."""
    return weather, yields[:, ::-1]


def swapped_weather(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Swap temperature and humidity."""
    return weather[:, [2, 1, 0]], yields


def celsius(_draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Give the temperature in °C."""
    return (weather - [32.0, 0.0, 0.0]) * [5.0 / 9.0, 1.0, 1.0], yields


def random_tenth(draw: np.random.Generator, weather: Array, yields: Array) -> tuple[Array, Array]:
    """Make a tenth of the rows random: weather and yields anywhere in their ranges."""
    rows = draw.choice(len(yields), max(1, len(yields) // 10), replace=False)
    weather, yields = weather.copy(), yields.copy()
    weather[rows] = draw.uniform([68.0, 43.0, 36.0], [103.0, 135.0, 71.0], (len(rows), 3))
    yields[rows] = draw.uniform([20.0, 37.0], [119.0, 134.0], (len(rows), 2))
    return weather, yields


POISONS: tuple[Poison, ...] = (kilograms, ten_times, swapped_crops, swapped_weather, celsius, random_tenth)


def _scaled(draw: np.random.Generator, yields: Array, factor: float) -> Array:
    yields = yields.copy()
    yields[draw.integers(len(yields)), draw.integers(2)] *= factor
    return yields


def fit_closed(moments: dict[str, FoldedMoments]) -> Fit:
    """Return the least-squares fit: where descent ends, without its epochs."""
    return Fit("descent", {crop: least_squares(part.total) for crop, part in moments.items()}, 0, (), 0.0)


class Simulation:
    """Draws batches and asks the gate about them."""

    def __init__(self, seed: int) -> None:
        with as_file(files("app.data").joinpath("tutorial.csv")) as path:
            self._table = parse_observations(path.read_bytes())
        self._old = moments_of(self._table)
        lines = {crop: (fit.weights, fit.intercept) for crop, fit in fit_closed(self._old).crops.items()}
        model = LinearModel.of(FEATURE_NAMES, lines, self._old)
        recorded = {crop: score.tons for crop, part in self._old.items() if (score := out_of_fold(part, part))}
        self._current = Current(model, recorded)
        self._draw = np.random.default_rng(seed)

    def accepts(self, rows: int, poison: Poison | None) -> bool:
        """Draw one batch and say whether the gate accepts it."""
        weather, yields = self._batch(rows)
        if poison is not None:
            weather, yields = poison(self._draw, weather, yields)
        names = tuple(f"region {number}" for number in self._draw.integers(10**9, size=rows))
        new = moments_of(Table(names, (None,) * rows, weather, self._table.crops, yields))
        together = {crop: FoldedMoments.merge([self._old[crop], new[crop]]) for crop in new}
        return judge(fit_closed(together), together, self._old, new, self._current, may_drop=False).accepted

    def _batch(self, rows: int) -> tuple[Array, Array]:
        known = self._table.weather
        moved = known[self._draw.integers(len(known), size=rows)] + self._draw.integers(-1, 2, (rows, 3))
        weather = np.clip(moved, known.min(axis=0), known.max(axis=0))
        columns = list(weather.T)
        noise = [self._draw.normal(0.0, crop.residual_sd or 0.0, rows) for crop in self._current.model.crops]
        lines = [crop.tons(columns) for crop in self._current.model.crops]
        return weather, np.column_stack(lines) + np.column_stack(noise)

    def accepted(self, batches: int, rows: int, poison: Poison | None = None) -> int:
        """Return how many of so many batches the gate accepts."""
        return sum(self.accepts(rows, poison) for _ in range(batches))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=500, help="batches per line (500)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    simulation = Simulation(given.seed)
    for rows in HONEST_SIZES:
        accepted = simulation.accepted(given.batches, rows)
        print(f"honest, {rows:2d} rows            accepted {accepted / given.batches:7.1%}")
    for poison in POISONS:
        refused = given.batches - simulation.accepted(given.batches, POISONED_SIZE, poison)
        print(f"{poison.__name__:15s} {POISONED_SIZE} rows    refused  {refused / given.batches:7.1%}")


if __name__ == "__main__":
    main()
