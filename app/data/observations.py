"""The observation table: what regions reported, in batches.

SQLite by default, PostgreSQL where several machines write.

A batch is stored whole or not at all, carries the moments of its rows, and can be withdrawn from training and restored;
nothing is erased. What is read is compared with its checksum. Knows nothing of models or versions.
"""

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np
import sqlalchemy as sql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from app.data import outcomes, stored
from app.data.batch_blobs import checked_cells, checked_moments, checked_record
from app.data.cursor import cursor_of, place_of
from app.data.database import Database
from app.data.forecasts import Forecasts
from app.data.harvest import Harvest
from app.data.learned import Learned
from app.data.naming import OUTCOME_COLUMNS
from app.data.packed import packed_moments
from app.data.provenance import Once, Provenance
from app.data.ranges import Range, Ranges
from app.data.rollups import Rollups
from app.data.stored import ANSWERS, BATCHES, OBSERVATIONS, TRAININGS, checksum
from app.data.tables import Table
from app.errors import IdTaken, KeyReused, KeyTaken, NotFound, StoreDamaged, StoreUnavailable, Unconfirmed
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.sketch import Sketch
from app.model.weather import FEATURE_NAMES

KEY_LIFE = timedelta(days=400)
"""How long an answer is kept under its key: longer than from one harvest to the next."""
AT_A_TIME = 500
"""Batches whose moments are asked for in one query."""
FEW_AT_A_TIME = 50
"""The same where they are not kept: of a hundred crops each has 200 KB."""
ROLLED_UP_AT_ONCE = 16
"""Roll-ups that are made in one transaction, so that others who write need not wait long."""
AT_WORK_S = 1.0
"""How long one such transaction follows on another: who waits for SQLite would hardly come between them."""
GIVE_WAY_S = 0.15
"""For how long others may write then, seconds: who waits for SQLite asks ten times a second."""
ORCHARD = "orchard"
"""Who withdraws or restores a batch where nobody has asked for that: the training that it came with has failed."""

logger = logging.getLogger("orchard.data")


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
    withdrawn: datetime | None = None
    withdrawn_why: str | None = None
    withdrawn_by: str | None = None
    sequence: int = 0
    """Its place in the database, 0 of one that is not stored yet."""

    @classmethod
    def of(cls, harvest: Harvest, provenance: Provenance) -> Self:
        """Return the entry of a harvest that is to be stored."""
        return cls(
            id=uuid.uuid4().hex,
            digest=harvest.digest,
            source=provenance.source,
            note=provenance.note,
            who=provenance.who,
            rows=harvest.rows,
            created=datetime.now(UTC),
        )


_ENTRIES = [BATCHES.c[name] for name in (*stored.CHECKED_ENTRY, "checksum")]


@dataclass(frozen=True, slots=True)
class Observation:
    """One stored row; ``weather``: None for a feature that it has no value of; ``yields`` in tons by crop.

    ``cursor`` is where the page after it starts. ``forecast``: the id of the one that this is the outcome of;
    ``harvested``: the day, YYYY-MM-DD.
    """

    batch: str
    row: int
    region: str | None
    season: str | None
    weather: tuple[float | None, ...]
    yields: dict[str, float]
    withdrawn: bool
    cursor: str
    forecast: str | None = None
    harvested: str | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a call was answered under its key, and the sha256 of the version's file that it made, if it made one."""

    body: str
    version_sha256: str | None = None


