"""The Open Inference Protocol: the common client, sync and async, in all its modes; and all that can be wrong."""

import asyncio
import gzip
import json
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from tests.running import HARVEST, Running, copy_store, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what gevent and others say when they are imported
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio
    from tritonclient.utils import InferenceServerException

FEATURE_NAMES = ("temperature", "rainfall", "humidity")
ROWS = [[73.0, 67.0, 43.0], [91.0, 88.0, 64.0], [24.0, 67.0, 43.0], [110.5, 0.25, 99.0]]
INFER = "/v2/models/yield/infer"
OUTPUTS = ["mango", "orange", "mango_low", "orange_high", "extrapolated"]


@pytest.fixture(scope="module")
def serves(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server with two versions, the second one live."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("inference") / "store")) as running:
        running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
        yield running


def _columns(running: Running, rows: list[list[float]], version: str = "2") -> dict[str, Any]:
    """Return what /predict says, by the protocol's output names."""
    columns = dict(zip(FEATURE_NAMES, zip(*rows, strict=True), strict=True))
    answer = running.client.post(f"/predict?version={version}", json=columns).json()
    found = {"extrapolated": answer["extrapolated"]}
    for crop, said in answer["yields"].items():
        found |= {crop: said["tons"], f"{crop}_low": said["low"], f"{crop}_high": said["high"]}
    return found


def _address(running: Running) -> str:
    return f"{running.client.base_url.host}:{running.client.base_url.port}"


def _inputs(client: Any, rows: list[list[float]], *, binary: bool, named: bool) -> list[Any]:
    weather = np.array(rows)
    columns = (
        [(name, weather[:, [place]]) for place, name in enumerate(FEATURE_NAMES)] if named else [("input", weather)]
    )
    inputs = []
    for name, column in columns:
        tensor = client.InferInput(name, list(column.shape), "FP64")
        tensor.set_data_from_numpy(np.ascontiguousarray(column), binary_data=binary)
        inputs.append(tensor)
    return inputs


def _check(running: Running, result: Any, rows: list[list[float]], version: str) -> None:
    expected = _columns(running, rows, version)
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("yield", version, "mine")
    for name in OUTPUTS:
        assert result.as_numpy(name).tolist() == expected[name], name
    assert result.as_numpy("orange_low") is None


ENCODINGS = [None, "gzip", "deflate"]
FEW_AND_MANY = [
    (count, version, rows) for version in ("", "1") for count, rows in (("few rows", ROWS), ("many rows", ROWS * 200))
]
MODES = list(product([False, True], [False, True], ENCODINGS, ENCODINGS, FEW_AND_MANY))
MODE_IDS = [
    f"{'binary' if sent else 'JSON'} in, {'binary' if wanted else 'JSON'} out, {asked or 'plain'} request, "
    f"{answered or 'plain'} answer, {count}, {'version ' + version if version else 'live'}"
    for sent, wanted, asked, answered, (count, version, _) in MODES
]


@pytest.mark.parametrize(("sent", "wanted", "asked", "answered", "which"), MODES, ids=MODE_IDS)
def test_the_common_client(
    serves: Running,
    sent: bool,
    wanted: bool,
    asked: str | None,
    answered: str | None,
    which: tuple[str, str, list[list[float]]],
) -> None:
    """Sync and async, it gets the very numbers of /predict in every mode."""
    _, version, rows = which
    terms: dict[str, Any] = {
        "model_version": version,
        "request_id": "mine",
        "request_compression_algorithm": asked,
        "response_compression_algorithm": answered,
    }
    with closing(triton.InferenceServerClient(_address(serves))) as client:
        outputs = [triton.InferRequestedOutput(name, binary_data=wanted) for name in OUTPUTS]
        inputs = _inputs(triton, rows, binary=sent, named=False)
        _check(serves, client.infer("yield", inputs, outputs=outputs, **terms), rows, version or "2")

    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(_address(serves)) as other:
            outputs = [triton_aio.InferRequestedOutput(name, binary_data=wanted) for name in OUTPUTS]
            inputs = _inputs(triton_aio, rows, binary=sent, named=True)
            return await other.infer("yield", inputs, outputs=outputs, **terms)

    _check(serves, asyncio.run(ask()), rows, version or "2")


def test_what_the_common_client_asks_besides(serves: Running) -> None:
    """Health, metadata, readiness, the index; all crops without a word about outputs; errors with their message."""
    with closing(triton.InferenceServerClient(_address(serves))) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("yield")
        assert client.is_model_ready("yield", "1")
        assert not client.is_model_ready("yield", "7")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = client.get_model_metadata("yield")
        assert metadata["versions"] == ["1", "2"]
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}]
        assert {"name": "mango_low", "datatype": "FP64", "shape": [-1]} in metadata["outputs"]
        assert client.get_model_metadata("yield", "1")["name"] == "yield"
        index = client.get_model_repository_index()
        assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
            ("yield", "2", "READY"),
            ("yield", "1", "READY"),
        ]
        result = client.infer("yield", _inputs(triton, ROWS, binary=True, named=True))
        assert result.as_numpy("mango").tolist() == _columns(serves, ROWS)["mango"]
        with pytest.raises(InferenceServerException, match="humidity: 101 is above 100 %"):
            client.infer("yield", _inputs(triton, [[70.0, 50.0, 101.0]], binary=True, named=False))
        with pytest.raises(InferenceServerException, match="there is no version 9"):
            client.infer("yield", _inputs(triton, ROWS, binary=True, named=False), model_version="9")


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64"])
@pytest.mark.parametrize("binary", [False, True])
def test_any_number_type(serves: Running, datatype: str, binary: bool) -> None:
    """Whole numbers are the same in all of them."""
    kind = triton_to_numpy(datatype)
    weather = np.array([[73, 67, 43], [91, 88, 64]], dtype=kind)
    with closing(triton.InferenceServerClient(_address(serves))) as client:
        tensor = triton.InferInput("input", [2, 3], datatype)
        if datatype == "FP16" and not binary:
            pytest.skip("the client has no FP16 in JSON")
        tensor.set_data_from_numpy(weather, binary_data=binary)
        result = client.infer("yield", [tensor])
    assert result.as_numpy("orange").tolist() == _columns(serves, weather.astype(float).tolist())["orange"]


