"""SIGTERM: not ready first, then requests in flight finish, a training gets its grace, and the exit code is 0.

`serving` sees to the exit code at the end of each block.
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.data.observations import Observations
from tests.running import HARVEST, Running, await_taken, children, connections, copy_store, serving, until

pytestmark = pytest.mark.measured

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
TRAINER, ASIDE = "app.training", "app.api.helper"


def _is_refused(running: Running) -> bool:
    try:
        httpx.get(running.client.base_url.join("/health/live"))
    except httpx.TransportError:
        return True
    return False


def _stored(store: Path) -> tuple[list[str], list[str], int]:
    """Return the versions, the log's lines, and how many batches take part in training."""
    observations = Observations(f"sqlite:///{store / 'observations.db'}")
    with observations.reading() as transaction:
        batches = len(transaction.active())
    observations.close()
    versions, lines = (sorted(path.name for path in (store / folder).iterdir()) for folder in ("versions", "log"))
    return versions, lines, batches


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_not_ready_first(trained: Path, tmp_path: Path, workers: str) -> None:
    """For ORCHARD_DRAIN_S it says that it is not ready and still answers; then it takes no more connections."""
    settings = {"ORCHARD_DRAIN_S": "2", "ORCHARD_WORKERS": workers}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        until(lambda: running.client.get("/health/ready").status_code == 503, 1.5)
        ready = running.client.get("/health/ready").json()
        assert ready["detail"] == "the service is shutting down"
        assert running.client.get("/health/live").status_code == 200
        assert running.client.post("/predict", json=PLACE).status_code == 200
        assert time.monotonic() - began < 2
        until(lambda: _is_refused(running))
        assert time.monotonic() - began >= 2
        assert running.process.wait(20) == 0


@pytest.mark.long
def test_what_is_in_flight_finishes(trained: Path, tmp_path: Path) -> None:
    """A large question and a retrain that are being worked on are answered although SIGTERM has come."""
    store = copy_store(trained, tmp_path / "store")
    columns = {"temperature": [75.0] * 100_000, "rainfall": [80.0] * 100_000, "humidity": [55.0] * 100_000}
    with serving(store) as running, ThreadPoolExecutor(2) as threads:
        running.client.post("/predict", json=columns)  # starts the process aside
        running.client.post("/retrain", json={"dry_run": True}, headers=running.write)  # and the one that trains
        (trainer,), (aside,) = (children(running.process.pid, name) for name in (TRAINER, ASIDE))
        for process in (trainer, aside):
            os.kill(process, signal.SIGSTOP)
        before = connections(running)
        predicted = threads.submit(httpx.post, running.client.base_url.join("/predict"), json=columns, timeout=30)
        url, always = running.client.base_url.join("/retrain"), HARVEST | {"activate": "always"}
        learned = threads.submit(httpx.post, url, json=always, headers=running.write, timeout=30)
        await_taken(running, before + 1)
        running.process.send_signal(signal.SIGTERM)
        until(lambda: _is_refused(running))
        for process in (trainer, aside):
            os.kill(process, signal.SIGCONT)
        assert predicted.result().status_code == 200
        assert learned.result().json()["version"] == "2"
    assert _stored(store)[1] == ["1.json", "2.json"]


@pytest.mark.long
def test_a_training_that_outlasts_its_grace_is_rolled_back(trained: Path, tmp_path: Path) -> None:
    """After ORCHARD_GRACE_S it is killed, and nothing of it is left: no version, no line, no batch, no process."""
    store = copy_store(trained, tmp_path / "store")
    before = _stored(store)
    with serving(store, ORCHARD_GRACE_S="1") as running, ThreadPoolExecutor(1) as threads:
        running.client.post("/retrain", json={"dry_run": True}, headers=running.write)
        (trainer,) = children(running.process.pid, TRAINER)
        os.kill(trainer, signal.SIGSTOP)
        open_before = connections(running)
        url = running.client.base_url.join("/retrain")
        asked = threads.submit(httpx.post, url, json=HARVEST, headers=running.write, timeout=30)
        await_taken(running, open_before)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert time.monotonic() - began < 10
        assert not Path(f"/proc/{trainer}").exists()
        assert (asked.result().status_code, asked.result().json()["code"]) == (503, "training_failed")
    assert _stored(store) == before
    with serving(store) as running:  # the lock did not outlive its owner
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).status_code == 200
