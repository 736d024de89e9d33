"""Tensors of the Open Inference Protocol: every type and form means the same numbers, and what does not fit is told."""

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.data.harvest import moments_of
from app.data.tables import parse_observations
from app.errors import InvalidInput, MalformedInput, OrchardError, TooLarge
from app.model.effects import Effects
from app.model.linear import LinearModel
from app.model.weather import FEATURE_NAMES, WEATHER
from app.wire import parts, tensors
from app.wire.parts import take
from app.wire.tensors import BF16, TYPES, InferOptions, Inferred, infer, infer_here

TRAINED = b"""temperature,rainfall,humidity,mango,rye
60,50,40,106,1
70,40,30,107,
80,90,20,140,0
60,70,60,119,
90,50,50,139,2
75,60,70,131,
"""
LINES = {"mango": (np.array([1.0, 0.5, 0.25]), 10.0), "rye": (np.array([-1.0, 0.0, 0.0]), 72.5)}
MODEL = LinearModel.of(FEATURE_NAMES, LINES, moments_of(parse_observations(TRAINED)))
MAX_ROWS = 10
ROWS = [[70.0, 50.0, 40.0], [75.5, 60.25, 50.0], [20.0, 900.0, 0.0]]
MANGO, RYE, EXTRAPOLATED = [115.0, 128.125, 480.0], [2.5, 0.0, 52.5], [False, False, True]


def _ask(request: dict[str, Any], raw: bytes = b"", model: LinearModel = MODEL) -> tuple[bytes, Inferred]:
    content = json.dumps(request).encode()
    answer, inferred = infer(content + raw, InferOptions(len(content) if raw else None, MAX_ROWS, "7", model))
    return take(answer), inferred


def _outputs(content: bytes, inferred: Inferred) -> dict[str, list[Any]]:
    """Return each output's numbers, wherever they stand."""
    header = len(content) if inferred.header is None else inferred.header
    start, found = header, {}
    for tensor in json.loads(content[:header])["outputs"]:
        if "data" in tensor:
            assert tensor["shape"] == [len(tensor["data"])]
            found[tensor["name"]] = tensor["data"]
            continue
        size = tensor["parameters"]["binary_data_size"]
        array = np.frombuffer(content[start : start + size], "?" if tensor["datatype"] == "BOOL" else "<f8")
        assert tensor["shape"] == list(array.shape)
        found[tensor["name"]], start = array.tolist(), start + size
    assert start == len(content)
    return found


def _bytes(array: NDArray[np.float64], datatype: str) -> bytes:
    if datatype == BF16:
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return array.astype(TYPES[datatype]).tobytes()


def _tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "shape": [3, 3], "datatype": "FP64", "data": ROWS} | changes


def _binary(size: int, **changes: Any) -> dict[str, Any]:
    return _tensor(data=None, parameters={"binary_data_size": size}) | changes


def _column(name: str, rows: int = 1, **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [rows], "datatype": "FP64", "data": [50] * rows} | changes


