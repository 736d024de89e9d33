"""ORCHARD_ROOT_PATH: the service below a prefix of a proxy, which takes it off or leaves it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from app.settings import OWN
from tests import prefixed_nginx as nginx
from tests.running import HARVEST, Running, copy_store, serving

PREFIX = "/orchard"
PLACE = {"region": "A", "temperature": 75, "rainfall": 80, "humidity": 55}


@dataclass(frozen=True)
class Proxied:
    """A service, and a client of the proxy in front of it, whose paths begin behind the prefix."""

    running: Running
    client: httpx.Client
    url: str
    """Without a slash at its end."""


@pytest.fixture(scope="module")
def prefixed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that is told its prefix."""
    store = copy_store(trained, tmp_path_factory.mktemp("prefixed") / "store")
    with serving(store, ORCHARD_ROOT_PATH=PREFIX) as running:
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["the proxy takes it off", "the proxy leaves it"])
def behind(
    request: pytest.FixtureRequest, prefixed: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    """Return nginx with TLS in front of it."""
    if nginx.PROGRAM is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    folder = tmp_path_factory.mktemp("nginx") / "nginx"
    port = prefixed.client.base_url.port or 0
    with nginx.proxied(folder, port, PREFIX, strips=request.param) as client:
        yield Proxied(prefixed, client, str(client.base_url).rstrip("/"))


@pytest.mark.long
def test_everything_answers_behind_nginx(behind: Proxied) -> None:
    """Reading, writing, both slashes, V2, health, metrics: as without it."""
    plain, asked = behind.running.client, behind.client
    for path in ("/health/ready", "/models/1", "/models/live", "/v2/models/yield", "/openapi.json"):
        assert asked.get(path).content == plain.get(path).content
    for path in ("/predict", "/predict/", "/predict?level=0.8"):
        answer = asked.post(path, json=PLACE)
        assert (answer.status_code, answer.json()) == (200, plain.post(path, json=PLACE).json())
    assert asked.get("/metrics/").status_code == 200
    assert asked.post("/retrain", json=HARVEST).status_code == 401
    done = asked.post("/retrain?dry_run=true", json=HARVEST, headers=behind.running.write)
    assert (done.status_code, done.json()["dry_run"]) == (200, True)
    unready = asked.get("/v2/models/other")
    assert (unready.status_code, list(unready.json())) == (404, ["error"])


def test_a_call_is_the_same_with_and_without_the_prefix(behind: Proxied) -> None:
    """Under one idempotency key, straight and through the proxy, rows are stored once."""
    headers = behind.running.write | {"Idempotency-Key": f"through {behind.url}"}
    answers = [
        client.post("/observations", json=HARVEST, headers=headers) for client in (behind.client, behind.running.client)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content


def test_nothing_leads_out_of_the_prefix(behind: Proxied) -> None:
    """Neither a redirect, nor the document's server, nor what a page loads, nor what the root says."""
    for path in ("/docs", "/docs/"):
        page = behind.client.get(path, follow_redirects=True)
        assert (page.status_code, str(page.url)) == (200, f"{behind.url}/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    for name in named:
        if not name.startswith("data:"):
            assert urljoin(str(page.url), name).startswith(f"{behind.url}/")
            assert behind.client.get(urljoin(str(page.url), name)).status_code == 200
    document = behind.client.get("/openapi.json")
    (server,) = document.json()["servers"]
    assert urljoin(str(document.url), server["url"]) == behind.url
    assert f"documentation is at {PREFIX}/docs" in behind.client.get("/").json()["detail"]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_try_it_out_posts_to_the_right_place(behind: Proxied, tmp_path: Path) -> None:
    """Who opens the page in Chromium, behind nginx, and executes the example, is shown its predictions."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    words += ["--ignore-certificate-errors", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    done = subprocess.run(
        ["chromium", *words, "--dump-dom", f"{behind.url}/docs"],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shown = re.sub(r"<[^>]+>", "", done.stdout)
    assert f"{behind.url}/predict" in shown
    assert "model_version" in shown.partition("Request URL")[2].partition("Response headers")[0]


def test_other_paths_are_not_taken_for_it(prefixed: Running) -> None:
    """What only begins like the prefix is no path; the prefix alone is the root; without it paths are answered too."""
    asked = prefixed.client
    assert asked.get(f"{PREFIX}s/health/live").status_code == 404
    assert asked.get(f"{PREFIX}{PREFIX}/health/live").status_code == 404
    assert "this is Orchard" in asked.get(PREFIX).json()["detail"]
    assert asked.get("/health/live").status_code == asked.get(f"{PREFIX}/health/live").status_code == 200
    assert asked.post("/predict", json=PLACE).content == asked.post(f"{PREFIX}/predict", json=PLACE).content


def test_what_a_prefix_must_not_begin_with(prefixed: Running) -> None:
    """The settings refuse what this service's own paths begin with, all of it."""
    paths = [*prefixed.client.get("/openapi.json").json()["paths"], "/docs", "/openapi.json", "/page"]
    assert sorted({path.split("/")[1] for path in paths}) == sorted(OWN)
