"""A model of rows without humidity over HTTP: asked in every form without it, and with it; what needs it says so."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from app.client import Orchard, ReportedSeason
from app.data.tables import Table
from tests.panels import learned, with_effects
from tests.running import Running, copy_store, serving, until

CSV, ARROW, JSON = "text/csv", "application/vnd.apache.arrow.stream", "application/json"
PLACE = {"temperature": 80.0, "rainfall": 70.0}
ROWS = 2_000
"""Enough for bodies that are read as a whole."""


def _lacking(table: Table, value: float = np.nan) -> Table:
    weather = table.weather.copy()
    weather[:, 2] = value
    return replace(table, weather=weather)


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server whose crops, of which some have effects, were learned without humidity."""
    store = tmp_path_factory.mktemp("dry") / "store"
    learned(_lacking(with_effects()), store)
    with serving(store) as running:
        yield running


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server whose rows of training all had a humidity of 74 %."""
    store = tmp_path_factory.mktemp("same") / "store"
    learned(_lacking(with_effects(), 74.0), store)
    with serving(store) as running:
        yield running


def _posted(running: Running, content: bytes, sent: str, accept: str = JSON, query: str = "") -> httpx.Response:
    headers = {"Content-Type": sent, "Accept": accept}
    return running.client.post(f"/predict{query}", content=content, headers=headers)


def _stream(columns: Mapping[str, Any]) -> bytes:
    table = pa.table(dict(columns))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _tensors(features: Mapping[str, float]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in features.items()
        ]
    }


def _tons(running: Running, features: Mapping[str, float]) -> Iterator[tuple[str, list[float]]]:
    """Yield what each form answers, mango's tons."""

    def json_of(body: object) -> Any:
        answer = _posted(running, json.dumps(body).encode(), JSON)
        assert answer.status_code == 200, answer.text
        assert "NaN" not in answer.text
        return answer.json()

    yield "one", [json_of(features)["yields"]["mango"]["tons"]]
    several = json_of({"regions": [features] * 2})["predictions"]
    yield "several", [one["yields"]["mango"]["tons"] for one in several]
    many = json_of({"regions": [features] * ROWS})["predictions"]
    yield "many", [one["yields"]["mango"]["tons"] for one in many]
    for rows in (2, ROWS):
        columns = {name: [value] * rows for name, value in features.items()}
        yield f"{rows} in columns", json_of(columns)["yields"]["mango"]["tons"]
        text = "\n".join([",".join(features), *[",".join(map(str, features.values()))] * rows])
        answer = _posted(running, text.encode(), CSV, CSV)
        found = list(csv.DictReader(io.StringIO(answer.text)))
        assert set(found[0]) >= set(features)
        assert ("humidity" in found[0]) == ("humidity" in features)
        yield f"{rows} in CSV", [float(row["mango_tons"]) for row in found]
        answer = _posted(running, _stream(columns), ARROW, ARROW)
        table = pa.ipc.open_stream(answer.content).read_all()
        assert ("humidity" in table.column_names) == ("humidity" in features)
        yield f"{rows} in Arrow", table["mango_tons"].to_pylist()
    answer = running.client.post("/v2/models/yield/infer", json=_tensors(features))
    yield "V2", next(output["data"] for output in answer.json()["outputs"] if output["name"] == "mango")


@pytest.mark.parametrize("humidity", [None, 3.0, 95.0])
def test_it_is_asked_without_it_in_every_form(dry: Running, humidity: float | None) -> None:
    """The same number, as if there were no humidity; given, it is not used, and nothing is said of it."""
    expected = _posted(dry, json.dumps(PLACE).encode(), JSON).json()["yields"]["mango"]["tons"]
    for form, tons in _tons(dry, PLACE | ({} if humidity is None else {"humidity": humidity})):
        assert tons == [expected] * len(tons), form
    one = _posted(dry, json.dumps(PLACE | {"humidity": 3.0}).encode(), JSON).json()
    assert (one["extrapolated"], one["warnings"]) == (False, [])


def test_a_question_of_one_form_is_answered_in_another(dry: Running) -> None:
    """JSON by CSV has the columns that were sent; CSV by JSON has no NaN."""
    answer = _posted(dry, json.dumps(PLACE).encode(), JSON, CSV)
    assert answer.text.startswith("temperature,rainfall,mango_tons")
    answer = _posted(dry, b"region,temperature,rainfall\nA,80,70\n", CSV)
    assert answer.json()["predictions"][0]["region"] == "A"


def test_it_is_explained_by_what_it_uses(dry: Running) -> None:
    """Baseline and contributions add up to the prediction, without humidity."""
    body = json.dumps(PLACE | {"region": "A"}).encode()
    for crop in _posted(dry, body, JSON, query="?explain=true").json()["yields"].values():
        assert set(crop["contributions"]) - {"region"} == set(PLACE)
        assert crop["baseline"] + sum(crop["contributions"].values()) == pytest.approx(crop["tons"])


