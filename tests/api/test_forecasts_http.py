"""/forecasts over HTTP: in every format, once a key, listed, erased; and the outcomes that observations name."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.data.forecasts import ForecastBatch, Foretold
from app.data.observations import Observations
from app.data.provenance import Provenance
from app.settings import Settings
from app.wire.media_types import ARROW, CSV, GEOJSON, XLSX
from tests.postgresql import Cluster
from tests.running import ROOT, Running, copy_store, serving, until
from tests.workbooks import workbook_of

WEATHER = {"temperature": 75, "rainfall": 80, "humidity": 55}
ROW: dict[str, Any] = {"region": "A", "season": "2027", **WEATHER}


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.long)])
def running(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[Running]:
    """Return a server on a trained store of its own."""
    settings = {}
    if request.param == "PostgreSQL":
        server: Cluster = request.getfixturevalue("postgresql")
        settings["ORCHARD_DATABASE_URL"] = server.database()
    with serving(copy_store(trained, tmp_path / "store"), **settings) as found:
        yield found


def _post(running: Running, body: Any, query: str = "", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return running.client.post(f"/forecasts{query}", content=content, headers=running.write | named)


def _listed(running: Running, query: str = "") -> list[dict[str, Any]]:
    answer = running.client.get(f"/forecasts{query}", headers=running.write)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["forecasts"]
    return found


def _make_another_live(running: Running) -> None:
    table = (ROOT / "app" / "data" / "tutorial.csv").read_bytes()
    headers = running.write | {"Content-Type": CSV}
    answer = running.client.post("/retrain?activate=always", content=table, headers=headers)
    assert answer.status_code == 200, answer.text
    until(lambda: running.version() == "2")


def test_what_is_predicted_is_kept(running: Running) -> None:
    """The numbers are those of /predict at that level; they are listed as they were answered, and later too."""
    rows = [ROW | {"due": "2027-09-30"}, ROW | {"region": "B", "id": "b"}]
    answer = _post(running, {"regions": rows}, "?level=0.8&note=why")
    assert (answer.status_code, answer.headers["x-model-version"]) == (201, "1"), answer.text
    stored = answer.json()
    assert (stored["model_version"], stored["level"]) == ("1", 0.8)
    assert [each["id"] for each in stored["predictions"]] == [f"{stored['batch']}-0", "b"]
    asked = running.client.post("/predict?level=0.8", json={"region": "A", **WEATHER}).json()
    for each in stored["predictions"]:
        assert each["yields"] == asked["yields"]
        assert (each["extrapolated"], each["warnings"]) == (asked["extrapolated"], asked["warnings"])
    _make_another_live(running)
    first, second = _listed(running)
    assert first["yields"] == second["yields"] == asked["yields"]
    assert (first["due"], second["due"], first["model_version"], first["level"]) == ("2027-09-30", None, "1", 0.8)
    (batch,) = running.client.get("/forecasts/batches", headers=running.write).json()["batches"]
    told = {"batch": stored["batch"], "rows": 2, "erased": 0, "note": "why", "crops": ["mango", "orange"], "level": 0.8}
    assert told.items() <= batch.items()
    again = _post(running, ROW, "?version=1")
    assert again.json()["model_version"] == "1"


def _geojson(row: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": row}


def _arrow(row: dict[str, Any]) -> bytes:
    columns = {name: pa.array([value]) for name, value in row.items()}
    table = pa.table({name: column.cast(pa.date32()) if name == "due" else column for name, column in columns.items()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _table(row: dict[str, Any]) -> bytes:
    return f"{','.join(row).upper()}\r\n{','.join(map(str, row.values()))}\r\n".encode()


FORMS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "one": ("application/json", lambda row: json.dumps(row).encode()),
    "several": ("application/json", lambda row: json.dumps({"regions": [row]}).encode()),
    "columns": ("application/json", lambda row: json.dumps({name: [value] for name, value in row.items()}).encode()),
    "CSV": (CSV, _table),
    "GeoJSON": (GEOJSON, lambda row: json.dumps(_geojson(row)).encode()),
    "Arrow": (ARROW, _arrow),
    "a workbook": (XLSX, lambda row: workbook_of([list(row), list(row.values())])),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_read(writing: Running, form: str) -> None:
    """Into the same forecast, in stored units; what is wrong is refused, and names where it is."""
    media_type, write = FORMS[form]
    row = ROW | {"temperature": 25, "id": f"of {form}", "due": "2027-09-30"}
    answer = _post(writing, write(row), "?temperature_unit=celsius", Content_Type=media_type)
    assert answer.status_code == 201, answer.text
    (found,) = [each for each in _listed(writing) if each["id"] == row["id"]]
    assert (found["temperature"], found["region"], found["season"], found["due"]) == (77.0, "A", "2027", "2027-09-30")
    taken = _post(writing, write(row), Content_Type=media_type)
    assert (taken.status_code, taken.json()["code"]) == (409, "id_taken")
    assert row["id"] in taken.json()["detail"]
    for name, wrong, told in (
        ("season", "", "season"),
        ("region", "", "region"),
        ("id", "x" * 129, "128"),
        ("season", "a\u0308", "NFC"),
        ("humidity", 101, "above 100"),
    ):
        bad = _post(writing, write(row | {"id": "new"} | {name: wrong}), Content_Type=media_type)
        assert (bad.status_code, told in bad.text) == (422, True), bad.text
        assert any(name in error["loc"] for error in bad.json()["errors"]), bad.text
    if form != "Arrow":
        bad = _post(writing, write(row | {"due": "2027-02-30"}), Content_Type=media_type)
        assert (bad.status_code, "2027-02-30 is not a day of the calendar" in bad.text) == (422, True)
    lacking = {name: row[name] for name in row if name != "season"}
    bad = _post(writing, write(lacking), Content_Type=media_type)
    assert (bad.status_code, "season" in bad.json()["detail"]) == (422, True)
    assert not [each for each in _listed(writing) if each["id"] == "new"]


def test_an_id_may_not_be_there_twice(writing: Running) -> None:
    """Within a body: the second one is named."""
    bad = _post(writing, {"regions": [ROW | {"id": "twice"}, ROW, ROW | {"id": "twice"}]})
    assert (bad.status_code, bad.json()["errors"][0]["loc"]) == (422, ["regions", 2, "id"])
    assert "'twice' is there twice" in bad.json()["detail"]


@pytest.mark.long
@pytest.mark.parametrize("rows", [2, 300])
def test_a_key_counts_once(running: Running, rows: int) -> None:
    """Small and large bodies: the same answer to the byte, also under another version; none after the erasure."""
    body = {"regions": [ROW | {"region": f"R{row}", "rainfall": 20 + row} for row in range(rows)]}
    first = _post(running, body, Idempotency_Key="spring")
    _make_another_live(running)
    again = _post(running, body, Idempotency_Key="spring")
    assert (first.status_code, again.status_code) == (201, 201), first.text
    assert (first.content, first.headers["x-model-version"]) == (again.content, again.headers["x-model-version"])
    assert len(_listed(running)) == rows
    other = _post(running, {"regions": [ROW]}, Idempotency_Key="spring")
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    path = f"/forecasts/batches/{first.json()['batch']}"
    gone = running.client.delete(path, headers=running.write)
    assert (gone.status_code, gone.json()) == (200, {"batch": first.json()["batch"], "rows": rows})
    assert running.client.delete(path, headers=running.write).status_code == 404
    assert _listed(running) == []
    erased = _post(running, body, Idempotency_Key="spring")
    assert (erased.status_code, "were erased" in erased.json()["detail"]) == (409, True)


def test_nobody_reads_or_writes_without_a_token(writing: Running) -> None:
    """Regions and yields are for who has one."""
    for method, path in (
        ("POST", "/forecasts"),
        ("GET", "/forecasts"),
        ("GET", "/forecasts/batches"),
        ("DELETE", "/forecasts/batches/x"),
    ):
        answer = writing.client.request(method, path, content=b"{}" if method == "POST" else None)
        assert answer.status_code == 401, (method, path)


def test_open_ones_end_with_their_harvest(running: Running) -> None:
    """A harvest names the id, or has the region and the season; it says so where it is shown, and nothing else does."""
    headers = running.write | {"Content-Type": CSV}
    before = running.client.get("/observations", headers=running.write | {"Accept": CSV}).text
    assert before.startswith("region,season,temperature,")
    rows = [ROW, ROW | {"region": "B", "id": "b"}, ROW | {"region": "C"}]
    assert _post(running, {"regions": rows}).status_code == 201
    table = "region,season,forecast,harvested,temperature,rainfall,humidity,mango\n"
    table += "A,2027,,,75,80,55,70\nX,,b,2027-10-01,75,80,55,71\n"
    stored = running.client.post("/observations", content=table.encode(), headers=headers)
    assert stored.status_code == 201, stored.text
    assert [each["region"] for each in _listed(running, "?open=true")] == ["C"]
    assert [each["region"] for each in _listed(running, "?region=B&season=2027")] == ["B"]
    *old, first, second = running.client.get("/observations", headers=running.write).json()["observations"]
    assert all("forecast" not in row and "harvested" not in row for row in (*old, first))
    assert (second["forecast"], second["harvested"]) == ("b", "2027-10-01")
    after = running.client.get("/observations", headers=running.write | {"Accept": CSV}).text.splitlines()
    assert after[0].startswith("region,season,forecast,harvested,temperature,")
    said = [line.split(",")[:8] for line in after[-2:]]
    weather = ["75.0", "80.0", "55.0"]
    assert said == [["A", "2027", "", "", *weather, "70.0"], ["X", "", "b", "2027-10-01", *weather, "71.0"]]
    again = "\r\n".join([after[0], *after[-2:]]).encode()
    assert running.client.post("/observations", content=again, headers=headers).status_code == 201


@pytest.mark.parametrize("form", ["JSON", "GeoJSON", "a workbook"])
@pytest.mark.parametrize("path", ["/observations", "/retrain?activate=never"])
def test_observations_name_their_forecast_in_every_format(writing: Running, form: str, path: str) -> None:
    """Their names are those of no crop; a day that is none is refused."""
    row = {"region": "N", **WEATHER, "forecast": f"{form} {path[:3]}", "harvested": "2027-10-01"}
    yields = {"mango": 70.25, "orange": 80.5}

    def sent(row: dict[str, Any]) -> tuple[str, bytes]:
        if form == "a workbook":
            return XLSX, workbook_of([[*row, *yields], [*row.values(), *yields.values()]])
        body: Any = row | {"yields": yields}
        body = _geojson(body) if form == "GeoJSON" else {"observations": [body]}
        return GEOJSON if form == "GeoJSON" else "application/json", json.dumps(body).encode()

    media_type, content = sent(row)
    answer = writing.client.post(path, content=content, headers=writing.write | {"Content-Type": media_type})
    assert answer.status_code in {200, 201}, answer.text
    last = writing.client.get("/observations", headers=writing.write).json()["observations"][-1]
    assert (last["forecast"], last["harvested"], last["yields"]) == (row["forecast"], "2027-10-01", yields)
    for name, wrong in (("harvested", "last week"), ("forecast", "x" * 129)):
        media_type, content = sent(row | {name: wrong})
        bad = writing.client.post(path, content=content, headers=writing.write | {"Content-Type": media_type})
        assert (bad.status_code, any(name in error["loc"] for error in bad.json()["errors"])) == (422, True), bad.text


def test_all_forecasts_as_a_table(running: Running) -> None:
    """As CSV all of them, in parts; in pages where one is asked for. Names do nothing to a spreadsheet."""
    rows = [ROW | {"region": f"=R{row}"} for row in range(2_500)]
    assert _post(running, {"regions": rows}).status_code == 201
    assert _post(running, ROW).status_code == 201
    answer = running.client.get("/forecasts?season=2027", headers=running.write | {"Accept": CSV})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["region"] for row in found] == [*(f"'=R{row}" for row in range(2_500)), "A"]
    (first,) = _listed(running, "?limit=1")
    assert found[0]["mango_low"] == repr(first["yields"]["mango"]["low"])
    page = running.client.get("/forecasts?limit=2", headers=running.write | {"Accept": CSV})
    rest = running.client.get(f"/forecasts?after={page.headers['x-next']}&limit=10000", headers=running.write).json()
    assert (len(page.text.splitlines()), len(rest["forecasts"]), rest["next"]) == (3, 2_499, None)


def test_what_is_forecast_is_counted(writing: Running) -> None:
    """As rows stored, and as predictions."""

    def count(metric: str) -> float:
        lines = writing.client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(metric)), 0.0)

    stored, predicted = count("orchard_forecasts_stored_total"), count('orchard_predictions_total{crop="mango"}')
    body = {"regions": [ROW] * 3}
    for _ in range(2):
        assert _post(writing, body, Idempotency_Key="counted").status_code == 201
    until(lambda: count("orchard_forecasts_stored_total") == stored + 3)
    assert count('orchard_predictions_total{crop="mango"}') == predicted + 3


def test_old_forecasts_are_erased_at_the_start(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_FORECAST_DAYS, those older than that; without it, none."""
    store = copy_store(trained, tmp_path / "store")
    table = Observations(Settings(model_store=store).database)
    with table.transaction() as transaction:
        for days, region in ((50, "old"), (10, "young")):
            names = [region], [region], ["2027"], [None]
            told = Foretold(*names, np.full((1, 3), 70.0), ("mango",), np.ones((1, 1, 3)), [False], [()])
            batch = ForecastBatch.of("1", 0.95, told, Provenance("test", "test"))
            transaction.forecasts.add(replace(batch, created=datetime.now(UTC) - timedelta(days=days)), told)
    table.close()
    with serving(store) as running:
        assert [each["id"] for each in _listed(running)] == ["old", "young"]
    with serving(store, ORCHARD_FORECAST_DAYS="30") as running:
        until(lambda: [each["id"] for each in _listed(running)] == ["young"])


@pytest.mark.long
def test_as_many_as_the_limits_allow_are_stored(writing: Running) -> None:
    """The helper's memory is enough for 200 000 rows, each with a name and a warning of its own."""
    rows = [f"R{row},2028,{70 + row % 10},{200 + row / 100},{43 + row % 20}" for row in range(200_000)]
    table = "region,season,temperature,rainfall,humidity\n" + "\n".join(rows) + "\n"
    answer = _post(writing, table.encode(), Content_Type=CSV)
    assert answer.status_code == 201, answer.text[:500]
    found = answer.json()
    assert len(found["predictions"]) == len(rows)
    assert all(each["warnings"] for each in found["predictions"])
    writing.client.delete(f"/forecasts/batches/{found['batch']}", headers=writing.write)
