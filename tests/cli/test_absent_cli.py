"""The `orchard` command on tables without humidity; a store in which no version is live."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.running import orchard

REGIONS = "ABCDEFGH"


def _table(path: Path, first: int, seasons: int) -> str:
    """Write honest rows without humidity, and return where."""
    draw = np.random.default_rng(first)
    lines = ["region,season,temperature,rainfall,orange"]
    for season in range(first, first + seasons):
        for region in REGIONS:
            temperature, rainfall = draw.uniform(60, 90), draw.uniform(50, 130)
            tons = 20 + 0.5 * temperature + 0.25 * rainfall + draw.normal()
            lines.append(f"{region},{season},{temperature:.1f},{rainfall:.1f},{tons:.2f}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose version 2 is live, learned in two steps; not to be written to."""
    folder = tmp_path_factory.mktemp("dry")
    first = orchard(folder / "store", "train", "--data", _table(folder / "first.csv", 2015, 5))
    assert first.returncode == 0, first.stderr
    assert "left out: orange: humidity is not in its rows and is left out" in first.stdout
    second = orchard(folder / "store", "retrain", _table(folder / "second.csv", 2020, 2))
    assert second.returncode == 0, second.stdout + second.stderr
    return folder / "store"


def test_it_predicts_without_humidity(dry: Path, tmp_path: Path) -> None:
    """One region, with an explanation, and a table; JSON has no NaN; what is needed is named."""
    words = ("predict", "--temperature", "70", "--rainfall", "80")
    one = orchard(dry, *words, "--explain")
    assert one.returncode == 0
    assert "humidity" not in one.stdout
    expected = json.loads(orchard(dry, *words, "--json").stdout)["yields"]
    assert json.loads(orchard(dry, *words, "--humidity", "1", "--json").stdout)["yields"] == expected
    table = tmp_path / "regions.csv"
    table.write_text("temperature,rainfall\n70,80\n")
    assert orchard(dry, "predict", str(table)).stdout.startswith("temperature,rainfall,orange_tons")
    found = json.loads(orchard(dry, "predict", str(table), "--json").stdout)
    assert found["predictions"][0]["yields"] == expected
    wrong = orchard(dry, "predict", "--temperature", "70")
    assert (wrong.returncode, wrong.stderr) == (2, "orchard: rainfall: is missing: orange needs it\n")


def test_what_is_shown_of_it(dry: Path) -> None:
    """A dash for its weight, an empty cell for its value; the export can be sent again; all is as it was written."""
    shown = orchard(dry, "models", "show", "live").stdout
    (line,) = (line for line in shown.splitlines() if "tons per %" in line)
    assert line.replace("│", "").split()[:2] == ["humidity", "-"]
    assert "nan" not in shown.lower().split()
    rows = orchard(dry, "observations", "--limit", "2").stdout
    assert "nan" not in rows
    assert orchard(dry, "observations", "--csv").stdout.startswith("region,season,temperature,rainfall,orange\n")
    assert orchard(dry, "models", "diff", "1", "2").returncode == 0
    assert orchard(dry, "check").returncode == 0


def test_a_table_without_it_is_added(dry: Path, tmp_path: Path) -> None:
    """As a batch, and a dry run says what would come of it."""
    store = tmp_path / "store"
    assert orchard(store, "observations", "add", _table(tmp_path / "more.csv", 2030, 2)).returncode == 0
    report = json.loads(orchard(store, "retrain", "--dry-run", "--json").stdout)
    assert report["left_out"] == ["orange: humidity is not in its rows and is left out"]
    assert {region["humidity"] for region in report["changes"]["regions"]} == {None}
    del dry


def test_where_no_version_is_live_it_is_said_how_one_is_made_so(tmp_path: Path) -> None:
    """With the path of the store that was looked in; where none was trained too."""
    store = tmp_path / "store"
    words = ("predict", "--temperature", "70", "--rainfall", "80")
    none = orchard(store, *words)
    assert (none.returncode, none.stderr) == (
        4,
        f"orchard: no model has been trained yet in {store}\n",
    )
    orchard(store, "train", "--data", _table(tmp_path / "first.csv", 2015, 5), "--activate", "never")
    told = orchard(store, *words)
    assert (told.returncode, told.stderr) == (
        4,
        (f"orchard: there are versions, and none is live in {store}: `orchard activate 1` makes the newest one live\n"),
    )
    assert orchard(store, "activate", "1").returncode == 0
    assert orchard(store, *words).returncode == 0