def _three(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [_column(name, **changes.get(name, {})) for name in FEATURE_NAMES]


FORMS = ["flat", "nested", "bytes", "columns", "nested columns", "columns of bytes"]


def _request(rows: list[list[float]], datatype: str, form: str) -> tuple[dict[str, Any], bytes]:
    array = np.array(rows)
    if "columns" not in form:
        named = {"input": array}
    else:
        named = {name: array[:, place] for place, name in enumerate(FEATURE_NAMES)}
        named = {name: column[:, None] if "nested" in form else column for name, column in reversed(named.items())}
    inputs, raw = [], b""
    for name, column in named.items():
        tensor: dict[str, Any] = {"name": name, "shape": list(column.shape), "datatype": datatype}
        if "bytes" in form:
            content = _bytes(column, datatype)
            tensor["parameters"] = {"binary_data_size": len(content)}
            raw += content
        else:
            tensor["data"] = column.tolist() if "nested" in form else column.reshape(-1).tolist()
        inputs.append(tensor)
    return {"inputs": inputs}, raw


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("datatype", [*TYPES, BF16])
def test_every_type_in_every_form(datatype: str, form: str) -> None:
    """Numbers that all types have are the same in all, in JSON and in bytes, in one input or in three of any order."""
    content, inferred = _ask(*_request([[70, 50, 40], [20, 100, 0]], datatype, form))
    assert _outputs(content, inferred) == {"mango": [115.0, 80.0], "rye": [2.5, 52.5]}
    assert (inferred.header, inferred.usage.regions, inferred.usage.extrapolated) == (None, 2, 1)


weathers = st.tuples(*(st.floats(feature.low, feature.high) for feature in WEATHER)).map(list)


@given(st.lists(weathers, min_size=1, max_size=4), st.sampled_from(["FP64", "FP32", "FP16", BF16]))
def test_what_is_rounded_is_rounded_alike(rows: list[list[float]], datatype: str) -> None:
    """JSON and bytes mean the same number of a type, and FP64 the number itself."""
    answers = [_ask(*_request(rows, datatype, form))[0] for form in FORMS]
    assert set(answers) == {answers[0]}
    if datatype == "FP64":
        weather = [np.array(column) for column in zip(*rows, strict=True)]
        mango = np.maximum(MODEL.yields(weather, 0.95).tons["mango"], 0.0)
        assert json.loads(answers[0])["outputs"][0]["data"] == mango.tolist()


@given(st.lists(weathers, min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4), st.booleans())
def test_outputs_as_bytes_and_as_json(rows: list[list[float]], binary: list[bool], default: bool) -> None:
    """Whichever outputs are bytes, the numbers are the same, to the last bit, and in the order that was asked for."""
    names = ["extrapolated", "mango_high", "rye", "mango_low"]
    request = {"inputs": [_tensor(shape=[len(rows), 3], data=rows)], "outputs": [{"name": name} for name in names]}
    plain = _outputs(*_ask(request))
    outputs = [
        {"name": name} if is_binary == default else {"name": name, "parameters": {"binary_data": is_binary}}
        for name, is_binary in zip(names, binary, strict=True)
    ]
    content, inferred = _ask(request | {"outputs": outputs, "parameters": {"binary_data_output": default}})
    assert _outputs(content, inferred) == plain
    assert list(plain) == names
    assert (inferred.header is None) is not any(binary)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"mango": MANGO, "rye": RYE}),
        ({"outputs": []}, {"mango": MANGO, "rye": RYE}),
        ({"outputs": [{"name": "rye"}]}, {"rye": RYE}),
        ({"outputs": [{"name": "rye"}, {"name": "mango"}, {"name": "rye"}]}, {"rye": RYE, "mango": MANGO}),
        ({"outputs": [{"name": "extrapolated"}]}, {"extrapolated": EXTRAPOLATED}),
    ],
)
def test_which_outputs(changes: dict[str, Any], expected: dict[str, list[Any]]) -> None:
    """Those that are asked for, each once; all crops where none is."""
    content, inferred = _ask({"inputs": [_tensor()]} | changes)
    assert list(_outputs(content, inferred).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("sent", "returned"), [({}, ""), ({"id": "mine"}, "mine"), ({"id": 7}, "7"), ({"id": 1.5}, "1.5")]
)
def test_the_answer_names_model_version_and_request(sent: dict[str, Any], returned: str) -> None:
    """What is sent besides and is not known here is passed over."""
    answer = json.loads(_ask({"inputs": [_tensor(more=1)], "more": {}} | sent)[0])
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("yield", "7", returned)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            [_tensor(name="Input")],
            "inputs are 'input', or 'temperature', 'rainfall', 'humidity', and 'region' if regions are named, not 'Inp",
        ),
        (_three()[:2], "not 'temperature', 'rainfall'"),
        ([*_three(), _tensor()], "not 'temperature', 'rainfall', 'humidity', 'input'"),
        ([_tensor(), _tensor()], "not 'input', 'input'"),
        ([_tensor(datatype="FP8")], "input 'input': the datatype 'FP8' is not one of FP64, "),
        ([_tensor(datatype="BYTES")], "'BYTES' is not one of .* UINT64, BF16"),
        ([_tensor(shape=[])], r"the shape is \[\], not \[n, 3\]"),
        ([_tensor(shape=[9])], r"the shape is \[9\], not \[n, 3\]"),
        ([_tensor(shape=[3, 2])], r"the shape is \[3, 2\], not \[n, 3\]"),
        ([_tensor(shape=[3, 3, 1])], r"the shape is \[3, 3, 1\], not \[n, 3\]"),
        (_three(rainfall={"shape": [1, 3]}), r"input 'rainfall': the shape is \[1, 3\], not \[n\] or \[n, 1\]"),
        ([_tensor(parameters={"shared_memory_region": "r"})], "input 'input': shared memory is not supported here"),
        ([_tensor(data=None)], "it needs either data or the parameter binary_data_size"),
        ([_tensor(parameters={"binary_data_size": 72})], "it needs either data or the parameter binary_data_size"),
        ([_tensor(data=[])], r"0 values, but its shape \[3, 3\] takes 9"),
        ([_tensor(data=[1] * 8)], r"8 values, but its shape \[3, 3\] takes 9"),
        ([_tensor(data=ROWS[:2])], r"6 values, but its shape \[3, 3\] takes 9"),
        ([_tensor(data=[[1, 2], [3, 4, 5, 6], [7, 8, 9]])], r"the data's rows are not of the shape \[3, 3\]"),
        (_three(humidity={"data": [[50]]}), r"input 'humidity': the data's rows are not of the shape \[1\]"),
        ([_tensor(data=[1, "2", 3, *[4] * 6])], r"data\[1\] is not a number"),
        ([_tensor(data=[[1, 2, 3], [4, None, 6], [7, 8, 9]])], r"data\[1\]\[1\] is not a number"),
        ([_tensor(data=[[1, 2, 3], 4, [7, 8, 9]])], r"data\[1\] is not a number"),
        ([_tensor(data=[True] * 9)], r"data\[0\] is not a number"),
        ([_tensor(shape=[1, 3], data=[1, 2, 2.5], datatype="INT8")], r"data\[2\] is 2.5, which is not an INT8"),
        ([_tensor(shape=[1, 3], data=[1, 128, 3], datatype="INT8")], r"data\[1\] is 128, which is not an INT8"),
        ([_tensor(shape=[1, 3], data=[-1, 1, 1], datatype="UINT16")], r"data\[0\] is -1, which is not an UINT16"),
        ([_tensor(shape=[0, 3], data=[])], "the inputs have no rows"),
        (_three(rainfall={"rows": 2}), "rows: temperature has 1, rainfall has 2, humidity has 1"),
        (_three(humidity={"data": [101]}), r"input 'humidity'\[0\]: 101 is above 100 %$"),
        (
            [_tensor(data=[*[1] * 4, -1, 1, 1, -2, 1])],
            r"input 'input'\[1, 1\], rainfall: -1 is below 0 mm \(and 1 more\)",
        ),
    ],
)
def test_inputs_that_do_not_fit(inputs: list[dict[str, Any]], message: str) -> None:
    """Names, types, shapes, counts and bounds: which input it is, what it has, and what is needed."""
    with pytest.raises(InvalidInput, match=message):
        _ask({"inputs": inputs})


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_that_are_not_finite(value: float, datatype: str, form: str) -> None:
    """They make the request malformed, in whatever form they come, and the first one's place is told."""
    request, raw = _request([[70, 50, 40], [70, value, 40], [70, value, 40]], datatype, form)
    where = r"'rainfall'\[1\]" if "columns" in form else r"'input'\[1, 1\], rainfall"
    with pytest.raises(MalformedInput, match=rf"^input {where}: {value} is not finite \(and 1 more\)$"):
        _ask(request, raw)


