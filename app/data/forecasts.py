"""Forecasts as they were given: the numbers of then, in batches, which are erased whole, and never changed.

A forecast is no training data. What is read is compared with its checksum. Knows nothing of models.
"""

import json
import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from app.data import stored
from app.data.cursor import cursor_of, place_of
from app.data.matching import Outcomes, Reported, plain
from app.data.provenance import Provenance
from app.data.stored import BATCHES, FORECAST_BATCHES, FORECASTS, OBSERVATIONS, checksum
from app.errors import FieldError, IdTaken, NotFound, StoreDamaged
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES

ENDS = ("tons", "low", "high")
"""What is kept of a crop: the prediction, and both ends of its interval."""
AT_A_TIME = 10_000
"""Rows that are written or read at a time."""
ASKED_AT_ONCE = 500
"""Ids or places in one query."""
LOOKED_AT = 20_000
"""Forecasts that are looked through for a page of those without an outcome, at most: such a page may be a short one."""
_MADE = re.compile(r"([0-9a-f]{32})-(0|[1-9]\d{0,9})", re.ASCII)
"""The id of a forecast that was given none: its batch's, and its row."""
_CHECKED = ("sequence", "id", "version", "level", "crops", "source", "note", "who", "rows", "created", "erased")
_ENTRIES = [FORECAST_BATCHES.c[name] for name in (*_CHECKED, "checksum")]


@dataclass(frozen=True, slots=True)
class ForecastBatch:
    """A batch's entry: the ``version`` and the ``level`` that its ``rows`` were predicted with, for these ``crops``.

    ``erased``: how many of its rows are not there any more, since they were too old.
    """

    id: str
    version: str
    level: float
    crops: tuple[str, ...]
    source: str
    note: str
    who: str
    rows: int
    created: datetime
    erased: int = 0

    @classmethod
    def of(cls, version: str, level: float, foretold: "Foretold", provenance: Provenance) -> "ForecastBatch":
        """Return the entry of forecasts that are to be stored."""
        return cls(
            id=uuid.uuid4().hex,
            version=version,
            level=level,
            crops=foretold.crops,
            source=provenance.source,
            note=provenance.note,
            who=provenance.who,
            rows=len(foretold),
            created=datetime.now(UTC),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Foretold:
    """n forecasts as columns.

    ``ids``: None where none is given. ``dues``: when the harvest is expected, YYYY-MM-DD. ``weather``: shape (n, 3), as
    it is stored, NaN for what was not given. ``yields``: shape (n, crops, 3): tons, low and high, NaN without an
    interval. ``extrapolated``: shape (n,). ``warnings``: the sentences beside each.
    """

    ids: Sequence[str | None]
    regions: Sequence[str]
    seasons: Sequence[str]
    dues: Sequence[str | None]
    weather: Array
    crops: tuple[str, ...]
    yields: Array
    extrapolated: Sequence[bool]
    warnings: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.yields)

    def named(self, batch: str) -> "Foretold":
        """Return them with an id each: those that were given none have one of their batch's."""
        return replace(self, ids=[name or f"{batch}-{row}" for row, name in enumerate(self.ids)])


