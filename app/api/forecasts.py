"""The forecast calls: predict and keep what was predicted, page through it, erase a batch."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from app.api import bodies, large
from app.api.exported import After, Limit, Rows, paged
from app.api.guards import Writer, require_reader
from app.api.helper import is_small
from app.api.negotiation import answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import MODEL_VERSION, body, contents, documented
from app.api.predict import Level, Version
from app.api.represented import Represented
from app.api.services import ServicesDep
from app.api.units import units_asked
from app.data.provenance import Provenance
from app.errors import HelperFailed, Unconfirmed
from app.logs import log_write
from app.model.units import Units
from app.serving.live import LEVEL
from app.wire import forecasts
from app.wire.forecasts import ForecastOptions
from app.wire.foretold import READ
from app.wire.media_types import CSV, GEOJSON, JSON, XLSX
from app.wire.schemas import ForecastBatchPage, ForecastPage, ForecastsErased, ForecastsStored

router = APIRouter(tags=["forecasts"], route_class=Represented)

ROWS = Rows(forecasts.page, lambda page: forecasts.csv_of(page.forecasts), forecasts.export, forecasts.export_part)
OTHERS = [media_type for media_type in READ if media_type != JSON]
Name = Annotated[str | None, Query(max_length=200, description="Of this one alone.")]
Open = Annotated[
    bool,
    Query(
        alias="open",
        description="Only those of which no harvest was reported so far, by their id or their region and season; a "
        "page may be a short one then, and is the last one only where `next` is null.",
    ),
]
BatchId = Annotated[str, Path(max_length=100, description="The batch's id.")]


@router.post(
    "/forecasts",
    summary="Predict yields, and keep what was predicted",
    status_code=201,
    response_model=ForecastsStored,
    responses=documented(400, 401, 404, 406, 408, 409, 413, 415, 422, 503) | {201: {"headers": MODEL_VERSION}},
    openapi_extra=body("ForecastRequest", examples.FORECAST, *OTHERS, schemas={GEOJSON: "ForecastGeoJSON"}),
)
async def store(
    request: Request,
    services: ServicesDep,
    who: Writer,
    units: Annotated[Units, Depends(units_asked)],
    level: Level = LEVEL,
    version: Version = None,
    note: bodies.NoteQuery = None,
    source: bodies.SourceQuery = None,
    key: bodies.IdempotencyKey = None,
) -> Response:
    """Predict as `/predict` does, and keep each number as it was said, to be compared with the harvest.

    Region and season are needed: by them, or by its `id`, a forecast finds its outcome. All are stored, or none is.
    """
    answer_type(request, (JSON,))
    sent = body_type(request, tuple(READ))
    content = await bodies.read_body(request, services)
    served = await services.served(version)
    options = ForecastOptions(sent, services.settings.max_rows, served.version, served.model, level, units)
    provenance = Provenance(bodies.source("POST /forecasts", source), who, note or "")
    once = bodies.once(request, content, key)
    kept: forecasts.Kept
    answer: Any
    if is_small(content, len(served.model.crops)) and sent != XLSX:
        answer, kept = await services.in_database(
            forecasts.store, content, options, provenance, once, services.observations
        )
    else:
        database = services.settings.database
        try:
            answer, kept = await services.upload_helper.call(
                forecasts.store_at, content, options, provenance, once, database, asker=request
            )
        except HelperFailed as error:
            raise Unconfirmed(
                f"{error.detail}; the forecasts may have been stored: repeat the call under the same Idempotency-Key, "
                "or look at GET /forecasts/batches"
            ) from error
    if kept.usage is not None:
        services.tally.add("forecasts_stored", by=kept.rows)
        services.note(served.model, kept.usage)
        log_write("forecasts were stored", who=who, note=provenance.note, batch=kept.batch, rows=kept.rows)
    response = large.response(answer, {"X-Model-Version": kept.version}, JSON, services.concurrency)
    response.status_code = 201
    return response


@router.get(
    "/forecasts",
    dependencies=[Depends(require_reader)],
    summary="Page through the stored forecasts",
    response_model=ForecastPage,
    responses=documented(404, 406, 422, 503) | {200: {"content": contents(CSV)}},
)
async def page(
    request: Request,
    services: ServicesDep,
    region: Name = None,
    season: Name = None,
    is_open: Open = False,
    limit: Limit = None,
    after: After = None,
) -> Response:
    """Return forecasts as they were given, oldest first, in pages of `limit` rows.

    As CSV all of them, unless `limit` or `after` ask for a page, of which the header `X-Next` has the next one's
    `after`.
    """
    from app.data.forecasts import Wanted  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    return await paged(request, services, ROWS, limit, after, Wanted(region, season, is_open))


@router.get(
    "/forecasts/batches",
    dependencies=[Depends(require_reader)],
    summary="List the batches of forecasts, newest first",
    responses=documented(404, 422, 503),
)
async def batches(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Entries in a page.")] = 100,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
) -> ForecastBatchPage:
    """Return who stored which batch, when and why, and by which version and at which level it was predicted."""
    return await services.in_database(forecasts.batches, services.observations, limit, before)


@router.delete(
    "/forecasts/batches/{batch}",
    summary="Erase a batch of forecasts",
    response_model=ForecastsErased,
    responses=documented(401, 404, 406, 422, 503),
)
async def erase(request: Request, services: ServicesDep, who: Writer, batch: BatchId) -> Response:
    """Erase a batch for good: a forecast is no training data, and no version depends on it."""
    answer_type(request, (JSON,))
    answer = await services.in_database(forecasts.erase, services.observations, batch)
    log_write("forecasts were erased", who=who, note="", batch=answer.batch, rows=answer.rows)
    return Response(to_json(answer), media_type=JSON)
