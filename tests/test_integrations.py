"""Every snippet of deploy/INTEGRATIONS.md, taken out of the page and run against a real server.

Formulas of spreadsheets and Power Query cannot run here: the addresses and bodies that they would make are taken from
their text, and asked. Weather services are asked at a server of the test's own, which answers in their form.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jinja2
import pytest
import yaml

from tests.pages import dead_links, sections
from tests.running import ROOT, Running, copy_store, environment, serving

pytestmark = pytest.mark.long

PAGE = "deploy/INTEGRATIONS.md"
EXAMPLES = ROOT / "deploy" / "examples"
OPEN_METEO, POWER = "https://archive-api.open-meteo.com", "https://power.larc.nasa.gov"
TEMPERATURE_C, RAINFALL_MM, HUMIDITY = 23.5, 69.0, 45.0
"""A season's weather: of all days the same, in total, of all days the same."""
SEASON = {"temperature": 74.3, "rainfall": RAINFALL_MM, "humidity": HUMIDITY}
"""The same as Orchard takes it."""
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@dataclass(frozen=True)
class Place:
    """A service, and the folder that snippets run in, where the project's would be."""

    running: Running
    folder: Path

    @property
    def url(self) -> str:
        """The service's address."""
        return str(self.running.client.base_url).rstrip("/")

    def here(self, text: str) -> str:
        """Return a snippet for this service."""
        for address in ("http://localhost:8000", "localhost:8000", "https://orchard.example.com"):
            text = text.replace(address, self.url)
        return text

    def run(self, *command: str) -> str:
        """Run a command in the folder and return what it prints."""
        environ = environment(self.folder / "model_store", PYTHONWARNINGS="ignore")
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command[-1], done.stdout, done.stderr)
        return done.stdout

    def shell(self, text: str) -> str:
        """Run a snippet for the shell."""
        return self.run("bash", "-euo", "pipefail", "-c", self.here(text))

    def script(self, name: str, text: str, program: str) -> str:
        """Run a snippet as a program's script."""
        (self.folder / name).write_text(self.here(text))
        return self.run(program, name)

    def predicted(self, *regions: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what the service says of regions, asked as the README does."""
        answer = self.running.client.post("/predict", json={"regions": regions})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["predictions"]
        return found

    def tons(self, weather: dict[str, float]) -> float:
        """Return the mangoes of a place."""
        (found,) = self.predicted(weather)
        tons: float = found["yields"]["mango"]["tons"]
        return tons


@contextmanager
def _placed(trained: Path, folder: Path) -> Iterator[Place]:
    """Run a service whose store is in a folder beside the examples."""
    shutil.copytree(EXAMPLES, folder / "deploy" / "examples")
    with serving(copy_store(trained, folder / "model_store")) as running:
        yield Place(running, folder)


@pytest.fixture(scope="module")
def place(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return a service that nothing is reported to, and its folder."""
    with _placed(trained, tmp_path_factory.mktemp("project")) as found:
        yield found


@pytest.fixture
def learning(trained: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a service of a test's own."""
    with _placed(trained, tmp_path) as found:
        yield found


def _blocks(heading: str, kind: str) -> list[str]:
    """Return the blocks of a section in a language."""
    found = [block.text for block in sections(PAGE)[heading] if block.kind == kind]
    assert found, (heading, kind)
    return found


def _regions(columns: bool = False) -> Any:
    """Return regions.csv as rows of objects, or as columns."""
    with (EXAMPLES / "regions.csv").open() as file:
        rows = [
            {name: text if name == "region" else float(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    return {name: [row[name] for row in rows] for name in rows[0]} if columns else rows


def test_what_is_shown_is_tried() -> None:
    """Each section with a snippet is named by a test, each kind of block in it too."""
    source = Path(__file__).read_text()
    for heading, blocks in sections(PAGE).items():
        for kind in {block.kind for block in blocks}:
            assert f'_blocks("{heading}", "{kind}"' in source, (heading, kind)


def test_every_link_leads_somewhere() -> None:
    """Files and headings that the page links to exist."""
    assert dead_links(PAGE) == []


# The tables themselves.


def test_the_example_harvest_is_accepted(place: Place) -> None:
    """The gate takes harvest.csv as it is, with nothing suspicious in it, and the regions are of known weather."""
    answer = place.running.client.post(
        "/retrain?dry_run=true",
        content=(EXAMPLES / "harvest.csv").read_bytes(),
        headers={"Content-Type": "text/csv", **place.running.write},
    )
    report = answer.json()
    assert (report["decision"], report["suspicious"], report["left_out"]) == ("accepted", [], [])
    assert [each["extrapolated"] for each in place.predicted(*_regions())] == [False] * len(_regions())


def test_the_german_table_is_the_same_harvest() -> None:
    """It has the rows of harvest.csv, as a German Excel saves them: byte order mark, semicolons, decimal commas, °C."""
    content = (EXAMPLES / "harvest-de.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert content.count(b"\r\n") == content.count(b"\n")
    german = list(csv.reader(content.decode("utf-8-sig").splitlines(), delimiter=";"))
    with (EXAMPLES / "harvest.csv").open() as file:
        plain = list(csv.reader(file))
    assert [name.partition(" (")[0].lower() for name in german[0]] == plain[0]
    for row, other in zip(german[1:], plain[1:], strict=True):
        assert row[:2] == other[:2]
        temperature, *rest = (float(cell.replace(",", ".")) for cell in row[2:])
        assert [temperature * 1.8 + 32, *rest] == pytest.approx([float(cell) for cell in other[2:]])


def test_the_map_has_the_regions_of_the_table() -> None:
    """regions.geojson has some of regions.csv's rows."""
    rows = _regions()
    for feature in json.loads((EXAMPLES / "regions.geojson").read_text())["features"]:
        assert feature["properties"] in rows


# Sections, in their order.


def test_curl_without_json(place: Place) -> None:
    """The first command answers as `--json` does, the second with a line for each region."""
    one, table = _blocks("curl older than 7.82", "sh")
    assert json.loads(place.shell(one)) == place.running.client.post("/predict", json=_asked_in(one)).json()
    assert len(place.shell(table).splitlines()) == len(_regions()) + 1


def _asked_in(command: str) -> Any:
    """Return the JSON that a command sends."""
    found = re.search(r"-d '(.*)'", command)
    assert found
    return json.loads(found[1])


CALLED = re.compile(
    r'(?:WEBSERVICE|WEBDIENST|IMPORTDATA)\(((?:&|"[^"]*"|(?:SUBSTITUTE|WECHSELN)\(\w+[,;]","[,;]"\."\))+)\)'
)
PIECE = re.compile(r'(?:SUBSTITUTE|WECHSELN)\((\w+)[,;]","[,;]"\."\)|"([^"]*)"')


def _asked_by(formula: str, cells: dict[str, str]) -> str:
    """Return the address that a formula makes of cells, as a spreadsheet would."""
    called = CALLED.search(formula)
    assert called, formula
    return "".join(cells[cell].replace(",", ".") if cell else text for cell, text in PIECE.findall(called[1]))


def _get(place: Place, address: str) -> httpx.Response:
    assert len(address) < 2_048
    answer = httpx.get(place.here(address))
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("number", [0, 1], ids=["°F", "°C, decimal commas"])
def test_excel_s_formula(place: Place, number: int) -> None:
    """The addresses of the formulas answer with a number and nothing else, the same in either unit."""
    formula = _blocks("Excel, a formula in each row", "excel")[number]
    cells = [{"B2": "74.3", "C2": "69", "D2": "45.5"}, {"B2": "23,5", "C2": "69", "D2": "45,5"}][number]
    answer = _get(place, _asked_by(formula, cells))
    assert float(answer.text) == pytest.approx(place.tons(SEASON | {"humidity": 45.5}), abs=0.001)


def test_excel_s_file(place: Place) -> None:
    """A table of a German Excel is taken as it is, °C and all: nothing in it is suspicious."""
    (command,) = _blocks("Excel, a file as it is", "sh")
    report = json.loads(place.shell(command))
    assert (report["decision"], report["dry_run"]) == ("accepted", True)
    assert (report["rows"]["received"], report["suspicious"]) == (12, [])


def test_power_query(place: Place) -> None:
    """What the query posts is answered with all that it takes out of the answer."""
    (query,) = _blocks("Power Query", "powerquery")
    fields = dict(re.findall(r"(\w+) = Regions\[(\w+)\]", query))
    address = re.search(r'Web\.Contents\(\s*"([^"]+)"', query)
    assert address
    assert query.count("(") == query.count(")")
    assert query.count("[") == query.count("]")
    table = _regions(columns=True)
    answer = httpx.post(place.here(address[1]), json={name: table[column] for name, column in fields.items()}).json()
    lists = [answer[name] for name in re.findall(r"Answer\[(\w+)\](?!\[)", query)]
    crop = re.search(r"Mango = Answer\[(\w+)\]\[(\w+)\]", query)
    assert crop
    lists += [answer[crop[1]][crop[2]][name] for name in re.findall(r"Mango\[(\w+)\]", query)]
    assert {len(each) for each in lists} == {len(table["region"])}
    assert len(lists) == 5


def test_google_sheets_formulas(place: Place) -> None:
    """One address answers with a number, the other with a table that has the same in its column."""
    number, table = _blocks("Google Sheets", "sheets")
    cells = {"B2": "74,3", "C2": "69", "D2": "45"}
    assert float(_get(place, _asked_by(number, cells)).text) == pytest.approx(place.tons(SEASON), abs=0.001)
    (row,) = csv.DictReader(_get(place, _asked_by(table, cells)).text.splitlines())
    assert float(row["mango_tons"]) == pytest.approx(place.tons(SEASON))
    assert float(row["orange_low"]) < float(row["orange_tons"]) < float(row["orange_high"])


SHEET = """
const { execFileSync } = require("node:child_process");
const UrlFetchApp = {
  fetch(url, { method, contentType, payload }) {
    const type = `Content-Type: ${contentType}`;
    const words = ["-sf", "-X", method.toUpperCase(), url, "-H", type, "--data-binary", payload];
    const text = execFileSync("curl", words, { encoding: "utf8" });
    return { getContentText: () => text };
  },
};
"""
"""What Google's scripts have and Node.js has not."""


@needs_node
def test_google_sheets_function(place: Place) -> None:
    """The function gives three numbers for each row of the sheet."""
    (script,) = _blocks("Google Sheets", "js")
    rows = [[row["region"], row["temperature"], row["rainfall"], row["humidity"]] for row in _regions()]
    call = f'\nconsole.log(JSON.stringify(ORCHARD({json.dumps(rows)}, "mango")));\n'
    found = json.loads(place.script("sheet.cjs", SHEET + script + call, "node"))
    expected = [each["yields"]["mango"] for each in place.predicted(*_regions())]
    for row, mango in zip(found, expected, strict=True):
        assert row == pytest.approx([mango["tons"], mango["low"], mango["high"]])


def _check_features(place: Place, features: list[dict[str, Any]]) -> None:
    """Check that features are those of the example, with yields among their properties."""
    given = json.loads((EXAMPLES / "regions.geojson").read_text())["features"]
    for feature, before in zip(features, given, strict=True):
        assert (feature["id"], feature["geometry"]) == (before["id"], before["geometry"])
        (expected,) = place.predicted(before["properties"])
        found = feature["properties"]
        assert before["properties"].items() <= found.items()
        assert found["mango_tons"] == pytest.approx(expected["yields"]["mango"]["tons"])
        assert found["extrapolated"] == expected["extrapolated"]


def test_qgis(place: Place) -> None:
    """The file that QGIS opens has the same features, with yields as flat properties."""
    (command,) = _blocks("QGIS", "sh")
    place.shell(command)
    _check_features(place, json.loads((place.folder / "predicted.geojson").read_text())["features"])


BROWSER = """
import { readFileSync } from "node:fs";
const drawn = {};
const map = {
  addSource: (name, source) => { drawn[name] = source; },
  addLayer: (layer) => { drawn.layer = layer; },
};
const asked = globalThis.fetch;
globalThis.fetch = (url, options) =>
  url === "regions.geojson" ? new Response(readFileSync("deploy/examples/regions.geojson")) : asked(url, options);
"""
"""What a page with a map has and Node.js has not."""


@needs_node
def test_maplibre(place: Place) -> None:
    """The map gets the features with their yields, and a style that goes by properties which all of them have."""
    (script,) = _blocks("MapLibre", "js")
    drawn = json.loads(place.script("map.mjs", BROWSER + script + "console.log(JSON.stringify(drawn));\n", "node"))
    features = drawn[drawn["layer"]["source"]]["data"]["features"]
    _check_features(place, features)
    named = set(re.findall(r'\["get", "(\w+)"\]', json.dumps(drawn["layer"]["paint"])))
    assert len(named) == 2
    assert all(named <= set(feature["properties"]) for feature in features)


def test_home_assistant(place: Place) -> None:
    """What its templates make of sensors is answered, and what they take out of the answer is there."""
    (text,) = _blocks("Home Assistant", "yaml")
    (rest,) = yaml.safe_load(text)["rest"]
    states = {f"sensor.season_{name}": str(value) for name, value in SEASON.items()}
    environ = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - as it does
    payload = environ.from_string(rest["payload_template"]).render(states=states.__getitem__)
    answer = httpx.request(
        rest["method"], place.here(rest["resource"]), content=payload, headers=rest["headers"]
    ).json()
    mango, warnings = rest["sensor"]
    shown = [environ.from_string(each["value_template"]).render(value_json=answer) for each in (mango, warnings)]
    assert shown == [str(round(place.tons(SEASON), 1)), "none"]
    found = answer
    for name in mango["json_attributes_path"].removeprefix("$.").split("."):
        found = found[name]
    assert set(mango["json_attributes"]) <= set(found)


def test_r(place: Place) -> None:
    """A data frame of all regions is printed, and one of all versions."""
    several, versions = _blocks("R", "r")
    has = 'quit(status = !all(c("httr2", "jsonlite") %in% rownames(installed.packages())))'
    if not (rscript := shutil.which("Rscript")) or subprocess.run([rscript, "-e", has], check=False).returncode:
        pytest.skip("R with httr2 and jsonlite is not installed")
    printed = place.script("regions.R", several, rscript)
    assert all(row["region"] in printed for row in _regions())
    assert str(place.tons(_regions()[0]))[:5] in printed
    assert "accepted" in place.script("versions.R", versions, rscript)


def test_duckdb(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through files: predictions of all regions, the largest first, and what is stored."""
    duckdb = pytest.importorskip("duckdb")
    question, *answers, over_http = _blocks("DuckDB", "sql")
    (fetched,) = _blocks("DuckDB", "sh")
    monkeypatch.chdir(place.folder)
    with duckdb.connect() as database:
        database.execute(question)
        place.shell(fetched)
        yields, stored = (database.execute(answer).fetchall() for answer in answers)
        assert sorted(row[0] for row in yields) == sorted(row["region"] for row in _regions())
        assert [row[1] for row in yields] == sorted((row[1] for row in yields), reverse=True)
        assert yields[0][1] == round(max(each["yields"]["mango"]["tons"] for each in place.predicted(*_regions())), 1)
        assert stored[0][0] >= 15
        try:
            database.execute("LOAD httpfs")
        except duckdb.Error:
            return
        token = place.running.write["Authorization"].removeprefix("Bearer ")
        statements = place.here(over_http.replace("TOKEN", token)).split(";\n")
        for statement in statements[1:-1]:
            found = database.execute(statement).fetchall()
        assert found == [(stored[0][0], stored[0][1])]


def test_pandas(place: Place) -> None:
    """Predictions of all regions are printed, and what is stored."""
    (script,) = _blocks("pandas", "python")
    for needed in ("pandas", "requests"):
        pytest.importorskip(needed)
    printed = place.script("regions.py", script, sys.executable)
    assert all(row["region"] in printed for row in _regions())
    assert "std" in printed


@needs_node
def test_node_reports_a_harvest(learning: Place) -> None:
    """Each stage is printed, then the gate's decision; the same call again answers the same, and stores nothing."""
    (script,) = _blocks("Node.js", "js")
    printed = learning.script("harvest.mjs", script, "node")
    assert "fitting" in printed
    assert "accepted" in printed
    version = learning.running.version()
    assert "accepted" in learning.script("harvest.mjs", script, "node")
    assert learning.running.version() == version


KINDS: dict[str, type | tuple[type, ...]] = {"string": str, "timestamp": str, "number": (int, float), "boolean": bool}


def test_grafana(place: Place) -> None:
    """Below the query's selector is a list whose entries all have its columns, of its types."""
    (text,) = _blocks("Grafana", "json")
    query = json.loads(text)
    answer = httpx.request(query["url_options"]["method"], place.here(query["url"])).json()
    rows: list[dict[str, Any]] = answer[query["root_selector"]]
    assert rows
    for row in rows:
        for column in query["columns"]:
            value = row[column["selector"]]
            assert isinstance(value, KINDS[column["type"]]), column
            if column["type"] == "timestamp":
                datetime.fromisoformat(str(value))


class _Weather(BaseHTTPRequestHandler):
    """Answers as Open-Meteo's archive and NASA POWER do, with the days and the variables that it is asked for."""

    def do_GET(self) -> None:
        """Answer."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = {"/v1/archive": _open_meteo, "/api/temporal/daily/point": _power}[parts.path](query)
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the class above
        """Write no log."""


def _days(start: str, end: str) -> list[date]:
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    return [first + timedelta(day) for day in range((last - first).days + 1)]


def _open_meteo(query: dict[str, str]) -> dict[str, Any]:
    days = _days(query["start_date"], query["end_date"])
    known = {
        "temperature_2m_mean": ("°C", TEMPERATURE_C),
        "precipitation_sum": ("mm", RAINFALL_MM / len(days)),
        "relative_humidity_2m_mean": ("%", HUMIDITY),
    }
    asked = query["daily"].split(",")
    return {
        "latitude": float(query["latitude"]),
        "longitude": float(query["longitude"]),
        "generationtime_ms": 0.21,
        "utc_offset_seconds": 7200,
        "timezone": "Europe/Berlin",
        "timezone_abbreviation": "CEST",
        "elevation": 38.0,
        "daily_units": {"time": "iso8601"} | {name: known[name][0] for name in asked},
        "daily": {"time": [day.isoformat() for day in days]} | {name: [known[name][1]] * len(days) for name in asked},
    }


def _power(query: dict[str, str]) -> dict[str, Any]:
    days = _days(query["start"], query["end"])
    known = {"T2M": ("C", TEMPERATURE_C), "PRECTOTCORR": ("mm/day", RAINFALL_MM / len(days)), "RH2M": ("%", HUMIDITY)}
    asked = query["parameters"].split(",")
    assert (query["community"], query["format"]) == ("AG", "JSON")
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [float(query["longitude"]), float(query["latitude"]), 57.6]},
        "properties": {"parameter": {name: {f"{day:%Y%m%d}": known[name][1] for day in days} for name in asked}},
        "header": {
            "title": "NASA/POWER Source Native Resolution Daily Data",
            "api": {"version": "v2.8.0", "name": "POWER Daily API"},
            "sources": ["MERRA2"],
            "fill_value": -999.0,
            "time_standard": "LST",
            "start": query["start"],
            "end": query["end"],
        },
        "messages": [],
        "parameters": {name: {"units": known[name][0], "longname": name} for name in asked},
        "times": {"data": 1.2, "process": 0.03},
    }


@pytest.fixture(scope="module")
def weather() -> Iterator[str]:
    """Return the address of what stands for the weather services."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Weather)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _berlin(place: Place, command: str) -> None:
    """Check what a command answers of a season's days."""
    answer = json.loads(place.shell(command))
    assert (answer["region"], answer["warnings"]) == ("Berlin", [])
    assert answer["yields"]["mango"]["tons"] == pytest.approx(place.tons(SEASON))


def test_open_meteo(place: Place, weather: str) -> None:
    """Days in °C and mm, as Open-Meteo has them, are answered as their season in °F."""
    (command,) = _blocks("Open-Meteo", "sh")
    assert OPEN_METEO in command
    _berlin(place, command.replace(OPEN_METEO, weather))


def test_nasa_power(place: Place, weather: str) -> None:
    """Days as NASA POWER has them are answered as their season."""
    (command,) = _blocks("NASA POWER", "sh")
    assert POWER in command
    _berlin(place, command.replace(POWER, weather))
