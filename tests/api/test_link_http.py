"""GET /predict over HTTP: one region in a link, as formulas of spreadsheets ask."""

import csv
import io
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.running import Running, copy_store, serving

PLACE = {"temperature": 73, "rainfall": 67.5, "humidity": 43}
GEOJSON = "application/geo+json"
READER = "a-token-for-reading"


def _get(running: Running, accept: str = "*/*", **query: Any) -> httpx.Response:
    return running.client.get("/predict", params=PLACE | query, headers={"Accept": accept})


def _told(answer: httpx.Response) -> list[tuple[list[str], str]]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [(fault["loc"], fault["message"]) for fault in answer.json()["errors"]]


ASKED: list[dict[str, Any]] = [
    {},
    {"region": "Köln, Süd"},
    {"level": 0.8, "explain": "true", "version": "1", "effects": "none", "exact": "true"},
    {"temperature_unit": "celsius", "temperature": 22.5, "rainfall_unit": "inch", "rainfall": 2.5},
]


def test_the_answer_is_that_of_post(reading: Running) -> None:
    """Byte for byte, with all that can be asked about one region."""
    for query in ASKED:
        around = {name: value for name, value in query.items() if name not in {*PLACE, "region"}}
        body = {name: value for name, value in (PLACE | query).items() if name in {*PLACE, "region"}}
        asked, posted = _get(reading, **query), reading.client.post("/predict", json=body, params=around)
        assert (asked.status_code, asked.headers["content-type"]) == (200, "application/json")
        assert asked.content == posted.content
        assert asked.headers["x-model-version"] == posted.headers["x-model-version"] == "1"


def test_decimal_commas_and_spaces_are_read(reading: Running) -> None:
    """As spreadsheets write numbers in many languages."""
    plain = _get(reading, temperature=73.25)
    for written in ("73,25", " 73,25 ", "+73,25", "73.25"):
        assert _get(reading, temperature=written, rainfall="67,50").content == plain.content


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ({"temperature": "1.073,5"}, "temperature", "'1.073,5' is not a number"),
        ({"temperature": "73°F"}, "temperature", "'73°F' is not a number"),
        ({"rainfall": ""}, "rainfall", "'' is not a number"),
        ({"temperature": "nan"}, "temperature", "NaN is not finite"),
        ({"rainfall": "-inf"}, "rainfall", "-Infinity, or a number too large for 64 bits, is not finite"),
        ({"temperature": 900}, "temperature", "900 is above 140 °F"),
        ({"temperature": 900, "temperature_unit": "kelvin"}, "temperature", "900 is above 333.15 K"),
        ({"temperature": 1.5, "temperature_unit": "K"}, "temperature", "1.5 is below 183.15 K"),
        ({"humidity": -1}, "humidity", "-1 is below 0 %"),
        ({"crop": "rye"}, "crop", "there is no crop 'rye': there is mango or orange"),
        ({"format": "xml"}, "format", "'xml' is not 'json', 'csv', 'geojson' or 'value'"),
        (
            {"format": "value"},
            "crop",
            "is missing: format=value answers of one crop, crop=mango or crop=orange",
        ),
        ({"region": "x" * 201}, "region", "is longer than 200 characters"),
        ({"temperature_unit": "R"}, "temperature_unit", "'R' is not 'fahrenheit', 'celsius' or 'kelvin'"),
        ({"explain": "perhaps"}, "explain", None),
        ({"level": 95}, "level", "'95' is above 0.999: did you mean 0.95?"),
        ({"temprature": 73}, "temprature", None),
    ],
)
def test_what_is_wrong_is_named(reading: Running, query: dict[str, Any], name: str, message: str | None) -> None:
    """A 422 that says which name of the query, what is wrong and what is right."""
    ((loc, told),) = _told(_get(reading, **query))
    assert loc == ["query", name]
    assert message is None or told == message


