"""The service below a prefix of a proxy, which takes it off or leaves it: ORCHARD_ROOT_PATH, or X-Forwarded-Prefix."""

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
    """Neither a redirect, nor the document's server, nor what a page loads, nor where a 404 leads."""
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
    lost = behind.client.get("/nothing").json()["detail"]
    assert f"page is at {PREFIX}/, its documentation at {PREFIX}/docs" in lost


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
    """What only begins like the prefix is no path, nor is the prefix twice; without it paths are answered too."""
    asked = prefixed.client
    assert asked.get(f"{PREFIX}s/health/live").status_code == 404
    assert asked.get(f"{PREFIX}{PREFIX}/health/live").status_code == 404
    assert asked.get(f"{PREFIX}{PREFIX}", follow_redirects=False).status_code == 404
    assert asked.get("/health/live").status_code == asked.get(f"{PREFIX}/health/live").status_code == 200
    assert asked.post("/predict", json=PLACE).content == asked.post(f"{PREFIX}/predict", json=PLACE).content


def test_what_a_prefix_must_not_begin_with(prefixed: Running) -> None:
    """The settings refuse what this service's own paths begin with, all of it."""
    paths = [*prefixed.client.get("/openapi.json").json()["paths"], "/docs", "/openapi.json", "/page"]
    assert sorted({path.split("/")[1] for path in paths}) == sorted(OWN)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_prefix_alone_leads_to_the_one_with_a_slash(prefixed: Running, method: str) -> None:
    """By a path alone, whatever the Host header says: links of a page at the prefix would lead out of it."""
    asked = prefixed.client
    for query in ("", "?x=1&y=%2F"):
        answer = asked.request(method, f"{PREFIX}{query}", headers={"Host": "x"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"], answer.content) == (307, f"orchard/{query}", b"")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]
        led = urljoin(str(asked.base_url.join(PREFIX)), answer.headers["location"])
        assert led == str(asked.base_url.join(f"{PREFIX}/{query}"))
    assert asked.request(method, f"{PREFIX}/", follow_redirects=False).headers.get("location") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_no_other_call_is_led_there(prefixed: Running, method: str) -> None:
    """It is answered as one of the root: what is sent would be sent twice."""
    alone, root = (prefixed.client.request(method, path, follow_redirects=False) for path in (PREFIX, f"{PREFIX}/"))
    assert alone.status_code == root.status_code
    assert alone.status_code >= 400 or method == "OPTIONS"
    assert "location" not in alone.headers


def test_a_prefix_of_several_segments_leads_below_itself(trained: Path, tmp_path: Path) -> None:
    """Its last segment is what a relative reference has to repeat."""
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_ROOT_PATH="/farm/orchard") as running:
        answer = running.client.get("/farm/orchard", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "orchard/")
        assert running.client.get("/farm", follow_redirects=False).status_code == 404


def _servers(running: Running, *told: str) -> object:
    headers = [("X-Forwarded-Prefix", value) for value in told]
    answer = running.client.get("/openapi.json", headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")  # no cache tells it to others
    return answer.json().get("servers")


@pytest.mark.parametrize(
    ("told", "prefix"),
    [
        (["/orchard"], "/orchard"),
        (["/orchard/"], "/orchard"),
        (["/farm/orchard-2.0_~x"], "/farm/orchard-2.0_~x"),
        (["/farm", "/orchard"], "/farm/orchard"),
        (["/farm, /orchard"], "/farm/orchard"),
        (["/models"], "/models"),
        (["/" + "x" * 199], "/" + "x" * 199),
    ],
)
def test_a_proxy_tells_the_prefix_that_it_takes_off(reading: Running, told: list[str], prefix: str) -> None:
    """The document names it as server, a 404 leads below it; several proxies tell one after the other."""
    assert _servers(reading, *told) == [{"url": prefix}]
    lost = reading.client.get("/nothing", headers=[("X-Forwarded-Prefix", value) for value in told])
    assert lost.headers["cache-control"] == "no-store"
    assert f"page is at {prefix}/, its documentation at {prefix}/docs" in lost.json()["detail"]
    assert _servers(reading) is None  # it was an answer to who said so, and to nobody else


@pytest.mark.parametrize(
    "told",
    [
        "",
        "/",
        "//elsewhere.example",
        "https://elsewhere.example/orchard",
        "orchard",
        "/orchard/..",
        "/./orchard",
        "/orchard//x",
        "/orchard?x",
        "/orchard#x",
        "/%6frchard",
        "/orch ard",
        "/<script>",
        "/orchard, elsewhere",
        "/orchard,",
        "/orchard//",
        "/" + "x" * 200,
    ],
)
def test_what_is_no_prefix_is_passed_over(reading: Running, told: str) -> None:
    """The document and the 404 are those without it, byte for byte; above all they name no other host."""
    for path in ("/openapi.json", "/nothing"):
        plain = reading.client.get(path, headers={"X-Request-ID": "r"})
        answer = reading.client.get(path, headers={"X-Request-ID": "r", "X-Forwarded-Prefix": told})
        assert (answer.status_code, answer.content) == (plain.status_code, plain.content)


def test_the_setting_wins(prefixed: Running) -> None:
    """Who knows better than a header is who has set it."""
    assert _servers(prefixed, "/elsewhere") == _servers(prefixed) == [{"url": PREFIX}]
    lost = prefixed.client.get("/nothing", headers={"X-Forwarded-Prefix": "/elsewhere"}).json()["detail"]
    assert f"page is at {PREFIX}/," in lost
    assert "elsewhere" not in lost


def test_the_header_opens_and_changes_nothing(reading: Running) -> None:
    """Anybody can send it: calls are those that they are without it, and ask for the token all the same."""
    told = {"X-Forwarded-Prefix": "/observations"}
    plain, answer = (reading.client.post("/predict", json=PLACE, headers=sent) for sent in ({}, told))
    assert (answer.status_code, answer.content) == (200, plain.content)
    assert reading.client.get("/observations", headers=told).status_code == 401
    assert reading.client.get("/observations/models", headers=told).status_code == 404
    led = reading.client.get("/docs/", headers=told, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (307, "../docs")
