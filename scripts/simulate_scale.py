"""What grows, and how: rounding with rows, a retrain with batches, trainers at once, replicas that follow one log.

Each table is run here, through the project's own code, on this machine; what is only computed is marked `computed`.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from app.data.provenance import Provenance
from app.data.tables import Table, parse_observations
from app.errors import RetrainRunning
from app.main import JITTER
from app.model.moments import Array, Moments
from app.settings import Settings, StoreURL
from app.store.bucket import Bucket
from app.store.objects import open_store
from app.store.registry import Registry
from app.training import job as jobs
from app.training.job import Job
from app.training.order import Order
from scripts.bench.retrain import Cost, retrain_seconds

TUTORIAL = Path(__file__).resolve().parent.parent / "app" / "data" / "tutorial.csv"
PART_ROWS = 131_072
"""Rows that are learned at a time."""
MOST_TIMES = 2.0
"""How many times as long a retrain may take where most is stored, in CPU seconds."""
AT_ONCE = 64
"""Parts that are merged at once."""


def _exact(parts: list[Moments], times: int) -> tuple[Array, Array]:
    """Return mean and co-moment matrix of parts that come so many times each, in 80-bit floats."""
    counts = np.array([part.count for part in parts], dtype=np.longdouble)
    means = np.stack([part.mean for part in parts]).astype(np.longdouble)
    mean = counts @ means / counts.sum()
    away = means - mean
    within = sum(part.factor.astype(np.longdouble).T @ part.factor.astype(np.longdouble) for part in parts)
    total = times * (within + (counts[:, None] * away).T @ away)
    return np.asarray(mean), np.asarray(total)


def _chained(parts: list[Moments], count: int, start: int = 0) -> Moments:
    """Merge parts as they are read: some at a time, together with all before."""
    held: list[Moments] = []
    for number in range(start, start + count):
        held.append(parts[number % len(parts)])
        if len(held) > AT_ONCE:
            held = [Moments.merge(held, parts[0].columns)]
    return Moments.merge(held, parts[0].columns)


def rounding(seed: int, parts: int, partitions: int) -> None:
    """Print how far the moments of many rows are off, merged in one chain, and as partitions merged at once."""
    draw = np.random.default_rng(seed)
    some = []
    for _ in range(AT_ONCE):
        weather = draw.normal((70.0, 800.0, 60.0), (8.0, 200.0, 12.0), (2_000, 3))
        yields = weather @ (0.4, 0.05, -0.2) + draw.normal(0.0, 5.0, len(weather))
        some.append(Moments.of(np.column_stack([weather, yields + draw.normal(0.0, 2.0)])))
    some = [Moments(PART_ROWS, part.mean, part.factor, part.minimum, part.maximum) for part in some]
    share = parts // partitions // AT_ONCE * AT_ONCE  # each has the same parts, so that the truth is known
    mean, total = _exact(some, partitions * share // AT_ONCE)
    print(f"rounding: {partitions * share * PART_ROWS:.2g} rows as {partitions * share} parts of {PART_ROWS}")
    print(f"  {'':42s} {'S off by':>9s} {'mean off by':>12s}")
    ways: dict[str, Callable[[], Moments]] = {
        f"one chain, {AT_ONCE} at a time": lambda: _chained(some, partitions * share),
        f"{partitions} partitions, merged at once": lambda: Moments.merge(
            [_chained(some, share) for _ in range(partitions)], mean.size
        ),
    }
    for name, way in ways.items():
        merged = way()
        factor = merged.factor.astype(np.longdouble)
        deviations = np.sqrt(np.diag(total))
        off = np.abs(factor.T @ factor - total) / np.outer(deviations, deviations)
        print(f"  {name:42s} {float(off.max()):9.1e} {float(np.abs(merged.mean / mean - 1).max()):12.1e}")
    print()


@dataclass(frozen=True, slots=True)
class Trainer:
    """One of several processes that send harvests to the same store, with no lock to keep them apart."""

    settings: Settings
    number: int
    harvests: int

    def run(self, tries: Any) -> None:
        """Send each harvest until it is learned; ``tries`` counts the overtaken attempts of all trainers."""
        with mock.patch.object(jobs, "alone", return_value=nullcontext()), mock.patch.object(jobs, "logger") as logger:
            job = Job(self.settings)
            for number in range(self.harvests):
                self._send(job, self.number * self.harvests + number)
            job.close()
            with tries.get_lock():
                tries.value += logger.warning.call_count

    def _send(self, job: Job, number: int) -> None:
        while True:
            try:
                job.run(Order(Provenance(f"harvest {number}", "simulated"), _harvest(number), activate="always"))
            except RetrainRunning:
                continue
            return


def _harvest(number: int) -> Table:
    weather = np.array([[73.0, 67.0, 43.0], [91.0, 88.0, 64.0], [87.0, 134.0, 58.0]]) + number / 64
    yields = np.array([[56.0, 70.0], [81.0, 101.0], [119.0, 133.0]]) + number / 32
    return Table([f"{name}{number}" for name in "KLM"], (None,) * 3, weather, ("mango", "orange"), yields)


def first_model(settings: Settings) -> None:
    """Train the tutorial's table."""
    job = Job(settings)
    job.run(Order(Provenance("tutorial.csv", "simulated"), parse_observations(TUTORIAL.read_bytes()), alone=True))
    job.close()


