"""Many processes on one store: workers, a second server, the training script; and activations under load."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.running import HARVEST, Running, children, copy_store, orchard, serving

pytestmark = pytest.mark.measured

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
SWITCH_S = 2.0
"""Within so many seconds of an activation every worker answers from the version."""


def _harvest(rows: int, seed: int) -> str:
    """Return a table with honest rows near the tutorial's line, as CSV."""
    draw = np.random.default_rng(seed)
    weather = np.column_stack([draw.uniform(60, 100, rows), draw.uniform(50, 130, rows), draw.uniform(40, 70, rows)])
    tons = 2.2 + weather @ [-0.42, 0.84, 0.68] + draw.normal(0, 1, rows)
    lines = (",".join(map(repr, row)) for row in np.column_stack([weather, tons]).tolist())
    return "temperature,rainfall,humidity,mango\n" + "\n".join(lines)


def _retrain(running: Running, table: str) -> httpx.Response:
    url = running.client.base_url.join("/retrain?activate=always")
    return httpx.post(url, content=table, headers=running.write | {"Content-Type": "text/csv"}, timeout=60)


@contextmanager
def _retrain_held(running: Running, table: str) -> Iterator[dict[str, Any]]:
    """Start a retrain and hold it while it has the store's lock; let it go on at the end, when its report is put in."""
    report: dict[str, Any] = {}
    headers = running.write | {"Content-Type": "text/csv", "Accept": "text/event-stream"}
    with running.client.stream("POST", "/retrain?activate=always", content=table, headers=headers) as events:
        lines = events.iter_lines()
        assert any('"storing"' in line for line in lines)
        (trainer,) = children(running.process.pid, "app.training")
        os.kill(trainer, signal.SIGSTOP)
        try:
            yield report
        finally:
            os.kill(trainer, signal.SIGCONT)
        report |= json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))


