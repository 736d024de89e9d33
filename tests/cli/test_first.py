"""A first start serves something, and changes nothing of what is stored."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.cli import first
from app.settings import Settings
from tests.postgresql import Cluster
from tests.running import HARVEST, Running, copy_store, serving

FEW = {"observations": HARVEST["observations"][:2]}


def _batches(running: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    return found


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
