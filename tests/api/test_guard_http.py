"""Closed by default: tokens, limits, time-outs and headers, over HTTP."""

import json
import os
import signal
import socket
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from app.api.hosts import Hosts
from app.settings import Settings
from tests.running import Running, children, copy_store, cpu_s, peak_mb, serving, until

pytestmark = pytest.mark.measured

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
NAMED = "anna anna-has-a-long-token # since May\n\nben  ben-has-another-token\n"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_tokens_come_and_go_without_a_restart(trained: Path, tmp_path: Path) -> None:
    """Each line of the token file is somebody's; who writes stands in the log; a line removed is a token gone."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        file = running.store / "token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_text(NAMED)
        for name in ("anna", "ben"):
            token = next(line.split()[1] for line in NAMED.splitlines() if line.startswith(name))
            answer = running.client.post("/models/1/activate", headers=_bearer(token))
            assert (answer.status_code, answer.json()["who"]) == (200, name)
        assert running.client.post("/models/1/activate", headers=running.write).status_code == 401
        file.write_text("ben ben-has-another-token\nshort x\n")
        assert running.client.post("/models/1/activate", headers=_bearer("anna-has-a-long-token")).status_code == 401
        assert running.client.post("/models/1/activate", headers=_bearer("x")).status_code == 401
        assert running.client.post("/models/1/activate", headers=_bearer("ben-has-another-token")).status_code == 200
        file.write_text("# nobody\n")
        closed = running.client.post("/models/1/activate", headers=_bearer("ben-has-another-token"))
        assert (closed.status_code, closed.json()["code"]) == (503, "store_unavailable")
        assert running.client.post("/predict", json=PLACE).status_code == 200


def test_reading_can_be_closed(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_READ_TOKEN, predictions need it, or a token for writing; health is open."""
    settings = {"ORCHARD_READ_TOKEN": "for-dashboards-only", "ORCHARD_TOKEN": "for-writing-only"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        for path in ("/models", "/models/live", "/models/log", "/observations", "/metrics", "/models/live/drift"):
            refused = running.client.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert running.client.get(path, headers=_bearer("for-dashboards-only")).status_code == 200
        assert running.client.post("/predict", json=PLACE).status_code == 401
        for token in settings.values():
            assert running.client.post("/predict", json=PLACE, headers=_bearer(token)).status_code == 200
        assert running.client.post("/models/1/activate", headers=_bearer("for-dashboards-only")).status_code == 401
        assert running.client.get("/health/ready").status_code == 200


def test_what_regions_reported_is_not_for_everyone(trained: Path, tmp_path: Path) -> None:
    """Stored observations and batches are shown with a token for writing only, or one for reading."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        for path in ("/observations", "/observations/batches"):
            assert running.client.get(path).status_code == 401
            assert running.client.get(path, headers=_bearer("wrong")).status_code == 401
            assert running.client.get(path, headers=running.write).status_code == 200
        assert running.client.get("/models").status_code == 200


def _guess(running: Running, count: int, address: str = "198.51.100.{n}") -> list[int]:
    """Try wrong tokens, each said to be forwarded from an address of its own; return the statuses."""
    return [
        running.client.post(
            "/models/1/activate", headers=_bearer(f"guess {n}") | {"X-Forwarded-For": address.format(n=n)}
        ).status_code
        for n in range(count)
    ]


def test_guessing_has_to_wait(trained: Path, tmp_path: Path) -> None:
    """After ten wrong tokens the next get 429, whatever addresses they claim to be from; a right one always passes."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_LOG_FORMAT="json") as running:
        assert _guess(running, 12) == [401] * 10 + [429] * 2
        waiting = running.client.get("/observations", headers=_bearer("guess"))
        assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "60")
        assert waiting.json()["code"] == "too_many_attempts"
        for right in (running.write, running.write | {"X-Forwarded-For": "198.51.100.1"}):
            assert running.client.post("/models/1/activate", headers=right).status_code == 200
        assert running.client.post("/predict", json=PLACE).status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    wrong = [line["address"] for line in lines if line["event"] == "a wrong token"]
    assert wrong == ["127.0.0.1"] * 10


