"""Scores against NumPy by hand, as if years went by; on SQLite and PostgreSQL."""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql

from app.data import stored
from app.data.harvest import Harvest
from app.data.observations import Batch
from app.data.tables import Table
from app.errors import InvalidInput
from app.model.linear import clipped
from app.model.scored import Scored
from app.serving import foretold, groups, scores
from app.serving.groups import Basis, Group, Key, LeftOut, Scores
from app.settings import Settings
from tests.postgresql import Cluster
from tests.years import LEVEL, TEST, World, answer_of, days_before, harvest_of, weather_of

REGIONS = 24
YEARS = range(2020, 2025)
CLOSE = 1e-12
BASES: tuple[Basis, ...] = ("forecast", "arrival")


def _settings(request: pytest.FixtureRequest, folder: Path, kind: str) -> Settings:
    if kind == "SQLite":
        return Settings(model_store=folder / "store")
    server: Cluster = request.getfixturevalue("postgresql")
    return Settings(model_store=folder / "store", database_url=server.database())


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def years(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a store in which years have gone by: forecasts by last year's weather, twice, and a training on each."""
    world = World(_settings(request, tmp_path_factory.mktemp("years"), request.param), REGIONS)
    world.learn(harvest_of(2019, REGIONS))
    for year in YEARS:
        world.foretell(str(year), weather_of(year - 1, REGIONS), due_in=200)
        near = (weather_of(year - 1, REGIONS) + weather_of(year, REGIONS)) / 2
        world.foretell(str(year), near, due_in=60)
        world.learn(harvest_of(year, REGIONS))
    yield world
    world.close()


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.long)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Return a small store of its own, trained on a year."""
    found = World(_settings(request, tmp_path, request.param), REGIONS)
    found.learn(harvest_of(2019, REGIONS))
    yield found
    found.close()


@dataclass
class Pair:
    """One pair by hand."""

    keys: dict[str, Any]
    season: str
    tons: float
    said: tuple[float, float, float]
    level: float
    baseline: float
    on_reported: float


def _forecast_pairs(world: World, *, last: bool) -> list[Pair]:
    """Return what there is on the basis "forecast", from what was noted down when it was said."""
    found: dict[Any, Pair] = {}
    for said in world.said:
        table = harvest_of(int(said.season), REGIONS)
        row = int(said.region[1:])
        tons = float(table.yields[row, table.crops.index(said.crop)])
        if math.isnan(tons):
            continue
        version = world.registry.read(said.version)
        days = days_before(said.due)
        lead = "0-30" if days <= 30 else "31-90" if days <= 90 else "91-180" if days <= 180 else ">180"
        pair = Pair(
            {
                "version": said.version,
                "crop": said.crop,
                "season": said.season,
                "region": said.region,
                "lead": lead,
                "extrapolated": said.extrapolated,
            },
            said.season,
            tons,
            (said.tons, said.low, said.high),
            LEVEL,
            version.card.crops[said.crop].mean_yield,
            answer_of(version.model, said.crop, table.weather[row], said.region),
        )
        found[(said.crop, said.region, said.season, None if last else said.number)] = pair
    return list(found.values())


def _arrival_pairs(world: World) -> list[Pair]:
    """Return what there is on the basis "arrival": each year's harvest, asked of the version before."""
    found = []
    for number, year in enumerate(YEARS, start=1):
        table, version = harvest_of(year, REGIONS), world.registry.read(str(number))
        yields = version.model.yields(list(table.weather.T), 0.95, table.regions)
        for place, crop in enumerate(table.crops):
            margin = yields.margins[crop]
            assert margin is not None
            middle = yields.tons[crop]
            said = np.column_stack([clipped(middle), clipped(middle - margin), clipped(middle + margin)])
            for row in np.flatnonzero(~np.isnan(table.yields[:, place])).tolist():
                keys: dict[str, Any] = {
                    "version": str(number),
                    "crop": crop,
                    "season": str(year),
                    "region": table.regions[row],
                }
                keys |= {"lead": None, "extrapolated": bool(yields.extrapolated[row])}
                numbers = tuple(said[row].tolist())
                baseline = version.card.crops[crop].mean_yield
                tons = float(table.yields[row, place])
                found.append(Pair(keys, str(year), tons, numbers, 0.95, baseline, numbers[0]))
    return found


