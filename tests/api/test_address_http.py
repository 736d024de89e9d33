"""What a request is addressed to: names in the query, slashes at the end of the path, and HEAD."""

from typing import Any

import pytest

from tests.running import HARVEST, Running

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
FILLED = {"version": "1", "model": "yield", "batch": "none"}
OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
UNITS = "'temperature_unit', 'rainfall_unit'"
PREDICT = (
    "'level', 'explain', 'version', 'effects', 'exact', 'warnings', 'count', 'season_start', 'season_end', 'region', "
    + UNITS
)
RETRAIN = f"'activate', 'dry_run', 'note', 'source', 'crops', {UNITS}"
GET = (*OPEN, "/metrics", "/models", "/models/live", "/docs", "/docs/start.js", "/openapi.json", "/v2")


def _problem(running: Running, method: str, path: str, **more: Any) -> Any:
    answer = running.client.request(method, path, headers=running.write, **more)
    assert answer.status_code == 422, (path, answer.text)
    return answer.json()


def test_no_call_passes_over_what_it_does_not_know(reading: Running) -> None:
    """Each operation of the document refuses an unknown name and one given twice, as documented; health takes any."""
    checked = 0
    for path, operations in reading.client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            known = [entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "query"]
            for query in ("nothing=1", *(f"{name}=1&{name}=1" for name in known)):
                url = f"{path.format(**FILLED)}?{query}"
                answer = reading.client.request(method, url, headers=reading.write)
                refused = 400 if path.startswith("/v2") else 422
                assert answer.status_code == (200 if path in OPEN else refused), (url, answer.text)
                assert str(answer.status_code) in operation["responses"], url
                checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    ("path", "name", "meant"),
    [
        (
            "/predict?crop=mango",
            "crop",
            f"is unknown here: this call knows {PREDICT}",
        ),
        (
            "/predict?levels=0.5",
            "levels",
            f"is unknown here: did you mean 'level'? This call knows {PREDICT}",
        ),
        (
            "/retrain?dry-run=true",
            "dry-run",
            f"is unknown here: did you mean 'dry_run'? This call knows {RETRAIN}",
        ),
        (
            "/observations?notes=x",
            "notes",
            f"is unknown here: did you mean 'note'? This call knows 'note', 'source', 'crops', {UNITS}",
        ),
        ("/models/1/activate?note=x", "note", "is unknown here: this call takes no query"),
        ("/predict?level=0.8&level=0.8", "level", "is given twice"),
        ("/retrain?dry_run=true&dry_run=false", "dry_run", "is given twice"),
    ],
)
def test_the_nearest_known_name_is_told(reading: Running, path: str, name: str, meant: str) -> None:
    """With all those that the call knows; nothing is predicted, stored or made live."""
    before = reading.version()
    problem = _problem(reading, "POST", path, json=PLACE if path.startswith("/predict") else HARVEST)
    assert problem["errors"] == [
        {"loc": ["query", name], "message": meant, "code": "twice" if "twice" in meant else "unknown"}
    ]
    assert problem["detail"] == f"query.{name}: {meant}"
    assert reading.version() == before


def test_many_unknown_names_are_counted(reading: Running) -> None:
    """Of hundreds, long ones too, a hundred are listed."""
    query = "&".join(f"{'x' * 20}{number}" for number in range(300))
    problem = _problem(reading, "GET", f"/models?{query}")
    assert len(problem["errors"]) == 100
    assert problem["detail"].endswith("(and 299 more)")
    (fault,) = _problem(reading, "GET", f"/models?{'limit' * 1_000}=1")["errors"]
    assert len(fault["loc"][1]) == 100


@pytest.mark.parametrize("path", ["/models/", "/health/live/", "/metrics/", "/v2/", "/v2/models/yield/", "/models/1/"])
def test_a_slash_at_the_end_changes_nothing(reading: Running, path: str) -> None:
    """It is answered as without; nothing leads to the host that the Host header names."""
    plain = reading.client.get(path.rstrip("/"))
    slashed = reading.client.get(path, headers={"Host": "x"}, follow_redirects=False)
    assert (slashed.status_code, slashed.headers["content-type"]) == (200, plain.headers["content-type"])
    assert path == "/metrics/" or slashed.content == plain.content


def test_predicting_with_a_slash_at_the_end(reading: Running) -> None:
    """The same answer, and no redirect; one slash, not several."""
    plain, slashed = (reading.client.post(path, json=PLACE) for path in ("/predict", "/predict/"))
    assert slashed.json() == plain.json()
    assert reading.client.post("/predict//", json=PLACE).status_code == 404
    assert reading.client.get("/nothing/", follow_redirects=False).status_code == 404


def test_the_page_with_a_slash_leads_to_the_one_without(reading: Running) -> None:
    """By a path alone, since its links begin where its path ends."""
    answer = reading.client.get("/docs/", headers={"Host": "x"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "../docs")
    assert reading.client.get("/docs/", follow_redirects=True).url.path == "/docs"


@pytest.mark.parametrize("path", GET)
def test_head_is_answered_wherever_get_is(reading: Running, path: str) -> None:
    """With the same status and type, no body, and the length that it would have."""
    got, head = reading.client.get(path), reading.client.head(path)
    assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])
    assert head.content == b""
    assert int(head.headers["content-length"]) > 0
    counted = reading.client.get("/metrics").text
    assert path == "/openapi.json" or f'orchard_requests_total{{method="HEAD",route="{path}",status="200"}}' in counted


def test_head_is_refused_wherever_get_is(reading: Running) -> None:
    """And where it is answered, Allow names it."""
    head = reading.client.head("/retrain")
    assert (head.status_code, head.headers["allow"]) == (405, "POST, OPTIONS")
    assert reading.client.put("/observations").headers["allow"] == "POST, GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/predict", "/observations", "/models/1/activate", "/v2/models/yield/infer", *GET])
def test_options_says_what_a_path_takes(reading: Running, path: str) -> None:
    """204 with Allow, the same as with a 405, though pages of other origins may not call."""
    asked = reading.client.options(path, headers={"Origin": "https://elsewhere.example"})
    refused = reading.client.put(path)
    assert (asked.status_code, asked.content, refused.status_code) == (204, b"", 405)
    assert asked.headers["allow"] == refused.headers["allow"]
    assert "access-control-allow-origin" not in asked.headers
    allowed = asked.headers["allow"].split(", ")
    assert ("GET" in allowed) == ("HEAD" in allowed) == (path in (*GET, "/observations", "/predict"))
    assert ("POST" in allowed) == (path not in GET)
    assert refused.json().get("detail", refused.json().get("error")).endswith(f"takes {' and '.join(allowed[:-1])}")


def test_options_of_no_path(reading: Running) -> None:
    """It is no path for OPTIONS either."""
    assert reading.client.options("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "title", "detail"),
    [
        (
            "GET",
            "/nothing",
            "Not found",
            (
                "GET /nothing: there is no such path; Orchard's page is at /, its documentation at /docs, its state at "
                "/health/ready, predictions at POST /predict"
            ),
        ),
        ("GET", "/models/77", "Not found", "there is no version 77"),
        ("PUT", "/observations", "Method not allowed", "PUT /observations: this path takes POST and GET and HEAD"),
    ],
)
def test_what_is_not_there(reading: Running, method: str, path: str, title: str, detail: str) -> None:
    """It is said in words, by whom one asks at all, and what there is instead."""
    problem = reading.client.request(method, path).json()
    assert (problem["title"], problem["detail"]) == (title, detail)
