"""GET /models/{version}/residuals, and what the list of versions tells of errors on rows held out."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.api.models import FEW_ROWS
from app.data.harvest import Harvest
from app.data.observations import Batch, Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from tests.postgresql import Cluster
from tests.running import HARVEST, Running, children, copy_store, orchard, peak_mb, serving

READ_TOKEN = "only-for-reading-rows"


def _got(running: Running, path: str) -> httpx.Response:
    return running.client.get(path, headers=running.write)


def _rmse(rows: list[dict[str, Any]], crop: str) -> float:
    left = [row["yields"][crop]["tons"] - row["yields"][crop]["out_of_fold"] for row in rows if crop in row["yields"]]
    return float(np.sqrt(np.mean(np.square(left))))


def test_every_row_with_its_residuals(reading: Running) -> None:
    """The rows of /observations, with figures for each crop that give the error of the card."""
    answer = _got(reading, "/models/1/residuals")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body, card = answer.json(), reading.client.get("/models/1").json()
    told = {name: body[name] for name in body if name not in {"residuals", "crops"}}
    assert told == {
        "model_version": "1",
        "level": 0.95,
        "total": 15,
        "shown": 15,
        "selected_by": None,
        "not_stored": 0,
        "reason": None,
    }
    rows = _got(reading, "/observations").json()["observations"]
    plain = [row | {"yields": {crop: of["tons"] for crop, of in row["yields"].items()}} for row in body["residuals"]]
    assert plain == rows
    for crop, of in body["crops"].items():
        held = card["crops"][crop]["out_of_fold"]
        assert of == {"rows": 15, "rmse": pytest.approx(held["rmse"], rel=1e-9), "by": held["by"]}
        assert _rmse(body["residuals"], crop) == pytest.approx(held["rmse"], rel=1e-9)
    first = body["residuals"][0]
    assert list(first["yields"]["mango"]) == ["tons", "fitted", "out_of_fold", "low", "high", "leverage"]
    asked = {name: first[name] for name in ("temperature", "rainfall", "humidity")}
    predicted = reading.client.post("/predict?effects=none", json=asked).json()["yields"]["mango"]["tons"]
    assert first["yields"]["mango"]["fitted"] == pytest.approx(predicted, rel=1e-12)
    assert _got(reading, "/models/live/residuals").content == answer.content


def test_of_one_crop(reading: Running) -> None:
    """Its rows and figures alone; of one that the version does not know the query is wrong."""
    body = _got(reading, "/models/1/residuals?crop=orange").json()
    assert list(body["crops"]) == ["orange"]
    assert {tuple(row["yields"]) for row in body["residuals"]} == {("orange",)}
    wrong = _got(reading, "/models/1/residuals?crop=plum")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid")
    message = "version 1 has no crop 'plum': it has mango and orange"
    assert wrong.json()["errors"] == [{"loc": ["query", "crop"], "message": message, "code": "invalid"}]
    assert _got(reading, "/models/1/residuals?crops=orange").status_code == 422


def test_who_may_read_rows(trained: Path, tmp_path: Path) -> None:
    """Who may read observations, and nobody else: with a token for reading, or for writing."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store, ORCHARD_READ_TOKEN=READ_TOKEN) as running:
        path = "/models/1/residuals"
        statuses = [
            running.client.get(path, headers=headers).status_code
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": f"Bearer {READ_TOKEN}"},
                running.write,
            )
        ]
        assert statuses == [401, 401, 200, 200]


def test_without_a_token_rows_stay_closed(reading: Running) -> None:
    """Also where everything else may be read."""
    answer = reading.client.get("/models/1/residuals")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_what_there_is_not(reading: Running) -> None:
    """A version that was never made is a 404."""
    assert [_got(reading, f"/models/{number}/residuals").status_code for number in ("99", "x")] == [404, 404]