def _by_hand(pairs: list[Pair]) -> dict[str, float]:
    """Return the figures of a group, each by its definition."""
    tons, said = np.array([pair.tons for pair in pairs]), np.array([pair.said for pair in pairs])
    level = np.array([pair.level for pair in pairs])
    middle, low, high = said.T
    error = tons - middle
    alpha = 1.0 - level
    score = (high - low) + 2 / alpha * (np.maximum(low - tons, 0) + np.maximum(tons - high, 0))
    base = tons - np.array([pair.baseline for pair in pairs])
    on_reported = np.array([pair.on_reported for pair in pairs])
    return {
        "n": len(pairs),
        "seasons": len({pair.season for pair in pairs}),
        "bias": np.mean(error),
        "mae": np.mean(np.abs(error)),
        "rmse": np.sqrt(np.mean(error**2)),
        "inside": np.sum((low <= tons) & (tons <= high)),
        "width": np.mean(high - low),
        "interval_score": np.mean(score),
        "skill": 1 - np.sum(error**2) / np.sum(base**2),
        "model_error": np.mean(tons - on_reported),
        "weather_error": np.mean(on_reported - middle),
    }


def _figures(scored: Scored) -> dict[str, float]:
    assert scored.bias is not None
    assert scored.rmse is not None
    assert scored.coverage is not None
    assert scored.coverage.of == scored.n
    found = {name: getattr(scored, name) for name in ("n", "seasons", "mae", "width", "interval_score", "skill")}
    found |= {"model_error": scored.model_error, "weather_error": scored.weather_error}
    return found | {"bias": scored.bias.tons, "rmse": scored.rmse.tons, "inside": scored.coverage.inside}


def _scores(world: World, basis: Basis, *by: Key) -> Scores:
    return scores.scores(world.registry, world.observations, basis, by)


ASKED: list[tuple[Key, ...]] = [
    (),
    ("season",),
    ("version",),
    ("crop", "extrapolated"),
    ("lead",),
    ("region", "season", "lead"),
    ("version", "season", "lead", "extrapolated"),
]


