"""What is wrong with all new rows alike: each slip is named, and honest rows are not suspected."""

from dataclasses import dataclass

import numpy as np
import pytest

from app.model.chi_square import chi_square_quantile
from app.model.fit import least_squares
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.moments import Array, Moments
from app.model.slips import WAY_OUT, slips
from app.model.weather import FEATURE_NAMES

NOISE = 20.0
LINES = {"corn": (50.0, [2.0, 0.25, 1.0]), "soy": (20.0, [-1.0, 0.125, 0.5])}
ROWS = 60


@dataclass(frozen=True)
class World:
    """Where rows come from, and a model that has learned 200 of them."""

    draw: np.random.Generator
    model: LinearModel
    bound: float

    def rows(self, count: int) -> tuple[Array, dict[str, Array]]:
        """Return honest weather, shape (n, 3), and yields by crop."""
        return _rows(self.draw, count)

    def said(self, weather: Array, yields: dict[str, Array]) -> list[str]:
        """Return what is said of new rows."""
        rows = len(weather)
        bound = NOISE * float(np.sqrt(chi_square_quantile(0.99, rows) / rows))
        new = {crop: Moments.of(np.column_stack([weather, tons])) for crop, tons in yields.items()}
        return slips(self.model, new, dict.fromkeys(yields, bound))


def _rows(draw: np.random.Generator, count: int) -> tuple[Array, dict[str, Array]]:
    weather = np.column_stack(
        [draw.uniform(58, 68, count), draw.uniform(300, 1_500, count), draw.uniform(65, 80, count)]
    )
    noise = {crop: draw.normal(0, NOISE, count) for crop in LINES}
    return weather, {crop: base + weather @ weights + noise[crop] for crop, (base, weights) in LINES.items()}


@pytest.fixture
def world() -> World:
    """Return one in which the weather explains half of what yields differ by."""
    draw = np.random.default_rng(3)
    weather, yields = _rows(draw, 200)
    fold = np.arange(200, dtype=np.uint8) % 5
    moments = dict(zip(yields, FoldedMoments.of(weather, np.column_stack(list(yields.values())), fold), strict=True))
    fits = {crop: least_squares(part.total) for crop, part in moments.items()}
    model = LinearModel.of(FEATURE_NAMES, {crop: (fit.weights, fit.intercept) for crop, fit in fits.items()}, moments)
    return World(draw, model, NOISE)


def test_honest_rows_are_not_suspected(world: World) -> None:
    """Of a thousand honest batches of any size none is, nor with a season that is off by the noise, or heavy tails."""
    for number in range(1_000):
        weather, yields = world.rows(1 + number % 50)
        shift = world.draw.normal(0, NOISE)
        tails = NOISE / np.sqrt(2) * world.draw.standard_t(4, len(weather))
        assert world.said(weather, yields) == []
        assert world.said(weather, {crop: tons + shift for crop, tons in yields.items()}) == [] or abs(shift) > NOISE
        if len(weather) > 10:  # one yield in a hundred may lie anywhere
            assert world.said(weather, {"corn": yields["corn"] + tails}) == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1_000.0, "all 60 yields look like kilograms"),
        (2_204.6, "all 60 yields look like pounds"),
        (2.2046, "all 60 yields look as pounds are to kilograms"),
        (2.0, "all 60 yields look twice too large"),
        (10.0, "all 60 yields look ten times too large"),
        (0.1, "all 60 yields look ten times too small"),
        (0.001, "all 60 yields look like thousands of tons"),
    ],
)
def test_a_unit_is_named(world: World, factor: float, words: str) -> None:
    """The factor that explains the yields best, and what to do."""
    weather, yields = world.rows(ROWS)
    assert world.said(weather, {"corn": factor * yields["corn"], "soy": yields["soy"]}) == [f"corn: {words}; {WAY_OUT}"]


def test_one_yield_is_named_too(world: World) -> None:
    """A single row in kilograms."""
    weather, yields = world.rows(1)
    assert world.said(weather, {"soy": 1_000 * yields["soy"]}) == [f"soy: its yield looks like kilograms; {WAY_OUT}"]


def test_exchanged_crops_are_one_sentence(world: World) -> None:
    """Each column fits the other crop."""
    weather, yields = world.rows(ROWS)
    exchanged = {"corn": yields["soy"], "soy": yields["corn"]}
    assert world.said(weather, exchanged) == [
        f"corn and soy look exchanged: each column fits the other crop; {WAY_OUT}"
    ]


def test_exchanged_features_are_named(world: World) -> None:
    """Columns of weather that stand in each other's place."""
    weather, yields = world.rows(ROWS)
    (said, *_) = world.said(weather[:, [0, 2, 1]], yields)
    assert said == f"corn: rainfall and humidity look exchanged; {WAY_OUT}"


def test_what_no_slip_explains_is_told_with_its_size(world: World) -> None:
    """Yields that have nothing to do with the model."""
    weather, yields = world.rows(ROWS)
    (said,) = world.said(weather, {"corn": yields["corn"] + world.draw.choice([-1, 1], ROWS) * 300})
    assert said.startswith(
        "corn: on 60 new rows the current model is off by 298.1 tons: more than the 48.55 that are allowed; "
    )
    assert said.endswith(WAY_OUT)


def test_crops_that_are_not_known_say_nothing(world: World) -> None:
    """Nor do those without rows."""
    weather, yields = world.rows(ROWS)
    assert world.said(weather, {"rye": 1_000 * yields["corn"]}) == []
    assert slips(world.model, {"corn": Moments.empty(4)}, {"corn": 1.0}) == []
