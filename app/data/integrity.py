"""Whether an SQLite file is whole, asked without the weight of SQLAlchemy."""

import sqlite3
from contextlib import closing
from pathlib import Path

PREFIX = "sqlite:///"
LARGEST = 256 * 2**20
"""Bytes of a database that are looked through at a start; of a larger one only the beginning is."""


def database_fault(url: str) -> str | None:
    """Say what is wrong with the database behind an SQLAlchemy URL, None for nothing, or where it is no SQLite file."""
    path = Path(url.removeprefix(PREFIX))
    if not url.startswith(PREFIX) or not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
            check = "PRAGMA quick_check(1)" if path.stat().st_size <= LARGEST else "PRAGMA schema_version"
            (answer,) = connection.execute(check).fetchone()
    except sqlite3.OperationalError:
        return None  # locked, or out of reach just now: that is no damage
    except sqlite3.DatabaseError as error:
        return f"the observations' database is damaged: {error}"
    return None if isinstance(answer, int) or answer == "ok" else f"the observations' database is damaged: {answer}"
