"""Prometheus metrics: after mixed requests to two workers they add up exactly."""

import json
import os
import random
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.metrics import MAIN_ROUTES
from app.api.request_id import METHODS
from tests.running import (
    HARVEST,
    Running,
    await_taken,
    children,
    connections,
    copy_store,
    predict_often,
    serving,
    until,
)

ONE = {"temperature": 75, "rainfall": 80, "humidity": 55}
HOT = ONE | {"temperature": 130}
COLUMNS = {"temperature": [75, 130, 76], "rainfall": [80, 81, 82], "humidity": [55, 56, 57]}
CSV = "temperature,rainfall,humidity\n75,80,55\n20,80,55\n"
CALLS: list[tuple[str, str, str, object, int, int, int]] = [
    ("POST", "/predict", "/predict", ONE, 200, 1, 0),
    ("POST", "/predict", "/predict", HOT, 200, 1, 1),
    ("POST", "/predict?level=0.8", "/predict", ONE, 200, 1, 0),
    ("POST", "/predict", "/predict", COLUMNS, 200, 3, 1),
    ("POST", "/predict", "/predict", CSV, 200, 2, 1),
    ("POST", "/predict", "/predict", ONE | {"humidity": 101}, 422, 0, 0),
    ("POST", "/predict", "/predict", "{", 400, 0, 0),
    ("GET", "/models/1", "/models/{version}", None, 200, 0, 0),
    ("GET", "/models/77", "/models/{version}", None, 404, 0, 0),
    ("GET", "/nowhere", "none", None, 404, 0, 0),
    ("DELETE", "/predict", "/predict", None, 405, 0, 0),
]
"""Method, path, template, body; the status, regions predicted and extrapolated that it comes to."""
EXPRESS, MIXED = 9_000, 1_000

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _samples(running: Running) -> Samples:
    return _read(running.client.get("/metrics").text)