class Observations:
    """The table behind an SQLAlchemy URL. Made, with its schema, at the first use."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator["Transaction"]:
        """Read and write as one: committed at the end of the block, rolled back if it raises.

        Raises:
            StoreUnavailable: the database is locked, full, read-only or out of reach; nothing was changed.
            Unconfirmed: whether it was committed cannot be found out now.
            StoreDamaged: what is stored is not what was written.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        with self._database.transaction() as connection:
            yield Transaction(connection)

    def alone(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lock of PostgreSQL's, by the hash of a name, until the block ends: `app.data.database`."""
        return self._database.alone(name)

    def write_once(self, once: Once | None, answer: str, write: Callable[["Transaction"], None]) -> KeptAnswer | None:
        """Write in a transaction and keep the ``answer`` under the key, or return what an earlier call has kept there.

        Raises:
            KeyReused: the key was used for another body.
            StoreUnavailable, Unconfirmed, StoreDamaged, StoreTooNew: as `transaction`.
        """
        try:
            return self._written(once, answer, write)
        except (KeyTaken, IdTaken):
            if once is None:
                raise
            return self._written(once, answer, write)  # by a call of the same moment, whose answer is there now

    def _written(self, once: Once | None, answer: str, write: Callable[["Transaction"], None]) -> KeptAnswer | None:
        with self.transaction() as transaction:
            if once is not None and (earlier := transaction.answer(once)) is not None:
                return earlier
            write(transaction)
            if once is not None:
                transaction.keep_answer(once, answer)
        return None

    @contextmanager
    def reading(self) -> Iterator["Transaction"]:
        """Read only: one snapshot, which waits for no writer.

        Raises:
            StoreUnavailable, StoreDamaged, StoreTooNew: as `transaction`.
        """
        with self._database.reading() as connection:
            yield Transaction(connection)

    def ids_at(self, sequences: Sequence[int]) -> dict[int, str]:
        """Return the ids of the batches with these sequences, as far as there are any."""
        with self.reading() as transaction:
            return transaction.ids_at(sequences)

    def roll_up(self) -> None:
        """Put together what batches add up to, where a training would have to read many of them.

        It changes nothing of what is learned: where it fails, the training reads the batches.
        """
        try:
            with self.reading() as transaction:
                due = transaction.rollups.due()
            since = time.monotonic()
            for start in range(0, len(due), ROLLED_UP_AT_ONCE):
                with self.transaction() as transaction:
                    transaction.rollups.make(due[start : start + ROLLED_UP_AT_ONCE])
                if time.monotonic() - since > AT_WORK_S:
                    time.sleep(GIVE_WAY_S)
                    since = time.monotonic()
        except (StoreUnavailable, Unconfirmed) as error:
            logger.warning("batches are not rolled up: %s", error.detail)


class Transaction:
    """What can be done within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def rollups(self) -> Rollups:
        """What runs of batches add up to, in the same transaction."""
        return Rollups(self._connection)

    @property
    def forecasts(self) -> Forecasts:
        """The forecasts, in the same transaction."""
        return Forecasts(self._connection)

    def forecasts_with_outcomes(self, after: outcomes.Place | None, limit: int) -> outcomes.Part:
        """Return some forecasts, place by place, with what may have become of them: `app.data.outcomes`."""
        return outcomes.part(self._connection, after, limit, ORCHARD)

    def state_of_forecasts(self) -> tuple[int, ...]:
        """Return what changes whenever forecasts are stored or erased, or their outcomes come, go or come back."""
        return outcomes.state(self._connection, ORCHARD)

    def to_score(self, basis: str) -> int:
        """Return how many rows scores on a basis, "forecast" or "arrival", are computed from."""
        if basis == "forecast":
            return outcomes.count(self._connection)
        return int(self._connection.execute(sql.select(sql.func.sum(BATCHES.c.rows))).scalar() or 0)

    def add(self, batch: Batch, harvest: Harvest, record: Mapping[str, Sketch] | None = None) -> None:
        """Store a harvest as this batch, with its rows where it holds them.

        ``record``: what its yields were predicted as before they were known, by crop; None where nobody has asked yet.
        One transaction stores at a time, to its end: so batches are committed in the order of their sequence.
        """
        self.hold_training()
        learned = packed_moments(harvest.moments)
        values = {name: getattr(batch, name) for name in stored.ENTRY}
        values |= {"moments": learned, "moments_sha256": hashlib.sha256(learned).hexdigest()}
        values |= stored.packed_cells(harvest.cells) | (stored.packed_record(record) if record is not None else {})
        entry = sql.insert(BATCHES).values(**values)
        inserted = self._connection.execute(entry).inserted_primary_key
        sequence = inserted[0] if inserted else None
        self._sum_up(BATCHES.c.sequence == sequence)
        if harvest.table is not None:
            self._connection.execute(sql.insert(OBSERVATIONS), list(_rows(harvest.table, batch.id, sequence)))

    def _sum_up(self, wanted: sql.ColumnElement[bool]) -> None:
        """Give an entry the checksum of what it says now."""
        row = self._connection.execute(sql.select(*_ENTRIES).where(wanted)).one()
        told = checksum([getattr(row, name) for name in stored.CHECKED_ENTRY])
        self._connection.execute(sql.update(BATCHES).where(wanted).values(checksum=told))

    def _entries(self, query: sql.Select[Any]) -> list[Batch]:
        """Return the entries that a query of `_ENTRIES` finds, each compared with its checksum."""
        return [_entry(row) for row in self._connection.execute(query)]

    def all(self) -> list[Batch]:
        """Return all batches, oldest first."""
        return self._entries(sql.select(*_ENTRIES).order_by(BATCHES.c.sequence))

    def count(self) -> int:
        """Return how many batches are stored."""
        return int(self._connection.execute(sql.select(sql.func.count()).select_from(BATCHES)).scalar_one())

    def active(self) -> list[Batch]:
        """Return the batches that take part in training, oldest first."""
        # Of a withdrawn one, too, the checksum is looked at: it may not have been withdrawn.
        return [batch for batch in self.all() if batch.withdrawn is None]

    def in_ranges(self, ranges: Ranges, *, withdrawn: bool) -> list[Batch]:
        """Return the batches with these sequences, oldest first; ``withdrawn``: also those that are not in use."""
        query = sql.select(*_ENTRIES).order_by(BATCHES.c.sequence)
        if not withdrawn:
            query = query.where(BATCHES.c.withdrawn.is_(None))
        every = list(ranges)
        parts = (every[start : start + FEW_AT_A_TIME] for start in range(0, len(every), FEW_AT_A_TIME))
        return [batch for part in parts for batch in self._entries(query.where(_within(part)))]

    def learned(self, learned: Learned) -> list[Batch]:
        """Return the batches that a version has learned, in use or not, oldest first, as far as they are here."""
        return self.in_ranges(learned.ranges.also(self.rollups.sequences(learned.ids)), withdrawn=True)

    def ids_at(self, sequences: Sequence[int]) -> dict[int, str]:
        """Return the ids of the batches with these sequences, as far as there are any."""
        query = sql.select(BATCHES.c.sequence, BATCHES.c.id).where(BATCHES.c.sequence.in_(sequences))
        return {row.sequence: row.id for row in self._connection.execute(query)} if sequences else {}

    def batches(self, limit: int, before: str | None) -> list[Batch]:
        """Return up to ``limit`` batches, newest first, those stored before the one with the id ``before``.

        Raises:
            NotFound: there is no such batch.
        """
        query = sql.select(*_ENTRIES).order_by(BATCHES.c.sequence.desc()).limit(limit)
        if before is not None:
            self.batch(before)
            sequence = sql.select(BATCHES.c.sequence).where(BATCHES.c.id == before).scalar_subquery()
            query = query.where(BATCHES.c.sequence < sequence)
        return self._entries(query)

    def find(self, digest: str) -> Batch | None:
        """Return the newest batch with this content, withdrawn or not."""
        query = sql.select(*_ENTRIES).where(BATCHES.c.digest == digest).order_by(BATCHES.c.sequence.desc())
        return next(iter(self._entries(query.limit(1))), None)

    def moments(self, batches: Iterable[Batch]) -> dict[str, FoldedMoments]:
        """Return the moments of these batches' rows, merged, by crop, in the order in which they were stored.

        Raises:
            StoreDamaged: those of a batch are not what was written.
        """
        wanted = [batch.id for batch in batches]
        query = sql.select(BATCHES.c.id, BATCHES.c.moments, BATCHES.c.moments_sha256).order_by(BATCHES.c.sequence)
        parts: dict[str, list[FoldedMoments]] = {}
        for start in range(0, len(wanted), AT_A_TIME):
            some = query.where(BATCHES.c.id.in_(wanted[start : start + AT_A_TIME]))
            for row in self._connection.execute(some):
                for crop, moments in checked_moments(row).items():
                    parts.setdefault(crop, []).append(moments)
        return {crop: FoldedMoments.merge(each) for crop, each in parts.items()}

    def columns(self, batches: Iterable[Batch]) -> tuple[tuple[str, ...], set[str]]:
        """Return the features that some stored row of these batches has, and the crops that they report.

        Raises:
            StoreDamaged: the moments of a batch, which name them, are not what was written.
        """
        wanted = [batch.id for batch in batches]
        has_rows = sql.exists().where(OBSERVATIONS.c.batch == BATCHES.c.sequence)
        query = sql.select(BATCHES.c.id, BATCHES.c.moments, BATCHES.c.moments_sha256).where(has_rows)
        crops: set[str] = set()
        present = np.zeros(len(FEATURE_NAMES), dtype=np.bool_)
        for start in range(0, len(wanted), FEW_AT_A_TIME):
            some = query.where(BATCHES.c.id.in_(wanted[start : start + FEW_AT_A_TIME]))
            for row in self._connection.execute(some):
                moments = checked_moments(row)
                crops |= moments.keys()
                for part in moments.values():
                    present |= ~part.total.absent[: len(FEATURE_NAMES)]
        return tuple(name for name, is_there in zip(FEATURE_NAMES, present.tolist(), strict=True) if is_there), crops

    def outcome_columns(self) -> tuple[str, ...]:
        """Return which of the columns `OUTCOME_COLUMNS` some row of a batch in use has."""
        rows = (
            sql.select(1).join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence).where(BATCHES.c.withdrawn.is_(None))
        )
        some = {name: sql.exists(rows.where(OBSERVATIONS.c[name].is_not(None))) for name in OUTCOME_COLUMNS}
        return tuple(name for name, found in some.items() if self._connection.execute(sql.select(found)).scalar())

    def cells(self, batches: Iterable[Batch]) -> tuple[dict[str, list[Cells]], int]:
        """Return the cells of these batches by crop, and how many rows are of batches that have none.

        Raises:
            StoreDamaged: those of a batch are not what was written.
        """
        wanted = [batch.id for batch in batches]
        columns = (BATCHES.c.id, BATCHES.c.rows, BATCHES.c.cells, BATCHES.c.cells_sha256)
        query = sql.select(*columns).order_by(BATCHES.c.sequence)
        found: dict[str, list[Cells]] = {}
        missing = 0
        for start in range(0, len(wanted), AT_A_TIME):
            some = query.where(BATCHES.c.id.in_(wanted[start : start + AT_A_TIME]))
            for row in self._connection.execute(some):
                for crop, cells in checked_cells(row).items():
                    found.setdefault(crop, []).append(cells)
                missing += row.rows if row.cells is None else 0
        return found, missing

    def tables(self, batch: Batch) -> Iterator[Table]:
        """Yield a batch's stored rows, some at a time.

        Raises:
            StoreDamaged: a row is not what was written.
        """
        sequence = self._connection.execute(sql.select(BATCHES.c.sequence).where(BATCHES.c.id == batch.id)).scalar_one()
        for rows in stored.chunks(self._connection, sequence):
            for row in rows:
                _check_row(row, batch.id)
            yield stored.table_of(rows)

    def named(self, ids: Sequence[str]) -> list[Batch]:
        """Return the batches with these ids, in this order, as far as there are any."""
        query = sql.select(*_ENTRIES)
        parts = (ids[start : start + AT_A_TIME] for start in range(0, len(ids), AT_A_TIME))
        found = {batch.id: batch for part in parts for batch in self._entries(query.where(BATCHES.c.id.in_(part)))}
        return [found[name] for name in ids if name in found]

    def rows_behind(self, batch: Batch, row: int, limit: int) -> Table:
        """Return up to ``limit`` of a batch's stored rows, those behind ``row``; -1: the first ones.

        Raises:
            StoreDamaged: a row is not what was written.
        """
        sequence = sql.select(BATCHES.c.sequence).where(BATCHES.c.id == batch.id).scalar_subquery()
        query = sql.select(OBSERVATIONS).where(OBSERVATIONS.c.batch == sequence, OBSERVATIONS.c.row > row)
        rows = self._connection.execute(query.order_by(OBSERVATIONS.c.row).limit(limit)).all()
        for found in rows:
            _check_row(found, batch.id)
        return replace(stored.table_of(rows), numbers=np.array([found.row for found in rows], dtype=np.intp))

    def alike(self, table: Table) -> list[Table]:
        """Return the stored rows, of batches in use, that have region, season and weather of a row of the table.

        Each table of rows that lack the same features. A row that is not what was written is like none.
        """
        rows = zip(table.regions, table.seasons, table.weather.tolist(), strict=True)
        wanted = list(
            {(region or None, season or None, *(_value(each) for each in known)) for region, season, known in rows}
        )
        query = sql.select(BATCHES.c.id.label("of"), OBSERVATIONS).join(
            BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence
        )
        query = query.where(BATCHES.c.withdrawn.is_(None)).order_by(OBSERVATIONS.c.batch, OBSERVATIONS.c.row)
        columns = [OBSERVATIONS.c[name] for name in ("region", "season", *FEATURE_NAMES)]
        found: dict[tuple[bool, ...], list[Any]] = {}
        for start in range(0, len(wanted), FEW_AT_A_TIME):
            some = (
                sql.and_(
                    *(
                        column.is_(None) if value is None else column == value
                        for column, value in zip(columns, row, strict=True)
                    )
                )
                for row in wanted[start : start + FEW_AT_A_TIME]
            )
            for row in self._connection.execute(query.where(sql.or_(*some))):
                if not list(_faults(lambda row=row: _check_row(row[1:], row.of))):
                    lacking = tuple(getattr(row, name) is None for name in FEATURE_NAMES)
                    found.setdefault(lacking, []).append(row)
        return [stored.table_of(rows) for rows in found.values()]

    def records(self, batches: Iterable[Batch]) -> dict[str, dict[str, Sketch] | None]:
        """Return what the yields of these batches were predicted as before they were known, by batch and crop.

        None for a batch of which nobody has asked yet.

        Raises:
            StoreDamaged: those of a batch are not what was written.
        """
        wanted = [batch.id for batch in batches]
        query = sql.select(BATCHES.c.id, BATCHES.c.record, BATCHES.c.record_sha256).order_by(BATCHES.c.sequence)
        found: dict[str, dict[str, Sketch] | None] = {}
        for start in range(0, len(wanted), AT_A_TIME):
            some = query.where(BATCHES.c.id.in_(wanted[start : start + AT_A_TIME]))
            found |= {row.id: checked_record(row) for row in self._connection.execute(some)}
        return found

    def keep_record(self, batch: str, record: Mapping[str, Sketch]) -> None:
        """Keep what a batch's yields were predicted as before they were known, where nobody has asked before."""
        self._change(batch, BATCHES.c.record.is_(None), **stored.packed_record(record))

    def withdraw(self, batch: str, who: str, note: str) -> Batch:
        """Take a batch out of future training; a batch that is out already stays as it is.

        Raises:
            NotFound: there is no such batch.
        """
        told = {"withdrawn": datetime.now(UTC), "withdrawn_by": who, "withdrawn_why": note}
        return self._change(batch, BATCHES.c.withdrawn.is_(None), **told)

    def restore(self, batch: str, who: str, note: str) -> Batch:
        """Let a withdrawn batch take part in training again; one that does already stays as it is.

        Raises:
            NotFound: there is no such batch.
        """
        told = dict.fromkeys(("withdrawn", "withdrawn_by", "withdrawn_why"))
        told |= {"restored": datetime.now(UTC), "restored_by": who, "restored_why": note}
        return self._change(batch, BATCHES.c.withdrawn.is_not(None), **told)

    def _change(self, batch: str, condition: sql.ColumnElement[bool], **told: Any) -> Batch:
        stored.hold(self._connection, stored.TRAINING_LOCK)  # a roll-up of what it is now may be under way
        found = self.batch(batch)  # what is damaged must not get a new checksum
        wanted = BATCHES.c.id == batch
        if self._connection.execute(sql.update(BATCHES).where(wanted, condition).values(**told)).rowcount:
            self._sum_up(wanted)
            self.rollups.erase_above(found.sequence)
        return self.batch(batch)

    def batch(self, batch: str) -> Batch:
        """Return a batch's entry.

        Raises:
            NotFound: there is no such batch.
        """
        row = self._connection.execute(sql.select(*_ENTRIES).where(BATCHES.c.id == batch)).first()
        if row is None:
            raise NotFound(f"there is no batch {batch[:40]!r}")
        return _entry(row)

    def page(self, limit: int, after: str | None) -> list[Observation]:
        """Return up to ``limit`` rows in the order they were stored, those behind the cursor ``after``.

        Raises:
            NotFound: ``after`` is not a cursor that a page has given.
            StoreDamaged: a row is not what was written.
        """
        query = (
            sql.select(BATCHES.c.sequence, BATCHES.c.id, BATCHES.c.withdrawn, OBSERVATIONS)
            .join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence)
            .order_by(OBSERVATIONS.c.batch, OBSERVATIONS.c.row)
            .limit(limit)
        )
        if after is not None:
            sequence, row = place_of(after)
            query = query.where(
                (OBSERVATIONS.c.batch > sequence) | ((OBSERVATIONS.c.batch == sequence) & (OBSERVATIONS.c.row > row))
            )
        return [_observation(row) for row in self._connection.execute(query)]

    def faults(self) -> Iterator[str]:
        """Yield a sentence for all that is not what was written: batches, moments, rows, answers, forecasts."""
        batches = sql.select(BATCHES).order_by(BATCHES.c.sequence).execution_options(yield_per=FEW_AT_A_TIME)
        with self._connection.execute(batches) as rows:
            for row in rows:
                yield from _faults(lambda row=row: _entry(row))
                yield from _faults(lambda row=row: checked_moments(row))
                yield from _faults(lambda row=row: checked_cells(row))
                yield from _faults(lambda row=row: checked_record(row))
                yield from self._faults_of_rows(row)
        yield from self.rollups.faults()
        for row in self._connection.execute(sql.select(ANSWERS)).all():
            yield from _faults(lambda row=row: _answer(row))
        yield from self.forecasts.faults()

    def _faults_of_rows(self, batch: Any) -> Iterator[str]:
        count = 0
        for rows in stored.chunks(self._connection, batch.sequence):
            count += len(rows)
            for row in rows:
                yield from _faults(lambda row=row: _check_row(row, batch.id))
        if count not in (0, batch.rows):  # of a large file no rows are stored
            yield f"batch {batch.id} has {count} rows in the database, {batch.rows} were written"

    def answer(self, once: Once) -> KeptAnswer | None:
        """Return the first answer given under an idempotency key, or None.

        Raises:
            KeyReused: the key was used for another body.
            StoreDamaged: the answer is not what was written.
        """
        row = self._connection.execute(sql.select(ANSWERS).where(ANSWERS.c.key == once.key)).first()
        if row is None:
            return None
        answer = _answer(row)
        if row.digest != once.fingerprint:
            raise KeyReused("the idempotency key was used before, for another request")
        return answer

    def keep_answer(self, once: Once, body: str, version_sha256: str | None = None) -> None:
        """Keep the answer given under an idempotency key, and forget those that are too old to be asked for again.

        Raises:
            KeyTaken: another call has used the key meanwhile.
        """
        now = datetime.now(UTC)
        self._connection.execute(sql.delete(ANSWERS).where(ANSWERS.c.created < now - KEY_LIFE))
        values = {
            "key": once.key,
            "digest": once.fingerprint,
            "body": body,
            "created": now,
            "version_sha256": version_sha256,
        }
        told = checksum([values[name] for name in stored.CHECKED_ANSWER])
        try:
            self._connection.execute(sql.insert(ANSWERS).values(**values, checksum=told))
        except IntegrityError as error:
            raise KeyTaken("the idempotency key is being used by another call: try again") from error

    def forget_answer(self, key: str) -> None:
        """Forget the answer under a key, so that the call can be made again."""
        self._connection.execute(sql.delete(ANSWERS).where(ANSWERS.c.key == key))

    def begin_training(self, sha256: str, body: str) -> None:
        """Note what is still to be done for the version, by its file's hash, that this transaction commits."""
        self._connection.execute(sql.insert(TRAININGS).values(sha256=sha256, body=body, created=datetime.now(UTC)))

    def trainings(self) -> list[str]:
        """Return what is still to be done, oldest first."""
        query = sql.select(TRAININGS.c.body).order_by(TRAININGS.c.created)
        return list(self._connection.execute(query).scalars())

    def hold_training(self) -> None:
        """Wait for transactions that store rows or end a training, and let no other one begin, until this one ends.

        Also for one that is just being committed: its server may still be at it when its client is gone.
        """
        stored.hold(self._connection, stored.TRAINING_LOCK)

    def end_training(self, sha256: str) -> bool:
        """Note that nothing is to be done for a version any more, and return whether something was, until now."""
        self.hold_training()
        return bool(self._connection.execute(sql.delete(TRAININGS).where(TRAININGS.c.sha256 == sha256)).rowcount)


