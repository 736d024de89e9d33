"""Questions in any format, answered in any format: the same predictions, and what is said beside them."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.data.harvest import moments_of
from app.data.tables import parse_observations, read_cell
from app.errors import InvalidInput, MalformedInput, OrchardError, TooLarge
from app.model.linear import LinearModel
from app.model.weather import FEATURE_NAMES
from app.wire import formats
from app.wire.answers import ENDS, Answer
from app.wire.formats import FORMATS, PredictOptions, reply, reply_here
from app.wire.media_types import ARROW, CSV, GEOJSON, JSON
from app.wire.parts import take
from app.wire.questions import Question

TRAINED = b"""temperature,rainfall,humidity,mango,rye
60,50,40,106,1
70,40,30,107,
80,90,20,140,0
60,70,60,119,
90,50,50,139,2
75,60,70,131,
"""
MOMENTS = moments_of(parse_observations(TRAINED))
LINES = {"mango": (np.array([1.0, 0.5, 0.25]), 10.0), "rye": (np.array([-1.0, 0.0, 0.0]), 72.5)}
MODEL = LinearModel.of(FEATURE_NAMES, LINES, MOMENTS)
OPTIONS = PredictOptions(JSON, JSON, 10, "7", MODEL, 0.95, explain=False)
WEATHER = {"temperature": [70.0, 75.5, 20.0], "rainfall": [50.0, 60.25, 900.0], "humidity": [40.0, 50.0, 0.0]}
MANGO, RYE, EXTRAPOLATED = [115.0, 128.125, 480.0], [2.5, 0.0, 52.5], [False, False, True]
NAMES = ["A", None, '=1+"é", C']


def _arrow(columns: dict[str, Any]) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _csv(columns: dict[str, list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return text.getvalue().encode()


def _geojson(columns: dict[str, list[Any]]) -> bytes:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    features = [{"type": "Feature", "geometry": None, "properties": row} for row in rows]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


ASKED = WEATHER | {"region": NAMES}
BODIES = {JSON: json.dumps(ASKED).encode(), CSV: _csv(ASKED), ARROW: _arrow(ASKED), GEOJSON: _geojson(ASKED)}


def _columns(content: bytes, content_type: str) -> dict[str, list[Any]]:
    """Return an answer's columns by the names of its table, cells of CSV as what they say."""
    if content_type == ARROW:
        table: dict[str, list[Any]] = pa.ipc.open_stream(content).read_all().to_pydict()
        return table
    if content_type == CSV:
        header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        cells = dict(zip(header, zip(*rows, strict=True), strict=True))
        texts = ("region", "model_version")
        return {
            name: [(read_cell(cell) if name in texts else json.loads(cell)) if cell else None for cell in column]
            for name, column in cells.items()
        }
    answer = json.loads(content)
    if content_type == GEOJSON:
        features = [feature["properties"] for feature in answer["features"]]
        found = {name: [feature[name] for feature in features] for name in features[0]}
        return found | {"model_version": [answer["model_version"]] * len(features)}
    if "predictions" in answer:
        predictions = answer["predictions"]
        crops = {crop: [row["yields"][crop] for row in predictions] for crop in LINES}
        yields = {crop: {end: [cell[end] for cell in cells] for end in ENDS} for crop, cells in crops.items()}
        told = {name: [row[name] for row in predictions] for name in ("region", "extrapolated")}
    else:
        yields, told = answer["yields"], {name: answer[name] for name in ("region", "extrapolated")}
    ends = {f"{crop}_{end}": yields[crop][end] for crop in LINES for end in ENDS}
    return told | ends | {"model_version": [answer["model_version"]] * len(told["region"])}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("sent", FORMATS)
