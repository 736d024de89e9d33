"""Bodies that are compressed, answers that are, and answers that their client has already."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tests.running import HARVEST, Running, copy_store, serving
from tests.talking import request, talk

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
COLUMNS = {name: [value] * 5_000 for name, value in PLACE.items()}
JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
Pack = Callable[[bytes], bytes]
PLAIN = {"Accept-Encoding": "identity"}
READ = ("/models?limit=5", "/models/1", "/models/live", "/openapi.json", "/docs/swagger-ui-bundle.js", "/observations")


def _arrow() -> bytes:
    table = pa.table({name: [float(value)] for name, value in PLACE.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


BODIES: dict[str, tuple[str, str, bytes]] = {
    "a region": ("/predict", JSON, json.dumps(PLACE).encode()),
    "many regions": ("/predict", JSON, json.dumps(COLUMNS).encode()),
    "a table": ("/predict", CSV, b"temperature,rainfall,humidity\n75,80,55\n"),
    "Arrow": ("/predict", ARROW, _arrow()),
    "a harvest": ("/retrain?dry_run=true", JSON, json.dumps(HARVEST).encode()),
    "a note": ("/models/1/activate", JSON, b'{"note": "back"}'),
}


@pytest.fixture(scope="module")
def longer(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server with several versions and a few more rows, to read from."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("longer") / "store")) as running:
        for _ in range(4):
            running.client.post("/retrain", json={"activate": "never"}, headers=running.write)
        assert running.client.post("/observations", json=HARVEST, headers=running.write).status_code == 201
        yield running


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_bodies(writing: Running, name: str, encoding: str, pack: Pack) -> None:
    """They are answered as they are without compression."""
    path, sent, body = BODIES[name]
    headers = writing.write | {"Content-Type": sent}
    plain = writing.client.post(path, content=body, headers=headers)
    packed = writing.client.post(path, content=pack(body), headers=headers | {"Content-Encoding": encoding})
    assert (packed.status_code, plain.status_code) == (200, 200)
    if path != "/models/1/activate":
        assert packed.content == plain.content


def test_bodies_that_are_not_what_they_say(writing: Running) -> None:
    """Cut off, with more behind it, not compressed, or in another way: refused, and nothing is stored."""
    body = json.dumps(HARVEST).encode()

    def ask(content: bytes, encoding: str, path: str = "/observations") -> tuple[int, str]:
        answer = writing.client.post(path, content=content, headers=writing.write | {"Content-Encoding": encoding})
        return answer.status_code, answer.json()["detail"]

    before = writing.client.get("/observations/batches", headers=writing.write).content
    for path in ("/observations", "/retrain", "/predict"):
        for wrong in (gzip.compress(body)[:-9], gzip.compress(body) + b"more"):
            assert ask(wrong, "gzip", path) == (400, "the body is not gzip: it is cut off, or goes on behind its end")
        assert ask(body, "gzip", path)[0] == 400
        assert ask(body, "br", path) == (
            415,
            "br-encoded bodies are not accepted here: use gzip or deflate, or send the body uncompressed",
        )
    assert writing.client.get("/observations/batches", headers=writing.write).content == before


def test_a_call_is_the_same_however_its_body_is_compressed(writing: Running) -> None:
    """Repeated under its key, it is answered again and stored once."""
    body, headers = json.dumps(HARVEST).encode(), writing.write | {"Idempotency-Key": "compressed or not"}
    first = writing.client.post("/observations", content=body, headers=headers)
    packed = headers | {"Content-Encoding": "gzip"}
    again = writing.client.post("/observations", content=gzip.compress(body), headers=packed)
    assert (first.status_code, again.content) == (201, first.content)


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_read_is_compressed_for_who_takes_that(longer: Running, path: str, encoding: str) -> None:
    """To the same content; for others it is what it was, and caches are told that there are two."""
    with longer.client.stream("GET", path, headers=longer.write | {"Accept-Encoding": encoding}) as stream:
        raw = b"".join(stream.iter_raw())
        packed = stream.headers
    plain = longer.client.get(path, headers=longer.write | PLAIN)
    assert (packed["content-encoding"], packed["vary"], plain.headers["vary"]) == (encoding, *["Accept-Encoding"] * 2)
    assert int(packed["content-length"]) == len(raw) < len(plain.content)
    assert "content-encoding" not in plain.headers
    unpack: Pack = gzip.decompress if encoding == "gzip" else zlib.decompress
    assert unpack(raw) == plain.content
    head = longer.client.head(path, headers=longer.write | {"Accept-Encoding": encoding})
    assert (head.headers["content-length"], head.headers["content-encoding"]) == (packed["content-length"], encoding)


@pytest.mark.parametrize("path", ["/models/log?limit=1", "/health/ready", "/models/live/drift", "/models/77"])
def test_what_is_short_is_not_compressed(longer: Running, path: str) -> None:
    """Nor are problems."""
    answer = longer.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


@pytest.mark.parametrize("media_type", [JSON, CSV, ARROW])
def test_predictions_are_compressed_for_who_takes_nothing_else(longer: Running, media_type: str) -> None:
    """Compressing takes longer than predicting: who takes both gets them as they are, one region's always are."""

    def ask(accepted: str, body: Any = COLUMNS) -> httpx.Response:
        headers = {"Accept-Encoding": accepted, "Accept": media_type}
        answer = longer.client.post("/predict", json=body, headers=headers)
        assert answer.status_code == 200
        return answer

    plain = ask("gzip, deflate")
    assert "content-encoding" not in plain.headers
    packed = ask("gzip, identity;q=0")
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert "content-encoding" not in ask("gzip, identity;q=0", PLACE).headers