def _read(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _labels(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _ask(running: Running, calls: list[int]) -> None:
    """Make these calls, over a new connection every now and then, so that both workers get some."""
    for start in range(0, len(calls), 20):
        with httpx.Client(base_url=running.client.base_url, timeout=30) as client:
            for number in calls[start : start + 20]:
                method, path, _, body, status, _, _ = CALLS[number]
                if isinstance(body, str):
                    kind = "text/csv" if body == CSV else "application/json"
                    answer = client.request(method, path, content=body, headers={"Content-Type": kind})
                else:
                    answer = client.request(method, path, json=body)
                assert answer.status_code == status


@pytest.mark.long
def test_ten_thousand_mixed_requests_add_up(trained: Path, tmp_path: Path) -> None:
    """Over two workers: every request by route and status, every prediction by crop, retrains and stored rows."""
    draw = random.Random(1)  # noqa: S311 - an order of calls
    mixed = draw.choices(range(len(CALLS)), k=MIXED)
    wanted: Counter[tuple[str, str, str]] = Counter()
    wanted["POST", "/predict", "200"] += EXPRESS
    predicted, extrapolated = EXPRESS, 0
    for number in mixed:
        method, _, template, _, status, regions, outside = CALLS[number]
        wanted[method, template, str(status)] += 1
        predicted += regions
        extrapolated += outside
    wanted["POST", "/retrain", "200"] += 2
    wanted["POST", "/retrain", "422"] += 1
    wanted["POST", "/observations", "201"] += 1
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_WORKERS="2") as running:
        with ThreadPoolExecutor(4) as threads:
            jobs = [threads.submit(predict_often, running, EXPRESS // 6) for _ in range(6)]
            jobs += [threads.submit(_ask, running, mixed[start::4]) for start in range(4)]
            for job in jobs:
                job.result()
        running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
        running.client.post("/retrain", json={"dry_run": True}, headers=running.write)
        running.client.post("/retrain", json={"observations": []}, headers=running.write)
        running.client.post("/observations", json=HARVEST, headers=running.write)
        # The other worker shares its counts twice a second.
        until(lambda: _samples(running)["orchard_observations_stored_total", ()] == 6)
        until(lambda: _samples(running)["orchard_asked_regions", ()] == predicted)
        found = _samples(running)

    assert {
        (labels["method"], labels["route"], labels["status"]): value
        for (name, pairs), value in found.items()
        if name == "orchard_requests_total" and (labels := dict(pairs))["route"] not in {"/health/live", "/metrics"}
        if value
    } == wanted
    for crop in ("mango", "orange"):
        assert found["orchard_predictions_total", _labels(crop=crop)] == predicted
        assert found["orchard_extrapolated_predictions_total", _labels(crop=crop)] == extrapolated
    assert found["orchard_asked_regions", ()] == predicted
    assert found["orchard_retrains_total", _labels(decision="accepted")] == 1
    assert found["orchard_retrains_total", _labels(decision="dry_run")] == 1
    assert found["orchard_retrain_seconds_count", ()] == 2
    assert found["orchard_observations_stored_total", ()] == 6
    assert found["orchard_live_version", ()] == 2
    assert found["orchard_workers", ()] == 2
    assert found["process_resident_memory_bytes", ()] > 100e6
    answered = _labels(method="POST", route="/predict", status="200")
    assert found["orchard_request_seconds_count", answered] == wanted["POST", "/predict", "200"]
    assert (
        found["orchard_request_seconds_bucket", _labels(le="+Inf", **dict(answered))]
        == wanted["POST", "/predict", "200"]
    )
    assert 0 < found["orchard_request_seconds_sum", answered] < 100


@pytest.mark.long
def test_what_alerts_is_there_from_the_start(trained: Path, tmp_path: Path) -> None:
    """Retrains and failures are counted from 0 on; a refused retrain is no failed one, a failed one is."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        found = _samples(running)
        for decision in ("accepted", "rejected", "dry_run", "failed"):
            assert found["orchard_retrains_total", _labels(decision=decision)] == 0
        routes = set(running.client.get("/openapi.json").json()["paths"])
        for route, method in MAIN_ROUTES:
            assert route in routes
            for status in ("500", "503"):
                assert found["orchard_requests_total", _labels(route=route, method=method, status=status)] == 0
        assert found["orchard_database_up", ()] == 1
        running.client.post("/retrain", json={"observations": []}, headers=running.write)
        keyed = running.write | {"Idempotency-Key": "one"}
        running.client.post("/retrain", json=HARVEST, headers=keyed)
        assert running.client.post("/retrain", json=HARVEST | {"note": "x"}, headers=keyed).status_code == 409
        assert _samples(running)["orchard_retrains_total", _labels(decision="failed")] == 0
        (trainer,) = children(running.process.pid, "app.training")
        os.kill(trainer, signal.SIGSTOP)
        before = connections(running)
        with ThreadPoolExecutor(1) as threads:
            url = running.client.base_url.join("/retrain")
            lost = threads.submit(httpx.post, url, json=HARVEST, headers=running.write, timeout=30)
            await_taken(running, before)
            os.kill(trainer, signal.SIGKILL)
            assert lost.result().status_code == 503
        assert _samples(running)["orchard_retrains_total", _labels(decision="failed")] == 1


def test_labels_are_bounded(reading: Running) -> None:
    """Whatever is asked for, labels are templates and known methods."""
    for path in ("/models/123456", "/models/1/nothing", "/a/b/c", "/models/%00"):
        reading.client.get(path)
    reading.client.request("BREW", "/predict")
    routes = {dict(labels).get("route") for _, labels in _samples(reading)}
    routes = {route for route in routes if not (route or "").startswith("/docs")}  # which the document does not show
    assert routes <= {None, "none", *reading.client.get("/openapi.json").json()["paths"], "/openapi.json"}
    methods = {dict(labels).get("method", "GET") for _, labels in _samples(reading)}
    assert methods <= METHODS | {"other"}


@pytest.mark.long
def test_a_worker_that_dies(trained: Path, tmp_path: Path) -> None:
    """It is an error in the log; it is no longer counted, and the time that all have computed never falls."""
    store = copy_store(trained, tmp_path / "store")
    settings = {"ORCHARD_WORKERS": "2", "ORCHARD_LOG_FORMAT": "json", "ORCHARD_LOG_LEVEL": "error"}
    with serving(store, **settings) as running:
        until(lambda: _samples(running)["orchard_workers", ()] == 2)
        workers = children(running.process.pid, "--multiprocessing-fork")
        assert len(workers) == 2
        computed = _samples(running)["process_cpu_seconds_total", ()]
        os.kill(workers[0], signal.SIGKILL)
        counted = list[float]()

        def has_another() -> bool:
            with httpx.Client(base_url=running.client.base_url, timeout=30) as client:
                found = _read(client.get("/metrics").text)
            counted.append(found["orchard_workers", ()])
            assert found["process_cpu_seconds_total", ()] >= computed
            others = set(children(running.process.pid, "--multiprocessing-fork")) - set(workers)
            return len(others) == 1 and counted[-1] == 2

        until(has_another)
        assert set(counted[1:]) <= {1, 2}
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("error", f"serving process {workers[0]} died (exit code -9): another one takes its place")
    ]


def test_types_and_help_are_as_prometheus_has_them(reading: Running) -> None:
    """Counters alone end in `_total`, every family has a help text that is a sentence, and is told once."""
    text = reading.client.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    assert len(re.findall(r"^# TYPE ", text, re.MULTILINE)) == len(types)
    assert set(helps) == set(types)
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert helps[name].endswith("."), name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert types["process_cpu_seconds_total"] == "counter"
