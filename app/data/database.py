"""A connection to SQLite or PostgreSQL, and the end of a transaction.

The rule, for every transaction: what fails before COMMIT is sent is rolled back, for certain. If COMMIT itself fails,
SQLite has rolled back. PostgreSQL may have carried it out and lost its answer: it is asked again over a new connection
(`txid_status`), for as long as a caller can wait. If it cannot be asked, the error is `Unconfirmed`: either may be so.
See ARCHITECTURE.md, "The end of a transaction".
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from app.data import stored
from app.data.reach import check_url
from app.errors import StoreDamaged, StoreUnavailable, Unconfirmed

_READING = "orchard_reading"
LOCK_WAIT_S = 10
"""How long a writer waits for another one's transaction, seconds."""
CONNECT_S = 4
"""How long a connection to PostgreSQL may take, seconds."""
SILENCE_S = 8.0
"""How long PostgreSQL may leave a statement without a sign of life, seconds: it has as long to give up by itself."""
KEEPALIVE_S = 2
"""How often a machine that says nothing is asked whether it is still there, seconds; by `SILENCE_S` it has answered.

It also keeps what is between from forgetting a connection that holds a lock while a training fits."""
RESOLVE_S = 8.0
"""How long the outcome of a COMMIT without an answer is asked for, seconds."""
LONG_HELD = {
    "idle_in_transaction_session_timeout": 0,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
"""PostgreSQL's settings while a lock is held: for as long as it takes, and no longer than its owner's machine is there
(which it would ask after two hours, usually)."""
OWNER_ONLY = 0o600

logger = logging.getLogger("orchard.data")


class Database:
    """The database behind an SQLAlchemy URL. Made, with its tables, by the first use."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput: it is not a database's URL, or its driver is not installed."""
        check_url(url)
        self._url = make_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = _sqlite(self._url) if self._is_sqlite else _postgresql(self._url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Read and write as one: committed at the end of the block, rolled back if it raises.

        Raises:
            StoreUnavailable: the database is locked, full, read-only or out of reach; nothing was changed.
            Unconfirmed: whether it was committed cannot be found out now.
            StoreDamaged: what is stored cannot be read.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        with _reported():
            self._prepare()
            with self._engine.connect() as connection:
                begun = connection.begin()
                try:
                    yield connection
                    number = _number(connection)
                except BaseException:
                    with contextlib.suppress(SQLAlchemyError):
                        begun.rollback()
                    raise
                try:
                    begun.commit()
                except SQLAlchemyError:
                    if number is None or not self._is_committed(number):
                        raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read only: one snapshot, which waits for no writer.

        Raises:
            StoreUnavailable, StoreDamaged, StoreTooNew: as `transaction`.
        """
        with _reported():
            self._prepare()
            with self._snapshot() as connection:
                try:
                    yield connection
                except StoreDamaged:
                    # A query was left in the middle: in SQLite its connection would go on to see what it saw.
                    connection.invalidate()
                    raise

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Hold a lock of PostgreSQL's, by the hash of a name, until the block ends, unless another one holds it.

        It is held by a transaction that does nothing else: so it is gone with its connection, and a pool between here
        and the database, which gives each transaction another connection, does not lose it. Yields whether it is held.
        If the connection is lost meanwhile, the block goes on without the lock.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        with contextlib.ExitStack() as held:
            with _reported():
                self._prepare()
                connection = self._engine.connect()
                held.callback(_let_go, connection)
                for setting, value in LONG_HELD.items():
                    connection.execute(sql.text(f"SET LOCAL {setting} = {value}"))
                query = sql.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
                is_held = bool(connection.execute(query, {"name": name}).scalar())
            yield is_held

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        options: dict[str, Any] = {_READING: True}
        if not self._is_sqlite:  # which sees one state of all in any transaction
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def _prepare(self) -> None:
        """Make the tables or bring them up to date, in a transaction of its own, if they are not."""
        if not (self._is_sqlite and not Path(self._url.database or "").is_file()):
            with self._snapshot() as connection:
                if stored.is_up_to_date(connection):
                    return
        if self._is_sqlite and self._url.database:
            _make_file(Path(self._url.database))
        with self._engine.begin() as connection, _patient(connection):
            stored.bring_up_to_date(connection)

    def _is_committed(self, number: int) -> bool:
        """Ask PostgreSQL what has become of a transaction.

        Raises:
            Unconfirmed: it cannot be asked, or does not know.
        """
        query = sql.text("SELECT txid_status(:number)")
        deadline = time.monotonic() + RESOLVE_S
        while True:
            found = None
            with contextlib.suppress(SQLAlchemyError), self._snapshot() as connection:
                found = connection.execute(query, {"number": number}).scalar()
            if found in {"committed", "aborted"}:
                return bool(found == "committed")
            if time.monotonic() > deadline:
                raise Unconfirmed(
                    "the database has not answered whether the write was committed: repeat the call under the same "
                    "Idempotency-Key, or look whether it is there"
                )
            time.sleep(0.1)


def _let_go(connection: Connection) -> None:
    """End a transaction that has written nothing: if its connection is gone, so is the transaction."""
    try:
        connection.close()
    except SQLAlchemyError as error:
        logger.warning("a lock in the database was lost before its end: %s", _cause(error))


@contextmanager
def _patient(connection: Connection) -> Iterator[None]:
    """Wait for statements of PostgreSQL's however long they take: one that makes an index of many rows says nothing."""
    with contextlib.ExitStack() as patience:
        if connection.dialect.name == "postgresql":
            of: Any = connection.connection.dbapi_connection
            patience.callback(setattr, of, "is_patient", False)
            of.is_patient = True
        yield


def _number(connection: Connection) -> int | None:
    """Return the number of a transaction of PostgreSQL that has written, which tells later what became of it."""
    if connection.dialect.name != "postgresql":
        return None
    number: int | None = connection.execute(sql.text("SELECT txid_current_if_assigned()")).scalar()
    return number


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        kind = StoreDamaged if _is_damage(error) else StoreUnavailable
        raise kind(f"the observations cannot be reached: {_cause(error)}") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise StoreDamaged(f"what is stored of the observations cannot be read ({type(error).__name__})") from error


def _is_damage(error: SQLAlchemyError | OSError) -> bool:
    text = str(getattr(error, "orig", ""))
    return "malformed" in text or "decode" in text or "not a database" in text


def _cause(error: SQLAlchemyError | OSError) -> str:
    """Say why, without what would tell a stranger where the database is: the log has all of it."""
    if isinstance(error, OSError):
        return error.strerror or "the system refuses"
    cause = getattr(error, "orig", None)
    return str(cause) if isinstance(cause, sqlite3.Error) else "the database refuses, or is out of reach"


def _make_file(path: Path) -> None:
    """Make an empty file that only its owner reads: SQLite would make one that others read."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, OWNER_ONLY))


def _sqlite(url: URL) -> sql.Engine:
    engine = sql.create_engine(url, connect_args={"timeout": LOCK_WAIT_S}, hide_parameters=True)
    sql.event.listen(engine, "connect", _configure_sqlite)
    sql.event.listen(engine, "begin", _begin_sqlite)
    sql.event.listen(engine, "handle_error", _forget_read_only)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # so that BEGIN is ours, below
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writing transaction that starts by reading could not be upgraded once another process writes.
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _forget_read_only(context: Any) -> None:
    # SQLite opens for reading what it cannot write just then. That connection stays so for good, and makes others so.
    if "readonly" in str(context.original_exception):
        context.is_disconnect = True
        if context.execution_context is not None:
            context.execution_context.cursor.close()  # or the connection is closed only when the traceback is gone


def _postgresql(url: URL) -> sql.Engine:
    limits = f"-c lock_timeout={LOCK_WAIT_S}s -c idle_in_transaction_session_timeout=60s"
    options = " ".join(filter(None, (str(url.query.get("options", "")), limits)))
    keepalive = {"keepalives_idle": KEEPALIVE_S, "keepalives_interval": KEEPALIVE_S}
    arguments = {"connect_timeout": CONNECT_S, "tcp_user_timeout": int(SILENCE_S * 1_000), "options": options}
    # A connection that the database has closed is noticed before it is used.
    engine = sql.create_engine(url, connect_args=arguments | keepalive, pool_pre_ping=True, hide_parameters=True)
    sql.event.listen(engine, "do_connect", _connect_patiently)
    return engine


def _connect_patiently(_dialect: Any, _record: Any, words: list[Any], named: dict[str, Any]) -> Any:
    """Connect to PostgreSQL so that a statement without any answer is given up.

    No setting of the server's helps where it, or the way to it, has gone silent.
    """
    import psycopg  # noqa: PLC0415 - it is installed with the extra `postgres`

    class _Patient(psycopg.Connection[Any]):
        is_patient = False

        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            waits = gen if self.is_patient else _given_up(gen, self._close)
            return super().wait(waits, *arguments, **options)

        def _close(self) -> None:
            self.pgconn.finish()  # a rollback would wait just as long
            raise psycopg.OperationalError(f"no answer within {SILENCE_S:g} s")

    return _Patient.connect(*words, **named)


def _given_up(waits: Generator[Any, Any, Any], give_up: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Pass on what a statement of psycopg waits for, until nothing has come for too long."""
    since = time.monotonic()
    try:
        wanted = next(waits)
        while True:
            ready = yield wanted
            if ready:
                since = time.monotonic()
            elif time.monotonic() - since > SILENCE_S:
                give_up()
            wanted = waits.send(ready)
    except StopIteration as done:
        return done.value