@pytest.mark.parametrize(("datatype", "value"), [("FP16", 1e5), ("FP32", 1e39), (BF16, 1e39)])
def test_numbers_beyond_their_type(datatype: str, value: float) -> None:
    """JSON may hold what the type that it names does not."""
    with pytest.raises(MalformedInput, match=r"'input'\[0, 1\], rainfall: inf is not finite"):
        _ask({"inputs": [_tensor(shape=[1, 3], data=[70, value, 40], datatype=datatype)]})


@pytest.mark.parametrize(
    ("inputs", "size", "error", "message"),
    [
        ([_binary(71)], 72, InvalidInput, r"binary_data_size is 71, but FP64 \[3, 3\] takes 72"),
        ([_binary(72, datatype=BF16)], 72, InvalidInput, r"binary_data_size is 72, but BF16 \[3, 3\] takes 18"),
        ([_binary(72)], 70, MalformedInput, "70 bytes are left of the body, not 72"),
        ([_binary(72)], 73, InvalidInput, "73 bytes are behind the JSON, and inputs have 72 by their binary_data_size"),
        ([_tensor()], 8, InvalidInput, "8 bytes are behind the JSON, and inputs have 0 by their binary_data_size"),
        ([_binary(0, shape=[0, 3])], 0, InvalidInput, "the inputs have no rows"),
        ([_binary(-1)], 72, InvalidInput, "inputs.0.parameters.binary_data_size: -1 is below 0"),
        (
            _three(humidity={"data": None, "parameters": {"binary_data_size": 8}}),
            4,
            MalformedInput,
            "input 'humidity': 4 bytes are left of the body, not 8",
        ),
    ],
)
def test_bytes_that_do_not_fit(
    inputs: list[dict[str, Any]], size: int, error: type[OrchardError], message: str
) -> None:
    """More or fewer than an input says, or than its type and shape take."""
    with pytest.raises(error, match=message) as refused:
        _ask({"inputs": inputs}, b"\0" * size)
    assert type(refused.value) is error


