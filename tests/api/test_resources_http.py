"""Models, observations, health, drift and metrics over HTTP."""

import asyncio
import stat
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.running import HARVEST, ROOT, Running, copy_store, orchard, serving, until

PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
EXAMPLE = "tutorial.csv (example data: 15 invented regions)"


@pytest.mark.long
def test_rolling_back_and_forward(writing: Running) -> None:
    """Activating an earlier version serves it at once, is logged with who and why, and can be undone."""
    second = writing.client.post("/retrain", json=HARVEST, headers=writing.write).json()["version"]
    first = writing.client.post("/models/1/activate", json={"note": "back"}, headers=writing.write)
    assert first.status_code == 200
    line = first.json()
    assert (line["version"], line["who"], line["why"], line["action"]) == ("1", "token", "back", "activate")
    assert writing.client.post("/predict", json=PLACE).json()["model_version"] == "1"
    writing.client.post(f"/models/{second}/activate", headers=writing.write)
    assert writing.version() == second
    log = writing.client.get("/models/log").json()["log"]
    assert [entry["version"] for entry in log[:3]] == [second, "1", second]
    assert [entry["number"] for entry in log] == sorted((entry["number"] for entry in log), reverse=True)


@pytest.mark.parametrize("version", ["99", "0", "-1", "01", "x", "1.5", "٣"])
def test_there_is_no_such_version(writing: Running, version: str) -> None:
    """What is not a stored version's number is 404, in every call that takes one."""
    assert writing.client.get(f"/models/{version}").status_code == 404
    assert writing.client.post(f"/models/{version}/activate", headers=writing.write).status_code == 404
    assert writing.client.post("/predict", params={"version": version}, json=PLACE).status_code == 404


def test_cards_and_pages(writing: Running) -> None:
    """Versions are listed newest first in pages; a card says what the version is."""
    for _ in range(2):
        writing.client.post("/retrain?activate=always", headers=writing.write)
    everything = writing.client.get("/models").json()
    numbers = [int(entry["version"]) for entry in everything["versions"]]
    assert numbers == sorted(numbers, reverse=True)
    assert everything["live"] == writing.version()
    assert [entry["version"] for entry in everything["versions"] if entry["live"]] == [everything["live"]]
    page = writing.client.get("/models?limit=1").json()
    assert page["versions"] == everything["versions"][:1]
    following = writing.client.get("/models", params={"limit": 1, "before": page["next"]}).json()
    assert following["versions"] == everything["versions"][1:2]
    card = writing.client.get("/models/1").json()
    assert card["crops"]["mango"]["weights"]["rainfall"] == pytest.approx(0.842337912312799, rel=1e-9)
    assert card["fit"]["loss"] == pytest.approx(0.909445984918890, rel=1e-9)
    assert [feature["unit"] for feature in card["features"]] == ["°F", "mm", "%"]
    assert (card["parent"], card["recipe"], card["source"]) == (None, "descent", EXAMPLE)
    assert writing.client.get("/models/live").json()["version"] == writing.version()


@pytest.mark.parametrize(
    ("mode", "folder", "is_told"),
    [(0o600, 0o755, False), (0o640, 0o755, False), (0o644, 0o700, False), (0o644, 0o755, True)],
)
def test_what_others_can_read_is_told(trained: Path, tmp_path: Path, mode: int, folder: int, is_told: bool) -> None:
    """A database that everybody on the machine can read gets a warning, and stays as it is: its owner may want that."""
    store = copy_store(trained, tmp_path / "store")
    store.chmod(folder)
    (store / "observations.db").chmod(mode)
    with serving(store):
        assert stat.S_IMODE((store / "observations.db").stat().st_mode) == mode
    assert ("can be read by everybody on this machine: chmod 600" in (tmp_path / "store.log").read_text()) == is_told


