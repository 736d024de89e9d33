"""What is wrong with a body: where, in which words, how much of it is listed, and which error it makes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from app.data.naming import MAX_CROPS
from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge
from app.faults import MAX_ERRORS
from app.model.weather import REGION_LENGTH
from app.wire.protocol import InferRequest
from app.wire.schemas import NOTE_LENGTH, PREDICT_REQUEST, ObservationsRequest, RegionWeather, RetrainRequest
from app.wire.strict_json import MOST_FIELDS
from app.wire.validation import invalid, parse, validated

ROWS = 1_000
GOOD = {"temperature": 73, "rainfall": 67, "humidity": 43}
REPORTED = {**GOOD, "yields": {"mango": 56}}
COLUMNS = {name: [value] * 3 for name, value in GOOD.items()}
TENSOR = {"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}


def _refused(body: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        validated(PREDICT_REQUEST, body)
    return refused.value


@pytest.mark.parametrize("content", [b"", b"{}", b' {"observations": null}\n'])
def test_an_empty_body_is_an_empty_object(content: bytes) -> None:
    """What has a default need not be sent."""
    assert parse(RetrainRequest, content, ROWS) == RetrainRequest()


def test_an_empty_body_where_something_is_needed() -> None:
    """It is told what is missing."""
    with pytest.raises(InvalidInput, match=r"^observations: is missing$"):
        parse(ObservationsRequest, b"", ROWS)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"{", MalformedInput, "the body is not JSON: EOF"),
        (b" \n", MalformedInput, "^the body is empty: send a JSON object, {…}$"),
        (b"\xff", MalformedInput, "the body is not JSON: "),
        (b'{"note":"a","note":"a"}', MalformedInput, "note: is given twice"),
        (b'{"temperature":NaN,"rainfall":1,"humidity":1}', MalformedInput, "temperature: NaN is not finite"),
        (
            b'{"temperature":1,"rainfall":1e999,"humidity":1}',
            MalformedInput,
            "rainfall: Infinity, or a number too large for 64 bits, is not finite",
        ),
        (
            b'{"temperature":1,"rainfall":-Infinity,"humidity":-1}',
            MalformedInput,
            r"-Infinity, or a number too large for 64 bits, is not finite \(and 1 more\)",
        ),
        (b'{"regions":[' + b"{}," * ROWS + b"{}]}", TooLarge, f"{ROWS + 1} rows in regions: the limit is {ROWS}"),
    ],
)
def test_what_is_not_even_looked_at_field_by_field(content: bytes, error: type[Exception], message: str) -> None:
    """Bodies that are no JSON, name a field twice, hold a number that is none, or are too long."""
    with pytest.raises(error, match=message):
        parse(RegionWeather, content, ROWS)


@pytest.mark.parametrize(
    ("model", "body", "loc", "message", "code"),
    [
        (RegionWeather, [], (), "the body is a list: send an object, {…}", "not_an_object"),
        (RegionWeather, None, (), "the body is null: send an object, {…}", "not_an_object"),
        (RegionWeather, "a", (), "the body is a text: send an object, {…}", "not_an_object"),
        (RegionWeather, False, (), "the body is true or false: send an object, {…}", "not_an_object"),
        (RetrainRequest, [REPORTED], (), 'the body is a list: send {"observations": […]}', "not_an_object"),
        (ObservationsRequest, 7.5, (), 'the body is a number: send {"observations": […]}', "not_an_object"),
        (RegionWeather, GOOD | {"rainfall": -0.5}, ("rainfall",), "-0.5 is below 0 mm", "out_of_bounds"),
        (RegionWeather, GOOD | {"humidity": 101}, ("humidity",), "101 is above 100 %", "out_of_bounds"),
        (RegionWeather, GOOD | {"temperature": -131}, ("temperature",), "-131 is below -130 °F", "out_of_bounds"),
        (RegionWeather, GOOD | {"rainfall": "67"}, ("rainfall",), '"67" is not a number', "not_a_number"),
        (RegionWeather, GOOD | {"rainfall": True}, ("rainfall",), "true is not a number", "not_a_number"),
        (RegionWeather, GOOD | {"rainfall": None}, ("rainfall",), "null is not a number", "not_a_number"),
        (RegionWeather, GOOD | {"rainfall": "a" * 99}, ("rainfall",), f'"{"a" * 39}… is not a number', "not_a_number"),
        (
            RegionWeather,
            GOOD | {"rainfall": {"a": [None, True, "ü"]}},
            ("rainfall",),
            '{"a":[null,true,"ü"]} is not a number',
            "not_a_number",
        ),
        (
            RegionWeather,
            GOOD | {"rainfall": "\u202e\n\x1b"},
            ("rainfall",),
            '"\\u202e\\n\\u001b" is not a number',
            "not_a_number",
        ),
        (RegionWeather, GOOD | {"region": 7.5}, ("region",), "7.5 is not a string", "not_a_string"),
        (RegionWeather, GOOD | {"region": True}, ("region",), "true is not a string", "not_a_string"),
        (RegionWeather, GOOD | {"region": 2**53}, ("region",), "9007199254740992 is not a string", "not_a_string"),
        (RegionWeather, GOOD | {"region": -(10**4000)}, ("region",), f"-1{'0' * 38}… is not a string", "not_a_string"),
        (RegionWeather, GOOD | {"region": "a" * 201}, ("region",), "is longer than 200 characters", "too_long"),
        (RegionWeather, GOOD | {"rain": 1}, ("rain",), "is unknown here: did you mean 'rainfall'?", "unknown"),
        (RegionWeather, GOOD | {"r" * 201: 1}, ("r" * REGION_LENGTH + "…",), "is unknown here", "unknown"),
        (ObservationsRequest, {"observations": {}}, ("observations",), "is not a list", "not_a_list"),
        (
            ObservationsRequest,
            {"observations": []},
            ("observations",),
            "has 0 entries, at least 1 are needed",
            "too_short",
        ),
        (
            ObservationsRequest,
            {"observations": [GOOD | {"yields": {}}]},
            ("observations", 0, "yields"),
            "has 0 entries, at least 1 are needed",
            "too_short",
        ),
        (
            ObservationsRequest,
            {"observations": [GOOD | {"yields": {"mango": -5}}]},
            ("observations", 0, "yields", "mango"),
            "-5 is below 0 tons",
            "out_of_bounds",
        ),
        (
            ObservationsRequest,
            {"observations": [GOOD | {"yields": {"mango_low": 5}}]},
            ("observations", 0, "yields", "mango_low", "[key]"),
            "the crop name 'mango_low' means something else: choose another",
            "invalid",
        ),
        (
            ObservationsRequest,
            {"observations": [REPORTED, REPORTED | {"season": "a\tb"}]},
            ("observations", 1, "season"),
            "has U+0009 at place 2, a control character: leave it out",
            "invalid",
        ),
        (
            RetrainRequest,
            {"note": "a\tb\x1b"},
            ("note",),
            "has U+001B at place 4, a control character: leave it out",
            "invalid",
        ),
        (RetrainRequest, {"note": "a" * (NOTE_LENGTH + 1)}, ("note",), "is longer than 1000 characters", "too_long"),
        (RetrainRequest, {"dry_run": 1}, ("dry_run",), "Input should be a valid boolean", "bool_type"),
        (
            InferRequest,
            {"inputs": [TENSOR, TENSOR | {"shape": [1, -1]}]},
            ("inputs", 1, "shape", 1),
            "-1 is below 0",
            "out_of_bounds",
        ),
    ],
)
def test_one_fault(model: type[BaseModel], body: Any, loc: tuple[str | int, ...], message: str, code: str) -> None:
    """Where it is, in our words, with bound and unit; values and names that are long are cut."""
    with pytest.raises(InvalidInput) as refused:
        parse(model, json.dumps(body).encode(), ROWS)
    assert refused.value.errors == (FieldError(loc, message, code),)
    assert refused.value.detail == (f"{'.'.join(map(str, loc))}: {message}" if loc else message)


@pytest.mark.parametrize("body", [GOOD, {"regions": [GOOD] * 3}, COLUMNS])
def test_what_is_valid_is_returned(body: dict[str, Any]) -> None:
    """In each of its shapes, with what was sent and nothing else."""
    asked = validated(PREDICT_REQUEST, body)
    assert asked.model_dump(exclude_unset=True) == body


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), min_size=1, max_size=12))
def test_every_bad_entry_is_found(bad_temperatures: list[bool], bad_rainfalls: list[bool]) -> None:
    """Though each list is read up to its first fault only, the places are those of the lists as they were sent."""
    temperature = [999 if bad else 70 for bad in (*bad_temperatures, True)]
    rainfall = [-1 if bad else 50 for bad in bad_rainfalls]
    found = [
        fault.loc for fault in _refused({"temperature": temperature, "rainfall": rainfall, "humidity": [50]}).errors
    ]
    expected = {("temperature", place) for place, value in enumerate(temperature) if value == 999}
    expected |= {("rainfall", place) for place, value in enumerate(rainfall) if value == -1}
    assert set(found) == expected
    assert len(found) == len(expected)


def test_all_faults_of_an_entry() -> None:
    """Entries of any kind behind each other: what each lacks, has too much and has wrong, and no entry that is good."""
    rows = [{}, GOOD, 4, GOOD, GOOD | {"rain": 1, "humidity": -1}]
    error = _refused({"regions": rows, "note": "", "temperature": []})
    assert [(fault.loc, fault.message) for fault in error.errors] == [
        (("regions", 0, "temperature"), "is missing"),
        (("regions", 0, "rainfall"), "is missing"),
        (("regions", 0, "humidity"), "is missing"),
        (("note",), "is unknown here"),
        (("temperature",), "is unknown here"),
        (("regions", 2), "is not an object"),
        (("regions", 4, "humidity"), "-1 is below 0 %"),
        (("regions", 4, "rain"), "is unknown here: did you mean 'rainfall'?"),
    ]
    assert error.detail == "regions.0.temperature: is missing (and 7 more)"


@pytest.mark.parametrize(("bad", "listed"), [(MAX_ERRORS - 1, 99), (MAX_ERRORS, 100), (900, 100)])
def test_enough_is_enough(bad: int, listed: int) -> None:
    """A hundred faults are listed and counted; what is behind them is not looked at."""
    error = _refused({"regions": [GOOD, *[GOOD | {"rainfall": -1}] * bad]})
    assert [fault.loc for fault in error.errors] == [("regions", row, "rainfall") for row in range(1, listed + 1)]
    assert error.detail == f"regions.1.rainfall: -1 is below 0 mm (and {listed - 1} more)"


def test_lists_of_unequal_lengths() -> None:
    """A fault of the whole has no place."""
    error = _refused(COLUMNS | {"region": ["a"]})
    assert error.errors == (FieldError((), "region has 1 values, temperature 3", "invalid"),)


@pytest.mark.parametrize("body", [GOOD, {"regions": [GOOD]}])
def test_more_fields_than_anyone_needs(body: dict[str, Any]) -> None:
    """An object of a thousand unknown fields is refused before a fault is made of each."""
    many = dict.fromkeys(map(str, range(MOST_FIELDS + 1)), 1)
    with pytest.raises(InvalidInput, match=f"an object has {MOST_FIELDS + 1} fields: none has more than {MOST_FIELDS}"):
        validated(PREDICT_REQUEST, {**body, "more": [many]})


def test_more_crops_than_there_may_be() -> None:
    """One row names too many: the limit is told, and where."""
    yields = {f"crop {number}": 1 for number in range(MAX_CROPS + 1)}
    with pytest.raises(InvalidInput, match=r"^observations\.0\.yields: has more than 100 crops") as refused:
        validated(TypeAdapter(ObservationsRequest), {"observations": [GOOD | {"yields": yields}]})
    assert [fault.code for fault in refused.value.errors] == ["too_many_crops"]


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, " (and 1 more)"), (250, " (and 249 more)")])
@pytest.mark.parametrize(("kind", "error"), [("missing", InvalidInput), ("finite_number", MalformedInput)])
def test_faults_that_pydantic_has_found(count: int, more: str, kind: str, error: type[Exception]) -> None:
    """All are counted, a hundred are listed, and one number that is not finite, be it the last, makes it malformed."""
    faults = [{"type": "missing", "loc": ("a", row), "msg": "Field required"} for row in range(count)]
    made = invalid([*faults[:-1], faults[-1] | {"type": kind, "input": float("nan")}])
    assert type(made) is error
    assert len(made.errors) == min(count, MAX_ERRORS)
    assert made.detail.endswith(more or made.errors[0].message)


@pytest.mark.parametrize("name", ["one", "several", "columns"])
def test_a_field_may_be_named_like_a_shape(name: str) -> None:
    """Pydantic's tags of the shapes of a question are left out of a place; a field of that name is not."""
    row = {"temperature": 73, "rainfall": 67, "humidity": 43, "yields": {name: -5}}
    with pytest.raises(InvalidInput) as refused:
        parse(ObservationsRequest, json.dumps({"observations": [row], name: 1}).encode(), 10)
    assert [fault.loc for fault in refused.value.errors] == [("observations", 0, "yields", name), (name,)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Temperature", "is unknown here: did you mean 'temperature'?"),
        ("RAINFALL", "is unknown here: did you mean 'rainfall'?"),
        ("humidty", "is unknown here: did you mean 'humidity'?"),
        ("wind", "is unknown here"),
    ],
)
def test_a_field_that_is_nearly_known(name: str, told: str) -> None:
    """In another case, or misspelt."""
    with pytest.raises(InvalidInput) as caught:
        validated(PREDICT_REQUEST, {"temperature": 73, "rainfall": 67, "humidity": 43, name: 1})
    assert [(fault.loc, fault.message) for fault in caught.value.errors] == [((name,), told)]