def test_what_is_missing_is_named(reading: Running) -> None:
    """A feature that the model needs; without any, how to ask."""
    answer = reading.client.get("/predict?temperature=73&rainfall=67")
    assert _told(answer) == [(["query", "humidity"], "is missing: mango and orange need it")]
    assert answer.json()["detail"] == "query.humidity: is missing: mango and orange need it"
    nothing = reading.client.get("/predict")
    assert nothing.status_code == 422
    assert "/predict?temperature=73&rainfall=67&humidity=43, or send it by POST" in nothing.json()["detail"]
    twice = reading.client.get("/predict?temperature=73&temperature=74&rainfall=67&humidity=43")
    assert _told(twice) == [(["query", "temperature"], "is given twice")]


def test_one_crop(reading: Running) -> None:
    """The others are not in the answer; what is said of the one is the same."""
    whole, one = _get(reading).json(), _get(reading, crop="orange").json()
    assert one["yields"] == {"orange": whole["yields"]["orange"]}
    (row,) = csv.DictReader(io.StringIO(_get(reading, crop="orange", format="csv").text))
    assert [name for name in row if name.endswith("_tons")] == ["orange_tons"]


def test_a_value_for_a_cell(reading: Running) -> None:
    """Plain text that a formula takes for a number, in six digits."""
    answer = _get(reading, crop="mango", format="value")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    tons = _get(reading).json()["yields"]["mango"]["tons"]
    assert answer.text == f"{tons:.6g}"
    assert answer.headers["x-model-version"] == "1"
    hot: dict[str, Any] = {"temperature": 140, "rainfall": 0, "humidity": 0}
    assert _get(reading, **hot).json()["yields"]["orange"]["tons"] == 0
    assert _get(reading, crop="orange", format="value", **hot).text == "0"


def test_formats_by_name_and_by_accept(reading: Running) -> None:
    """The name wins; by `Accept` the answer varies."""
    for form, accept, content_type in (
        ("json", "application/json", "application/json"),
        ("csv", "text/csv", "text/csv; charset=utf-8"),
        ("geojson", GEOJSON, GEOJSON),
    ):
        named = _get(reading, accept="text/html", region="A", format=form)
        negotiated = _get(reading, accept=accept, region="A")
        assert (named.status_code, named.headers["content-type"]) == (200, content_type)
        assert (negotiated.content, negotiated.headers["content-type"]) == (named.content, content_type)
        assert "Accept" in negotiated.headers["vary"].split(", ")
        assert "Accept" not in named.headers.get("vary", "").split(", ")
    refused = _get(reading, accept="text/html")
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    feature = _get(reading, format="geojson", region="A").json()
    assert (feature["type"], feature["geometry"], feature["properties"]["region"]) == ("Feature", None, "A")


def test_an_answer_is_kept_for_as_long_as_it_holds(reading: Running) -> None:
    """A tag, which is another one for another question, and 304 for who has it."""
    answer = _get(reading)
    tag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "no-cache"
    for names in (tag, f'"x", {tag}', "*"):
        same = reading.client.get("/predict", params=PLACE, headers={"If-None-Match": names})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert same.headers["x-model-version"] == "1"
    other = reading.client.get("/predict", params=PLACE | {"humidity": 44}, headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag
    assert _get(reading, format="csv").headers["etag"] != tag


def test_head(reading: Running) -> None:
    """As GET without a body."""
    head = reading.client.head("/predict", params=PLACE)
    got = _get(reading)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(got.content)), got.headers["etag"])
    assert reading.client.head("/predict").status_code == 422


def test_a_version_that_is_not_there(reading: Running) -> None:
    """It is a 404, as by POST."""
    assert _get(reading, version="77").status_code == 404
    assert _get(reading, version="77").json()["detail"] == "there is no version 77"