@pytest.mark.parametrize("query", ["", "?effects=none", "?exact=true", "?version=1", "?level=0.8"])
def test_whatever_else_is_asked(dry: Running, query: str) -> None:
    """With any option."""
    answer = _posted(dry, json.dumps(PLACE | {"region": "A"}).encode(), JSON, query=query)
    assert answer.status_code == 200, answer.text


REFUSED: dict[str, tuple[str, bytes, list[Any], str]] = {
    "one": (JSON, json.dumps(PLACE).encode(), ["humidity"], "is missing: mango and orange need it"),
    "several": (
        JSON,
        json.dumps({"regions": [PLACE]}).encode(),
        ["regions", 0, "humidity"],
        "is missing: mango and orange need it",
    ),
    "columns": (
        JSON,
        json.dumps({name: [value] * ROWS for name, value in PLACE.items()}).encode(),
        ["humidity"],
        "is missing: mango and orange need it",
    ),
    "many": (
        JSON,
        json.dumps({"regions": [PLACE] * ROWS}).encode(),
        ["regions", 0, "humidity"],
        "is missing: mango and orange need it",
    ),
    "CSV": (
        CSV,
        b"temperature,rainfall\n80,70\n",
        ["humidity"],
        "the column 'humidity' is missing: mango and orange need it; the table has temperature, rainfall",
    ),
    "Arrow": (
        ARROW,
        _stream({name: [value] for name, value in PLACE.items()}),
        ["humidity"],
        "the column 'humidity' is missing: mango and orange need it; the table has temperature, rainfall",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_a_model_needs_is_named(reading: Running, form: str) -> None:
    """With the crops that need it."""
    sent, body, place, message = REFUSED[form]
    answer = _posted(reading, body, sent)
    assert answer.status_code == 422
    fault = answer.json()["errors"][0]
    assert (fault["loc"], fault["message"], fault["code"]) == (place, message, "missing")


def test_tensors_that_a_model_needs_are_named(reading: Running) -> None:
    """In the protocol's own way."""
    answer = reading.client.post("/v2/models/yield/infer", json=_tensors(PLACE))
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("humidity is missing: mango and orange need it")


@pytest.mark.parametrize("body", [{"rainfall": 70.0}, PLACE | {"humidity": None}, PLACE | {"humidity": 101}])
def test_other_faults_are_faults_still(dry: Running, body: dict[str, Any]) -> None:
    """What is needed is missing; null is no number; bounds hold for what is not used."""
    assert _posted(dry, json.dumps(body).encode(), JSON).status_code == 422


def test_several_regions_have_the_same_features(dry: Running) -> None:
    """A row that lacks what others have is named, also in a long body."""
    for more in (1, ROWS):
        body = {"regions": [PLACE | {"humidity": 50.0}] * more + [PLACE]}
        answer = _posted(dry, json.dumps(body).encode(), JSON)
        assert answer.status_code == 422
        told = "is missing, and other rows have it: give it in all of them, or in none"
        assert answer.json()["errors"] == [{"loc": ["regions", more, "humidity"], "message": told, "code": "missing"}]


def test_columns_of_unequal_lengths_are_named(dry: Running) -> None:
    """By those that were given."""
    answer = _posted(dry, json.dumps({"temperature": [80.0, 81.0], "rainfall": [70.0]}).encode(), JSON)
    assert answer.status_code == 422
    assert "rainfall has 1 values, temperature 2" in answer.json()["detail"]


def test_one_value_in_training_is_told(same: Running) -> None:
    """Another one is a warning and extrapolated; without it nothing is said, and the yield is the same."""
    other = _posted(same, json.dumps(PLACE | {"humidity": 60.0}).encode(), JSON).json()
    assert other["extrapolated"]
    sentence = "humidity 60 % was 74 % in all rows of training: its effect is not known"
    assert other["warnings"] == [sentence]  # of all crops, though orange has other rows
    for features in (PLACE, PLACE | {"humidity": 74.0}):
        one = _posted(same, json.dumps(features).encode(), JSON).json()
        assert (one["extrapolated"], one["warnings"]) == (False, [])
        assert one["yields"]["mango"]["tons"] == other["yields"]["mango"]["tons"]
    for features, is_outside in ((PLACE, False), (PLACE | {"humidity": 60.0}, True)):
        columns = {name: [value] * 3 for name, value in features.items()}
        answer = _posted(same, json.dumps(columns).encode(), JSON).json()
        assert answer["extrapolated"] == [is_outside] * 3


def test_no_answer_holds_what_json_has_not(dry: Running) -> None:
    """Card, drift, observations, metrics: null, or nothing, where nothing is known."""
    _posted(dry, json.dumps(PLACE).encode(), JSON)
    _posted(dry, json.dumps({name: [value] * ROWS for name, value in PLACE.items()}).encode(), JSON)
    texts = {
        path: dry.client.get(path, headers=dry.write).text
        for path in ("/models/live", "/models/live/drift", "/models", "/observations?limit=3", "/metrics")
    }
    card = json.loads(texts["/models/live"])
    assert card["features"][2] == {"name": "humidity", "unit": "%", "minimum": None, "maximum": None, "mean": None}
    assert card["crops"]["mango"]["absent_features"] == ["humidity"]
    drift = json.loads(texts["/models/live/drift"])
    assert (set(drift["features"]), drift["asked"] > ROWS) == (set(PLACE), True)
    assert json.loads(texts["/observations?limit=3"])["observations"][0]["humidity"] is None
    assert "NaN" not in "".join(texts.values())
    assert "Inf" not in "".join(texts.values()).replace('le="+Inf"', "")


@pytest.mark.long
def test_drift_goes_on_where_some_ask_without(dry: Running, reading: Running, tmp_path: Path) -> None:
    """An earlier version may be asked without what the live one needs: the others are compared."""
    del reading
    store = copy_store(dry.store, tmp_path / "store")
    with serving(store) as running:
        table = with_effects()
        columns = dict(zip(("temperature", "rainfall", "humidity"), table.weather.T, strict=True))
        lines = zip(table.regions, table.seasons, *columns.values(), table.yields[:, 2], strict=True)
        text = "region,season,temperature,rainfall,humidity,plum\n" + "\n".join(
            ",".join(map(str, line)) for line in lines
        )
        headers = running.write | {"Content-Type": CSV}
        answer = running.client.post("/retrain?activate=always", content=text, headers=headers)
        assert answer.json()["activated"], answer.text
        assert (
            _posted(running, json.dumps(PLACE).encode(), JSON).json()["errors"][0]["message"].endswith("plum needs it")
        )
        assert _posted(running, json.dumps(PLACE).encode(), JSON, query="?version=1").status_code == 200
        assert _posted(running, json.dumps(PLACE | {"humidity": 50.0}).encode(), JSON).status_code == 200
        until(lambda: running.client.get("/models/live/drift").json()["asked"] == 2)
        drift = running.client.get("/models/live/drift").json()
        assert (drift["asked"], set(drift["features"]), drift["distance"] is None) == (2, set(PLACE), False)
        rolled = running.client.post("/models/1/activate", headers=running.write, json={})
        assert rolled.status_code == 200
        assert _posted(running, json.dumps(PLACE).encode(), JSON).json()["model_version"] == "1"


def _row(region: str, **more: Any) -> dict[str, Any]:
    return {"region": region, "season": "2031", **PLACE, "yields": {"mango": 60.0}, **more}


def test_observations_without_it(trained: Path, tmp_path: Path) -> None:
    """JSON and CSV; the export of such rows alone can be sent again; rows of both kinds are named."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        client, write = running.client, running.write
        stored = client.post("/observations", json={"observations": [_row("X"), _row("Y")]}, headers=write)
        assert stored.status_code == 201, stored.text
        text = "region,season,temperature,rainfall,mango\nZ,2031,81,71,61\n"
        assert client.post("/observations", content=text, headers=write | {"Content-Type": CSV}).status_code == 201
        mixed = {"observations": [_row("V"), _row("W", humidity=50.0), _row("U")]}
        refused = client.post("/observations", json=mixed, headers=write)
        assert refused.status_code == 422
        assert [error["loc"] for error in refused.json()["errors"]] == [
            ["observations", 0, "humidity"],
            ["observations", 2, "humidity"],
        ]
        bare = {"observations": [{"region": "V", "yields": {"mango": 1.0}}]}
        refused = client.post("/observations", json=bare, headers=write)
        assert "give at least one of temperature, rainfall, humidity" in refused.json()["detail"]
        null = client.post("/observations", json={"observations": [_row("V", humidity=None)]}, headers=write)
        assert "null is not a number" in null.json()["detail"]
        page = client.get("/observations?after=1-14", headers=write).json()
        assert [row["humidity"] for row in page["observations"]] == [None] * 3
        exported = client.get("/observations?after=1-14", headers=write | {"Accept": CSV}).text
        assert exported.startswith("region,season,temperature,rainfall,mango\r\n")
        again = client.post("/observations", content=exported, headers=write | {"Content-Type": CSV})
        assert again.json()["rows"] == 3
        report = client.post("/retrain?dry_run=true", headers=write).json()
        assert "mango: humidity is missing in 6 of 21 rows and is left out" in report["left_out"]


@pytest.mark.long
def test_the_client_leaves_it_out_too(dry: Running) -> None:
    """One, several, columns; rows that are reported hold no NaN."""
    address = str(dry.client.base_url)
    with Orchard(address, dry.write["Authorization"].removeprefix("Bearer ")) as orchard:
        one = orchard.predict(temperature=80, rainfall=70)
        assert orchard.predict_many([PLACE]).predictions[0].yields == one.yields
        assert orchard.predict_columns(temperature=[80], rainfall=[70]).yields["mango"].tons == [
            one.yields["mango"].tons
        ]
        row = ReportedSeason(region="A", temperature=80.0, rainfall=70.0, yields={"mango": one.yields["mango"].tons})
        report = orchard.retrain([row], dry_run=True)
        assert report.rows.received == 1
        assert next(iter(orchard.observations())).humidity is None
