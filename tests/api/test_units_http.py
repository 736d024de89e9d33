"""Weather in the units of who asks, over HTTP: the same tons, bounds and warnings in those units, °F and mm stored."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.openapi.examples import OPEN_METEO, POWER
from app.model.units import UNITS
from app.wire.media_types import ARROW, CSV, GEOJSON, JSON, XLSX
from tests.running import Running
from tests.workbooks import workbook_of

Rows = list[dict[str, Any]]
Tons = list[dict[str, float]]
QUERY = {"temperature_unit": "celsius", "rainfall_unit": "inch"}
STORED: Rows = [
    {"temperature": 73.4, "rainfall": 63.5, "humidity": 43},
    {"temperature": 91.4, "rainfall": 88.9, "humidity": 64},
    {"temperature": 86.0, "rainfall": 127.0, "humidity": 58},
]
"""°F and mm; the third is what training has seen, too."""
GIVEN: Rows = [
    {"temperature": 23, "rainfall": 2.5, "humidity": 43},
    {"temperature": 33, "rainfall": 3.5, "humidity": 64},
    {"temperature": 30, "rainfall": 5, "humidity": 58},
]
"""The same in °C and inches."""
BRACKETS = {"temperature": "Temperature (°C)", "rainfall": "rainfall [in]", "humidity": "humidity"}


def _post(
    running: Running,
    path: str,
    body: bytes,
    media_type: str,
    query: Mapping[str, str] | None = None,
    accept: str = JSON,
) -> httpx.Response:
    headers = running.write | {"Content-Type": media_type, "Accept": accept}
    return running.client.post(path, content=body, headers=headers, params=query or {})


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _csv(rows: Rows, names: Mapping[str, str] | None = None) -> bytes:
    header = [(names or {}).get(name, name) for name in rows[0]]
    lines = [",".join(map(str, row.values())) for row in rows]
    return "\n".join([",".join(header), *lines, ""]).encode()


def _arrow(rows: Rows) -> bytes:
    table = pa.table({name: np.array(column, dtype=np.float64) for name, column in _columns(rows).items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _geojson(rows: Rows) -> bytes:
    features = [{"type": "Feature", "geometry": None, "properties": row} for row in rows]
    return _json({"type": "FeatureCollection", "features": features})


def _workbook(rows: Rows) -> bytes:
    return workbook_of([list(rows[0]), *(list(row.values()) for row in rows)])


def _tons(answer: httpx.Response) -> Tons:
    """Return what is predicted of each region, from any shape of JSON."""
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if "predictions" in found:
        return [{crop: row["yields"][crop]["tons"] for crop in row["yields"]} for row in found["predictions"]]
    columns = {crop: yields["tons"] for crop, yields in found["yields"].items()}
    if found["region"] is not None and not isinstance(found["region"], list):
        return [columns]
    if not isinstance(next(iter(columns.values())), list):
        return [columns]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


BODIES: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "rows": (JSON, lambda rows: _json({"regions": rows})),
    "columns": (JSON, lambda rows: _json(_columns(rows))),
    "csv": (CSV, _csv),
    "arrow": (ARROW, _arrow),
    "geojson": (GEOJSON, _geojson),
    "workbook": (XLSX, _workbook),
}


@pytest.fixture(scope="module")
def expected(reading: Running) -> Tons:
    """Return the tons of the rows in °F and mm."""
    return _tons(_post(reading, "/predict", _json({"regions": STORED}), JSON))


def _same(found: Tons, expected: Tons) -> bool:
    assert len(found) == len(expected)
    return all(row == pytest.approx(other, rel=1e-12) for row, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("times", [1, 900], ids=["few", "many"])
@pytest.mark.parametrize("name", BODIES)
def test_the_same_tons_in_every_format(reading: Running, expected: Tons, name: str, times: int) -> None:
    """In °C and inches as in °F and mm; of more than 16 KB, which go another way, too."""
    media_type, body = BODIES[name]
    content = body(GIVEN * times)
    if times > 1 and media_type != XLSX:
        assert len(content) > 16 * 1024
    answer = _post(reading, "/predict", content, media_type, QUERY)
    assert _same(_tons(answer), expected * times)
    assert answer.json()["units"] == {"temperature": "celsius", "rainfall": "inch"}
    alone = _post(reading, "/predict", content, media_type, {"temperature_unit": "celsius"})
    assert alone.json()["units"] == {"temperature": "celsius"}


def test_one_region(reading: Running, expected: Tons) -> None:
    """By any of the names that a unit has; the units that are there anyway change nothing else."""
    for units in (QUERY, {"temperature_unit": "Cel", "rainfall_unit": "[in_i]"}, {"temperature_unit": "°C"} | QUERY):
        answer = _post(reading, "/predict", _json(GIVEN[0]), JSON, units)
        assert _same(_tons(answer), expected[:1])
    kelvin = _post(reading, "/predict", _json(STORED[0] | {"temperature": 296.15}), JSON, {"temperature_unit": "K"})
    assert _same(_tons(kelvin), expected[:1])
    plain = _post(reading, "/predict", _json(STORED[0]), JSON).json()
    assert list(plain) == ["model_version", "region", "yields", "extrapolated", "warnings"]
    named = _post(reading, "/predict", _json(STORED[0]), JSON, {"temperature_unit": "[degF]", "rainfall_unit": "mm"})
    assert named.json() == plain | {"units": {"temperature": "fahrenheit", "rainfall": "mm"}}


@pytest.mark.parametrize("name", ["rows", "columns", "csv", "geojson"])
@pytest.mark.parametrize("times", [1, 900], ids=["few", "many"])
def test_answers_without_units_do_not_know_of_them(reading: Running, name: str, times: int) -> None:
    """No answer has `units` where nobody has named one."""
    media_type, body = BODIES[name]
    for accept in (JSON, CSV, GEOJSON):
        answer = _post(reading, "/predict", body(STORED * times), media_type, accept=accept)
        assert answer.status_code == 200
        assert b"units" not in answer.content
        assert b"celsius" not in answer.content


def test_units_in_brackets_of_a_header(reading: Running, expected: Tons) -> None:
    """Alone, or beside a query that says the same; one that says something else is refused."""
    table = _csv(GIVEN, BRACKETS)
    for query in ({}, QUERY):
        answer = _post(reading, "/predict", table, CSV, query)
        assert _same(_tons(answer), expected)
        assert answer.json()["units"] == {"temperature": "celsius", "rainfall": "inch"}
    book = workbook_of([list(BRACKETS.values()), *(list(row.values()) for row in GIVEN)])
    assert _same(_tons(_post(reading, "/predict", book, XLSX)), expected)
    problem = _post(reading, "/predict", table, CSV, {"temperature_unit": "kelvin"})
    assert problem.status_code == 422
    assert problem.json()["errors"] == [
        {
            "loc": ["query", "temperature_unit"],
            "message": "the query says kelvin, the header celsius: give one",
            "code": "unit",
        }
    ]


def test_tables_come_back_as_they_were_sent(reading: Running, expected: Tons) -> None:
    """Numbers and names of columns in the units of who asks; what is answered can be asked again."""
    answer = _post(reading, "/predict", _csv(GIVEN, BRACKETS), CSV, accept=CSV)
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header[:3] == list(BRACKETS.values())
    assert [list(map(float, row[:3])) for row in rows] == [list(row.values()) for row in GIVEN]
    again = _post(reading, "/predict", answer.content, CSV, accept=CSV)
    assert again.content == answer.content
    table = pa.ipc.open_stream(_post(reading, "/predict", _arrow(GIVEN), ARROW, QUERY, ARROW).content).read_all()
    assert table.column("temperature").to_pylist() == [23, 33, 30]
    assert table.column("mango_tons").to_pylist() == pytest.approx([row["mango"] for row in expected], rel=1e-12)
    mixed = _post(reading, "/predict", _json({"regions": GIVEN}), JSON, QUERY, CSV)
    assert [line.split(",")[:3] for line in mixed.text.splitlines()[1:]] == [
        ["23.0", "2.5", "43.0"],
        ["33.0", "3.5", "64.0"],
        ["30.0", "5.0", "58.0"],
    ]
    feature = json.loads(_post(reading, "/predict", _geojson(GIVEN), GEOJSON, QUERY, GEOJSON).content)["features"][1]
    assert (feature["properties"]["temperature"], feature["properties"]["rainfall"]) == (33, 3.5)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("times", [1, 900], ids=["few", "many"])
def test_bounds_are_in_the_units_of_who_asks(reading: Running, name: str, times: int) -> None:
    """The number as it was given, the bound in its unit; the bounds themselves are within."""
    media_type, body = BODIES[name]
    wrong = [*GIVEN * times, GIVEN[0] | {"temperature": 75}, GIVEN[0] | {"rainfall": 5_000}]
    problem = _post(reading, "/predict", body(wrong), media_type, QUERY)
    assert problem.status_code == 422
    told = problem.text
    assert "75" in told
    assert "is above 60 °C" in told
    assert media_type == ARROW or "is above 1181.1 in" in told  # Arrow tells of the first column
    assert "°F" not in told
    edges = [GIVEN[0] | {"temperature": 60, "rainfall": 0}, GIVEN[0] | {"temperature": -90}]
    assert _post(reading, "/predict", body(edges * times), media_type, QUERY).status_code == 200


def test_numbers_beyond_all_bounds_are_told_in_their_unit(reading: Running) -> None:
    """Whole numbers, too, that are larger than any that is converted."""
    for number in (10**20, 10**301, 1e20):
        body = _json(GIVEN[0] | {"temperature": number})
        (fault,) = _post(reading, "/predict", body, JSON, QUERY).json()["errors"]
        assert fault["message"].endswith("is above 60 °C")
        assert fault["message"].startswith("1")


def test_nothing_is_guessed_where_a_unit_is_named(reading: Running) -> None:
    """Warnings are in the units of who asks; "if it is in °C" is for who has not said."""
    place = {"temperature": 23, "rainfall": 2.5, "humidity": 43}
    guessed = _post(reading, "/predict", _json(place), JSON).json()["warnings"]
    assert any("if it is in °C, that is 73.4 °F" in warning for warning in guessed)
    named = _post(reading, "/predict", _json(place), JSON, {"temperature_unit": "fahrenheit"}).json()["warnings"]
    assert "temperature 23 °F is outside the training range, 68 to 103 °F" in named
    hot = _post(reading, "/predict", _json(place | {"temperature": 45, "rainfall": 20}), JSON, QUERY).json()
    assert hot["extrapolated"] is True
    assert hot["warnings"][:2] == [
        "temperature 45 °C is outside the training range, 20 to 39.4444 °C",
        "rainfall 20 in is outside the training range, 1.69291 to 5.31496 in",
    ]
    assert not [warning for warning in hot["warnings"] if "°F" in warning or " mm" in warning]


@pytest.mark.parametrize(("body", "media_type"), [(OPEN_METEO, JSON), (POWER, JSON), (POWER, GEOJSON)])
def test_days_of_a_weather_service_have_units_of_their_own(reading: Running, body: Any, media_type: str) -> None:
    """A unit beside them is refused, not passed over."""
    assert _post(reading, "/predict", _json(body), media_type).status_code == 200
    problem = _post(reading, "/predict", _json(body), media_type, QUERY)
    assert problem.status_code == 422
    faults = problem.json()["errors"]
    assert [fault["loc"] for fault in faults] == [["query", "temperature_unit"], ["query", "rainfall_unit"]]
    assert faults[0]["message"] == "the body names its own units: leave it out"


@pytest.mark.parametrize("path", ["/predict", "/retrain", "/observations"])
def test_an_unknown_unit_is_refused(reading: Running, path: str) -> None:
    """With those that there are."""
    problem = _post(reading, path, b"{}", JSON, {"temperature_unit": "rankine", "rainfall_unit": "cm"})
    assert problem.status_code == 422
    assert [(fault["loc"], fault["message"]) for fault in problem.json()["errors"]] == [
        (["query", "temperature_unit"], "'rankine' is not 'fahrenheit', 'celsius' or 'kelvin'"),
        (["query", "rainfall_unit"], "'cm' is not 'mm' or 'inch'"),
    ]


def test_tensors(reading: Running, expected: Tons) -> None:
    """Of the Open Inference Protocol: units are parameters of a request; bounds are in them."""
    tensor = {"name": "input", "shape": [3, 3], "datatype": "FP64", "data": [list(row.values()) for row in GIVEN]}
    asked = {"inputs": [tensor], "parameters": QUERY}
    answer = reading.client.post("/v2/models/yield/infer", json=asked)
    found = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert found["mango"][:3] == pytest.approx([row["mango"] for row in expected], rel=1e-12)
    wrong = asked | {"inputs": [tensor | {"shape": [1, 3], "data": [75, 1, 1]}]}
    assert "above 60 °C" in reading.client.post("/v2/models/yield/infer", json=wrong).json()["error"]
    unknown = reading.client.post("/v2/models/yield/infer", json=asked | {"parameters": {"temperature_unit": "R"}})
    assert unknown.status_code == 400
    assert "temperature_unit" in unknown.json()["error"]


TEMPERATURES = {"fahrenheit": (-130.0, 140.0), "celsius": (-90.0, 60.0), "kelvin": (183.15, 333.15)}
RAINFALLS = {"mm": (0.0, 30_000.0), "inch": (0.0, 1_181.1)}


@settings(max_examples=40, deadline=None)
@given(
    temperature=st.sampled_from(sorted(TEMPERATURES)),
    rainfall=st.sampled_from(sorted(RAINFALLS)),
    shares=st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=4),
    name=st.sampled_from(["rows", "columns", "csv", "arrow", "geojson"]),
)
def test_any_weather_in_any_units(
    reading: Running, temperature: str, rainfall: str, shares: list[tuple[float, ...]], name: str
) -> None:
    """The tons are those of the converted weather, to 1e-9."""
    ends = (TEMPERATURES[temperature], RAINFALLS[rainfall], (0.0, 100.0))
    rows = [
        {
            feature: low + share * (high - low)
            for feature, (low, high), share in zip(("temperature", "rainfall", "humidity"), ends, row, strict=True)
        }
        for row in shares
    ]
    converted = [
        {
            "temperature": min(UNITS["temperature"][temperature].stored(row["temperature"]), 140.0),
            "rainfall": min(UNITS["rainfall"][rainfall].stored(row["rainfall"]), 30_000.0),
            "humidity": row["humidity"],
        }
        for row in rows
    ]
    for row in converted:
        row["temperature"] = max(row["temperature"], -130.0)
    media_type, body = BODIES[name]
    query = {"temperature_unit": temperature, "rainfall_unit": rainfall}
    found = _tons(_post(reading, "/predict", body(rows), media_type, query))
    expected = _tons(_post(reading, "/predict", _json({"regions": converted}), JSON))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


HARVEST = [row | {"region": f"U{place}", "season": "2031"} for place, row in enumerate(GIVEN)]
YIELDS = [{"mango": 57.5}, {"mango": 82.0}, {"mango": 119.0}]


def _harvest_json(path: str) -> bytes:
    del path
    return _json({"observations": [row | {"yields": tons} for row, tons in zip(HARVEST, YIELDS, strict=True)]})


def _harvest_rows() -> Rows:
    return [row | tons for row, tons in zip(HARVEST, YIELDS, strict=True)]


HARVESTS: dict[str, tuple[str, Callable[[], bytes], dict[str, str]]] = {
    "json": (JSON, lambda: _harvest_json(""), QUERY),
    "csv": (CSV, lambda: _csv(_harvest_rows()), QUERY),
    "csv by its header": (CSV, lambda: _csv(_harvest_rows(), BRACKETS), {}),
    "geojson": (
        GEOJSON,
        lambda: _geojson([row | {"yields": tons} for row, tons in zip(HARVEST, YIELDS, strict=True)]),
        QUERY,
    ),
    "workbook": (XLSX, lambda: _workbook(_harvest_rows()), QUERY),
}


def _stored(running: Running, batch: str) -> Rows:
    page = running.client.get("/observations?limit=10000", headers=running.write).json()["observations"]
    return [row for row in page if row["batch"] == batch]


@pytest.mark.parametrize("path", ["/observations", "/retrain"])
@pytest.mark.parametrize("name", HARVESTS)
def test_harvests_are_stored_in_fahrenheit_and_millimetres(writing: Running, name: str, path: str) -> None:
    """Whatever they came in, and whichever call they came by."""
    media_type, body, query = HARVESTS[name]
    answer = _post(writing, path, body(), media_type, query)
    assert answer.status_code in (200, 201), answer.text
    found = _stored(writing, answer.json()["batch"])
    assert len(found) == len(STORED)
    for row, expected, tons in zip(found, STORED, YIELDS, strict=True):
        for feature, value in expected.items():
            assert row[feature] == pytest.approx(value, rel=1e-12), feature
        assert row["yields"] == tons


@pytest.mark.parametrize("path", ["/observations", "/retrain?dry_run=true"])
@pytest.mark.parametrize("name", HARVESTS)
def test_bounds_of_harvests_are_in_the_units_they_are_in(reading: Running, name: str, path: str) -> None:
    """As of questions; nothing is stored."""
    media_type, body, query = HARVESTS[name]
    separator = "&" if "?" in path else "?"
    path += separator + "&".join(f"{key}={value}" for key, value in query.items())
    content = body()
    if media_type == XLSX:
        content = _workbook([row | {"temperature": 75} for row in _harvest_rows()])
    else:
        content = content.replace(b"33", b"75", 1)
    problem = reading.client.post(path, content=content, headers=reading.write | {"Content-Type": media_type})
    assert problem.status_code == 422
    assert "75 is above 60 °C" in problem.json()["detail"]
