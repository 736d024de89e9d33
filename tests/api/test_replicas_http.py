"""Services on one model store in object storage: they follow it, train nothing unasked, and outlast its absence."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.api.concurrency import Concurrency
from app.api.helper import Helper
from app.api.metrics import EXPRESS
from app.api.services import Services
from app.api.tokens import Tokens, WrongTokens
from app.errors import NotFound
from app.serving.drift import AskedWeather
from app.serving.live import Live
from app.serving.tally import Tally
from app.settings import Settings, StoreURL
from app.store.bucket import Bucket
from app.store.objects import open_store
from app.store.registry import Registry
from app.store.version import Version
from app.training.process import Trainer
from tests.bucket import NAME, Standin, standin_here
from tests.postgresql import Cluster
from tests.running import HARVEST, ONE_REGION, Running, copy_store, orchard, serving, until

NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/none"
"""A database that does not answer: whoever only predicts needs none."""
TOKEN, OTHER = "a-token-for-writing", "another-token-for-it"
FOR_EVER = 1e9


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    """Return a stand-in that all tests of this file use."""
    with standin_here() as running:
        yield running


@pytest.fixture
def server(running: Standin) -> Standin:
    """Return the stand-in, which fails no more."""
    running.reset()
    return running


def _registry(url: str) -> Registry:
    return Registry(Bucket(StoreURL(url)))


def _shared(url: str, **more: str) -> dict[str, str]:
    """Return the settings of a service on a store."""
    settings = {"ORCHARD_MODEL_STORE": url, "ORCHARD_DATABASE_URL": NOWHERE, "ORCHARD_FOLLOW_INTERVAL_S": "0.1"}
    return settings | {"ORCHARD_TOKEN": TOKEN} | more


@pytest.fixture
def version(trained: Path) -> Version:
    """Return the tutorial's version."""
    return Version.from_bytes((trained / "versions" / "1.safetensors").read_bytes())


def _filled(server: Standin, trained: Path) -> str:
    """Return the URL of a store with what a folder holds: it can be copied there as it is."""
    url = server.url()
    for name in ("versions/1.safetensors", "log/1.json"):
        key = f"{url.removeprefix(f's3://{NAME}/')}/{name}"
        server.objects[key], server.stored[key] = (trained / name).read_bytes(), time.monotonic()
    return url


def _is_ready(running: Running) -> bool:
    return running.client.get("/health/ready").status_code == httpx.codes.OK


def _gauge(running: Running, name: str) -> float:
    lines = running.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def _details(running: Running) -> list[str]:
    found: list[str] = running.client.get("/health/ready").json()["details"]
    return found


def test_a_replica_waits_for_a_first_version(server: Standin, version: Version, tmp_path: Path) -> None:
    """It trains none, and says how one is; it is ready by following. Nothing is written into a folder."""
    url = server.url()
    with serving(tmp_path / "store", **_shared(url)) as replica:
        assert not _is_ready(replica)
        said = (tmp_path / "store.log").read_text()
        assert f"no version of {url} is served yet (no model has been trained yet)" in said
        assert "`orchard train` with the same settings" in said
        registry = _registry(url)
        registry.activate(registry.publish(version).version, "anna", "first")
        until(lambda: _is_ready(replica))
        assert replica.client.post("/predict", content=ONE_REGION).json()["model_version"] == "1"
        assert _gauge(replica, "orchard_follow_seconds") < 5.0
    assert not (tmp_path / "store").exists()
    assert [key for _, key in server.asked if key.endswith("/token")] == []


def test_a_folder_that_was_copied_is_served(server: Standin, trained: Path, tmp_path: Path) -> None:
    """All of it, by each call that reads; a rollback by another process is followed."""
    url = _filled(server, trained)
    with serving(tmp_path / "store", **_shared(url)) as replica:
        assert replica.version() == "1"
        page = replica.client.get("/models").json()
        (entry,) = page["versions"]
        assert (entry["version"], entry["live"], entry["damaged"], page["next"]) == ("1", True, False, None)
        assert [line["number"] for line in replica.client.get("/models/log").json()["log"]] == [1]
        assert replica.client.get("/models/1").json()["version"] == "1"
        registry = _registry(url)
        registry.activate(registry.publish(registry.read("1")).version, "anna", "")
        until(lambda: replica.version() == "2")
        for path in ("/models/3", "/models/3/residuals", "/v2/models/orchard/versions/3"):
            answer = replica.client.get(path, headers=replica.write)
            assert answer.status_code == httpx.codes.NOT_FOUND, path
        asked = replica.client.post("/predict?version=1", content=ONE_REGION)
        assert (asked.status_code, asked.headers["X-Model-Version"]) == (200, "1")
        made = replica.client.post("/models/1/activate", headers=replica.write, json={"note": "back"}).json()
        assert (made["number"], made["version"], replica.version()) == (3, "1", "1")
        assert registry.live().line.why == "back"