def test_a_trusted_proxy_says_who_asks(trained: Path, tmp_path: Path) -> None:
    """Of a proxy that ORCHARD_TRUSTED_PROXIES names, each address behind it has attempts of its own; of others not."""
    settings = {"ORCHARD_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1", "ORCHARD_LOG_FORMAT": "json"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        assert _guess(running, 12) == [401] * 12
        # What was in the header before the proxy added to it is the sender's own claim.
        assert _guess(running, 12, "203.0.113.{n}, 198.51.100.77") == [401] * 10 + [429] * 2
    assert '"address": "198.51.100.77"' in (tmp_path / "store.log").read_text()


def test_a_token_file_may_be_wrong(trained: Path, tmp_path: Path) -> None:
    """A byte order mark is no part of a token, bad lines are one warning, and what is too large is not read."""
    store = copy_store(trained, tmp_path / "store")
    file = store / "token"
    file.write_bytes(b"\xef\xbb\xbfa-token-of-an-editor\r\n" + b"x\n" * 100_000)
    file.chmod(0o600)
    with serving(store, ORCHARD_LOG_FORMAT="json") as running:
        right = _bearer("a-token-of-an-editor")
        assert running.client.post("/models/1/activate", headers=right).status_code == 200
        file.write_bytes(b"a-token-of-an-editor\n" + b"x\n" * 1_000_000)
        for _ in range(3):
            closed = running.client.post("/models/1/activate", headers=right)
            assert (closed.status_code, closed.json()["code"]) == (503, "store_unavailable")
            assert "262144 bytes" in closed.json()["detail"]
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    warned = [line["event"] for line in lines if "of the token file" in line["event"]]
    assert len(warned) == 1
    assert warned[0].startswith("lines 2, 3, 4, 5, 6 and 99995 more of the token file: passed over")
    assert (tmp_path / "store.log").stat().st_size < 20_000


def test_the_document_is_closed_with_the_rest(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_READ_TOKEN /openapi.json needs a token; the page that asks for it does not. Else both are open."""
    closed = {"ORCHARD_READ_TOKEN": "for-dashboards-only"}
    with serving(copy_store(trained, tmp_path / "store"), **closed) as running:
        assert running.client.get("/openapi.json").status_code == 401
        assert running.client.get("/openapi.json", headers=_bearer("guess")).status_code == 401
        for token in (_bearer("for-dashboards-only"), running.write):
            assert running.client.get("/openapi.json", headers=token).json()["openapi"].startswith("3.")
        for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css"):
            page = running.client.get(path)
            assert (page.status_code, "/retrain" in page.text) == (200, False)


def test_the_document_is_open_where_reading_is(reading: Running) -> None:
    """Without that setting, GET and HEAD of the document need no token."""
    assert "/predict" in reading.client.get("/openapi.json").json()["paths"]
    assert reading.client.head("/openapi.json").status_code == 200


def test_the_token_stays_secret(trained: Path, tmp_path: Path) -> None:
    """Neither the log nor any answer holds it."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        token = (store / "token").read_text().strip()
        answers = [
            running.client.post("/retrain", headers=running.write, json={"observations": [{}]}),
            running.client.post("/models/1/activate", headers=running.write),
            running.client.get("/models/live"),
            running.client.get("/metrics"),
            running.client.get("/openapi.json"),
        ]
        assert all(token not in answer.text for answer in answers)
    assert token not in (tmp_path / "store.log").read_text()


ANYTHING = [
    ("GET", "/health/live", None),
    ("GET", "/nothing", None),
    ("PUT", "/predict", None),
    ("POST", "/predict", PLACE),
    ("POST", "/predict?level=0.8", PLACE),
    ("POST", "/predict", {"temperature": 1}),
    ("POST", "/retrain", None),
    ("GET", "/openapi.json", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ANYTHING)
def test_every_answer_has_the_headers(reading: Running, method: str, path: str, body: object) -> None:
    """No sniffing, no caching, no framing; no banner that tells the server's name."""
    headers = reading.client.request(method, path, json=body, headers={"Origin": "https://elsewhere.example"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    if not path.startswith("/predict"):
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-request-id"]
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_pages_of_named_origins_may_call(trained: Path, tmp_path: Path) -> None:
    """ORCHARD_CORS_ORIGINS lets browsers on these origins in, and nobody else."""
    settings = {"ORCHARD_CORS_ORIGINS": "https://farm.example, https://other.example"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        before = running.client.options("/predict", headers=asked | {"Origin": "https://farm.example"})
        assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, "https://farm.example")
        answer = running.client.post("/predict", json=PLACE, headers={"Origin": "https://other.example"})
        assert answer.headers["access-control-allow-origin"] == "https://other.example"
        answer = running.client.post("/predict", json=PLACE, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
        assert _untyped(running, "https://Other.example").status_code == 200
        assert _untyped(running, "https://evil.example").status_code == 415


def test_pages_of_other_origins_are_told_why_not(trained: Path, tmp_path: Path) -> None:
    """A preflight is refused by a problem, which names the origin, or what pages may not send; caches know by what."""
    settings = {"ORCHARD_CORS_ORIGINS": "https://farm.example"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        for origin, method, detail in (
            ("https://evil.example", "POST", "this origin is not in ORCHARD_CORS_ORIGINS: https://evil.example"),
            ("https://" + "e" * 200, "POST", "this origin is not in ORCHARD_CORS_ORIGINS: https://" + "e" * 92),
            ("https://farm.example", "BREW", "pages of other origins may not send this: BREW"),
        ):
            asked = {"Origin": origin, "Access-Control-Request-Method": method}
            answer = running.client.options("/predict", headers=asked)
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
            assert (answer.json()["code"], answer.json()["detail"]) == ("bad_request", detail)
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert "Origin" in answer.headers["vary"]
            assert ("access-control-allow-origin" in answer.headers) == (origin == "https://farm.example")


def _untyped(running: Running, origin: str) -> httpx.Response:
    """Send what a browser sends without asking first: a body that has no type."""
    return running.client.post("/predict", content=json.dumps(PLACE).encode(), headers={"Origin": origin})


def test_a_page_cannot_ask_without_being_let(reading: Running) -> None:
    """A body without a type, which no browser asks about, is taken from our own pages only; programs may send it."""
    own = str(reading.client.base_url).rstrip("/")
    assert _untyped(reading, own).status_code == 200
    for origin in ("https://elsewhere.example", "null", own + "0", "http://", ""):
        refused = _untyped(reading, origin)
        assert (refused.status_code, refused.json()["code"]) == (415, "unknown_media_type"), origin
        assert "name its body's type" in refused.json()["detail"]
    blank = {"Origin": "https://elsewhere.example", "Content-Type": ""}
    assert reading.client.post("/predict", content=b"{}", headers=blank).status_code == 415
    for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        for path in ("/predict", "/predict?level=0.8", "/v2/models/yield/infer"):
            asked = {"Origin": "https://elsewhere.example", "Content-Type": simple}
            assert reading.client.post(path, content=json.dumps(PLACE).encode(), headers=asked).status_code in {
                400,
                415,
            }
    assert reading.client.post("/predict", content=json.dumps(PLACE).encode()).status_code == 200


OURS = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80", "192.0.2.7", ""]
OTHERS = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a:b:c"]
ASKED = [
    ("GET", "/models"),
    ("POST", "/predict"),
    ("POST", "/predict?level=0.8"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_a_name_that_leads_here_gets_nothing(trained: Path, reading: Running, method: str, path: str) -> None:
    """On a loopback address: addresses, localhost and what ORCHARD_HOSTS names; 421 for all other names (rebinding)."""
    del trained
    body = json.dumps(PLACE) if method == "POST" else None
    typed = {"Content-Type": "application/json"}
    for host in (*OURS, "x"):  # "x" is what the tests' ORCHARD_HOSTS names
        answer = reading.client.request(method, path, content=body, headers=typed | {"Host": host})
        assert answer.status_code == 200, host
    for host in OTHERS * 2:
        answer = reading.client.request(method, path, content=body, headers=typed | {"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "misdirected"), host
        assert "ORCHARD_HOSTS" in answer.json()["detail"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_request_without_a_host_is_answered(reading: Running) -> None:
    """HTTP/1.0 knows none."""
    address = (reading.client.base_url.host, reading.client.base_url.port or 0)
    with socket.create_connection(address) as connection:
        connection.settimeout(20)
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert b" 200 OK" in _to_the_end(connection)


@pytest.mark.parametrize(
    ("settings", "admitted", "refused"),
    [
        ({"host": "0.0.0.0"}, ["anything.example", "10.0.0.1"], []),  # noqa: S104 - what is asked is whether names count
        ({"host": "0.0.0.0", "hosts": "farm.example"}, ["Farm.example:8000", "10.0.0.1", "localhost"], ["b.example"]),  # noqa: S104
        ({"host": "127.0.0.1", "hosts": "*"}, ["anything.example"], []),
        ({"host": "::1"}, ["localhost", "[::1]:8000"], ["b.example"]),
        ({"host": "localhost"}, ["localhost"], ["b.example"]),
    ],
)
def test_which_names_count(settings: dict[str, str], admitted: list[str], refused: list[str]) -> None:
    """Beyond a loopback address every name does, unless some are named; * is all."""
    hosts = Hosts(Settings.model_validate(settings))
    assert [name for name in admitted * 2 if not hosts.admits(name.encode())] == []
    assert [name for name in refused * 2 if hosts.admits(name.encode())] == []


def test_few_names_are_remembered() -> None:
    """Whatever is sent as a name, it takes no memory."""
    hosts = Hosts(Settings(host="0.0.0.0"))  # noqa: S104 - nothing listens
    for number in range(1_000):
        assert hosts.admits(b"a%d.example" % number)
        assert hosts.admits(b"a" * 300 + b"%d" % number)
    assert len(hosts.accepted) <= 64
    assert max(map(len, hosts.accepted)) < 300


def test_a_gzip_bomb_is_not_unfolded(reading: Running) -> None:
    """A megabyte that would be a gigabyte is 413, and takes no more memory than the longest body."""
    by = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(by.compress(bytes(2**20)) for _ in range(2**10)), by.flush()])
    assert len(bomb) < 2**20 + 100_000
    headers = reading.write | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reading.client.post("/predict", json=PLACE)
    before = peak_mb(reading.process.pid)
    for path in ("/predict", "/retrain", "/observations", "/models/1/activate"):
        answer = reading.client.post(path, content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "unfolds to more than" in answer.json()["detail"] or path.endswith("activate")
    assert peak_mb(reading.process.pid) < before + 150


@contextmanager
def _trickling(running: Running, count: int, path: str, length: int) -> Iterator[list[socket.socket]]:
    """Open connections that announce a body and send none of it."""
    address = (running.client.base_url.host, running.client.base_url.port or 0)
    sockets = [socket.create_connection(address) for _ in range(count)]
    token = running.write["Authorization"]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    try:
        for each in sockets:
            each.settimeout(10)
            each.sendall(head.encode())
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _to_the_end(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(4_096), b""))


def _answer(connection: socket.socket) -> HTTPResponse:
    """Return what comes next over a connection; its head and its body may come apart."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer


@pytest.mark.parametrize("path", ["/predict", "/predict?level=0.8"])
def test_too_many_at_once_are_turned_away_at_once(trained: Path, tmp_path: Path, path: str) -> None:
    """Above ORCHARD_MAX_CONCURRENCY: 503 with Retry-After, at once; health and metrics are still answered."""
    with (
        serving(copy_store(trained, tmp_path / "store"), ORCHARD_MAX_CONCURRENCY="3") as running,
        httpx.Client(base_url=running.client.base_url) as client,
    ):
        with _trickling(running, 3, path, 100):
            until(lambda: client.post("/predict", json=PLACE).status_code == 503)
            refused = client.post("/predict", json=PLACE)
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert client.get("/health/ready").status_code == 200
            assert client.get("/metrics").status_code == 200
        until(lambda: client.post("/predict", json=PLACE).status_code == 200)


def test_a_body_that_trickles_in_is_not_waited_for(trained: Path, tmp_path: Path) -> None:
    """After ORCHARD_BODY_TIMEOUT_S it is 408, on the express lane, for large bodies and for writes."""
    settings = {"ORCHARD_BODY_TIMEOUT_S": "1", "ORCHARD_TOKEN": "a-token-for-this-test"}
    asked = [("/predict", 100), ("/predict", 1_000_000), ("/predict?level=0.8", 100), ("/retrain", 100)]
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        began = time.monotonic()
        with ExitStack() as open_ones:
            connections = [open_ones.enter_context(_trickling(running, 1, *each))[0] for each in asked]
            for connection in connections:
                answer = _answer(connection)
                assert answer.status == 408
                assert b"body_timeout" in answer.read()
            assert 0.5 < time.monotonic() - began < 4
        assert running.client.post("/predict", json=PLACE).status_code == 200


AROUND: dict[str, tuple[str, dict[str, str], int, str]] = {
    "many headers": ("/models", {f"x-{number}": "1" for number in range(101)}, 431, "headers_too_large"),
    "long headers": ("/models", {"x-1": "x" * 40_000, "x-2": "x" * 30_000}, 431, "headers_too_large"),
    "a long path": ("/models/" + "1" * 9_000, {}, 414, "target_too_long"),
    "a long query": ("/models?limit=" + "1" * 9_000, {}, 414, "target_too_long"),
    "a long Accept": ("/models/live", {"accept": 'a/b;"' + ";" * 2_000}, 200, ""),
    "a long cookie": ("/models", {"cookie": 'a="' + '\\"' * 30_000 + '"'}, 200, ""),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_a_body_has_limits(reading: Running, name: str) -> None:
    """Of headers, their bytes, the path and the query: a problem that names the limit; cookies are not read at all."""
    path, headers, status, code = AROUND[name]
    before = cpu_s(reading)
    answer = reading.client.get(path, headers=headers)
    assert cpu_s(reading) - before < 1
    assert answer.status_code == status
    if code:
        assert answer.json()["code"] == code
        assert "the limit is" in answer.json()["detail"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        inference = reading.client.get("/v2" + path, headers=headers)
        assert (inference.status_code, list(inference.json())) == (status, ["error"])


LONG: dict[str, tuple[str, str, str, int]] = {
    "Accept": ("/predict", "accept", 'a/b;"' + ";" * 60_000, 406),
    "Accept, many": ("/predict", "accept", "text/html," * 101, 406),
    "Content-Type": ("/predict", "content-type", 'application/json;"' + ";" * 60_000, 415),
    "Accept-Encoding": ("/v2/models/yield/infer", "accept-encoding", "gzip;q=0," * 200, 406),
}


@pytest.mark.parametrize("name", LONG)
def test_long_values_are_not_read(reading: Running, name: str) -> None:
    """A type of a thousand characters is none: the event loop never holds still for it."""
    path, header, value, status = LONG[name]
    before = cpu_s(reading)
    answer = reading.client.post(path, json=PLACE, headers={header: value})
    assert cpu_s(reading) - before < 1
    assert answer.status_code == status
    assert f"{len(value)} characters: at most 1000 are read" in answer.text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ('text/html, application/json;q="0.5", text/csv;q=0.9', "text/csv"),
        ('x/y;a="b,c;q=1";q=0.1, TEXT/CSV ; q=0.2', "text/csv"),
        ('text/csv;a="\\\\";q=0, */*;q=0.1', "application/json"),
        ("text/csv;q=nan, application/json;q=0.001", "application/json"),
    ],
)
def test_types_are_told_by_weight(reading: Running, accept: str, kind: str) -> None:
    """Parameters and quotes between them mislead nobody."""
    body = {name: [value] for name, value in PLACE.items()}
    answer = reading.client.post("/predict", json=body, headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


def _connect(running: Running) -> socket.socket:
    connection = socket.create_connection((running.client.base_url.host, running.client.base_url.port or 0))
    connection.settimeout(20)
    return connection


def _head(length: int, path: str = "/predict") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_the_connection_is_closed_after_413(reading: Running) -> None:
    """The answer arrives although most of the body was never sent, and nothing more is read."""
    with _connect(reading) as connection:
        connection.sendall(_head(40_000_000) + b" " * 1_000_000)
        answer = b""
        began = time.monotonic()
        while part := connection.recv(65_536):
            answer += part
        assert time.monotonic() - began < 15
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert b"40000000 bytes, the limit is 33554432" in body


@contextmanager
def _held_up(running: Running) -> Iterator[bytes]:
    """Stop the process aside for the block, and yield a body of 200 KB for it."""
    body = b'{"temperature":[%b1],"rainfall":[%b1],"humidity":[%b1]}' % ((b"1," * 33_000,) * 3)
    assert running.client.post("/predict", content=body).status_code == 200
    (helper,) = children(running.process.pid, "app.api.helper")
    os.kill(helper, signal.SIGSTOP)
    try:
        yield body
    finally:
        os.kill(helper, signal.SIGCONT)


@pytest.mark.long
def test_large_bodies_together_have_a_limit(trained: Path, tmp_path: Path) -> None:
    """Beyond it 503 before the body is read; shorter ones and single regions are still let in."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_MAX_WAITING_BYTES="300000") as running:
        with _held_up(running) as body, _connect(running) as first, _connect(running) as short:
            first.sendall(_head(len(body)) + body)

            def is_turned_away() -> bool:
                with _connect(running) as second:
                    second.settimeout(1)
                    second.sendall(_head(len(body), "/predict?level=0.8"))  # and nothing of the body
                    try:
                        answer = _answer(second)
                    except TimeoutError:  # it is waited for: the first one is not there yet
                        return False
                    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                    return b"overloaded" in answer.read()

            until(is_turned_away)
            brief = b'{"temperature":[1],"rainfall":[1],"humidity":[1]}' + b" " * 17_000
            short.sendall(_head(len(brief)) + brief)
            assert running.client.post("/predict", json=PLACE).status_code == 200
            assert running.client.post("/predict?level=0.8", json=PLACE).status_code == 200
            os.kill(children(running.process.pid, "app.api.helper")[0], signal.SIGCONT)
            assert [_answer(each).status for each in (first, short)] == [200, 200]
        assert running.client.post("/predict", content=body).status_code == 200


def _count(running: Running, status: str) -> float:
    lines = running.client.get("/metrics").text.splitlines()
    wanted = f'orchard_requests_total{{method="POST",route="/predict",status="{status}"}} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


@pytest.mark.long
def test_who_leaves_is_given_up(trained: Path, tmp_path: Path) -> None:
    """In the middle of a body, or waiting for the process aside: counted as 499, no error in the log, no work."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        with _connect(running) as leaving:
            leaving.sendall(_head(100_000) + b"{")
        until(lambda: _count(running, "499") == 1)
        with _held_up(running) as body, _connect(running) as first:
            first.sendall(_head(len(body)) + body)
            for _ in range(5):
                with _connect(running) as leaving:
                    leaving.sendall(_head(len(body)) + body)
            until(lambda: _count(running, "499") >= 5)  # one of them may have come before the first
            os.kill(children(running.process.pid, "app.api.helper")[0], signal.SIGCONT)
            assert _answer(first).status == 200
        assert _count(running, "0") == 0
    log = (tmp_path / "store.log").read_text()
    assert "Traceback" not in log
    assert "[error" not in log


@pytest.mark.long
def test_damage_is_reported_and_never_served(trained: Path, tmp_path: Path) -> None:
    """A damaged version is passed over for the one before, a damaged database and left-overs are seen at the start."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        running.client.post("/retrain", json={"activate": "always"}, headers=running.write)
        assert running.version() == "2"
        assert running.client.get("/health/ready").json()["details"] == []
    version = store / "versions" / "2.safetensors"
    content = bytearray(version.read_bytes())
    content[len(content) // 2] ^= 1
    version.write_bytes(content)
    (store / "tmp" / "left-over").write_bytes(b"half a version")
    database = bytearray((store / "observations.db").read_bytes())
    database[4_096:] = os.urandom(len(database) - 4_096)
    (store / "observations.db").write_bytes(database)
    for rest in store.glob("observations.db-*"):
        rest.unlink()
    with serving(store) as running:
        ready = running.client.get("/health/ready").json()
        assert ready["model_version"] == "1"
        assert "version 2" in ready["details"][0]
        assert "sha256" in ready["details"][0]
        assert "version 1 is served instead" in ready["details"][0]
        assert "database is damaged" in ready["details"][1]
        assert running.client.post("/predict", json=PLACE).json()["model_version"] == "1"
        assert running.client.post("/retrain", headers=running.write).status_code == 503
        assert list((store / "tmp").iterdir()) == []
