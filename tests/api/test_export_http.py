"""GET /observations as CSV: all rows in use at once, in parts that hold little."""

import csv
import io
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.data.harvest import Harvest
from app.data.observations import Batch, Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from app.wire.records import EXPORTED_AT_ONCE
from tests.running import HARVEST, Running, await_rest, connections, copy_store, cpu_s, peak_mb, serving, until

CSV = {"Accept": "text/csv"}
ROW: dict[str, Any] = HARVEST["observations"][0]


def _add(store: Path, rows: int, crops: tuple[str, ...], region: str = "R") -> str:
    """Store a batch of rows straight into the database; return its id."""
    generator = np.random.default_rng(rows)
    weather = generator.uniform([60, 20, 30], [100, 140, 70], (rows, 3)).round(1)
    yields = (weather @ np.full((3, len(crops)), 0.4)).round(2)
    table = Table([f"{region}{row}" for row in range(rows)], ["2026"] * rows, weather, crops, yields)
    harvest = Harvest.of(table)
    batch = Batch.of(harvest, Provenance("test", "test"))
    observations = Observations(Settings(model_store=store).database)
    with observations.transaction() as transaction:
        transaction.add(batch, harvest)
    observations.close()
    return batch.id


def _export(running: Running, **headers: str) -> httpx.Response:
    return running.client.get("/observations", headers=running.write | CSV | headers)


def test_all_rows_in_use(trained: Path, tmp_path: Path) -> None:
    """Of all batches that are not withdrawn, in one table, whose header has all their crops; it can be sent again."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        few = _export(running)
        paged = running.client.get("/observations?limit=1000", headers=running.write | CSV)
        assert (few.content, "transfer-encoding" in few.headers) == (paged.content, False)
        _add(store, 2 * EXPORTED_AT_ONCE, ("mango", "orange"))
        out = _add(store, EXPORTED_AT_ONCE, ("apple",), "out")
        _add(store, 7, ("plum", "mango"), "=formula")
        gone = f"/observations/batches/{out}"
        assert running.client.delete(gone, headers=running.write).status_code == 200
        answer = _export(running)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
        assert "x-next" not in answer.headers
        assert answer.text.endswith("\r\n")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert list(rows[0]) == ["region", "season", "temperature", "rainfall", "humidity", "mango", "orange", "plum"]
        assert len(rows) == 15 + 2 * EXPORTED_AT_ONCE + 7
        assert [row["region"] for row in rows[15::500]] == ["R0", "R500", "R1000", "R1500", "'=formula0"]
        assert [(row["orange"] == "", row["plum"] == "") for row in (rows[20], rows[-1])] == [
            (False, True),
            (True, False),
        ]
        assert _export(running, **{"Accept-Encoding": "gzip"}).content == answer.content
        head = running.client.head("/observations", headers=running.write | CSV)
        assert (head.status_code, head.headers["content-type"]) == (200, "text/csv; charset=utf-8")
        again = running.write | {"Content-Type": "text/csv"}
        sent = running.client.post("/observations", content=answer.content, headers=again)
        assert (sent.status_code, sent.json()["rows"]) == (201, len(rows))
        everything = list(csv.reader(io.StringIO(_export(running).text)))
        assert everything[1 : len(rows) + 1] == everything[len(rows) + 1 :]


def test_pages_are_what_they_were(trained: Path, tmp_path: Path) -> None:
    """Who asks for so many rows, or for those behind a cursor, gets these, and where the next ones are."""
    store = copy_store(trained, tmp_path / "store")
    _add(store, EXPORTED_AT_ONCE, ("mango", "orange"))
    with serving(store) as running:
        first = running.client.get("/observations?limit=10", headers=running.write | CSV)
        assert (len(first.text.splitlines()), first.headers["x-next"]) == (11, "1-9")
        rest = running.client.get("/observations?after=1-9", headers=running.write | CSV)
        assert (len(rest.text.splitlines()), rest.headers["x-next"]) == (EXPORTED_AT_ONCE + 1, "2-994")
        as_json = running.client.get("/observations", headers=running.write).json()
        assert (len(as_json["observations"]), as_json["next"]) == (1_000, "2-984")


def test_a_part_that_cannot_be_read_is_no_end(trained: Path, tmp_path: Path) -> None:
    """A row that is damaged in the first part is a problem; behind it the connection breaks off, compressed or not."""
    store = copy_store(trained, tmp_path / "store")
    _add(store, 3 * EXPORTED_AT_ONCE, ("mango",))
    with serving(store) as running:
        _damage(store, 2_500)
        for encoding in ("identity", "gzip"):
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                _export(running, **{"Accept-Encoding": encoding})
        _damage(store, 3)
        refused = _export(running)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_damaged")
        assert running.client.get("/health/live").status_code == 200


def _damage(store: Path, row: int) -> None:
    with sqlite3.connect(store / "observations.db") as database:
        database.execute("UPDATE observations SET humidity = humidity + 1 WHERE batch = 2 AND row = ?", (row,))


@pytest.mark.long
def test_many_rows_take_little_memory(trained: Path, tmp_path: Path) -> None:
    """Of a hundred thousand rows a thousand are held at a time; who leaves in the middle leaves no work behind."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        _export(running)
        before = peak_mb(running.process.pid)
        _add(store, 100_000, ("mango", "orange"))
        size, first, computed = 0, b"", cpu_s(running)
        with running.client.stream("GET", "/observations", headers=running.write | CSV) as stream:
            for part in stream.iter_bytes():
                size += part.count(b"\n")
                first = first or part
        assert (size, first.count(b"region,season")) == (100_016, 1)
        assert peak_mb(running.process.pid) < before + 30
        whole, computed = cpu_s(running) - computed, cpu_s(running)
        with running.client.stream("GET", "/observations", headers=running.write | CSV) as stream:
            next(stream.iter_raw())
        until(lambda: connections(running) == 0)
        await_rest(running)
        assert cpu_s(running) - computed < whole / 2
