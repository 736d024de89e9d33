"""GET /events: every worker tells the same, what was missed comes first, and nobody who listens is in the way."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.running import HARVEST, Running, copy_store, orchard, serving, until

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
WRONG = {"observations": [HARVEST["observations"][0] | {"yields": {"mango": 56_500, "orange": 70_200}}]}
"""A harvest in kilograms, which the gate refuses."""
READS = "a-token-for-reading-only"

Told = tuple[str, str | None, dict[str, Any]]
"""An event's name, its id and its data."""


@dataclass(frozen=True)
class Stream:
    """An answer that goes on."""

    answer: httpx.Response
    blocks: Iterator[dict[str, str]]

    @property
    def worker(self) -> str:
        """Of which process it is."""
        return self.answer.headers["x-request-id"].partition("-")[0]

    def begun(self) -> dict[str, str]:
        """Return what comes before all events."""
        return next(self.blocks)

    def told(self, count: int) -> list[Told]:
        """Return so many events."""
        found = (next(self.blocks) for _ in range(count))
        return [(block["event"], block.get("id"), json.loads(block["data"])) for block in found]


def _blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield what stands between two empty lines, by field; comments are passed over."""
    block = dict[str, str]()
    for line in lines:
        field, _, value = line.partition(": ")
        if field:
            block[field] = value
        elif block:
            yield block
            block = {}


@contextmanager
def _listening(running: Running, path: str = "/events", **headers: str) -> Iterator[Stream]:
    with httpx.stream("GET", running.client.base_url.join(path), headers=headers, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        yield Stream(answer, _blocks(answer.iter_lines()))


def _counted(running: Running, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(running.client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return next((sample.value for sample in samples if labels.items() <= sample.labels.items()), None)


@pytest.mark.long
def test_all_who_listen_to_any_worker_hear_the_same(trained: Path, tmp_path: Path) -> None:
    """What one worker has trained, live or not, and what a command has made live."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store, ORCHARD_WORKERS="2") as running, ExitStack() as stack:
        streams = dict[str, Stream]()
        while len(streams) < 2:
            stream = stack.enter_context(_listening(running))
            assert stream.begun() == {"retry": "2000", "id": "1"}
            streams.setdefault(stream.worker, stream)
        running.client.post("/retrain", json=HARVEST | {"note": "harvest 2026"}, headers=running.write)
        for stream in streams.values():
            assert stream.told(2) == [
                ("trained", "1", {"version": "2", "decision": "accepted"}),
                ("activated", "2", {"version": "2", "who": "token", "note": "harvest 2026"}),
            ]
        report = running.client.post("/retrain", json=WRONG, headers=running.write).json()
        assert (report["version"], report["decision"]) == ("3", "rejected")
        for stream in streams.values():
            assert stream.told(1) == [("trained", "2", {"version": "3", "decision": "rejected"})]
        assert orchard(store, "activate", "1", "--note", "zurück\nund gut").returncode == 0
        answers = [stream.told(1) for stream in streams.values()]
        assert answers[0] == answers[1]
        ((name, number, data),) = answers[0]
        assert (name, number, data["version"], data["note"]) == ("activated", "3", "1", "zurück\nund gut")


def test_what_was_missed_comes_first(trained: Path, tmp_path: Path) -> None:
    """The log's lines since the one that is named, then what happens; an id that the log does not have is none."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        for note in ("one", "two", "three"):
            running.client.post("/models/1/activate", json={"note": note}, headers=running.write)
        with _listening(running, **{"Last-Event-ID": "2"}) as stream:
            assert stream.begun() == {"retry": "2000"}
            assert [(number, data["note"]) for _, number, data in stream.told(2)] == [("3", "two"), ("4", "three")]
            running.client.post("/models/1/activate", json={"note": "four"}, headers=running.write)
            assert [(number, data["note"]) for _, number, data in stream.told(1)] == [("5", "four")]
        with _listening(running, **{"Last-Event-ID": "0"}) as stream:
            stream.begun()
            assert [number for _, number, _ in stream.told(5)] == ["1", "2", "3", "4", "5"]
        for known in ({}, {"Last-Event-ID": "77"}):
            with _listening(running, **known) as stream:
                assert stream.begun() == {"retry": "2000", "id": "5"}
        refused = running.client.get("/events", headers={"Last-Event-ID": "yesterday"})
        assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["header", "last-event-id"])


def test_drift_is_told(trained: Path, tmp_path: Path) -> None:
    """That the weather asked about is no longer that of training, to whoever begins to listen then."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        columns = {"temperature": [20.0 + number for number in range(60)], "rainfall": [900] * 60, "humidity": [5] * 60}
        running.client.post("/predict", json=columns)
        until(lambda: running.client.get("/models/live/drift").json()["different"])
        with _listening(running) as stream:
            stream.begun()
            ((name, number, data),) = stream.told(1)
        assert (name, number, data["different"]) == ("drift", "1", True)
        assert data["distance"] == pytest.approx(running.client.get("/models/live/drift").json()["distance"])


