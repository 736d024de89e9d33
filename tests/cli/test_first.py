"""A first start serves something, and changes nothing of what is stored."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import first
from app.settings import Settings
from tests.postgresql import Cluster
from tests.running import (
    DEADLINE_S,
    HARVEST,
    ROOT,
    Running,
    await_answer,
    copy_store,
    environment,
    lasting_port,
    orchard,
    serving,
)

FEW = {"observations": HARVEST["observations"][:2]}


def _batches(running: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    return found


@pytest.mark.long
def test_a_lost_store_beside_a_full_database(postgresql: Cluster, tmp_path: Path) -> None:
    """A server with an empty store learns from what the database has in use, and withdraws nothing."""
    url = postgresql.database()
    with serving(tmp_path / "one", ORCHARD_DATABASE_URL=url) as running:
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).json()["activated"]
        before = _batches(running)
    with serving(tmp_path / "two", ORCHARD_DATABASE_URL=url) as running:
        assert _batches(running) == before
        card = running.client.get("/models/live").json()
        assert (card["rows"]["total"], card["note"]) == (18, "first model, of what is stored")


def test_a_lost_log(trained: Path, tmp_path: Path) -> None:
    """Where versions and batches are there and the log is not, the batches are learned again."""
    store = copy_store(trained, tmp_path / "store")
    shutil.rmtree(store / "log")
    with serving(store) as running:
        assert running.version() == "2"
        assert [batch["withdrawn"] for batch in _batches(running)] == [None]


@pytest.mark.long
def test_too_few_rows_are_no_reason_for_a_toy(tmp_path: Path, trained: Path) -> None:
    """With two rows stored it starts without a model, says so, and takes more; it does not train on the tutorial."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        (batch,) = _batches(running)
        running.client.delete(f"/observations/batches/{batch['batch']}", headers=running.write)
        assert running.client.post("/observations", json=FEW, headers=running.write).status_code == 201
        before = _batches(running)
    for folder in ("log", "versions"):
        shutil.rmtree(store / folder)
    with serving(store) as running:
        assert running.client.get("/health/ready").status_code == 503
        assert _batches(running) == before
        back = running.client.post(f"/observations/batches/{batch['batch']}/restore?note=mine", headers=running.write)
        assert (back.status_code, back.json()) == (200, {"batch": batch["batch"], "rows": 15})
        report = running.client.post("/retrain", headers=running.write).json()
        assert (report["rows"]["total"], report["activated"]) == (17, True)


@pytest.mark.parametrize("lost", ["log", "log and batches"])
def test_versions_without_batches_are_not_guessed_among(trained: Path, tmp_path: Path, lost: str) -> None:
    """Nothing is trained over versions whose log is lost: it is said how to make one live."""
    store = copy_store(trained, tmp_path / "store")
    shutil.rmtree(store / "log")
    if lost != "log":
        (store / "observations.db").unlink()
        assert first.plan(Settings(model_store=store)) == first.Plan(
            None, why="no version is live: `orchard activate 1` makes the newest one live"
        )
    else:
        assert first.plan(Settings(model_store=store)) == first.STORED


def test_an_empty_store_starts_with_the_example(tmp_path: Path) -> None:
    """Where nothing was ever stored, the tutorial's regions are learned."""
    assert first.plan(Settings(model_store=tmp_path / "store")) == first.TUTORIAL


def test_a_database_out_of_reach_is_no_empty_one(tmp_path: Path) -> None:
    """Nothing is trained where it cannot be known what is stored."""
    settings = Settings(model_store=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    plan = first.plan(settings)
    assert plan.words is None
    assert "the database refuses, or is out of reach" in plan.why


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_first_start_is_one_line_of_json(tmp_path: Path, workers: str) -> None:
    """Where the log is JSON, so is all that is printed on both streams: the report is a line of it."""
    port = str(lasting_port())
    output, errors = tmp_path / "stdout", tmp_path / "stderr"
    environ = environment(tmp_path / "store", ORCHARD_LOG_FORMAT="json")
    with output.open("w") as out, errors.open("w") as err:
        command = [sys.executable, "-m", "app", "serve", "--port", port, "--workers", workers]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out, stderr=err)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
            await_answer(client, process)
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    lines = [json.loads(line) for path in (output, errors) for line in path.read_text().splitlines()]
    (trained,) = [line for line in lines if line["event"] == "first model trained"]
    told = {name: trained[name] for name in ("version", "crops", "rows", "activated", "example", "level")}
    assert told == {
        "version": "1",
        "crops": ["mango", "orange"],
        "rows": 15,
        "activated": True,
        "example": True,
        "level": "info",
    }


def test_a_first_start_says_that_it_is_an_example(tmp_path: Path) -> None:
    """In words, with how to train on data of one's own, and without figures."""
    with serving(tmp_path / "store"):
        pass
    printed = (tmp_path / "store.log").read_text()
    assert "this is an example, trained on 15 invented regions: `orchard train YOUR.csv` trains on your own" in printed
    assert "Epoch" not in printed
    assert "┃" not in printed


def test_a_training_that_fails_is_logged_as_json(tmp_path: Path) -> None:
    """What it says goes into the log, and the end is a problem in JSON, with exit code 4."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "versions").write_text("in the way")
    done = orchard(store, "serve", "--port", "0", ORCHARD_LOG_FORMAT="json")
    assert (done.returncode, done.stdout) == (4, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert f"the model store {store} cannot be" in lines[-1]["detail"]
