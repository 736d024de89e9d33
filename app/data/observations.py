"""The observation table: what regions reported, in batches.

SQLite by default, PostgreSQL where several machines write.

A batch is stored whole or not at all, carries the moments of its rows, and can be withdrawn from training; nothing is
erased. Knows nothing of models or versions.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import sqlalchemy as sql
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.data.harvest import Harvest
from app.data.tables import Table
from app.errors import KeyReused, NotFound, StoreUnavailable
from app.model.folds import FoldedMoments
from app.model.moments import Array
from app.model.weather import NAMES


class UtcTime(sql.TypeDecorator[datetime]):
    """A time in UTC: SQLite keeps no zone, and one without would be read as local time."""

    impl = sql.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sql.Dialect) -> datetime | None:
        """Return it with its zone."""
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


SCHEMA = sql.MetaData()
BATCHES = sql.Table(
    "batches",
    SCHEMA,
    sql.Column("sequence", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(32), unique=True, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("source", sql.Text, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("who", sql.Text, nullable=False),
    sql.Column("rows", sql.Integer, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
    sql.Column("withdrawn", UtcTime()),
    sql.Column("withdrawn_why", sql.Text),
    sql.Column("moments", sql.LargeBinary, nullable=False),
)
OBSERVATIONS = sql.Table(
    "observations",
    SCHEMA,
    sql.Column("batch", sql.ForeignKey(BATCHES.c.sequence), primary_key=True),
    sql.Column("row", sql.Integer, primary_key=True),
    sql.Column("region", sql.Text),
    sql.Column("season", sql.Text),
    *(sql.Column(name, sql.Double, nullable=False) for name in NAMES),
    sql.Column("yields", sql.Text, nullable=False),
)
ANSWERS = sql.Table(
    "answers",
    SCHEMA,
    sql.Column("key", sql.String(200), primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
)

_READING = "orchard_reading"
SCHEMA_LOCK = 0x0A7C4A2D
"""PostgreSQL's lock under which the tables are made: two that make them at once would be in each other's way."""
LOCK_WAIT_S = 10
"""How long a writer waits for another one's transaction, seconds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch's entry: when ``withdrawn`` is set, its rows take no part in training."""

    id: str
    digest: str
    source: str
    note: str
    who: str
    rows: int
    created: datetime
    withdrawn: datetime | None
    withdrawn_why: str | None


_BATCH_COLUMNS = [BATCHES.c[name] for name in Batch.__slots__]


@dataclass(frozen=True, slots=True)
class Observation:
    """One stored row; ``yields`` in tons by crop. ``cursor`` is where the page after it starts."""

    batch: str
    row: int
    region: str | None
    season: str | None
    weather: tuple[float, ...]
    yields: dict[str, float]
    withdrawn: bool
    cursor: str


class Observations:
    """The table behind an SQLAlchemy URL. Made, with its schema, at the first write."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        arguments = {"timeout": LOCK_WAIT_S} if self._is_sqlite else {}
        # A connection that the database has closed is noticed before it is used.
        self._engine = sql.create_engine(self._url, connect_args=arguments, pool_pre_ping=not self._is_sqlite)
        if self._is_sqlite:
            sql.event.listen(self._engine, "connect", _configure_sqlite)
            sql.event.listen(self._engine, "begin", _begin_sqlite)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator["Transaction"]:
        """Read and write as one: committed at the end of the block, rolled back if it raises.

        Raises:
            StoreUnavailable: the database is locked, full, read-only or out of reach; nothing was changed.
        """
        with _reported():
            self._make()
            with self._engine.begin() as connection:
                yield Transaction(connection)

    def _make(self) -> None:
        """Make the tables, in a transaction of its own, if they are not there."""
        if self._is_made():
            return
        if self._is_sqlite and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
            SCHEMA.create_all(connection)

    @contextmanager
    def reading(self) -> Iterator["Transaction"]:
        """Read only: one snapshot, which waits for no writer.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with _reported():
            self._make()
            with self._snapshot() as connection:
                yield Transaction(connection)

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(**{_READING: True}) as connection, connection.begin():
            yield connection

    def _is_made(self) -> bool:
        if self._is_sqlite and not Path(self._url.database or "").is_file():
            return False
        with self._snapshot() as connection:
            return sql.inspect(connection).has_table(ANSWERS.name)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the observations cannot be reached: {_cause(error)}") from error


def _cause(error: SQLAlchemyError | OSError) -> str:
    """Say why, without what would tell a stranger where the database is: the log has all of it."""
    if isinstance(error, OSError):
        return error.strerror or "the system refuses"
    cause = getattr(error, "orig", None)
    return str(cause) if isinstance(cause, sqlite3.Error) else "the database refuses, or is out of reach"


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


class Transaction:
    """What can be done within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, harvest: Harvest, *, source: str, note: str, who: str) -> Batch:
        """Store a harvest as a batch, with its rows where it holds them."""
        batch = Batch(uuid.uuid4().hex, harvest.digest, source, note, who, harvest.rows, datetime.now(UTC), None, None)
        values = {name: getattr(batch, name) for name in Batch.__slots__}
        learned = _pack(harvest.moments)
        result = self._connection.execute(sql.insert(BATCHES).values(**values, moments=learned))
        sequence = result.inserted_primary_key[0] if result.inserted_primary_key else None
        if harvest.table is not None:
            self._connection.execute(sql.insert(OBSERVATIONS), list(_rows(harvest.table, sequence)))
        return batch

    def active(self) -> list[Batch]:
        """Return the batches that take part in training, oldest first."""
        query = sql.select(*_BATCH_COLUMNS).where(BATCHES.c.withdrawn.is_(None)).order_by(BATCHES.c.sequence)
        return [Batch(*row) for row in self._connection.execute(query)]

    def batches(self, limit: int, before: str | None) -> list[Batch]:
        """Return up to ``limit`` batches, newest first, those stored before the one with the id ``before``.

        Raises:
            NotFound: there is no such batch.
        """
        query = sql.select(*_BATCH_COLUMNS).order_by(BATCHES.c.sequence.desc()).limit(limit)
        if before is not None:
            self._batch(before)
            sequence = sql.select(BATCHES.c.sequence).where(BATCHES.c.id == before).scalar_subquery()
            query = query.where(BATCHES.c.sequence < sequence)
        return [Batch(*row) for row in self._connection.execute(query)]

    def find(self, digest: str) -> Batch | None:
        """Return the newest batch with this content, withdrawn or not."""
        query = sql.select(*_BATCH_COLUMNS).where(BATCHES.c.digest == digest).order_by(BATCHES.c.sequence.desc())
        row = self._connection.execute(query.limit(1)).first()
        return Batch(*row) if row else None

    def moments(self, batches: Iterable[Batch]) -> dict[str, list[FoldedMoments]]:
        """Return the moments of these batches' rows by crop, unmerged."""
        learned: dict[str, list[FoldedMoments]] = {}
        for batch in batches:
            query = sql.select(BATCHES.c.moments).where(BATCHES.c.id == batch.id)
            for crop, moments in _unpack(self._connection.execute(query).scalar_one()).items():
                learned.setdefault(crop, []).append(moments)
        return learned

    def region_means(self, batches: Iterable[Batch]) -> dict[str | None, Array]:
        """Return the mean weather of each region's rows in these batches, shape (3,).

        Unnamed rows count as one region.
        """
        means = [sql.func.avg(OBSERVATIONS.c[name]) for name in NAMES]
        query = (
            sql.select(OBSERVATIONS.c.region, *means)
            .join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence)
            .where(BATCHES.c.id.in_([batch.id for batch in batches]))
            .group_by(OBSERVATIONS.c.region)
            .order_by(OBSERVATIONS.c.region)
        )
        return {row[0]: np.array(row[1:], dtype=np.float64) for row in self._connection.execute(query)}

    def withdraw(self, batch: str, why: str) -> Batch:
        """Take a batch out of future training; a batch that is out already stays as it is.

        Raises:
            NotFound: there is no such batch.
        """
        self._connection.execute(
            sql.update(BATCHES)
            .where(BATCHES.c.id == batch, BATCHES.c.withdrawn.is_(None))
            .values(withdrawn=datetime.now(UTC), withdrawn_why=why)
        )
        return self._batch(batch)

    def restore(self, batch: str) -> Batch:
        """Let a withdrawn batch take part in training again."""
        self._connection.execute(
            sql.update(BATCHES).where(BATCHES.c.id == batch).values(withdrawn=None, withdrawn_why=None)
        )
        return self._batch(batch)

    def _batch(self, batch: str) -> Batch:
        row = self._connection.execute(sql.select(*_BATCH_COLUMNS).where(BATCHES.c.id == batch)).first()
        if row is None:
            raise NotFound(f"there is no batch {batch[:40]!r}")
        return Batch(*row)

    def page(self, limit: int, after: str | None) -> list[Observation]:
        """Return up to ``limit`` rows in the order they were stored, those behind the cursor ``after``.

        Raises:
            NotFound: ``after`` is not a cursor that a page has given.
        """
        query = (
            sql.select(BATCHES.c.sequence, BATCHES.c.id, BATCHES.c.withdrawn, OBSERVATIONS)
            .join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence)
            .order_by(OBSERVATIONS.c.batch, OBSERVATIONS.c.row)
            .limit(limit)
        )
        if after is not None:
            sequence, row = _cursor(after)
            query = query.where(
                (OBSERVATIONS.c.batch > sequence) | ((OBSERVATIONS.c.batch == sequence) & (OBSERVATIONS.c.row > row))
            )
        return [_observation(row) for row in self._connection.execute(query)]

    def answer(self, key: str, digest: str) -> str | None:
        """Return the first answer given under an idempotency key, or None.

        Raises:
            KeyReused: the key was used for another body.
        """
        query = sql.select(ANSWERS.c.digest, ANSWERS.c.body).where(ANSWERS.c.key == key)
        row = self._connection.execute(query).first()
        if row is None:
            return None
        if row.digest != digest:
            raise KeyReused("the idempotency key was used before, for another request")
        return str(row.body)

    def keep_answer(self, key: str, digest: str, body: str) -> None:
        """Keep the answer given under an idempotency key.

        Raises:
            KeyReused: another request has used the key meanwhile.
        """
        entry = sql.insert(ANSWERS).values(key=key, digest=digest, body=body, created=datetime.now(UTC))
        try:
            self._connection.execute(entry)
        except IntegrityError as error:
            raise KeyReused("the idempotency key was used before, for another request") from error

    def forget_answer(self, key: str) -> None:
        """Forget the answer under a key, so that the call can be made again."""
        self._connection.execute(sql.delete(ANSWERS).where(ANSWERS.c.key == key))


