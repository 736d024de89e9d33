"""The service with its observations in PostgreSQL: retrains, many writers, and a database that goes away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.postgresql import Cluster
from tests.running import HARVEST, Running, orchard, serving

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}


@pytest.fixture
def running(postgresql: Cluster, tmp_path: Path) -> Iterator[Running]:
    """Return a server that has just trained its first model into an empty database."""
    with serving(tmp_path / "store", ORCHARD_DATABASE_URL=postgresql.database()) as server:
        yield server


def test_it_learns_and_answers_once_a_key(running: Running) -> None:
    """A retrain's rows are there, in order, and a repeated call is answered again without being made again."""
    headers = running.write | {"Idempotency-Key": "harvest-2026"}
    first = running.client.post("/retrain", json=HARVEST, headers=headers)
    again = running.client.post("/retrain", json=HARVEST, headers=headers)
    assert (first.status_code, first.json()) == (200, again.json())
    assert first.json()["rows"] == {"received": 3, "total": 18}
    other = running.client.post("/retrain", json=HARVEST | {"note": "x"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    rows = running.client.get("/observations", headers=running.write).json()["observations"]
    assert [row["region"] for row in rows[15:]] == ["K", "L", "M"]
    batch = first.json()["batch"]
    gone = running.client.delete(f"/observations/batches/{batch}", headers=running.write).json()
    assert gone["withdrawn"].endswith("Z")
    assert running.client.post("/retrain", headers=running.write).json()["rows"]["total"] == 15
    assert not (running.store / "observations.db").exists()


@pytest.mark.long
def test_many_may_write_at_once(running: Running) -> None:
    """Uploads beside a retrain are all stored, each once."""

    def upload(number: int) -> int:
        url, key = running.client.base_url.join("/observations"), {"Idempotency-Key": f"upload {number // 2}"}
        return httpx.post(url, json=HARVEST, headers=running.write | key, timeout=60).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = threads.map(upload, range(40))
        assert running.client.post("/retrain", headers=running.write).status_code == 200
        assert set(statuses) == {201}  # of two at once under one key, both get the one answer
    assert [upload(number) for number in range(40)] == [201] * 40
    batches = running.client.get("/observations/batches?limit=100", headers=running.write).json()["batches"]
    assert len(batches) == 1 + 20


@pytest.mark.long
def test_a_database_that_goes_away(postgresql: Cluster, tmp_path: Path) -> None:
    """Writes get a clear 503 that does not say where the database is; predictions go on; later all is there."""
    with serving(tmp_path / "store", ORCHARD_DATABASE_URL=postgresql.database()) as running:
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).status_code == 200
        postgresql.stop()
        for path in ("/retrain", "/observations"):
            refused = running.client.post(path, json=HARVEST, headers=running.write)
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            detail = "the observations cannot be reached: the database refuses, or is out of reach"
            assert refused.json()["detail"] == detail
        assert running.client.get("/observations", headers=running.write).status_code == 503
        assert running.client.post("/predict", json=PLACE).json()["model_version"] == "2"
        postgresql.start()
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).json()["rows"]["total"] == 21


@pytest.mark.long
def test_servers_may_start_at_once(postgresql: Cluster, tmp_path: Path) -> None:
    """Two command lines that find no table make it once."""
    url = postgresql.database()
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(orchard, tmp_path / name, "train", "--activate", "always", ORCHARD_DATABASE_URL=url)
            for name in ("a", "b")
        ]
        assert [job.result().returncode for job in jobs] == [0, 0]


@pytest.mark.long
def test_all_rows_in_use_come_as_csv(running: Running) -> None:
    """In parts, as from SQLite: the rows of withdrawn batches, and their crops, are not among them."""
    grown = [{**row, "region": f"G{number}"} for number in range(700) for row in HARVEST["observations"]]
    stored = running.client.post("/observations", json={"observations": grown}, headers=running.write)
    other = [{**HARVEST["observations"][0], "yields": {"apple": 5}}]
    gone = running.client.post("/observations", json={"observations": other}, headers=running.write).json()["batch"]
    assert stored.status_code == 201
    assert running.client.delete(f"/observations/batches/{gone}", headers=running.write).status_code == 200
    answer = running.client.get("/observations", headers=running.write | {"Accept": "text/csv"})
    lines = answer.text.splitlines()
    assert (answer.headers["transfer-encoding"], len(lines)) == ("chunked", 1 + 15 + 2_100)
    assert lines[0] == "region,season,temperature,rainfall,humidity,mango,orange"
    assert (lines[16].split(",")[0], lines[-1].split(",")[0]) == ("G0", "G699")