@pytest.mark.parametrize(
    ("content", "header", "error", "message"),
    [
        (b"{}", 3, MalformedInput, "^Inference-Header-Content-Length is 3, the body has 2 bytes$"),
        (b'{"inputs":[]}', 5, MalformedInput, "the body is not JSON"),
        (b"", None, MalformedInput, "the body is empty"),
        (b"{}", None, InvalidInput, "inputs: is missing"),
        (b'{"inputs":[]}', None, InvalidInput, "inputs: has 0 entries, at least 1 are needed"),
        (b'{"inputs":[{"name":1}]}', 23, InvalidInput, r"inputs\.0\.name: 1 is not a string \(and 2 more\)"),
    ],
)
def test_headers_that_do_not_fit(content: bytes, header: int | None, error: type[OrchardError], message: str) -> None:
    """Longer than the body, cut off, or without what a request needs."""
    with pytest.raises(error, match=message):
        infer(content, InferOptions(header, MAX_ROWS, "7", MODEL))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"name": "corn"}, "there is no output 'corn': there are extrapolated, mango, mango_high, mango_low, rye"),
        ({"name": "mango_tons"}, "there is no output 'mango_tons'"),
        ({"name": "c" * 200}, f"there is no output '{'c' * 100}': "),
        ({"name": "rye_low"}, "there is no output 'rye_low': its crop has too few rows for an interval"),
        ({"name": "mango", "parameters": {"shared_memory_region": "r"}}, "output 'mango': shared memory"),
    ],
)
def test_outputs_that_there_are_not(output: dict[str, Any], message: str) -> None:
    """It is told which there are, or why there is none."""
    with pytest.raises(InvalidInput, match=message):
        _ask({"inputs": [_tensor()], "outputs": [{"name": "mango"}, output]})


def test_as_many_rows_as_allowed() -> None:
    """The limit itself is answered; a shape with one more is refused before its data are looked at."""
    content, inferred = _ask({"inputs": [_tensor(shape=[MAX_ROWS, 3], data=[1] * 30)]})
    assert len(_outputs(content, inferred)["mango"]) == MAX_ROWS
    with pytest.raises(TooLarge, match=r"^input 'input': 11 rows, the limit is 10$"):
        _ask({"inputs": [_tensor(shape=[MAX_ROWS + 1, 3], data=[])]})


@pytest.mark.parametrize(("binary", "size"), [(False, 3 * 2 * 19), (True, 3 * 2 * 8)])
def test_answers_that_would_be_too_large(monkeypatch: pytest.MonkeyPatch, binary: bool, size: int) -> None:
    """They are refused by what they would have, as JSON or as bytes, before they are made."""
    request = {"inputs": [_tensor()], "parameters": {"binary_data_output": binary}}
    monkeypatch.setattr(parts, "LONGEST", size)
    assert _outputs(*_ask(request)) == {"mango": MANGO, "rye": RYE}
    monkeypatch.setattr(parts, "LONGEST", size - 1)
    monkeypatch.setattr(tensors, "Answer", None)
    with pytest.raises(TooLarge, match=f"the answer would have {size} bytes, the limit is {size - 1}"):
        _ask(request)


