"""The crossed fit: what generalised least squares on all rows gives, with the covariance of all rows written out."""

from collections.abc import Sequence

import numpy as np
import pytest

from app.model.cells import Cells
from app.model.components import Components, Part
from app.model.crossed import Crossed
from app.model.effects import Effects
from app.model.fit import least_squares
from app.model.moments import Moments
from app.model.names import Names

REGIONS, SEASONS, ROWS, NOISE = 12, 6, 90, 1.3


class World:
    """Rows of regions and seasons, some of which are not named, and their covariance."""

    def __init__(self, by_region: float, by_season: float, *, unnamed: float = 0.0) -> None:
        draw = np.random.default_rng(3)
        self.region, self.season = draw.integers(0, REGIONS, ROWS), draw.integers(0, SEASONS, ROWS)
        weather = draw.normal([70, 900, 50], [4, 40, 4], (ROWS, 3)) + draw.normal(0, 3, (REGIONS, 3))[self.region]
        tons = 50 + weather @ [0.5, 0.02, -0.3] + draw.normal(0, 2, REGIONS)[self.region] + draw.normal(size=ROWS)
        self.region[draw.random(ROWS) < unnamed] = -1
        self.rows = np.column_stack([weather, tons])
        self.by_region = by_region
        same = (self.region[:, None] == self.region) & (self.region >= 0) | np.eye(ROWS, dtype=bool)
        covariance = by_region * same + by_season * (self.season[:, None] == self.season) + NOISE * np.eye(ROWS)
        self.inverse = np.linalg.inv(covariance)
        self.design = np.column_stack([np.ones(ROWS), weather])
        self.spread = np.linalg.inv(self.design.T @ self.inverse @ self.design)
        self.line = self.spread @ self.design.T @ self.inverse @ tons
        self.left = tons - self.design @ self.line
        parts = Components(ROWS, Part(by_region, REGIONS), Part(by_season, SEASONS), NOISE, 70)
        regions = Names([str(number) for number in range(REGIONS)], self.region.astype(np.int32))
        seasons = Names([str(number) for number in range(SEASONS)], self.season.astype(np.int32))
        self.crossed = Crossed.of(Cells.of(regions, seasons, self.rows), parts, Moments.of(self.rows))

    def effects(self) -> Effects:
        """Return what is served."""
        fit = least_squares(self.crossed.moments)
        return self.crossed.effects(fit.weights, fit.intercept)

    def offset(self, region: int) -> float:
        """Return the best linear unbiased prediction."""
        return float(self.by_region * (self.region == region) @ self.inverse @ self.left)

    def variance(self, weather: Sequence[float], region: int | None) -> float:
        """Return that of the line and the region's offset at some weather, about what they are."""
        point = np.array([1.0, *weather])
        covariance = self.by_region * (self.region == region) if region is not None else np.zeros(ROWS)
        away = point - self.design.T @ self.inverse @ covariance
        own = self.by_region if region is not None else 0.0
        return float(own - covariance @ self.inverse @ covariance + away @ self.spread @ away)


WORLDS = [World(4, 1), World(4, 1, unnamed=0.2), World(4, 0, unnamed=0.2), World(0, 1, unnamed=0.2), World(0.1, 9)]


@pytest.mark.parametrize("world", WORLDS)
def test_it_is_generalised_least_squares(world: World) -> None:
    """The line and its standard errors."""
    effects = world.effects()
    assert [effects.intercept, *effects.weights] == pytest.approx(world.line, rel=1e-9)
    errors = effects.standard_errors(world.crossed.mean_variance)
    assert errors == pytest.approx(np.sqrt(np.diag(world.spread)), rel=1e-9)


@pytest.mark.parametrize("world", WORLDS)
def test_regions_are_predicted_best(world: World) -> None:
    """Their offsets and the variance of what is said of them, and of a region never seen."""
    effects = world.effects()
    known = world.crossed.regions.tolist()
    assert known == (sorted({*world.region.tolist()} - {-1}) if world.by_region else [])
    for place, region in enumerate(known):
        assert effects.offset[place] == pytest.approx(world.offset(region), rel=1e-8, abs=1e-10)
        assert effects.rows[place] == np.sum(world.region == region)
        weather = (world.rows[place, :3] * 1.1).tolist()
        assert NOISE * effects.leverage(weather, place) == pytest.approx(world.variance(weather, region), rel=1e-9)
    weather = world.rows[0, :3].tolist()
    unseen = NOISE * effects.leverage(weather, effects.unseen)
    assert unseen == pytest.approx(world.variance(weather, None), rel=1e-9)
    assert effects.offset[effects.unseen] == 0


def test_a_region_of_few_rows_is_nearly_one_never_seen() -> None:
    """The variances of both agree as what is known of a region goes to nothing."""
    world = World(1e-9, 1)
    effects = world.effects()
    weather = world.rows[0, :3].tolist()
    of_yield = [effects.width(weather, place) for place in (0, effects.unseen)]
    assert of_yield[0] == pytest.approx(of_yield[1], rel=1e-8)


def test_degrees_are_satterthwaites() -> None:
    """With seasons of five degrees, and regions of eleven."""
    effects = World(4, 1).effects()
    known = (NOISE + 1) ** 2 / (NOISE**2 / 70 + 1 / 5)
    unseen = (NOISE + 5) ** 2 / (NOISE**2 / 70 + 1 / 5 + 16 / 11)
    assert effects.degrees == pytest.approx((known, unseen))