def test_what_regions_have_of_their_own(panel: Path, tmp_path: Path) -> None:
    """A region that the model knows is predicted as such, or by the common line; reading takes the token for that."""
    store = copy_store(panel, tmp_path / "store")
    with serving(store, ORCHARD_READ_TOKEN=READER) as running:
        refused = running.client.get("/predict", params=PLACE)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        running.client.headers["Authorization"] = f"Bearer {READER}"
        page = running.client.get("/observations?limit=1", headers=running.write).json()["observations"]
        row = page[0]
        place = {name: row[name] for name in ("region", *PLACE)}
        for query in ({}, {"effects": "none"}):
            asked = running.client.get("/predict", params=place | query)
            assert asked.status_code == 200, asked.text
            assert asked.content == running.client.post("/predict", json=place, params=query).content
        common = running.client.get("/predict", params=place | {"effects": "none"})
        assert running.client.get("/predict", params=place).content != common.content
        counted = running.client.get("/metrics", headers=running.write).text
        assert 'orchard_requests_total{method="GET",route="/predict",status="200"} 4' in counted


BROWSERS = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "text/html, application/json",
    "text/html",
]
"""What Firefox and Safari, Chromium, and others send for an address that a person has opened."""


@pytest.mark.parametrize("accept", BROWSERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_is_led_to_the_page(reading: Running, method: str, accept: str) -> None:
    """Relatively, from the path as it was asked, whatever host it was asked of; no cache gives others that answer."""
    for path, location in (("/predict", "./#/ask"), ("/predict/", "../#/ask")):
        for below in ("", "/orchard", "/farm/orchard"):
            headers = {"Accept": accept, "Host": "x"} | ({"X-Forwarded-Prefix": below} if below else {})
            led = reading.client.request(method, path, headers=headers, follow_redirects=False)
            assert (led.status_code, led.headers["location"], led.content) == (303, location, b"")
            assert (led.headers["cache-control"], led.headers["vary"]) == ("no-store", "Accept")
            assert urljoin(f"http://farm.example{below}{path}", location) == f"http://farm.example{below}/#/ask"


@pytest.mark.parametrize(
    ("accept", "query", "status"),
    [
        ("*/*", "", 422),
        ("application/json", "", 422),
        ("application/json, text/html;q=0.9", "", 422),
        ("text/csv, text/html;q=0.9", "", 422),
        (GEOJSON + ", text/html;q=0.9", "", 422),
        ("text/html;q=0.1, */*;q=0.5", "", 422),
        ("text/html;q=0", "", 406),
        ("application/xhtml+xml", "", 406),
        ("text/html" + ", x/y" * 300, "", 406),
        (BROWSERS[0], "?temperature=73&rainfall=67&humidity=43", 200),
        (BROWSERS[0], "?temperature=73", 422),
        (BROWSERS[0], "?nothing=1", 422),
        ("text/html", "?temperature=73&rainfall=67&humidity=43", 406),
    ],
)
def test_nobody_else_is(reading: Running, accept: str, query: str, status: int) -> None:
    """Who prefers what the call answers in, or asks something, is answered."""
    answer = reading.client.get(f"/predict{query}", headers={"Accept": accept}, follow_redirects=False)
    assert answer.status_code == status
    assert "location" not in answer.headers


def test_a_browser_is_led_where_reading_is_closed(trained: Path, tmp_path: Path) -> None:
    """Without a token, which a browser cannot send: the page asks for it. Whoever asks something needs it."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_READ_TOKEN=READER) as running:
        led = running.client.get("/predict", headers={"Accept": BROWSERS[0]}, follow_redirects=False)
        assert (led.status_code, led.headers["location"]) == (303, "./#/ask")
        assert running.client.get("/predict", params=PLACE, headers={"Accept": BROWSERS[0]}).status_code == 401
        assert running.client.get("/predict").status_code == 401
        counted = running.client.get("/metrics", headers=running.write).text
        assert 'orchard_requests_total{method="GET",route="/predict",status="303"} 1' in counted