def test_any_question_in_any_format(sent: str, wanted: str) -> None:
    """Whatever is asked in, whatever is answered in: the same numbers, and names as they were sent."""
    content, usage = reply(BODIES[sent], replace(OPTIONS, sent=sent, wanted=wanted))
    found = _columns(take(content), wanted)
    assert (found["mango_tons"], found["rye_tons"], found["extrapolated"]) == (MANGO, RYE, EXTRAPOLATED)
    assert (found["rye_low"], found["rye_high"]) == ([None] * 3, [None] * 3)
    answer = Answer(Question("columns", None, list(map(np.array, WEATHER.values()))), "7", MODEL, 0.95, explain=False)
    for end in ("low", "high"):
        column = answer.column("mango", end)
        assert column is not None
        assert found[f"mango_{end}"] == column.tolist()
    assert (found["region"], found["model_version"]) == (NAMES, ["7"] * 3)
    assert (usage.regions, usage.extrapolated) == (3, 1)


@pytest.mark.parametrize("wanted", [CSV, ARROW])
@pytest.mark.parametrize("sent", [CSV, ARROW])
def test_a_table_comes_back_with_its_columns_in_front(sent: str, wanted: str) -> None:
    """The question's own columns as they were sent, then each crop's, and at the end what is said of all."""
    asked = {"humidity": [40.0], "temperature": [70.0], "rainfall": [50.0]}
    body = _csv(asked) if sent == CSV else _arrow(asked)
    content, _ = reply(body, replace(OPTIONS, sent=sent, wanted=wanted))
    found = _columns(take(content), wanted)
    crops = [f"{crop}_{end}" for crop in LINES for end in ENDS]
    assert list(found) == [*asked, *crops, "extrapolated", "model_version"]
    assert {name: found[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("names", "header"), [(None, []), ([None, ""], []), ([None, "A"], ["region"]), (["A", "A"], ["region"])]
)
def test_regions_without_names(names: list[str | None] | None, header: list[str]) -> None:
    """A question that names no region is answered by a table without such a column."""
    question = Question("columns", names, [np.array([70.0, 75.0])] * 3)
    answer = Answer(question, "7", MODEL, 0.95, explain=False)
    assert list(answer.table())[: len(header) + 3] == [*header, *FEATURE_NAMES]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (dict(zip(FEATURE_NAMES, (70, 50, 40), strict=True)), {"model_version", "region", "yields"}),
        ({"regions": [dict(zip(FEATURE_NAMES, (70, 50, 40), strict=True))]}, {"model_version", "predictions"}),
        (dict(zip(FEATURE_NAMES, ([70], [50], [40]), strict=True)), {"model_version", "region", "yields"}),
    ],
)
@pytest.mark.parametrize("explain", [False, True])
def test_json_is_answered_in_its_own_shape(body: dict[str, Any], fields: set[str], explain: bool) -> None:
    """One region, several, or columns; explained, where that is asked for, by parts whose sum is the prediction."""
    content, _ = reply(json.dumps(body).encode(), replace(OPTIONS, explain=explain))
    answer = json.loads(take(content))
    assert fields == set(answer) - {"extrapolated", "warnings"}
    (row,) = answer.get("predictions", [answer])
    for crop, tons in (("mango", 115.0), ("rye", 2.5)):
        said = {name: np.ravel(value)[0] for name, value in row["yields"][crop].items() if name != "contributions"}
        assert said["tons"] == tons
        assert set(said) == {*ENDS, *(["baseline"] if explain else [])}
        if explain:
            parts = [np.ravel(part)[0] for part in row["yields"][crop]["contributions"].values()]
            assert said["baseline"] + sum(parts) == pytest.approx(tons)


