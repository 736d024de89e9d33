"""What regions and seasons have of their own, through whole trainings: the card says it, and predictions have it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from app.cli import grids
from app.data.observations import Observations
from app.data.provenance import Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.model.cells import Cells
from app.model.components import Components
from app.model.crossed import Crossed
from app.model.fit import least_squares
from app.model.linear import LinearModel
from app.model.moments import Array, Moments
from app.model.names import Names
from app.settings import Settings
from app.store.card import EffectsCard
from app.store.version import Version
from app.training.asked import Asked
from app.training.job import Job
from app.training.order import Order
from app.training.review import changes, suspicious
from tests.conftest import ROOT

REGIONS, SEASONS = 30, 6
LAST = str(2_000 + SEASONS - 1)


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on an empty store."""
    job = Job(settings)
    yield job
    job.close()


def _panel(region_sd: float, season_sd: float, *, named: bool = True, regions: int = REGIONS) -> Table:
    draw = np.random.default_rng(3)
    region, season = np.divmod(np.arange(regions * SEASONS), SEASONS)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
    tons = 200 + weather @ [2.0, 0.05, -1.0] + draw.normal(0, 5, len(region))
    tons += draw.normal(0, region_sd, regions)[region] + draw.normal(0, season_sd, SEASONS)[season]
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