def test_a_retrains_events_are_not_compressed(longer: Running) -> None:
    """They are to be seen as they happen."""
    headers = longer.write | {"Accept": "text/event-stream", "Accept-Encoding": "gzip, identity;q=0"}
    answer = longer.client.post("/retrain?dry_run=true", json=HARVEST, headers=headers)
    assert "content-encoding" not in answer.headers
    assert "event: result" in answer.text


def test_a_card_is_sent_once(writing: Running) -> None:
    """Who names its tag gets 304 without a body, compressed or not, until the version is live or is not any more."""
    writing.client.post("/retrain", json={"activate": "always"}, headers=writing.write)
    first = writing.client.get("/models/1", headers=PLAIN)
    tag = first.headers["etag"]
    assert (first.headers["cache-control"], first.json()["live"]) == ("no-cache", False)
    assert writing.client.get("/models/1", headers={"Accept-Encoding": "gzip"}).headers["etag"] == tag
    for named in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            unchanged = writing.client.request(method, "/models/1", headers={"If-None-Match": named})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert (unchanged.headers["etag"], unchanged.headers["cache-control"]) == (tag, "no-cache")
            assert unchanged.headers["vary"] == "Accept-Encoding"
            assert "content-length" not in unchanged.headers
            assert unchanged.headers["x-request-id"]
    for other in ('"other"', tag.strip('W/"'), ""):
        assert writing.client.get("/models/1", headers={"If-None-Match": other}).status_code == 200
    writing.client.post("/models/1/activate", headers=writing.write)
    changed = writing.client.get("/models/1", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["live"], changed.headers["etag"] != tag) == (200, True, True)
    live = writing.client.get("/models/live", headers={"If-None-Match": changed.headers["etag"]})
    assert live.status_code == 304


def test_a_page_that_is_kept_keeps_its_policy(longer: Running) -> None:
    """A browser replaces the headers that it has kept by those of a 304: another policy would leave the page blank."""
    first = longer.client.get("/")
    again = longer.client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    for name in ("content-security-policy", "cross-origin-opener-policy", "referrer-policy", "cache-control"):
        assert again.headers[name] == first.headers[name]
    assert "script-src 'self'" in again.headers["content-security-policy"]


def test_nothing_else_is_kept(longer: Running) -> None:
    """Lists change; problems have no tag."""
    for path in ("/models", "/models/log", "/models/live/drift", "/models/77"):
        answer = longer.client.get(path)
        assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)


def test_an_unknown_encoding_is_refused_before_its_body_comes(longer: Running) -> None:
    """Who waits for leave to send it is told at once."""
    with talk(longer) as one:
        head = request(b"", b"Expect: 100-continue", b"Content-Encoding: br", length=1_000)
        assert one.ask(head).code == 415