def test_those_who_listen_are_not_in_the_way(trained: Path, tmp_path: Path) -> None:
    """They take no place of a request; of them there are as many as may be, and who leaves makes room."""
    limits = {"ORCHARD_MAX_CONCURRENCY": "1", "ORCHARD_MAX_LISTENERS": "2"}
    with serving(copy_store(trained, tmp_path / "store"), **limits) as running:
        with _listening(running) as first:
            first.begun()
            with _listening(running) as second:
                second.begun()
                refused = running.client.get("/events")
                assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
                assert _counted(running, "orchard_listeners") == 2
                assert running.client.get("/models").status_code == 200
                assert running.client.post("/predict?level=0.8", json=PLACE).status_code == 200
            until(lambda: _counted(running, "orchard_listeners") == 1)
            with _listening(running) as third:
                third.begun()
        until(lambda: _counted(running, "orchard_listeners") == 0)


def test_a_stream_is_counted_when_it_begins(trained: Path, tmp_path: Path) -> None:
    """Once, with the time until then: how long it lasts is no latency. A path with a slash is the same route."""
    labels = {"route": "/events", "method": "GET", "status": "200"}
    with serving(copy_store(trained, tmp_path / "store")) as running:
        for number, path in enumerate(("/events", "/events/"), 1):
            with _listening(running, path) as stream:
                stream.begun()
                assert _counted(running, "orchard_requests_total", **labels) == number
                running.client.post("/models/1/activate", headers=running.write)
                stream.told(1)
            until(lambda: _counted(running, "orchard_listeners") == 0)
            assert _counted(running, "orchard_requests_total", **labels) == number
        seconds = _counted(running, "orchard_request_seconds_sum", **labels)
        bucket = _counted(running, "orchard_request_seconds_bucket", le="0.25", **labels)
        assert seconds is not None
        assert bucket == 2 or seconds < 0.5  # it was told of after half a second: not before the log was looked at


def test_head_ends(trained: Path, tmp_path: Path) -> None:
    """It has the headers, and nobody listens by it; the next answer on the connection is that of the next request."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        head = running.client.head("/events")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")
        assert running.client.get("/health/live").json() == {"status": "live"}
        until(lambda: _counted(running, "orchard_listeners") == 0)


def test_who_may_listen(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_READ_TOKEN only who has it; pages of named origins may, and proxies are told not to hold it back."""
    settings = {"ORCHARD_READ_TOKEN": READS, "ORCHARD_CORS_ORIGINS": "https://farm.example"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        for path in ("/events", "/grafana.json"):
            assert running.client.get(path).status_code == 401
        headers = {"Authorization": f"Bearer {READS}", "Origin": "https://farm.example"}
        with _listening(running, **headers) as stream:
            stream.begun()
            assert stream.answer.headers["access-control-allow-origin"] == "https://farm.example"
            assert stream.answer.headers["cache-control"] == "no-store"
            assert stream.answer.headers["x-accel-buffering"] == "no"
        assert running.client.get("/events?since=1", headers=headers).status_code == 422


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_service_that_stops_ends_them(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    """At once: neither the time to drain nor the grace is waited for. Who comes then hears what it missed."""
    settings = {"ORCHARD_GRACE_S": "600", "ORCHARD_DRAIN_S": "2"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        with _listening(running) as stream:
            stream.begun()
            os.kill(running.process.pid, number)
            assert list(stream.blocks) == []
        if number == signal.SIGTERM:
            with _listening(running, **{"Last-Event-ID": "0"}) as late:
                assert [block.get("event") for block in late.blocks] == [None, "activated"]
        assert running.process.wait(30) == 0
