"""Maps and weather services over HTTP: GeoJSON asked and answered, harvests of features, days as they come."""

import json
from typing import Any

import httpx
import pytest

from app.api.openapi.examples import FIELDS, HARVESTED_FIELDS, OPEN_METEO, POWER
from tests.running import Running

GEOJSON = "application/geo+json"
ONE = {"temperature": 73, "rainfall": 67, "humidity": 43}


def _post(running: Running, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return running.client.post(path, content=content, headers=running.write | {"Content-Type": GEOJSON} | headers)


def _faults(answer: httpx.Response) -> list[tuple[list[Any], str]]:
    assert answer.status_code == 422
    return [(fault["loc"], fault["message"]) for fault in answer.json()["errors"]]


def test_a_map_is_answered_as_a_map(reading: Running) -> None:
    """The same predictions as of JSON, beside the geometry that was sent; asked again, the answer is the same."""
    answer = _post(reading, "/predict", FIELDS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, GEOJSON)
    assert answer.headers["x-model-version"] == "1"
    found = answer.json()
    places = [feature["properties"] | {"region": None} for feature in FIELDS["features"]]
    plain = reading.client.post("/predict", json={"regions": places}).json()["predictions"]
    for feature, row, sent in zip(found["features"], plain, FIELDS["features"], strict=True):
        properties = feature["properties"]
        assert properties["mango_tons"] == row["yields"]["mango"]["tons"]
        assert (properties["orange_low"], properties["warnings"]) == (row["yields"]["orange"]["low"], row["warnings"])
        assert feature["geometry"] == sent["geometry"]
    assert found["model_version"] == "1"
    assert _post(reading, "/predict", answer.content).content == answer.content


def test_a_large_map(reading: Running) -> None:
    """The helper process does the same with megabytes, of which most are outlines."""
    ring = [[5.67 + step / 1_000, 51.98] for step in range(1_000)]
    outline = {"type": "MultiPolygon", "coordinates": [[ring] * 3]}
    feature = {"type": "Feature", "geometry": outline, "properties": ONE | {"mango_tons": None}}
    answer = _post(reading, "/predict", {"type": "FeatureCollection", "features": [feature] * 40})
    assert answer.status_code == 200
    found = answer.json()
    assert len(found["features"]) == 40
    expected = reading.client.post("/predict", json=ONE).json()["yields"]["mango"]["tons"]
    for row in found["features"]:
        assert (row["geometry"], row["properties"]["mango_tons"]) == (outline, expected)


def test_what_is_geojson_says_so(reading: Running) -> None:
    """As plain JSON it is refused, everywhere, with the header that it needs."""
    told = "'FeatureCollection' is GeoJSON: send it with the header Content-Type: application/geo+json"
    for path in ("/predict", "/observations", "/retrain?dry_run=true"):
        answer = _post(reading, path, HARVESTED_FIELDS, **{"Content-Type": "application/json"})
        assert _faults(answer) == [(["type"], told)]


@pytest.mark.parametrize("accept", ["application/json", "text/csv", GEOJSON, "application/vnd.apache.arrow.stream"])
def test_any_question_is_answered_as_is_asked_for(reading: Running, accept: str) -> None:
    """A map, a table, a region, days: each in each format."""
    bodies = {GEOJSON: FIELDS, "text/csv": b"temperature,rainfall,humidity\n73,67,43\n"}
    for kind, body in [*bodies.items(), *(("application/json", body) for body in (ONE, OPEN_METEO, POWER))]:
        answer = _post(reading, "/predict", body, Accept=accept, **{"Content-Type": kind})
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == accept


def test_harvests_of_a_map(writing: Running) -> None:
    """Regions, seasons and yields of features are stored as those of rows; geometry is not."""
    answer = _post(writing, "/observations?note=by+map", HARVESTED_FIELDS)
    assert (answer.status_code, answer.json()["rows"]) == (201, 1)
    stored = writing.client.get("/observations?limit=10000", headers=writing.write).json()["observations"][-1]
    sent = HARVESTED_FIELDS["features"][0]["properties"]
    assert {name: stored[name] for name in sent} == sent
    assert stored["batch"] == answer.json()["batch"]
    feature = {"type": "Feature", "id": 17, "properties": ONE | {"yields": {"mango": 57.0}, "area": [1]}}
    report = _post(writing, "/retrain?dry_run=true", feature)
    assert (report.status_code, report.json()["rows"]["received"]) == (200, 1)
    assert _post(writing, "/observations", feature).status_code == 201
    last = writing.client.get("/observations?limit=10000", headers=writing.write).json()["observations"][-1]
    assert (last["region"], last["season"], last["yields"]) == ("17", None, {"mango": 57.0})


@pytest.mark.parametrize(
    ("changed", "loc", "message"),
    [
        ({"yields": {"mango": -1}}, ["yields", "mango"], "-1 is below 0 tons"),
        ({"yields": 5}, ["yields"], "is not an object"),
        ({"yields": {"region": 5}}, ["yields", "region", "[key]"], "the crop name 'region' means something else"),
        ({"season": 2026.5}, ["season"], "2026.5 is not a string"),
        ({"season": "e\u0301"}, ["season"], "'e\\u0301' is not in Unicode's composed form"),
        ({"name": "e\u0301"}, ["name"], "'e\\u0301' is not in Unicode's composed form"),
        ({"name": "a\u0007"}, ["name"], "has U+0007 at place 2, a control character: leave it out"),
        ({"region": " A"}, ["region"], "' A' begins or ends with a space: leave it out"),
    ],
)
def test_faults_of_a_harvest(writing: Running, changed: dict[str, Any], loc: list[str], message: str) -> None:
    """They are found where they were sent, and nothing is stored."""
    good = {"type": "Feature", "properties": ONE | {"yields": {"mango": 57.0}}}
    bad = {"type": "Feature", "properties": ONE | {"yields": {"mango": 57.0}} | changed}
    answer = _post(writing, "/observations", {"type": "FeatureCollection", "features": [good, bad]})
    ((place, told),) = _faults(answer)
    assert place == ["features", 1, "properties", *loc]
    assert told.startswith(message)


def test_days_of_weather(reading: Running) -> None:
    """Open-Meteo's and POWER's answers are one region each, of the season that the query names."""
    for body in (OPEN_METEO, POWER):
        answer = reading.client.post("/predict", json=body)
        assert answer.status_code == 200
        temperature = (21.4 + 23.0 + 24.2) / 3 * 1.8 + 32
        humidity = (48 + 61 + 50) / 3 if body is OPEN_METEO else (48.2 + 61.0 + 50.1) / 3
        plain = {"temperature": temperature, "rainfall": 67.2, "humidity": humidity}
        expected = reading.client.post("/predict", json=plain).json()["yields"]["mango"]["tons"]
        assert answer.json()["yields"]["mango"]["tons"] == pytest.approx(expected)
        season = {"season_start": "2026-04-01", "season_end": "2026-04-02", "region": "Dahlem"}
        shorter = reading.client.post("/predict", json=body, params=season).json()
        assert shorter["region"] == "Dahlem"
        assert shorter["yields"] != answer.json()["yields"]
    several = reading.client.post("/predict", json=[OPEN_METEO, OPEN_METEO]).json()
    assert [row["region"] for row in several["predictions"]] == ["52.52,13.42"] * 2


def test_missing_days_are_told_first(reading: Running) -> None:
    """Before what is said of the weather itself."""
    daily = {
        "time": [f"2026-04-{day:02}" for day in range(1, 11)],
        "temperature_2m_mean": [50.0] * 10,
        "precipitation_sum": [None, *[7.0] * 9],
        "relative_humidity_2m_mean": [50] * 10,
    }
    told = reading.client.post("/predict", json=OPEN_METEO | {"daily": daily}).json()["warnings"]
    assert told[0] == "rainfall: 9 of 10 days; the sum is too low by the missing ones"
    assert told[1].startswith("temperature 122 °F is outside the training range")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("season_start=2026-4-1", "'2026-4-1' is not a day like 2026-04-30"),
        ("season_start=2026-02-30", "2026-02-30 is not a day of the calendar"),
        ("season_start=1774994400", "'1774994400' is not a day like 2026-04-30"),
        ("season_start=2026-04-03&season_end=2026-04-02", "2026-04-03 is after season_end, 2026-04-02"),
        ("season_end=2026-03-31", "the body has no day to 2026-03-31: its days are 2026-04-01 to 2026-04-03"),
        ("region=" + "x" * 201, "is longer than 200 characters"),
    ],
)
def test_queries_that_name_no_season(reading: Running, query: str, told: str) -> None:
    """The parameter is named, and what is wrong with it."""
    answer = reading.client.post(f"/predict?{query}", json=OPEN_METEO)
    assert _faults(answer) == [(["query", query.partition("=")[0]], told)]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", ONE),
        ("application/json", {"regions": [ONE] * 400}),
        ("text/csv", b"temperature,rainfall,humidity\n73,67,43\n"),
        (GEOJSON, FIELDS),
        ("application/vnd.apache.arrow.stream", b""),
    ],
)
def test_a_season_goes_with_days(reading: Running, kind: str, body: Any) -> None:
    """With any other body it is refused, not passed over."""
    query = "season_start=2026-04-01&season_end=2026-10-31&region=A"
    answer = _post(reading, f"/predict?{query}", body, **{"Content-Type": kind})
    message = "goes with the days of a body of Open-Meteo or NASA POWER, which this is not: leave it out"
    assert _faults(answer) == [(["query", name], message) for name in ("season_start", "season_end", "region")]


def test_a_service_that_has_failed(reading: Running) -> None:
    """What it says is passed on, not taken for a region without weather."""
    reason = "Parameter 'start_date' is out of allowed range from 1940-01-01 to 2026-11-30"
    answer = reading.client.post("/predict", json={"error": True, "reason": reason})
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"Open-Meteo has answered with an error: {reason}"
