"""The tables of the database, and the steps that bring those of an earlier version up to date.

A row carries a checksum of its content, so that what has changed on the disk is told, and not taken for what was
reported. Rows of version 0.1.0 get theirs when the tables are brought up to date.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import safetensors.numpy
import sqlalchemy as sql
from sqlalchemy.engine import Connection

from app.data.harvest import cells_of
from app.data.naming import ID_LENGTH, OUTCOME_COLUMNS
from app.data.tables import Table
from app.errors import StoreDamaged
from app.model.cells import Cells
from app.model.names import packed_names, unpacked_names
from app.model.sketch import Sketch
from app.model.weather import FEATURE_NAMES
from app.stored_formats import DATABASE, check_format


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
    sql.Column("rows", sql.BigInteger, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
    sql.Column("withdrawn", UtcTime()),
    sql.Column("withdrawn_why", sql.Text),
    sql.Column("moments", sql.LargeBinary, nullable=False),
    sql.Column("restored", UtcTime()),
    sql.Column("restored_why", sql.Text),
    sql.Column("moments_sha256", sql.String(64)),
    sql.Column("checksum", sql.String(16)),
    sql.Column("withdrawn_by", sql.Text),
    sql.Column("restored_by", sql.Text),
    sql.Column("cells", sql.LargeBinary),
    sql.Column("cells_sha256", sql.String(64)),
    sql.Column("record", sql.LargeBinary),
    sql.Column("record_sha256", sql.String(64)),
)
ROLLUPS = sql.Table(
    "rollups",
    SCHEMA,
    sql.Column("level", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("number", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("run", sql.Text, nullable=False),
    *(
        column
        for name in ("moments", "cells", "record", "regions")
        for column in (sql.Column(name, sql.LargeBinary), sql.Column(f"{name}_sha256", sql.String(64)))
    ),
    sql.Column("checksum", sql.String(16), nullable=False),
)
"""What runs of batches add up to: `app.data.rollups`. Made of the batches, and made anew where it is damaged."""
OBSERVATIONS = sql.Table(
    "observations",
    SCHEMA,
    sql.Column("batch", sql.ForeignKey(BATCHES.c.sequence), primary_key=True),
    sql.Column("row", sql.Integer, primary_key=True),
    sql.Column("region", sql.Text),
    sql.Column("season", sql.Text),
    *(sql.Column(name, sql.Double) for name in FEATURE_NAMES),
    sql.Column("yields", sql.Text, nullable=False),
    sql.Column("checksum", sql.String(16)),
    sql.Column("forecast", sql.String(ID_LENGTH)),
    sql.Column("harvested", sql.String(10)),
)
BY_PLACE = sql.Index("observations_place", OBSERVATIONS.c.region, OBSERVATIONS.c.season, OBSERVATIONS.c.temperature)
"""By which the outcome of a forecast is found; and with the weather, whether a row is stored already."""
_HAS_FORECAST = OBSERVATIONS.c.forecast.is_not(None)
BY_FORECAST = sql.Index(
    "observations_forecast", OBSERVATIONS.c.forecast, sqlite_where=_HAS_FORECAST, postgresql_where=_HAS_FORECAST
)
ANSWERS = sql.Table(
    "answers",
    SCHEMA,
    sql.Column("key", sql.String(200), primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
    sql.Column("version_sha256", sql.String(64)),
    sql.Column("checksum", sql.String(16)),
)
ANSWERS_BY_AGE = sql.Index("answers_created", ANSWERS.c.created)
TRAININGS = sql.Table(
    "trainings",
    SCHEMA,
    sql.Column("sha256", sql.String(64), primary_key=True),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
)
"""Trainings that are committed and whose version is not known to be live, by the hash of its file: several stores may
share a database. See `app.training.pending`."""
FORECAST_BATCHES = sql.Table(
    "forecast_batches",
    SCHEMA,
    sql.Column("sequence", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(32), unique=True, nullable=False),
    sql.Column("version", sql.Text, nullable=False),
    sql.Column("level", sql.Double, nullable=False),
    sql.Column("crops", sql.Text, nullable=False),
    sql.Column("source", sql.Text, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("who", sql.Text, nullable=False),
    sql.Column("rows", sql.Integer, nullable=False),
    sql.Column("created", UtcTime(), nullable=False),
    sql.Column("erased", sql.Integer, nullable=False),
    sql.Column("checksum", sql.String(16), nullable=False),
    sqlite_autoincrement=True,  # batches are erased, and a cursor must not lead into a later one
)
FORECASTS = sql.Table(
    "forecasts",
    SCHEMA,
    sql.Column("batch", sql.ForeignKey(FORECAST_BATCHES.c.sequence), primary_key=True),
    sql.Column("row", sql.Integer, primary_key=True),
    sql.Column("id", sql.String(ID_LENGTH)),
    sql.Column("region", sql.Text, nullable=False),
    sql.Column("season", sql.Text, nullable=False),
    sql.Column("due", sql.String(10)),
    *(sql.Column(name, sql.Double) for name in FEATURE_NAMES),
    sql.Column("yields", sql.LargeBinary, nullable=False),
    sql.Column("extrapolated", sql.Boolean, nullable=False),
    sql.Column("warnings", sql.Text),
    sql.Column("checksum", sql.String(16), nullable=False),
    sqlite_with_rowid=False,
)
"""``yields``: tons, low and high of each of the batch's crops, float64 in little-endian order, NaN for no interval.
``id``: the one that was given; without one, it is made of the batch's id and the row."""
FORECASTS_BY_PLACE = sql.Index("forecasts_place", FORECASTS.c.region, FORECASTS.c.season)
_HAS_ID = FORECASTS.c.id.is_not(None)
FORECASTS_BY_ID = sql.Index("forecasts_id", FORECASTS.c.id, unique=True, sqlite_where=_HAS_ID, postgresql_where=_HAS_ID)
FORMAT = sql.Table("orchard_format", SCHEMA, sql.Column("number", sql.Integer, primary_key=True))