def triton_to_numpy(datatype: str) -> Any:
    """Return NumPy's type for a datatype of the protocol."""
    from tritonclient.utils import triton_to_np_dtype  # noqa: PLC0415

    return triton_to_np_dtype(datatype)


def test_bf16(serves: Running) -> None:
    """The upper halves of FP32: 73, 67 and 43 have no more bits."""
    halves = (np.array([73, 67, 43], dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    tensor = {"name": "input", "shape": [1, 3], "datatype": "BF16", "parameters": {"binary_data_size": 6}}
    answer = _post_binary(serves, {"inputs": [tensor]}, halves)
    assert answer.json()["outputs"][0]["data"] == _columns(serves, [[73.0, 67.0, 43.0]])["mango"]
    in_json = {"name": "input", "shape": [1, 3], "datatype": "BF16", "data": [73, 67, 43]}
    assert _post(serves, {"inputs": [in_json]}).json()["outputs"] == answer.json()["outputs"]


def _post(running: Running, request: object, **headers: str) -> httpx.Response:
    return running.client.post(INFER, content=json.dumps(request).encode(), headers=headers)


def _post_binary(running: Running, request: object, raw: bytes, length: int | None = None) -> httpx.Response:
    header = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(header) if length is None else length)}
    return running.client.post(INFER, content=header + raw, headers=headers)


def _tensor(name: str = "input", **changes: Any) -> dict[str, Any]:
    flat = [value for row in ROWS for value in row]
    return {"name": name, "shape": [4, 3], "datatype": "FP64", "data": flat} | changes


