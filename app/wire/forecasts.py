"""Forecasts as answers: stored with what was predicted, listed, erased. For the service and for a store without one.

Knows no HTTP.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import orjson

from app.data.provenance import Once, Provenance
from app.data.tables import safe_cell
from app.errors import KeyReused, NotFound
from app.model.linear import LinearModel
from app.model.units import STORED, Units
from app.model.weather import FEATURE_NAMES
from app.serving.drift import Usage
from app.wire import foretold
from app.wire.answers import ENDS, Answer
from app.wire.questions import BodyOptions
from app.wire.records import EXPORTED_AT_ONCE, csv_text
from app.wire.row_template import Part, filled, numbers_of, texts_of
from app.wire.schemas import (
    ForecastBatchEntry,
    ForecastBatchPage,
    ForecastEntry,
    ForecastPage,
    ForecastsErased,
    ForecastYield,
)

if TYPE_CHECKING:
    from app.data.forecasts import Forecast, ForecastBatch, Foretold, Wanted
    from app.data.observations import Observations, Transaction

_TEXTS = ("id", "region", "season", "due")
_BEHIND = ("extrapolated", "model_version", "level", "created", "batch")


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """How a body is to be read and predicted for: its content type, the most rows, the version, and the query."""

    sent: str
    max_rows: int
    version: str
    model: LinearModel
    level: float
    units: Units = STORED


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch that a call has stored, and what was asked; ``usage``: None where an earlier call has stored it."""

    batch: str
    version: str
    rows: int
    usage: Usage | None


def store(
    content: bytes, options: ForecastOptions, provenance: Provenance, once: Once | None, observations: "Observations"
) -> tuple[bytes, Kept]:
    """Predict what a body asks, store it, and return the answer as JSON; or return that of an earlier call.

    Raises:
        InputError: the body is malformed, invalid or too large.
        IdTaken: a forecast has one of its ids already.
        KeyReused: the key was used for another request, or what it has stored was erased.
        StoreUnavailable: it could not be written.
        Unconfirmed: it may have been written.
    """
    from app.data.forecasts import ForecastBatch  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    told, usage = _predicted(content, options)
    batch = ForecastBatch.of(options.version, options.level, told, provenance)
    kept = orjson.dumps({"batch": batch.id}).decode()
    earlier = observations.write_once(once, kept, lambda transaction: transaction.forecasts.add(batch, told))
    if earlier is not None:
        with observations.reading() as transaction:
            return _stored_before(transaction, orjson.loads(earlier.body)["batch"])
    return _answer(batch, told), Kept(batch.id, batch.version, batch.rows, usage)


def store_at(
    content: bytes, options: ForecastOptions, provenance: Provenance, once: Once | None, database: str
) -> tuple[bytes, Kept]:
    """Do as `store`, in a process that has no connection yet."""
    from app.data.observations import Observations  # noqa: PLC0415 - as above

    with closing(Observations(database)) as observations:
        return store(content, options, provenance, once, observations)


def _predicted(content: bytes, options: ForecastOptions) -> tuple["Foretold", Usage]:
    from app.data.forecasts import Foretold  # noqa: PLC0415 - as above

    body = BodyOptions(units=options.units, needs=options.model.needed_by)
    asked = foretold.read(content, options.sent, options.max_rows, body)
    answer = Answer(asked.question, options.version, options.model, options.level)
    crops = tuple(crop.crop for crop in options.model.crops)
    yields = np.full((len(asked.question), len(crops), len(ENDS)), np.nan)
    for place, crop in enumerate(crops):
        for at, end in enumerate(ENDS):
            if (column := answer.column(crop, end)) is not None:
                yields[:, place, at] = column
    told = Foretold(
        asked.ids,
        asked.regions,
        asked.seasons,
        asked.dues,
        np.stack(asked.question.weather, axis=1),
        crops,
        yields,
        answer.extrapolated.tolist(),
        answer.warnings(),
    )
    return told, answer.usage()


def _stored_before(transaction: "Transaction", batch: str) -> tuple[bytes, Kept]:
    """Return the answer of an earlier call, made of what it has stored."""
    try:
        entry, told = transaction.forecasts.of_batch(batch)
    except NotFound as error:
        message = "the forecasts that were stored under this idempotency key were erased: use another key"
        raise KeyReused(message) from error
    return _answer(entry, told), Kept(entry.id, entry.version, len(told), None)


def _answer(batch: "ForecastBatch", told: "Foretold") -> bytes:
    head = orjson.dumps({"batch": batch.id, "model_version": batch.version, "level": batch.level})
    rows = filled(_parts(told.named(batch.id)), len(told))[:-1]
    return head[:-1] + b',"predictions":[' + rows + b"]}"