ENTRY = ("id", "digest", "source", "note", "who", "rows", "created", "withdrawn", "withdrawn_why", "withdrawn_by")
"""What a batch's entry says, besides its sequence, its moments and how it was restored."""
ENTRY_OF_2 = ("sequence", *ENTRY[:-1], "restored", "restored_why", "moments_sha256")
"""What the checksum of an entry is of in format 2."""
ENTRY_OF_3 = (*ENTRY_OF_2, "withdrawn_by", "restored_by")
ENTRY_OF_4 = (*ENTRY_OF_3, "cells_sha256")
CHECKED_ENTRY = (*ENTRY_OF_4, "record_sha256")
CHECKED_ROLLUP = ("level", "number", "run", "moments_sha256", "cells_sha256", "record_sha256", "regions_sha256")
CHECKED_ANSWER = ("key", "digest", "body", "created", "version_sha256")

LOCK = 0x0A7C4A2D
"""PostgreSQL's lock under which the tables are made: two that make them at once would be in each other's way."""
TRAINING_LOCK = 0x0A7C4A2E
"""PostgreSQL's lock of a transaction that stores rows or ends a training: one at a time."""
CHUNK = 10_000
"""Rows that are held while they are given their checksums."""


def checksum(values: Iterable[Any]) -> str:
    """Return 64 bits of BLAKE2b of texts, numbers and times, hexadecimal: the same after they were stored."""
    content = _ENCODE([value + 0.0 if type(value) is float else value for value in values])  # SQLite stores -0 as 0
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=_time).encode


def check(told: str | None, values: Iterable[Any], what: str) -> None:
    """Compare a row's values with its checksum, if it has one: version 0.1.0 on the same database writes none.

    Raises:
        StoreDamaged: the row is not what was written; the message names ``what`` it is.
    """
    if told is not None and told != checksum(values):
        raise StoreDamaged(f"{what} is damaged in the database: it is not what was written")


