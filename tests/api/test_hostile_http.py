"""Hostile requests, one by one: each is refused as documented, quickly, and memory stays where it was."""

import gzip
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running import ROOT, Running, children, copy_store, cpu_s, peak_mb, serving

pytestmark = pytest.mark.measured

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
ONE = '{"region": "A", "temperature": 73, "rainfall": 67, "humidity": 43}'
HARVEST = '{"observations": [{"temperature": 73, "rainfall": 67, "humidity": 43, "yields": {"mango": 56}}]}'
HUGE = 10_000_000
"""Characters of a string, ten million."""
DEEP = 100_000
LIMIT, SHORT = 32 * 2**20, 16 * 2**10
MOST_MB = 60
"""By so much the resident memory of all processes may grow after a first round: a body's copies go back late."""
PEAK_MB = 400
"""More than this no process may ever have taken."""


def _processes(running: Running) -> list[Path]:
    return [Path(f"/proc/{pid}") for pid in (running.process.pid, *children(running.process.pid, "app.api.helper"))]


def _resident_mb(running: Running) -> list[float]:
    """Return what each process holds now."""
    pages = [int((process / "statm").read_text().split()[1]) for process in _processes(running)]
    return [each * os.sysconf("SC_PAGE_SIZE") / 1e6 for each in pages]


def _peaks_mb(running: Running) -> list[float]:
    """Return the most memory that each process has ever had."""
    return [peak_mb(int(process.name)) for process in _processes(running)]


def _assert_refused(answer: httpx.Response, statuses: set[int]) -> None:
    assert answer.status_code in statuses, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 100_000
    for secret in ("Traceback", "site-packages", str(ROOT), "/tmp"):  # noqa: S108 - must not be in it
        assert secret not in answer.text


@contextmanager
def _little_work(running: Running, most_s: float = 5.0) -> Iterator[None]:
    """See that the service does not compute for longer within the block."""
    before = cpu_s(running)
    yield
    assert cpu_s(running) - before < most_s


BODIES: dict[str, tuple[str, str, str | bytes, set[int]]] = {
    "lists, deep": ("/predict", JSON, "[" * DEEP, {400}),
    "objects, deep": ("/predict", JSON, '{"a":' * DEEP + "1" + "}" * DEEP, {400}),
    "lists, deep, for a number": ("/predict", JSON, ONE.replace("73", "[" * DEEP + "]" * DEEP), {400}),
    "objects, deep, in observations": ("/observations", JSON, HARVEST.replace("56", '{"a":' * DEEP), {400}),
    "a number of a million digits": ("/predict", JSON, ONE.replace("73", "7" * 1_000_000), {400, 422}),
    "a huge exponent": ("/predict", JSON, ONE.replace("73", "1e999"), {400}),
    "a huge negative exponent": ("/predict", JSON, ONE.replace("73", "-1e999"), {400}),
    "a long region": ("/predict", JSON, ONE.replace("A", "x" * HUGE), {422}),
    "a long key": ("/predict", JSON, ONE.replace("region", "x" * HUGE), {422}),
    "a long crop": ("/observations", JSON, HARVEST.replace("mango", "x" * HUGE), {422}),
    "a long note": ("/observations", JSON, HARVEST[:-1] + ', "note": "' + "x" * HUGE + '"}', {422}),
    "a long cell": ("/predict", CSV, "region,temperature,rainfall,humidity\n" + "x" * HUGE + ",73,67,43\n", {400, 422}),
    "a long header": ("/predict", CSV, "x" * HUGE + "\n1\n", {400, 422}),
    "a million columns": ("/predict", CSV, "," * 1_000_000 + "\n", {400, 422}),
    "an open quote": ("/predict", CSV, '"' + "x" * HUGE + "\n", {400}),
    "a NUL in a number": ("/predict", JSON, ONE.replace("73", "7\x003"), {400}),
    "a NUL in a table": ("/predict", CSV, "temperature,rainfall,humidity\n7\x003,67,43\n", {400}),
    "a NUL in a stored name": ("/observations", JSON, HARVEST.replace('"temp', '"region": "a\\u0000b", "temp'), {422}),
    "a NUL in a stored note": ("/observations", JSON, HARVEST[:-1] + ', "note": "a\\u0000b"}', {422}),
    "half a surrogate": ("/predict", JSON, ONE.replace("A", "\\ud800"), {400}),
    "not UTF-8": ("/predict", JSON, ONE.encode().replace(b"A", b"\xff\xfe"), {400}),
    "UTF-16": ("/predict", JSON, ONE.encode("utf-16"), {400}),
    "half a table in UTF-16": (
        "/predict",
        CSV,
        "temperature,rainfall,humidity\n73,67,43\n".encode("utf-16")[:-1],
        {400},
    ),
    "gzip": ("/predict", JSON, gzip.compress(ONE.encode()), {400}),
    "another type": ("/predict", "application/xml", ONE, {415}),
    "a type that is none": ("/predict", "/;;=", ONE, {415}),
    "a table called JSON": ("/predict", JSON, "temperature,rainfall,humidity\n73,67,43\n", {400}),
    "JSON called a table": ("/predict", CSV, ONE, {400, 422}),
    "JSON called Arrow": ("/predict", ARROW, ONE, {400}),
    "no region": ("/predict", JSON, '{"regions": []}', {422}),
    "half a million regions": ("/predict", JSON, '{"regions": [' + "{}," * 500_000 + "{}]}", {413, 422}),
    "half a million faults": ("/predict", JSON, '{"temperature": [' + "null," * 500_000 + "1]}", {413, 422}),
    "a hundred thousand unknown fields": (
        "/predict",
        JSON,
        json.dumps({f"x{number}": number for number in range(100_000)}),
        {422},
    ),
}