def trainers(count: int, harvests: int) -> None:
    """Print what becomes of harvests that several processes teach the same store at once."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model_store=Path(folder) / "store")
        first_model(settings)
        spawn = multiprocessing.get_context("spawn")
        tries = spawn.Value("i", 0)
        processes = [
            spawn.Process(target=Trainer(settings, number, harvests).run, args=(tries,)) for number in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        registry = Registry(open_store(settings))
        cards = [registry.read(line.version).card for line in registry.log().lines]
        learned = [card.rows.total for card in reversed(cards)]
    lost = sum(rows != 15 + 3 * number for number, rows in enumerate(learned))
    print(f"trainers at once, without any lock: {count} processes, {harvests} harvests each, one folder and SQLite")
    print(f"  learned {len(learned) - 1} of {count * harvests}; overtaken and made again {tries.value} times;")
    print(f"  lines whose version lacks a harvest that came before: {lost}")
    print()


def _store_elsewhere(said: Any, is_over: Any) -> None:
    """Run a stand-in for S3 in a process of its own."""
    from tests.bucket import standin  # noqa: PLC0415 - by this process alone

    with standin() as server:
        said.put((server.environment, server.url()))
        is_over.wait()
        said.put(len(server.asked))


class Follower:
    """Looks for the next line as a replica does, and notes when it saw each."""

    def __init__(self, url: str, every_s: float) -> None:
        self._registry = Registry(Bucket(StoreURL(url)))
        self._every_s = every_s
        self.seen: dict[int, float] = {}
        self.looks = 0

    def run(self, is_over: threading.Event) -> None:
        """Follow until it is over."""
        wait = random.Random(id(self))  # noqa: S311 - no secret
        number = 1
        while not is_over.wait(self._every_s * wait.uniform(1 - JITTER, 1 + JITTER)):
            self.looks += 1
            while self._registry.has_line(number):
                self.seen[number] = time.monotonic()
                number += 1


def followers(count: int, every_s: float, lines: int) -> None:
    """Print when replicas that follow one log see its lines."""
    spawn = multiprocessing.get_context("spawn")
    said, served = spawn.Queue(), spawn.Event()
    store = spawn.Process(target=_store_elsewhere, args=(said, served))
    store.start()
    environment, url = said.get()
    written: dict[int, float] = {}
    with mock.patch.dict(os.environ, environment):
        bucket, is_over = Bucket(StoreURL(url)), threading.Event()
        many = [Follower(url, every_s) for _ in range(count)]
        threads = [threading.Thread(target=each.run, args=(is_over,)) for each in many]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        for number in range(1, lines + 1):
            time.sleep(2 * every_s)
            bucket.create(f"log/{number}.json", b"{}")
            written[number] = time.monotonic()
        time.sleep(3 * every_s)
        took = time.monotonic() - begun
        is_over.set()
        for thread in threads:
            thread.join()
    served.set()
    said.get()
    store.join()
    late = [each.seen[number] - at for number, at in written.items() for each in many if number in each.seen]
    missed = count * lines - len(late)
    middle, most = np.quantile(late, (0.5, 0.99))
    print(f"followers: {count} look for the next line every {every_s:g} s, give or take a fifth, on a stand-in for S3")
    print(f"  {sum(each.looks for each in many) / took:.0f} looks a second; {lines} lines were seen after")
    print(f"  {middle:.2f} s (median), {most:.2f} s (99%); missed: {missed}")
    for replicas, interval in itertools.product((1_000, 10_000), (0.5, 5.0)):
        print(f"  computed: {replicas} replicas every {interval:g} s are {replicas / interval:.0f} looks a second")
    print()


def batches(counts: list[int], *, postgresql: bool) -> None:
    """Print what a retrain on three new rows costs where so many batches are stored."""
    print("retrain on 3 new rows, batches of 30 rows with 2 crops:")
    print(f"  {'':12s} {'batches':>8s} {'seconds':>8s} {'CPU s':>8s} {'memory MB':>10s} {'version bytes':>14s}")
    used: dict[str, list[float]] = {}
    for kind, count in itertools.product(("SQLite", "PostgreSQL") if postgresql else ("SQLite",), counts):
        # Each in a process of its own: memory that was taken once is not given back.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
            cost = own.submit(_retrain_cost, kind, count).result()
        used.setdefault(kind, []).append(cost.cpu)
        print(
            f"  {kind:12s} {count:8d} {cost.seconds:8.3f} {cost.cpu:8.3f} {cost.memory:10.0f} {cost.file:14d}",
            flush=True,
        )
    print()

    if any(max(of) > MOST_TIMES * of[0] for of in used.values()):
        raise SystemExit(f"a retrain takes more than {MOST_TIMES:g} times as long where more is stored")


def _retrain_cost(kind: str, count: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        url = f"sqlite:///{Path(folder) / 'observations.db'}"
        if kind == "PostgreSQL":
            from tests.postgresql import cluster, programs  # noqa: PLC0415 - PostgreSQL is needed for this alone

            found = programs()
            if found is None:
                raise SystemExit("PostgreSQL is not installed here")
            url = stack.enter_context(cluster(found)).database()
        return retrain_seconds(count, url, Path(folder) / "store")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true", help="retrains on a PostgreSQL, too")
    given = parser.parse_args()
    rounding(given.seed, *((6_400, 10) if given.quick else (768_000, 1_007)))
    trainers(3, 3 if given.quick else 25)
    followers(*((20, 0.2, 3) if given.quick else (300, 0.5, 20)))
    batches([10, 100] if given.quick else [10, 1_000, 10_000, 100_000], postgresql=given.postgresql)


if __name__ == "__main__":
    main()