def hold(connection: Connection, lock: int) -> None:
    """Hold a lock of PostgreSQL's until the transaction ends; SQLite has but one writer at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(lock)))


SUM = OBSERVATIONS.c.keys().index("checksum")
"""Where the checksum of an observation is among its columns."""


def values_of(row: Sequence[Any]) -> Sequence[Any]:
    """Return what has a share in the checksum of an observation: all its columns but the first and the checksum.

    The sequence of its batch has none: the batch's id, which is put behind them, has. Neither have the columns of
    format 7 where they are empty: a row without them has the checksum that it had before.
    """
    told, outcome = row[1:SUM], row[SUM + 1 :]
    return (*told, *outcome) if any(value is not None for value in outcome) else told


def is_up_to_date(connection: Connection) -> bool:
    """Say whether the tables are there in this program's format.

    Raises:
        StoreTooNew: they were made by a newer version of Orchard.
    """
    if not sql.inspect(connection).has_table(FORMAT.name):
        return False
    return _number(connection) == DATABASE


def bring_up_to_date(connection: Connection) -> None:
    """Make the tables, or take those of an earlier version one step after another.

    Raises:
        StoreTooNew: they were made by a newer version of Orchard.
    """
    hold(connection, LOCK)
    tables = set(sql.inspect(connection).get_table_names())
    if FORMAT.name in tables:
        number = _number(connection)
    elif BATCHES.name in tables:
        number = 1
    else:
        number = DATABASE
    SCHEMA.create_all(connection)
    for step in range(number + 1, DATABASE + 1):
        STEPS[step](connection)
    connection.execute(sql.delete(FORMAT))
    connection.execute(sql.insert(FORMAT).values(number=DATABASE))


def _number(connection: Connection) -> int:
    found = connection.execute(sql.select(FORMAT.c.number)).scalar()
    if found is None:
        raise StoreDamaged("the database does not say in which format it is: restore it from a copy")
    check_format(found, DATABASE, "the database")
    return int(found)


def _to_2(connection: Connection) -> None:
    """Add what version 0.1.0 did not have, and sum up what it has stored."""
    _add_columns(connection, BATCHES, "restored", "restored_why", "moments_sha256", "checksum")
    _add_columns(connection, OBSERVATIONS, "checksum")
    _add_columns(connection, ANSWERS, "version_sha256", "checksum")
    ANSWERS_BY_AGE.create(connection)
    for sequence in connection.execute(sql.select(BATCHES.c.sequence)).scalars().all():
        columns = [BATCHES.c[name] for name in (*ENTRY_OF_2, "moments")]
        batch = connection.execute(sql.select(*columns).where(BATCHES.c.sequence == sequence)).one()
        digest = hashlib.sha256(batch.moments).hexdigest()
        entry = {name: getattr(batch, name) for name in ENTRY_OF_2} | {"moments_sha256": digest}
        told = {"moments_sha256": digest, "checksum": checksum(list(entry.values()))}
        connection.execute(sql.update(BATCHES).where(BATCHES.c.sequence == sequence).values(**told))
        _sum_up_rows(connection, sequence, batch.id)
    for answer in connection.execute(sql.select(ANSWERS)).all():
        told = {"checksum": checksum([getattr(answer, name) for name in CHECKED_ANSWER])}
        connection.execute(sql.update(ANSWERS).where(ANSWERS.c.key == answer.key).values(**told))


def _sum_up_rows(connection: Connection, batch: int, name: str) -> None:
    """``batch``: its sequence, and ``name`` its id."""
    place = (OBSERVATIONS.c.batch == batch) & (OBSERVATIONS.c.row == sql.bindparam("of"))
    update = sql.update(OBSERVATIONS).where(place).values(checksum=sql.bindparam("told"))
    for rows in chunks(connection, batch, columns=OF_6):
        told = [checksum((*values_of(row), name)) for row in rows]
        connection.execute(update, [{"of": row.row, "told": sum_} for row, sum_ in zip(rows, told, strict=True)])


def chunks(connection: Connection, batch: int, *, columns: Iterable[sql.Column[Any]] = OBSERVATIONS.c) -> Iterator[Any]:
    """Yield a batch's rows, some at a time."""
    query = sql.select(*columns).where(OBSERVATIONS.c.batch == batch).order_by(OBSERVATIONS.c.row).limit(CHUNK)
    last = -1
    while rows := connection.execute(query.where(OBSERVATIONS.c.row > last)).all():
        yield rows
        last = rows[-1].row


def _to_3(connection: Connection) -> None:
    """Add who has withdrawn or restored a batch, which stood in the reason; what is damaged keeps its checksum."""
    _add_columns(connection, BATCHES, "withdrawn_by", "restored_by")
    for batch in connection.execute(sql.select(*(BATCHES.c[name] for name in (*ENTRY_OF_2, "checksum")))).all():
        entry = [getattr(batch, name) for name in ENTRY_OF_2]
        if batch.checksum == checksum(entry):
            told = checksum([*entry, None, None])
            connection.execute(sql.update(BATCHES).where(BATCHES.c.sequence == batch.sequence).values(checksum=told))


