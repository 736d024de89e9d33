"""POST /predict over HTTP: shapes, numbers, content types and errors."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.running import Running

PLACE = {"region": "A", "temperature": 75, "rainfall": 80, "humidity": 55}
EXPECTED = {
    "mango": (75.649310542385, 72.898473361473, 78.400147723297),
    "orange": (90.395560229169, 87.969015784531, 92.822104673807),
}


def _post(running: Running, body: Any, query: str = "", **headers: str) -> Any:
    return running.client.post(f"/predict{query}", json=body, headers=headers)


def test_one_region(reading: Running) -> None:
    """One region is answered as one object, with the reference intervals to 1e-9."""
    answer = _post(reading, PLACE)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"model_version", "region", "yields", "extrapolated", "warnings"}
    assert (body["model_version"], body["region"], body["extrapolated"], body["warnings"]) == ("1", "A", False, [])
    for crop, numbers in EXPECTED.items():
        found = body["yields"][crop]
        assert (found["tons"], found["low"], found["high"]) == pytest.approx(numbers, rel=1e-9)
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"]


def test_several_regions_and_columns_have_the_shape_of_the_question(reading: Running) -> None:
    """Rows are answered as rows and columns as columns, with the same numbers as one by one."""
    other = {"temperature": 91, "rainfall": 88, "humidity": 64}
    single = [_post(reading, place).json() for place in (PLACE, other)]
    rows = _post(reading, {"regions": [PLACE, other]}).json()
    assert rows == {
        "model_version": "1",
        "predictions": [{k: v for k, v in one.items() if k != "model_version"} for one in single],
    }
    question = {name: [PLACE[name], other[name]] for name in other} | {"region": ["A", None]}
    columns = _post(reading, question).json()
    assert columns["region"] == ["A", None]
    assert columns["warnings"] == [[], []]
    for crop in EXPECTED:
        for bound in ("tons", "low", "high"):
            assert columns["yields"][crop][bound] == [one["yields"][crop][bound] for one in single]


@given(
    st.lists(st.tuples(st.floats(-130, 140), st.floats(0, 30_000), st.floats(0, 100)), min_size=1, max_size=5),
    st.sampled_from([0.5, 0.8, 0.95, 0.999]),
)
@settings(max_examples=40)
def test_every_form_gives_the_same_numbers(reading: Running, places: list[tuple[float, ...]], level: float) -> None:
    """One by one, as rows, as columns and as CSV, the same regions get identical numbers."""
    names = ("temperature", "rainfall", "humidity")
    query = f"?level={level}"
    rows = [dict(zip(names, place, strict=True)) for place in places]
    singly = [_post(reading, row, query).json()["yields"] for row in rows]
    together = [row["yields"] for row in _post(reading, {"regions": rows}, query).json()["predictions"]]
    assert together == singly
    columns = _post(reading, {name: [row[name] for row in rows] for name in names}, query).json()["yields"]
    text = "\n".join([",".join(names), *(",".join(map(repr, place)) for place in places)])
    answer = reading.client.post(f"/predict{query}", content=text, headers={"Content-Type": "text/csv"})
    for number, (one, line) in enumerate(zip(singly, csv.DictReader(io.StringIO(answer.text)), strict=True)):
        for crop in one:
            for bound in ("tons", "low", "high"):
                assert columns[crop][bound][number] == one[crop][bound]
                assert float(line[f"{crop}_{bound}"]) == one[crop][bound]


def test_explanations_add_up(reading: Running) -> None:
    """Baseline and contributions add up to the prediction; the baseline is the mean yield of training."""
    body = _post(reading, PLACE, "?explain=true").json()["yields"]["mango"]
    assert body["baseline"] == pytest.approx(76.0, rel=1e-12)
    assert body["baseline"] + sum(body["contributions"].values()) == pytest.approx(body["tons"], rel=1e-13)
    assert set(body["contributions"]) == {"temperature", "rainfall", "humidity"}


def test_level_widens_the_interval(reading: Running) -> None:
    """A higher level gives a wider interval around the same prediction."""
    narrow, wide = (_post(reading, PLACE, f"?level={level}").json()["yields"]["mango"] for level in (0.5, 0.99))
    assert wide["low"] < narrow["low"] < narrow["tons"] == wide["tons"] < narrow["high"] < wide["high"]


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (
            {"temperature": 24},
            "temperature 24 °F is outside the training range, 68 to 103 °F; if it is in °C, that is 75.2 °F",
        ),
        (
            {"humidity": 0.55},
            "humidity 0.55 % is outside the training range, 36 to 71 %; if it is a share of 1, that is 55 %",
        ),
        (
            {"rainfall": 3},
            "rainfall 3 mm is outside the training range, 43 to 135 mm; if it is in inches, that is 76.2 mm",
        ),
        ({"rainfall": 400}, "rainfall 400 mm is outside the training range, 43 to 135 mm"),
    ],
)
def test_extrapolation_is_said(reading: Running, place: dict[str, float], sentence: str) -> None:
    """A value outside its training range is named with the range, and with a likely slip of units."""
    body = _post(reading, PLACE | place).json()
    assert body["extrapolated"] is True
    assert body["warnings"][0] == sentence


def test_far_combinations_are_extrapolated(reading: Running) -> None:
    """Values that are each inside their range are extrapolated where no region has had them together."""
    body = _post(reading, {"temperature": 100, "rainfall": 130, "humidity": 40}).json()
    assert body["extrapolated"] is True
    assert body["warnings"][0].startswith(
        "this combination of weather lies farther out than any in training (leverage "
    )


def test_negative_yields_are_reported_as_zero(reading: Running) -> None:
    """A prediction below 0 is 0 with a warning, and so are its bounds."""
    body = _post(reading, {"temperature": 103, "rainfall": 1, "humidity": 36}).json()
    assert body["yields"]["mango"] == {"tons": 0.0, "low": 0.0, "high": 0.0}
    assert any(warning.startswith("mango: -15.7") and "reported as 0" in warning for warning in body["warnings"])


def test_csv_keeps_the_questions_columns(reading: Running) -> None:
    """CSV comes back with its columns in their order, names safe for spreadsheets, and the crops behind."""
    text = "humidity,region,temperature,rainfall\r\n55,=A1,75,80\r\n"
    answer = reading.client.post("/predict", content=text, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    header, row = csv.reader(io.StringIO(answer.text))
    assert header[:5] == ["humidity", "region", "temperature", "rainfall", "mango_tons"]
    assert header[-2:] == ["extrapolated", "model_version"]
    assert row[:4] == ["55.0", "'=A1", "75.0", "80.0"]
    assert float(row[4]) == pytest.approx(75.649310542385, rel=1e-9)


def test_accept_decides_the_answers_type(reading: Running) -> None:
    """JSON may be answered in CSV, CSV in JSON, and what is not offered is refused."""
    assert _post(reading, PLACE, accept="text/csv").text.startswith("region,temperature,rainfall,humidity,mango_tons")
    headers = {"Content-Type": "text/csv", "Accept": "application/json"}
    body = reading.client.post("/predict", content="temperature,rainfall,humidity\n75,80,55\n", headers=headers).json()
    assert len(body["predictions"]) == 1
    refused = _post(reading, PLACE, accept="image/png")
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("body", "status", "loc", "message"),
    [
        (b"{", 400, [], "the body is not JSON"),
        (b'{"temperature": NaN, "rainfall": 1, "humidity": 1}', 400, ["temperature"], "NaN is not finite"),
        (
            b'{"temperature": 1e999, "rainfall": 1, "humidity": 1}',
            400,
            ["temperature"],
            "Infinity, or a number too large for 64 bits, is not finite",
        ),
        (b'{"temperature": 1, "rainfall": 1}', 422, ["humidity"], "is missing"),
        (b'{"temperature": 1, "rainfall": 1, "humidity": 1, "wind": 3}', 422, ["wind"], "is unknown here"),
        (b'{"temperature": "1", "rainfall": 1, "humidity": 1}', 422, ["temperature"], '"1" is not a number'),
        (b'{"temperature": true, "rainfall": 1, "humidity": 1}', 422, ["temperature"], "true is not a number"),
        (b'{"temperature": 141, "rainfall": 1, "humidity": 1}', 422, ["temperature"], "141 is above 140 °F"),
        (b'{"temperature": 1, "rainfall": -1, "humidity": 1}', 422, ["rainfall"], "-1 is below 0 mm"),
        (b'{"temperature": 1, "rainfall": 1, "humidity": 101}', 422, ["humidity"], "101 is above 100 %"),
        (b'{"regions": []}', 422, ["regions"], "has 0 entries, at least 1 are needed"),
        (
            b'{"regions": [{"temperature": 1, "rainfall": 1, "humidity": 101}]}',
            422,
            ["regions", 0, "humidity"],
            "101 is above 100 %",
        ),
        (
            b'{"temperature": [1, 2], "rainfall": [1], "humidity": [1, 2]}',
            422,
            [],
            "rainfall has 1 values, temperature 2",
        ),
        (b"[1]", 422, [], 'the body is a list: send {"regions": […]}'),
        (b'"a"', 422, [], 'the body is a text: send {"regions": […]}'),
        (b"", 400, [], "the body is empty: send a JSON object, {…}"),
    ],
)
def test_bad_bodies(reading: Running, body: bytes, status: int, loc: list[Any], message: str) -> None:
    """Each fault is a problem that names the field, the value and the bound."""
    answer = reading.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert problem["status"] == status
    assert problem["errors"][0]["loc"] == loc
    assert message in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the table is empty"),
        (b"temperature,rainfall,humidity\n", 422, "the table has a header and no rows"),
        (
            b"region,temperature,rainfall,humidityA,73,67,43B,91,67,64",
            422,
            "the table has a header and no rows: it has no line breaks in it (curl needs --data-binary",
        ),
        (b"temperature,rainfall\n1,2\n", 422, "the column 'humidity' is missing"),
        (b"temperature,rainfall,humidity,rainfall\n1,2,3,4\n", 422, "the column 'rainfall' appears twice"),
        (b"temperature,rainfall,humidity\n1,2,x\n", 422, "row 1 (line 2), column humidity: 'x' is not a number"),
        (b"temperature,rainfall,humidity\n1,2,nan\n", 400, "row 1 (line 2), column humidity: nan is not finite"),
        (
            b"temperature,rainfall,humidity\n1,2,3\n1,2,333\n",
            422,
            "row 2 (line 3), column humidity: 333 is above 100 %",
        ),
        (b"temperature,rainfall,humidity\n1,2\n", 422, "row 1 (line 2) has 2 cells, the header 3"),
        (b"temperature,rainfall,humidity,regoin\n1,2,3,A\n", 422, "unknown column 'regoin': did you mean 'region'?"),
        (b"\xff", 400, "the table is not UTF-8"),
        (b"\xff\xfea", 400, "the table begins as UTF-16 does, and is not"),
        (b"temperature,rainfall,humidity\n1,2,\0\n", 400, "the table has a NUL byte"),
    ],
)
def test_bad_tables(reading: Running, body: bytes, status: int, message: str) -> None:
    """Each fault of a CSV names row, line, column, value and bound."""
    answer = reading.client.post("/predict", content=body, headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("POST", "/predict", {"Content-Type": "application/xml"}, 415, "unknown_media_type"),
        ("PUT", "/predict", {}, 405, "method_not_allowed"),
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("POST", "/predict?level=0.4", {"Content-Type": "application/json"}, 422, "invalid"),
        ("POST", "/predict?version=77", {"Content-Type": "application/json"}, 404, "not_found"),
    ],
)
def test_other_errors(
    reading: Running, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Wrong types, methods, paths, levels and versions are problems with their codes."""
    answer = reading.client.request(method, path, headers=headers, content=json.dumps(PLACE))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("95", "'95' is above 0.999: did you mean 0.95?"),
        ("99.9", "'99.9' is above 0.999: did you mean 0.999?"),
        ("30", "'30' is above 0.999"),
        ("0.4", "'0.4' is below 0.5"),
        ("high", "'high' is not a number"),
    ],
)
def test_a_level_in_percent(reading: Running, level: str, message: str) -> None:
    """The share that was probably meant is named, where it is one that can be asked for."""
    problem = reading.client.post("/predict", params={"level": level}, json=PLACE).json()
    assert problem["errors"] == [{"loc": ["query", "level"], "message": message, "code": problem["errors"][0]["code"]}]
    assert problem["detail"] == f"query.level: {message}"


@pytest.mark.parametrize("path", ["/predict", "/retrain", "/observations"])
def test_what_curl_calls_a_body_by_itself(reading: Running, path: str) -> None:
    """A form is refused with the options that send JSON; other types without."""
    for sent, is_curls in (("application/x-www-form-urlencoded", True), ("text/plain", False)):
        headers = reading.write | {"Content-Type": sent}
        answer = reading.client.post(path, content=json.dumps(PLACE), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unknown_media_type")
        told = "use --json (curl 7.82 and later), or -H 'Content-Type: application/json'" in answer.json()["detail"]
        assert told == is_curls


def test_a_rejected_body_is_not_echoed_whole(reading: Running) -> None:
    """A long wrong value is cut in the message."""
    answer = _post(reading, PLACE | {"temperature": "x" * 10_000})
    assert answer.status_code == 422
    assert len(answer.content) < 600


def test_the_document_describes_the_body(reading: Running) -> None:
    """The OpenAPI document names the request shapes, and every reference in it leads somewhere."""
    document = reading.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert "PredictRequest" in schemas
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
