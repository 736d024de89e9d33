"""Panels: regions in several seasons, of which training finds what each has of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from app.store.version import Version
from app.training.job import Job
from app.training.order import Order

REGIONS, SEASONS = "ABCDEFGHI", 5
INSIDE: dict[str, Any] = {"temperature": 80.0, "rainfall": 70.0, "humidity": 50.0}
"""Weather that is near all the panel's rows."""


def with_effects() -> Table:
    """Return regions A to I in five seasons: mango differs by region, orange by season too, and pear by none.

    Region I grows no orange.
    """
    draw = np.random.default_rng(1)
    region, season = np.divmod(np.arange(len(REGIONS) * SEASONS), SEASONS)
    weather = draw.normal([80.0, 70.0, 50.0], [8.0, 25.0, 9.0], (len(region), 3))
    line = weather @ [0.4, 0.6, -0.2] + draw.normal(0, 2, len(region))
    mango = line + draw.normal(0, 12, len(REGIONS))[region]
    orange = line + draw.normal(0, 8, len(REGIONS))[region] + draw.normal(0, 9, SEASONS)[season]
    orange[region == REGIONS.index("I")] = np.nan
    names, seasons = tuple(REGIONS[number] for number in region), tuple(str(2_000 + number) for number in season)
    return Table(names, seasons, weather, ("mango", "orange", "pear"), np.column_stack([mango, orange, line]))


def on_a_line(regions: int, seasons: int, *, named: bool = True, dated: bool = True) -> Table:
    """Return corn of each region in each season, scattered by 5 t; regions without names, or seasons, where told."""
    draw = np.random.default_rng(regions + 10 * seasons)
    region, season = np.divmod(np.arange(regions * seasons), seasons)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
    tons = 50 + weather @ [2.0, 0.05, -1.0] + draw.normal(0, 5, len(region))
    return Table(
        tuple(f"region {number}" if named else None for number in region),
        tuple(str(2_000 + number) if dated else None for number in season),
        weather,
        ("corn",),
        tons[:, None],
    )


def learned(table: Table, store: Path) -> Version:
    """Return the first version of a store that has learned a table."""
    job = Job(Settings(model_store=store))
    version = job.run(Order(Provenance("panel.csv", "test"), table, alone=True)).version
    job.close()
    return version


def surprised(store: Path) -> Version:
    """Return the second version of a store: what came in three seasons was not all as the first had said.

    Mango was; orange lay two standard errors lower, and pear scattered three times as far.
    """
    first = learned(with_effects(), store)
    draw = np.random.default_rng(2)
    region, season = np.divmod(np.arange(len(REGIONS) * 3), 3)
    names = tuple(REGIONS[number] for number in region)
    weather = draw.normal([80.0, 70.0, 50.0], [6.0, 15.0, 7.0], (len(region), 3))
    said = [crop.expected(list(weather.T), first.model.places(names)) for crop in first.model.crops]
    away = draw.normal([0.0, -2.0, 0.0], [0.8, 0.8, 3.0], (len(region), 3))
    yields = np.column_stack([tons + error * away[:, crop] for crop, (tons, error) in enumerate(said)])
    table = Table(names, tuple(str(2_005 + number) for number in season), weather, ("mango", "orange", "pear"), yields)
    job = Job(Settings(model_store=store))
    version = job.run(Order(Provenance("seasons.csv", "test"), table, activate="always")).version
    job.close()
    return version
