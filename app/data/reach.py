"""Whether the observations' database can be used: what its URL says, and whether it answers."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from app.data.integrity import PREFIX
from app.errors import InvalidInput

POSTGRESQL = "postgresql"
EXAMPLES = "postgresql+psycopg://user:password@host/database or sqlite:////folder/observations.db"
TIMEOUT_S = 5
NO_FAULT = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY})
"""Codes of a database that is there, and that somebody else is writing to."""


def check_url(url: str) -> None:
    """See whether a database of this URL could be opened, without opening it; the message never holds the password.

    Raises:
        InvalidInput: it is not a database's URL, or its driver is not installed.
    """
    from sqlalchemy import exc, make_url  # noqa: PLC0415 - by those whose database needs it

    try:
        dialect = make_url(url).get_dialect()
    except exc.NoSuchModuleError as error:
        raise InvalidInput(f"there is no such kind of database: {_kind(url)!r}; write {EXAMPLES}") from error
    except (exc.ArgumentError, ValueError):
        raise InvalidInput(f"this is not the URL of a database: write {EXAMPLES}") from None
    if dialect.is_async:
        raise InvalidInput(f"{_kind(url)!r} is a driver for asynchronous programs: write {EXAMPLES}")
    try:
        dialect.import_dbapi()
    except ImportError as error:
        remedy = (
            "install orchard-service[postgres]" if dialect.name == POSTGRESQL else f"install it, or write {EXAMPLES}"
        )
        if dialect.name == POSTGRESQL and dialect.driver != "psycopg":
            remedy = f"write {POSTGRESQL}+psycopg://…, and {remedy}"
        raise InvalidInput(f"the driver {dialect.driver!r} is not installed: {remedy}") from error


def _kind(url: str) -> str:
    return url.partition(":")[0]


def silence(url: str) -> str | None:
    """Say why the database behind an SQLAlchemy URL does not answer, None if it does; for the log, not for strangers.

    A file that nothing was written to yet is no fault.
    """
    return _silence_of_file(Path(url.removeprefix(PREFIX))) if url.startswith(PREFIX) else _silence_of_server(url)


def _silence_of_file(path: Path) -> str | None:
    try:
        if not path.exists():
            return None
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        return None if code & 0xFF in NO_FAULT else str(error)
    except OSError as error:
        return str(error)
    return None


def _silence_of_server(url: str) -> str | None:
    import sqlalchemy as sql  # noqa: PLC0415 - by those whose database needs it

    parsed = sql.make_url(url)
    arguments = {"connect_timeout": TIMEOUT_S} if parsed.get_backend_name() == POSTGRESQL else {}
    engine = sql.create_engine(parsed, poolclass=sql.NullPool, connect_args=arguments)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except sql.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        return reason.replace(parsed.password, "***") if isinstance(parsed.password, str) else reason
    return None
