"""Measures Orchard beside the least that uvicorn can do and the service that most people would write.

One run, interleaved: what counts are the ratios, since the machine's speed changes from minute to minute. Prints
Markdown tables. Needs wrk, and the extra `bench`.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

# One thread for linear algebra, before NumPy is imported: the other core is the load generator's.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app import memory
from scripts.bench import bulk, learning, looking, panel, peers
from scripts.bench.load import Load, load, middle, require_wrk
from scripts.bench.servers import FLOOR, IDIOMATIC, ORCHARD, Connection, Kind, Server, serving

SERVER_CORE, LOAD_CORE, ALL_CORES = "0", "1", "0,1"
PACED = "math.random(2, 10)"
"""Milliseconds between two requests of a connection where the latency of single predictions is what is measured."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: int
    bulk_rounds: int
    beside_rounds: int
    beside_seconds: int
    rows: int
    cost_rows: Sequence[int]


QUICK = Effort(2, 1, 1, 1, 1, 500_000, (1_000, 100_000))
FULL = Effort(7, 3, 7, 3, 4, 10_000_000, (1_000, 100_000, 10_000_000))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute")
    effort = QUICK if parser.parse_args().quick else FULL
    require_wrk()
    memory.keep_freed()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "store"
        subprocess.run(
            [sys.executable, "-m", "app", "train"],
            env=os.environ | {"ORCHARD_MODEL_STORE": str(store)},
            cwd=Path(__file__).parent.parent,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        peers.hand_over(store)
        one_region(store, effort, [] if effort is QUICK else peers.installed())
        many_regions(store, effort)
        beside(store, effort)
        if looking.is_possible():
            page(store, effort)
        training(folder, effort)
        by_every_way(folder, effort)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores, {model}"


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"### {title}\n")
    for line in (header, ["---", *["---:"] * (len(header) - 1)], *rows):
        print(f"| {' | '.join(line)} |")
    print(flush=True)


def one_region(store: Path, effort: Effort, others: list[Kind]) -> None:
    """Ask each service about one region at a time, 16 connections, server and load on a core each."""
    kinds = [FLOOR, IDIOMATIC, ORCHARD, *others]
    loads: dict[str, list[Load]] = {kind.name: [] for kind in kinds}
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(kind, SERVER_CORE, store)) for kind in kinds]
        for server in servers:
            load(server, LOAD_CORE, 1)
        for _ in range(effort.rounds):
            for server in servers:
                loads[server.kind.name].append(load(server, LOAD_CORE, effort.seconds))
        memories = [server.family_megabytes for server in servers]
    rows = [_row(kind, loads, used) for kind, used in zip(kinds, memories, strict=True)]
    for _ in range(effort.rounds):
        for kind, row in zip(kinds, rows, strict=True):
            with serving(kind, SERVER_CORE, store) as server:
                row.append(f"{server.start_s:.2f}")
    rows = [[*row[:8], f"{median(map(float, row[8:])):.2f}"] for row in rows]
    header = ["one region", "answers/s", "of uvicorn's", "× idiomatic", "p50 ms", "p99 ms", "failed", "memory MB"]
    _print("One region in a request", [*header, "start s"], rows)


def _row(kind: Kind, loads: dict[str, list[Load]], megabytes: float) -> list[str]:
    mine = middle(loads[kind.name])
    return [
        kind.name,
        f"{mine.rate:,.0f}",
        f"{_ratio(loads[kind.name], loads[FLOOR.name]):.2f}",
        f"{_ratio(loads[kind.name], loads[IDIOMATIC.name]):.1f}",
        f"{mine.p50:.2f}",
        f"{mine.p99:.2f}",
        f"{mine.failures}",
        f"{megabytes:.0f}",
    ]


def _ratio(ours: list[Load], theirs: list[Load]) -> float:
    """The median over the rounds: what is compared was measured within seconds."""
    return median(one.rate / other.rate for one, other in zip(ours, theirs, strict=True))


