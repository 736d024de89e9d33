"""PostgreSQL that loses the answer to a COMMIT, and PostgreSQL that falls silent."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.postgresql import Cluster
from tests.proxy import Proxy, proxied, run
from tests.running import HARVEST, Running, serving

pytestmark = pytest.mark.measured

SOON_S = 5.0
"""What does not need the database is answered in a second or two; a busy machine may take longer."""
IN_THE_END_S = 30.0
"""A write is given up in some fifteen seconds."""
UPLOADS = 12
"""At once: more than the threads that wait for the database."""


@pytest.mark.long
@pytest.mark.parametrize("cuts", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_lost_commit_is_carried_out_once(postgresql: Cluster, tmp_path: Path, cuts: int) -> None:
    """Every call, acknowledged or repeated, happens exactly once, and no version of another's is named or made live."""
    witness = run(postgresql, tmp_path, cuts, seed=0)
    print(witness.counts)
    assert witness.faults == []
    assert witness.counts["after COMMIT"] == cuts


@dataclass(frozen=True)
class Two:
    """Two servers on one store and one database, with a proxy before it."""

    proxy: Proxy
    one: Running
    other: Running


@pytest.fixture
def two(postgresql: Cluster, tmp_path: Path) -> Iterator[Two]:
    """Return them with version 2 live, and with connections and the training process at hand."""
    with proxied(postgresql.port) as proxy:
        settings = {"ORCHARD_DATABASE_URL": proxy.through(postgresql.database())}
        store = tmp_path / "store"
        with serving(store, **settings) as one, serving(store, **settings) as other:
            for running in (one, other):
                answer = running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
                assert answer.status_code == 200, answer.text
            yield Two(proxy, one, other)
            proxy.is_silent = False


@contextmanager
def _silent(two: Two) -> Iterator[list[Future[tuple[float, httpx.Response]]]]:
    """Let the database be silent; return the writes that wait for it."""
    two.proxy.is_silent = True
    with ThreadPoolExecutor(UPLOADS + 1) as threads:
        jobs = [threads.submit(_post, two.one, "/observations") for _ in range(UPLOADS)]
        jobs.append(threads.submit(_post, two.one, "/retrain"))
        try:
            yield jobs
        finally:
            two.proxy.is_silent = False


def _await_waiting(proxy: Proxy) -> None:
    """Wait until the database has been asked by several."""
    deadline = time.monotonic() + SOON_S
    while len(proxy.waiting) <= UPLOADS // 4:
        assert time.monotonic() < deadline, f"only {len(proxy.waiting)} ask the database"
        time.sleep(0.02)


def _post(running: Running, path: str) -> tuple[float, httpx.Response]:
    return _timed(
        lambda: httpx.post(running.client.base_url.join(path), json=HARVEST, headers=running.write, timeout=120)
    )


def _timed(ask: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    began = time.monotonic()
    answer = ask()
    return time.monotonic() - began, answer


@pytest.mark.long
def test_a_silent_database_holds_up_only_what_needs_it(two: Two) -> None:
    """Metrics, versions, log, health, predictions, activations and following go on; writes get 503 in the end."""
    one = httpx.Client(base_url=two.one.client.base_url, headers=two.one.write, timeout=SOON_S)
    with one, _silent(two) as writes:
        _await_waiting(two.proxy)
        for _ in range(2):
            for path in ("/metrics", "/models", "/models/log", "/models/live", "/health/ready", "/health/live"):
                took, answer = _timed(lambda path=path: one.get(path))  # type: ignore[misc]
                assert answer.status_code == 200, answer.text
                print(f"{path}: {took:.2f} s")
        for version in ("1", "2", "1"):
            took, answer = _timed(lambda version=version: one.post(f"/models/{version}/activate"))  # type: ignore[misc]
            assert answer.status_code == 200, answer.text
            print(f"activated: {took:.2f} s; followed: {_followed(two.other, version):.2f} s")
        asked = {"temperature": 75, "rainfall": 80, "humidity": 55}
        assert one.post("/predict", json=asked).json()["model_version"] == "1"
        for job in writes:
            took, answer = job.result(timeout=IN_THE_END_S)
            print(f"{answer.request.url.path}: {answer.status_code} after {took:.1f} s")
            assert answer.status_code == 503, answer.text
            assert took < IN_THE_END_S
    _, again = _post(two.one, "/observations")
    assert again.status_code == 201, again.text


def _followed(other: Running, version: str) -> float:
    """Return how long another server took to follow, seconds."""
    began = time.monotonic()
    while other.version() != version:
        assert time.monotonic() - began < SOON_S, "the other server does not follow"
        time.sleep(0.02)
    return time.monotonic() - began
