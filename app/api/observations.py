"""The observation calls: store a batch, page through what is stored, withdraw a batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from app.api import bodies, problems
from app.api.helper import LARGE
from app.api.negotiation import CSV, JSON, answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import body, contents
from app.api.request_id import IdempotencyKey, read_body
from app.api.services import ServicesDep
from app.api.tokens import Writer, require_reader
from app.data.harvest import Harvest
from app.data.tables import parse_observations
from app.errors import HelperFailed, Unconfirmed
from app.logs import log_write
from app.wire import records
from app.wire.schemas import (
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    ObservationPage,
    ObservationsRequest,
)

if TYPE_CHECKING:
    from app.data.observations import Observations

router = APIRouter(tags=["observations"])


@router.post(
    "/observations",
    summary="Store a batch of observations without retraining",
    status_code=201,
    response_model=BatchStored,
    responses=problems.documented(400, 401, 406, 408, 409, 413, 415, 422, 503),
    openapi_extra=body("ObservationsRequest", examples.OBSERVATIONS, CSV),
)
async def store(
    request: Request,
    services: ServicesDep,
    who: Writer,
    note: bodies.NoteQuery = None,
    key: IdempotencyKey = None,
) -> Response:
    """Store a batch whole or not at all; the next retrain learns from it. `note` may stand beside any body."""
    answer_type(request, (JSON,))
    sent = bodies.Sent(body_type(request, (JSON, CSV)), services.settings.max_rows, bodies.said(note=note))
    content = await read_body(request, services)
    upload = Upload(sent, who, key, bodies.digest_of(request, content))
    if len(content) < LARGE:
        answer, stored_as = await services.in_database(_store, content, upload, services.observations)
    else:
        try:
            file, stored_as = await services.upload_helper.call(
                store_large, content, upload, services.settings.database, asker=request
            )
        except HelperFailed as error:
            raise Unconfirmed(
                f"{error.detail}; the batch may have been stored: repeat the call under the same Idempotency-Key, or "
                "look at GET /observations/batches"
            ) from error
        answer = file.read(0, len(file))
        file.close()
    stored = BatchStored.model_validate_json(answer)
    if stored_as.new:
        services.tally.add("observations_stored", by=stored.rows)
        log_write("a batch was stored", who=who, why=stored_as.why, batch=stored.batch, rows=stored.rows)
    return Response(answer, 201, media_type=JSON)


@dataclass(frozen=True, slots=True)
class Upload:
    """How a body with observations is to be read and kept."""

    sent: bodies.Sent
    who: str
    key: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Why a batch is stored, and whether it is by this very call."""

    why: str
    new: bool


def _store(content: bytes, upload: Upload, observations: "Observations") -> tuple[bytes, Stored]:
    sent, said = upload.sent, upload.sent.query
    if sent.media_type == CSV:
        table = parse_observations(content, sent.max_rows)
    else:
        asked = bodies.parse(ObservationsRequest, content, sent.max_rows)
        said = bodies.agreed(sent.query, asked)
        table = bodies.table_of(asked.observations)
    harvest, note = Harvest.of(table), said.get("note", "")
    answer, new = records.store(
        observations,
        harvest,
        source="POST /observations",
        note=note,
        who=upload.who,
        key=upload.key,
        digest=upload.digest,
    )
    return answer, Stored(note, new=new)


def store_large(content: bytes, upload: Upload, database: str) -> tuple[bytes, Stored]:
    """Do as `_store` in a process that has no connection yet."""
    from app.data.observations import Observations  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    observations = Observations(database)
    try:
        return _store(content, upload, observations)
    finally:
        observations.close()


@router.get(
    "/observations",
    dependencies=[Depends(require_reader)],
    summary="Page through the stored observations",
    response_model=ObservationPage,
    responses=problems.documented(404, 406, 422, 503) | {200: {"content": contents(CSV)}},
)
async def page(
    request: Request,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Rows in a page.")] = 1_000,
    after: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
) -> Response:
    """Return stored rows, oldest first, withdrawn ones marked.

    As CSV the ones in use, in the form that /observations takes.
    """
    wanted = answer_type(request, (JSON, CSV))
    answer = await services.in_database(records.page, services.observations, limit, after)
    if wanted == CSV:
        headers = {"X-Next": answer.next} if answer.next else {}
        return Response(records.csv_of(answer.observations), headers=headers, media_type=f"{CSV}; charset=utf-8")
    return Response(to_json(answer), media_type=JSON)


@router.get(
    "/observations/batches",
    dependencies=[Depends(require_reader)],
    summary="List the batches, newest first",
    responses=problems.documented(404, 422, 503),
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
    responses=problems.documented(401, 404, 406, 422, 503),
)
async def withdraw(
    request: Request,
    services: ServicesDep,
    who: Writer,
    batch: Annotated[str, Path(max_length=100, description="The batch's id.")],
    note: bodies.NoteQuery = None,
) -> Response:
    """Take a batch out of training from the next one on; nothing is erased."""
    answer_type(request, (JSON,))
    answer = await services.in_database(records.withdraw, services.observations, batch, who, note or "")
    log_write("a batch was withdrawn", who=who, why=note or "", batch=answer.batch, rows=answer.rows)
    return Response(to_json(answer), media_type=JSON)


@router.post(
    "/observations/batches/{batch}/restore",
    summary="Take a withdrawn batch back into training",
    response_model=BatchRestored,
    responses=problems.documented(401, 404, 406, 422, 503),
)
async def restore(
    request: Request,
    services: ServicesDep,
    who: Writer,
    batch: Annotated[str, Path(max_length=100, description="The batch's id.")],
    note: bodies.NoteQuery = None,
) -> Response:
    """Let a batch take part in training again, from the next one on; one that does already stays as it is."""
    answer_type(request, (JSON,))
    answer = await services.in_database(records.restore, services.observations, batch, who, note or "")
    log_write("a batch was restored", who=who, why=note or "", batch=answer.batch, rows=answer.rows)
    return Response(to_json(answer), media_type=JSON)
