"""Regions as the command line and the client know them: on the store alone and through a service, the same numbers."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.client import AsyncOrchard, Orchard, Problem
from app.wire.schemas import OnePrediction
from tests.panels import INSIDE
from tests.running import Running, copy_store, orchard, serving

WEATHER = [word for name, value in INSIDE.items() for word in (f"--{name}", str(value))]
TABLE = "region,temperature,rainfall,humidity\nA,80,70,50\nI,80,70,50\nZ,80,70,50\n,80,70,50\n"
UNKNOWN = "has been learned: what regions differ by is in the interval"


@pytest.fixture(scope="module")
def service(panel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a service that knows regions."""
    with serving(copy_store(panel, tmp_path_factory.mktemp("regions") / "store")) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[Orchard]:
    """Return a client of it."""
    with Orchard(str(service.client.base_url)) as client:
        yield client


def _said(panel: Path, *words: str) -> str:
    done = orchard(panel, "predict", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _json(panel: Path, *words: str) -> Any:
    return json.loads(_said(panel, *words, "--json"))


@pytest.mark.parametrize("effects", ["all", "none", None])
@pytest.mark.parametrize("region", ["A", "I", "Z", None])
def test_one_region(panel: Path, client: Orchard, region: str | None, effects: Any) -> None:
    """The store alone says what the service says, with and without effects."""
    words = [*WEATHER, *(["--region", region] if region else []), *(["--effects", effects] if effects else [])]
    served = client.predict(**INSIDE, region=region, effects=effects, explain=True)
    assert OnePrediction.model_validate(_json(panel, *words, "--explain")) == served
    assert any(UNKNOWN in warning for warning in served.warnings) == (region in {"I", "Z"} and effects != "none")


def test_the_common_line_is_the_same_for_all(client: Orchard) -> None:
    """Whatever the region; what the region adds is told where it is predicted."""
    common = [client.predict(**INSIDE, region=region, effects="none").yields for region in ("A", "Z", None)]
    assert common[0] == common[1] == common[2]
    explained = client.predict(**INSIDE, region="A", explain=True).yields
    assert explained["mango"].contributions is not None
    assert explained["pear"].contributions is not None
    assert "region" in explained["mango"].contributions
    assert "region" not in explained["pear"].contributions


def test_many_regions(panel: Path, client: Orchard, service: Running, tmp_path: Path) -> None:
    """As rows, columns and a table, by the client, sync and async, and by the command line."""
    path = tmp_path / "regions.csv"
    path.write_text(TABLE)
    names = ["A", "I", "Z", None]
    columns: dict[str, Any] = {name: [value] * len(names) for name, value in INSIDE.items()}
    for effects in ("all", "none"):
        singly = [client.predict(**INSIDE, region=name, effects=effects) for name in names]
        tons = [one.yields["mango"].tons for one in singly]
        rows = client.predict_many([{"region": name, **INSIDE} for name in names], effects=effects)
        assert [row.yields for row in rows.predictions] == [one.yields for one in singly]
        assert client.predict_columns(**columns, region=names, effects=effects).yields["mango"].tons == tons
        table = client.predict_csv(TABLE, effects=effects)
        assert _said(panel, str(path), "--effects", effects).splitlines() == table.splitlines()
        found = _json(panel, str(path), "--effects", effects)
        assert [row["yields"]["mango"]["tons"] for row in found["predictions"]] == tons
        assert [row["warnings"] for row in found["predictions"]] == [one.warnings for one in singly]

    async def ask() -> float:
        async with AsyncOrchard(str(service.client.base_url)) as other:
            return (await other.predict(**INSIDE, region="A", effects="none")).yields["mango"].tons

    assert asyncio.run(ask()) == client.predict(**INSIDE, effects="none").yields["mango"].tons


def test_what_is_shown(panel: Path) -> None:
    """The region's part in its column, none where a crop's regions do not differ, and what is not known below."""
    shown = _said(panel, *WEATHER, "--region", "D", "--explain")
    assert re.search(r"baseline .*temperature .*rainfall .*humidity .*region", shown)
    assert re.search(r"mango .*\+\d+\.\d\d", shown)
    assert re.search(r"pear .* -\s*\n?", shown)
    assert "warning" not in shown
    assert f"warning: orange: no season of I {UNKNOWN}" in _said(panel, *WEATHER, "--region", "I")
    assert "warning" not in _said(panel, *WEATHER, "--region", "Z", "--effects", "none")


def test_a_region_does_nothing_to_the_terminal(panel: Path) -> None:
    """Its name is in the warning, too."""
    shown = _said(panel, *WEATHER, "--region", "\x1b]0;owned\x07")
    assert UNKNOWN in shown
    assert set("\x1b\x07").isdisjoint(shown)


def test_effects_are_all_or_none(panel: Path, client: Orchard) -> None:
    """Another word is refused, by the command line before anything is asked."""
    done = orchard(panel, "predict", *WEATHER, "--effects", "some")
    assert done.returncode == 2
    assert "--effects" in done.stderr
    with pytest.raises(Problem, match="effects"):
        client.predict(**INSIDE, effects="some")  # type: ignore[arg-type]  # what a caller without a type checker may do