def _parts(told: "Foretold") -> Iterator[Part]:
    for before, texts in ((b'{"id":', told.ids), (b',"region":', told.regions), (b',"season":', told.seasons)):
        yield before
        yield texts_of(texts)
    separator = b',"yields":{'
    for place, crop in enumerate(told.crops):
        yield separator + orjson.dumps(crop) + b":{"
        for at, end in enumerate(ENDS):
            yield (b"," if at else b"") + orjson.dumps(end) + b":"
            yield numbers_of(told.yields[:, place, at])
        separator = b"},"
    yield b'}},"extrapolated":'
    yield numbers_of(np.array(told.extrapolated, dtype=np.bool_))
    yield b',"warnings":'
    yield texts_of(told.warnings)
    yield b"},"


def page(observations: "Observations", limit: int, after: str | None, wanted: "Wanted") -> ForecastPage:
    """Return a page of stored forecasts.

    Raises:
        NotFound: no page has given ``after``.
        StoreDamaged, StoreUnavailable: what is stored cannot be read.
    """
    with observations.reading() as transaction:
        found, following = transaction.forecasts.page(limit, after, wanted)
    return ForecastPage(forecasts=[_entry(each) for each in found], next=following)


def _entry(forecast: "Forecast") -> ForecastEntry:
    return ForecastEntry(
        batch=forecast.batch.id,
        row=forecast.row,
        id=forecast.id,
        region=forecast.region,
        season=forecast.season,
        due=forecast.due,
        **dict(zip(FEATURE_NAMES, forecast.weather, strict=True)),
        yields={
            crop: ForecastYield(tons=tons, low=low, high=high) for crop, (tons, low, high) in forecast.yields.items()
        },
        extrapolated=forecast.extrapolated,
        warnings=list(forecast.warnings),
        model_version=forecast.batch.version,
        level=forecast.batch.level,
        created=forecast.batch.created,
    )


def csv_of(entries: Iterable[ForecastEntry]) -> str:
    """Return forecasts as a table: names, weather, each crop's yield, and how they were predicted."""
    rows = list(entries)
    crops = tuple(sorted({crop for row in rows for crop in row.yields}))
    return csv_text([_header(crops), *(_cells(row, crops) for row in rows)])


def _header(crops: Iterable[str]) -> list[str]:
    yields = [f"{safe_cell(crop)}_{end}" for crop in crops for end in ENDS]
    return [*_TEXTS, *FEATURE_NAMES, *yields, *_BEHIND]


def _cells(entry: ForecastEntry, crops: Iterable[str]) -> list[object]:
    texts = [safe_cell(getattr(entry, name) or "") for name in _TEXTS]
    weather = [getattr(entry, name) for name in FEATURE_NAMES]
    yields = [getattr(entry.yields[crop], end) if crop in entry.yields else None for crop in crops for end in ENDS]
    behind = [str(entry.extrapolated).lower(), entry.model_version, entry.level, entry.created.isoformat(), entry.batch]
    return [*texts, *weather, *yields, *behind]


@dataclass(frozen=True, slots=True)
class Export:
    """All forecasts that are ``wanted``, as a table, part by part; a part begins behind the cursor ``after``.

    No transaction is held from one part to the next: rows never change, and what is stored meanwhile is not there. (Nor
    is what is erased.)
    """

    wanted: "Wanted"
    crops: tuple[str, ...]
    after: str | None = None


def export(observations: "Observations", wanted: "Wanted") -> Export:
    """Begin an export.

    Raises:
        StoreDamaged, StoreUnavailable: what is stored cannot be read.
    """
    with observations.reading() as transaction:
        forecasts = transaction.forecasts
        return Export(replace(wanted, until=forecasts.last()), tuple(sorted(forecasts.crops())))


def export_part(observations: "Observations", to_do: Export) -> tuple[str, Export | None]:
    """Return the next part of an export, the first with the header, and what is left to do; None: nothing.

    Raises:
        StoreDamaged, StoreUnavailable: as `export`.
    """
    found = page(observations, EXPORTED_AT_ONCE, to_do.after, to_do.wanted)
    header = [_header(to_do.crops)] if to_do.after is None else []
    text = csv_text([*header, *(_cells(entry, to_do.crops) for entry in found.forecasts)])
    return text, None if found.next is None else replace(to_do, after=found.next)


def batches(observations: "Observations", limit: int, before: str | None) -> ForecastBatchPage:
    """Return a page of batches of forecasts.

    Raises:
        NotFound: there is no batch ``before``.
        StoreDamaged, StoreUnavailable: what is stored cannot be read.
    """
    with observations.reading() as transaction:
        found = transaction.forecasts.batches(limit + 1, before)
    entries = [
        ForecastBatchEntry(
            batch=batch.id,
            model_version=batch.version,
            level=batch.level,
            crops=list(batch.crops),
            source=batch.source,
            note=batch.note,
            who=batch.who,
            rows=batch.rows,
            erased=batch.erased,
            created=batch.created,
        )
        for batch in found
    ]
    return ForecastBatchPage(batches=entries[:limit], next=entries[limit - 1].batch if len(entries) > limit else None)


def erase(observations: "Observations", batch: str) -> ForecastsErased:
    """Erase a batch of forecasts.

    Raises:
        NotFound: there is no such batch.
        StoreUnavailable: it could not be written.
    """
    with observations.transaction() as transaction:
        return ForecastsErased(batch=batch, rows=transaction.forecasts.erase(batch))
