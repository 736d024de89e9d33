"""The record on the command line: what a version says of it, and intervals with it and without."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.client import Orchard
from app.wire.schemas import OnePrediction
from tests.panels import INSIDE
from tests.running import copy_store, orchard, serving

WEATHER = [word for name, value in INSIDE.items() for word in (f"--{name}", str(value))]
TABLE = "region,temperature,rainfall,humidity\nA,80,70,50\nZ,80,70,50\n,80,70,50\n"
HELD = "of 27 yields reported after they could be predicted, {} lay in their 95% interval and {} in their 80% one"
SAID = [
    f"mango: {HELD.format('27 (100%)', '23 (85%)')}",
    f"orange: {HELD.format('23 (85%)', '7 (26%)')}",
    "orange: the last 3 seasons came out 2.0 standard errors below prediction",
    f"pear: {HELD.format('14 (52%)', '9 (33%)')}",
]


def _said(store: Path, *words: str) -> str:
    done = orchard(store, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _width(one: Any, crop: str) -> float:
    return float(one["yields"][crop]["high"] - one["yields"][crop]["low"])


def test_a_version_shows_it(recorded: Path) -> None:
    """A line a sentence; the first one had nothing to say."""
    lines = _said(recorded, "models", "show", "live").splitlines()
    assert [line for line in lines if line.startswith("record ")] == [f"record              {said}" for said in SAID]
    assert "record " not in _said(recorded, "models", "show", "1")
    shown = json.loads(_said(recorded, "models", "show", "live", "--json"))
    assert {crop: said["rows"] for crop, said in shown["record"].items()} == {"mango": 27, "orange": 27, "pear": 27}


def test_intervals_with_and_without(recorded: Path) -> None:
    """Wider ones are explained below; --exact has the plain ones, and nothing to explain."""
    shown = _said(recorded, "predict", *WEATHER, "--region", "A")
    flat = " ".join(shown.split())
    assert "warning: pear: 95% intervals held 52% of the 27 yields reported since; this one is 3.08 times" in flat
    assert "warning" not in _said(recorded, "predict", *WEATHER, "--region", "A", "--exact")
    wide, exact = (
        json.loads(_said(recorded, "predict", *WEATHER, "--region", "A", *words, "--json"))
        for words in ([], ["--exact"])
    )
    assert _width(wide, "mango") == _width(exact, "mango")
    assert _width(wide, "pear") == pytest.approx(3.0844 * _width(exact, "pear"), rel=1e-4)


def test_a_service_and_the_store_say_the_same(recorded: Path, tmp_path: Path) -> None:
    """To the client and to the command line, one region and a table."""
    path = tmp_path / "regions.csv"
    path.write_text(TABLE)
    with (
        serving(copy_store(recorded, tmp_path / "store")) as running,
        Orchard(str(running.client.base_url)) as client,
    ):
        url = str(running.client.base_url)
        for exact in (False, True):
            words = ["--exact"] if exact else []
            one = client.predict(**INSIDE, region="A", exact=exact)
            local = _said(recorded, "predict", *WEATHER, "--region", "A", "--json", *words)
            remote = _said(recorded, "predict", *WEATHER, "--region", "A", "--json", "--url", url, *words)
            assert OnePrediction.model_validate(json.loads(local)) == one
            assert OnePrediction.model_validate(json.loads(remote)) == one
            assert bool(one.warnings) is not exact
            rows = client.predict_many([{"region": "A", **INSIDE}], exact=exact).predictions
            assert [row.yields for row in rows] == [one.yields]
            columns: dict[str, Any] = {name: [value] for name, value in INSIDE.items()}
            assert client.predict_columns(**columns, region=["A"], exact=exact).yields["pear"].low == [
                one.yields["pear"].low
            ]
            table = client.predict_csv(TABLE, exact=exact)
            assert _said(recorded, "predict", str(path), *words).splitlines() == table.splitlines()
            found = json.loads(_said(recorded, "predict", str(path), "--json", *words))["predictions"]
            assert found[0]["yields"]["pear"]["low"] == one.yields["pear"].low
