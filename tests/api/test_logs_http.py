"""Log lines and the audit trail: who wrote what, when and why, under the request's id."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.running import HARVEST, Running, copy_store, serving

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FORGED = 'honest\n2026-01-01T00:00:00Z [info] a version was made live who="nobody"'
CSV = b"region,temperature,rainfall,humidity,mango\nA,70,80,50,60\n"


def _write_everything(running: Running) -> str:
    """Make one write of each kind; return the id of the batch stored."""
    client, headers = running.client, running.write | {"traceparent": TRACE}
    table = headers | {"Content-Type": "text/csv", "X-Request-ID": "stored-1"}
    batch: str = client.post("/observations?note=in+advance", content=CSV, headers=table).json()["batch"]
    again = headers | {"X-Request-ID": "learned-1"}
    client.post("/retrain", json=HARVEST | {"activate": "always", "note": "harvest"}, headers=again)
    client.post("/models/1/activate", json={"note": FORGED}, headers=headers | {"X-Request-ID": "back-1"})
    client.delete(f"/observations/batches/{batch}?note=wrong+scale", headers=headers | {"X-Request-ID": "out-1"})
    client.post("/models/1/activate", headers={"Authorization": "Bearer wrong"})
    return batch


def _written(log: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of writes by their request's id."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["request_id"]: line for line in lines if line["logger"] == "orchard.writes"}


def test_every_write_is_in_the_log_as_json(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_LOG_FORMAT=json: an object a line, with who, what, why, and the ids of request and trace."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_LOG_FORMAT="json") as running:
        batch = _write_everything(running)
    log = tmp_path / "store.log"
    assert all(json.loads(line) for line in log.read_text().splitlines())
    lines = _written(log)
    assert set(lines) == {"stored-1", "learned-1", "back-1", "out-1"}
    assert {line["who"] for line in lines.values()} == {"token"}
    assert {line["trace_id"] for line in lines.values()} == {TRACE.split("-")[1]}
    assert {line["level"] for line in lines.values()} == {"info"}
    assert all(line["timestamp"].endswith("Z") for line in lines.values())
    assert (lines["stored-1"]["why"], lines["stored-1"]["batch"], lines["stored-1"]["rows"]) == ("in advance", batch, 1)
    assert (lines["learned-1"]["why"], lines["learned-1"]["version"]) == ("harvest", "2")
    assert lines["learned-1"]["activated"] is True
    assert (lines["back-1"]["why"], lines["back-1"]["version"]) == (FORGED, "1")
    assert (lines["out-1"]["why"], lines["out-1"]["batch"]) == ("wrong scale", batch)
    assert '"address": "127.0.0.1"' in log.read_text()


@pytest.mark.long
def test_lines_cannot_be_forged(trained: Path, tmp_path: Path) -> None:
    """What a client sends does not make a line of its own on the console either."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        _write_everything(running)
    lines = (tmp_path / "store.log").read_text().splitlines()
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert any("honest" in line and "nobody" in line for line in lines)


@pytest.mark.long
def test_the_store_keeps_who_when_and_why(trained: Path, tmp_path: Path) -> None:
    """Activations are in /models/log, batches and their withdrawal in /observations/batches, with times in UTC."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        batch = _write_everything(running)
        line = running.client.get("/models/log").json()["log"][0]
        assert (line["version"], line["who"], line["why"]) == ("1", "token", FORGED)
        first = running.client.get("/observations/batches?limit=2", headers=running.write).json()
        learned, stored = first["batches"]
        assert (stored["batch"], stored["note"], stored["who"]) == (batch, "in advance", "token")
        assert (stored["withdrawn_by"], stored["withdrawn_why"]) == ("token", "wrong scale")
        assert stored["created"].endswith("Z")
        assert stored["withdrawn"].endswith("Z")
        assert (learned["note"], learned["withdrawn"], learned["rows"]) == ("harvest", None, 3)
        rest = running.client.get(
            "/observations/batches", headers=running.write, params={"before": first["next"]}
        ).json()
        assert [entry["source"] for entry in rest["batches"]] == ["tutorial.csv"]
        assert rest["next"] is None
        assert running.client.get("/observations/batches?before=none", headers=running.write).status_code == 404


def test_requests_are_lines_at_debug(trained: Path, tmp_path: Path) -> None:
    """ORCHARD_LOG_LEVEL=debug has a line for each request of the general path; an unknown level is refused."""
    settings = {"ORCHARD_LOG_LEVEL": "debug", "ORCHARD_LOG_FORMAT": "json"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        running.client.get("/models/9", headers={"X-Request-ID": "asked-9"})
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    asked = next(line for line in lines if line.get("request_id") == "asked-9" and line["event"] == "request")
    assert (asked["method"], asked["path"], asked["status"]) == ("GET", "/models/9", 404)