def _entry(row: Any) -> Batch:
    stored.check(row.checksum, [getattr(row, name) for name in stored.CHECKED_ENTRY], f"batch {row.id}")
    return Batch(*(getattr(row, name) for name in (*stored.ENTRY, "sequence")))


def _within(ranges: Sequence[Range]) -> sql.ColumnElement[bool]:
    """Select batches; from the first to the last of the ranges, or SQLite would look at all that there are."""
    sequence = BATCHES.c.sequence
    some = sql.or_(*(sequence.between(first, last) for first, last in ranges))
    return sequence.between(ranges[0][0], ranges[-1][1]) & some


def _value(known: float) -> float | None:
    return known if known == known else None  # noqa: PLR0124 - NaN is no value


def _answer(row: Any) -> KeptAnswer:
    values = [getattr(row, name) for name in stored.CHECKED_ANSWER]
    stored.check(row.checksum, values, f"the answer under the idempotency key {row.key!r}")
    return KeptAnswer(row.body, row.version_sha256)


def _check_row(row: Sequence[Any], batch: str) -> None:
    """``row``: the columns of the table."""
    stored.check(row[stored.SUM], (*stored.values_of(row), batch), f"row {row[1]} of batch {batch}")


def _faults(look: Any) -> Iterator[str]:
    try:
        look()
    except StoreDamaged as error:
        yield error.detail


