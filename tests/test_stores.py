"""Stores that earlier versions have left behind are served, listed, learned from and rolled back in."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.learned import learned
from tests.postgresql import Cluster
from tests.running import HARVEST, Running, orchard, serving
from tests.stores.make import HERE, REJECTED, UPLOAD

FOLDERS = sorted(path for path in HERE.glob("*/*") if path.is_dir())
WEATHER = ("temperature", "rainfall", "humidity")
MORE = {
    "observations": [
        {"region": "N", "temperature": 95, "rainfall": 60, "humidity": 50, "yields": {"mango": 46.4, "orange": 65.0}},
        {"region": "O", "temperature": 75, "rainfall": 110, "humidity": 66, "yields": {"mango": 108.4}},
        {"region": "P", "temperature": 84, "rainfall": 80, "humidity": 55, "yields": {"mango": 72.0, "orange": 88.0}},
    ],
    "note": "harvest 2027",
}
"""Three honest rows that no store has."""


@dataclass(frozen=True)
class Old:
    """A service on a copy of an old store, the store as it was, and the settings that lead to its database."""

    running: Running
    kept: Path
    settings: dict[str, str]

    def got(self, path: str) -> Any:
        """Return what a path answers."""
        answer = self.running.client.get(path, headers=self.running.write)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def posted(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        """Return what a write answers."""
        answer = self.running.client.post(path, json=body, headers=self.running.write | headers)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def log(self) -> list[dict[str, Any]]:
        """Return the log's lines as they were written, the first one first."""
        lines = [json.loads(path.read_text()) for path in (self.kept / "log").iterdir()]
        return sorted(lines, key=lambda line: int(line["number"]))


def _taken_in(server: Cluster, dump: Path) -> str:
    """Fill a database from a dump, and return its URL."""
    url = server.database()
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        connection.execute(dump.read_bytes())
    return url


@pytest.fixture(
    params=[
        pytest.param(path, id=f"{path.parent.name} {path.name}", marks=[pytest.mark.long] * (path.name == "postgresql"))
        for path in FOLDERS
    ]
)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Old]:
    """Return a service of today on what an earlier version has left."""
    kept, store = request.param, tmp_path / "store"
    shutil.copytree(kept, store)
    settings = {}
    if (dump := store / "observations.sql").exists():
        settings["ORCHARD_DATABASE_URL"] = _taken_in(request.getfixturevalue("postgresql"), dump)
        dump.unlink()
    with serving(store, **settings) as running:
        yield Old(running, kept, settings)


def test_it_serves_what_was_live(old: Old) -> None:
    """Version 2 answers, with the numbers that its own card has, and so do the others when they are asked for."""
    assert old.got("/health/ready") == {"status": "ready", "model_version": "2", "details": []}
    for version in ("1", "2", "3"):
        card = old.got(f"/models/{version}")
        for weather in ((73, 67, 43), (91, 88, 64), (60.5, 140.25, 71)):
            body = dict(zip(WEATHER, weather, strict=True))
            answer = old.posted("/predict" if version == "2" else f"/predict?version={version}", body)
            assert answer["model_version"] == version
            assert answer["yields"].keys() == card["crops"].keys() == {"mango", "orange"}
            for crop, line in card["crops"].items():
                tons = line["intercept"] + sum(line["weights"][name] * value for name, value in body.items())
                assert answer["yields"][crop]["tons"] == pytest.approx(tons, rel=1e-12)


def test_it_lists_versions_and_log(old: Old) -> None:
    """Three versions with their decisions, and four lines, who, why and when as they were written."""
    page = old.got("/models")
    assert page["live"] == "2"
    shown = [(entry["version"], entry["live"], entry["damaged"], entry["decision"]) for entry in page["versions"]]
    assert shown == [
        ("3", False, False, "rejected"),
        ("2", True, False, "accepted"),
        ("1", False, False, "accepted"),
    ]
    assert [(entry["rows"], entry["note"]) for entry in page["versions"]] == [
        (19, "a typo"),
        (18, "harvest 2026"),
        (15, "first model"),
    ]
    lines = old.got("/models/log")["log"][::-1]
    told = [{name: line[name] for name in written} for line, written in zip(lines, old.log(), strict=True)]
    assert told == old.log()
    assert [(line["version"], line["why"]) for line in lines] == [
        ("1", "first model"),
        ("2", "harvest 2026"),
        ("1", "look"),
        ("2", "look"),
    ]


def test_it_tells_errors_on_rows_held_out(old: Old) -> None:
    """Of all versions in the list, and row by row, with the folds of then: by what they were was not told yet."""
    for entry in old.got("/models")["versions"]:
        of_card = old.got(f"/models/{entry['version']}")["crops"]
        errors = {crop: part["out_of_fold"]["rmse"] for crop, part in of_card.items()}
        assert entry["out_of_fold"] == {crop: {"rmse": rmse, "by": None} for crop, rmse in errors.items()}
        page = old.got(f"/models/{entry['version']}/residuals")
        assert (page["total"], page["reason"]) == (entry["rows"], None)
        assert {crop: of["rmse"] for crop, of in page["crops"].items()} == pytest.approx(errors, rel=1e-9)


