"""POST /retrain over HTTP: what is stored, published, made live and answered, and what is left alone."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.running import HARVEST, Running, copy_store, serving

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}


def _retrain(running: Running, body: Any, **headers: str) -> Any:
    return running.client.post("/retrain", json=body, headers=running.write | headers)


def _state(running: Running) -> tuple[Any, ...]:
    """Return all that a failing retrain must leave alone."""
    versions = running.client.get("/models", params={"limit": 1000}).json()["versions"]
    rows = running.client.get("/observations", headers=running.write, params={"limit": 10_000}).json()["observations"]
    log = running.client.get("/models/log", params={"limit": 1000}).json()["log"]
    return [entry["version"] for entry in versions], rows, log, running.version()


def test_the_next_request_is_answered_by_the_new_version(writing: Running) -> None:
    """New observations give a new version, live for the very next request."""
    before = writing.version()
    report = _retrain(writing, HARVEST | {"note": "harvest"}).json()
    assert (report["decision"], report["activated"], report["rows"]["received"]) == ("accepted", True, 3)
    assert int(report["version"]) == int(before) + 1
    answer = writing.client.post("/predict", json=PLACE)
    assert answer.json()["model_version"] == report["version"] == answer.headers["x-model-version"]
    line = writing.client.get("/models/log").json()["log"][0]
    assert (line["version"], line["why"]) == (report["version"], "harvest")


def test_without_observations_it_retrains_on_what_is_stored(writing: Running) -> None:
    """An empty POST retrains on the stored rows; a second one finds that nothing has changed, unless it insists."""
    rows = sum(not row["withdrawn"] for row in _state(writing)[1])
    report = writing.client.post("/retrain?activate=always", headers=writing.write).json()
    assert report["rows"] == {"received": 0, "total": rows}
    assert report["version"] == writing.version()
    before = _state(writing)
    again = writing.client.post("/retrain", headers=writing.write)
    assert again.status_code == 200
    same = {name: again.json()[name] for name in ("version", "batch", "decision", "activated", "rows", "reasons")}
    assert same == {
        "version": report["version"],
        "batch": None,
        "decision": "accepted",
        "activated": False,
        "rows": report["rows"],
        "reasons": [f"nothing has changed since version {report['version']}: no batch was added or withdrawn"],
    }
    assert _state(writing) == before


def test_csv_with_options_in_the_query(writing: Running) -> None:
    """CSV takes activate and note from the query; an empty cell is a crop not reported."""
    before = writing.version()
    text = "region,season,temperature,rainfall,humidity,mango,orange\nN,2026,74,66,43,57.2,\nO,2026,88,134,59,,132.5\n"
    headers = writing.write | {"Content-Type": "text/csv"}
    answer = writing.client.post("/retrain?activate=never&note=csv", content=text, headers=headers)
    report = answer.json()
    assert (report["decision"], report["activated"], report["rows"]["received"]) == ("accepted", False, 2)
    assert writing.version() == before
    assert writing.client.get(f"/models/{report['version']}").json()["note"] == "csv"


TABLE = "region,season,temperature,rainfall,humidity,mango\nN,2026,74,66,43,57.2\n"
ROWS = {"observations": [{"region": "N", "temperature": 74, "rainfall": 66, "humidity": 43, "yields": {"mango": 57}}]}
LARGE_ROWS = {"observations": ROWS["observations"] * 300}
BODIES: dict[str, Any] = {
    "JSON": {"json": ROWS},
    "much JSON": {"json": LARGE_ROWS},
    "CSV": {"content": TABLE, "headers": {"Content-Type": "text/csv"}},
    "much CSV": {"content": TABLE + TABLE.partition("\n")[2] * 900, "headers": {"Content-Type": "text/csv"}},
    "nothing": {},
    "an empty body called JSON": {"content": b"", "headers": {"Content-Type": "application/json"}},
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_query_counts_whatever_the_body(writing: Running, kind: str) -> None:
    """A dry run in the query is dry, a version never to be made live is not, and the note is kept."""
    body = BODIES[kind]
    headers = writing.write | body.get("headers", {})
    before = _state(writing)
    dry = writing.client.post("/retrain?dry_run=true", **body | {"headers": headers})
    assert (dry.status_code, dry.json()["dry_run"], dry.json()["version"]) == (200, True, None)
    assert _state(writing) == before
    report = writing.client.post("/retrain?activate=never&note=by+query", **body | {"headers": headers}).json()
    assert (report["activated"], report["dry_run"]) == (False, False)
    assert writing.version() == before[-1]
    assert writing.client.get(f"/models/{report['version']}").json()["note"] == "by query"


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("dry_run=true", {"dry_run": False}, "query.dry_run: the query says true, the body false: give one, or"),
        ("activate=never", {"activate": "always"}, 'query.activate: the query says "never", the body "always": give'),
        ("note=a", {"note": "b"}, 'query.note: the query says "a", the body "b": give one, or the same in both'),
        ("note=a&activate=never", {"note": "b", "activate": "always"}, "give one, or the same in both (and 1 more)"),
    ],
)
def test_query_and_body_may_not_contradict(writing: Running, query: str, body: Any, message: str) -> None:
    """422 that names both, whatever the size, also for a stream; nothing is stored, published or made live."""
    before = _state(writing)
    for rows in ({}, ROWS, LARGE_ROWS):
        for accepted in ("application/json", "text/event-stream"):
            headers = writing.write | {"Accept": accepted}
            answer = writing.client.post(f"/retrain?{query}", json=rows | body, headers=headers)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "contradiction")
            assert message in answer.json()["detail"]
    assert _state(writing) == before


def test_query_and_body_may_agree(writing: Running) -> None:
    """Saying the same twice, or different things of different options, is no contradiction."""
    before = _state(writing)
    for query, body in (("dry_run=1", {"dry_run": True}), ("dry_run=true", {"activate": "always", "note": "x"})):
        answer = writing.client.post(f"/retrain?{query}", json=ROWS | body, headers=writing.write)
        assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert _state(writing) == before


@pytest.mark.parametrize("rows", [ROWS, LARGE_ROWS], ids=["few", "many"])
def test_a_batch_takes_its_note_from_either(writing: Running, rows: Any) -> None:
    """From the query, from the body, from both if they agree; 422 if they do not, and nothing is stored."""

    def note(query: str, body: dict[str, str]) -> Any:
        answer = writing.client.post(f"/observations{query}", json=rows | body, headers=writing.write)
        if answer.status_code != 201:
            return answer.status_code
        entries = writing.client.get("/observations/batches", headers=writing.write).json()["batches"]
        assert entries[0]["batch"] == answer.json()["batch"]
        return entries[0]["note"]

    assert note("?note=q", {}) == note("", {"note": "q"}) == note("?note=q", {"note": "q"}) == "q"
    assert note("", {}) == ""
    before = _state(writing)
    assert note("?note=q", {"note": "b"}) == 422
    assert _state(writing) == before


@pytest.mark.parametrize("rows", [{"json": ROWS}, {"content": TABLE, "headers": {"Content-Type": "text/csv"}}])
def test_rows_tell_the_file_that_they_come_from(writing: Running, rows: Any) -> None:
    """The query's source is kept with the call's name, for a batch and for a version, under the same key again too."""
    headers = writing.write | rows.get("headers", {})
    sent = {**rows, "headers": headers | {"Idempotency-Key": "source-" + next(iter(rows))}}
    query = {"activate": "never", "source": "Ernte Köln.csv"}
    report = writing.client.post("/retrain", params=query, **sent)
    assert writing.client.post("/retrain", params=query, **sent).json() == report.json()
    card = writing.client.get(f"/models/{report.json()['version']}").json()
    assert card["source"] == "Ernte Köln.csv (POST /retrain)"
    for given, source in (({"source": "a.csv"}, "a.csv (POST /observations)"), ({}, "POST /observations")):
        batch = writing.client.post("/observations", params=given, **rows | {"headers": headers}).json()["batch"]
        newest = writing.client.get("/observations/batches?limit=1", headers=headers).json()["batches"][0]
        assert (newest["batch"], newest["source"]) == (batch, source)


@pytest.mark.parametrize("source", ["a\nb", "a\tb", "a\u202eb", "x" * 201])
@pytest.mark.parametrize("path", ["/retrain", "/observations"])
def test_a_source_is_one_line(writing: Running, path: str, source: str) -> None:
    """No control character, and not too long; else nothing is stored."""
    before = _state(writing)
    answer = writing.client.post(path, params={"source": source}, json=ROWS, headers=writing.write)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "source"])
    assert _state(writing) == before


def test_a_dry_run_changes_nothing(writing: Running) -> None:
    """A dry run answers with the changes that it does not make."""
    before = _state(writing)
    report = _retrain(writing, HARVEST | {"dry_run": True}).json()
    assert (report["version"], report["activated"], report["dry_run"]) == (None, False, True)
    assert set(report["changes"]["coefficients"]) == {"mango", "orange"}
    assert _state(writing) == before


def test_a_poisoned_batch_is_rejected_with_reasons(writing: Running) -> None:
    """A yield in kilograms: 200, rejected, the reason names mango, the live version stays."""
    before = writing.version()
    rows = [row | {"season": "a poisoned one"} for row in json.loads(json.dumps(HARVEST["observations"]))]
    rows[1]["yields"]["mango"] = 81_000
    report = _retrain(writing, {"observations": rows}).json()
    assert (report["decision"], report["activated"]) == ("rejected", False)
    assert report["reasons"][0].startswith("mango: row 2 (L): 81,000 tons, where the current model says ")
    assert "looks like kilograms; correct them and send them again" in report["reasons"][0]
    assert report["reasons"][1].startswith("mango: on ")
    assert "the current model is off by" in report["reasons"][1]
    assert "that are allowed" in report["reasons"][1]
    assert any(reason.startswith("mango: on ") and "that are allowed" in reason for reason in report["reasons"])
    assert report["suspicious"][0]["row"] == 1
    assert writing.version() == before


def test_a_repeated_call_is_answered_once(writing: Running) -> None:
    """Under one idempotency key the rows are stored once, and the answer is the first one's; another body is 409."""
    first = _retrain(writing, HARVEST, **{"Idempotency-Key": "a"})
    before = _state(writing)
    second = _retrain(writing, HARVEST, **{"Idempotency-Key": "a"})
    assert second.json() == first.json()
    assert _state(writing) == before
    other = _retrain(writing, {}, **{"Idempotency-Key": "a"})
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")


