"""What is kept, as answers: versions, the activation log, observations. For the service and for a store without one.

Knows no HTTP.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from pydantic_core import to_json

from app.data import example
from app.data.harvest import Harvest
from app.data.naming import OUTCOME_COLUMNS, TEXT_COLUMNS
from app.data.provenance import Once, Provenance
from app.data.tables import safe_cell
from app.errors import OrchardError
from app.model.weather import FEATURE_NAMES
from app.serving.entries import Entry
from app.serving.live import LEVEL, Live, Served
from app.store.registry import Registry
from app.wire.schemas import (
    BatchEntry,
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    CropResidual,
    CropResiduals,
    LogPage,
    ObservationEntry,
    ObservationPage,
    ResidualEntry,
    ResidualPage,
    VersionCard,
    VersionEntry,
    VersionPage,
)

if TYPE_CHECKING:
    from app.data.observations import Observations
    from app.serving.version_rows import VersionRows

EXPORTED_AT_ONCE = 1_000
"""Rows of a part of an export: some megabytes while they are worked on."""
SHOWN = ("source", "note", "who", "rows", "created", "withdrawn", "withdrawn_by", "withdrawn_why")
"""What is told of a batch besides its id."""


def versions(registry: Registry, live: Live, limit: int, before: int | None) -> VersionPage:
    """Return a page of the versions, and which one is live."""
    numbers = [number for number in registry.versions() if before is None or number < before]
    shown = numbers[:limit]
    served = live_version(live)
    live.entries.read_ahead(map(str, shown))
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


def residuals(registry: Registry, observations: "Observations", version: str, crop: str | None = None) -> ResidualPage:
    """Read the rows that a version was trained on, and return them beside what is predicted of them.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it does not predict the ``crop``.
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    from app.serving.version_rows import version_rows  # noqa: PLC0415 - scores and folds, which only this call needs

    rows = version_rows(registry, observations, version, crop)
    while not rows.is_done:
        with observations.reading() as transaction:
            rows.read_on(transaction)
    return _residuals(rows)


def residuals_at(_body: bytes, registry: Registry, database: str, version: str, crop: str | None) -> tuple[bytes, None]:
    """Return what `residuals` returns as JSON, in a process that has no connection yet."""
    from app.data.observations import Observations  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    with closing(Observations(database)) as observations:
        return to_json(residuals(registry, observations, version, crop)), None


def _residuals(rows: "VersionRows") -> ResidualPage:
    points = rows.chosen.rows()
    not_stored = rows.card.rows.total - rows.read
    return ResidualPage(
        model_version=rows.number,
        level=LEVEL,
        crops={
            crop: CropResiduals(
                rows=sums.rows,
                rmse=sums.rmse,
                by=rows.card.crops[crop].out_of_fold.by,
            )
            for crop, sums in rows.sums.items()
        },
        total=rows.chosen.total,
        shown=len(points),
        selected_by=_selected_by(rows) if len(points) < rows.chosen.total else None,
        not_stored=not_stored,
        reason=_not_stored(rows, not_stored) if not_stored else None,
        residuals=[
            ResidualEntry(
                batch=point.batch,
                row=point.row,
                region=point.region,
                season=point.season,
                **dict(zip(FEATURE_NAMES, point.weather, strict=True)),
                yields={crop: CropResidual(**of._asdict()) for crop, of in point.yields.items()},
                withdrawn=point.withdrawn,
            )
            for point in points
        ],
    )


def _selected_by(rows: "VersionRows") -> str:
    return (
        f"the {rows.chosen.largest} rows that lie farthest from what is predicted of them out of fold, counted in the "
        f"RMSE of their crop, and the first of every {rows.chosen.every} rows"
    )