@pytest.mark.long
def test_a_new_database_is_its_owners(tmp_path: Path) -> None:
    """With the files that SQLite keeps beside it, whatever the umask lets others read."""
    store, token = tmp_path / "store", "a-token-of-my-own"
    with serving(store, through=("sh", "-c", 'umask 022; exec "$@"', "sh"), ORCHARD_TOKEN=token) as running:
        assert running.client.post("/observations", json=HARVEST, headers=running.write).status_code == 201
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.glob("observations.db*")}
    assert set(modes) == {f"observations.db{end}" for end in ("", "-wal", "-shm")}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(store.stat().st_mode) == 0o700


@pytest.mark.long
def test_an_example_says_that_it_is_one(trained: Path, tmp_path: Path) -> None:
    """Readiness, list and cards, while it is all that was learned; of what is learned besides nothing is said of it."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        ready = '{"status":"ready","model_version":"%s","details":[]%s}'
        assert running.client.get("/health/ready").text == ready % ("1", f',"source":"{EXAMPLE}"')
        assert running.client.get("/models/live").json()["source"] == EXAMPLE
        assert [entry["source"] for entry in running.client.get("/models").json()["versions"]] == [EXAMPLE]
        assert running.client.post("/retrain", json=HARVEST, headers=running.write).json()["activated"]
        assert running.client.get("/health/ready").text == ready % ("2", "")
        sources = [entry["source"] for entry in running.client.get("/models").json()["versions"]]
        assert sources == ["POST /retrain", EXAMPLE]
        assert running.client.get("/models/live").json()["source"] == "POST /retrain"
    other = tmp_path / "other" / "store"
    table = tmp_path / "tutorial.csv"
    rows = (ROOT / "app" / "data" / "tutorial.csv").read_text()
    table.write_text(rows.replace("A,", "B,", 1))
    assert orchard(other, "train", "--data", str(table)).returncode == 0
    with serving(other) as running:
        assert "source" not in running.client.get("/health/ready").json()
        assert running.client.get("/models/1").json()["source"] == "tutorial.csv"


def test_observations_are_stored_paged_and_withdrawn(trained: Path, tmp_path: Path) -> None:
    """A batch is stored without retraining, read back in pages, and takes no part in training once withdrawn."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        stored = running.client.post("/observations", json=HARVEST, headers=running.write)
        assert (stored.status_code, stored.json()["rows"]) == (201, 3)
        assert running.version() == "1"
        rows, after = [], None
        while True:
            query = {"limit": 4} | ({"after": after} if after else {})
            page = running.client.get("/observations", headers=running.write, params=query).json()
            rows += page["observations"]
            after = page["next"]
            if after is None:
                break
        assert [row["region"] for row in rows] == [*"ABCDEFGHIJ", *[None] * 5, *"KLM"]
        assert rows[-1]["yields"] == {"mango": 118.7, "orange": 134.0}
        text = running.client.get("/observations", headers=running.write | {"Accept": "text/csv"}).text.splitlines()
        assert text[0] == "region,season,temperature,rainfall,humidity,mango,orange"
        assert text[-1] == "M,,87.0,134.0,58.0,118.7,134.0"
        batch = stored.json()["batch"]
        withdrawn = running.client.delete(f"/observations/batches/{batch}", headers=running.write)
        assert (withdrawn.status_code, withdrawn.json()["rows"]) == (200, 3)
        report = running.client.post("/retrain", headers=running.write).json()
        assert report["rows"]["total"] == 15
        rows = running.client.get("/observations", headers=running.write).json()["observations"]
        assert [row["withdrawn"] for row in rows] == [False] * 15 + [True] * 3