def _rows(table: Table, batch: str, sequence: int | None) -> Iterator[dict[str, Any]]:
    columns = zip(table.regions, table.seasons, table.weather.tolist(), table.yields.tolist(), strict=True)
    said = zip(*(column or (None,) * len(table) for column in (table.forecasts, table.harvested)), strict=True)
    for number, ((region, season, known, yields), outcome) in enumerate(zip(columns, said, strict=True)):
        weather = [_value(value) for value in known]
        reported = {crop: tons for crop, tons in zip(table.crops, yields, strict=True) if tons == tons}  # noqa: PLR0124 - NaN is not reported
        row = {"row": number, "region": region, "season": season, **dict(zip(FEATURE_NAMES, weather, strict=True))}
        row["yields"] = json.dumps(reported, ensure_ascii=False)
        told = checksum([*row.values(), *(outcome if any(outcome) else ()), batch])
        yield row | {"batch": sequence, "checksum": told, **dict(zip(OUTCOME_COLUMNS, outcome, strict=True))}


def _observation(row: Sequence[Any]) -> Observation:
    sequence, batch, withdrawn, *columns = row
    _check_row(columns, batch)
    _, number, region, season, *weather, yields, _, forecast, harvested = columns
    cursor, is_withdrawn = cursor_of(sequence, number), withdrawn is not None
    known = (batch, number, region, season, tuple(weather), json.loads(yields), is_withdrawn, cursor)
    return Observation(*known, forecast, harvested)
