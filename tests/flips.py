"""Flips single bits of a store at rest, and looks whether that is told: ``python -m tests.flips``.

A store is made through a service. Each flip is made in a fresh copy of it: of a version's file, or of the SQLite
database; then all that the service shows, what ``orchard check`` says and what a retrain learns is compared with the
untouched store. A flip is told (an error of the service's, a line in ``/health/ready``, a fault that ``orchard check``
finds), or it has no effect; never is anything else shown or learned, and nothing crashes, which over HTTP is a 500. So
it is with lines of the log that are exchanged, copied or edited.
"""

import argparse
import asyncio
import json
import logging
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import torch
from typer.testing import CliRunner

from app.cli.commands import CLI
from app.data.provenance import Once, Provenance
from app.data.tables import parse_observations
from app.errors import OrchardError, ServiceError
from app.main import create_app
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from tests.running import HARVEST, Running, serving

TOKEN = "0123456789abcdef"
LATE = b"region,season,temperature,rainfall,humidity,mango,rye\nMarchfeld,2025,75,80,55,,4.5\nK,2025,74,70,45,58.25,\n"
NEW = b"region,temperature,rainfall,humidity,mango,orange\nN,95,60,50,46.4,65\nO,75,110,66,108.4,\nP,84,80,55,72,88\n"
EXPECTED = b"region,season,id,due,temperature,rainfall,humidity\nK,2030,k,2030-09-30,74,70,45\nL,2030,,,91,88,64\n"
EXPECTED += b"M,2031,,,87,134,58\nN,2031,n,2031-10-01,120,500,58\n"
HARVESTED = b"region,season,forecast,harvested,temperature,rainfall,humidity,mango\nX,2030,k,2030-10-01,74,70,45,58.5\n"
PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
VERSIONS = ("1", "2", "3", "4")
PAGES = (
    *("/health/ready", "/models", "/models/live", *(f"/models/{version}" for version in VERSIONS)),
    *("/models/log", "/observations/batches", "/observations?limit=3", "/observations?limit=1000"),
    *("/forecasts/batches", "/forecasts?limit=2", "/forecasts?open=true"),
)
DATABASE = "observations.db"
TOLD = ("told by an answer", "told by /health/ready alone", "told by check alone")
MISSED = ("SILENT", "CRASHED")
OUTCOMES = (*TOLD, "without effect", *MISSED)


def fill(running: Running) -> None:
    """Make every kind of stored thing: versions that were live and one that never was, batches, answers, a log."""

    def post(path: str, **more: Any) -> dict[str, Any]:
        headers = running.write | more.pop("headers", {})
        answer = running.client.post(path, headers=headers, **more)
        assert answer.status_code in {200, 201}, answer.text
        made: dict[str, Any] = answer.json()
        return made

    assert post("/retrain", json=HARVEST, headers={"Idempotency-Key": "harvest"})["decision"] == "accepted"
    assert post("/retrain", json={"activate": "always", "note": "again"})["version"] == "3"
    assert post("/retrain", json={"activate": "never", "note": "kept"})["version"] == "4"
    csv = {"Content-Type": "text/csv"}
    post("/observations?note=late", content=LATE, headers=csv | {"Idempotency-Key": "late"})
    headers = csv | {"Idempotency-Key": "spring"}
    assert len(post("/forecasts?note=spring", content=EXPECTED, headers=headers)["predictions"]) == 4
    post("/observations", content=HARVESTED, headers=csv)
    twice = post("/observations", json=HARVEST)["batch"]
    assert running.client.delete(f"/observations/batches/{twice}?note=twice", headers=running.write).is_success


