"""Training: moments and descent beside scikit-learn, DuckDB and the tutorial's loop; and what a retrain costs."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from sklearn.linear_model import LinearRegression
from torch.utils.data import DataLoader, TensorDataset

from app.data.harvest import Harvest
from app.data.provenance import Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.model.descent import descend
from app.model.moments import Array, Moments
from app.model.weather import FEATURE_NAMES
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from scripts.bench.servers import ROOT

CROPS = ("mango", "orange")
COLUMNS = (*FEATURE_NAMES, *CROPS)
GROUP_ROWS = 1_000_000
LOOP_ROWS = {3: 6_000, 1_024: 200_000}
"""Batch sizes of the tutorial's loop, and how many rows it is given: its time grows with the rows."""
RETRAINS = 7


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some runs."""
    return min(_once(work) for _ in range(times))


def _once(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def harvest(rows: int, seed: int = 0) -> Array:
    """Return rows of weather and two crops' yields with noise, shape (rows, 5)."""
    draw = np.random.default_rng(seed)
    table = np.empty((rows, len(COLUMNS)))
    for column, (low, high) in enumerate(((60, 100), (45, 130), (40, 70))):
        table[:, column] = draw.uniform(low, high, rows)
    for column, weights in ((3, (0.3, 0.8, 0.5)), (4, (0.2, 0.9, 0.1))):
        table[:, column] = table[:, :3] @ weights + draw.normal(0, 3, rows)
    return np.maximum(table, 0.0)


@dataclass(frozen=True)
class InMemory:
    """Seconds for rows of 5 columns in memory, the last the yield, in one thread."""

    read: float
    moments: float
    descent: float
    scikit_learn: float
    difference: float
    """The largest relative difference of the weights from scikit-learn's."""


def in_memory(rows: int) -> InMemory:
    """Fit a column by four others."""
    draw = np.random.default_rng(1)
    table = draw.normal(50.0, 10.0, (rows, 5))
    table[:, 4] = table[:, :4] @ [1.0, 2.0, -1.0, 0.5] + draw.normal(0.0, 20.0, rows)
    moments = Moments.of(table)
    fit = descend({"crop": moments})
    reference = LinearRegression()
    return InMemory(
        seconds(table.sum),
        seconds(lambda: Moments.of(table)),
        seconds(lambda: descend({"crop": moments})),
        seconds(lambda: reference.fit(table[:, :-1], table[:, -1]), 1),
        float(np.abs(fit.crops["crop"].weights / reference.coef_ - 1).max()),
    )


def loop_seconds(batch_size: int) -> float:
    """Return what one epoch of the tutorial's loop takes, seconds per million rows."""
    table = torch.from_numpy(harvest(LOOP_ROWS[batch_size])).float()
    table = (table - table.mean(0)) / table.std(0)
    rows = DataLoader(TensorDataset(table[:, :3], table[:, 3:]), batch_size, shuffle=True)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)

    def epoch() -> None:
        for features, targets in rows:
            loss = torch.nn.functional.mse_loss(model(features), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    return seconds(epoch, 2) / LOOP_ROWS[batch_size] * 1e6


def write_parquet(path: Path, rows: int) -> None:
    """Write a harvest, a row group of a million rows after another."""
    schema = pa.schema([(name, pa.float64()) for name in COLUMNS])
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, GROUP_ROWS):
            table = harvest(min(GROUP_ROWS, rows - start), start)
            writer.write_table(pa.table(list(np.ascontiguousarray(table.T)), schema=schema))


@dataclass(frozen=True)
class FromParquet:
    """Seconds: Orchard validates, assigns folds, hashes and learns two crops; DuckDB sums products in two passes."""

    orchard: float
    duckdb: float


def from_parquet(path: Path) -> FromParquet:
    """Learn a file, and let DuckDB aggregate the same sums."""
    ours, theirs = [], []
    for _ in range(3):
        ours.append(_once(lambda: Harvest.of(TableFile(path))))
        theirs.append(_duckdb(path))
    return FromParquet(median(ours), median(theirs))


def _duckdb(path: Path) -> float:
    command = [sys.executable, "-m", "scripts.bench.duck", str(path)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@dataclass(frozen=True)
class Cost:
    """What a store that has learned ``rows`` asks for: a descent, ms, its epochs; a retrain on three new rows, ms."""

    rows: int
    descent_ms: float
    epochs: int
    retrain_ms: float


def costs(rows: int, folder: Path) -> Cost:
    """Learn so many rows, and then some more."""
    path = folder / f"{rows}.parquet"
    write_parquet(path, rows)
    job = Job(Settings(model_store=folder / f"store-{rows}"))
    learned = job.run(Order(Provenance(path.name, "benchmark"), TableFile(path), alone=True)).version
    crops = {crop: part.total for crop, part in learned.moments.items()}
    epochs = descend(crops).epochs
    descent = seconds(lambda: descend(crops), 10)
    times = []
    for number in range(RETRAINS):
        few = harvest(3, 10_000 + number)
        table = Table(("A", "B", "C"), (None,) * 3, few[:, :3], CROPS, few[:, 3:])
        times.append(_once(lambda table=table: job.run(Order(Provenance("three rows", "benchmark"), table))))  # type: ignore[misc]
    job.close()
    path.unlink()
    return Cost(rows, descent * 1e3, epochs, median(times) * 1e3)