def test_a_file_in_passing_tells_of_seasons_alone(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its regions are not told apart, and the card says so; its seasons are those of the rows as one region."""
    path = tmp_path / "large.csv"
    table = _panel(15, 10)
    lines = [
        f"{region},{season},{','.join(map(repr, weather))},{tons!r}"
        for region, season, weather, (tons,) in zip(
            table.regions, table.seasons, table.weather.tolist(), table.yields.tolist(), strict=True
        )
    ]
    path.write_text("region,season,temperature,rainfall,humidity,corn\n" + "\n".join(lines))
    monkeypatch.setattr("app.data.harvest.HELD_ROWS", 100)
    version = job.run(Order(Provenance("test", "test", ""), TableFile(path), alone=True)).version
    effects = version.card.crops["corn"].effects
    assert effects is not None
    assert effects.region is None
    assert effects.season is not None
    assert (effects.rows, effects.season.groups) == (REGIONS * SEASONS, SEASONS)
    assert effects.season.deviation == pytest.approx(10, rel=0.6)
    assert version.card.left_out == ["of a file of more than 100 rows the regions are not told apart: its seasons are"]
    assert version.regions == ()
    as_one = Cells.of(
        Names.of(["all"] * len(table)), Names.of(table.seasons), np.column_stack([table.weather, table.yields])
    )
    found = Components.of(as_one)
    assert found is not None
    assert effects.season.deviation**2 == pytest.approx(found.season.variance, rel=1e-9)


def test_rows_that_are_not_known_by_region_are_told(job: Job, settings: Settings) -> None:
    """Others do not stand for them: predictions are by the common line, and the card says why."""
    assert _effects(job, _panel(15, 10)) is not None
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        transaction._change(transaction.all()[0].id, sql.true(), cells=None, cells_sha256=None)  # noqa: SLF001
    observations.close()
    version = job.run(Order(Provenance("test", "test", ""), None, activate="always")).version
    assert version.card.crops["corn"].effects is None
    (said,) = version.card.left_out
    assert said.startswith("180 rows of earlier batches are not known by region and season, since they are not stored")


def _learned(job: Job, table: Table) -> Version:
    return job.run(Order(Provenance("test", "test", ""), table, alone=True)).version


def test_the_tutorial_has_none(job: Job, tutorial: Table) -> None:
    """A row a region: its card, its file's format and its weights are as an earlier version wrote them."""
    version = _learned(job, tutorial)
    assert [crop.effects for crop in version.card.crops.values()] == [None, None]
    assert b'"format":"2"' in version.to_bytes()
    assert not version.model.has_effects
    assert version.model.common is version.model
    old = ROOT / "tests" / "stores" / "0.1.0" / "sqlite" / "versions" / "1.safetensors"
    before = Version.from_bytes(old.read_bytes())
    np.testing.assert_allclose(version.weights, before.weights, rtol=1e-12)
    np.testing.assert_allclose(version.intercepts, before.intercepts, rtol=1e-12)


def _predicted(model: LinearModel, table: Table, regions: Sequence[str | None]) -> tuple[Array, Array]:
    """Return what is predicted for a table's weather in some regions, and half the interval's width, tons."""
    yields = model.yields(list(table.weather.T), 0.95, regions)
    margin = yields.margins["corn"]
    assert margin is not None
    return yields.tons["corn"], margin


def _rmse(tons: Array, table: Table) -> float:
    return float(np.sqrt(np.mean((tons - table.yields[:, 0]) ** 2)))


def _known_and_next() -> tuple[Table, Table]:
    """Return all seasons of a panel but the last, and the last one."""
    table = _panel(15, 4)
    is_last = np.array([season == LAST for season in table.seasons])
    return table.rows(~is_last), table.rows(is_last)


def test_a_season_to_come_is_predicted_nearer(job: Job) -> None:
    """Than by the common line, with an interval that is narrower; regions never seen get a wider one."""
    known, coming = _known_and_next()
    model = _learned(job, known).model
    tons, margin = _predicted(model, coming, coming.regions)
    common, common_margin = _predicted(model.common, coming, coming.regions)
    assert _rmse(tons, coming) < 0.7 * _rmse(common, coming)
    assert (margin < 0.9 * common_margin).all()
    unseen, unseen_margin = _predicted(model, coming, ["elsewhere"] * len(coming))
    assert (unseen_margin > 1.2 * margin).all()
    nowhere = _predicted(model, coming, ())
    for found, expected in zip(nowhere, (unseen, unseen_margin), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_a_region_is_predicted_as_computed_directly(job: Job) -> None:
    """From the table's rows, without a store."""
    known, coming = _known_and_next()
    rows = np.column_stack([known.weather, known.yields])
    cells = Cells.of(Names.of(known.regions), Names.of(known.seasons), rows)
    parts = Components.of(cells)
    assert parts is not None
    crossed = Crossed.of(cells, parts, Moments.of(rows))
    line = least_squares(crossed.moments)
    effects = crossed.effects(line.weights, line.intercept)
    names = [cells.regions[code] for code in crossed.regions.tolist()]
    places = np.array([names.index(region or "") for region in coming.regions])
    weather = list(coming.weather.T)
    tons, margin = _predicted(_learned(job, known).model, coming, coming.regions)
    np.testing.assert_allclose(tons, effects.tons(weather, places), rtol=1e-9)
    np.testing.assert_allclose(margin, effects.scale(0.95)[places] * effects.width(weather, places), rtol=1e-9)
    # Each region has all the seasons: its offset is the mean of what the line leaves of it, held near that of all.
    left = known.yields[:, 0] - known.weather @ effects.weights - effects.intercept
    means = np.array([left[[region == name for region in known.regions]].mean() for name in names])
    held = (SEASONS - 1) / (SEASONS - 1 + parts.noise / parts.region.variance)
    np.testing.assert_allclose(effects.offset[:-1], held * (means - means.mean()), atol=1e-6)


def test_rows_without_a_region_help_with_the_line(job: Job) -> None:
    """Some rows name none: the others' regions are known, and the nameless ones are none of them."""
    table = _panel(15, 10)
    nameless = np.arange(len(table)) % 4 == 0
    regions = tuple(None if hidden else name for name, hidden in zip(table.regions, nameless, strict=True))
    version = _learned(job, replace(table, regions=regions))
    effects = version.card.crops["corn"].effects
    assert effects is not None
    assert (effects.rows, effects.region is None, version.card.rows.total) == (135, False, 180)
    served = version.model.crops[0].effects
    assert served is not None
    assert served.rows.sum() == 135
    assert set(version.model.regions) == {name for name in regions if name}
    tons, _ = _predicted(version.model, table, table.regions)
    common, _ = _predicted(version.model.common, table, table.regions)
    assert _rmse(tons, table) < 0.8 * _rmse(common, table)


def test_seasons_alone(job: Job) -> None:
    """Where regions do not differ: no region is known or warned of, and intervals are for a season to come."""
    table = _panel(0, 12)
    version = _learned(job, table)
    effects = version.card.crops["corn"].effects
    assert effects is not None
    assert effects.region is None
    assert effects.season is not None
    assert version.model.regions == ()
    assert not version.model.not_learned.any()
    again = Version.from_bytes(version.to_bytes()).model
    tons, margin = _predicted(version.model, table, ())
    for found, expected in zip(_predicted(again, table, table.regions), (tons, margin), strict=True):
        assert found.tobytes() == expected.tobytes()
    assert (margin > 2 * effects.season.deviation).all()


def test_a_version_with_effects_survives_its_file(job: Job) -> None:
    """Of format 3; read back it predicts the same bits, for all regions and however they are named."""
    table = _panel(15, 10)
    version = _learned(job, table)
    content = version.to_bytes()
    assert b'"format":"3"' in content
    again = Version.from_bytes(content)
    assert again.card == version.card
    assert again.model.regions == version.model.regions
    for regions in (table.regions, Names.of(table.regions), ["elsewhere"] * len(table), ()):
        for model, first in ((again.model, version.model), (again.model.common, version.model.common)):
            for found, wanted in zip(_predicted(model, table, regions), _predicted(first, table, regions), strict=True):
                assert found.tobytes() == wanted.tobytes()


def test_the_common_line_is_what_a_version_without_effects_says(job: Job) -> None:
    """That of the card, with its interval: what is predicted where no row names its region."""
    table = _panel(15, 0)
    version = _learned(job, table)
    card = version.card.crops["corn"]
    without = Version(version.card, version.weights, version.intercepts, version.moments)
    common = version.model.common
    assert (common.crops, common.has_effects, common.regions) == (without.model.crops, False, ())
    assert common.common is common
    tons, margin = _predicted(common, table, table.regions)
    np.testing.assert_allclose(tons, card.intercept + table.weather @ list(card.weights.values()), rtol=1e-12)
    assert card.effects is not None
    assert card.effects.weights != card.weights
    nameless = _learned(job, replace(table, regions=(None,) * len(table)))
    assert nameless.card.crops["corn"].effects is None
    for found, expected in zip(_predicted(nameless.model, table, ()), (tons, margin), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_is_usual_for_its_region_is_not_suspicious(job: Job) -> None:
    """Though far from the common line; and what lies near that but far from its region's own is."""
    table = _panel(8, 0, regions=100)
    fertile = "region 7"
    table.yields[[region == fertile for region in table.regions]] += 150
    model = _learned(job, table).model
    weather = table.weather[[table.regions.index(fertile)]]
    usual, common = (
        float(_predicted(of, replace(table, weather=weather), [fertile])[0][0]) for of in (model, model.common)
    )

    def found(
        tons: float, region: str | None = fertile, by: LinearModel = model
    ) -> list[tuple[int, str | None, float]]:
        rows = Table((region,), ("2026",), weather, ("corn",), np.array([[tons]]))
        return [(item.row, item.region, item.predicted) for item in suspicious(rows, Asked.of(rows, by), 7)]

    assert found(usual) == []
    assert found(common) == [(7, fertile, usual)]
    assert found(usual, by=model.common) == [(7, fertile, common)]
    assert found(common, by=model.common) == []
    for unknown in ("elsewhere", None):  # as far off the line as a region that nothing is known of may be
        assert found(common + 60, unknown) == []
        assert [row for row, _, _ in found(usual, unknown)] == [7]


def test_a_dry_run_shows_what_regions_would_be_told(job: Job) -> None:
    """Its predictions are those of the region, as they would be served, beside those of the live version."""
    table = _panel(15, 10)
    model = _learned(job, table).model
    asked: dict[str | None, Array] = {
        "region 0": table.weather[0],
        "elsewhere": table.weather[1],
        None: table.weather[2],
    }
    columns = list(table.weather[:3].T)
    shown = changes(model.common, model, asked).regions
    assert [row.yields["corn"].new for row in shown] == model.yields(columns, 0.95, list(asked)).tons["corn"].tolist()
    assert [row.yields["corn"].old for row in shown] == model.common.yields(columns, 0.95).tons["corn"].tolist()
    assert [row.yields["corn"].old for row in changes(None, model, asked).regions] == [None] * 3