@pytest.mark.parametrize(
    ("changes", "most", "is_here"),
    [
        ({}, 100, False),
        ({"parameters": {"binary_data_output": True}}, 6, True),
        ({"parameters": {"binary_data_output": True}}, 5, False),
        ({"outputs": [{"name": "rye", "parameters": {"binary_data": True}}]}, 6, True),
        ({"outputs": [{"name": "rye", "parameters": {"binary_data": True}}, {"name": "mango"}]}, 6, False),
    ],
)
def test_what_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], most: int, is_here: bool
) -> None:
    """Answers that are all bytes and not large; the others are left to the helper."""
    monkeypatch.setattr(tensors, "MOST_HERE", most)
    body = json.dumps({"inputs": [_tensor()]} | changes).encode()
    options = InferOptions(None, MAX_ROWS, "7", MODEL)
    here = infer_here(body, options)
    assert (here is not None) is is_here
    if here is not None:
        assert take(here[0]) == take(infer(body, options)[0])


def test_crops_named_like_ends() -> None:
    """A crop may be called low: it is its own, and so are its ends."""
    names = ("high", "low", "tons")
    table = parse_observations(TRAINED)
    moments = moments_of(replace(table, crops=names, yields=np.column_stack([table.yields[:, 0]] * 3)))
    lines = {name: (np.array([1.0, 0.0, 0.0]), float(number)) for number, name in enumerate(names)}
    model = LinearModel.of(FEATURE_NAMES, lines, moments)
    content = json.dumps({"inputs": [_tensor(shape=[1, 3], data=ROWS[0])]}).encode()
    answer, inferred = infer(content, InferOptions(None, MAX_ROWS, "7", model))
    assert _outputs(take(answer), inferred) == {name: [70.0 + number] for number, name in enumerate(names)}


def _texts(*texts: str | bytes) -> bytes:
    """Return texts as the protocol has them: each behind its length."""
    contents = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(len(content).to_bytes(4, "little") + content for content in contents)


def _regions(rows: int = 3, **changes: Any) -> dict[str, Any]:
    return {"name": "region", "shape": [rows], "datatype": "BYTES"} | changes


NAMES = ["A", "Ü 東", ""]


def _regional() -> LinearModel:
    """Return a model by which the first name means 1 000 tons of mango more, and the second one 2 000."""
    mango, rye = MODEL.crops
    rows, offset = np.array([1.0, 1.0, 0.0]), np.array([1_000.0, 2_000.0, 0.0])
    line = np.array(mango.weights), mango.intercept
    known = Effects(*line, rows, offset, np.zeros((3, 3)), rows, np.zeros((3, 3)), 1.0, 1.0, 0.0, (9.0, 9.0))
    return LinearModel(FEATURE_NAMES, (replace(mango, effects=known), rye), tuple(NAMES[:2]))


@pytest.mark.parametrize("shape", [[3], [3, 1]])
@pytest.mark.parametrize("before", [False, True])
def test_names_of_regions_in_every_form(shape: list[int], before: bool) -> None:
    """Flat or nested, in JSON or as bytes, before the weather or behind it: they are the same names."""
    weather, numbers = _binary(72), _bytes(np.array(ROWS), "FP64")
    raw = _texts(*NAMES)
    as_bytes = _regions(shape=shape, parameters={"binary_data_size": len(raw)})
    forms = [
        ([_regions(shape=shape, data=NAMES), _tensor()], b""),
        ([_regions(shape=shape, data=[[name] for name in NAMES]), _tensor()], b""),
        ([as_bytes, _tensor()], raw),
        ([as_bytes, weather], raw + numbers if not before else numbers + raw),
    ]
    for inputs, content in forms:
        asked = inputs[::-1] if before else inputs
        assert _outputs(*_ask({"inputs": asked}, content, _regional()))["mango"] == [1_115.0, 2_128.125, 480.0]
        common = {"inputs": asked, "parameters": {"effects": "none"}}
        assert _outputs(*_ask(common, content, _regional())) == {"mango": MANGO, "rye": RYE}