def _events(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_progress_is_streamed(writing: Running) -> None:
    """As an event stream: progress with stage, epoch and loss, then the report as the result."""
    answer = _retrain(writing, {}, Accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _events(answer.text)
    assert {name for name, _ in events[:-1]} == {"progress"}
    assert {"stage", "epoch", "epochs", "loss"} == set(events[0][1])
    assert "fitting" in [data["stage"] for _, data in events[:-1]]
    assert events[-1][0] == "result"
    assert events[-1][1]["version"] == writing.version()


def test_an_error_in_the_stream_is_a_problem(trained: Path, tmp_path: Path) -> None:
    """A retrain that fails ends its stream with the problem."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        batch = running.client.get("/observations", headers=running.write).json()["observations"][0]["batch"]
        running.client.delete(f"/observations/batches/{batch}", headers=running.write)
        before = _state(running)
        name, problem = _events(_retrain(running, {}, Accept="text/event-stream").text)[-1]
        assert (name, problem["status"], problem["code"]) == ("error", 422, "too_few_rows")
        answer = _retrain(running, {})
        assert (answer.status_code, answer.json()["code"]) == (422, "too_few_rows")
        assert _state(running) == before


def _season(**changes: Any) -> dict[str, Any]:
    return {"observations": [PLACE | {"yields": {"mango": 1}} | changes]}


@pytest.mark.parametrize(
    ("body", "loc", "message"),
    [
        ({"observations": []}, "observations", "has 0 entries"),
        (_season(yields={}), "observations.0.yields", "at least 1"),
        (_season(yields={"mango": -1}), "observations.0.yields.mango", "-1 is below 0 tons"),
        (_season(yields={"mango": "x"}), "observations.0.yields.mango", '"x" is not a number'),
        (_season(yields={"a_low": 1}), "observations.0.yields.a_low.[key]", "means something else"),
        (_season(rainfall=30_001), "observations.0.rainfall", "30001 is above 30000 mm"),
        ({"activate": "maybe"}, "activate", ""),
        ({"dry_run": 1}, "dry_run", ""),
        ({"epochs": 5}, "epochs", "is unknown here"),
    ],
)
def test_bad_observations_change_nothing(writing: Running, body: Any, loc: str, message: str) -> None:
    """Each fault names its row, field, value and bound, and nothing is stored or published."""
    before = _state(writing)
    answer = _retrain(writing, body)
    assert answer.status_code == 422
    fault = answer.json()["errors"][0]
    assert ".".join(map(str, fault["loc"])) == loc
    assert message in fault["message"]
    assert _state(writing) == before


def test_an_infinite_yield_is_malformed(writing: Running) -> None:
    """Infinity in a number is 400."""
    content = json.dumps({"observations": [{**PLACE, "yields": {"mango": float("inf")}}]})
    headers = writing.write | {"Content-Type": "application/json"}
    assert writing.client.post("/retrain", content=content, headers=headers).status_code == 400


def test_writing_needs_the_token(writing: Running) -> None:
    """Without a token or with a wrong one every write is 401 and asks for a bearer token."""
    calls = [
        ("POST", "/retrain"),
        ("POST", "/observations"),
        ("POST", "/models/1/activate"),
        ("DELETE", "/observations/batches/x"),
    ]
    for method, path in calls:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
            answer = writing.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_two_at_once_give_one_conflict(trained: Path, tmp_path: Path) -> None:
    """While a retrain runs, another is answered 409 with Retry-After, and the first one succeeds."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        answers: list[Any] = []
        ready = threading.Barrier(4)

        def retrain() -> None:
            ready.wait()
            answers.append(_retrain(running, HARVEST))

        threads = [threading.Thread(target=retrain) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = sorted(answer.status_code for answer in answers)
        assert codes[0] == 200
        assert codes[-1] == 409
        conflict = next(answer for answer in answers if answer.status_code == 409)
        assert (conflict.json()["code"], conflict.headers["retry-after"]) == ("retrain_running", "1")


@pytest.mark.long
@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_ten_retrains_under_load(trained: Path, tmp_path: Path, workers: str) -> None:
    """While predictions are asked all the time, ten retrains fail none, and each answer is one version's."""
    with serving(copy_store(trained, tmp_path / "store"), "--workers", workers) as running:
        answers: list[dict[str, Any]] = []
        failures: list[Any] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                answer = running.client.post("/predict", json=PLACE)
                (answers if answer.status_code == 200 else failures).append(answer.json())

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        reports = [_retrain(running, HARVEST | {"activate": "always"}) for _ in range(10)]
        done.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [(report.status_code, report.json()["activated"]) for report in reports] == [(200, True)] * 10
        by_version: dict[str, set[str]] = {}
        for answer in answers:
            by_version.setdefault(answer["model_version"], set()).add(json.dumps(answer["yields"]))
        assert len(by_version) > 2
        for version, yields in by_version.items():
            expected = running.client.post(f"/predict?version={version}", json=PLACE).json()["yields"]
            assert yields == {json.dumps(expected)}


def test_torch_stays_out_of_the_serving_process(writing: Running) -> None:
    """After predictions and a retrain, no torch library is mapped into the process that serves."""
    writing.client.post("/predict", json=PLACE)
    assert _retrain(writing, {}).status_code == 200
    maps = Path(f"/proc/{writing.process.pid}/maps").read_text()
    assert "python" in maps
    assert "torch" not in maps


def test_limits_are_named(trained: Path, tmp_path: Path) -> None:
    """More bytes, by Content-Length or in chunks, or more rows than the limit: 413, and the limit is named."""
    limits = {"ORCHARD_MAX_BODY_BYTES": "2000", "ORCHARD_MAX_ROWS": "2"}
    with serving(copy_store(trained, tmp_path / "store"), **limits) as running:
        json_type = {"Content-Type": "application/json"}
        for path in ("/predict", "/retrain", "/observations"):
            headers = running.write | json_type
            answer = running.client.post(path, content=b" " * 2001, headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (413, "the body has 2001 bytes, the limit is 2000")
            answer = running.client.post(path, content=iter([b" " * 1500, b" " * 501]), headers=headers)
            assert answer.json()["detail"] == "the body has more than 2000 bytes, which is the limit"
        answer = running.client.post("/predict", json={"regions": [PLACE] * 3})
        assert (answer.status_code, answer.json()["detail"]) == (413, "3 rows in regions: the limit is 2")
        answer = _retrain(running, HARVEST)
        assert answer.json()["detail"] == "3 rows in observations: the limit is 2"
        text = "temperature,rainfall,humidity\n" + "75,80,55\n" * 3
        answer = running.client.post("/predict", content=text, headers={"Content-Type": "text/csv"})
        assert (answer.status_code, answer.json()["detail"]) == (413, "more than 2 rows, which is the limit")
