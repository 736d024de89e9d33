"""POST /retrain: learn from new observations, or again from what is stored, as one safe transaction."""

import asyncio
import pickle
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from pydantic import WithJsonSchema
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from app.api import bodies, problems
from app.api.helper import LARGE
from app.api.negotiation import CSV, EVENTS, JSON, answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import body, contents
from app.api.request_id import IdempotencyKey, read_body
from app.api.services import Services, ServicesDep
from app.api.tokens import Writer
from app.data.tables import parse_observations
from app.errors import OrchardError, ServiceError
from app.logs import log_write
from app.training.order import Activate, Order, PackedTable
from app.training.report import Report
from app.wire.schemas import RetrainRequest

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
    responses=problems.documented(400, 401, 406, 408, 409, 413, 415, 422, 503) | {200: {"content": contents(EVENTS)}},
    openapi_extra=body("RetrainRequest", examples.RETRAIN, CSV, required=False),
)
async def retrain(
    request: Request,
    services: ServicesDep,
    who: Writer,
    activate: ActivateQuery = None,
    dry_run: DryRunQuery = None,
    note: bodies.NoteQuery = None,
    key: IdempotencyKey = None,
) -> Response:
    """Store the observations, fit a new version on all of them, and make it live if it may be.

    Without observations it retrains on what is stored. `activate`, `dry_run` and `note` may stand in the query beside
    any body. What fails leaves the live model and the stored observations as they were. With
    `Accept: text/event-stream` it streams `progress` events and ends with `result` or `error`.
    """
    wanted = answer_type(request, (JSON, EVENTS))
    query = bodies.said(activate=activate, dry_run=dry_run, note=note)
    sent = bodies.Sent(body_type(request, (JSON, CSV)), services.settings.max_rows, query)
    content = await read_body(request, services)
    order = Order(source="POST /retrain", who=who, key=key, digest=bodies.digest_of(request, content))
    if len(content) < LARGE:
        order = read_order(content, order, sent)
    else:
        file, order = await services.helper.call(read_large_order, content, order, sent, asker=request)
        if len(file):
            order = replace(order, table=PackedTable(file.read(0, len(file))))
        file.close()
    if wanted == EVENTS:
        return StreamingResponse(_events(request, services, order), media_type=EVENTS)
    return Response(to_json(await _carried_out(services, order)), media_type=JSON)


def read_order(content: bytes, order: Order, sent: bodies.Sent) -> Order:
    """Return the order with what its query and its body say.

    Raises:
        InputError: the body is malformed, invalid or too large, or says something else than the query.
    """
    if sent.media_type == CSV:
        return replace(order, table=parse_observations(content, sent.max_rows), **sent.query)
    asked = bodies.parse(RetrainRequest, content, sent.max_rows)
    options = bodies.agreed(sent.query, asked)
    table = bodies.table_of(asked.observations) if asked.observations else None
    return replace(order, table=table, **options)


def read_large_order(content: bytes, order: Order, sent: bodies.Sent) -> tuple[bytes, Order]:
    """Do as `read_order`, but return the table beside the order, packed."""
    order = read_order(content, order, sent)
    packed = b"" if order.table is None else pickle.dumps(order.table)
    return packed, replace(order, table=None)


async def _carried_out(services: Services, order: Order, events: asyncio.Queue[Any] | None = None) -> Report:
    began = time.perf_counter()
    try:
        report = await services.trainer.run(order, events.put_nowait if events is not None else None)
    except ServiceError:  # what the caller did wrong, or too early, is nothing that an operator has to see to
        services.tally.add("retrains", "failed")
        raise
    if report.activated and report.version is not None:
        await asyncio.to_thread(services.live.confirm, report.version)
    services.tally.add("retrains", "dry_run" if order.dry_run else report.decision)
    services.tally.took("retrain", seconds=time.perf_counter() - began)
    if not order.dry_run:
        services.tally.add("observations_stored", by=report.rows.received if report.batch else 0)
        what = report.model_dump(include={"version", "batch", "decision", "activated"})
        log_write("a retrain was carried out", who=order.who, why=order.note, **what)
    return report


async def _events(request: Request, services: Services, order: Order) -> AsyncIterator[bytes]:
    """Yield the training's progress as server-sent events. It is carried through even if the client goes away."""
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    training = asyncio.create_task(_carried_out(services, order, events))
    training.add_done_callback(lambda _done: events.put_nowait(None))
    while (message := await events.get()) is not None:
        yield _event("progress", to_json(message))
    try:
        yield _event("result", to_json(await training))
    except OrchardError as error:
        yield _event("error", bytes(problems.response(request, error).body))


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
