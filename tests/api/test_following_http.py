"""What goes on when the log, or the database, cannot be reached for a while."""

import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.running import HARVEST, Running, children, copy_store, orchard, serving, until

pytestmark = pytest.mark.measured


def _details(running: Running) -> str:
    return " ".join(running.client.get("/health/ready").json()["details"])


@pytest.mark.long
def test_a_log_that_cannot_be_looked_at(trained: Path, tmp_path: Path) -> None:
    """It is said since when; afterwards the service follows again, and stops as it should."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store, ORCHARD_FOLLOW_INTERVAL_S="0.1") as running:
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).json()["version"] == "2"
        (store / "log").rename(store / "away")
        (store / "log").symlink_to("log")  # a loop: even root gets an error for it
        until(lambda: "the log cannot be looked at" in _details(running))
        until(lambda: "the log could not be looked at since 20" in _details(running))
        assert running.client.post("/models/1/activate", headers=running.write).status_code == 503
        assert running.version() == "2"
        (store / "log").unlink()
        (store / "away").rename(store / "log")
        until(lambda: _details(running) == "")
        assert orchard(store, "activate", "1").returncode == 0
        until(lambda: running.version() == "1")


@pytest.mark.long
def test_an_activation_that_is_not_in_force(trained: Path, tmp_path: Path) -> None:
    """A stray line ahead of the log, put there by hand, does not turn an activation into an empty promise."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).json()["version"] == "2"
        (store / "log" / "9.json").write_bytes((store / "log" / "1.json").read_bytes())
        answer = running.client.post("/models/1/activate", headers=running.write)
        assert (answer.status_code, answer.json()["number"], running.version()) == (200, 10, "1")
        (store / "log" / "10.json").unlink()
        (store / "log" / "9.json").unlink()
        until(lambda: "the log has lost lines" in _details(running))
        assert running.version() == "2"


@pytest.mark.long
def test_a_slow_database_touches_only_what_needs_it(trained: Path, tmp_path: Path) -> None:
    """While it is locked and uploads wait, metrics, models, activations and following are answered; uploads get 503."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        running.client.get("/observations", headers=running.write)
        database = sqlite3.connect(store / "observations.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")

        def upload(_number: int) -> tuple[int, float]:
            began = time.monotonic()
            url = running.client.base_url.join("/observations")
            answer = httpx.post(url, json=HARVEST, headers=running.write, timeout=120)
            return answer.status_code, time.monotonic() - began

        with ThreadPoolExecutor(60) as threads:
            uploads = [threads.submit(upload, number) for number in range(60)]
            until(lambda: any(job.done() for job in uploads))  # those that are one too many, at once
            for path in ("/metrics", "/models", "/models/log", "/health/ready"):
                began = time.monotonic()
                assert running.client.get(path).status_code == 200
                assert time.monotonic() - began < 5
            assert running.client.post("/models/1/activate", headers=running.write).status_code == 200
            assert orchard(store, "activate", "1").returncode == 0
            until(lambda: running.client.get("/metrics").status_code == 200)
            results = [job.result() for job in uploads]
        database.execute("ROLLBACK")
        database.close()
        assert {status for status, _ in results} == {503}
        assert max(took for _, took in results) < 30  # it was 50 s for 30 uploads
        assert running.client.post("/observations", json=HARVEST, headers=running.write).status_code == 201


@pytest.mark.long
def test_a_large_upload_that_waits_holds_up_no_question(trained: Path, tmp_path: Path) -> None:
    """Large uploads and large questions are worked on by processes of their own."""
    store = copy_store(trained, tmp_path / "store")
    rows = "temperature,rainfall,humidity,mango\n" + "73,67,43,56\n" * 3_000
    columns = {name: [70.0] * 3_000 for name in ("temperature", "rainfall", "humidity")}
    with serving(store) as running:
        running.client.get("/observations", headers=running.write)
        database = sqlite3.connect(store / "observations.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        headers = running.write | {"Content-Type": "text/csv"}
        with ThreadPoolExecutor(1) as threads:
            url = running.client.base_url.join("/observations")
            upload = threads.submit(httpx.post, url, content=rows, headers=headers, timeout=60)
            until(lambda: bool(children(running.process.pid, "app.api.helper")))
            assert running.client.post("/predict", json=columns).status_code == 200
            assert not upload.done()
            assert upload.result().status_code == 503
        database.execute("ROLLBACK")
        database.close()


def test_a_database_that_was_read_only_for_a_moment(trained: Path, tmp_path: Path) -> None:
    """Once it can be written again, it is: without a restart."""
    store = copy_store(trained, tmp_path / "store")
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    with serving(store, through=as_others) as running:
        files = [store, *store.glob("observations.db*")]
        for path in files:
            path.chmod(0o500 if path.is_dir() else 0o400)
        assert running.client.post("/observations", json=HARVEST, headers=running.write).status_code == 503
        for path in files:
            path.chmod(0o700 if path.is_dir() else 0o600)
        answer = running.client.post("/observations", json=HARVEST, headers=running.write)
        assert answer.status_code == 201, answer.text


def test_an_upload_whose_helper_dies_may_have_been_stored(trained: Path, tmp_path: Path) -> None:
    """The answer says so, and the call under its key finds out: it is stored once."""
    store = copy_store(trained, tmp_path / "store")
    rows = "temperature,rainfall,humidity,mango\n" + "73,67,43,56\n" * 3_000
    with serving(store) as running:
        running.client.get("/observations", headers=running.write)
        database = sqlite3.connect(store / "observations.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        headers = running.write | {"Content-Type": "text/csv", "Idempotency-Key": "large"}
        with ThreadPoolExecutor(1) as threads:
            url = running.client.base_url.join("/observations")
            upload = threads.submit(httpx.post, url, content=rows, headers=headers, timeout=60)
            until(lambda: bool(children(running.process.pid, "app.api.helper")))
            (helper,) = children(running.process.pid, "app.api.helper")
            os.kill(helper, signal.SIGKILL)
            answer = upload.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "unconfirmed")
        assert "repeat the call under the same Idempotency-Key" in answer.json()["detail"]
        database.execute("ROLLBACK")
        database.close()
        first = httpx.post(url, content=rows, headers=headers, timeout=60)
        again = httpx.post(url, content=rows, headers=headers, timeout=60)
        assert (first.status_code, first.json()) == (201, again.json())
        batches = running.client.get("/observations/batches", headers=running.write).json()["batches"]
        assert [batch["rows"] for batch in batches] == [3_000, 15]
