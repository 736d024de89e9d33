"""POST /retrain: learn from new observations, or again from what is stored, as one safe transaction."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Query, Request
from pydantic import WithJsonSchema
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from app.api import bodies, problems
from app.api.guards import Writer
from app.api.negotiation import answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import body, contents, documented
from app.api.services import Services, ServicesDep
from app.api.units import CropsQuery, crops_asked, units_asked
from app.data.provenance import Provenance
from app.data.tables import Reading
from app.errors import OrchardError, ServiceError
from app.logs import log_write
from app.model.progress import Step
from app.model.units import Units
from app.training.order import Order, PackedTable
from app.training.report import Activate, Report
from app.wire.event_stream import named
from app.wire.media_types import EVENTS, GEOJSON, JSON, XLSX
from app.wire.parts import take
from app.wire.reported import REPORTED, Sent, read_order

router = APIRouter(tags=["retrain"])

ActivateQuery = Annotated[
    Activate | None,
    Query(description="Whether the new version becomes live: `if_better` if neither query nor body says."),
    WithJsonSchema({"type": "string", "enum": list(get_args(Activate))}),
]
DryRunQuery = Annotated[
    bool | None, Query(description="Store and publish nothing."), WithJsonSchema({"type": "boolean"})
]


@router.post(
    "/retrain",
    summary="Retrain on new observations and all that is stored",
    response_model=Report,
    responses=documented(400, 401, 406, 408, 409, 413, 415, 422, 503) | {200: {"content": contents(EVENTS)}},
    openapi_extra=body(
        "RetrainRequest", examples.RETRAIN, *REPORTED[1:], required=False, schemas={GEOJSON: "ReportedGeoJSON"}
    ),
)
async def retrain(
    request: Request,
    services: ServicesDep,
    who: Writer,
    units: Annotated[Units, Depends(units_asked)],
    activate: ActivateQuery = None,
    dry_run: DryRunQuery = None,
    note: bodies.NoteQuery = None,
    source: bodies.SourceQuery = None,
    crops: CropsQuery = None,
    key: bodies.IdempotencyKey = None,
) -> Response:
    """Store the observations, fit a new version on all of them, and make it live if it may be.

    Without observations it retrains on what is stored; where nothing of that has changed since the live version, it
    makes no other one, and says so (`activate=always` makes one all the same). `activate`, `dry_run` and `note` may
    stand in the query beside any body, and so may `source`, the name of a file. What fails leaves the live model and
    the stored observations as they were. With `Accept: text/event-stream` it streams `progress` events and ends with
    `result` or `error`.
    """
    wanted = answer_type(request, (JSON, EVENTS))
    query = bodies.given(activate=activate, dry_run=dry_run, note=note)
    sent = Sent(body_type(request, REPORTED), services.settings.max_rows, query, Reading(units, crops_asked(crops)))
    content = await bodies.read_body(request, services)
    order = Order(Provenance(bodies.source("POST /retrain", source), who), once=bodies.once(request, content, key))
    packed, order = await services.helper.run(
        read_order, content, order, sent, asker=request, unfolds=sent.media_type == XLSX
    )
    if table := take(packed):
        order = replace(order, table=PackedTable(table))
    if wanted == EVENTS:
        return StreamingResponse(_events(request, services, order), media_type=EVENTS)
    return Response(to_json(await _carried_out(services, order)), media_type=JSON)


async def _carried_out(services: Services, order: Order, events: asyncio.Queue[Step | None] | None = None) -> Report:
    began = time.perf_counter()
    try:
        report = await services.trainer.run(order, events.put_nowait if events is not None else None)
    except ServiceError:  # what the caller did wrong, or too early, is nothing that an operator has to see to
        services.tally.add("retrains", "failed")
        raise
    if report.version is not None:
        services.live.published(report.version)
    if report.activated and report.version is not None:
        await services.in_store(services.live.confirm, report.version)
    services.tally.add("retrains", "dry_run" if order.dry_run else report.decision)
    services.tally.took("retrain", seconds=time.perf_counter() - began)
    if not order.dry_run:
        services.tally.add("observations_stored", by=report.rows.received if report.batch else 0)
        what = report.model_dump(include={"version", "batch", "decision", "activated"})
        log_write("a retrain was carried out", who=order.provenance.who, note=order.provenance.note, **what)
    return report


async def _events(request: Request, services: Services, order: Order) -> AsyncIterator[bytes]:
    """Yield the training's progress as server-sent events. It is carried through even if the client goes away."""
    events: asyncio.Queue[Step | None] = asyncio.Queue()
    training = asyncio.create_task(_carried_out(services, order, events))
    training.add_done_callback(lambda _done: events.put_nowait(None))
    while (step := await events.get()) is not None:
        yield named("progress", to_json(asdict(step)))
    try:
        yield named("result", to_json(await training))
    except OrchardError as error:
        yield named("error", bytes(problems.response(request, error).body))
