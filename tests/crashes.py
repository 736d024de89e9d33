"""Kills a process while it writes, again and again, and looks at what is left: ``python -m tests.crashes``.

Each write is made in a child that is forked from here and killed with SIGKILL: with ``--steps`` at each call that
changes a file or the database, one after another; with ``--random N`` at N random moments. What the child has
acknowledged it says through a pipe. After each crash the store must start, serve a whole version, and hold
everything that was acknowledged; and the same write, made again, must succeed.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine, event

from app.data.observations import Observations
from app.data.provenance import Once, Provenance
from app.data.table_file import TableFile
from app.data.tables import parse_observations
from app.settings import Settings
from app.store.objects import TEMPORARY, Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from app.wire import forecasts
from app.wire.forecasts import ForecastOptions
from app.wire.reported import Sent, store_at

CSV = b"""region,temperature,rainfall,humidity,mango,orange
K,73,67,43,56.5,70.2
L,91,88,64,81.3,100.4
M,87,134,58,118.7,134
"""
EXPECTED = b"""region,season,id,temperature,rainfall,humidity
K,2027,,73,67,43
L,2027,,91,88,64
M,2027,,87,134,58
"""
TUTORIAL = Path(__file__).parent.parent / "app" / "data" / "tutorial.csv"
CHANGES = ("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE")
LOOKED_AT = 5
"""Versions and batches that are looked at after each crash, the newest."""
LONGEST_S = 0.08
"""The latest moment at which a write is killed: most are done by then."""

Write = Callable[[Settings, str], str]
"""Makes one write under an idempotency key, and returns what it acknowledges: a version or a batch."""


def retrain(settings: Settings, key: str) -> str:
    """Learn three rows and make the version live."""
    job = Job(settings)
    order = Order(Provenance("crash", "test"), parse_observations(CSV), activate="always", once=Once(key, "same"))
    version = job.run(order).report.version
    job.close()
    assert version is not None
    return f"version {version}"


def train(settings: Settings, key: str) -> str:
    """Start anew from the tutorial's table."""
    job = Job(settings)
    version = job.run(Order(Provenance(key, "test"), TableFile(TUTORIAL), alone=True, activate="always")).report.version
    job.close()
    assert version is not None
    return f"version {version}"


def activate(settings: Settings, key: str) -> str:
    """Roll back to the first version."""
    Registry(Objects(settings.folder)).activate("1", "test", key)
    return "version 1"


def forecast(settings: Settings, key: str) -> str:
    """Predict three regions, and keep it."""
    provenance, once = Provenance("POST /forecasts", "test"), Once(key, "same")
    served = Registry(Objects(settings.folder)).read("1")
    options = ForecastOptions("text/csv", 10, "1", served.model, 0.95)
    answer, kept = forecasts.store_at(EXPECTED, options, provenance, once, settings.database)
    assert kept.batch in answer.decode()
    return f"forecasts {kept.batch}"


def upload(settings: Settings, key: str) -> str:
    """Store three rows."""
    provenance, once = Provenance("POST /observations", "test"), Once(key, "same")
    answer, _ = store_at(CSV, Sent("text/csv", 10, {}), provenance, once, settings.database)
    return "batch " + answer.decode().split('"')[3]


WRITES: list[Write] = [retrain, train, activate, upload, forecast]


def die_at(step: int) -> None:
    """Count the calls that change anything, in this process, and kill it at one of them."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*positional: Any, **named: Any) -> Any:
            count()
            result = call(*positional, **named)
            count()
            return result

        return counting

    for name in ("link", "fsync", "fchmod", "unlink", "mkdir", "ftruncate"):
        setattr(os, name, counted(getattr(os, name)))
    for name in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(Engine, name, lambda _c, _u, statement, *_: count() if statement.startswith(CHANGES) else None)
    event.listen(Engine, "commit", lambda _connection: count())


def crash(write: Write, settings: Settings, key: str, step: int | None, after_s: float) -> tuple[bool, str]:
    """Make a write in a child and kill it; return whether it was killed, and what it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        if step is not None:
            die_at(step)
        os.write(writing, write(settings, key).encode())
        os._exit(0)
    os.close(writing)
    if step is None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        acknowledged = pipe.read().decode()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{write.__name__} failed by itself"
    return os.WIFSIGNALED(status), acknowledged


class Witness:
    """What has been acknowledged so far, and must be there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._batches: list[str] = []
        self._forecasts: list[str] = []
        self._live = "1"

    def look(self, acknowledged: str, wrote: Write) -> None:
        """Start on the store as the next process would, and compare."""
        objects = Objects(self._settings.folder)
        objects.clean()
        # An empty file may be one that its writer has yet to lock: it goes at a later start.
        left = [path for path in (objects.root / TEMPORARY).iterdir() if path.stat().st_size]
        assert not left, "a temporary file is left"
        registry = Registry(objects)
        for number in registry.versions()[:LOOKED_AT]:
            registry.read(str(number))
        line, version, damage = registry.live()
        assert not damage, damage
        assert all(crop.tons([73.0, 67.0, 43.0]) > 0 for crop in version.model.crops)
        kind, _, name = acknowledged.partition(" ")
        if kind == "batch":
            self._batches.append(name)
        if kind == "forecasts":
            self._forecasts.append(name)
        if kind == "version":
            self._live = name
        elif line.version != self._live:
            assert wrote not in {upload, forecast}, "an upload has changed the live version"
            self._live = line.version  # it was killed after the activation and before it could say so
        assert line.version == self._live, f"{line.version} is live, {self._live} was acknowledged"
        observations = Observations(self._settings.database)
        with observations.transaction() as transaction:
            for batch in self._batches[-LOOKED_AT:]:
                transaction.withdraw(batch, "test", "seen")  # raises NotFound if an acknowledged batch is lost
            found = [transaction.forecasts.of_batch(batch)[1] for batch in self._forecasts[-LOOKED_AT:]]
            assert all(len(told) == len(EXPECTED.splitlines()) - 1 for told in found), "forecasts are lost"
            halves = [fault for fault in transaction.faults() if "forecast" in fault]
            assert not halves, halves
        observations.close()


def main() -> int:
    """Crash as asked, and say how often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(asked.seed)  # noqa: S311 - moments to be killed at
    crashes = 0
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model_store=Path(folder) / "store")
        train(settings, "first")
        witness = Witness(settings)
        for write in WRITES if asked.steps else []:
            step, killed = 1, True
            while killed:
                key = f"{write.__name__} {step}"
                killed, acknowledged = crash(write, settings, key, step, 0)
                witness.look(acknowledged, write)
                witness.look(write(settings, key), write)
                step += 1
                crashes += killed
            print(f"{write.__name__}: killed at each of {step - 2} steps", flush=True)
        number, wanted = 0, crashes + asked.random
        while crashes < wanted:
            number += 1
            write = draw.choice(WRITES)
            killed, acknowledged = crash(write, settings, f"random {number}", None, draw.uniform(0, LONGEST_S))
            witness.look(acknowledged, write)
            crashes += killed
            if not acknowledged:
                witness.look(write(settings, f"random {number}"), write)
    print(f"{crashes} crashes, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