def _to_4(connection: Connection) -> None:
    """Add the cells of batches whose rows are stored; what is damaged keeps its checksum, and gets no cells."""
    _add_columns(connection, BATCHES, "cells", "cells_sha256")
    for batch in connection.execute(sql.select(*(BATCHES.c[name] for name in (*ENTRY_OF_3, "checksum")))).all():
        entry = [getattr(batch, name) for name in ENTRY_OF_3]
        if batch.checksum == checksum(entry):
            told = packed_cells(_cells_of_rows(connection, batch))
            told["checksum"] = checksum([*entry, told["cells_sha256"]])
            connection.execute(sql.update(BATCHES).where(BATCHES.c.sequence == batch.sequence).values(**told))


def _to_5(connection: Connection) -> None:
    """Add room for what batches were predicted as before they were known; what is damaged keeps its checksum.

    It is found by the next training, since it takes the versions that were live then.
    """
    _add_columns(connection, BATCHES, "record", "record_sha256")
    for batch in connection.execute(sql.select(*(BATCHES.c[name] for name in (*ENTRY_OF_4, "checksum")))).all():
        entry = [getattr(batch, name) for name in ENTRY_OF_4]
        if batch.checksum == checksum(entry):
            told = checksum([*entry, None])
            connection.execute(sql.update(BATCHES).where(BATCHES.c.sequence == batch.sequence).values(checksum=told))


def _to_6(connection: Connection) -> None:
    """Let rows lack a feature. SQLite cannot change a column: there, the table is made anew, and its rows copied.

    What others have put on it (views, indexes, triggers) stays, and so do rows whose batch is gone: they are damage,
    which is told, and no reason to refuse all the others.
    """
    if connection.dialect.name != "sqlite":
        for name in FEATURE_NAMES:
            connection.execute(sql.text(f"ALTER TABLE {OBSERVATIONS.name} ALTER COLUMN {name} DROP NOT NULL"))
        return
    columns = ", ".join(f'"{column.name}"' for column in OF_6)
    before = f"{OBSERVATIONS.name}_of_5"
    connection.execute(sql.text("PRAGMA defer_foreign_keys = ON"))  # until the transaction ends
    query = "SELECT sql FROM sqlite_master WHERE tbl_name = :name AND type IN ('index', 'trigger') AND sql IS NOT NULL"
    others = connection.execute(sql.text(query), {"name": OBSERVATIONS.name}).scalars().all()
    connection.execute(sql.text("PRAGMA legacy_alter_table = ON"))  # or views would follow the old table
    connection.execute(sql.text(f"ALTER TABLE {OBSERVATIONS.name} RENAME TO {before}"))
    connection.execute(sql.text("PRAGMA legacy_alter_table = OFF"))
    OBSERVATIONS.create(connection)
    copy = f"INSERT INTO {OBSERVATIONS.name} ({columns}) SELECT {columns} FROM {before}"  # noqa: S608 - names of ours
    connection.execute(sql.text(copy))
    connection.execute(sql.text(f"DROP TABLE {before}"))
    for statement in others:
        connection.exec_driver_sql(statement)


OF_6 = OBSERVATIONS.c[: SUM + 1]
"""The columns of an observation in formats before 7."""


def _to_7(connection: Connection) -> None:
    """Let observations say which forecast they are the outcome of, and when they were harvested.

    On SQLite `_to_6` may have made the table with these columns already.
    """
    there = {column["name"] for column in sql.inspect(connection).get_columns(OBSERVATIONS.name)}
    _add_columns(connection, OBSERVATIONS, *(name for name in OUTCOME_COLUMNS if name not in there))
    for index in (BY_PLACE, BY_FORECAST):
        index.create(connection, checkfirst=True)


def _to_8(connection: Connection) -> None:
    """Let a batch have more rows than 32 bits count, and rows be found by their weather. SQLite's integers have 64."""
    if connection.dialect.name != "sqlite":
        connection.execute(sql.text(f"ALTER TABLE {BATCHES.name} ALTER COLUMN rows TYPE BIGINT"))
    connection.execute(sql.text(f"DROP INDEX IF EXISTS {BY_PLACE.name}"))
    BY_PLACE.create(connection)


