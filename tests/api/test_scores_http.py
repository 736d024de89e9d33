"""GET /scores over HTTP: its groups, who may ask for regions, faults in the query; the same by the helper process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import Settings
from app.wire import scores
from app.wire.media_types import CSV
from tests.running import Running, serving
from tests.years import World, harvest_of, weather_of

REGIONS = 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which four years have gone by."""
    folder = tmp_path_factory.mktemp("scored") / "store"
    world = World(Settings(model_store=folder), REGIONS)
    world.learn(harvest_of(2019, REGIONS))
    for year in range(2020, 2024):
        world.foretell(str(year), weather_of(year - 1, REGIONS), due_in=120)
        world.learn(harvest_of(year, REGIONS))
    world.close()
    return folder


@pytest.fixture(scope="module")
def running(store: Path) -> Iterator[Running]:
    """Return a server on it."""
    with serving(store) as found:
        yield found


def _scores(running: Running, query: str = "") -> dict[str, Any]:
    answer = running.client.get(f"/scores{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


FIGURES = {"crop", "set_aside", "n", "seasons", "ambiguous", "bias", "mae", "rmse", "coverage", "width"} | {
    "interval_score",
    "skill",
    "model_error",
    "weather_error",
    "weather_by_feature",
    "below_promise",
    "verdict",
}


def test_the_answer_is_the_contracts(running: Running) -> None:
    """Figures by crop without a key; keys that are asked for, and no others, are there; nobody needs a token."""
    found = _scores(running)
    assert (found["basis"], found["by"]) == ("forecast", [])
    assert found["left_out"] == {"learned": 0, "known": 0, "unreadable": 0}
    assert [group["crop"] for group in found["scores"]] == ["corn", "soy"]
    corn = found["scores"][0]
    assert corn.keys() == FIGURES
    assert (corn["n"], corn["seasons"], corn["ambiguous"], corn["set_aside"]) == (80, 4, 0, False)
    assert corn["bias"].keys() == corn["rmse"].keys() == {"tons", "low", "high"}
    assert corn["bias"]["low"] <= corn["bias"]["tons"] <= corn["bias"]["high"]
    assert corn["coverage"].keys() == {"inside", "of", "promised", "low", "high"}
    assert (corn["coverage"]["of"], corn["coverage"]["promised"]) == (80, 0.9)
    assert corn["weather_by_feature"].keys() == {"temperature", "rainfall", "humidity"}
    assert corn["model_error"] + corn["weather_error"] == pytest.approx(corn["bias"]["tons"], abs=1e-10)
    assert corn["verdict"].startswith("the forecasts were ")
    by = _scores(running, "?by=season,%20lead&basis=forecast")
    assert by["by"] == ["season", "lead"]
    assert {(group["season"], group["lead"]) for group in by["scores"]} == {
        (str(year), "91-180") for year in range(2020, 2024)
    }
    arrival = _scores(running, "?basis=arrival&by=version,extrapolated,lead")
    assert arrival["scores"][0]["verdict"].startswith("the predictions were ")
    assert {group["lead"] for group in arrival["scores"]} == {None}
    assert sum(group["n"] for group in arrival["scores"] if group["crop"] == "corn") == 80
    assert {group["coverage"]["promised"] for group in arrival["scores"]} == {0.95}


def test_regions_are_told_to_tokens_alone(running: Running) -> None:
    """Scores by region say what a region harvested."""
    refused = running.client.get("/scores?by=season,region")
    assert refused.status_code == 401, refused.text
    assert running.client.get("/scores?by=region", headers={"Authorization": "Bearer wrong"}).status_code == 401
    found = running.client.get("/scores?by=region", headers=running.write).json()
    assert {group["region"] for group in found["scores"]} == {f"R{row}" for row in range(REGIONS)}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?by=year", "there is no 'year' to group by: name some of version, crop, season, region, lead, extrapolated"),
        ("?basis=now", "basis"),
        ("?crop=corn", "crop"),
    ],
)
def test_a_query_that_is_none_is_named(running: Running, query: str, told: str) -> None:
    """With what there is."""
    answer = running.client.get(f"/scores{query}")
    assert answer.status_code == 422
    assert told in answer.text


@pytest.mark.long
def test_many_rows_are_scored_in_a_process_of_their_own(tmp_path: Path) -> None:
    """With the same answer; a million rows are no reason to answer nobody else."""
    folder = tmp_path / "store"
    world = World(Settings(model_store=folder), REGIONS)
    world.learn(harvest_of(2019, REGIONS))
    with serving(folder) as running:
        count = scores.FEW_ROWS + 1
        table = harvest_of(2020, count)
        cells = np.column_stack([table.weather, table.yields[:, 0]]).tolist()
        lines = [f"R{row},2020,{','.join(map(str, line))}" for row, line in enumerate(cells)]
        body = "\n".join(["region,season,temperature,rainfall,humidity,corn", *lines]).encode()
        stored = running.client.post("/observations", content=body, headers=running.write | {"Content-Type": CSV})
        assert stored.status_code == 201, stored.text
        found = _scores(running, "?basis=arrival&by=season")
    (group,) = found["scores"]
    assert (group["n"], group["season"]) == (count, "2020")
    expected = scores.written(world.registry, world.observations, "arrival", ("season",))
    assert json.loads(expected) == found
    world.close()


@pytest.mark.long
def test_nothing_is_scored_where_nothing_is(tmp_path: Path) -> None:
    """A service without a model answers that there is nothing."""
    with serving(tmp_path / "store") as running:
        for basis in ("forecast", "arrival"):
            assert _scores(running, f"?basis={basis}")["scores"] == []
