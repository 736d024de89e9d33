"""What forecasts scored lately, where it is told beside other answers: metrics, readiness, the live card."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.api import latest
from app.api.latest import Latest
from app.api.services import Services
from app.settings import Settings
from app.wire.schemas import ScoredGroup
from tests.asking import Service
from tests.running import Running, copy_store, serving, until
from tests.years import World, harvest_of, weather_of

REGIONS = 20
NONE = {"learned": 0, "known": 0, "unreadable": 0}


@pytest.fixture(scope="module")
def missed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose forecasts of five years' corn missed by far, each time on another side."""
    folder = tmp_path_factory.mktemp("missed") / "store"
    world = World(Settings(model_store=folder), REGIONS)
    world.learn(harvest_of(2019, REGIONS, alike=0.0))
    for year in range(2020, 2025):
        world.foretell(str(year), weather_of(year, REGIONS))
    for year in range(2020, 2025):
        world.learn(harvest_of(year, REGIONS, beyond=400.0 * (-1) ** year, alike=0.0))
    world.close()
    return folder


def _metric(running: Running, name: str) -> dict[str, float]:
    lines = [line for line in running.client.get("/metrics").text.splitlines() if line.startswith(f"{name}{{")]
    return {line.partition('crop="')[2].partition('"')[0]: float(line.split()[-1]) for line in lines}


def test_coverage_below_promise_is_told(missed: Path, tmp_path: Path) -> None:
    """In the metrics, by readiness and on the live card, of the crop that it is true of; nothing else changes."""
    with serving(copy_store(missed, tmp_path / "store")) as running:
        until(lambda: _metric(running, "orchard_forecast_coverage"))
        groups = {group["crop"]: group for group in running.client.get("/scores").json()["scores"]}
        assert groups["corn"]["below_promise"]
        assert not groups["soy"]["below_promise"]
        assert _metric(running, "orchard_forecast_coverage") == {
            crop: pytest.approx(group["coverage"]["inside"] / group["coverage"]["of"]) for crop, group in groups.items()
        }
        assert _metric(running, "orchard_forecast_below_promise") == {"corn": 1.0, "soy": 0.0}
        assert _metric(running, "orchard_forecast_bias_tons") == {
            crop: pytest.approx(group["bias"]["tons"]) for crop, group in groups.items()
        }
        told = f"corn: {groups['corn']['verdict']}"
        assert "coverage is below promise" in told
        ready = running.client.get("/health/ready")
        assert ready.status_code == 200
        assert told in ready.json()["details"]
        live = running.client.get("/models/live").json()
        assert live["below_promise"] == [told]
        card = running.client.get(f"/models/{live['version']}").json()
        assert "below_promise" not in card


def test_nothing_is_told_where_nothing_is_below(trained: Path, tmp_path: Path) -> None:
    """The card is as it was, and no crop has a value."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        assert _metric(running, "orchard_forecast_coverage") == {}
        assert "below_promise" not in running.client.get("/models/live").json()


def test_who_asks_waits_for_nothing(missed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is told at once; a look begins where none is under way, and not soon after a long one."""
    now, looks, begun, going = [100.0], [0], asyncio.Event(), asyncio.Event()

    async def slowly(*_: Any) -> bytes:
        looks[0] += 1
        begun.set()
        await going.wait()
        now[0] += 7.0
        return json.dumps({"basis": "forecast", "by": [], "scores": [], "left_out": NONE}).encode()

    async def ask(services: Services) -> None:
        found = Latest(lambda: now[0])
        known = [ScoredGroup.model_construct(crop="corn", below_promise=True, verdict="it was so")]
        found.groups = known
        for _ in range(3):
            assert found.ask(services) is known
            now[0] += 100.0
        await begun.wait()
        assert found.ask(services) is known
        assert found.below_promise == ["corn: it was so"]
        going.set()
        await found.ended()
        assert found.groups == []
        ended = now[0]
        for now[0], due in ((ended + 10 * 7.0, False), (ended + 10_000.0, True)):
            found.ask(services)
            await asyncio.sleep(0)
            assert found.is_looking is due
        found.stop()

    monkeypatch.setattr(latest, "written", slowly)
    service = Service(Settings(model_store=copy_store(missed, tmp_path / "store")))
    asyncio.run(ask(service.services))
    assert looks == [1]
    service.close()
