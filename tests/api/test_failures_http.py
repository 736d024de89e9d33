"""What a write gets when the disk is full, the store cannot be written or the database is locked; predictions go on."""

import json
import os
import resource
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running import HARVEST, Running, children, copy_store, serving

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}


def _writes(running: Running) -> dict[str, httpx.Response]:
    """Make each kind of write at once, and predict meanwhile."""
    asked = {
        "/retrain": HARVEST | {"activate": "always"},
        "/observations": HARVEST,
        "/models/1/activate": {"note": "again"},
    }
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = {
            path: threads.submit(
                httpx.post, running.client.base_url.join(path), json=body, headers=running.write, timeout=60
            )
            for path, body in asked.items()
        }
        for _ in range(20):
            assert running.client.post("/predict", json=PLACE).json()["model_version"] == "1"
        return {path: answer.result() for path, answer in answers.items()}


def _assert_refused(answers: dict[str, httpx.Response], detail: str) -> None:
    for answer in answers.values():
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), answer.text
        assert answer.headers["retry-after"] == "5"
        assert detail in answer.json()["detail"]
        assert "/store" not in answer.text


def _assert_as_before(running: Running) -> None:
    """One version, one line, one batch; no temporary file; and all writes go through."""
    assert [line["number"] for line in running.client.get("/models/log").json()["log"]] == [1]
    assert len(running.client.get("/models").json()["versions"]) == 1
    assert len(running.client.get("/observations/batches", headers=running.write).json()["batches"]) == 1
    assert not [path for path in (running.store / "tmp").iterdir() if path.is_file()]
    answers = _writes(running)
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/retrain": 200,
        "/observations": 201,
        "/models/1/activate": 200,
    }


@contextmanager
def _no_room(running: Running) -> Iterator[None]:
    """Let no file of the service grow, as on a full disk."""
    processes = [running.process.pid, *children(running.process.pid, "app.training")]
    before = [resource.prlimit(process, resource.RLIMIT_FSIZE, (0, -1)) for process in processes]
    try:
        yield
    finally:
        processes = [running.process.pid, *children(running.process.pid, "app.training")]
        for process in processes:
            resource.prlimit(process, resource.RLIMIT_FSIZE, before[0])


def test_a_full_disk(trained: Path, tmp_path: Path) -> None:
    """Each write is a clear 503 and leaves nothing; with room again, all go through."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        running.client.get("/observations", headers=running.write)
        with _no_room(running):
            answers = _writes(running)
        _assert_refused(answers, "")
        _assert_as_before(running)


@pytest.mark.long
def test_a_locked_database(trained: Path, tmp_path: Path) -> None:
    """A writer that holds the database for too long: 503 for what needs it, after waiting; nothing is half-done.

    What an operator has to see to is an error in the log, with its code.
    """
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_LOG_FORMAT="json") as running:
        database = sqlite3.connect(running.store / "observations.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        answers = _writes(running)
        database.execute("ROLLBACK")
        database.close()
        assert answers.pop("/models/1/activate").status_code == 200
        _assert_refused(answers, "the observations cannot be reached: database is locked")
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    told = [line for line in lines if line["logger"] == "orchard.problems"]
    assert len(told) == len(answers)
    assert {(line["level"], line["code"]) for line in told} == {("error", "store_unavailable")}


@pytest.mark.long
def test_a_read_only_store(trained: Path, tmp_path: Path) -> None:
    """It starts and predicts; writes say why they cannot be."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store):
        """Makes the token."""
    with _read_only(store), serving(store, through=_as_others_are()) as running:
        _assert_refused(_writes(running), "")
        assert running.client.get("/observations", headers=running.write).json()["observations"]
        assert running.client.get("/models/log").json()["log"][0]["version"] == "1"


def _as_others_are() -> list[str]:
    """Return what starts a program without root's right to write everywhere, if we are root."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@contextmanager
def _read_only(store: Path) -> Iterator[None]:
    """Take the right to write away."""
    paths = [store, *store.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o400)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o600)
