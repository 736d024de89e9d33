"""Spreadsheets over HTTP: workbooks to every call that takes rows, Excel's CSV there and back, a column of warnings."""

import csv
import io
import json
import zipfile
from typing import Any

import httpx
import pyarrow as pa
import pytest

from app.wire.media_types import ARROW, CSV, JSON, XLSX
from tests.running import Running, peak_mb
from tests.workbooks import MAIN, workbook_of

HEADER = ["region", "temperature", "rainfall", "humidity"]
ROWS: list[list[str | float]] = [["A", 73, 67, 43], ["Köln; Süd", 91.5, 88.25, 64], ["", 24, 67, 43]]
BOOK = workbook_of([HEADER, *ROWS])
HARVEST: list[list[str | float]] = [
    ["region", "season", "year", "temperature", "rainfall", "humidity", "mango"],
    ["W1", "2032", 2032, 73, 67, 43, 57],
    [19001, 2032, 2032, 91, 88, 64, 82.5],
]
OLE = "application/vnd.ms-excel"
KEPT_MB = 60
"""What a body of kilobytes may take of the serving process's memory."""


def _post(running: Running, path: str, body: bytes, media_type: str = XLSX, accept: str = "*/*") -> httpx.Response:
    headers = running.write | {"Content-Type": media_type, "Accept": accept}
    return running.client.post(path, content=body, headers=headers)


def _table(answer: httpx.Response, separator: str = ",") -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline=""), delimiter=separator))


def _rows(running: Running) -> list[Any]:
    regions = [{"region": row[0] or None, **dict(zip(HEADER[1:], row[1:], strict=True))} for row in ROWS]
    found: list[Any] = running.client.post("/predict", json={"regions": regions}).json()["predictions"]
    return found


def test_a_workbook_is_answered_as_a_table(reading: Running) -> None:
    """The same tons as of JSON; in any other format for who asks for one."""
    expected = _rows(reading)
    for row, other in zip(_table(_post(reading, "/predict", BOOK)), expected, strict=True):
        assert float(row["mango_tons"]) == other["yields"]["mango"]["tons"]
        assert row["region"] == (other["region"] or "")
    assert _post(reading, "/predict", BOOK, accept=JSON).json()["predictions"] == expected
    arrow = pa.ipc.open_stream(_post(reading, "/predict", BOOK, accept=ARROW).content).read_all()
    assert arrow.column("mango_tons").to_pylist() == [row["yields"]["mango"]["tons"] for row in expected]
    assert _post(reading, "/predict", BOOK, accept="text/html").status_code == 406


def _batch(running: Running, batch: str) -> list[Any]:
    page = running.client.get("/observations?limit=10000", headers=running.write).json()["observations"]
    return [
        {name: row[name] for name in ("region", "season", "temperature", "yields")}
        for row in page
        if row["batch"] == batch
    ]


@pytest.mark.parametrize("path", ["/observations", "/retrain"])
def test_a_workbook_is_learned(writing: Running, path: str) -> None:
    """Of the columns that are named as crops; without their names a year is refused as one."""
    refused = _post(writing, path, workbook_of(HARVEST))
    assert refused.status_code == 422
    assert "crops=mango" in refused.json()["detail"]
    answer = _post(writing, f"{path}?crops=mango&source=book.xlsx&note=by%20book", workbook_of(HARVEST))
    assert answer.status_code in (200, 201), answer.text
    assert _batch(writing, answer.json()["batch"]) == [
        {"region": "W1", "season": "2032", "temperature": 73, "yields": {"mango": 57}},
        {"region": "19001", "season": "2032", "temperature": 91, "yields": {"mango": 82.5}},
    ]
    batches = writing.client.get("/observations/batches?limit=1", headers=writing.write).json()["batches"]
    assert batches[0]["source"].startswith("book.xlsx")
    assert batches[0]["note"] == "by book"


