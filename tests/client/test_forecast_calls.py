"""Forecasts by the typed client, waiting and awaiting, against a real service."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.client import AsyncOrchard, Conflict, Orchard, Rejected, Units
from app.wire.schemas import ForecastRegion
from tests.running import Running, copy_store, serving

ROW: dict[str, Any] = {"region": "A", "season": "2027", "temperature": 75, "rainfall": 80, "humidity": 55}
TABLE = "region,season,id,temperature,rainfall,humidity\nB,2027,{name},75,80,55\n"


@pytest.fixture(scope="module")
def running(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("forecasts") / "store")) as found:
        yield found


def _client(running: Running) -> dict[str, Any]:
    return {"url": running.url, "token": running.token}


def test_forecasts_are_stored_listed_and_erased(running: Running) -> None:
    """As rows and as a table; page by page; under a key once."""
    with Orchard(**_client(running)) as orchard:
        regions: list[ForecastRegion | dict[str, Any]] = [
            ROW,
            ForecastRegion(**ROW | {"id": "mine", "due": "2027-09-30"}),
        ]
        first = orchard.forecast(regions, level=0.8, note="why")
        asked = orchard.predict(temperature=75, rainfall=80, humidity=55, level=0.8)
        told = {crop: of.model_dump() for crop, of in first.predictions[0].yields.items()}
        assert told == {crop: of.model_dump(include={"tons", "low", "high"}) for crop, of in asked.yields.items()}
        table = TABLE.format(name="t1")
        second = orchard.forecast(table=table, key="spring")
        assert orchard.forecast(table=table, key="spring") == second
        found = list(orchard.forecasts(page=2))
        assert [each.id for each in found] == [f"{first.batch}-0", "mine", "t1"]
        assert (found[1].due, found[1].level, found[1].model_version) == ("2027-09-30", 0.8, "1")
        assert [each.id for each in orchard.forecasts(region="B", is_open=True)] == ["t1"]
        orchard.store([ROW | {"region": "Z", "yields": {"mango": 70}, "forecast": "t1", "harvested": "2027-10-01"}])
        assert list(orchard.forecasts(region="B", is_open=True)) == []
        assert [(row.forecast, row.harvested) for row in orchard.observations()][-1] == ("t1", "2027-10-01")
        assert [batch.note for batch in orchard.forecast_batches().batches] == ["", "why"]
        with pytest.raises(Conflict, match="'mine' already"):
            orchard.forecast([ROW | {"id": "mine"}])
        assert orchard.erase_forecasts(first.batch).rows == 2
        with pytest.raises(Rejected, match="there is no batch of forecasts"):
            orchard.erase_forecasts(first.batch)
        assert [each.id for each in orchard.forecasts()] == ["t1"]
        with pytest.raises(ValueError, match="regions or a table"):
            orchard.forecast([ROW], table=table)


def test_forecasts_can_be_awaited(running: Running) -> None:
    """The same by the other client; weather in its units."""

    async def ask() -> list[float | None]:
        async with AsyncOrchard(**_client(running), units=Units("celsius")) as orchard:
            stored = await orchard.forecast([ROW | {"region": "K", "temperature": 25}])
            found = [each.temperature async for each in orchard.forecasts(region="K", page=1)]
            await orchard.erase_forecasts(stored.batch)
            return found

    assert asyncio.run(ask()) == [77.0]