def _named(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    columns = dict(zip(FEATURE_NAMES, zip(*ROWS, strict=True), strict=True))
    return [
        {"name": name, "shape": [4], "datatype": "FP64", "data": list(column)} | changes.get(name, {})
        for name, column in columns.items()
    ]


def test_json_by_hand(serves: Running) -> None:
    """Flat or nested data, any content type or none, an id of any kind: the answer is JSON, and its id a string."""
    expected = _columns(serves, ROWS)["mango"]
    for kind in ("", "application/json", "application/octet-stream", "text/plain"):
        for inputs in ([_tensor()], [_tensor(data=ROWS)], _named(), _named(humidity={"shape": [4, 1]})):
            headers = {"Content-Type": kind} if kind else {}
            answer = _post(serves, {"id": 7, "inputs": inputs, "more": "ignored"}, **headers)
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["outputs"][0] == {
                "name": "mango",
                "datatype": "FP64",
                "shape": [4],
                "data": expected,
            }
            assert answer.json()["id"] == "7"
    assert _post(serves, {"inputs": [_tensor()]}).json()["id"] == ""


WRONG: dict[str, tuple[object, str]] = {
    "no JSON": ("", "is missing|not an object|object"),
    "no inputs": ({"inputs": []}, "inputs"),
    "an unknown input": ({"inputs": [_tensor("weather")]}, "'weather'"),
    "an input twice": ({"inputs": [_tensor(), _tensor()]}, "not 'input', 'input'"),
    "an input missing": (
        {"inputs": _named()[:2]},
        "not 'temperature', 'rainfall': humidity is missing: mango and orange need it$",
    ),
    "both forms": ({"inputs": [_tensor(), *_named()]}, "'input', 'temperature'"),
    "another shape": ({"inputs": [_tensor(shape=[3, 4])]}, r"'input': the shape is \[3, 4\], not \[n, 3\]"),
    "no shape": ({"inputs": [_tensor(shape=[])]}, r"the shape is \[\]"),
    "a negative shape": ({"inputs": [_tensor(shape=[-4, 3])]}, "shape"),
    "too little data": ({"inputs": [_tensor(data=[1.0, 2.0])]}, r"'input': 2 values, but its shape \[4, 3\] takes 12"),
    "ragged data": ({"inputs": [_tensor(data=[[1.0], [2.0] * 11])]}, "rows are not of the shape"),
    "different rows": (
        {"inputs": _named(rainfall={"shape": [3], "data": [1.0, 2.0, 3.0]})},
        "rainfall has 3",
    ),
    "no rows": ({"inputs": [_tensor(shape=[0, 3], data=[])]}, "no rows"),
    "words": ({"inputs": [_tensor(data=[*"abcdefghijkl"])]}, r"'input': data\[0\] is not a number"),
    "booleans": ({"inputs": [_tensor(data=[True] * 12)]}, r"data\[0\] is not a number"),
    "nulls": ({"inputs": [_tensor(data=[[None] * 3] * 4)]}, r"data\[0\]\[0\] is not a number"),
    "BOOL": ({"inputs": [_tensor(datatype="BOOL")]}, "the datatype 'BOOL' is not one of FP64"),
    "BYTES": ({"inputs": [_tensor(datatype="BYTES")]}, "the datatype 'BYTES'"),
    "no whole number": (
        {"inputs": [_tensor(datatype="INT8", data=[73.5] * 12)]},
        r"data\[0\] is 73.5, which is not an INT8",
    ),
    "beyond the type": ({"inputs": [_tensor(datatype="INT8", data=[300] * 12)]}, r"300, which is not an INT8"),
    "neither data nor bytes": ({"inputs": [_tensor(data=None)]}, "needs either data or"),
    "shared memory": ({"inputs": [_tensor(parameters={"shared_memory_region": "x"})]}, "shared memory"),
    "NaN": ({"inputs": [_tensor(data=[float("nan")] * 12)]}, "not finite"),
    "infinity": ({"inputs": _named(rainfall={"data": [1.0, float("inf"), 2.0, 3.0]})}, r"'rainfall'\[1\]: inf"),
    "out of bounds": ({"inputs": _named(humidity={"data": [1.0, 2.0, 130.0, 3.0]})}, r"'humidity'\[2\]: 130 is above"),
    "an unknown output": ({"inputs": [_tensor()], "outputs": [{"name": "plum"}]}, "no output 'plum'"),
    "a wrong parameter": ({"inputs": [_tensor(parameters={"binary_data_size": "x"})]}, "binary_data_size"),
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_is_named(serves: Running, name: str) -> None:
    """400, JSON and no more than that, not compressed, with a sentence that says which tensor and what."""
    request, message = WRONG[name]
    answer = _post(serves, request, **{"Accept-Encoding": "gzip"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert "content-encoding" not in answer.headers
    assert list(answer.json()) == ["error"]
    assert re.search(message, answer.json()["error"]), answer.text


def test_wrong_bytes(serves: Running) -> None:
    """Sizes that do not fit, what is cut off or goes on, and a header longer than the body: 400 that says which."""
    raw = np.array(ROWS).tobytes()

    def ask(size: object, content: bytes = raw, length: int | None = None, **more: Any) -> tuple[int, str]:
        tensor = {"name": "input", "shape": [4, 3], "datatype": "FP64", "parameters": {"binary_data_size": size}}
        answer = _post_binary(serves, {"inputs": [tensor | more]}, content, length)
        return answer.status_code, answer.json().get("error", "")

    assert ask(96)[0] == 200
    assert ask(95) == (400, "input 'input': binary_data_size is 95, but FP64 [4, 3] takes 96")
    assert ask(96, raw[:90]) == (400, "input 'input': 90 bytes are left of the body, not 96")
    assert ask(96, raw + b"x") == (400, "97 bytes are behind the JSON, and inputs have 96 by their binary_data_size")
    assert ask(96, data=[1.0])[1] == "input 'input': it needs either data or the parameter binary_data_size"
    assert ask(96, length=10_000)[1].startswith("Inference-Header-Content-Length is 10000, the body has ")
    assert ask(96, length=5)[0] == 400
    assert ask(-1)[0] == 400
    answer = serves.client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": "x"})
    assert answer.json()["error"] == "Inference-Header-Content-Length is 'x', which is not a number of bytes"
    nan = np.full((4, 3), np.nan).tobytes()
    assert ask(96, nan)[1] == "input 'input'[0, 0], temperature: nan is not finite (and 3 more)"


def test_encoded_requests(serves: Running) -> None:
    """Gzip and deflate are unfolded up to the limit; what is not what it says, or something else, is refused."""
    body = json.dumps({"inputs": [_tensor()]}).encode()

    def ask(content: bytes, encoding: str) -> int:
        return serves.client.post(INFER, content=content, headers={"Content-Encoding": encoding}).status_code

    assert ask(gzip.compress(body), "gzip") == 200
    assert ask(zlib.compress(body), "deflate") == 200
    assert ask(gzip.compress(body)[:-9], "gzip") == 400
    assert ask(gzip.compress(body) + b"more", "gzip") == 400
    assert ask(body, "gzip") == 400
    assert ask(body, "br") == 415
    assert ask(gzip.compress(bytes(40 * 2**20)), "gzip") == 413
    assert ask(zlib.compress(bytes(40 * 2**20)), "deflate") == 413


def test_a_crop_called_as_an_output_is(trained: Path, tmp_path: Path, tutorial: Table) -> None:
    """Of a store from before such names were refused: `extrapolated` is the protocol's, named once, and BOOL."""
    store = copy_store(trained, tmp_path / "store")
    job = Job(Settings(model_store=store))
    job.run(Order(Provenance("old.csv", "test"), replace(tutorial, crops=("extrapolated", "input")), activate="always"))
    job.close()
    with serving(store) as running, closing(triton.InferenceServerClient(_address(running))) as client:
        names = [output["name"] for output in client.get_model_metadata("yield")["outputs"]]
        types = {output["name"]: output["datatype"] for output in client.get_model_metadata("yield")["outputs"]}
        assert len(set(names)) == len(names)
        assert (types["extrapolated"], types["input"]) == ("BOOL", "FP64")
        wanted = [triton.InferRequestedOutput(name) for name in ("extrapolated", "input", "extrapolated_low")]
        found = client.infer("yield", _inputs(triton, ROWS, binary=True, named=False), outputs=wanted)
        expected = running.client.post(
            "/predict", json=dict(zip(FEATURE_NAMES, zip(*ROWS, strict=True), strict=True))
        ).json()
        assert found.as_numpy("extrapolated").tolist() == expected["extrapolated"]
        assert found.as_numpy("input").tolist() == pytest.approx(expected["yields"]["input"]["tons"])
        plain = client.infer("yield", _inputs(triton, ROWS, binary=True, named=False)).get_response()["outputs"]
        assert [output["name"] for output in plain] == ["input", "mango", "orange"]


def test_a_query_is_not_passed_over(serves: Running) -> None:
    """What a client sends of its own has none; one that a user adds is refused in the protocol's form, not ignored."""
    with closing(triton.InferenceServerClient(_address(serves))) as client:
        with pytest.raises(InferenceServerException, match=r"\[400\] query.version: is unknown here"):
            client.infer("yield", _inputs(triton, ROWS, binary=True, named=False), query_params={"version": "1"})
        with pytest.raises(InferenceServerException, match="this call takes no query"):
            client.get_model_metadata("yield", query_params={"version": "1"})
        assert client.is_server_live(query_params={"probe": "1"})
        assert client.is_server_ready(query_params={"probe": "1"})


def test_errors_around_it(serves: Running, trained: Path, tmp_path: Path) -> None:
    """Unknown models, paths and methods, too many rows, a closed service: each in the protocol's form."""
    client = serves.client
    for method, path, status in (
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/yield/versions/9/ready", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/repository/index", 200),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
        assert status == 200 or list(answer.json()) == ["error"]
    assert client.get("/v2/", follow_redirects=False).json() == client.get("/v2").json()
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    many = {"name": "input", "shape": [200_001, 3], "datatype": "FP64", "parameters": {"binary_data_size": 4_800_024}}
    too_many = _post_binary(serves, {"inputs": [many]}, b"")
    assert (too_many.status_code, too_many.json()["error"][-19:]) == (413, "the limit is 200000")
    closing_it = {"ORCHARD_READ_TOKEN": "only-for-some-of-us"}
    with serving(copy_store(trained, tmp_path / "store"), **closing_it) as closed:
        refused = closed.client.get("/v2/models/yield")
        assert (refused.status_code, list(refused.json())) == (401, ["error"])
        assert closed.client.get("/v2/health/ready").status_code == 200


def test_large_requests(serves: Running) -> None:
    """A hundred thousand rows, as JSON and as bytes: the numbers of /predict, both counted for drift."""
    draw = np.random.default_rng(1)
    rows = np.column_stack(
        [draw.uniform(60, 110, 100_000), draw.uniform(40, 140, 100_000), draw.uniform(30, 80, 100_000)]
    )
    columns = dict(zip(FEATURE_NAMES, rows.T.tolist(), strict=True))
    expected = serves.client.post("/predict", json=columns).json()["yields"]["mango"]["high"]
    outputs = [{"name": "mango_high", "parameters": {"binary_data": True}}]
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP64"}
    sized = tensor | {"parameters": {"binary_data_size": rows.nbytes}}
    asked = serves.client.get("/models/live/drift").json()["asked"]
    binary = _post_binary(serves, {"inputs": [sized], "outputs": outputs}, rows.tobytes())
    in_json = _post(serves, {"inputs": [tensor | {"data": rows.tolist()}], "outputs": outputs})
    for answer in (binary, in_json):
        assert answer.status_code == 200
        header = int(answer.headers["inference-header-content-length"])
        assert np.frombuffer(answer.content[header:]).tolist() == expected
    assert serves.client.get("/models/live/drift").json()["asked"] == asked + 200_000


def test_bytes_that_ask_for_json(serves: Running) -> None:
    """All outputs of 200 000 rows, half a megabyte of body: the same numbers as bytes, folded or not."""
    rows = 200_000
    raw = np.full((rows, 3), 55, dtype=np.int8)
    tensor = {"name": "input", "shape": [rows, 3], "datatype": "INT8", "parameters": {"binary_data_size": raw.nbytes}}
    request = {"inputs": [tensor], "outputs": [{"name": f"mango{end}"} for end in ("", "_low", "_high")]}
    in_json = _post_binary(serves, request, raw.tobytes())
    assert in_json.status_code == 200
    assert len(in_json.content) < 3 * 19 * rows + 1_000
    as_bytes = _post_binary(serves, request | {"parameters": {"binary_data_output": True}}, raw.tobytes())
    numbers = np.frombuffer(as_bytes.content[int(as_bytes.headers["inference-header-content-length"]) :])
    assert [tensor["data"][7] for tensor in in_json.json()["outputs"]] == numbers[7::rows].tolist()


def test_folded_answers_leave_nothing_open(serves: Running) -> None:
    """The file in memory that a large answer crosses in is closed once it is compressed."""
    body = json.dumps({"inputs": [_tensor(shape=[4_000, 3], data=[55] * 12_000)]})

    def ask() -> None:
        answer = serves.client.post(INFER, content=body, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"

    ask()
    before = len(list(Path(f"/proc/{serves.process.pid}/fd").iterdir()))
    for _ in range(10):
        ask()
    assert len(list(Path(f"/proc/{serves.process.pid}/fd").iterdir())) <= before + 1


WEATHER = st.tuples(st.floats(-130, 140), st.floats(0, 30_000), st.floats(0, 100)).map(list)


@settings(max_examples=60, derandomize=True)
@given(st.lists(WEATHER, min_size=1, max_size=5), st.booleans())
def _same_numbers(running: Running, rows: list[list[float]], binary: bool) -> None:
    tensor: dict[str, Any] = {"name": "input", "shape": [len(rows), 3], "datatype": "FP64"}
    outputs = [{"name": name} for name in OUTPUTS]
    if binary:
        raw = np.array(rows).tobytes()
        request = {"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}], "outputs": outputs}
        answer = _post_binary(running, request, raw)
    else:
        answer = _post(running, {"inputs": [tensor | {"data": rows}], "outputs": outputs})
    expected = _columns(running, rows)
    assert {output["name"]: output["data"] for output in answer.json()["outputs"]} == {
        name: expected[name] for name in OUTPUTS
    }


def test_it_says_what_predict_says(serves: Running) -> None:
    """Bit for bit, for any weather."""
    _same_numbers(serves)