def _not_stored(rows: "VersionRows", count: int) -> str:
    """Say why rows of a version are not among those read."""
    missing = rows.card.batch_count - len(rows.batches)
    if missing:
        elsewhere = f"{missing} of the version's {rows.card.batch_count} batches are not in this database"
        return f"{elsewhere}: the points of {count} of its {rows.card.rows.total} rows are missing"
    if not rows.read:
        return "these rows were learned from a file and not stored: no points"
    return f"{count} of {rows.card.rows.total} rows were learned from a file and not stored: no points of these"


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
    earlier = observations.write_once(once, answer, lambda transaction: transaction.add(batch, harvest))
    if earlier is not None:
        return earlier.body.encode(), False
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
            forecast=row.forecast,
            harvested=row.harvested,
        )
        for row in rows[:limit]
    ]
    return ObservationPage(observations=entries, next=rows[limit - 1].cursor if len(rows) > limit else None)


def csv_of(rows: Iterable[ObservationEntry]) -> str:
    """Return observations, except withdrawn ones, as a table in the form that /observations takes."""
    rows_in_use = [row for row in rows if not row.withdrawn]
    crops = sorted({crop for row in rows_in_use for crop in row.yields})
    # A feature that no row has is no column: such a table can be sent again.
    features = [name for name in FEATURE_NAMES if any(getattr(row, name) is not None for row in rows_in_use)]
    columns = tuple(features or FEATURE_NAMES), tuple(crops)
    texts = *TEXT_COLUMNS, *(name for name in OUTCOME_COLUMNS if any(getattr(row, name) for row in rows_in_use))
    cells = (
        _cells([getattr(row, name) for name in texts], [getattr(row, name) for name in columns[0]], row.yields, crops)
        for row in rows_in_use
    )
    return csv_text([_header(texts, *columns), *cells])


def _header(texts: Iterable[str], features: Iterable[str], crops: Iterable[str]) -> list[str]:
    return [*texts, *features, *map(safe_cell, crops)]


def _cells(
    names: Iterable[str | None], weather: Iterable[float | None], yields: Mapping[str, float], crops: Iterable[str]
) -> list[object]:
    return [*(safe_cell(name or "") for name in names), *weather, *(yields.get(crop, "") for crop in crops)]


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows of cells as CSV (RFC 4180)."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Export:
    """All rows that are in use at one moment, as a table, part by part; a part begins behind the cursor ``after``.

    No transaction is held from one part to the next: rows never change, and which batches count was settled at first.
    """

    batches: frozenset[str]
    texts: tuple[str, ...]
    features: tuple[str, ...]
    crops: tuple[str, ...]
    after: str | None = None


def export(observations: "Observations") -> Export:
    """Begin an export.

    Raises:
        StoreDamaged, StoreUnavailable: what is stored cannot be read.
    """
    with observations.reading() as transaction:
        in_use = transaction.active()
        features, crops = transaction.columns(in_use)
        texts = *TEXT_COLUMNS, *transaction.outcome_columns()
    return Export(frozenset(batch.id for batch in in_use), texts, features or FEATURE_NAMES, tuple(sorted(crops)))


def export_part(observations: "Observations", to_do: Export) -> tuple[str, Export | None]:
    """Return the next part of an export, the first with the header, and what is left to do; None: nothing.

    Raises:
        StoreDamaged, StoreUnavailable: as `export`.
    """
    with observations.reading() as transaction:
        rows = transaction.page(EXPORTED_AT_ONCE, to_do.after)
    header = [_header(to_do.texts, to_do.features, to_do.crops)] if to_do.after is None else []
    places = [FEATURE_NAMES.index(name) for name in to_do.features]
    cells = (
        _cells(
            [getattr(row, name) for name in to_do.texts], [row.weather[at] for at in places], row.yields, to_do.crops
        )
        for row in rows
        if row.batch in to_do.batches
    )
    is_last = len(rows) < EXPORTED_AT_ONCE
    return csv_text([*header, *cells]), None if is_last else replace(to_do, after=rows[-1].cursor)


def batches(observations: "Observations", limit: int, before: str | None) -> BatchPage:
    """Return a page of batches: who stored them, when and why, and which were withdrawn."""
    with observations.reading() as transaction:
        found = transaction.batches(limit + 1, before)
    entries = [
        BatchEntry(batch=batch.id, sequence=batch.sequence, **{name: getattr(batch, name) for name in SHOWN})
        for batch in found
    ]
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