@pytest.fixture(scope="module")
def attacked(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that has had one round of these bodies; in the end it must answer, in little more memory."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("attacked") / "store")) as running:
        for path, kind, body, _ in BODIES.values():
            running.client.post(path, content=body, headers=running.write | {"Content-Type": kind})
        before = _resident_mb(running)
        yield running
        assert running.client.post("/predict", content=ONE).status_code == 200
        after = _resident_mb(running)
        assert sum(after) - sum(before) < MOST_MB, (before, after)


@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies(attacked: Running, name: str) -> None:
    """Each gets its documented 4xx."""
    path, kind, body, statuses = BODIES[name]
    with _little_work(attacked):
        answer = attacked.client.post(path, content=body, headers=attacked.write | {"Content-Type": kind})
    _assert_refused(answer, statuses)


def _fields(form: str, count: int) -> str:
    return ",".join(form % number for number in range(count))


FLOODS: dict[str, tuple[str, Callable[[int], str]]] = {
    "unknown fields": ("/predict", lambda n: "{" + _fields('"%x":1', n) + "}"),
    "unknown fields with colons": ("/predict", lambda n: "{" + _fields('":%x":1', n) + "}"),
    "one field again and again": ("/predict", lambda n: '{"x":1' + ',"x":1' * (5 * n) + "}"),
    "names that end like texts": (
        "/predict",
        lambda n: '{"regions":[' + ",".join("{" + _fields('"%x\\"":1', 900) + "}" for _ in range(n // 333)) + "]}",
    ),
    "unknown fields of a row": ("/predict", lambda n: '{"regions":[{' + _fields('"%x":1', n) + "}]}"),
    "unknown fields of columns": ("/predict", lambda n: '{"temperature":[73],' + _fields('"%x":1', n) + "}"),
    "unknown fields of a retrain": ("/retrain", lambda n: "{" + _fields('"%x":1', n) + "}"),
    "unknown fields of an activation": ("/models/1/activate", lambda n: "{" + _fields('"%x":1', n) + "}"),
    "unknown fields of an index": ("/v2/repository/index", lambda n: "{" + _fields('"%x":1', n) + "}"),
    "unknown fields of tensors": ("/v2/models/yield/infer", lambda n: "{" + _fields('"%x":1', n) + "}"),
    "crops without a name": ("/observations", lambda n: HARVEST.replace('"mango": 56', _fields('"=%x":1', n))),
    "crops without tons": ("/observations", lambda n: HARVEST.replace("56", "{" + _fields('"%x":""', n) + "}")),
    "empty regions": ("/predict", lambda n: '{"regions":[' + "{}," * (9 * n) + "{}]}"),
    "empty lists": ("/predict", lambda n: "[" + "[]," * (9 * n) + "[]]"),
    "places without days": ("/predict", lambda n: "[" + '{"daily":{}},' * (2 * n) + "{}]"),
    "unknown fields of days": ("/predict", lambda n: '{"daily":{' + _fields('"%x":1', n) + "}}"),
    "parameters without days": (
        "/predict",
        lambda n: '{"properties":{"parameter":{"T2M":{},"RH2M":{},"PRECTOTCORR":{' + _fields('"%x":""', n) + "}}}}",
    ),
    "empty tensors": ("/v2/models/yield/infer", lambda n: '{"inputs":[' + "{}," * (9 * n) + "{}]}"),
    "texts for numbers": ("/predict", lambda n: '{"temperature":[' + '"",' * (9 * n) + "1]}"),
    "nulls in a tensor": (
        "/v2/models/yield/infer",
        lambda n: '{"inputs":[{"name":"input","shape":[9,3],"datatype":"FP64","data":[' + "null," * (6 * n) + "1]}]}",
    ),
}
"""Bodies with many faults; with a million of fields they are almost as long as they may be."""


@pytest.mark.parametrize("faults", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)], ids=["many", "millions"])
@pytest.mark.parametrize("name", FLOODS)
def test_millions_of_faults(attacked: Running, name: str, faults: int) -> None:
    """Neither time nor memory is spent on each."""
    path, body = FLOODS[name]
    content = body(faults)
    assert len(content) < LIMIT
    with _little_work(attacked, 1 + 4e-6 * faults):
        answer = attacked.client.post(
            path, content=content, headers=attacked.write | {"Content-Type": JSON}, timeout=60
        )
    assert answer.status_code in {400, 413, 422}, answer.text[:300]
    assert len(answer.content) < 100_000
    assert max(_peaks_mb(attacked)) < PEAK_MB


NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999")


@pytest.mark.parametrize("word", NUMBERS)
@pytest.mark.parametrize("number", ["73", "67", "43", "56"])
def test_no_number_may_be_anything_but_finite(attacked: Running, word: str, number: str) -> None:
    """In every number of JSON and of CSV, of questions and of observations."""
    row = "73,67,43,56".replace(number, word)
    tables = {"/observations": f"temperature,rainfall,humidity,mango\n{row}\n"}
    documents = {"/observations": HARVEST.replace(number, word)}
    if number != "56":
        columns = '{"temperature": [73], "rainfall": [67], "humidity": [43]}'
        tables["/predict"] = f"temperature,rainfall,humidity\n{row.rpartition(',')[0]}\n"
        documents |= {"/predict": ONE.replace(number, word), "/predict?level=0.9": columns.replace(number, word)}
    for kind, bodies in ((CSV, tables), (JSON, documents)):
        for path, body in bodies.items():
            answer = attacked.client.post(path, content=body, headers=attacked.write | {"Content-Type": kind})
            # In a table NaN stands for no yield.
            is_none = (kind, word, number) == (CSV, "NaN", "56")
            assert answer.status_code == (422 if is_none else 400), (path, body, answer.text)
    level = attacked.client.post("/predict", params={"level": word}, content=ONE)
    assert level.status_code in {400, 422}


TENSOR = '{"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [73, 67, 43]}]}'
TWICE: dict[str, tuple[str, str, list[str | int]]] = {
    "one region": ("/predict", ONE.replace("73", '73, "temperature": 91'), ["temperature"]),
    "the same again": ("/predict", ONE.replace("73", '73, "temperature": 73'), ["temperature"]),
    "spelled differently": ("/predict", ONE.replace("73", '73, "\\u0074emperature" : 91'), ["temperature"]),
    "of no number first": ("/predict", ONE.replace("73", '"x", "temperature": 91'), ["temperature"]),
    "beside a missing one": ("/predict", ONE.replace('"region"', '"temperature": 73, "temperature"'), ["temperature"]),
    "and a colon in a name": ("/predict", ONE.replace('"A"', '"A:", "region": "\\u003a"'), ["region"]),
    "a row": ("/predict", f'{{"regions": [{ONE}, {ONE[:-1]}, "humidity": 44}}]}}', ["regions", 1, "humidity"]),
    "many rows": (
        "/predict",
        '{"regions": [' + f"{ONE}," * 1_000 + ONE[:-1] + ', "humidity": 44}]}',
        ["regions", 1_000, "humidity"],
    ),
    "a column": ("/predict", '{"temperature": [73], "rainfall": [67], "humidity": [4], "humidity": [5]}', ["humidity"]),
    "a crop": ("/observations", HARVEST.replace("56", '56, "mango": 57'), ["observations", 0, "yields", "mango"]),
    "all observations": ("/retrain", HARVEST[:-1] + ', "observations": []}', ["observations"]),
    "a note": ("/models/1/activate", '{"note": "a", "note": "b"}', ["note"]),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_field_given_twice(attacked: Running, name: str) -> None:
    """Nobody could say which was meant: 400 that says where, and nothing is stored or made live."""
    path, body, place = TWICE[name]
    answer = attacked.client.post(path, content=body, headers=attacked.write | {"Content-Type": JSON})
    assert answer.status_code == 400, answer.text
    (fault,) = answer.json()["errors"]
    assert fault["loc"] == place
    assert "given twice" in fault["message"]


def test_a_tensor_given_twice(attacked: Running) -> None:
    """In the shape of that protocol's errors."""
    answer = attacked.client.post("/v2/models/yield/infer", content=TENSOR.replace("73", '1], "data": [73'))
    assert answer.status_code == 400
    assert answer.json() == {"error": "inputs.0.data: is given twice"}


@pytest.mark.parametrize("region", ["A: north", "::::", '\\": \\"temperature\\": 1'])
def test_colons_in_names_are_no_fields(attacked: Running, region: str) -> None:
    """Alone and in rows."""
    body = ONE.replace('"A"', f'"{region}"')
    alone = attacked.client.post("/predict", content=body)
    several = attacked.client.post("/predict", content=f'{{"regions": [{body}]}}')
    assert (alone.status_code, several.status_code) == (200, 200)
    assert alone.json()["region"] == json.loads(body)["region"]


def test_bodies_over_the_limit(attacked: Running) -> None:
    """With a Content-Length, and without one: 413 that names the limit."""

    def parts() -> Iterator[bytes]:
        for _ in range(LIMIT // 2**20 + 2):
            yield b"x" * 2**20

    limits = {"/predict": LIMIT, "/observations": LIMIT, "/retrain": LIMIT, "/models/1/activate": SHORT}
    for path, limit in limits.items():
        for content in (parts(), b"x" * (limit + 1)):
            with _little_work(attacked):
                answer = httpx.post(
                    attacked.client.base_url.join(path),
                    content=content,
                    headers=attacked.write | {"Content-Type": JSON},
                    timeout=60,
                )
            _assert_refused(answer, {413})
            assert str(limit) in answer.json()["detail"]


HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
RAW: dict[str, tuple[str, str]] = {
    "two lengths": (HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx", "400"),
    "a length and chunks": (HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    "a negative length": (HEAD + "Content-Length: -5\r\n\r\n", "400"),
    "a length that is none": (HEAD + "Content-Length: 1e3\r\n\r\n", "400"),
    "a length beyond numbers": (HEAD + f"Content-Length: {'9' * 40}\r\n\r\n", "400"),
    "a chunk that is none": (HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
    "an unknown encoding": (HEAD + "Transfer-Encoding: gzip\r\n\r\n", "4"),
    "no such method": ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    "no HTTP": ("hello\r\n\r\n", "400"),
    "another version": ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", "400"),
    "a NUL in a header": ("GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n", "400"),
    "a line in a header": ("GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: a\nX-B: c\r\n\r\n", ""),
    "bad escapes in the path": ("GET /models/%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", "4"),
    "a query of escapes": ("GET /models?limit=%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", "422"),
    "up and out": ("GET /../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
    "an escaped way out": ("GET /models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
    "a whole URL": ("GET http://elsewhere.example/nothing HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
    "a wrong id of the request": ("GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-ID: a b\tc\r\n\r\n", "404"),
    "a long id of the request": (f"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-ID: {'a' * 5_000}\r\n\r\n", "404"),
    "a long path": (f"GET /{'a' * 60_000} HTTP/1.1\r\nHost: x\r\n\r\n", "4"),
    "a long header": (f"GET /nothing HTTP/1.1\r\nHost: x\r\nX-A: {'a' * 60_000}\r\n\r\n", "4"),
    "ten thousand headers": (
        "GET /nothing HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: {n}\r\n" for n in range(10_000)) + "\r\n",
        "4",
    ),
}
"""What is sent, and how the status must begin."""


@pytest.mark.parametrize("name", RAW)
def test_hostile_requests(attacked: Running, name: str) -> None:
    """Each is answered 4xx, or the connection is closed; the service goes on."""
    sent, status = RAW[name]
    with socket.create_connection((attacked.client.base_url.host, attacked.client.base_url.port or 0)) as connection:
        connection.settimeout(5)
        try:
            connection.sendall(sent.encode("latin-1"))
            answer = connection.recv(65_536).decode("latin-1")
        except ConnectionResetError:
            answer = ""
    if answer:
        assert answer.split(" ")[1].startswith(status)
        assert not answer.split(" ")[1].startswith("5")
        assert "Traceback" not in answer
        assert "x-request-id: a b" not in answer
        assert f"x-request-id: {'a' * 50}" not in answer
    assert attacked.client.get("/health/live").status_code == 200
