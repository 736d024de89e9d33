"""Whether an SQLite file is whole, and whether a training is under way in it, without the weight of SQLAlchemy."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PREFIX = "sqlite:///"
WHOLLY, LARGEST = 32 * 2**20, 256 * 2**20
"""Bytes of a database that are looked through at a start, with its indexes and without; of a larger one only the
beginning is. `orchard check` looks through all of any."""


def database_fault(url: str, *, wholly: bool = False) -> str | None:
    """Say what is wrong with the database behind an SQLAlchemy URL, None for nothing, or where it is no SQLite file.

    ``wholly``: whatever its size.
    """
    path = _path(url)
    if path is None:
        return None
    try:
        with _opened(path) as connection:
            (answer,) = connection.execute(_check(path.stat().st_size, wholly=wholly)).fetchone()
            is_small = wholly or path.stat().st_size <= WHOLLY
            orphan = connection.execute("PRAGMA foreign_key_check").fetchone() if is_small else None
    except sqlite3.OperationalError as error:
        # Locked, or out of reach just now: that is not damage.
        return None if "malformed" not in str(error) else f"the observations' database is damaged: {error}"
    except sqlite3.DatabaseError as error:
        return f"the observations' database is damaged: {error}"
    except UnicodeDecodeError:  # SQLite says what it has read, which is no text
        return "the observations' database is damaged: its tables are not what they were"
    if orphan is not None:
        return "the observations' database is damaged: there are rows of a batch that is not there"
    return None if isinstance(answer, int) or answer == "ok" else f"the observations' database is damaged: {answer}"


def _check(size: int, *, wholly: bool) -> str:
    if wholly or size <= WHOLLY:
        return "PRAGMA integrity_check(1)"
    return "PRAGMA quick_check(1)" if size <= LARGEST else "PRAGMA schema_version"


def has_trainings(url: str) -> bool:
    """Say whether an interrupted training may have left something to do: of a database elsewhere it is not known."""
    path = _path(url)
    if path is None:
        return not url.startswith(PREFIX)
    try:
        with _opened(path) as connection:
            return connection.execute("SELECT 1 FROM trainings").fetchone() is not None
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def has_forecasts(url: str) -> bool:
    """Say whether some forecast is stored: of a database elsewhere it is not known."""
    path = _path(url)
    if path is None:
        return not url.startswith(PREFIX)
    try:
        with _opened(path) as connection:
            return connection.execute("SELECT 1 FROM forecast_batches").fetchone() is not None
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def is_there(url: str) -> bool:
    """Say whether there is a database, as far as is known: one elsewhere may be there."""
    return _path(url) is not None or not url.startswith(PREFIX)


def is_open_to_all(url: str) -> bool:
    """Say whether everybody on this machine can read the database's file, as those of 0.1.0 could be."""
    path = _path(url)
    return path is not None and bool(path.stat().st_mode & stat.S_IROTH and path.parent.stat().st_mode & stat.S_IXOTH)


def _path(url: str) -> Path | None:
    path = Path(url.removeprefix(PREFIX))
    return path if url.startswith(PREFIX) and path.is_file() else None


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
        yield connection