@pytest.mark.parametrize(
    ("weather", "mango", "rye", "sentences"),
    [
        ((70, 50, 40), 115.0, 2.5, []),
        ((80, 50, 40), 125.0, 0.0, ["rye: -7.5 tons is below 0 and is reported as 0"]),
        ((0, 0, 0), 10.0, 72.5, ["mango: the lower bound -18.53 tons is below 0 and is reported as 0"]),
        ((-20, 0, 0), 0.0, 92.5, ["mango: -10 tons is below 0 and is reported as 0"]),
    ],
)
def test_tons_are_not_negative(weather: tuple[float, ...], mango: float, rye: float, sentences: list[str]) -> None:
    """A prediction or a lower end below zero is reported as 0 tons, and it is said so."""
    columns = [np.array([float(value)]) for value in weather]
    answer = Answer(Question("columns", None, columns), "7", MODEL, 0.95, explain=False)
    found = [
        [None if column is None else column.tolist() for column in ends.values()] for ends in answer.tons().values()
    ]
    (middle, low, high), said_of_rye = found
    assert (middle, said_of_rye) == ([mango], [[rye], None, None])
    assert low is not None
    assert high is not None
    assert (low == [0.0]) is any(sentence.startswith("mango") for sentence in sentences)
    assert [0.0] <= low <= [mango] < high
    assert [text for text in answer.warnings()[0] if "below 0" in text] == sentences


@pytest.mark.parametrize(
    ("sent", "body", "error", "message"),
    [
        (JSON, b"", MalformedInput, "the body is empty"),
        (JSON, b"{}", InvalidInput, r"temperature: is missing: mango and rye need it \(and 2 more\)"),
        (JSON, b'{"regions":[]}', InvalidInput, "regions: has 0 entries"),
        (JSON, json.dumps({"regions": [{}] * 11}).encode(), TooLarge, "11 rows in regions: the limit is 10"),
        (CSV, b"", MalformedInput, "the table is empty"),
        (CSV, b"temperature,rainfall,humidity\r\n", InvalidInput, "a header and no rows"),
        (CSV, b"temperature,rainfall,humidity\n" + b"70,50,40\n" * 11, TooLarge, "more than 10 rows"),
        (CSV, b"temperature,rainfall,humidity\n70,50,nan\n", MalformedInput, "column humidity: nan is not finite"),
        (ARROW, b"", MalformedInput, "not an Arrow stream"),
        (ARROW, _arrow({"temperature": [70.0]}), InvalidInput, "rainfall"),
        (ARROW, _arrow({name: pa.array([], pa.float64()) for name in FEATURE_NAMES}), InvalidInput, "no rows"),
        (ARROW, _arrow({name: [50.0] * 11 for name in FEATURE_NAMES}), TooLarge, "more than 10 rows"),
        (ARROW, _arrow({name: [50.0, 101.0] for name in FEATURE_NAMES}), InvalidInput, "101 is above 100 %"),
    ],
)
def test_what_cannot_be_answered(sent: str, body: bytes, error: type[OrchardError], message: str) -> None:
    """Each format says what is wrong: nothing in it, a column too few, too many rows, a number out of bounds."""
    with pytest.raises(error, match=message) as refused:
        reply(body, replace(OPTIONS, sent=sent))
    assert type(refused.value) is error


def test_arrow_that_is_worked_on_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dictionaries, many batches and many predictions are left to the helper; plain columns are answered at once."""
    options = replace(OPTIONS, sent=ARROW)
    coded = _arrow(WEATHER | {"region": pa.array(["A", "B", "A"]).dictionary_encode()})
    batches = pa.chunked_array([[50.0]] * 101)
    assert reply_here(coded, options) is None
    assert reply_here(_arrow(dict.fromkeys(FEATURE_NAMES, batches)), replace(options, max_rows=200)) is None
    for most, is_answered in ((6, True), (5, False)):
        monkeypatch.setattr(formats, "MOST_HERE", most)
        here = reply_here(BODIES[ARROW], options)
        assert (here is not None) is is_answered
        if here is not None:
            assert take(here[0]) == take(reply(BODIES[ARROW], options)[0])


@pytest.mark.parametrize("sent", [JSON, CSV])
def test_other_formats_are_answered_at_once(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Arrow's limits are."""
    monkeypatch.setattr(formats, "MOST_HERE", 0)
    options = replace(OPTIONS, sent=sent)
    here = reply_here(BODIES[sent], options)
    assert here is not None
    assert take(here[0]) == take(reply(BODIES[sent], options)[0])
