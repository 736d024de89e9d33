"""The document and the page to read it: every example can be sent, a client made from it works."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.running import Running, copy_store, serving

Document = dict[str, Any]
METHODS = ("get", "post", "delete")
SAMPLES = {"version": "1", "model": "yield"}
"""Values for parameters in paths."""


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that examples may write to."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("document") / "store")) as running:
        yield running


@pytest.fixture(scope="module")
def document(served: Running) -> Document:
    """Return the document as it is served."""
    content: Document = served.client.get("/openapi.json").json()
    return content


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _validate(document: Document, operation: Document, answer: httpx.Response) -> None:
    """Check an answer against what the document says of its status and type."""
    described = operation["responses"][str(answer.status_code)]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type == "application/json":
        schema = described[media_type]["schema"] | {"components": document["components"]}
        jsonschema_rs.validator_for(schema).validate(answer.json())
    else:
        assert media_type in described


def test_every_operation_is_described(document: Document) -> None:
    """Each has a summary, a description, a name of its own, a known tag, and examples where it takes a body."""
    names = []
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, method, operation in _operations(document):
        assert method in METHODS
        assert operation["summary"], path
        assert len(operation["description"]) > 20, path
        assert set(operation["tags"]) <= tags
        names.append(operation["operationId"])
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, parameter["name"])
        for media_type, body in operation.get("requestBody", {"content": {}})["content"].items():
            is_binary = body["schema"].get("format") == "binary"
            assert is_binary or body["examples"], (path, media_type)
        problems = [status for status in operation["responses"] if int(status) >= 400]
        assert path.startswith("/health/live") or path == "/v2/health/live" or {"401", "503"} <= set(problems), path
    assert len(set(names)) == len(names)
    assert {"predict", "retrain", "models_activate", "observations_store"} <= set(names)


def test_what_may_be_left_out_has_no_default(document: Document) -> None:
    """In what is sent: generators of typed clients would ask for a field that has one. What it would be is told."""
    sent = _sent(document)
    assert len(sent) > 10
    for name in sent:
        schema = document["components"]["schemas"][name]
        for field, described in schema.get("properties", {}).items():
            assert "default" not in described, (name, field)
    required = {name: set(document["components"]["schemas"][name].get("required", [])) for name in sent}
    assert required["RegionWeather"] == required["WeatherColumns"] == set()  # whether a model needs one, it says itself
    assert required["ReportedSeason"] == {"yields"}
    assert required["ObservationsRequest"] == {"observations"}
    assert required["RetrainRequest"] == required["ActivateRequest"] == set()
    told = document["components"]["schemas"]["RetrainRequest"]["properties"]["activate"]["description"]
    assert told.endswith('If left out: `"if_better"`.')
    assert "errors" not in document["components"]["schemas"]["Problem"]["required"]


def _sent(document: Document) -> set[str]:
    """Return the schemas that bodies of requests consist of."""
    waiting = {name for _, _, operation in _operations(document) for name in _named(operation.get("requestBody"))}
    found = set[str]()
    while waiting:
        found |= waiting
        waiting = {inner for name in waiting for inner in _named(document["components"]["schemas"][name])} - found
    return found


def _named(part: object) -> set[str]:
    """Return the schemas that a part of the document refers to."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part)))


def test_each_schema_is_there_and_used(document: Document) -> None:
    """What is referred to exists, and nothing is listed that no call takes or answers, such as FastAPI's own errors."""
    schemas = document["components"]["schemas"]
    assert _named(document) == set(schemas)
    assert not any("ValidationError" in name for name in schemas)


