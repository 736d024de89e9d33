"""Bodies of every format, valid ones mutilated and nonsense: only documented statuses, no 500, no second's work."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.openapi import examples
from app.wire.problems import Problem
from tests.running import HARVEST, Running, children, cpu_s

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
GEOJSON = "application/geo+json"
ONE: dict[str, Any] = {"region": "A", "temperature": 73, "rainfall": 67, "humidity": 43}
SEVERAL = {"regions": [ONE, ONE | {"region": None}]}
COLUMNS = {"temperature": [73, 91], "rainfall": [67, 88], "humidity": [43, 64], "region": ["A", None]}
TABLE = "region,season,temperature,rainfall,humidity,mango\nA,2026,73,67,43,56\nB,,91,88,64,\n"
DEEP = 100_000
MOST_S = 1.0


def _arrow(codes: pa.DataType) -> bytes:
    content = io.BytesIO()
    names = pa.DictionaryArray.from_arrays(pa.array([0, None], codes), ["A"])
    table = pa.table({name: names if name == "region" else values for name, values in COLUMNS.items()})
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table)
    return content.getvalue()


VALID: list[tuple[str, str, bytes]] = [
    ("/predict", JSON, json.dumps(ONE).encode()),
    ("/predict?level=0.8", JSON, json.dumps(ONE).encode()),
    ("/predict", JSON, json.dumps(SEVERAL).encode()),
    ("/predict", JSON, json.dumps(COLUMNS).encode()),
    ("/predict", JSON, json.dumps(examples.OPEN_METEO).encode()),
    ("/predict?season_start=2026-04-02&region=A", JSON, json.dumps(examples.POWER).encode()),
    ("/predict", GEOJSON, json.dumps(examples.FIELDS).encode()),
    ("/predict", GEOJSON, json.dumps(examples.POWER).encode()),
    ("/observations", GEOJSON, json.dumps(examples.HARVESTED_FIELDS).encode()),
    ("/predict", CSV, b"region,temperature,rainfall,humidity\nA,73,67,43\n,91,88,64\n"),
    ("/predict", ARROW, _arrow(pa.int32())),
    ("/predict", ARROW, _arrow(pa.uint8())),
    ("/retrain?dry_run=true", CSV, TABLE.encode()),
    ("/retrain", JSON, json.dumps(HARVEST | {"dry_run": True}).encode()),
    ("/observations", CSV, TABLE.encode()),
    ("/observations", JSON, json.dumps(HARVEST).encode()),
    ("/models/1/activate", JSON, b'{"note": "again"}'),
]

PIECES = st.sampled_from(
    [
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"-0.0",
        b"1" * 400,
        b"0.1e-400",
        b'"\\ud800"',
        b"\\u0000",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b'"' + b"x" * 100_000 + b'"',
        b'"temperature": 1, ',
        b"=cmd()",
        b'"',
        b",",
        b"\r",
        b"\n\n",
        b"\xe2\x80\xae",
        b"__proto__",
    ]
)
"""What is put into bodies."""


@st.composite
def _mutilated(draw: st.DrawFn, body: bytes) -> bytes:
    """Cut, double, overwrite, or put something into a body, up to three times."""
    content = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        match draw(st.sampled_from(["cut", "double", "flip", "put", "number"])):
            case "cut":
                del content[start:end]
            case "double":
                content[start:start] = content[start:end]
            case "flip":
                content[start:end] = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[start:end])
            case "put":
                content[start:end] = draw(PIECES)
            case "number":
                digits = [place for place, byte in enumerate(content) if 48 <= byte < 58]
                if digits:
                    place = draw(st.sampled_from(digits))
                    content[place : place + 1] = draw(PIECES)
    return bytes(content)


Documented = Callable[[str], set[int]]


@pytest.fixture(scope="module")
def documented(writing: Running) -> Documented:
    """Return the statuses that the document names for POST on a path."""
    paths = writing.client.get("/openapi.json").json()["paths"]

    def statuses(path: str) -> set[int]:
        template = path.partition("?")[0].replace("/models/1/", "/models/{version}/")
        return set(map(int, paths[template]["post"]["responses"]))

    return statuses


def _worked(running: Running, path: str, kind: str, body: bytes) -> tuple[httpx.Response, float]:
    """Return the answer to a body, and how long it was worked on, seconds; the start of a helper is no work on it."""
    for _ in range(2):
        helpers, before = children(running.process.pid, "app.api.helper"), cpu_s(running)
        answer = running.client.post(path, content=body, headers=running.write | {"Content-Type": kind})
        took = cpu_s(running) - before
        if children(running.process.pid, "app.api.helper") == helpers:
            break
    return answer, took


def _check(running: Running, documented: Documented, path: str, kind: str, body: bytes) -> None:
    answer, took = _worked(running, path, kind, body)
    assert answer.status_code in documented(path), (path, kind, body[:200], answer.text[:500])
    assert answer.status_code < 500 or answer.status_code == 503
    if answer.status_code >= 400:
        Problem.model_validate_json(answer.content)
        for secret in ("Traceback", "site-packages", str(running.store), 'File "'):
            assert secret not in answer.text
    assert took < MOST_S, (path, kind, body[:200])


QUICK = settings(max_examples=60, derandomize=True)
LONG = settings(max_examples=800, derandomize=True)


def _fuzz(running: Running, documented: Documented, path: str, kind: str, body: bytes, effort: settings) -> None:
    assert running.client.post(path, content=body, headers=running.write | {"Content-Type": kind}).is_success

    @effort
    @given(_mutilated(body))
    def mutilated(content: bytes) -> None:
        _check(running, documented, path, kind, content)

    @effort
    @given(st.binary(max_size=200) | st.text().map(str.encode), st.sampled_from([JSON, CSV, ARROW, GEOJSON]))
    def nonsense(content: bytes, other: str) -> None:
        _check(running, documented, path, other, content)

    mutilated()
    nonsense()


IDS = [f"{path} {kind.rpartition('/')[2]} {number}" for number, (path, kind, _) in enumerate(VALID)]


@pytest.mark.parametrize(("path", "kind", "body"), VALID, ids=IDS)
def test_mutilated_bodies(writing: Running, documented: Documented, path: str, kind: str, body: bytes) -> None:
    """Each gets a documented answer for little work, and the service goes on."""
    _fuzz(writing, documented, path, kind, body, QUICK)


@pytest.mark.long
@pytest.mark.parametrize(("path", "kind", "body"), VALID, ids=IDS)
def test_many_mutilated_bodies(writing: Running, documented: Documented, path: str, kind: str, body: bytes) -> None:
    """The same, for longer."""
    _fuzz(writing, documented, path, kind, body, LONG)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ONE, "regions", "note"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("path", ["/predict", "/retrain", "/observations", "/models/1/activate"])
def test_any_json(writing: Running, documented: Documented, path: str) -> None:
    """Whatever JSON it is, with Python's NaN and Infinity among it."""

    @QUICK
    @given(VALUES)
    def any_json(value: object) -> None:
        _check(writing, documented, path, JSON, json.dumps(value).encode())

    any_json()


