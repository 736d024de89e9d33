"""Years going by: forecasts in spring on last year's weather, harvests in autumn, a training on each."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from app.data.forecasts import ForecastBatch, Foretold
from app.data.observations import Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.model.linear import LinearModel, clipped
from app.model.moments import Array
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry
from app.training.job import Job, Outcome
from app.training.order import Order
from app.training.report import Activate

TEST = Provenance("test", "test")
CROPS = ("corn", "soy")
LEVEL = 0.9


def weather_of(year: int, regions: int) -> Array:
    """Return the weather of a year, shape (regions, 3)."""
    draw = np.random.default_rng(year)
    return draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (regions, 3)).round(4)


def harvest_of(year: int, regions: int, *, beyond: float = 0.0, alike: float = 8.0) -> Table:
    """Return what was harvested in a year; every fifth region reports no soy.

    ``beyond``: what corn has besides. ``alike``: the deviation of what all regions of a year have in common.
    """
    draw = np.random.default_rng(10_000 + year)
    weather = weather_of(year, regions)
    lean = draw.normal(0.0, alike)
    corn = 200 + weather @ [2.0, 0.05, -1.0] + draw.normal(lean + beyond, 5.0, regions)
    soy = 90 + weather @ [1.0, 0.01, 0.5] + draw.normal(-lean, 4.0, regions)
    yields = np.column_stack([corn, soy])
    yields[::5, 1] = np.nan
    return Table(tuple(f"R{row}" for row in range(regions)), (str(year),) * regions, weather, CROPS, yields)


@dataclass
class Said:
    """A forecast of one crop by hand: what was said, when, for what, by which version."""

    version: str
    crop: str
    region: str
    season: str
    tons: float
    low: float
    high: float
    weather: Array
    extrapolated: bool
    due: str | None
    number: int


@dataclass
class World:
    """A store in which years go by."""

    settings: Settings
    regions: int
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open it."""
        self.job = Job(self.settings)
        self.observations = Observations(self.settings.database)
        self.registry = Registry(open_store(self.settings))

    def close(self) -> None:
        """Close it."""
        self.job.close()
        self.observations.close()

    @property
    def live(self) -> str:
        """The live version."""
        return self.registry.live().line.version

    def learn(self, table: Table, activate: Activate = "always") -> Outcome:
        """Train on a harvest."""
        return self.job.run(Order(TEST, table, activate=activate))

    def foretell(self, season: str, weather: Array, due_in: int | None = None, version: str | None = None) -> None:
        """Store what a version, else the live one, says for a season; ``due_in``: days from today."""
        number = version or self.live
        model = self.registry.read(number).model
        names = [f"R{row}" for row in range(len(weather))]
        due = None if due_in is None else (datetime.now(UTC).date() + timedelta(days=due_in)).isoformat()
        yields = model.yields(list(weather.T), LEVEL, names)
        answered = np.full((len(names), len(model.crops), 3), np.nan)
        for place, crop in enumerate(model.crops):
            middle, margin = yields.tons[crop.crop], yields.margins[crop.crop]
            assert margin is not None
            answered[:, place] = np.column_stack([clipped(middle), clipped(middle - margin), clipped(middle + margin)])
        crops = tuple(crop.crop for crop in model.crops)
        told = Foretold(
            [None] * len(names),
            names,
            [season] * len(names),
            [due] * len(names),
            weather,
            crops,
            answered,
            yields.extrapolated.tolist(),
            [()] * len(names),
        )
        with self.observations.transaction() as transaction:
            transaction.forecasts.add(ForecastBatch.of(number, LEVEL, told, TEST), told)
        for row, name in enumerate(names):
            for place, crop_name in enumerate(crops):
                tons, low, high = answered[row, place].tolist()
                known = weather[row], bool(yields.extrapolated[row]), due, len(self.said)
                self.said.append(Said(number, crop_name, name, season, tons, low, high, *known))


def days_before(due: str | None) -> int:
    """Return how many days from today a day is."""
    return 0 if due is None else (date.fromisoformat(due) - datetime.now(UTC).date()).days


def answer_of(model: LinearModel, crop: str, weather: Array, region: str) -> float:
    """Return what a model answers for one region, not below 0."""
    return max(0.0, float(model.yields([np.array([value]) for value in weather], LEVEL, [region]).tons[crop][0]))