@pytest.mark.long
def test_two_retrains_at_once(trained: Path, tmp_path: Path) -> None:
    """While one is carried out, another server and the training script on the same store are told so; it goes on."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as one, serving(store) as other:
        with _retrain_held(one, _harvest(100_000, 1)) as report:
            refused = _retrain(other, _harvest(10, 2))
            assert (refused.status_code, refused.json()["code"]) == (409, "retrain_running")
            assert refused.headers["retry-after"] == "1"
            script = orchard(store, "train")
            assert script.returncode == 3
            assert "another training is running" in script.stderr
        assert report["version"] == "2"
        assert _retrain(other, _harvest(10, 2)).json()["version"] == "3"


@pytest.mark.long
def test_nobodys_version_is_overwritten(trained: Path, tmp_path: Path) -> None:
    """Retrains, activations and the training script, all at once: one order for all, every version as it was made."""
    store = copy_store(trained, tmp_path / "store")
    made: dict[str, str] = {}

    def learn(running: Running, seed: int) -> int:
        """Try until no other training is running, as a client does."""
        while (answer := _retrain(running, _harvest(20, seed))).status_code == 409:
            time.sleep(0.05)
        if answer.status_code == 200:
            version = answer.json()["version"]
            made[version] = hashlib.sha256((store / "versions" / f"{version}.safetensors").read_bytes()).hexdigest()
        return answer.status_code

    def back(running: Running, _seed: int) -> int:
        return httpx.post(
            running.client.base_url.join("/models/1/activate"), headers=running.write, timeout=30
        ).status_code

    with serving(store, ORCHARD_WORKERS="2") as one, serving(store) as other, ThreadPoolExecutor(6) as threads:
        script = threads.submit(orchard, store, "train", "--activate", "always")
        jobs = [
            threads.submit(work, running, seed)
            for seed in range(5)
            for running in (one, other)
            for work in (learn, back)
        ]
        statuses = [job.result() for job in jobs]
        assert set(statuses) == {200}
        assert script.result().returncode in {0, 3}
        time.sleep(SWITCH_S)
        log = one.client.get("/models/log?limit=1000").json()["log"]
        assert [line["number"] for line in log] == list(range(len(log), 0, -1))
        assert len(log) == 1 + statuses.count(200) + (script.result().returncode == 0)
        assert {running.version() for running in (one, other) for _ in range(10)} == {log[0]["version"]}
        found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in (store / "versions").iterdir()}
        assert len(made) == len(jobs) / 2
        assert made.items() <= found.items()
        assert all(line["sha256"] == found[line["version"]] for line in log)


def _expected(running: Running, version: str) -> dict[str, Any]:
    """Return what a version answers, without anything that tells one request from another."""
    answer: dict[str, Any] = running.client.post(f"/predict?version={version}", json=PLACE).json()
    return answer


class Watch:
    """Asks without pause over connections of its own, and takes down which worker answered from which version."""

    def __init__(self, running: Running, expected: dict[str, dict[str, Any]]) -> None:
        self._url = running.client.base_url
        self._expected = expected
        self._stop = threading.Event()
        self.seen: dict[str, tuple[str, float]] = {}
        """By worker: the version of its last answer, and when that was asked for."""
        self.answers = 0
        self.faults: list[str] = []

    def ask(self, columns: bool) -> None:
        """Ask until told to stop: for one region, or for a grid of it."""
        body = {name: [value] * 500 for name, value in PLACE.items()} if columns else PLACE
        while not self._stop.is_set():
            with httpx.Client(base_url=self._url, timeout=30) as client:  # a new one may reach another worker
                for _ in range(25):
                    asked = time.monotonic()
                    answer = client.post("/predict", json=body)
                    self._look(answer, columns=columns)
                    worker = answer.headers["x-request-id"].split("-")[0]
                    self.seen[worker] = (answer.headers["x-model-version"], asked)

    def _look(self, answer: httpx.Response, *, columns: bool) -> None:
        self.answers += 1
        if answer.status_code != 200:
            self.faults.append(answer.text)
            return
        found = answer.json()
        expected = self._expected[found["model_version"]]
        if found["model_version"] != answer.headers["x-model-version"]:
            self.faults.append("the header names another version")
        for crop, said in expected["yields"].items():
            tons = found["yields"][crop]["tons"]
            if any(value != said["tons"] for value in (tons if columns else [tons])):
                self.faults.append(f"{tons} is not what version {found['model_version']} says")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask in three threads within the block."""
        with ThreadPoolExecutor(3) as threads:
            jobs = [threads.submit(self.ask, columns) for columns in (False, False, True)]
            try:
                yield
            finally:
                self._stop.set()
            for job in jobs:
                job.result()

    def switched(self, version: str, since: float, workers: int) -> float:
        """Return how long it took all workers to answer from a version, seconds."""
        deadline = time.monotonic() + 10 * SWITCH_S
        while time.monotonic() < deadline:
            seen = list(self.seen.values())
            if len(seen) == workers and all(name == version and asked >= since for name, asked in seen):
                return max(asked for _, asked in seen) - since
            time.sleep(0.005)
        raise TimeoutError(f"not all workers answer from version {version}: {self.seen}")


@pytest.mark.long
@pytest.mark.parametrize(
    "activations", [4, pytest.param(100, marks=pytest.mark.long)], ids=["4 activations", "100 activations"]
)
def test_activations_under_load(trained: Path, tmp_path: Path, activations: int) -> None:
    """With two workers every answer is 200 and one version's alone, and both switch within two seconds of each."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_WORKERS="2") as running:
        running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
        expected = {version: _expected(running, version) for version in ("1", "2")}
        assert expected["1"]["yields"] != expected["2"]["yields"]
        watch, took = Watch(running, expected), []
        with watch.asking():
            for number in range(activations):
                version = "12"[number % 2]
                answer = running.client.post(f"/models/{version}/activate", headers=running.write)
                assert answer.status_code == 200
                took.append(watch.switched(version, time.monotonic(), workers=2))
    print(f"{watch.answers} answers, {len(watch.faults)} faults; switched within {max(took):.2f} s")
    assert watch.faults == []
    assert watch.answers > 20 * activations
    assert max(took) < SWITCH_S