def test_the_store_goes_away_and_comes_back(server: Standin, trained: Path, tmp_path: Path) -> None:
    """Predictions go on, the details say what is wrong, writes are refused; then following goes on."""
    url = _filled(server, trained)
    with serving(tmp_path / "store", **_shared(url)) as replica:
        server.fail("unavailable", method="*", times=FOR_EVER)
        server.fail("unavailable", method="*", key="/probe", times=FOR_EVER)
        wrong = "the log cannot be looked at: the model store cannot be read: it answers 502 Bad Gateway"
        until(lambda: wrong in _details(replica))
        assert replica.client.post("/predict", content=ONE_REGION).json()["model_version"] == "1"
        refused = replica.client.get("/models/2")
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        server.reset()
        registry = _registry(url)
        registry.activate(registry.publish(registry.read("1")).version, "anna", "")
        until(lambda: replica.version() == "2" and wrong not in _details(replica))


def test_tokens_come_from_a_file_that_is_exchanged(server: Standin, trained: Path, tmp_path: Path) -> None:
    """A mounted secret; the old token is wrong from then on."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text(f"ci {TOKEN}\n")
    settings = _shared(_filled(server, trained), ORCHARD_TOKEN="", ORCHARD_TOKEN_FILE=str(secret / "token"))
    with serving(secret, **settings) as replica:

        def activate(token: str) -> httpx.Response:
            write = {"Authorization": f"Bearer {token}"}
            return replica.client.post("/models/1/activate", headers=write, json={})

        assert (activate(OTHER).status_code, activate(TOKEN).json()["who"]) == (401, "ci")
        (secret / "new").write_text(f"ci {OTHER}\n")
        (secret / "new").replace(secret / "token")
        assert (activate(TOKEN).status_code, activate(OTHER).json()["who"]) == (401, "ci")
    assert sorted(path.name for path in secret.iterdir()) == ["token"]


def test_a_store_that_overwrites_is_served_and_not_written(server: Standin, trained: Path, tmp_path: Path) -> None:
    """The first write says why, and so does the log."""
    url = _filled(server, trained)
    server.ignores_conditions = True
    with serving(tmp_path / "store", **_shared(url)) as replica:
        assert replica.client.post("/predict", content=ONE_REGION).json()["model_version"] == "1"
        refused = replica.client.post("/models/1/activate", headers=replica.write, json={})
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert "the model store ignores If-None-Match" in refused.json()["detail"]
        assert "the model store ignores If-None-Match" in (tmp_path / "store.log").read_text()
        assert replica.version() == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ORCHARD_TOKEN": ""}, "orchard: ORCHARD_TOKEN_FILE: the model store s3://b/p holds no token"),
        ({"ORCHARD_DATABASE_URL": ""}, "orchard: ORCHARD_DATABASE_URL: the model store is s3://b/p, which others"),
        (
            {"ORCHARD_DATABASE_URL": "sqlite:////tmp/x.db"},
            "orchard: ORCHARD_DATABASE_URL: the model store is s3://b/p, which others share",
        ),
        ({"ORCHARD_TOKEN_FILE": "/x"}, "orchard: ORCHARD_TOKEN and ORCHARD_TOKEN_FILE are both set"),
    ],
)
def test_what_a_shared_store_needs(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    """It is said before anything is done."""
    done = orchard(tmp_path / "store", "serve", "--port", "0", **_shared("s3://b/p", **settings))
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert not (tmp_path / "store").exists()


def test_the_command_line_works_there(server: Standin, trained: Path, tmp_path: Path) -> None:
    """What reads the store alone, and needs no token; places are URLs."""
    url = _filled(server, trained)
    settings = _shared(url, ORCHARD_TOKEN="")
    shown = orchard(tmp_path / "x", "models", "--json", **settings)
    assert '"live":"1"' in shown.stdout.replace(" ", "")
    assert orchard(tmp_path / "x", "activate", "1", "--note", "again", **settings).returncode == 0
    assert _registry(url).live().line.why == "again"
    empty = orchard(tmp_path / "x", "models", **_shared(f"{url}/none", ORCHARD_TOKEN=""))
    assert f"in {url}/none" in empty.stdout + empty.stderr


@pytest.fixture
def services(trained: Path, tmp_path: Path) -> Iterator[Services]:
    """Return the parts of a service, none of which runs."""
    settings = Settings(model_store=copy_store(trained, tmp_path / "store"))
    live = Live(registry := Registry(open_store(settings)))
    live.follow()
    tokens, concurrency = Tokens(settings), Concurrency(1, 1.0)
    parts = AskedWeather(), Tally(EXPRESS), Trainer(settings), Helper(), Helper()
    made = Services(settings, tokens, WrongTokens(), concurrency, registry, live, *parts)
    yield made
    asyncio.run(made.close())


def test_a_version_is_read_beside_the_event_loop(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for one that is not in memory waits for the store, and nobody else does."""
    let_go, read = threading.Event(), services.registry.read

    def slow(version: str, sha256: str | None = None) -> Version:
        assert let_go.wait(30)
        return read(version, sha256)

    async def ask() -> None:
        assert (await services.served(None)).version == (await services.served("1")).version == "1"
        asked = [asyncio.create_task(services.served("2")) for _ in range(20)]
        for _ in range(10):
            await asyncio.sleep(0)
            assert (await services.served(None)).version == "1"
        assert not any(task.done() for task in asked)
        let_go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in found] == [NotFound] * 20

    monkeypatch.setattr(services.registry, "read", slow)
    asyncio.run(ask())