@pytest.mark.parametrize("by", ASKED, ids=",".join)
@pytest.mark.parametrize("basis", ["forecast", "arrival"])
def test_scores_are_those_by_hand(years: World, basis: Basis, by: tuple[Key, ...]) -> None:
    """Of every group, to rounding; forecasts in parts of a few places, too."""
    found = _scores(years, basis, *by)
    pairs = _forecast_pairs(years, last="lead" not in by) if basis == "forecast" else _arrival_pairs(years)
    groups: dict[Group, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[Group(pair.keys["crop"], False, tuple(pair.keys[name] for name in found.by))].append(pair)
    scored = dict(found.scored())
    assert scored.keys() == groups.keys()
    for group, those in groups.items():
        expected = _by_hand(those)
        figures = _figures(scored[group])
        scale = max(pair.tons for pair in those)
        for name, value in expected.items():
            assert figures[name] == pytest.approx(value, rel=CLOSE, abs=CLOSE * scale), (group, name)
    assert found.left_out == LeftOut()
    assert not any(found.ambiguous.values())


@pytest.mark.long
def test_parts_make_the_same(years: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read at once: no place is torn apart, none is missed."""
    whole = _scores(years, "forecast", "season", "region")
    by_lead = _scores(years, "forecast", "lead")
    for limit in (1, 7, 50):
        monkeypatch.setattr(foretold, "READ_AT_ONCE", limit)
        assert dict(_scores(years, "forecast", "season", "region").scored()) == dict(whole.scored())
        parts = dict(_scores(years, "forecast", "lead").scored())
        for group, scored in by_lead.scored():
            assert _figures(parts[group]) == pytest.approx(_figures(scored), rel=CLOSE)


def test_the_error_is_the_models_and_the_weathers(years: World) -> None:
    """The two parts add up to the bias, and the model's part is what arrival says of the same rows."""
    found = dict(_scores(years, "forecast", "season", "version").scored())
    arrived = dict(_scores(years, "arrival", "season", "version").scored())
    assert found.keys() == arrived.keys()
    for group, scored in found.items():
        assert scored.bias is not None
        assert scored.model_error is not None
        assert scored.weather_error is not None
        assert scored.model_error + scored.weather_error == pytest.approx(scored.bias.tons, abs=1e-11)
        assert scored.weather_error != 0.0
        of = arrived[group].bias
        assert of is not None
        assert scored.model_error == pytest.approx(of.tons, abs=1e-11)


def _n(found: Scores, *, set_aside: bool = False) -> dict[str, int]:
    return {group.crop: scored.n for group, scored in found.scored() if group.set_aside == set_aside}


def _stored(world: World, table: Table) -> Batch:
    harvest = Harvest.of(table)
    batch = Batch.of(harvest, TEST)
    with world.observations.transaction() as transaction:
        transaction.add(batch, harvest)
    return batch


def test_what_was_learned_is_no_prediction(world: World) -> None:
    """A version that has learned a yield does not predict it; neither does a forecast that came after it."""
    weather = weather_of(2019, REGIONS)
    world.foretell("2019", weather)  # version 1 has learned 2019
    found = _scores(world, "forecast")
    assert _n(found) == {}
    assert found.left_out.learned == REGIONS + REGIONS * 4 // 5
    _stored(world, harvest_of(2020, REGIONS))
    world.foretell("2020", weather)  # of what is known, though the version has not learned it
    found = _scores(world, "forecast")
    assert _n(found) == {}
    assert found.left_out.known == REGIONS + REGIONS * 4 // 5
    assert _n(_scores(world, "arrival")) == {"corn": REGIONS, "soy": REGIONS * 4 // 5}


def test_what_a_training_has_set_aside_counts_by_itself(world: World) -> None:
    """A harvest that the gate refuses is in a group of its own on both bases; restored, it is among the others."""
    world.foretell("2020", weather_of(2019, REGIONS))
    outcome = world.learn(harvest_of(2020, REGIONS, beyond=400.0), activate="if_better")
    assert outcome.report.decision == "rejected"
    for basis in BASES:
        found = _scores(world, basis)
        assert _n(found) == {}
        assert _n(found, set_aside=True)["corn"] == REGIONS
        scored = dict(found.scored())[Group("corn", True, ())]
        assert scored.bias is not None
        assert scored.bias.tons > 300
    assert outcome.report.batch is not None
    with world.observations.transaction() as transaction:
        transaction.restore(outcome.report.batch, "anna", "")
    for basis in BASES:
        found = _scores(world, basis)
        assert _n(found)["corn"] == REGIONS
        assert _n(found, set_aside=True) == {}
    with world.observations.transaction() as transaction:
        transaction.withdraw(outcome.report.batch, "anna", "")
    for basis in BASES:
        assert list(_scores(world, basis).scored()) == []


def test_the_newest_of_several_yields_counts(world: World) -> None:
    """And how many had others to choose from is told; one that names its forecast is not in doubt."""
    world.foretell("2020", weather_of(2020, REGIONS))
    _stored(world, harvest_of(2020, REGIONS))
    later = harvest_of(2020, REGIONS, beyond=50.0)
    _stored(world, later)
    found = _scores(world, "forecast", "region")
    scored = dict(found.scored())
    assert all(of.n == 1 for of in scored.values())
    assert set(found.ambiguous.values()) == {1}
    with world.observations.reading() as transaction:
        (said, *_), _ = transaction.forecasts.page(1, None)
    one = later.rows(np.arange(REGIONS) == int(said.region[1:]))
    _stored(world, replace(one, regions=(None,), seasons=(None,), forecasts=(said.id,)))
    found = _scores(world, "forecast", "region")
    assert found.ambiguous[Group("corn", False, (said.region,))] == 0
    assert sum(found.ambiguous.values()) == len(found.sums) - len([g for g in found.sums if g.values == (said.region,)])


def test_the_last_forecast_of_a_yield_counts(world: World) -> None:
    """Without lead a yield counts once, with it as often as it was foretold."""
    for due in (250, 100, 20):
        world.foretell("2020", weather_of(2000 + due, REGIONS), due_in=due)
    table = harvest_of(2020, REGIONS)
    world.learn(table)
    assert _n(_scores(world, "forecast")) == {"corn": REGIONS, "soy": REGIONS * 4 // 5}
    assert {
        group.values: scored.n for group, scored in _scores(world, "forecast", "lead").scored() if group.crop == "corn"
    } == {
        (">180",): REGIONS,
        ("91-180",): REGIONS,
        ("0-30",): REGIONS,
    }
    last = {said.region: said.tons for said in world.said if said.crop == "corn"}
    errors = [table.yields[row, 0] - last[region] for row, region in enumerate(table.regions) if region is not None]
    bias = dict(_scores(world, "forecast").scored())[Group("corn", False, ())].bias
    assert bias is not None
    assert bias.tons == pytest.approx(np.mean(errors), rel=CLOSE)


def test_the_day_of_the_harvest_is_what_lead_is_counted_from(world: World) -> None:
    """The day that was told, else the day that was expected, else that of the report."""
    world.foretell("2020", weather_of(2020, REGIONS), due_in=100)
    world.foretell("2021", weather_of(2021, REGIONS))
    told = harvest_of(2020, REGIONS)
    days = ["2999-01-01", *[None] * (REGIONS - 1)]
    _stored(world, replace(told, harvested=days))
    _stored(world, harvest_of(2021, REGIONS))
    found = {
        group.values: scored.n
        for group, scored in _scores(world, "forecast", "season", "lead").scored()
        if group.crop == "corn"
    }
    assert found == {("2020", ">180"): 1, ("2020", "91-180"): REGIONS - 1, ("2021", "0-30"): REGIONS}


def test_damage_is_left_out_and_counted(world: World) -> None:
    """A forecast, an observation or a version that is not what was written is no reason to know nothing."""
    world.foretell("2020", weather_of(2020, REGIONS))
    _stored(world, harvest_of(2020, REGIONS))
    whole = _scores(world, "forecast")
    assert whole.left_out.unreadable == 0
    with world.observations.transaction() as transaction:
        connection = transaction._connection  # noqa: SLF001 - damage
        connection.execute(sql.update(stored.FORECASTS).where(stored.FORECASTS.c.row == 3).values(temperature=1.0))
        rows = stored.OBSERVATIONS
        connection.execute(sql.update(rows).where(rows.c.batch == 2, rows.c.row == 4).values(rainfall=1.0))
    found = _scores(world, "forecast")
    assert found.left_out.unreadable == 2
    assert _n(found)["corn"] == REGIONS - 2
    path = Path(world.registry.location("1"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = _scores(world, "forecast")
    assert list(found.scored()) == []
    assert found.left_out.unreadable > REGIONS
    assert list(_scores(world, "arrival").scored()) == []


def test_rows_that_are_not_stored_are_known_by_their_moments(world: World) -> None:
    """Bias, RMSE and skill of a file's rows are told; what takes rows is not."""
    table = harvest_of(2020, REGIONS)
    harvest = replace(Harvest.of(table), table=None)
    with world.observations.transaction() as transaction:
        transaction.add(Batch.of(harvest, TEST), harvest)
    found = dict(_scores(world, "arrival", "version", "season").scored())
    scored = found[Group("corn", False, ("1", None))]
    crop = next(crop for crop in world.registry.read("1").model.common.crops if crop.crop == "corn")
    error = table.yields[:, 0] - crop.tons(list(table.weather.T))
    assert scored.bias is not None
    assert scored.rmse is not None
    assert scored.bias.tons == pytest.approx(error.mean(), rel=1e-9)
    assert scored.rmse.tons == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
    assert (scored.n, scored.mae, scored.coverage) == (REGIONS, None, None)


def test_too_many_groups_are_refused(years: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is bounded."""
    monkeypatch.setattr(groups, "MOST_GROUPS", 10)
    with pytest.raises(InvalidInput, match="more than 10 groups"):
        _scores(years, "arrival", "region")
    assert len(_scores(years, "arrival", "season").sums) == 10


def test_groups_are_in_order(years: World) -> None:
    """Leads by their days, versions and seasons by their numbers."""
    leads = [group.values[0] for group, _ in _scores(years, "forecast", "lead").scored() if group.crop == "soy"]
    assert leads == ["31-90", ">180"]
    versions = [group.values[0] for group, _ in _scores(years, "arrival", "version").scored() if group.crop == "soy"]
    assert versions == ["1", "2", "3", "4", "5"]