@pytest.mark.parametrize("path", ["/observations", "/retrain"])
def test_crops_are_named_of_tables(reading: Running, path: str) -> None:
    """A name that no column has, none at all, and a name of nothing are refused; so is a body without columns."""
    table = b"temperature,rainfall,humidity,mango,other\n73,67,43,57,1\n"

    def told(query: str, body: bytes = table, media_type: str = CSV) -> tuple[list[Any], str]:
        answer = _post(reading, f"{path}?{query}", body, media_type)
        assert answer.status_code == 422, answer.text
        fault = answer.json()["errors"][0]
        return fault["loc"], fault["message"]

    assert told("crops=rye")[1].startswith("the column 'rye' is missing; the table has temperature, rainfall")
    for empty in ("crops=", "crops=%20,%20,"):
        assert told(empty) == (["query", "crops"], "names no crop: write it as in crops=mango,orange")
    loc, message = told("crops=temperature")
    assert loc == ["query", "crops"]
    assert "temperature" in message
    rows = json.dumps({"observations": [dict(zip(HEADER, ROWS[0], strict=True)) | {"yields": {"mango": 57}}]})
    wanted = (["query", "crops"], "goes with a table, whose columns it names: leave it out")
    assert told("crops=mango", rows.encode(), JSON) == wanted
    feature = {"type": "Feature", "geometry": None, "properties": json.loads(rows)["observations"][0]}
    assert told("crops=mango", json.dumps(feature).encode(), "application/geo+json") == wanted
    assert reading.client.post(f"{path}?crops=mango", headers=reading.write).status_code == 422


def test_faults_of_a_workbook_are_those_of_a_table(reading: Running) -> None:
    """With the row, its line in the sheet, and the column."""
    wrong = workbook_of([HEADER, *ROWS, ["D", "hot", 900_000, 43]])
    problem = _post(reading, "/predict", wrong)
    assert problem.status_code == 422
    assert [(fault["loc"], fault["message"]) for fault in problem.json()["errors"]] == [
        ([3, "temperature"], "row 4 (line 5), column temperature: 'hot' is not a number"),
        ([3, "rainfall"], "row 4 (line 5), column rainfall: 900000 is above 30000 mm"),
    ]
    assert _post(reading, "/predict?season_start=2026-01-01", BOOK).status_code == 422


