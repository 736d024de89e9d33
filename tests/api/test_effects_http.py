"""Effects of regions over HTTP: the same in every form, the common line if it is asked for, and what is warned of."""

import csv
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from app.store.objects import Objects
from app.store.registry import Registry
from tests.panels import INSIDE
from tests.running import Running, copy_store, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what gevent and others say when they are imported
    import tritonclient.http as triton

ARROW = "application/vnd.apache.arrow.stream"
INFER = "/v2/models/yield/infer"
CROPS = ("mango", "orange", "pear")
NAMES = ["A", "D", "I", "Z", "", None]
"""Known, known, known of mango only, not known, and not named."""
WEATHER = [
    {"temperature": 80.0 + row, "rainfall": 70.0 - 2.5 * row, "humidity": 50.0 + row / 3} for row in range(len(NAMES))
]
COLUMNS: dict[str, list[float]] = {name: [weather[name] for weather in WEATHER] for name in INSIDE}
UNKNOWN = "has been learned: what regions differ by is in the interval"


@pytest.fixture(scope="module")
def regional(panel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that knows regions."""
    with serving(copy_store(panel, tmp_path_factory.mktemp("regional") / "store")) as running:
        yield running


def _one(running: Running, region: str | None, query: str = "", **weather: float) -> Any:
    place = INSIDE | weather | ({} if region is None else {"region": region})
    answer = running.client.post(f"/predict{query}", json=place)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _singly(running: Running, query: str = "") -> list[dict[str, Any]]:
    """Return the yields of all names, asked for one by one."""
    rows = zip(NAMES, WEATHER, strict=True)
    return [_one(running, name, query, **weather)["yields"] for name, weather in rows]


def _stream(regions: pa.Array) -> bytes:
    table = pa.table({"region": regions, **COLUMNS})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _post(running: Running, body: bytes, kind: str, query: str) -> httpx.Response:
    headers = {"Content-Type": kind, "Accept": kind}
    answer = running.client.post(f"/predict{query}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("query", ["", "?effects=none", "?level=0.8", "?version=1&effects=all"])
def test_every_form_gives_the_same_numbers(regional: Running, query: str) -> None:
    """One by one, as rows, as columns, as CSV and as Arrow, coded or not, each region gets the same tons and ends."""
    singly = _singly(regional, query)
    expected = {
        f"{crop}_{end}": [one[crop][end] for one in singly] for crop in CROPS for end in ("tons", "low", "high")
    }
    named = [{"region": name, **weather} for name, weather in zip(NAMES, WEATHER, strict=True)]
    rows = regional.client.post(f"/predict{query}", json={"regions": named}).json()["predictions"]
    assert [row["yields"] for row in rows] == singly
    columns = regional.client.post(f"/predict{query}", json=COLUMNS | {"region": NAMES}).json()
    assert {f"{crop}_{end}": columns["yields"][crop][end] for crop in CROPS for end in ("tons", "low", "high")} == (
        expected
    )
    assert columns["warnings"] == [row["warnings"] for row in rows]
    lines = [",".join([name or "", *map(repr, weather.values())]) for name, weather in zip(NAMES, WEATHER, strict=True)]
    text = "\n".join(["region,temperature,rainfall,humidity", *lines])
    table = list(csv.DictReader(io.StringIO(_post(regional, text.encode(), "text/csv", query).text)))
    assert {name: [float(row[name]) for row in table] for name in expected} == expected
    plain = pa.array(NAMES)
    indices = pa.array([2, 0, 3, 1, 4, None], pa.int8())
    coded = pa.DictionaryArray.from_arrays(indices, ["D", "Z", "A", "I", ""])
    for regions in (plain, plain.cast(pa.large_string()), plain.dictionary_encode(), coded):
        answer = _post(regional, _stream(regions), ARROW, query)
        found = pa.ipc.open_stream(answer.content).read_all().to_pydict()
        assert {name: found[name] for name in expected} == expected


def test_long_tables_know_regions_too(regional: Running) -> None:
    """Those that are read by Arrow and answered by the helper process."""
    text = "region,temperature,rainfall,humidity\n" + "A,80,70,50\nZ,80,70,50\n" * 1_500
    rows = list(csv.DictReader(io.StringIO(_post(regional, text.encode(), "text/csv", "").text)))
    for name, row in (("A", rows[0]), ("Z", rows[1]), ("A", rows[-2]), ("Z", rows[-1])):
        assert float(row["mango_tons"]) == _one(regional, name)["yields"]["mango"]["tons"]


def _texts(names: list[str]) -> bytes:
    return b"".join(len(name.encode()).to_bytes(4, "little") + name.encode() for name in names)


def _tensor(name: str, **said: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(NAMES)], "datatype": "BYTES" if name == "region" else "FP64"} | said


def _infer(running: Running, inputs: list[dict[str, Any]], raw: bytes = b"", **parameters: Any) -> httpx.Response:
    outputs = [{"name": name} for crop in CROPS for name in (crop, f"{crop}_low", f"{crop}_high")]
    header = json.dumps({"inputs": inputs, "outputs": outputs, "parameters": parameters}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))} if raw else {}
    return running.client.post(INFER, content=header + raw, headers=headers)


@pytest.mark.parametrize("effects", ["all", "none"])
def test_tensors_give_the_same_numbers(regional: Running, effects: str) -> None:
    """With the names in JSON or as bytes, and by the common client."""
    singly = _singly(regional, f"?effects={effects}")
    ends = {"": "tons", "_low": "low", "_high": "high"}
    expected = {f"{crop}{mark}": [one[crop][end] for one in singly] for crop in CROPS for mark, end in ends.items()}
    names = [name or "" for name in NAMES]
    weather = [_tensor(name, data=column) for name, column in COLUMNS.items()]
    raw = _texts(names)
    numbers = np.array(list(COLUMNS.values())).T.tobytes()
    sized = _tensor("region", parameters={"binary_data_size": len(raw)})
    grid = _tensor("input", shape=[len(NAMES), 3], parameters={"binary_data_size": len(numbers)})
    for inputs, content in (
        ([*weather, _tensor("region", data=names)], b""),
        ([*weather, _tensor("region", shape=[len(NAMES), 1], data=[[name] for name in names])], b""),
        ([sized, *weather], raw),
        ([sized, grid], raw + numbers),
        ([grid, sized], numbers + raw),
    ):
        answer = _infer(regional, inputs, content, effects=effects)
        assert answer.status_code == 200, answer.text
        assert {output["name"]: output["data"] for output in answer.json()["outputs"]} == expected
    address = f"{regional.client.base_url.host}:{regional.client.base_url.port}"
    with closing(triton.InferenceServerClient(address)) as client:
        region = triton.InferInput("region", [len(NAMES), 1], "BYTES")
        region.set_data_from_numpy(np.array(names, dtype=np.object_)[:, None])
        asked = triton.InferInput("input", [len(NAMES), 3], "FP64")
        asked.set_data_from_numpy(np.array(list(COLUMNS.values())).T.copy())
        result = client.infer("yield", [asked, region], parameters={"effects": effects})
        assert result.as_numpy("mango").tolist() == expected["mango"]


@pytest.mark.parametrize(
    ("changes", "raw", "message"),
    [
        ({"data": ["A"] * 6, "datatype": "FP64"}, b"", "the datatype 'FP64' is not one of BYTES"),
        ({"data": ["A"] * 5}, b"", "5 texts, but its shape [6] takes 6"),
        ({"data": ["A"] * 5, "shape": [5]}, b"", "inputs differ in their rows: temperature has 6"),
        ({"data": ["A"] * 5 + ["x" * 201]}, b"", "input 'region'[5]: 201 characters, the limit is 200"),
        ({"data": ["A"] * 5 + [6]}, b"", "input 'region': data[5] is not a text"),
        ({}, _texts(["A"] * 7), "more texts than its shape [6] takes"),
        ({}, _texts(["A"] * 5), "5 texts, but its shape [6] takes 6"),
        ({}, _texts(["A"] * 6)[:-1], "text 5 is longer than the tensor"),
        ({}, _texts(["A"] * 5) + b"\1\0", "text 5 cannot be read"),
        ({}, _texts(["A"] * 5) + b"\1\0\0\0\xff", "text 5 cannot be read: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_names_that_do_not_fit(regional: Running, changes: dict[str, Any], raw: bytes, message: str) -> None:
    """Each is a 400 that says what is wrong with which text."""
    size: dict[str, Any] = {"parameters": {"binary_data_size": len(raw)}} if raw else {}
    weather = [_tensor(name, data=column) for name, column in COLUMNS.items()]
    answer = _infer(regional, [*weather, _tensor("region", **(size | changes))], raw)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_effects_are_all_or_none(regional: Running) -> None:
    """Anything else is refused by the parameter's name, in the query and in the protocol."""
    refused = regional.client.post("/predict?effects=some", json=INSIDE)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert refused.json()["errors"][0]["loc"] == ["query", "effects"]
    assert "effects" in refused.json()["detail"]
    weather = [_tensor(name, data=column) for name, column in COLUMNS.items()]
    tensor = _infer(regional, weather, effects="some")
    assert (tensor.status_code, "parameters.effects" in tensor.json()["error"]) == (400, True)


def test_none_is_the_cards_common_line(regional: Running) -> None:
    """Whatever the region; with it come the common line's interval and no word about regions."""
    card = Registry(Objects(regional.store)).live()[1].card
    found = [_one(regional, name, "?effects=none") for name in NAMES]
    for crop in CROPS:
        line = card.crops[crop]
        tons = line.intercept + sum(line.weights[name] * value for name, value in INSIDE.items())
        assert found[0]["yields"][crop]["tons"] == pytest.approx(tons, rel=1e-12)
    assert {json.dumps(answer["yields"]) for answer in found} == {json.dumps(found[0]["yields"])}
    assert [answer["warnings"] for answer in found] == [[]] * len(NAMES)
    assert found[0]["yields"]["mango"]["tons"] != _one(regional, "Z")["yields"]["mango"]["tons"]
    assert found[0]["yields"]["pear"] == _one(regional, "Z")["yields"]["pear"]


@pytest.mark.parametrize("region", NAMES)
def test_explanations_add_up(regional: Running, region: str | None) -> None:
    """To the tons of each crop, of which the region is a part where regions differ; 0 where it is not known."""
    yields = _one(regional, region, "?explain=true", temperature=84.0)["yields"]
    for crop, said in yields.items():
        assert said["baseline"] + sum(said["contributions"].values()) == pytest.approx(said["tons"], rel=1e-12)
        assert set(said["contributions"]) - set(INSIDE) == ({"region"} if crop != "pear" else set())
    is_known = {"mango": region in {"A", "D", "I"}, "orange": region in {"A", "D"}}
    assert {crop: yields[crop]["contributions"]["region"] != 0 for crop in is_known} == is_known
    columns = {name: [value] * 2 for name, value in (INSIDE | {"temperature": 84.0}).items()} | {
        "region": [region, "B"]
    }
    table = regional.client.post("/predict?explain=true", json=columns).json()["yields"]
    for crop, said in yields.items():
        assert {name: part[0] for name, part in table[crop]["contributions"].items()} == said["contributions"]
        assert table[crop]["baseline"] == said["baseline"]
    plain = _one(regional, region, "?explain=true&effects=none")["yields"]
    assert all(set(said["contributions"]) == set(INSIDE) for said in plain.values())


def _width(said: dict[str, float]) -> float:
    return said["high"] - said["low"]


def test_what_is_not_known_is_wider_and_said(regional: Running) -> None:
    """A region never seen is told; one without a name is not; both get the interval of what regions differ by."""
    known, unseen, nameless = (_one(regional, region) for region in ("A", "Z", None))
    assert known["warnings"] == nameless["warnings"] == []
    assert unseen["warnings"] == [f"mango, orange: no season of Z {UNKNOWN}"]
    assert unseen["yields"] == nameless["yields"]
    for crop in ("mango", "orange"):
        assert _width(unseen["yields"][crop]) > _width(known["yields"][crop])
    assert _width(unseen["yields"]["mango"]) > 3 * _width(known["yields"]["mango"])
    assert unseen["yields"]["pear"] == known["yields"]["pear"]
    assert _one(regional, "")["warnings"] == []
    outside = _one(regional, "Z", temperature=24.0)["warnings"]
    assert [sentence for sentence in outside if UNKNOWN in sentence] == unseen["warnings"]
    assert "temperature 24 °F is outside the training range" in outside[0]


def test_a_region_that_one_crop_knows(regional: Running) -> None:
    """Region I grew mango only: of orange it is as one never seen, and only of that it is told."""
    partly, unseen = (_one(regional, region) for region in ("I", "Z"))
    assert partly["warnings"] == [f"orange: no season of I {UNKNOWN}"]
    assert partly["yields"]["orange"] == unseen["yields"]["orange"]
    assert _width(partly["yields"]["mango"]) < _width(unseen["yields"]["mango"]) / 3


def test_a_name_is_another_in_another_spelling(regional: Running) -> None:
    """Names are compared letter by letter."""
    for region in ("a", " A", "A ", "\uff21"):
        assert _one(regional, region)["warnings"] == [f"mango, orange: no season of {region} {UNKNOWN}"]


def test_the_card_tells_of_both_lines(regional: Running) -> None:
    """The common one and the one that regions lie about, with its errors and degrees of freedom."""
    crops = regional.client.get("/models/1").json()["crops"]
    assert crops["pear"]["effects"] is None
    effects = crops["orange"]["effects"]
    assert (effects["region"]["groups"], effects["season"]["groups"], effects["rows"]) == (8, 5, 40)
    assert set(effects["weights"]) == set(effects["standard_errors"]["weights"]) == set(INSIDE)
    assert effects["weights"] != crops["orange"]["weights"]
    assert effects["degrees_of_freedom"] >= 1
    assert effects["degrees_of_freedom_unseen"] >= 1


def test_the_document_tells_of_effects(regional: Running) -> None:
    """The parameter with its two values."""
    document = regional.client.get("/openapi.json").json()
    parameters = {said["name"]: said for said in document["paths"]["/predict"]["post"]["parameters"]}
    assert parameters["effects"]["schema"]["enum"] == ["all", "none"]
    assert parameters["effects"]["schema"]["default"] == "all"