@pytest.mark.long
def test_every_example_can_be_sent(served: Running, document: Document) -> None:
    """Each is answered 2xx, in a shape that the document describes; so is each operation without a body."""
    sent = 0
    for path, method, operation in _operations(document):
        if path == "/events":
            continue  # its answer has no end: tests/api/test_events_http.py
        url = path.format(**SAMPLES, batch="{batch}")
        if "{batch}" in path:
            listed = path.partition("/{batch}")[0]
            batches = served.client.get(listed, headers=served.write).json()["batches"]
            url = path.format(batch=batches[0]["batch"])
        query = {
            parameter["name"]: next(iter(parameter["examples"].values()))["value"]
            for parameter in operation.get("parameters", [])
            if "examples" in parameter
        }
        assert method != "get" or path != "/predict" or set(query) == {"temperature", "rainfall", "humidity"}
        bodies = [
            (media_type, example["value"])
            for media_type, body in operation.get("requestBody", {"content": {}})["content"].items()
            for example in body.get("examples", {}).values()
        ]
        for media_type, value in bodies or [("", None)]:
            content = value if isinstance(value, str) else json.dumps(value) if media_type else None
            headers = served.write | ({"Content-Type": media_type} if media_type else {})
            answer = served.client.request(method, url, content=content, headers=headers, params=query)
            assert answer.is_success, (path, value, answer.text)
            _validate(document, operation, answer)
            sent += 1
    assert sent >= 35


@pytest.mark.long
def test_a_client_can_be_generated(served: Running, document: Document, tmp_path: Path) -> None:
    """openapi-python-client makes a package of it, whose calls predict, retrain, list, and return problems as such."""
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(document))
    configuration = tmp_path / "config.yml"
    configuration.write_text("post_hooks: []\nproject_name_override: made\npackage_name_override: made\n")
    generator = Path(sys.executable).parent / "openapi-python-client"
    words = ["generate", f"--path={source}", f"--config={configuration}", f"--output-path={tmp_path / 'made'}"]
    done = subprocess.run(
        [str(generator), *words, "--meta=none"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unsupported" not in (done.stdout + done.stderr).lower().replace("unsupported content type", "")
    code = f"""
from made import AuthenticatedClient, Client
from made.api.predict import predict
from made.api.retrain import retrain
from made.api.models import models_activate, models_versions
from made import models as m

url = "{str(served.client.base_url).rstrip("/")}"
reader = Client(base_url=url)
place = m.RegionWeather(temperature=73, rainfall=67, humidity=43, region="A")
answer = predict.sync_detailed(client=reader, body=place)
print(answer.status_code, answer.parsed.yields.additional_properties["mango"].tons, answer.parsed.model_version)
several = m.SeveralRegions(regions=[place, place])
print(len(predict.sync(client=reader, body=several).predictions))
wrong = predict.sync_detailed(client=reader, body=m.RegionWeather(temperature=500, rainfall=67, humidity=43))
print(wrong.status_code, type(wrong.parsed).__name__, wrong.parsed.code)
writer = AuthenticatedClient(base_url=url, token="{served.write["Authorization"].split()[1]}")
print(type(retrain.sync(client=writer, body=m.RetrainRequest(dry_run=True))).__name__)
print(models_activate.sync(client=writer, version="1", body=m.ActivateRequest(note="by a generated client")).version)
print(models_versions.sync(client=reader).live)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    expected = served.client.post("/predict?version=1", json={"temperature": 73, "rainfall": 67, "humidity": 43}).json()
    status, tons, _ = lines[0].split()
    assert status in {"200", "HTTPStatus.OK"}
    assert float(tons) > 0
    assert lines[1] == "2"
    assert lines[2].split()[1:] == ["Problem", "invalid"]
    assert lines[3:] == ["Report", "1", "1"]
    assert expected["model_version"] == "1"


def test_the_page_asks_nobody_else(served: Running) -> None:
    """Its files are this service's own, its policy allows no other, and nothing in it names another host."""
    page = served.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    for name in named:
        if not name.startswith("data:"):
            assert "//" not in name
            assert served.client.get(f"/{name}").status_code == 200
    assert "http" not in served.client.get("/docs/start.js").text
    assert served.client.get("/docs/other.js").status_code == 422


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_page_in_a_browser(served: Running, tmp_path: Path) -> None:
    """Chromium, with no other host to be found, draws every operation, and nothing breaks the page's policy."""
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{str(served.client.base_url).rstrip('/')}/docs",
        ],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for path in ("/predict", "/retrain", "/models/{version}/activate", "/v2/models/{model}/infer"):
        assert f'data-path="{path}"' in done.stdout
    assert "Predict yields from weather" in done.stdout
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if "Refused" in line or "violates" in line or "ERR_" in line], console