def many_regions(store: Path, effort: Effort, count: int = 100_000) -> None:
    """Ask about a grid of regions in one request, in every format."""
    weather = bulk.regions(count)
    with ExitStack() as stack:
        idiomatic = stack.enter_context(serving(IDIOMATIC, SERVER_CORE, store))
        orchard = stack.enter_context(serving(ORCHARD, SERVER_CORE, store))
        echo = stack.enter_context(serving(bulk.ECHO, SERVER_CORE, store))
        stack.enter_context(_on_core(LOAD_CORE))
        questions = [
            bulk.Question(bulk.IDIOMATIC_ROWS, weather, idiomatic),
            *(bulk.Question(form, weather, orchard) for form in (bulk.ROWS, bulk.CSV, bulk.COLUMNS, bulk.ARROW_STREAM)),
            bulk.Question(bulk.ARROW_ECHO, weather, echo),
        ]
        over_http = bulk.milliseconds(questions, effort.bulk_rounds)
        memory_after = {server.kind.name: server.family_megabytes for server in (idiomatic, orchard)}
    with _on_core(SERVER_CORE):
        inside = bulk.milliseconds_inside(store, weather, effort.bulk_rounds)
    rows = []
    for form, took in over_http.items():
        mine = inside.get(form)
        rows.append(
            [
                form.name,
                f"{took:,.1f}",
                f"{over_http[bulk.IDIOMATIC_ROWS] / took:.1f}",
                f"{over_http[bulk.COLUMNS] / took:.1f}",
                f"{mine:,.1f}" if mine else "",
                f"{inside[bulk.IDIOMATIC_ROWS] / mine:.1f}" if mine else "",
                f"{inside[bulk.COLUMNS] / mine:.1f}" if mine else "",
            ]
        )
    header = [f"{count:,} regions", "over HTTP, ms", "× idiomatic", "× columns"]
    _print("Many regions in a request", [*header, "in the service, ms", "× idiomatic", "× columns"], rows)
    print("Memory afterwards, MB:", ", ".join(f"{name} {used:.0f}" for name, used in memory_after.items()), "\n")


@contextmanager
def _on_core(core: str) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def beside(store: Path, effort: Effort) -> None:
    """Ask about one region at a time while the server does something large as well; both cores free to all."""
    with serving(ORCHARD, ALL_CORES, store) as server:
        token = (store / "token").read_text().strip()
        columns = bulk.Question(bulk.COLUMNS, bulk.regions(100_000), server)
        arrow = bulk.Question(bulk.ARROW_STREAM, bulk.regions(100_000), server)
        works: dict[str, Callable[[], object]] = {
            "bulk requests, columns": columns.milliseconds,
            "bulk requests, Arrow": arrow.milliseconds,
            "retrains, 3 new rows each": _Retrains(server, token, 3).run,
            "retrains, 5,000 new rows each": _Retrains(server, token, 5_000).run,
        }
        load(server, ALL_CORES, 1, pause_ms=PACED)
        rows = []
        for name, work in works.items():
            work()
            idle, busy, done = [], [], 0
            for _ in range(effort.beside_rounds):
                idle.append(load(server, ALL_CORES, effort.beside_seconds, pause_ms=PACED))
                with _again_and_again(work) as count:
                    busy.append(load(server, ALL_CORES, effort.beside_seconds, pause_ms=PACED))
                done += count()
            before, while_ = middle(idle), middle(busy)
            figures = [f"{before.p99:.2f}", f"{while_.p99:.2f}", f"{while_.p99 / before.p99:.2f}"]
            rows.append([name, f"{done}", f"{before.rate:,.0f}", *figures, f"{while_.failures}"])
    header = ["single predictions beside", "how many", "predictions/s", "idle p99 ms", "p99 ms", "ratio", "failed"]
    _print("Latency of single predictions while the server is at work", header, rows)


def page(store: Path, effort: Effort) -> None:
    """Look at the page with a browser on the same cores, and move a slider once a frame."""
    with serving(ORCHARD, ALL_CORES, store) as server:
        looks = looking.looks(server, effort.beside_rounds)
    rows = [
        [
            f"{look.files}",
            f"{look.kilobytes:.0f}",
            f"{look.first_answer:.0f}",
            f"{len(look.drawn)}",
            f"{median(look.drawn):.0f}",
            f"{sorted(look.drawn)[int(len(look.drawn) * 0.95)]:.0f}",
            f"{median(look.between):.0f}",
        ]
        for look in looks
    ]
    header = ["files", "kB", "first answer ms", "moves", "move to painted, p50 ms", "p95 ms", "frame p50 ms"]
    _print("The page in a new browser", header, rows)