def make(store: Path) -> None:
    """Leave a whole store at rest: the service has stopped, all is in the database's one file."""
    with serving(store, ORCHARD_TOKEN=TOKEN) as running:
        fill(running)
    with closing(sqlite3.connect(store / DATABASE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.with_suffix(".log").unlink()


@dataclass
class Look:
    """What a store shows, by where; what of its damage is told, and how; what has crashed."""

    shown: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    crashed: dict[str, str] = field(default_factory=dict)

    def take(self, where: str, status: int, text: str) -> None:
        """Take an answer down."""
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            self.told["an answer"] = f"{where}: {text}"
        elif status >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.crashed[where] = text
        elif where == "/health/ready" and (details := json.loads(text)["details"]):
            self.told["/health/ready"] = str(details)
        else:
            self.shown[where] = f"{status} {text}"

    def outcome(self, whole: "Look") -> str:
        """Say what has become of a flip, against the look at the whole store."""
        if self.crashed:
            return "CRASHED"
        for how, outcome in zip(("an answer", "/health/ready", "check"), TOLD, strict=True):
            if how in self.told:
                return outcome
        return "without effect" if self.shown == whole.shown else "SILENT"

    def why(self, whole: "Look") -> str:
        """Say what was shown instead."""
        if self.crashed:
            return f"{self.crashed}"
        changed = [name for name in whole.shown if self.shown.get(name) != whole.shown[name]]
        return f"{changed[0]}: {self.shown.get(changed[0])} instead of {whole.shown[changed[0]]}"


def look(store: Path) -> Look:
    """Look at a store in every way there is; a retrain comes last, since it writes."""
    found, settings = Look(), Settings(model_store=store, token=TOKEN)  # type: ignore[arg-type]
    key = _digest_of("harvest", store.parent)
    steps: dict[str, Callable[[], None]] = {
        "check": lambda: _check(found, store),
        "the service": lambda: asyncio.run(_ask(found, settings)),
        "the key harvest": lambda: _repeat(found, settings, key),
        "learning": lambda: _learn(found, settings),
    }
    for where, step in steps.items():
        try:
            step()
        except ServiceError as error:
            found.told["an answer"] = f"{where}: {error.detail}"
        except OrchardError as error:
            found.shown[where] = error.detail
        except Exception as error:  # noqa: BLE001 - whatever it is, over HTTP it is a 500
            found.crashed[where] = repr(error)
    return found


def _digest_of(key: str, folder: Path) -> str:
    """Return what the untouched store says of the request that was made under a key."""
    with closing(sqlite3.connect(folder / "whole" / DATABASE)) as database:
        (digest,) = database.execute("SELECT digest FROM answers WHERE key = ?", [key]).fetchone()
    return str(digest)


def _check(found: Look, store: Path) -> None:
    done = CliRunner().invoke(CLI, ["check"], env={"ORCHARD_MODEL_STORE": str(store)})
    if "No such command" in done.output:
        return  # nothing is told by a command that is not there
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code:
        found.told["check"] = done.output


async def _ask(found: Look, settings: Settings) -> None:
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    csv = {"Content-Type": "text/csv", "Idempotency-Key": "late"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client,
    ):
        for path in PAGES:
            answer = await client.get(path)
            found.take(path, answer.status_code, answer.text)
        for path in ("/predict", *(f"/predict?version={version}" for version in VERSIONS)):
            answer = await client.post(path, json=PLACE)
            found.take(path, answer.status_code, answer.text)
        answer = await client.post("/observations?note=late", content=LATE, headers=csv)
        found.take("the key late", answer.status_code, answer.text)
        spring = {"Content-Type": "text/csv", "Idempotency-Key": "spring"}
        answer = await client.post("/forecasts?note=spring", content=EXPECTED, headers=spring)
        found.take("the key spring", answer.status_code, answer.text)


def _repeat(found: Look, settings: Settings, digest: str) -> None:
    order = Order(Provenance("POST /retrain", "token"), parse_observations(NEW), once=Once("harvest", digest))
    with closing(Job(settings)) as job:
        found.shown["the key harvest"] = job.run(order).report.model_dump_json()


def _learn(found: Look, settings: Settings) -> None:
    order = Order(Provenance("new.csv", "token"), parse_observations(NEW), activate="never")
    with closing(Job(settings)) as job:
        version = job.run(order).version
    card = version.card.model_dump(mode="json", exclude={"created", "batches"})
    found.shown["learning"] = f"{version.weights.tolist()} {version.intercepts.tolist()} {card}"


def flip(files: list[Path], draw: random.Random) -> str:
    """Flip one bit of the files, any of them as likely as any other, and say which."""
    bit = draw.randrange(8 * sum(file.stat().st_size for file in files))
    for file in files:
        size = 8 * file.stat().st_size
        if bit < size:
            content = bytearray(file.read_bytes())
            content[bit // 8] ^= 1 << bit % 8
            file.write_bytes(content)
            return f"bit {bit % 8} of byte {bit // 8} of {file.name}"
        bit -= size
    raise AssertionError


def flip_version(store: Path, draw: random.Random) -> str:
    """Flip a bit of a version's file."""
    return flip(sorted((store / "versions").iterdir()), draw)


def flip_database(store: Path, draw: random.Random) -> str:
    """Flip a bit of the database."""
    return flip([store / DATABASE], draw)


def change_log(store: Path, change: str) -> str:
    """Exchange, copy or edit lines of the log."""
    first, second, third, fourth = (store / "log" / f"{number}.json" for number in range(1, 5))
    if change == "lines 2 and 3 exchanged":
        lines = second.read_bytes(), third.read_bytes()
        second.write_bytes(lines[1])
        third.write_bytes(lines[0])
    elif change == "line 1 copied as 4":
        shutil.copy(first, fourth)
    else:
        second.write_text(second.read_text().replace('"who":"token"', '"who":"nobody"'))
    return change


LOG_CHANGES = ("lines 2 and 3 exchanged", "line 1 copied as 4", "who edited in line 2")


def outcomes(folder: Path, whole: Look, kind: str, changes: list[Callable[[Path], str]]) -> int:
    """Make each change in a copy of its own, print what has become of them, and return how many were not told."""
    counts: Counter[str] = Counter()
    for change in changes:
        store = folder / "store"
        shutil.copytree(folder / "whole", store)
        what = change(store)
        found = look(store)
        outcome = found.outcome(whole)
        counts[outcome] += 1
        if outcome in MISSED:
            print(f"{outcome}: {what}: {found.why(whole)[:600]}", file=sys.stderr, flush=True)
        shutil.rmtree(store)
    print(f"{kind}: {len(changes)}:", ", ".join(f"{counts[name]} {name}" for name in OUTCOMES), flush=True)
    return sum(counts[name] for name in MISSED)


def main() -> int:
    """Flip as asked, and say what has become of it."""
    parser = argparse.ArgumentParser()
    for name in ("--versions", "--database", "--seed"):
        parser.add_argument(name, type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)  # noqa: S311 - bits to flip
    torch.set_num_threads(1)
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "whole")
        shutil.copytree(folder / "whole", folder / "store")
        whole = look(folder / "store")
        shutil.rmtree(folder / "store")
        assert whole.shown
        assert not whole.told, whole.told
        assert not whole.crashed, whole.crashed
        changes: dict[str, list[Callable[[Path], str]]] = {
            "version files": [partial(flip_version, draw=draw)] * asked.versions,
            "database": [partial(flip_database, draw=draw)] * asked.database,
            "log": [partial(change_log, change=change) for change in LOG_CHANGES],
        }
        missed = sum(outcomes(folder, whole, kind, made) for kind, made in changes.items())
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
