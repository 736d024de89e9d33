"""deploy/nginx.conf in a real nginx, with TLS, before a real server: at a name of its own and below a path."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from app.api.tokens import ATTEMPTS
from tests.nginx import FARM, SITE, Front, in_front, programs
from tests.running import DEADLINE_S, HARVEST, Running, connections, copy_store, serving, until

pytestmark = [pytest.mark.long, pytest.mark.skipif(not programs(), reason="nginx or openssl is not installed")]

A = {"region": "A", "temperature": 73, "rainfall": 67, "humidity": 43}
PREFIX = "/orchard"
LIMIT = 32 * 2**20
"""Bytes of a body, as nginx and Orchard have it."""


@dataclass(frozen=True)
class Both:
    """A server, and nginx in front of it."""

    running: Running
    front: Front


@contextmanager
def _behind_nginx(trained: Path, folder: Path, **settings: str) -> Iterator[Both]:
    """Run both; the server is told what the file says that it has to be."""
    told = {"ORCHARD_HOSTS": f"{SITE},{FARM}", "ORCHARD_TRUSTED_PROXIES": "127.0.0.1"}
    (folder / "nginx").mkdir()
    store = copy_store(trained, folder / "store")
    with (
        serving(store, **told, **settings) as running,
        in_front(running.client.base_url.port or 0, folder / "nginx") as front,
    ):
        yield Both(running, front)


@pytest.fixture(scope="module")
def both(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Return both, at a name of its own."""
    with _behind_nginx(trained, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def below(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Return both, below a path that the server is told."""
    with _behind_nginx(trained, tmp_path_factory.mktemp("farm"), ORCHARD_ROOT_PATH=PREFIX) as found:
        yield found


@pytest.mark.parametrize(("name", "path"), [(SITE, ""), (FARM, PREFIX)])
def test_predictions_pass(both: Both, name: str, path: str) -> None:
    """Predictions are those of the server itself, at the name of its own and below the path."""
    with both.front.client(name) as client:
        answer = client.post(f"{path}/predict", json=A)
        assert answer.status_code == 200, answer.text
        assert answer.content == both.running.client.post("/predict", json=A).content
        table = client.post(f"{path}/predict", content=_table(2_000), headers={"Content-Type": "text/csv"})
        assert table.headers["content-encoding"] == "gzip"
        assert len(table.text.splitlines()) == 2_001


def _table(rows: int) -> bytes:
    return b"temperature,rainfall,humidity\n" + b"73,67,43\n" * rows


def test_the_page_and_all_it_loads_pass(both: Both) -> None:
    """The documentation is complete, and what it is written of is there."""
    with both.front.client() as client:
        assert _loaded(client, "/docs") > 2
        assert client.get("/openapi.json").json()["openapi"].startswith("3.")


def _loaded(client: httpx.Client, path: str) -> int:
    """Ask for all that a page names relative to itself; return how many that are."""
    page = client.get(path)
    assert page.status_code == 200, page.text
    links = [link for link in re.findall(r'(?:href|src)="([^"]+)"', page.text) if not link.startswith("data:")]
    for link in links:
        answer = client.get(urljoin(path, link))
        assert answer.status_code == 200, link
    return len(links)


def test_the_page_works_below_a_path(below: Both) -> None:
    """Below a path the page and what it loads are there, and its calls go below the path too."""
    with below.front.client(FARM) as client:
        assert _loaded(client, f"{PREFIX}/docs") > 2
        document = client.get(f"{PREFIX}/openapi.json").json()
        base = urljoin(f"{PREFIX}/openapi.json", document["servers"][0]["url"])
        answer = client.post(f"{base.rstrip('/')}/predict", json=A)
        assert answer.status_code == 200, answer.text
        assert (client.get(PREFIX).status_code, client.get(PREFIX).headers["location"]) == (
            308,
            f"https://{FARM}{PREFIX}/",
        )


def test_redirects_stay_below_the_path(below: Both) -> None:
    """A redirect leads to what is below the path, not out of it."""
    with below.front.client(FARM) as client:
        answer = client.get(f"{PREFIX}/docs/")
        assert urljoin(f"{PREFIX}/docs/", answer.headers.get("location", "")).startswith(f"{PREFIX}/docs")


def test_without_tls_one_is_led_to_it(both: Both) -> None:
    """Plain HTTP is answered with the address that has TLS, and nothing else; with it browsers are told to stay."""
    plain = httpx.get(f"http://127.0.0.1:{both.front.plain_port}/predict?x=1", headers={"Host": SITE})
    assert (plain.status_code, plain.headers["location"]) == (308, f"https://{SITE}/predict?x=1")
    with both.front.client() as client:
        assert "strict-transport-security" in client.get("/health/ready").headers


def test_connections_to_the_server_are_kept(both: Both) -> None:
    """Of several requests, each over a connection of its own to nginx, one to the server is left, beside the test's."""
    for _ in range(5):
        with both.front.client() as client:
            assert client.post("/predict", json=A).status_code == 200
    assert both.running.version() == "1"
    until(lambda: connections(both.running) == 2, within_s=5)


@pytest.mark.parametrize(
    ("body", "limit"),
    [(b" " * (LIMIT + 1), "32 MiB"), (_table(200_001), "200000 rows")],
    ids=["bytes, by nginx", "rows, by Orchard"],
)
def test_what_is_too_large_is_a_problem(both: Both, body: bytes, limit: str) -> None:
    """More bytes than the limit are refused by nginx, more rows by Orchard, in the same form; each names the limit."""
    with both.front.client() as client:
        answer = client.post("/predict", content=body, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (413, "too_large")
        assert limit in problem["detail"]


def test_a_body_at_the_limit_passes(both: Both) -> None:
    """A body of the most bytes that Orchard takes is not refused on the way."""
    rows = _table(1)
    with both.front.client() as client:
        answer = client.post(
            "/predict", content=rows + b"\n" * (LIMIT - len(rows)), headers={"Content-Type": "text/csv"}
        )
        assert answer.status_code == 200, answer.text


def test_wrong_tokens_count_by_who_sends_them(both: Both) -> None:
    """Who guesses has to wait, whatever address he makes up; others do not, and a right token always passes."""
    with both.front.client(address="127.0.0.2") as guesser, both.front.client(address="127.0.0.3") as other:
        tried = [_wrong(guesser, f"192.0.2.{number}") for number in range(ATTEMPTS + 1)]
        assert tried == [401] * ATTEMPTS + [429]
        assert _wrong(other) == 401
        assert guesser.get("/observations", headers=both.running.write).status_code == 200


def _wrong(client: httpx.Client, pretended: str = "") -> int:
    headers = {"Authorization": "Bearer wrong-but-long-enough"}
    forged = {"X-Forwarded-For": pretended} if pretended else {}
    return client.get("/observations", headers=headers | forged).status_code


def test_a_retrain_streams_to_its_end(both: Both) -> None:
    """The stream of a retrain ends with its report."""
    headers = {"Accept": "text/event-stream", **both.running.write}
    with (
        both.front.client() as client,
        client.stream("POST", "/retrain?dry_run=true", json=HARVEST, headers=headers) as stream,
    ):
        events = [line for line in stream.iter_lines() if line.startswith("event: ")]
    assert "event: progress" in events
    assert events[-1] == "event: result"


FIRST, SECOND = b"event: first\n\n", b"event: second\n\n"


class _Streams(ThreadingHTTPServer):
    """A server whose second event comes when the first one has arrived, or much too late."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        self.has_arrived = threading.Event()


class _Stream(BaseHTTPRequestHandler):
    """One such answer, whatever is asked."""

    server: _Streams

    def do_POST(self) -> None:
        """Send both events."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        """Send both events."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(FIRST)
        self.wfile.flush()
        if self.server.has_arrived.wait(DEADLINE_S):
            self.wfile.write(SECOND)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the class above
        """Write no log."""


@pytest.mark.parametrize(("name", "path"), [(SITE, ""), (FARM, PREFIX)])
@pytest.mark.parametrize(("method", "call"), [("POST", "/retrain"), ("GET", "/events")])
def test_events_pass_as_they_are_written(tmp_path: Path, name: str, path: str, method: str, call: str) -> None:
    """An event arrives before the next one is written: the server waits with it until then."""
    streams = _Streams()
    threading.Thread(target=streams.serve_forever, daemon=True).start()
    try:
        with (
            in_front(streams.server_port, tmp_path) as front,
            front.client(name) as client,
            client.stream(method, f"{path}{call}") as stream,
        ):
            pieces = stream.iter_raw()
            first = next(pieces)
            streams.has_arrived.set()
            assert first == FIRST
            assert b"".join(pieces) == SECOND
    finally:
        streams.shutdown()
        streams.server_close()


def test_a_server_that_is_away_is_a_problem(tmp_path: Path) -> None:
    """Where nothing listens, the answer is a problem that says what to do, with the status that clients go by."""
    with in_front(1, tmp_path) as front, front.client() as client:
        answer = client.post("/predict", json=A)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Idempotency-Key" in answer.json()["detail"]
