"""What a retrain on three new rows costs where many batches are stored: ``python -m scripts.bench.retrain 10 1000``.

Batches of 30 rows with two crops, of 30 regions and ten seasons, are put into the database by the thousand; the job
runs in this process, warm. With ``--postgresql``, on a server of its own besides.
"""

import argparse
import contextlib
import hashlib
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import sqlalchemy as sql

from app.data import stored
from app.data.harvest import Harvest
from app.data.observations import Batch, Observations
from app.data.packed import packed_moments
from app.data.provenance import Provenance
from app.data.stored import BATCHES, OBSERVATIONS
from app.data.tables import Table
from app.model.moments import Array
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order

CROPS = ("mango", "orange")
ROWS, REGIONS, SEASONS = 30, 30, 10
TEMPLATES = 200
"""So many batches differ; the others have the rows of one of them, under ids of their own."""
AT_ONCE = 1_000
WARM, TIMES = 2, 5


@dataclass(frozen=True)
class Cost:
    """Of one retrain: ``seconds`` and those of the processor (``cpu``), medians; ``file``: of its version, bytes.

    ``memory``: the process' largest resident set, MB.
    """

    batches: int
    seconds: float
    cpu: float
    memory: float
    file: int


def _yields(weather: Array, draw: np.random.Generator) -> Array:
    weights = np.array([[0.3, 0.2], [0.8, 0.9], [0.5, 0.1]])
    return np.asarray(np.maximum(weather @ weights + draw.normal(0, 3, (len(weather), 2)), 0.0))


def _table(number: int, rows: int = ROWS) -> Table:
    draw = np.random.default_rng(number)
    weather = draw.uniform((60, 45, 40), (100, 130, 70), (rows, 3))
    regions = [f"region {(number * 7 + row) % REGIONS}" for row in range(rows)]
    return Table(regions, [str(2000 + number % SEASONS)] * rows, weather, CROPS, _yields(weather, draw))


def fill(url: str, batches: int) -> None:
    """Store so many batches, as if each had been sent: with rows, moments, cells, a record, and all checksums."""
    observations = Observations(url)
    provenance = Provenance("bench", "bench")
    with observations.transaction() as transaction:
        first = Harvest.of(_table(0))
        transaction.add(Batch.of(first, provenance), first, {})
    observations.close()
    templates = [Harvest.of(_table(number)) for number in range(min(batches, TEMPLATES))]
    engine = sql.create_engine(url)
    packed = [_packed(harvest, provenance) for harvest in templates]
    began = datetime.now(UTC) - timedelta(days=1)
    for start in range(1, batches, AT_ONCE):
        with engine.begin() as connection:
            entries: list[dict[str, Any]] = []
            rows: list[dict[str, Any]] = []
            for number in range(start, min(start + AT_ONCE, batches)):
                of = number % len(packed)
                entry, table = dict(packed[of]), templates[of].table
                entry |= {"sequence": number + 1, "id": uuid.uuid4().hex, "created": began + timedelta(seconds=number)}
                entry["checksum"] = stored.checksum([entry.get(name) for name in stored.CHECKED_ENTRY])
                entries.append(entry)
                rows += _rows(table, entry["id"], number + 1)
            connection.execute(sql.insert(BATCHES), entries)
            connection.execute(sql.insert(OBSERVATIONS), rows)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            query = f"SELECT setval(pg_get_serial_sequence('batches', 'sequence'), {batches})"
            connection.execute(sql.text(query))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sql.text("ANALYZE"))
    engine.dispose()


def _rows(table: Table | None, batch: str, sequence: int) -> Iterator[dict[str, Any]]:
    from app.data.observations import _rows as rows  # noqa: PLC0415 - as a batch's rows are written

    return iter(()) if table is None else rows(table, batch, sequence)


def _packed(harvest: Harvest, provenance: Provenance) -> dict[str, Any]:
    """Return the columns of a batch with these rows, but for those that name it."""
    moments = packed_moments(harvest.moments)
    digest = hashlib.sha256(moments).hexdigest()
    batch = Batch.of(harvest, provenance)
    entry = {name: getattr(batch, name) for name in stored.ENTRY} | {"moments": moments, "moments_sha256": digest}
    empty = dict.fromkeys(("restored", "restored_why", "restored_by"))
    return entry | empty | stored.packed_cells(harvest.cells) | stored.packed_record({})


def retrain_seconds(batches: int, url: str, store: Path, times: int = TIMES) -> Cost:
    """Fill a new database, train on all of it, and return what a retrain on three new rows costs from then on."""
    fill(url, batches)
    job = Job(Settings(model_store=store, database_url=url))
    job.run(Order(Provenance("bench", "bench"), None, activate="always"))
    taken = []
    for number in range(WARM + times):
        order = Order(Provenance("bench", "bench"), _table(10_000_000 + number, 3), activate="always")
        begun, used = time.perf_counter(), time.process_time()
        version = job.run(order).report.version
        taken.append((time.perf_counter() - begun, time.process_time() - used))
    job.close()
    file = (store / "versions" / f"{version}.safetensors").stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    wall, cpu = (median(each) for each in zip(*taken[WARM:], strict=True))
    return Cost(batches, wall, cpu, memory, file)


@contextlib.contextmanager
def _urls(folder: Path, *, postgresql: bool) -> Iterator[dict[str, str]]:
    urls = {"SQLite": f"sqlite:///{folder / 'observations.db'}"}
    if not postgresql:
        yield urls
        return
    from tests.postgresql import cluster, programs  # noqa: PLC0415 - PostgreSQL is needed for this alone

    found = programs()
    if found is None:
        raise SystemExit("PostgreSQL is not installed here")
    with cluster(found) as server:
        yield {"PostgreSQL": server.database()}


def main() -> None:
    """Print a line for each number of batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("batches", type=int, nargs="+")
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    for batches in given.batches:
        with tempfile.TemporaryDirectory() as folder, _urls(Path(folder), postgresql=given.postgresql) as urls:
            for name, url in urls.items():
                cost = retrain_seconds(batches, url, Path(folder) / "store")
                times = f"{cost.seconds * 1e3:.1f} ms, CPU {cost.cpu * 1e3:.1f} ms"
                print(f"{name}: {batches} batches: {times}, {cost.memory:.0f} MB, {cost.file} bytes")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
