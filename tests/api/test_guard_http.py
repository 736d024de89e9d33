"""Closed by default: tokens, limits, time-outs and headers, over HTTP."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running import Running, copy_store, serving

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


def test_guessing_has_to_wait(trained: Path, tmp_path: Path) -> None:
    """After ten wrong tokens an address gets 429, whatever it tries; predictions go on."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        statuses = [running.client.post("/retrain", headers=_bearer(f"guess {n}")).status_code for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        waiting = running.client.post("/models/1/activate", headers=running.write)
        assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "60")
        assert waiting.json()["code"] == "too_many_attempts"
        assert running.client.post("/predict", json=PLACE).status_code == 200


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


def test_encoded_bodies_are_refused(reading: Running) -> None:
    """A gzip bomb is not unfolded: an encoded body is 415."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = reading.client.post("/predict", content=b"\x1f\x8b" + bytes(50), headers=headers)
    assert answer.status_code == 415
    assert "'gzip'" in answer.json()["detail"]


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


@pytest.mark.parametrize("path", ["/predict", "/predict?level=0.8"])
def test_too_many_at_once_are_turned_away_at_once(trained: Path, tmp_path: Path, path: str) -> None:
    """Above ORCHARD_MAX_CONCURRENCY: 503 with Retry-After, at once; health and metrics are still answered."""
    with (
        serving(copy_store(trained, tmp_path / "store"), ORCHARD_MAX_CONCURRENCY="3") as running,
        httpx.Client(base_url=running.client.base_url) as client,
    ):
        with _trickling(running, 3, path, 100):
            time.sleep(0.3)
            began = time.monotonic()
            refused = client.post("/predict", json=PLACE)
            assert time.monotonic() - began < 1
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert client.get("/health/ready").status_code == 200
            assert client.get("/metrics").status_code == 200
        time.sleep(0.3)
        assert client.post("/predict", json=PLACE).status_code == 200


@pytest.mark.parametrize(
    ("path", "length"), [("/predict", 100), ("/predict", 1_000_000), ("/predict?level=0.8", 100), ("/retrain", 100)]
)
def test_a_body_that_trickles_in_is_not_waited_for(trained: Path, tmp_path: Path, path: str, length: int) -> None:
    """After ORCHARD_BODY_TIMEOUT_S it is 408, on the express lane, for large bodies and for writes."""
    settings = {"ORCHARD_BODY_TIMEOUT_S": "1", "ORCHARD_TOKEN": "a-token-for-this-test"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        with _trickling(running, 1, path, length) as sockets:
            began = time.monotonic()
            answer = sockets[0].recv(4_096).decode()
            assert " 408 " in answer.splitlines()[0]
            assert "body_timeout" in answer
            assert 0.5 < time.monotonic() - began < 4
        assert running.client.post("/predict", json=PLACE).status_code == 200


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
