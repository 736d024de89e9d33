"""The observation calls: store a batch, page through what is stored, withdraw a batch."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from app.api import bodies
from app.api.exported import After, Limit, Rows, paged
from app.api.guards import Writer, require_reader
from app.api.helper import is_small
from app.api.negotiation import answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import body, contents, documented
from app.api.represented import Represented
from app.api.services import ServicesDep
from app.api.units import CropsQuery, crops_asked, units_asked
from app.data.provenance import Provenance
from app.data.tables import Reading
from app.errors import HelperFailed, Unconfirmed
from app.logs import log_write
from app.model.units import Units
from app.wire import records, reported
from app.wire.media_types import CSV, GEOJSON, JSON, XLSX
from app.wire.parts import take
from app.wire.reported import REPORTED, Sent
from app.wire.schemas import (
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    ObservationPage,
)

router = APIRouter(tags=["observations"], route_class=Represented)

ROWS = Rows(records.page, lambda page: records.csv_of(page.observations), records.export, records.export_part)
BatchId = Annotated[str, Path(max_length=100, description="The batch's id.")]


@router.post(
    "/observations",
    summary="Store a batch of observations without retraining",
    status_code=201,
    response_model=BatchStored,
    responses=documented(400, 401, 406, 408, 409, 413, 415, 422, 503),
    openapi_extra=body(
        "ObservationsRequest", examples.OBSERVATIONS, *REPORTED[1:], schemas={GEOJSON: "ReportedGeoJSON"}
    ),
)
async def store(
    request: Request,
    services: ServicesDep,
    who: Writer,
    units: Annotated[Units, Depends(units_asked)],
    note: bodies.NoteQuery = None,
    source: bodies.SourceQuery = None,
    crops: CropsQuery = None,
    key: bodies.IdempotencyKey = None,
) -> Response:
    """Store a batch whole or not at all; the next retrain learns from it. `note` and `source` may be in any query."""
    answer_type(request, (JSON,))
    reading = Reading(units, crops_asked(crops))
    sent = Sent(body_type(request, REPORTED), services.settings.max_rows, bodies.given(note=note), reading)
    content = await bodies.read_body(request, services)
    provenance = Provenance(bodies.source("POST /observations", source), who)
    once = bodies.once(request, content, key)
    if is_small(content) and sent.media_type != XLSX:
        answer, stored = await services.in_database(
            reported.store, content, sent, provenance, once, services.observations
        )
    else:
        database = services.settings.database
        try:
            file, stored = await services.upload_helper.call(
                reported.store_at, content, sent, provenance, once, database, asker=request
            )
        except HelperFailed as error:
            raise Unconfirmed(
                f"{error.detail}; the batch may have been stored: repeat the call under the same Idempotency-Key, or "
                "look at GET /observations/batches"
            ) from error
        answer = take(file)
    batch = BatchStored.model_validate_json(answer)
    if stored.new:
        services.tally.add("observations_stored", by=batch.rows)
        log_write("a batch was stored", who=who, note=stored.note, batch=batch.batch, rows=batch.rows)
    return Response(answer, 201, media_type=JSON)


@router.get(
    "/observations",
    dependencies=[Depends(require_reader)],
    summary="Page through the stored observations",
    response_model=ObservationPage,
    responses=documented(404, 406, 422, 503) | {200: {"content": contents(CSV)}},
)
async def page(
    request: Request,
    services: ServicesDep,
    limit: Limit = None,
    after: After = None,
) -> Response:
    """Return stored rows, oldest first, withdrawn ones marked, in pages of `limit` rows.

    As CSV the ones in use, in the form that /observations takes: all of them, unless `limit` or `after` ask for a page,
    of which the header `X-Next` has the next one's `after`.
    """
    return await paged(request, services, ROWS, limit, after)


@router.get(
    "/observations/batches",
    dependencies=[Depends(require_reader)],
    summary="List the batches, newest first",
    responses=documented(404, 422, 503),
)
async def batches(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Entries in a page.")] = 100,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
) -> BatchPage:
    """Return who stored which batch, when and why, and which were withdrawn from training."""
    return await services.in_database(records.batches, services.observations, limit, before)


@router.delete(
    "/observations/batches/{batch}",
    summary="Withdraw a batch from future training",
    response_model=BatchWithdrawn,
    responses=documented(401, 404, 406, 422, 503),
)
async def withdraw(
    request: Request,
    services: ServicesDep,
    who: Writer,
    batch: BatchId,
    note: bodies.NoteQuery = None,
) -> Response:
    """Take a batch out of training from the next one on; nothing is erased."""
    answer_type(request, (JSON,))
    answer = await services.in_database(records.withdraw, services.observations, batch, who, note or "")
    log_write("a batch was withdrawn", who=who, note=note or "", batch=answer.batch, rows=answer.rows)
    return Response(to_json(answer), media_type=JSON)


@router.post(
    "/observations/batches/{batch}/restore",
    summary="Take a withdrawn batch back into training",
    response_model=BatchRestored,
    responses=documented(401, 404, 406, 422, 503),
)
async def restore(
    request: Request,
    services: ServicesDep,
    who: Writer,
    batch: BatchId,
    note: bodies.NoteQuery = None,
) -> Response:
    """Let a batch take part in training again, from the next one on; one that does already stays as it is."""
    answer_type(request, (JSON,))
    answer = await services.in_database(records.restore, services.observations, batch, who, note or "")
    log_write("a batch was restored", who=who, note=note or "", batch=answer.batch, rows=answer.rows)
    return Response(to_json(answer), media_type=JSON)