@contextmanager
def _again_and_again(work: Callable[[], object]) -> Iterator[Callable[[], int]]:
    """Do it over and over in a thread, and tell how often."""
    stop = threading.Event()
    count = 0

    def run() -> None:
        nonlocal count
        os.nice(10)  # this thread stands for a machine elsewhere: it should not take the server's time
        while not stop.is_set():
            work()
            count += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: count
    finally:
        stop.set()
        thread.join()


class _Retrains:
    """Retrains on new rows as well as those stored, published each time."""

    def __init__(self, server: Server, token: str, rows: int) -> None:
        self._connection = Connection(server.port, 2**20)
        self._headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {token}"}
        lines = [",".join(map(repr, row)) for row in learning.harvest(rows).tolist()]
        self._body = "\n".join([",".join(learning.COLUMNS), *lines]).encode()

    def run(self) -> None:
        """Retrain once."""
        answer = bytes(self._connection.post("/retrain?activate=always", self._body, self._headers))
        if b" 200 " not in answer[:16]:
            raise RuntimeError(answer.decode())


def training(folder: Path, effort: Effort) -> None:
    """Learn from memory and from Parquet; and what an epoch and a retrain cost once much has been learned."""
    rows = effort.rows
    found = learning.in_memory(rows)
    ours = found.moments + found.descent
    loops = {size: learning.loop_seconds(size) * rows / 1e6 for size in learning.LOOP_ROWS}
    table = [
        ["one plain read of the memory", f"{found.read:.4f}", f"{ours / found.read:.1f}"],
        ["Orchard: moments and descent", f"{ours:.4f}", "1.0"],
        ["scikit-learn LinearRegression", f"{found.scikit_learn:.3f}", f"{ours / found.scikit_learn:.3f}"],
        *(
            [f"the tutorial's loop, one epoch, batches of {size} (extrapolated)", f"{took:.0f}", f"{ours / took:.5f}"]
            for size, took in loops.items()
        ),
    ]
    _print(f"{rows:,} rows of 5 columns in memory", ["", "s", "Orchard's time as a multiple"], table)
    print(
        f"scikit-learn takes {found.scikit_learn / ours:.1f} times as long; weights differ by {found.difference:.1e}\n"
    )
    path = folder / "harvest.parquet"
    learning.write_parquet(path, rows)
    parquet = learning.from_parquet(path)
    path.unlink()
    table = [
        [
            "Orchard: validate, fold, hash, learn two crops",
            f"{parquet.orchard:.3f}",
            f"{parquet.orchard / parquet.duckdb:.2f}",
        ],
        ["DuckDB: means, then centred products", f"{parquet.duckdb:.3f}", "1.00"],
    ]
    _print(f"{rows:,} rows from Parquet", ["", "s", "× DuckDB"], table)
    costs = [learning.costs(count, folder) for count in effort.cost_rows]
    table = [
        [f"{cost.rows:,}", f"{cost.epochs}", f"{cost.descent_ms / cost.epochs * 1e3:.0f}", f"{cost.retrain_ms:.0f}"]
        for cost in costs
    ]
    _print("Once that many rows are learned", ["rows", "epochs", "an epoch, µs", "a retrain on 3 new rows, ms"], table)


def by_every_way(folder: Path, effort: Effort) -> None:
    """Learn the same rows, with names and nulls, out of a file, a folder, storage, a database, and on an engine."""
    from scripts.bench import ways  # noqa: PLC0415 - needs what tests need

    panel.write_both(folder / "rows", effort.rows, 16)
    found = list(ways.ways(folder / "rows"))
    table = [
        [
            way.name,
            f"{way.cpu:.2f}",
            f"{way.cpu / found[0].cpu:.2f}",
            f"{way.wall:.1f}",
            f"{way.megabytes:.0f}",
            f"{way.apart(found[0]):.0e}",
        ]
        for way in found
    ]
    header = [f"{effort.rows:,} rows", "CPU s", "× one file", "s", "memory MB", "coefficients apart"]
    _print("The same rows by every way", header, table)


if __name__ == "__main__":
    main()