def _pack(learned: Mapping[str, FoldedMoments]) -> bytes:
    tensors: dict[str, Array] = {}
    for number, moments in enumerate(learned.values()):
        tensors |= moments.to_arrays(f"{number}/")
    return safetensors.numpy.save(tensors, {"crops": json.dumps(list(learned))})


def _unpack(content: bytes) -> dict[str, FoldedMoments]:
    length = int.from_bytes(content[:8], "little")
    crops = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["crops"])
    tensors = safetensors.numpy.load(content)
    return {crop: FoldedMoments.from_arrays(f"{number}/", tensors) for number, crop in enumerate(crops)}


def _rows(table: Table, sequence: int | None) -> Iterator[dict[str, Any]]:
    columns = zip(table.regions, table.seasons, table.weather.tolist(), table.yields.tolist(), strict=True)
    for row, (region, season, weather, yields) in enumerate(columns):
        reported = {crop: tons for crop, tons in zip(table.crops, yields, strict=True) if tons == tons}  # noqa: PLR0124 - NaN is not reported
        yield {
            "batch": sequence,
            "row": row,
            "region": region,
            "season": season,
            **dict(zip(NAMES, weather, strict=True)),
            "yields": json.dumps(reported, ensure_ascii=False),
        }


def _observation(row: Any) -> Observation:
    return Observation(
        row.id,
        row.row,
        row.region,
        row.season,
        tuple(getattr(row, name) for name in NAMES),
        json.loads(row.yields),
        row.withdrawn is not None,
        f"{row.sequence}-{row.row}",
    )


def _cursor(text: str) -> tuple[int, int]:
    sequence, _, row = text.partition("-")
    if not (sequence.isascii() and sequence.isdigit() and row.isascii() and row.isdigit()) or len(text) > 30:  # noqa: PLR2004 - two 64-bit numbers at most
        raise NotFound("there is no page behind that cursor")
    return int(sequence), int(row)
