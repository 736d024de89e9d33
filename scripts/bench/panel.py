"""Harvests as a warehouse has them: regions by name, some unnamed, seasons, and yields that are not all reported.

``python -m scripts.bench.panel FOLDER --rows 10000000 --files 16`` writes them as Parquet, the same for the same seed.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

REGIONS = 10_000
UNNAMED = 0.02
UNREPORTED = {"mango": 0.10, "orange": 0.05}
"""By crop: the share of rows that do not report it."""
SEASONS = tuple(str(year) for year in range(2006, 2026))
WEIGHTS = {"mango": (0.3, 0.8, 0.5), "orange": (0.2, 0.9, 0.1)}
"""By crop: tons per °F, mm and % of humidity."""
RANGES = {"temperature": (60.0, 100.0), "rainfall": (45.0, 130.0), "humidity": (40.0, 70.0)}
GROUP_ROWS = 625_000
"""Rows that are drawn, and written as a row group, at a time."""


def harvests(rows: int, seed: int, *, seasons: bool = True) -> pa.Table:
    """Draw some rows; ``seasons``: whether they name theirs."""
    draw = np.random.default_rng(seed)
    weather = [draw.uniform(low, high, rows) for low, high in RANGES.values()]
    columns: dict[str, pa.Array] = {"region": _named(draw, [f"region {n}" for n in range(REGIONS)], rows, UNNAMED)}
    if seasons:
        columns["season"] = _named(draw, SEASONS, rows, 0.0)
    columns |= {name: pa.array(column) for name, column in zip(RANGES, weather, strict=True)}
    for crop, share in UNREPORTED.items():
        tons = np.maximum(np.stack(weather, axis=1) @ WEIGHTS[crop] + draw.normal(0, 3, rows), 0.0)
        columns[crop] = pa.array(tons, mask=draw.random(rows) < share)
    return pa.table(columns)


def _named(draw: np.random.Generator, names: "list[str] | tuple[str, ...]", rows: int, unnamed: float) -> pa.Array:
    codes = draw.integers(len(names), size=rows).astype(np.int32)
    coded = pa.DictionaryArray.from_arrays(pa.array(codes, mask=draw.random(rows) < unnamed), pa.array(names))
    return coded.cast(pa.string())


def write(path: Path, rows: int, seed: int = 0, *, seasons: bool = True) -> None:
    """Write a file, a row group after another."""
    sizes = [min(GROUP_ROWS, rows - start) for start in range(0, rows, GROUP_ROWS)]
    first = harvests(1, seed, seasons=seasons)
    with parquet.ParquetWriter(path, first.schema) as writer:
        for number, size in enumerate(sizes):
            writer.write_table(harvests(size, seed + number, seasons=seasons))


def write_folder(folder: Path, rows: int, files: int, *, seasons: bool = True) -> None:
    """Write as many files with the same rows together as `write` puts into one, where it cuts them alike."""
    folder.mkdir(parents=True, exist_ok=True)
    each = rows // files
    for number in range(files):
        groups = -(-each // GROUP_ROWS)
        write(folder / f"part-{number:05}.parquet", each, number * groups, seasons=seasons)


def write_both(folder: Path, rows: int, files: int, *, seasons: bool = True) -> None:
    """Write a folder of files, and beside it one file with the same rows."""
    write_folder(folder, rows, files, seasons=seasons)
    paths = sorted(folder.glob("*.parquet"))
    with parquet.ParquetWriter(folder.with_suffix(".parquet"), parquet.read_schema(paths[0])) as writer:
        for path in paths:
            for batch in parquet.ParquetFile(path).iter_batches(GROUP_ROWS):
                writer.write_batch(batch)


def main() -> None:
    """Write a folder of files, and one file with the same rows beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--no-seasons", action="store_true")
    given = parser.parse_args()
    write_both(given.folder, given.rows, given.files, seasons=not given.no_seasons)


if __name__ == "__main__":
    main()