def _cells_of_rows(connection: Connection, batch: Any) -> dict[str, Cells] | None:
    """Return the cells of a batch's stored rows by crop, None where they are not stored, or one is damaged."""
    rows: list[Any] = []
    for some in chunks(connection, batch.sequence, columns=OF_6):
        if any(row.checksum not in (None, checksum((*values_of(row), batch.id))) for row in some):
            return None
        rows += some
    if not rows or len(rows) != batch.rows:
        return None
    return cells_of(table_of(rows))


def table_of(rows: Sequence[Any]) -> Table:
    """Return stored rows as a table."""
    yields = [json.loads(row.yields) for row in rows]
    crops = tuple(dict.fromkeys(crop for reported in yields for crop in reported))
    return Table(
        [row.region for row in rows],
        [row.season for row in rows],
        np.array([[getattr(row, feature) for feature in FEATURE_NAMES] for row in rows], dtype=np.float64),
        crops,
        np.array([[reported.get(crop, np.nan) for crop in crops] for reported in yields]),
    )


def packed_cells(cells: Mapping[str, Cells] | None) -> dict[str, Any]:
    """Return what the columns of a batch's cells hold: safetensors, the names among the tensors, and its hash."""
    if not cells:
        return {"cells": None, "cells_sha256": None}
    names = next(iter(cells.values()))
    texts = {"crops": list(cells), "regions": list(names.regions), "seasons": list(names.seasons)}
    for number, of in enumerate(cells.values()):  # those of one table have the same names
        if list(of.regions) != texts["regions"]:
            texts[f"{number}/regions"] = list(of.regions)
        if list(of.seasons) != texts["seasons"]:
            texts[f"{number}/seasons"] = list(of.seasons)
    tensors: dict[str, Any] = {name: packed_names(value) for name, value in texts.items()}
    for number, of in enumerate(cells.values()):
        tensors |= of.to_arrays(f"{number}/")
    content = safetensors.numpy.save(tensors)
    return {"cells": content, "cells_sha256": hashlib.sha256(content).hexdigest()}


def unpacked_cells(content: bytes) -> dict[str, Cells]:
    """Return the cells that `packed_cells` has packed, by crop.

    Raises:
        ValueError, KeyError, TypeError, SafetensorError: it is not what was packed.
    """
    tensors = safetensors.numpy.load(content)
    names = {name: unpacked_names(tensors[name]) for name in tensors if name.endswith(_NAMES)}
    regions, seasons = names["regions"], names["seasons"]
    return {
        crop: Cells.from_arrays(
            f"{number}/",
            tensors,
            names.get(f"{number}/regions", regions),
            names.get(f"{number}/seasons", seasons),
        )
        for number, crop in enumerate(names["crops"])
    }


_NAMES = ("crops", "regions", "seasons")


def packed_record(record: Mapping[str, Sketch]) -> dict[str, Any]:
    """Return what the columns of a batch's record hold: safetensors, by crop, and its hash."""
    tensors: dict[str, Any] = {"crops": packed_names(list(record))}
    for number, sketch in enumerate(record.values()):
        tensors |= sketch.to_arrays(f"{number}/") | {f"{number}/seasons": packed_names(list(sketch.seasons))}
    content = safetensors.numpy.save(tensors)
    return {"record": content, "record_sha256": hashlib.sha256(content).hexdigest()}


def unpacked_record(content: bytes) -> dict[str, Sketch]:
    """Return what `packed_record` has packed, by crop.

    Raises:
        ValueError, KeyError, TypeError, SafetensorError: it is not what was packed.
    """
    tensors = safetensors.numpy.load(content)
    return {
        crop: Sketch.from_arrays(f"{number}/", tensors, unpacked_names(tensors[f"{number}/seasons"]))
        for number, crop in enumerate(unpacked_names(tensors["crops"]))
    }


def _add_columns(connection: Connection, table: sql.Table, *names: str) -> None:
    for name in names:
        kind = table.c[name].type.compile(connection.dialect)
        connection.execute(sql.text(f"ALTER TABLE {table.name} ADD COLUMN {name} {kind}"))


STEPS: dict[int, Callable[[Connection], None]] = {2: _to_2, 3: _to_3, 4: _to_4, 5: _to_5, 6: _to_6, 7: _to_7, 8: _to_8}
"""By the format that a step leads to."""
