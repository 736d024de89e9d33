"""Forecasts place by place, with what became of them: a region's season is read at once, so that its last one is known.

No more than a part is held. What is damaged is left out, and counted.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from app.data import stored
from app.data.forecasts import Forecast, may_be_outcomes, wholes, with_entries
from app.data.matching import Outcomes, Reported
from app.data.stored import BATCHES, FORECAST_BATCHES, FORECASTS, OBSERVATIONS
from app.errors import StoreDamaged
from app.model.weather import FEATURE_NAMES

_ORDER = (FORECASTS.c.region, FORECASTS.c.season, FORECASTS.c.batch, FORECASTS.c.row)


class Place(NamedTuple):
    """The forecast behind which reading goes on, in the order of regions and seasons."""

    region: str
    season: str
    batch: int
    row: int


class Harvested(NamedTuple):
    """The batch of an outcome: its ``id``, and when it was stored."""

    id: str
    created: datetime


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Some forecasts, all of each region's season, and what may be their outcomes.

    ``in_use``: outcomes among the observations that are learned from; ``set_aside``: among those that a training has
    brought and not been made live with. ``harvested``: the batches of both, by sequence. ``damaged``: how many
    forecasts and observations are not what was written, and so not here. ``end``: where the next part begins; None:
    this is the last one.
    """

    forecasts: list[Forecast]
    in_use: Outcomes
    set_aside: Outcomes
    harvested: dict[int, Harvested]
    damaged: int
    end: Place | None


def count(connection: Connection) -> int:
    """Return how many forecasts are stored, as their batches say."""
    rows = sql.func.sum(FORECAST_BATCHES.c.rows - FORECAST_BATCHES.c.erased)
    return int(connection.execute(sql.select(rows)).scalar() or 0)


def state(connection: Connection, set_aside_by: str) -> tuple[int, ...]:
    """Return what changes whenever forecasts or their outcomes do: which are there, and which were withdrawn."""
    forecasts, entry = FORECAST_BATCHES.c, BATCHES.c
    withdrawn = sql.case((entry.withdrawn.is_(None), 0), (entry.withdrawn_by == set_aside_by, 1), else_=2)
    total = sql.func.sum
    queries = (
        sql.select(total(forecasts.sequence), sql.func.count(), total(forecasts.rows - forecasts.erased)),
        # Each batch's own share, so that one withdrawn and another restored are not taken for nothing.
        sql.select(sql.func.count(), total(withdrawn * entry.sequence * entry.sequence), total(withdrawn)),
    )
    return tuple(int(value or 0) for query in queries for value in connection.execute(query).one())


def part(connection: Connection, after: Place | None, limit: int, set_aside_by: str) -> Part:
    """Return the next part: about ``limit`` forecasts, more where a single place has more.

    ``set_aside_by``: who withdraws what a training has brought.
    """
    rows, end = _rows(connection, after, limit)
    forecasts = [forecast for forecast in wholes(rows) if forecast is not None]
    damaged = len(rows) - len(forecasts)
    found: dict[bool, dict[tuple[int, int], Reported]] = {False: {}, True: {}}
    harvested: dict[int, Harvested] = {}
    for row in _observations(connection, forecasts, set_aside_by):
        withdrawn, batch, created, *columns = row
        try:
            one = _reported(columns, batch)
        except StoreDamaged:
            damaged += 1
            continue
        found[withdrawn is not None][one.batch, one.row] = one
        harvested[one.batch] = Harvested(batch, created)
    return Part(forecasts, Outcomes(found[False].values()), Outcomes(found[True].values()), harvested, damaged, end)


def _rows(connection: Connection, after: Place | None, limit: int) -> tuple[Sequence[Any], Place | None]:
    """Return the rows of whole places, and where the next ones begin."""
    query = with_entries().order_by(*_ORDER)
    if after is not None:
        query = query.where(sql.tuple_(*_ORDER) > sql.tuple_(*after))
    while True:
        rows = connection.execute(query.limit(limit)).all()
        if len(rows) < limit:
            return rows, None
        kept, last = len(rows), _place(rows[-1])
        while kept and _place(rows[kept - 1])[:2] == last[:2]:
            kept -= 1
        if kept:
            return rows[:kept], _place(rows[kept - 1])
        limit *= 2  # all of them are of one place, which may have more


def _place(row: Any) -> Place:
    return Place(row.region, row.season, row.batch, row.row)


def _observations(connection: Connection, forecasts: Sequence[Forecast], set_aside_by: str) -> Iterator[Any]:
    """Yield the rows that may be outcomes and count, some of them twice."""
    counts = BATCHES.c.withdrawn.is_(None) | (BATCHES.c.withdrawn_by == set_aside_by)
    query = sql.select(BATCHES.c.withdrawn, BATCHES.c.id.label("of"), BATCHES.c.created, OBSERVATIONS)
    query = query.join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence).where(counts)
    return may_be_outcomes(connection, query, forecasts)


def _reported(row: Sequence[Any], batch: str) -> Reported:
    """``row``: the columns of the table; ``batch``: its id.

    Raises:
        StoreDamaged: it is not what was written.
    """
    sequence, number, region, season, *weather, yields, told, forecast, harvested = row
    stored.check(told, (*stored.values_of(row), batch), f"row {number} of batch {batch}")
    assert len(weather) == len(FEATURE_NAMES)  # noqa: S101 - these are the columns of the table
    return Reported(sequence, number, region, season, forecast, harvested, json.loads(yields), tuple(weather))
