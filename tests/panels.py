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


def learned(table: Table, store: Path) -> Version:
    """Return the first version of a store that has learned a table."""
    job = Job(Settings(model_store=store))
    version = job.run(Order(Provenance("panel.csv", "test"), table, alone=True)).version
    job.close()
    return version
