"""Names and notes over HTTP: what is refused, what comes back as it was, and what is there from before."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from tests.running import HARVEST, Running, copy_store, serving

ROW: dict[str, Any] = HARVEST["observations"][0]

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}


def test_what_is_exported_can_be_sent(writing: Running) -> None:
    """Regions that a spreadsheet would take for formulas come back under their own names; so do answers to them."""
    names = ["=A1", "-5 north", "+x", "@y", "'=A1", "''-z", "'quoted'", "plain"]
    rows = [ROW | {"region": name, "season": name} for name in names]
    sent = writing.client.post("/observations", json={"observations": rows}, headers=writing.write)
    assert sent.status_code == 201
    first = _names_of(writing, sent.json()["batch"])
    assert first == [(name, name) for name in names]
    text = writing.client.get("/observations?limit=10000", headers=writing.write | {"Accept": "text/csv"}).text
    exported = [line for line in text.splitlines() if "," in line][-len(names) :]
    assert not [line for line in exported if line.startswith(("=", "+", "-", "@"))]
    table = "\r\n".join([text.splitlines()[0], *exported])
    again = writing.client.post("/observations", content=table, headers=writing.write | {"Content-Type": "text/csv"})
    assert _names_of(writing, again.json()["batch"]) == first
    asked = "region,temperature,rainfall,humidity\n" + "".join(f"{line.split(',')[0]},73,67,43\n" for line in exported)
    answer = writing.client.post(
        "/predict", content=asked, headers={"Content-Type": "text/csv", "Accept": "application/json"}
    )
    assert [row["region"] for row in answer.json()["predictions"]] == names


def _names_of(running: Running, batch: str) -> list[tuple[str, str]]:
    page = running.client.get("/observations?limit=10000", headers=running.write).json()["observations"]
    return [(row["region"], row["season"]) for row in page if row["batch"] == batch]


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"region": "cafe\u0301"}, "observations.0.region", "is not in Unicode's composed form (NFC)"),
        ({"season": "a\x1b[2J"}, "observations.0.season", "has U+001B at place 2, a control character: leave it out"),
        ({"region": "a\u202eb"}, "observations.0.region", "has U+202E at place 2, a control character: leave it out"),
        ({"region": "a "}, "observations.0.region", "begins or ends with a space"),
        ({"yields": {"cafe\u0301": 5}}, "observations.0.yields.cafe\u0301", "is not in Unicode's composed form (NFC)"),
        ({"yields": {"\u2800": 5}}, "observations.0.yields.\u2800", "characters that a name cannot have"),
        ({"yields": {"extrapolated": 5}}, "observations.0.yields.extrapolated", "means something else"),
    ],
)
def test_names_that_deceive_are_not_stored(writing: Running, change: dict[str, Any], place: str, message: str) -> None:
    """What looks like another name, or does something to the terminal that shows it: 422 that says where and what."""
    rows = [ROW | change]
    for path in ("/observations", "/retrain"):
        answer = writing.client.post(path, json={"observations": rows}, headers=writing.write)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"{place}")
        assert message in answer.json()["detail"]


def test_notes_that_deceive_are_not_stored(writing: Running) -> None:
    """In the body and in the query; lines and tabs are no deceit."""
    batch = writing.client.get("/observations", headers=writing.write).json()["observations"][0]["batch"]
    for note in ("\x1b]0;x\x07", "\x9b", "a\u202eb"):
        body = HARVEST | {"note": note}
        asked: dict[str, Any] = {"params": {"note": note}, "headers": writing.write}
        for answer in (
            writing.client.post("/observations", json=body, headers=writing.write),
            writing.client.post("/retrain", json=body, headers=writing.write),
            writing.client.post("/models/1/activate", json={"note": note}, headers=writing.write),
            writing.client.post("/observations", json=HARVEST, **asked),
            writing.client.delete(f"/observations/batches/{batch}", **asked),
        ):
            assert answer.status_code == 422
            assert "a control character: leave it out" in answer.json()["detail"]
    note = "one\n\ttwo"
    stored = writing.client.post("/observations", json=HARVEST | {"note": note}, headers=writing.write).json()["batch"]
    listed = writing.client.get("/observations/batches", headers=writing.write).json()["batches"]
    assert next(entry["note"] for entry in listed if entry["batch"] == stored) == note


def test_names_from_before_are_still_learned(trained: Path, tmp_path: Path, tutorial: Table) -> None:
    """A store whose regions and crops have names that are refused today: learned from, served, listed, exported."""
    store = copy_store(trained, tmp_path / "store")
    crops = ("cafe\u0301", "extrapolated")
    old = replace(tutorial, regions=("re\u0301gion", *tutorial.regions[1:]), crops=crops)
    job = Job(Settings(model_store=store))
    job.run(Order(Provenance("old.csv", "test", "\x1b[31m"), old))
    job.close()
    with serving(store) as running:
        report = running.client.post("/retrain?activate=always", headers=running.write).json()
        assert (report["activated"], report["rows"]["total"]) == (True, 30)
        answer = running.client.post("/predict", json={"temperature": 75, "rainfall": 80, "humidity": 55}).json()
        assert set(answer["yields"]) == {"mango", "orange", *crops}
        text = running.client.get("/observations", headers=running.write | {"Accept": "text/csv"}).text
        assert "re\u0301gion" in text
        again = running.client.post("/observations", content=text, headers=running.write | {"Content-Type": "text/csv"})
        assert again.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        PLACE | {"region": 19001},
        {"regions": [PLACE | {"region": 19001}] * 2},
        {"regions": [PLACE | {"region": 19001}] * 1_000},
        {name: [value] * 2 for name, value in PLACE.items()} | {"region": [19001, None]},
        {name: [value] * 1_000 for name, value in PLACE.items()} | {"region": [19001] * 1_000},
    ],
    ids=["one", "several", "many", "columns", "many columns"],
)
def test_a_region_may_be_a_number(reading: Running, body: dict[str, Any]) -> None:
    """It is the text of its digits: the answer is that of the text, byte for byte, from whichever path."""
    asked = json.dumps(body)
    assert "19001" in asked
    headers = {"Content-Type": "application/json"}
    by_number, by_text = (
        reading.client.post("/predict", content=content, headers=headers)
        for content in (asked, asked.replace("19001", '"19001"'))
    )
    assert by_number.status_code == 200
    assert by_number.content == by_text.content
    assert '"19001"' in by_number.text


def test_what_is_reported_may_have_numbers_for_names(writing: Running) -> None:
    """Seasons and regions are stored as text; other things than whole numbers are refused, and say where."""
    rows = [ROW | {"region": 19001, "season": 2026}, ROW | {"region": "19001", "season": "2027"}, ROW | {"season": -1}]
    sent = writing.client.post("/observations", json={"observations": rows}, headers=writing.write)
    assert sent.status_code == 201
    assert _names_of(writing, sent.json()["batch"]) == [("19001", "2026"), ("19001", "2027"), (ROW["region"], "-1")]
    for wrong in (2026.0, 2026.5, True, [2026], 10**400):
        refused = writing.client.post(
            "/retrain", json={"observations": [ROW | {"season": wrong}]}, headers=writing.write
        )
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["loc"] == ["observations", 0, "season"]
        assert refused.json()["errors"][0]["code"] == "not_a_string"
