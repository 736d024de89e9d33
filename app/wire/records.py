"""What is kept, as answers: versions, the activation log, observations. For the service and for a store without one.

Knows no HTTP.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from app.data import example
from app.data.harvest import Harvest
from app.data.naming import TEXT_COLUMNS
from app.data.provenance import Once, Provenance
from app.data.tables import safe_cell
from app.errors import KeyTaken, OrchardError
from app.model.weather import FEATURE_NAMES
from app.serving.entries import Entry
from app.serving.live import Live, Served
from app.store.registry import Registry
from app.wire.schemas import (
    BatchEntry,
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    LogPage,
    ObservationEntry,
    ObservationPage,
    VersionCard,
    VersionEntry,
    VersionPage,
)

if TYPE_CHECKING:
    from app.data.observations import Observations

SHOWN = ("source", "note", "who", "rows", "created", "withdrawn", "withdrawn_by", "withdrawn_why")
"""What is told of a batch besides its id."""


def versions(registry: Registry, live: Live, limit: int, before: int | None) -> VersionPage:
    """Return a page of the versions, and which one is live."""
    numbers = [number for number in registry.versions() if before is None or number < before]
    shown = numbers[:limit]
    served = live_version(live)
    return VersionPage(
        live=served,
        versions=[_entry(live, str(number), served) for number in shown],
        next=str(shown[-1]) if len(numbers) > limit else None,
    )


def live_version(live: Live) -> str | None:
    """Return the number of the live version, None if no version is live."""
    try:
        return live.current.version
    except OrchardError:
        return None


def _entry(live: Live, version: str, served: str | None) -> VersionEntry:
    try:
        entry = asdict(live.entries.of(version)) | {"damaged": False}
    except OrchardError:
        entry = dict.fromkeys(field.name for field in fields(Entry)) | {"damaged": True}
    return VersionEntry(version=version, live=version == served, **entry)


def card(served: Served, live: Live) -> VersionCard:
    """Return what a version says about itself."""
    told = dict(served.card) | {"source": example.told(served.card.source, served.card.data_digest)}
    return VersionCard(**told, version=served.version, live=served.version == live_version(live))


def log(registry: Registry, limit: int, before: int | None) -> LogPage:
    """Return a page of the activation log."""
    lines = registry.log(limit + 1, before).lines
    return LogPage(log=lines[:limit], next=lines[limit - 1].number if len(lines) > limit else None)


def store(
    observations: "Observations", harvest: Harvest, provenance: Provenance, once: Once | None
) -> tuple[bytes, bool]:
    """Store a batch, or find the answer under an idempotency key; return the answer as JSON, and whether it is new.

    Raises:
        KeyReused: the key was used for another request.
        StoreUnavailable: it could not be written.
        Unconfirmed: it may have been written.
    """
    from app.data.observations import Batch  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    batch = Batch.of(harvest, provenance)
    answer = BatchStored(batch=batch.id, rows=batch.rows).model_dump_json()
    for is_last in (False, True):
        try:
            with observations.transaction() as transaction:
                if once is not None and (earlier := transaction.answer(once)) is not None:
                    return earlier.body.encode(), False
                transaction.add(batch, harvest)
                if once is not None:
                    transaction.keep_answer(once, answer)
        except KeyTaken:  # by a call of the same moment, whose answer is there now
            if is_last:
                raise
        else:
            break
    return answer.encode(), True


def page(observations: "Observations", limit: int, after: str | None) -> ObservationPage:
    """Return a page of stored observations."""
    with observations.reading() as transaction:
        rows = transaction.page(limit + 1, after)
    entries = [
        ObservationEntry(
            batch=row.batch,
            row=row.row,
            region=row.region,
            season=row.season,
            **dict(zip(FEATURE_NAMES, row.weather, strict=True)),
            yields=row.yields,
            withdrawn=row.withdrawn,
        )
        for row in rows[:limit]
    ]
    return ObservationPage(observations=entries, next=rows[limit - 1].cursor if len(rows) > limit else None)


def csv_of(rows: Iterable[ObservationEntry]) -> str:
    """Return observations, except withdrawn ones, as a table in the form that /observations takes."""
    rows_in_use = [row for row in rows if not row.withdrawn]
    crops = sorted({crop for row in rows_in_use for crop in row.yields})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    # A feature that no row has is no column: such a table can be sent again.
    features = [name for name in FEATURE_NAMES if any(getattr(row, name) is not None for row in rows_in_use)]
    features = features or list(FEATURE_NAMES)
    writer.writerow([*TEXT_COLUMNS, *features, *map(safe_cell, crops)])
    for row in rows_in_use:
        names = [safe_cell(name or "") for name in (row.region, row.season)]
        weather = [getattr(row, name) for name in features]
        writer.writerow([*names, *weather, *(row.yields.get(crop, "") for crop in crops)])
    return text.getvalue()


def batches(observations: "Observations", limit: int, before: str | None) -> BatchPage:
    """Return a page of batches: who stored them, when and why, and which were withdrawn."""
    with observations.reading() as transaction:
        found = transaction.batches(limit + 1, before)
    entries = [BatchEntry(batch=batch.id, **{name: getattr(batch, name) for name in SHOWN}) for batch in found]
    return BatchPage(batches=entries[:limit], next=entries[limit - 1].batch if len(entries) > limit else None)


def restore(observations: "Observations", batch: str, who: str, note: str = "") -> BatchRestored:
    """Take a withdrawn batch back into training.

    Raises:
        NotFound: there is no such batch.
        StoreUnavailable: it could not be written.
    """
    with observations.transaction() as transaction:
        entry = transaction.restore(batch, who, note)
    return BatchRestored(batch=entry.id, rows=entry.rows)


def withdraw(observations: "Observations", batch: str, who: str, note: str = "") -> BatchWithdrawn:
    """Take a batch out of training.

    Raises:
        NotFound: there is no such batch.
        StoreUnavailable: it could not be written.
    """
    with observations.transaction() as transaction:
        entry = transaction.withdraw(batch, who, note)
    assert entry.withdrawn is not None  # noqa: S101 - it has just been set, or was before
    return BatchWithdrawn(batch=entry.id, rows=entry.rows, withdrawn=entry.withdrawn)
