"""The same rows by every way that they can be learned: CPU seconds, and how far the coefficients are apart.

``python -m scripts.bench.ways FOLDER`` measures a folder of `scripts.bench.panel`, and one file of the same rows beside
it, by each way that is there: PostgreSQL where its programs are, Spark where ORCHARD_TESTS_SPARK_HOME names one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyarrow import dataset, fs

from app.data.engines import source_of
from app.data.harvest import Harvest
from app.data.spark import Spark
from app.data.table_file import TableFile
from app.model.moments import Array, Moments
from scripts.bench.servers import ROOT
from tests import clusters
from tests.postgresql import cluster, programs


@dataclass(frozen=True)
class Way:
    """What learning by one way took: CPU and wall seconds, megabytes; the coefficients, crop by crop."""

    name: str
    cpu: float
    wall: float
    megabytes: float
    coefficients: Array

    def apart(self, other: "Way") -> float:
        """Return how far the coefficients are from the other's, of the largest."""
        return float(np.abs(self.coefficients - other.coefficients).max() / np.abs(other.coefficients).max())


def ways(folder: Path) -> Iterator[Way]:
    """Measure each way that is there, one after another."""
    yield _way("one file", str(folder.with_suffix(".parquet")))
    yield _way("a folder", str(folder))
    with clusters.s3() as endpoint:
        storage = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
        storage.create_dir("rows")
        fs.copy_files(str(folder), "rows/all", destination_filesystem=storage, chunk_size=2**23)
        yield _way("s3:// (moto)", "s3://rows/all")
    if (found := programs()) is not None:
        with cluster(found) as running:
            url = running.database().replace("+psycopg", "")
            _load(url, folder)
            yield _way("PostgreSQL, ADBC", url, "--query", "SELECT * FROM harvests")
    yield _way("Sail, Spark Connect", str(folder), "--engine", "sail")
    home = clusters.spark_home()
    if home is not None:
        with ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchard-spark-")))
            url = stack.enter_context(clusters.spark(home, place)).url
            _way("warm", str(folder / "part-00000.parquet"), "--engine", url)
            before = _seconds_of_cluster(home)
            way = _way("Spark, master and 2 workers", str(folder), "--engine", url)
            cpu = way.cpu + _seconds_of_cluster(home) - before
            yield Way(way.name, cpu, way.wall, way.megabytes, way.coefficients)


def _load(url: str, folder: Path) -> None:
    import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415 - by those who have a database

    rows = dataset.dataset(folder, format="parquet").scanner(batch_size=131_072, use_threads=False).to_reader()
    with driver.connect(url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("harvests", rows, mode="create")
        connection.commit()


def _seconds_of_cluster(home: Path) -> float:
    """Return the CPU seconds of all processes that run out of a Spark's folder, and of those that they have started."""
    mine = str(home.parents[3]).encode()
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields, words = stat.read_text().rpartition(")")[2].split(), (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if mine in words:
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _way(name: str, data: str, *more: str) -> Way:
    command = [sys.executable, "-m", "scripts.bench.ways", "--way", name, data, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    told = json.loads(done.stdout.splitlines()[-1])
    return Way(name, told["cpu"], told["wall"], told["megabytes"], np.array(told["coefficients"]))


def learn(data: str, query: str | None, engine: str | None) -> dict[str, object]:
    """Learn rows in this process, and return what it took; the import of libraries is not counted."""
    with ExitStack() as stack:
        if engine == "sail":
            engine = stack.enter_context(clusters.sail())
        small = Path(__file__).parents[2] / "app" / "data" / "tutorial.csv"
        Harvest.of(TableFile(small))
        __import__("app.data.parts")
        source = source_of(data, query, engine)
        before, began = _seconds(), time.perf_counter()
        found = source.learned(lambda _: None)[0] if isinstance(source, Spark) else Harvest.of(source)
        took = {"cpu": _seconds() - before, "wall": time.perf_counter() - began}
    # Not what `resource` says, which begins with the memory of the process that has started this one.
    status = Path("/proc/self/status").read_text()
    megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    crops = [_coefficients(found.moments[crop].total) for crop in sorted(found.moments)]
    return {**took, "megabytes": megabytes, "coefficients": np.concatenate(crops).tolist(), "rows": found.rows}


def _coefficients(moments: Moments) -> Array:
    """Return weights and intercept of the least-squares line."""
    weights = np.linalg.solve(moments.factor[:-1, :-1], moments.factor[:-1, -1])
    return np.append(weights, moments.mean[-1] - weights @ moments.mean[:-1])


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure one way, or all, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--way")
    parser.add_argument("--query")
    parser.add_argument("--engine")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(learn(given.data, given.query, given.engine)))
        return
    first = None
    for way in ways(Path(given.data)):
        first = first or way
        print(
            f"{way.name}: {way.cpu:.2f} s of CPU ({way.cpu / first.cpu:.2f}), {way.wall:.2f} s, "
            f"{way.megabytes:.0f} MB, coefficients {way.apart(first):.1e} apart",
            flush=True,
        )


if __name__ == "__main__":
    main()