@pytest.mark.parametrize(
    ("changes", "raw", "error", "message"),
    [
        ({"data": NAMES, "datatype": "FP64"}, b"", InvalidInput, "the datatype 'FP64' is not one of BYTES"),
        ({"data": NAMES, "shape": [3, 2]}, b"", InvalidInput, r"the shape is \[3, 2\], not \[n\] or \[n, 1\]"),
        ({"data": NAMES, "shape": [11]}, b"", TooLarge, "11 rows, the limit is 10"),
        ({}, b"", InvalidInput, "it needs either data or the parameter binary_data_size"),
        ({"data": NAMES[:2]}, b"", InvalidInput, r"2 texts, but its shape \[3\] takes 3"),
        ({"data": [*NAMES, "B"]}, b"", InvalidInput, r"4 texts, but its shape \[3\] takes 3"),
        ({"data": NAMES[:2], "shape": [2]}, b"", InvalidInput, "inputs differ in their rows: .*, region has 2"),
        ({"data": ["A", 7, "B"]}, b"", InvalidInput, r"data\[1\] is not a text"),
        ({"data": ["A", None, "B"]}, b"", InvalidInput, r"data\[1\] is not a text"),
        ({"data": [["A"], ["B", "C"], ["D"]]}, b"", InvalidInput, r"data\[0\] is not a text"),
        ({"data": ["A", "x" * 201, "B"]}, b"", InvalidInput, r"'region'\[1\]: 201 characters, the limit is 200"),
        ({}, _texts("A", "x" * 201, "B"), InvalidInput, r"'region'\[1\]: 201 characters, the limit is 200"),
        ({}, _texts("A", "B"), InvalidInput, r"2 texts, but its shape \[3\] takes 3"),
        ({}, _texts("A", "B", "C", "D"), InvalidInput, r"more texts than its shape \[3\] takes"),
        ({}, _texts("A", b"\xff", "C"), MalformedInput, "text 1 cannot be read: .*utf-8.* can't decode byte 0xff"),
        ({}, _texts("A", "B") + b"\x09\0\0\0C", MalformedInput, "text 2 is longer than the tensor"),
        ({}, _texts("A", "B") + b"\xff\xff\xff\xff", MalformedInput, "text 2 is longer than the tensor"),
        ({}, _texts("A", "B") + b"\0\0", MalformedInput, "text 2 cannot be read"),
        ({"parameters": {"binary_data_size": 99}}, _texts("A"), MalformedInput, "5 bytes are left of the body, not 99"),
        ({"parameters": {"binary_data_size": 4}}, _texts("A"), MalformedInput, "text 0 is longer than the tensor"),
    ],
)
def test_names_that_do_not_fit(changes: dict[str, Any], raw: bytes, error: type[OrchardError], message: str) -> None:
    """Another type, count or length, or bytes that are no texts: it is told what, and of which input."""
    size: dict[str, Any] = {"parameters": {"binary_data_size": len(raw)}} if raw else {}
    with pytest.raises(error, match=message) as refused:
        _ask({"inputs": [_tensor(), _regions(**size) | changes]}, raw)
    assert type(refused.value) is error


def test_texts_are_counted_before_they_are_read() -> None:
    """A body of lengths alone could be millions of texts, whatever its shape says."""
    raw = bytes(4 * 1_000_000)
    began = time.process_time()
    with pytest.raises(InvalidInput, match="more texts"):
        _ask({"inputs": [_tensor(), _regions(parameters={"binary_data_size": len(raw)})]}, raw)
    assert time.process_time() - began < 0.1


def test_regions_are_named_once_and_beside_weather() -> None:
    """Twice, or alone, they are refused, with what there may be."""
    for inputs in ([_tensor(), _regions(data=NAMES), _regions(data=NAMES)], [_regions(data=NAMES)]):
        with pytest.raises(InvalidInput, match="and 'region' if regions are named, not"):
            _ask({"inputs": inputs})


def test_effects_are_all_or_none() -> None:
    """As in the query of /predict; where the model has none they are the same."""
    for effects in ("all", "none"):
        asked = {"inputs": [_tensor(), _regions(data=NAMES)], "parameters": {"effects": effects}}
        assert _outputs(*_ask(asked)) == {"mango": MANGO, "rye": RYE}
    with pytest.raises(InvalidInput, match=r"parameters\.effects"):
        _ask({"inputs": [_tensor()], "parameters": {"effects": "some"}})
