"""How long DuckDB takes to sum a Parquet file's means and centred products: ``python -m scripts.bench.duck FILE``.

In a process of its own: it needs no other library here, and is loud at the end of one.
"""

import sys
import time

import duckdb


def main() -> None:
    """Print the seconds of one aggregation."""
    path = sys.argv[1]
    connection = duckdb.connect()
    names = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()]  # noqa: S608 - ours
    began = time.perf_counter()
    averages = ", ".join(f"avg({name})" for name in names)
    means = connection.execute(f"SELECT {averages} FROM '{path}'").fetchone() or ()  # noqa: S608
    centred = [f"({name} - {mean!r})" for name, mean in zip(names, means, strict=True)]
    pairs = [(i, j) for i in range(len(names)) for j in range(i, len(names))]
    products = ", ".join(f"sum({centred[i]} * {centred[j]})" for i, j in pairs)
    connection.execute(f"SELECT count(*), {products} FROM '{path}'").fetchone()  # noqa: S608
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