@dataclass(frozen=True, slots=True)
class Forecast:
    """One stored forecast; ``yields``: by crop, tons, low and high. ``cursor`` is where the page after it starts."""

    batch: ForecastBatch
    row: int
    id: str
    region: str
    season: str
    due: str | None
    weather: tuple[float | None, ...]
    yields: dict[str, tuple[float, float | None, float | None]]
    extrapolated: bool
    warnings: tuple[str, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which forecasts are wanted: of a region, of a season, those without an outcome so far.

    ``until``: of batches up to this one, by its sequence.
    """

    region: str | None = None
    season: str | None = None
    is_open: bool = False
    until: int | None = None


class Forecasts:
    """What can be done with forecasts within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, batch: ForecastBatch, foretold: Foretold) -> None:
        """Store forecasts as this batch.

        Raises:
            IdTaken: one has an id that another one has already.
        """
        self._check_ids(foretold.ids)
        values = {name: getattr(batch, name) for name in _CHECKED[1:]} | {"crops": json.dumps(batch.crops)}
        entry = sql.insert(FORECAST_BATCHES).values(**values, checksum="")
        inserted = self._connection.execute(entry).inserted_primary_key
        sequence = inserted[0] if inserted else None
        self._sum_up(FORECAST_BATCHES.c.sequence == sequence)
        rows = _rows(foretold, batch.id, sequence)
        try:
            while some := [row for _, row in zip(range(AT_A_TIME), rows, strict=False)]:
                self._connection.execute(sql.insert(FORECASTS), some)
        except IntegrityError as error:  # by a call of the same moment
            raise IdTaken("an id is being used by another call: look at GET /forecasts, and try again") from error

    def _check_ids(self, ids: Sequence[str | None]) -> None:
        """Check that no forecast has one of these ids.

        Raises:
            IdTaken: one has.
        """
        given = {name: row for row, name in enumerate(ids) if name}
        names = list(given)
        for start in range(0, len(names), ASKED_AT_ONCE):
            some = names[start : start + ASKED_AT_ONCE]
            query = sql.select(FORECASTS.c.id).where(FORECASTS.c.id.in_(some))
            taken = set(self._connection.execute(query).scalars()) | self._made_of(some)
            if taken:
                name = min(taken, key=given.__getitem__)
                told = f"a forecast has the id {name!r} already: give another one, or none"
                raise IdTaken(f"row {given[name] + 1}: {told}", [FieldError((given[name], "id"), told, "id_taken")])

    def _made_of(self, names: Iterable[str]) -> set[str]:
        """Return those of some ids that were made for rows that are there."""
        made = {name: (found[1], int(found[2])) for name in names if (found := _MADE.fullmatch(name))}
        if not made:
            return set()
        query = (
            sql.select(FORECAST_BATCHES.c.id, FORECASTS.c.row)
            .join(FORECAST_BATCHES, FORECASTS.c.batch == FORECAST_BATCHES.c.sequence)
            .where(FORECASTS.c.id.is_(None), among((FORECAST_BATCHES.c.id, FORECASTS.c.row), list(made.values())))
        )
        there = {tuple(row) for row in self._connection.execute(query)}
        return {name for name, place in made.items() if place in there}

    def _sum_up(self, wanted: sql.ColumnElement[bool]) -> None:
        """Give an entry the checksum of what it says now."""
        row = self._connection.execute(sql.select(*_ENTRIES).where(wanted)).one()
        told = checksum([getattr(row, name) for name in _CHECKED])
        self._connection.execute(sql.update(FORECAST_BATCHES).where(wanted).values(checksum=told))

    def batches(self, limit: int, before: str | None) -> list[ForecastBatch]:
        """Return up to ``limit`` batches, newest first, those stored before the one with the id ``before``.

        Raises:
            NotFound: there is no such batch.
            StoreDamaged: an entry is not what was written.
        """
        query = sql.select(*_ENTRIES).order_by(FORECAST_BATCHES.c.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(FORECAST_BATCHES.c.sequence < self._sequence(before))
        return [_entry(row) for row in self._connection.execute(query)]

    def last(self) -> int:
        """Return the sequence of the newest batch, 0 for none."""
        return self._connection.execute(sql.select(sql.func.max(FORECAST_BATCHES.c.sequence))).scalar() or 0

    def crops(self) -> set[str]:
        """Return the crops that some batch forecasts."""
        listed = self._connection.execute(sql.select(FORECAST_BATCHES.c.crops).distinct()).scalars()
        return {crop for crops in listed for crop in json.loads(crops)}

    def of_batch(self, batch: str) -> tuple[ForecastBatch, Foretold]:
        """Return a batch and all of its forecasts, as they were stored.

        Raises:
            NotFound: there is no such batch.
            StoreDamaged: they are not what was written.
        """
        sequence = self._sequence(batch)
        entry = _entry(
            self._connection.execute(sql.select(*_ENTRIES).where(FORECAST_BATCHES.c.sequence == sequence)).one()
        )
        rows = [_forecast(row, entry) for some in self._chunks(sequence) for row in some]
        none = np.nan
        return entry, Foretold(
            [row.id for row in rows],
            [row.region for row in rows],
            [row.season for row in rows],
            [row.due for row in rows],
            np.array([row.weather for row in rows], dtype=np.float64).reshape(len(rows), len(FEATURE_NAMES)),
            entry.crops,
            np.array(
                [[[none if end is None else end for end in row.yields[crop]] for crop in entry.crops] for row in rows],
                dtype=np.float64,
            ).reshape(len(rows), len(entry.crops), len(ENDS)),
            [row.extrapolated for row in rows],
            [row.warnings for row in rows],
        )

    def _sequence(self, batch: str) -> int:
        found = self._connection.execute(
            sql.select(FORECAST_BATCHES.c.sequence).where(FORECAST_BATCHES.c.id == batch)
        ).scalar()
        if found is None:
            raise NotFound(f"there is no batch of forecasts {batch[:40]!r}")
        return int(found)

    def _chunks(self, sequence: int) -> Iterator[Sequence[Any]]:
        """Yield a batch's rows, some at a time."""
        query = sql.select(FORECASTS).where(FORECASTS.c.batch == sequence).order_by(FORECASTS.c.row).limit(AT_A_TIME)
        last = -1
        while rows := self._connection.execute(query.where(FORECASTS.c.row > last)).all():
            yield rows
            last = rows[-1].row

    def page(self, limit: int, after: str | None, wanted: Wanted = Wanted()) -> tuple[list[Forecast], str | None]:
        """Return up to ``limit`` forecasts in the order in which they were stored, and the cursor of the next page.

        ``after``: the cursor of this one. A page of those without an outcome may be a short one, even with none in it:
        the last one has no cursor.

        Raises:
            NotFound: ``after`` is not a cursor that a page has given.
            StoreDamaged: a row is not what was written.
        """
        found: list[Forecast] = []
        if not wanted.is_open:
            found = self._behind(after, limit + 1, wanted)
            return found[:limit], found[limit - 1].cursor if len(found) > limit else None
        step = max(limit + 1, LOOKED_AT // 20)
        for _ in range(max(1, LOOKED_AT // step)):
            some = self._behind(after, step, wanted)
            outcomes = self.outcomes(some)
            found += [each for each in some if not _has_outcome(each, outcomes)]
            if len(found) > limit:
                return found[:limit], found[limit - 1].cursor
            if len(some) < step:
                return found, None
            after = some[-1].cursor
        return found, after

    def _behind(self, after: str | None, limit: int, wanted: Wanted) -> list[Forecast]:
        query = with_entries().order_by(FORECASTS.c.batch, FORECASTS.c.row).limit(limit)
        if after is not None:
            query = query.where(_is_behind(after))
        for name in ("region", "season"):
            if (of := getattr(wanted, name)) is not None:
                query = query.where(FORECASTS.c[name] == plain(of))
        if wanted.until is not None:
            query = query.where(FORECASTS.c.batch <= wanted.until)
        width = len(_ENTRIES)
        entries: dict[int, ForecastBatch] = {}
        found = []
        for row in self._connection.execute(query):
            if row[0] not in entries:
                entries[row[0]] = _entry(row[:width])
            found.append(_forecast(row[width:], entries[row[0]]))
        return found

    def outcomes(self, forecasts: Sequence[Forecast], *, withdrawn: bool = False) -> Outcomes:
        """Return what may be the outcome of these forecasts; ``withdrawn``: also what was withdrawn."""
        query = sql.select(*(OBSERVATIONS.c[name] for name in (*Reported._fields[:-2], "yields")))
        if not withdrawn:
            query = query.join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence).where(BATCHES.c.withdrawn.is_(None))
        rows = may_be_outcomes(self._connection, query, forecasts)
        found = {
            (batch, row): Reported(batch, row, region, season, forecast, harvested, json.loads(yields))
            for batch, row, region, season, forecast, harvested, yields in rows
        }
        return Outcomes(found.values())

    def erase(self, batch: str) -> int:
        """Erase a batch with all that is stored of it; return how many forecasts that were.

        Raises:
            NotFound: there is no such batch.
        """
        sequence = self._sequence(batch)
        gone = self._connection.execute(sql.delete(FORECASTS).where(FORECASTS.c.batch == sequence)).rowcount
        self._connection.execute(sql.delete(FORECAST_BATCHES).where(FORECAST_BATCHES.c.sequence == sequence))
        return int(gone)

    def forget(self, before: datetime, after: str | None, most: int) -> tuple[int, str | None]:
        """Erase forecasts stored ``before`` a time that have no outcome, not even a withdrawn one.

        ``most``: how many are looked at, behind the cursor ``after``. Return how many were erased, and the cursor of
        the last one looked at; None: it was the last one of all. What is damaged stays, to be told.
        """
        old = FORECAST_BATCHES.c.created < before
        query = with_entries().where(old).order_by(FORECASTS.c.batch, FORECASTS.c.row).limit(most)
        if after is not None:
            query = query.where(_is_behind(after))
        rows = self._connection.execute(query).all()
        looked_at = [forecast for forecast in wholes(rows) if forecast is not None]
        outcomes = self.outcomes(looked_at, withdrawn=True)
        gone: dict[str, list[int]] = {}
        for each in looked_at:
            if not _has_outcome(each, outcomes):
                gone.setdefault(each.batch.id, []).append(each.row)
        for batch, numbers in gone.items():
            self._drop(batch, numbers)
        width = len(_ENTRIES)
        last = cursor_of(rows[-1][width], rows[-1][width + 1]) if len(rows) == most else None
        return sum(map(len, gone.values())), last

    def _drop(self, batch: str, numbers: Sequence[int]) -> None:
        """Erase some of a batch's rows, and the batch with the last of them."""
        wanted = FORECAST_BATCHES.c.id == batch
        sequence = self._sequence(batch)
        for start in range(0, len(numbers), ASKED_AT_ONCE):
            some = FORECASTS.c.row.in_(numbers[start : start + ASKED_AT_ONCE])
            self._connection.execute(sql.delete(FORECASTS).where(FORECASTS.c.batch == sequence, some))
        if self._connection.execute(sql.select(FORECASTS.c.row).where(FORECASTS.c.batch == sequence).limit(1)).first():
            less = sql.update(FORECAST_BATCHES).where(wanted)
            self._connection.execute(less.values(erased=FORECAST_BATCHES.c.erased + len(numbers)))
            self._sum_up(wanted)
        else:
            self._connection.execute(sql.delete(FORECAST_BATCHES).where(wanted))

    def faults(self) -> Iterator[str]:
        """Yield a sentence for each batch and each forecast that is not what was written."""
        for row in self._connection.execute(sql.select(*_ENTRIES).order_by(FORECAST_BATCHES.c.sequence)).all():
            try:
                entry = _entry(row)
            except StoreDamaged as error:
                yield error.detail
                continue
            count = 0
            for some in self._chunks(row.sequence):
                count += len(some)
                for each in some:
                    try:
                        _forecast(each, entry)
                    except StoreDamaged as error:
                        yield error.detail
            if count != entry.rows - entry.erased:
                yield f"batch {entry.id} has {count} forecasts in the database, not {entry.rows - entry.erased}"


def _has_outcome(forecast: Forecast, outcomes: Outcomes) -> bool:
    """Say whether one of a forecast's crops has an outcome."""
    place = forecast.id, forecast.region, forecast.season
    return any(outcomes.of(*place, crop) is not None for crop in forecast.batch.crops)


def may_be_outcomes(connection: Connection, query: sql.Select[Any], forecasts: Sequence[Forecast]) -> Iterator[Any]:
    """Yield the rows of a query of observations that may be the outcome of these forecasts, some of them twice."""
    columns = OBSERVATIONS.c
    # In order, so that some in a row are of few regions.
    places = sorted({place for each in forecasts for place in _spelled(each.region, each.season)})
    for start in range(0, len(places), ASKED_AT_ONCE):
        at_place = among((columns.region, columns.season), places[start : start + ASKED_AT_ONCE])
        yield from connection.execute(query.where(at_place))
    if not connection.execute(sql.select(sql.exists().where(columns.forecast.is_not(None)))).scalar():
        return
    ids = [each.id for each in forecasts]
    for start in range(0, len(ids), ASKED_AT_ONCE):
        yield from connection.execute(query.where(columns.forecast.in_(ids[start : start + ASKED_AT_ONCE])))


def _spelled(region: str, season: str) -> Iterator[tuple[str, str]]:
    """Yield the ways in which both names may be stored: version 0.1.0 took them as they came."""
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, region), unicodedata.normalize(form, season)


def among(columns: Sequence[sql.ColumnElement[Any]], values: Sequence[tuple[Any, ...]]) -> sql.ColumnElement[bool]:
    """Return the condition that columns are one of some tuples.

    Each column is asked for by itself as well: SQLite looks for a column in an index, and before 3.46 not for a tuple.
    """
    apart = (column.in_({each[place] for each in values}) for place, column in enumerate(columns))
    return sql.and_(*apart, sql.tuple_(*columns).in_(values))


def _is_behind(cursor: str) -> sql.ColumnElement[bool]:
    batch, row = place_of(cursor)
    return (FORECASTS.c.batch > batch) | ((FORECASTS.c.batch == batch) & (FORECASTS.c.row > row))


def _rows(foretold: Foretold, batch: str, sequence: int | None) -> Iterator[dict[str, Any]]:
    content = np.ascontiguousarray(foretold.yields, dtype="<f8").tobytes()
    size = len(content) // max(len(foretold), 1)
    names = zip(foretold.ids, foretold.regions, foretold.seasons, foretold.dues, strict=True)
    more = zip(foretold.weather.tolist(), foretold.extrapolated, foretold.warnings, strict=True)
    for number, ((name, region, season, due), (known, extrapolated, sentences)) in enumerate(
        zip(names, more, strict=True)
    ):
        weather = [_known(value) for value in known]
        yields = content[number * size : (number + 1) * size]
        warnings = json.dumps(list(sentences), ensure_ascii=False) if sentences else None
        values = [number, name, region, season, due, *weather, yields, bool(extrapolated), warnings]
        told = checksum(_summed_up(values, batch))
        yield dict(zip(FORECASTS.c.keys(), (sequence, *values, told), strict=True))


def _summed_up(values: Sequence[Any], batch: str) -> list[Any]:
    """Return what the checksum of a row is of: its columns but the first and the last, and its batch's id."""
    return [*(value.hex() if isinstance(value, bytes) else value for value in values), batch]


def _entry(row: Sequence[Any]) -> ForecastBatch:
    """``row``: the columns `_ENTRIES`."""
    *told, sum_ = row
    stored.check(sum_, told, f"the batch of forecasts {told[1]}")
    said = dict(zip(_CHECKED[1:], told[1:], strict=True))
    return ForecastBatch(**said | {"crops": tuple(json.loads(said["crops"]))})


def with_entries() -> sql.Select[Any]:
    """Return a query of all forecasts, each behind its batch's entry, for `wholes`."""
    return sql.select(*_ENTRIES, FORECASTS).join(FORECAST_BATCHES, FORECASTS.c.batch == FORECAST_BATCHES.c.sequence)


def wholes(rows: Iterable[Sequence[Any]]) -> Iterator[Forecast | None]:
    """Yield the forecasts of rows with their batches' entries before them, None for one that is damaged."""
    width = len(_ENTRIES)
    entries: dict[int, ForecastBatch | None] = {}
    for row in rows:
        if row[0] not in entries:
            try:
                entries[row[0]] = _entry(row[:width])
            except StoreDamaged:
                entries[row[0]] = None
        entry = entries[row[0]]
        try:
            yield None if entry is None else _forecast(row[width:], entry)
        except StoreDamaged:
            yield None


def _known(number: float) -> float | None:
    return number if number == number else None  # noqa: PLR0124 - NaN: none


def _forecast(row: Sequence[Any], batch: ForecastBatch) -> Forecast:
    """``row``: the columns of the table."""
    sequence, *values, told = row
    number, name, region, season, due, *weather, yields, extrapolated, warnings = values
    stored.check(told, _summed_up(values, batch.id), f"forecast {number} of batch {batch.id}")
    numbers = np.frombuffer(yields, dtype="<f8").reshape(len(batch.crops), len(ENDS)).tolist()
    return Forecast(
        batch,
        number,
        name or f"{batch.id}-{number}",
        region,
        season,
        due,
        tuple(weather),
        {crop: (tons, _known(low), _known(high)) for crop, (tons, low, high) in zip(batch.crops, numbers, strict=True)},
        extrapolated,
        tuple(json.loads(warnings)) if warnings else (),
        cursor_of(sequence, number),
    )