@pytest.mark.long
def test_replicas_share_a_store_and_a_database(server: Standin, postgresql: Cluster, tmp_path: Path) -> None:
    """A first model by a command, retrains by one, activations by both: all serve what the log's last line names.

    The store hangs for a while: predictions go on, it is said since when, and following goes on. A third replica that
    starts meanwhile is ready once the store answers.
    """
    url = server.url()
    settings = _shared(url, ORCHARD_DATABASE_URL=postgresql.database(), ORCHARD_FOLLOW_INTERVAL_S="0.3")
    with ExitStack() as stack:
        one, two = (stack.enter_context(serving(tmp_path / name, **settings)) for name in ("one", "two"))
        trained = orchard(tmp_path / "x", "train", **settings)
        assert trained.returncode == 0
        assert f"{url}/versions/1.safetensors" in trained.stdout
        for replica in (one, two):
            until(lambda replica=replica: _is_ready(replica))  # type: ignore[misc]
        report = one.client.post("/retrain", headers=one.write, json=HARVEST).json()
        assert (report["version"], report["activated"]) == ("2", True)
        until(lambda: two.version() == "2")
        assert two.client.get("/observations", headers=two.write).json()["observations"][-1]["region"] == "M"
        rejected = two.client.post("/retrain?activate=never", headers=two.write, json={}).json()
        assert rejected["version"] == "3"
        assert one.client.get("/models/3").status_code == httpx.codes.OK
        assert two.client.get("/models/2/residuals", headers=two.write).json()["shown"] == 18
        two.client.post("/models/1/activate", headers=two.write, json={"note": "back"}).raise_for_status()
        until(lambda: one.version() == "1")
        server.is_gone = True
        since = "the log could not be looked at since"
        three = stack.enter_context(serving(tmp_path / "three", **settings))
        assert not _is_ready(three)
        until(lambda: any(detail.startswith(since) for detail in _details(one)))
        assert one.client.post("/predict", content=ONE_REGION).json()["model_version"] == "1"
        assert _gauge(one, "orchard_follow_seconds") >= 5.0
        server.is_gone = False
        _registry(url).activate("2", "anna", "forward")
        until(lambda: {replica.version() for replica in (one, two) if _is_ready(replica)} == {"2"})
        until(lambda: _is_ready(three) and three.version() == "2")
        assert _gauge(one, "orchard_follow_seconds") < 5.0
        assert orchard(tmp_path / "x", "check", **settings).returncode == 0
