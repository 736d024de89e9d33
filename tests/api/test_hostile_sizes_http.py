"""Hostile bodies and headers of megabytes, sent to a real server: what each costs, and that others do not notice."""

import gzip
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import hostile
from tests.running import Running, children, copy_store, serving

pytestmark = pytest.mark.measured

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
GEOJSON = "application/geo+json"
INFER = "/v2/models/yield/infer"
SIZES_MB = (1, 4, 16)
EVERY_S = 0.02
MOST_S = 0.1
"""How long health may take on an open connection, in nineteen of twenty."""
PEAK_MB = 400
"""What the serving process may have; the process aside has a limit of its own."""
Case = tuple[str, dict[str, str], Callable[[int], bytes]]
"""A path, headers and what makes a body."""


def _encoded(value: Callable[[int], str]) -> Callable[[int], bytes]:
    return lambda size: value(size).encode()


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for kind in ("lists, deep", "digits", "a long text", "unknown fields", "unknown fields with colons", "regions"):
        cases[f"JSON: {kind}"] = ("/predict", {"content-type": JSON}, hostile.JSON[kind])
    for kind in ("one field again and again", "empty regions", "texts for numbers", "names that end like texts"):
        cases[f"JSON: {kind}"] = ("/observations", {"content-type": JSON}, hostile.JSON[kind])
    for kind in ("commas", "lines", "a quote that is open", "faults"):
        cases[f"CSV: {kind}"] = ("/predict", {"content-type": CSV}, hostile.CSV[kind])
    for kind in ("positions", "positions of nothing", "features of nothing", "unread lists", "spaces everywhere"):
        cases[f"GeoJSON: {kind}"] = ("/predict", {"content-type": GEOJSON}, hostile.GEOJSON[kind])
    cases["GeoJSON: properties"] = ("/observations", {"content-type": GEOJSON}, hostile.GEOJSON["properties"])
    for kind in ("days", "values", "places", "parameters"):
        cases[f"days: {kind}"] = ("/predict", {"content-type": JSON}, hostile.DAYS[kind])
    arrow = hostile.ARROW | hostile.CODED | {"compressed in secret": hostile.hidden_compression}
    for kind in ("rows", "batches of one row", "a dictionary for many batches", "compressed in secret", "columns"):
        cases[f"Arrow: {kind}"] = ("/predict", {"content-type": ARROW}, arrow[kind])
    for kind in ("numbers", "lists of nothing", "outputs"):
        cases[f"V2: {kind}"] = (INFER, {}, hostile.TENSORS[kind])
    cases["V2: gzip"] = (INFER, {"content-encoding": "gzip"}, lambda size: gzip.compress(b"[" * 20 * size, 1))
    for kind in ("Accept, quotes", "Content-Type, quotes", "Cookie, quotes"):
        name, value = hostile.HEADERS[kind]
        cases[f"header: {kind}"] = ("/predict?level=0.9", {name: "<value>"}, _encoded(value))
    return cases


CASES = _cases()


class Watch:
    """Asks for health on an open connection, again and again, and looks at the memory of the processes."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.seconds: list[float] = []
        self.peak_mb = 0.0
        self._ends = threading.Event()

    def _watch(self) -> None:
        with httpx.Client(base_url=self._running.client.base_url) as client:
            while not self._ends.wait(EVERY_S):
                began = time.perf_counter()
                assert client.get("/health/live").status_code == 200
                self.seconds.append(time.perf_counter() - began)
                self.peak_mb = max(self.peak_mb, _resident_mb(self._running.process.pid))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the block."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join()


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _sent(running: Running, case: Case, body: bytes) -> int:
    """Send a case and return its status, 0 where the connection was closed."""
    path, headers, _ = case
    content: bytes | None = body
    if "<value>" in headers.values():
        headers, content = dict.fromkeys(headers, body.decode()), hostile.ROW
    try:
        with httpx.Client(base_url=running.client.base_url, timeout=120) as client:
            return client.post(path, content=content, headers=running.write | headers).status_code
    except httpx.TransportError:
        return 0


PATIENCE_S = 20.0


@pytest.mark.long
def test_hostile_requests_of_any_size(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is refused or answered, health is answered meanwhile, and the serving process stays small."""
    lines = [f"{'kind':42} {'MB':>3} {'status':>6} {'s':>6} {'health ms, median':>18} {'most':>6} {'peak MB':>8}"]
    pings: list[float] = []
    with serving(copy_store(trained, tmp_path / "store")) as running:
        for kind, case in CASES.items():
            for size in SIZES_MB:
                body = case[2](size * 10**6)
                watch = Watch(running)
                began = time.perf_counter()
                with watch.watching():
                    status = _sent(running, case, body)
                    took = time.perf_counter() - began
                    while not watch.seconds and time.perf_counter() - began < took + PATIENCE_S:
                        time.sleep(EVERY_S)  # so that there is a ping at all
                assert status in {0, 200, 400, 406, 413, 415, 422, 431}, (kind, size, status)
                assert watch.peak_mb < PEAK_MB, (kind, size, watch.peak_mb)
                pings += watch.seconds
                middle, most = statistics.median(watch.seconds), max(watch.seconds)
                figures = f"{took:6.2f} {1e3 * middle:18.1f} {1e3 * most:6.0f} {watch.peak_mb:8.0f}"
                lines.append(f"{kind:42} {size:3} {status:6} {figures}")
        helpers = children(running.process.pid, "app.api.helper")
        assert len(helpers) <= 2  # one for questions, one for uploads
        assert running.client.post("/predict", content=hostile.ROW).status_code == 200
    pings.sort()
    lines.append(f"health, {len(pings)} times: 95 of 100 within {1e3 * pings[len(pings) * 95 // 100]:.1f} ms")
    with capsys.disabled():
        print("", *lines, sep="\n")
    assert pings[len(pings) * 95 // 100] < MOST_S