@pytest.mark.parametrize("path", ["/predict", "/observations", "/retrain?dry_run=true"])
def test_what_is_sent_as_something_else(reading: Running, path: str) -> None:
    """A workbook as CSV, CSV as a workbook, another archive, an old workbook: each is told what it is."""
    as_csv = _post(reading, path, BOOK, CSV)
    assert as_csv.status_code == 400
    assert f"is an Excel workbook, not CSV: send it as {XLSX}" in as_csv.json()["detail"]
    as_json = _post(reading, path, BOOK, JSON)
    assert as_json.status_code == 400
    no_book = _post(reading, path, b"temperature,rainfall,humidity\n73,67,43\n")
    assert (no_book.status_code, no_book.json()["code"]) == (400, "malformed")
    assert "the workbook cannot be read" in no_book.json()["detail"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    other = _post(reading, path, archive.getvalue())
    assert other.status_code == 400
    assert other.json()["detail"] == "the body is an archive, and not an Excel workbook (.xlsx)"
    for cut in (BOOK[:200], BOOK[:-40], BOOK[:100] + b"\xff" * 40 + BOOK[140:]):
        assert _post(reading, path, cut).status_code == 400
    assert _post(reading, path, b"").status_code == 400
    old = _post(reading, path, b"\xd0\xcf\x11\xe0", OLE)
    assert old.status_code == 415
    assert XLSX in old.json()["detail"]


def _repacked(book: bytes, sheet: bytes) -> bytes:
    """Return a workbook with another sheet."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(book)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for name in old.namelist():
            new.writestr(name, sheet if name.startswith("xl/worksheets/") else old.read(name))
    return packed.getvalue()


def _sheet_of(row: bytes, count: int) -> bytes:
    """Return a sheet whose rows say nothing of where they are."""
    head = b"".join(b'<c t="inlineStr"><is><t>%s</t></is></c>' % name.encode() for name in HEADER[1:])
    return b'<?xml version="1.0"?><worksheet xmlns="%s"><sheetData><row>%s</row>%s</sheetData></worksheet>' % (
        MAIN.encode(),
        head,
        row * count,
    )


ROW = b"<row><c><v>73</v></c><c><v>67</v></c><c><v>43</v></c></row>"


@pytest.mark.parametrize("path", ["/predict", "/observations", "/retrain?dry_run=true"])
def test_hostile_workbooks(reading: Running, path: str) -> None:
    """What unfolds to too much, and a cell far from the table, are 413 in words; the server's memory stays."""
    bomb = _repacked(BOOK, _sheet_of(b" " * 1_000, 300_000))
    far = workbook_of([HEADER, *ROWS], {"A2": "XFD1048576"})
    for body, message in (
        (bomb, "the workbook unfolds to more than 268435456 bytes"),
        (far, "the sheet's cells reach to row"),
    ):
        assert len(body) < 1_000_000
        before = peak_mb(reading.process.pid)
        answer = _post(reading, path, body)
        assert answer.status_code == 413, answer.text
        assert message in answer.json()["detail"]
        assert peak_mb(reading.process.pid) < before + KEPT_MB
    assert reading.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("accept", [CSV, JSON, ARROW])
def test_a_small_workbook_with_much_in_it(reading: Running, accept: str) -> None:
    """Of a few kilobytes with 80 000 rows the serving process does not take the memory, whatever it is answered in."""
    body = _repacked(BOOK, _sheet_of(ROW, 80_000))
    assert len(body) < 16 * 1024
    before = peak_mb(reading.process.pid)
    answer = _post(reading, "/predict?version=1", body, accept=accept)
    assert answer.status_code == 200
    assert peak_mb(reading.process.pid) < before + KEPT_MB
    limit = _post(reading, "/predict", _repacked(BOOK, _sheet_of(ROW, 200_001)), accept=accept)
    assert (limit.status_code, limit.json()["detail"]) == (413, "more than 200000 rows, which is the limit")


GERMAN = "sep=;\r\nRegion;Temperature (°C);Rainfall;Humidity;notes\r\nKöln;23,5;67;43;a, b\r\nSüd;33,25;88,5;64;\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_excels_csv_there_and_back(reading: Running, encoding: str) -> None:
    """Semicolons and decimal commas come back as they were sent; the answer, sent again, has the same numbers."""
    plain = {"temperature": [23.5, 33.25], "rainfall": [67, 88.5], "humidity": [43, 64]}
    expected = reading.client.post("/predict?temperature_unit=celsius", json=plain).json()["yields"]["mango"]["tons"]
    answer = _post(reading, "/predict", GERMAN.encode(encoding), CSV)
    rows = _table(answer, ";")
    assert [float(row["mango_tons"].replace(",", ".")) for row in rows] == expected
    assert list(rows[0])[:6] == ["Region", "Temperature (°C)", "Rainfall", "Humidity", "notes", "mango_tons"]
    assert [rows[1][name] for name in list(rows[1])[:5]] == ["Süd", "33,25", "88,5", "64,0", ""]
    again = _post(reading, "/predict", answer.content, CSV)
    assert again.content == answer.content
    harvest = GERMAN.replace("notes", "mango").replace("a, b", "57,5")
    told = _post(reading, "/retrain?dry_run=true", harvest.encode(encoding), CSV)
    assert told.status_code == 200, told.text


def test_a_column_of_warnings(reading: Running) -> None:
    """In CSV and Arrow where it is asked for, empty where there is nothing to say; other answers do not change."""
    expected = [row["warnings"] for row in _rows(reading)]
    assert expected[0] == []
    assert expected[2]
    rows = [{"region": row[0] or None, **dict(zip(HEADER[1:], row[1:], strict=True))} for row in ROWS]
    body = json.dumps({"regions": rows}).encode()
    told = _table(_post(reading, "/predict?warnings=true", body, JSON, CSV))
    assert list(told[0])[-3:] == ["warnings", "extrapolated", "model_version"]
    assert [row["warnings"] for row in told] == ["; ".join(some) for some in expected]
    arrow = _post(reading, "/predict?warnings=true", body, JSON, ARROW)
    column = pa.ipc.open_stream(arrow.content).read_all().column("warnings")
    assert column.to_pylist() == ["; ".join(some) or None for some in expected]
    for accept in (CSV, ARROW):
        plain = _post(reading, "/predict", body, JSON, accept)
        assert plain.content == _post(reading, "/predict?warnings=false", body, JSON, accept).content
        assert b"warnings" not in plain.content
    same = _post(reading, "/predict?warnings=true", body, JSON, JSON)
    assert same.content == _post(reading, "/predict", body, JSON, JSON).content
    known = json.dumps({"regions": rows[:1]}).encode()
    quiet = pa.ipc.open_stream(_post(reading, "/predict?warnings=true", known, JSON, ARROW).content).read_all()
    assert quiet.column("warnings").to_pylist() == [None]