def test_observations_as_csv_are_stored_once_under_a_key(trained: Path, tmp_path: Path) -> None:
    """The same CSV under the same key is one batch."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        headers = running.write | {"Content-Type": "text/csv", "Idempotency-Key": "k"}
        text = "temperature,rainfall,humidity,corn\n75,80,55,12\n"
        answers = [running.client.post("/observations", content=text, headers=headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert len(running.client.get("/observations", headers=running.write).json()["observations"]) == 16
        other = running.client.post("/observations", content=text + "75,80,55,13\n", headers=headers)
        assert other.status_code == 409


def test_there_is_no_such_batch_or_page(writing: Running) -> None:
    """An unknown batch and a made-up cursor are 404."""
    assert writing.client.delete("/observations/batches/none", headers=writing.write).status_code == 404
    for cursor in ("x", "1", "1-", "-1-1", "9" * 40 + "-1", "9" * 20 + "-0", f"1-{2**63}"):
        assert writing.client.get("/observations", headers=writing.write, params={"after": cursor}).status_code == 404


def test_another_process_trains_and_this_one_follows(trained: Path, tmp_path: Path) -> None:
    """A version that the command line makes live is served within two seconds, without a restart."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        done = orchard(running.store, "train", "--note", "by hand")
        assert done.returncode == 0
        until(lambda: running.version() == "2", within_s=2.0)


def test_without_a_model_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    """An empty store without torch's help: live, not ready with the reason, and /predict says 503 with Retry-After."""

    async def ask() -> list[httpx.Response]:
        app = create_app(Settings(model_store=tmp_path / "store"))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as c,
        ):
            return [await c.get("/health/live"), await c.get("/health/ready"), await c.post("/predict", json=PLACE)]

    live, ready, predict = asyncio.run(ask())
    assert live.status_code == 200
    for answer in (ready, predict):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert answer.json()["detail"] == "no model has been trained yet"
        assert answer.headers["retry-after"] == "5"


@pytest.mark.long
def test_the_token_is_made_once_and_kept_secret(trained: Path, tmp_path: Path) -> None:
    """The first start makes a token that only its owner reads and nothing shows; the setting overrides it."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        token = (store / "token").read_text().strip()
        assert stat.S_IMODE((store / "token").stat().st_mode) == 0o600
        answers = [running.client.get(path) for path in ("/models", "/models/live", "/models/log", "/openapi.json")]
        assert all(token not in answer.text for answer in answers)
    assert token not in (tmp_path / "store.log").read_text()
    with serving(store, ORCHARD_TOKEN="a token of my own") as running:  # noqa: S106 - a token for this test
        assert running.client.post("/retrain", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert running.client.post("/retrain", headers=running.write).status_code == 200


def test_drift_adds_up_over_workers(trained: Path, tmp_path: Path) -> None:
    """With two workers, all the regions asked about are counted, in the call and in the metrics."""
    with serving(copy_store(trained, tmp_path / "store"), "--workers", "2") as running:
        for _ in range(40):
            fresh = {"Connection": "close"}  # so that both workers get some
            assert running.client.post("/predict", json=PLACE, headers=fresh).status_code == 200
        assert running.client.post("/predict", json={"regions": [PLACE] * 2}).status_code == 200
        until(lambda: running.client.get("/models/live/drift").json()["asked"] == 42, within_s=5.0)
        report = running.client.get("/models/live/drift").json()
        assert report["features"]["rainfall"]["asked_mean"] == pytest.approx(80.0)
        assert report["distance"] > 0
        assert "orchard_asked_regions 42.0" in running.client.get("/metrics").text


def test_a_trial_leaves_no_trace(trained: Path, tmp_path: Path) -> None:
    """With `count=false` the answer is the same, in each shape, and neither drift nor the counts know of it."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        for body in (PLACE, {"regions": [PLACE] * 2}, {name: [value] for name, value in PLACE.items()}):
            counted = running.client.post("/predict", json=body)
            trial = running.client.post("/predict?count=false", json=body)
            assert trial.json() == counted.json()
        assert running.client.get("/models/live/drift").json()["asked"] == 4
        told = running.client.get("/metrics").text
        assert "orchard_asked_regions 4.0" in told
        assert 'orchard_predictions_total{crop="mango"} 4.0' in told


def test_request_ids_are_taken_over_or_made(reading: Running) -> None:
    """A plain X-Request-ID is repeated in the header and in problems; any other is replaced."""
    answer = reading.client.get("/nowhere", headers={"X-Request-ID": "abc-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "abc-1"
    made = reading.client.get("/nowhere", headers={"X-Request-ID": "a b"}).headers["x-request-id"]
    assert made not in {"a b", ""}
