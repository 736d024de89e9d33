"""`orchard weather`: a service's days as a row that `orchard predict` takes."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.api.openapi.examples import OPEN_METEO, POWER
from tests.running import ROOT, copy_store, environment, orchard

OPEN_METEO_ROW = {"region": "52.52,13.42", "temperature": 73.16, "rainfall": 67.2, "humidity": 53.0}


def _file(folder: Path, body: Any) -> str:
    path = folder / "answer.json"
    path.write_text(json.dumps(body))
    return str(path)


def test_a_row_to_be_sent(trained: Path, tmp_path: Path) -> None:
    """As CSV, which `orchard predict` takes, also where the place is in the south; as JSON, which the service takes."""
    store = copy_store(trained, tmp_path / "store")
    table = tmp_path / "row.csv"
    for body, region in ((OPEN_METEO, "52.52,13.42"), (POWER, "-25.5,-54.4")):
        done = orchard(store, "weather", _file(tmp_path, body))
        assert (done.returncode, done.stderr) == (0, "")
        table.write_text(done.stdout)
        predicted = orchard(store, "predict", str(table), "--json")
        assert predicted.returncode == 0, predicted.stderr
        (row,) = json.loads(predicted.stdout)["predictions"]
        assert row["region"] == region
        (sent,) = csv.DictReader(done.stdout.splitlines())
        assert list(sent) == list(OPEN_METEO_ROW)
        assert float(sent["temperature"]) == pytest.approx(73.16)
    done = orchard(store, "weather", _file(tmp_path, OPEN_METEO), "--json")
    assert json.loads(done.stdout) == OPEN_METEO_ROW | {"temperature": pytest.approx(73.16)}
    several = orchard(store, "weather", _file(tmp_path, [OPEN_METEO] * 2), "--json")
    assert [row["region"] for row in json.loads(several.stdout)["regions"]] == ["52.52,13.42"] * 2


def test_a_season_from_standard_input(tmp_path: Path) -> None:
    """Of named days and with a name; what is missing is told on standard error, not in the table."""
    body = json.loads(json.dumps(OPEN_METEO))
    for name, column in body["daily"].items():
        body["daily"][name] = [f"2026-04-{day:02}" for day in range(1, 11)] if name == "time" else [column[0]] * 10
    body["daily"]["precipitation_sum"][8] = None
    words = ["weather", "-", "--season-start", "2026-04-05", "--season-end", "2026-04-09", "--region", "Dahlem"]
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        input=json.dumps(body),
        cwd=ROOT,
        env=environment(tmp_path / "store"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["region,temperature,rainfall,humidity", "Dahlem,70.52,0.0,48.0"]
    assert done.stderr == "orchard: Dahlem: rainfall: 4 of 5 days; the sum is too low by the missing ones\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--season-start", "2026-4-5"], "--season-start: '2026-4-5' is not a day like 2026-04-30"),
        (["--season-end", "2026-03-01"], "--season-end: the body has no day to 2026-03-01: its days are 2026-04-01 to"),
        (["--season-end", "2026-04-20"], "daily.temperature_2m_mean: 3 of 20 days have a value, from 2026-04-01 to"),
        (["--region", "x" * 201], "--region: is longer than 200 characters"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, words: list[str], told: str) -> None:
    """With the name of the option, and exit code 2."""
    done = orchard(tmp_path / "store", "weather", _file(tmp_path, OPEN_METEO), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"orchard: {told}")


def test_what_is_no_answer_of_a_service(tmp_path: Path) -> None:
    """Other JSON, no JSON, and no file."""
    for body, told in (
        ({"temperature": 1}, "this is no answer of Open-Meteo, which has"),
        ("[", "the body is not JSON"),
    ):
        path = tmp_path / "answer.json"
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        done = orchard(tmp_path / "store", "weather", str(path))
        assert (done.returncode, done.stderr.startswith(f"orchard: {told}")) == (2, True), done.stderr
    done = orchard(tmp_path / "store", "weather", str(tmp_path / "nothing"), "--json")
    assert (done.returncode, json.loads(done.stderr)["status"]) == (2, 400)
