"""What regions and seasons have of their own, through whole trainings: the card says it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.cli import grids
from app.data.provenance import Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.settings import Settings
from app.store.card import EffectsCard
from app.training.job import Job
from app.training.order import Order

REGIONS, SEASONS = 30, 6


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on an empty store."""
    job = Job(settings)
    yield job
    job.close()


def _panel(region_sd: float, season_sd: float, *, named: bool = True) -> Table:
    draw = np.random.default_rng(3)
    region, season = np.divmod(np.arange(REGIONS * SEASONS), SEASONS)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
    tons = 200 + weather @ [2.0, 0.05, -1.0] + draw.normal(0, 5, len(region))
    tons += draw.normal(0, region_sd, REGIONS)[region] + draw.normal(0, season_sd, SEASONS)[season]
    names = tuple(f"region {number}" if named else None for number in region)
    return Table(names, tuple(str(2_000 + number) for number in season), weather, ("corn",), tons[:, None])


def _effects(job: Job, *tables: Table | TableFile) -> EffectsCard | None:
    for table in tables:
        outcome = job.run(Order(Provenance("test", "test", ""), table, activate="always"))
    return outcome.version.card.crops["corn"].effects


def test_the_card_says_how_much_is_region_and_season(job: Job) -> None:
    """Deviations and shares, of how many regions and seasons."""
    effects = _effects(job, _panel(15, 10))
    assert effects is not None
    assert effects.region is not None
    assert effects.season is not None
    assert (effects.rows, effects.region.groups, effects.season.groups) == (180, 30, 6)
    assert effects.region.deviation == pytest.approx(15, rel=0.3)
    assert effects.season.deviation == pytest.approx(10, rel=0.6)
    assert effects.noise == pytest.approx(5, rel=0.2)
    card = job.run(Order(Provenance("test", "test", ""), None, activate="always")).version.card
    shares = f"{effects.region.share:.0%} the region (30 regions), {effects.season.share:.0%} the season (6 seasons)"
    assert f"beyond weather      of what the weather leaves unexplained in corn, {shares}" in grids.fit_lines(card)
    total = effects.region.deviation**2 + effects.season.deviation**2 + effects.noise**2
    assert effects.region.share == pytest.approx(effects.region.deviation**2 / total)


def test_batches_add_up(job: Job) -> None:
    """Rows that come in parts, whatever regions and seasons they are of, are those of the whole."""
    whole = _panel(15, 10)
    order = np.arange(len(whole))
    in_parts = _effects(job, *(whole.rows(order % 7 == part) for part in range(7)))
    together = job.run(Order(Provenance("test", "test", ""), whole, alone=True)).version.card.crops["corn"].effects
    assert in_parts is not None
    assert together is not None
    assert in_parts.region is not None
    assert together.region is not None
    assert in_parts.region.deviation == pytest.approx(together.region.deviation, rel=1e-9)
    assert in_parts.noise == pytest.approx(together.noise, rel=1e-9)


@pytest.mark.parametrize("table", [_panel(0, 0), _panel(15, 0, named=False)])
def test_where_nothing_is_seen_nothing_is_said(job: Job, table: Table) -> None:
    """Regions and seasons without any of their own, and rows without names."""
    assert _effects(job, table) is None


def test_a_file_in_passing_says_nothing(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some rows are not known by region and season, the others do not stand for them."""
    path = tmp_path / "large.csv"
    table = _panel(15, 10)
    lines = [
        f"{region},{season},{','.join(map(repr, weather))},{tons!r}"
        for region, season, weather, (tons,) in zip(
            table.regions, table.seasons, table.weather.tolist(), table.yields.tolist(), strict=True
        )
    ]
    path.write_text("region,season,temperature,rainfall,humidity,corn\n" + "\n".join(lines))
    assert _effects(job, TableFile(path)) is not None
    monkeypatch.setattr("app.data.harvest.HELD_ROWS", 100)
    assert _effects(job, TableFile(path)) is None


def test_the_tutorial_has_none(job: Job, tutorial: Table) -> None:
    """A row a region: as before."""
    card = job.run(Order(Provenance("tutorial", "test", ""), tutorial, alone=True)).version.card
    assert [crop.effects for crop in card.crops.values()] == [None, None]