@pytest.mark.long
def test_the_list_tells_errors_and_parents(writing: Running) -> None:
    """As the cards do; of a damaged version nothing."""
    assert writing.client.post("/retrain", json=HARVEST, headers=writing.write).status_code == 200
    assert writing.client.post("/retrain?activate=never", json=HARVEST, headers=writing.write).status_code == 200
    entries = writing.client.get("/models").json()["versions"]
    assert [entry["version"] for entry in entries] == ["3", "2", "1"]
    assert [entry["parent"] for entry in entries] == ["2", "1", None]
    for entry in entries:
        card = writing.client.get(f"/models/{entry['version']}").json()
        held = {crop: of["out_of_fold"] for crop, of in card["crops"].items()}
        assert entry["out_of_fold"] == {crop: {"rmse": of["rmse"], "by": of["by"]} for crop, of in held.items()}
    body = _got(writing, "/models/2/residuals").json()
    assert (body["total"], len({row["batch"] for row in body["residuals"]})) == (18, 2)
    damaged = copy_store(writing.store, writing.store.parent / "damaged")
    (damaged / "versions" / "3.safetensors").write_bytes(b"no version")
    with serving(damaged) as running:
        first = running.client.get("/models").json()["versions"][0]
        assert (first["version"], first["damaged"], first["parent"], first["out_of_fold"]) == ("3", True, None, None)
        answer = _got(running, "/models/3/residuals")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_damaged")


def _store_many(store: Path, rows: int) -> None:
    draw = np.random.default_rng(rows)
    weather = draw.uniform([60, 20, 30], [100, 140, 70], (rows, 3)).round(1)
    tons = (weather @ np.full((3, 1), 0.4) + draw.normal(0, 3, (rows, 1))).round(2)
    table = Table(
        [f"R{row % 500}" for row in range(rows)], [str(row // 500) for row in range(rows)], weather, ("fig",), tons
    )
    harvest = Harvest.of(table)
    observations = Observations(Settings(model_store=store).database)
    with observations.transaction() as transaction:
        transaction.add(Batch.of(harvest, Provenance("test", "test")), harvest)
    observations.close()


@pytest.mark.long
def test_many_rows_are_read_elsewhere(tmp_path: Path) -> None:
    """In a process of its own, which holds few of them; a choice is answered, and the errors are those of all."""
    store = tmp_path / "store"
    _store_many(store, rows := 3 * FEW_ROWS)
    assert orchard(store, "retrain").returncode == 0
    with serving(store) as running:
        before = peak_mb(running.process.pid)
        body = _got(running, "/models/live/residuals").json()
        assert children(running.process.pid, "app.api.helper")
        assert peak_mb(running.process.pid) < before + 40
        assert (body["total"], body["not_stored"]) == (rows, 0)
        assert body["shown"] == len(body["residuals"]) <= 2_000
        assert body["selected_by"].endswith("and the first of every 32 rows")
        held = running.client.get("/models/live").json()["crops"]["fig"]["out_of_fold"]
        assert body["crops"]["fig"] == {"rows": rows, "rmse": pytest.approx(held["rmse"], rel=1e-9), "by": held["by"]}
        wrong = _got(running, "/models/live/residuals?crop=plum")
        assert (wrong.status_code, wrong.json()["errors"][0]["loc"]) == (422, ["query", "crop"])


@pytest.mark.long
def test_with_postgresql(postgresql: Cluster, tmp_path: Path) -> None:
    """The same from there."""
    with serving(tmp_path / "store", ORCHARD_DATABASE_URL=postgresql.database()) as running:
        body = _got(running, "/models/live/residuals").json()
        held = running.client.get("/models/live").json()["crops"]["mango"]["out_of_fold"]
        assert body["total"] == 15
        assert _rmse(body["residuals"], "mango") == pytest.approx(held["rmse"], rel=1e-9)


@pytest.mark.parametrize("words", [(), ("1", "--crop", "orange")])
def test_the_command_line_shows_the_farthest(reading: Running, trained: Path, words: tuple[str, ...]) -> None:
    """The same of the store and of a service, as a table and as JSON."""
    token = {"ORCHARD_TOKEN": (reading.store / "token").read_text().strip()}
    url = ("--url", str(reading.client.base_url))
    here = orchard(trained, "residuals", *words, "--limit", "3")
    there = orchard(trained, "residuals", *words, "--limit", "3", *url, **token)
    assert (here.returncode, here.stdout) == (0, there.stdout)
    assert "held out" in here.stdout
    assert len([line for line in here.stdout.splitlines() if " to " in line]) == 3
    plain, asked = (orchard(trained, "residuals", *words, "--json", *more, **token).stdout for more in ((), url))
    assert plain == asked