def test_it_lists_batches_and_rows(old: Old) -> None:
    """Five batches, two of them withdrawn and why, and all rows as they were reported."""
    batches = old.got("/observations/batches")["batches"][::-1]
    assert [(batch["source"], batch["note"], batch["who"], batch["rows"]) for batch in batches] == [
        ("tutorial.csv", "first model", "command line", 15),
        ("POST /retrain", "harvest 2026", "token", 3),
        ("POST /retrain", "a typo", "token", 1),
        ("POST /observations", "late", "token", 2),
        ("POST /observations", "", "token", 3),
    ]
    assert [batch["withdrawn"] is not None for batch in batches] == [False, False, True, False, True]
    assert batches[2]["withdrawn_why"].startswith("its training was rejected: mango: ")
    assert batches[4]["withdrawn_why"] == "withdrawn by token: twice"
    rows = old.got("/observations")["observations"]
    assert [row["batch"] for row in rows] == [batch["batch"] for batch in batches for _ in range(batch["rows"])]
    assert [_told(row) for row in rows] == list(_reported())


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["region"], row["season"], *(row[name] for name in WEATHER), row["yields"])


def _reported() -> Iterator[tuple[Any, ...]]:
    """Yield the rows that make.py has sent, in its order."""
    yield from _table((HERE.parent.parent / "app" / "data" / "tutorial.csv").read_text())
    for body in (HARVEST, REJECTED):
        yield from (_told({"season": None} | row) for row in body["observations"])
    yield from _table(UPLOAD)
    yield from (_told({"season": None} | row) for row in HARVEST["observations"])


def _table(text: str) -> Iterator[tuple[Any, ...]]:
    for row in csv.DictReader(text.splitlines()):
        region, season = row.pop("region") or None, row.pop("season", None) or None
        weather = [float(row.pop(name)) for name in WEATHER]
        yield region, season, *weather, {crop: float(tons) for crop, tons in row.items() if tons}


def test_old_keys_are_known(old: Old) -> None:
    """A call repeated under a key of then gets the answer of then, and is not made again."""
    batches = old.got("/observations/batches")["batches"][::-1]
    harvest = HARVEST | {"note": "harvest 2026"}
    again = old.posted("/retrain", harvest, **{"Idempotency-Key": "harvest-2026"})
    assert (again["version"], again["activated"], again["batch"]) == ("2", True, batches[1]["batch"])
    headers = old.running.write | {"Idempotency-Key": "upload-2025", "Content-Type": "text/csv"}
    stored = old.running.client.post("/observations?note=late", content=UPLOAD.encode(), headers=headers)
    assert (stored.status_code, stored.json()) == (201, {"batch": batches[3]["batch"], "rows": 2})
    other = old.running.client.post("/observations?note=other", content=UPLOAD.encode(), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    assert old.got("/observations/batches")["batches"][::-1] == batches
    assert len(old.got("/models/log")["log"]) == 4


def test_it_learns_and_rolls_back(old: Old) -> None:
    """A retrain takes its rows to those in use: 15, 3, 2 and 3; then every version can be live again."""
    report = old.posted("/retrain", MORE)
    assert (report["version"], report["decision"], report["activated"]) == ("4", "accepted", True), report["reasons"]
    assert report["rows"] == {"received": 3, "total": 23}
    card = old.got("/models/4")
    batches = old.got("/observations/batches")["batches"][::-1]
    assert learned(card, batches) == [batch["batch"] for batch in batches if batch["withdrawn"] is None]
    assert (card["batches"], card["stored"]["count"]) == ([report["batch"]], 3)
    assert card["parent"] == "2"
    for version in ("1", "3", "2", "4"):
        assert old.posted(f"/models/{version}/activate", {"note": "around"})["version"] == version
        assert old.running.version() == version
        assert old.posted("/predict", dict.fromkeys(WEATHER, 70))["model_version"] == version
    lines = old.got("/models/log")["log"]
    assert [line["number"] for line in lines] == list(range(9, 0, -1))
    assert old.got("/health/ready")["details"] == []


@pytest.mark.long
def test_a_batch_of_then_can_be_restored(old: Old) -> None:
    """What was withdrawn takes part in the next training, once it is restored."""
    if "/observations/batches/{batch}/restore" not in old.got("/openapi.json")["paths"]:
        pytest.skip("this version restores no batches")
    batch = old.got("/observations/batches")["batches"][0]
    assert batch["withdrawn"] is not None
    assert old.posted(f"/observations/batches/{batch['batch']}/restore?note=again")["batch"] == batch["batch"]
    assert old.got("/observations/batches")["batches"][0]["withdrawn"] is None
    assert old.posted("/retrain", {"activate": "always"})["rows"] == {"received": 0, "total": 23}


def test_the_command_line_lists_it(old: Old) -> None:
    """The same store without a service: versions, log and rows."""

    def printed(*words: str) -> Any:
        done = orchard(old.running.store, *words, "--json", **old.settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert [entry["version"] for entry in printed("models")["versions"]] == ["3", "2", "1"]
    assert [line["number"] for line in printed("log")["log"]] == [4, 3, 2, 1]
    assert len(printed("observations", "--limit", "100")["observations"]) == 24
    assert printed("models", "show", "live")["version"] == "2"