@QUICK
@given(
    name=st.sampled_from(["level", "explain", "version", "other"]),
    value=st.text(max_size=30)
    | st.sampled_from(["nan", "inf", "-1", "1e999", "0x1", "\u0660.\u0669", "%00", "9" * 500]),
    accept=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=30)
    | st.sampled_from(["*/*;q=0", "text/csv;q=x", ",,,", "text/*, */*;q=0.1", "application/json;q=-1"]),
)
def _query(running: Running, documented: Documented, name: str, value: str, accept: str) -> None:
    answer = running.client.post("/predict", json=ONE, params={name: value}, headers={"Accept": accept.strip()})
    assert answer.status_code in documented("/predict"), (name, value, accept, answer.text)
    assert answer.status_code < 500


def test_queries_and_accept(reading: Running, documented: Documented) -> None:
    """Odd parameters and Accept headers are answered or refused as documented."""
    _query(reading, documented)


def test_http_errors_are_problems_too(reading: Running) -> None:
    """Paths and methods that are not there."""
    for method, path in (("GET", "/%00"), ("GET", "/" + "a" * 5_000), ("PURGE", "/predict"), ("GET", "//predict")):
        answer = httpx.request(method, f"{reading.client.base_url}".rstrip("/") + path)
        assert answer.status_code in {400, 404, 405}
        Problem.model_validate_json(answer.content)
