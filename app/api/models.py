"""The versions and the activation log."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import WithJsonSchema
from pydantic_core import to_json
from starlette.responses import Response

from app.api.bodies import SHORT, IdempotencyKey, read_body
from app.api.guards import Writer, require_reader
from app.api.headers import ASK_AGAIN
from app.api.negotiation import body_type
from app.api.openapi import examples
from app.api.openapi.parts import UNCHANGED, body, documented
from app.api.represented import Represented
from app.api.services import Services, ServicesDep
from app.logs import log_write
from app.serving.drift import HOURS, drift
from app.store.line import LogLine
from app.wire import records
from app.wire.media_types import JSON
from app.wire.schemas import (
    ActivateRequest,
    DriftReport,
    FeatureDriftEntry,
    LogPage,
    ResidualPage,
    VersionCard,
    VersionPage,
)
from app.wire.validation import parse

router = APIRouter(prefix="/models", tags=["models"], route_class=Represented)

MAX_NUMBER = 2**53
FEW_ROWS = 10_000
"""Rows that are read in a thread, which takes a quarter of a second; more are read in a helper process."""
Limit = Annotated[int, Query(ge=1, le=1_000, description="Entries in a page.")]
VersionPath = Annotated[str, Path(max_length=20, description="A version's number.")]


async def _asked_again(response: Response) -> None:
    response.headers.update(ASK_AGAIN)


KEPT: dict[str, Any] = {"dependencies": [Depends(_asked_again)]}
"""A card changes only in whether it is live: who has it may ask whether that is so, by its tag."""


@router.get("", summary="List the versions, newest first", responses=documented(422, 503))
async def versions(
    services: ServicesDep,
    limit: Limit = 20,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Only versions older than this one.")] = None,
) -> VersionPage:
    """Return the versions and which one is live."""
    return await services.in_store(records.versions, services.registry, services.live, limit, before)


@router.get("/live", summary="The live version's card", responses=documented(503) | UNCHANGED, **KEPT)
async def live(services: ServicesDep) -> VersionCard:
    """Return what the live version says about itself.

    `below_promise` is there where forecasts were less often within their intervals than these promise.
    """
    services.latest.ask(services)
    card = records.card(services.live.current, services.live)
    return card.model_copy(update={"below_promise": services.latest.below_promise})


@router.get("/live/drift", summary="How far the weather asked about is from training", responses=documented(503))
async def drift_report(services: ServicesDep) -> DriftReport:
    """Compare the weather asked about in the last day, over all workers, with the weather of training."""
    served = services.live.current
    await asyncio.to_thread(services.asked_weather.begin_merge())
    found = drift(await asyncio.to_thread(services.asked_weather.lately), served.model.widest_spread)
    features = {name: FeatureDriftEntry(**asdict(feature)) for name, feature in found.features.items()}
    return DriftReport(
        model_version=served.version,
        hours=HOURS,
        asked=found.asked,
        features=features,
        distance=found.distance,
        different=bool(found.reasons),
        reasons=found.reasons,
    )


@router.get("/log", summary="The activation log, newest first", responses=documented(422, 503))
async def log(
    services: ServicesDep,
    limit: Limit = 100,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Only lines older than this one.")] = None,
) -> LogPage:
    """Return which version was made live by whom, why and when."""
    return await services.in_store(records.log, services.registry, limit, before)


@router.get("/{version}", summary="A version's card", responses=documented(404, 422, 503) | UNCHANGED, **KEPT)
async def card(services: ServicesDep, version: VersionPath) -> VersionCard:
    """Return what a version says about itself: weights, scores, rows, recipe, loss curve, data digest, parent."""
    return records.card(await services.served(version), services.live)


@router.get(
    "/{version}/residuals",
    dependencies=[Depends(require_reader)],
    summary="A version's rows beside what is predicted of them",
    response_model=ResidualPage,
    responses=documented(404, 422, 503),
)
async def residuals(
    request: Request,
    services: ServicesDep,
    version: Annotated[str, Path(max_length=20, description="A version's number, or `live`.")],
    crop: Annotated[
        str | None, Query(description="Rows and residuals of this crop alone."), WithJsonSchema({"type": "string"})
    ] = None,
) -> Response:
    """Return the rows that a version was trained on, each predicted by the line fitted without it: what to draw.

    Where there are more than 2000, those that lie farthest off, and others evenly spread over all; `selected_by` says
    so. Where rows were learned from a file and not stored, `reason` does.
    """
    number = services.live.current.version if version == "live" else version
    entry = await services.in_store(services.live.entries.of, number)
    if entry.rows <= FEW_ROWS:
        page = await services.in_database(records.residuals, services.registry, services.observations, number, crop)
        return Response(await asyncio.to_thread(to_json, page), media_type=JSON)
    failed = (
        f"the {entry.rows} rows of version {number} were not read: the process that reads them died, or took too "
        "long; GET /observations?limit=… reads them in pages"
    )
    content = await services.read_apart(records.residuals_at, number, crop, asker=request, failed=failed)
    return Response(content, media_type=JSON)


@router.post(
    "/{version}/activate",
    summary="Make a version live: roll back or forward",
    response_model=LogLine,
    responses=documented(400, 401, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=body("ActivateRequest", examples.ACTIVATE, required=False),
)
async def activate(
    request: Request, services: ServicesDep, who: Writer, version: VersionPath, key: IdempotencyKey = None
) -> Response:
    """Append a line to the activation log, and serve that version from the next request on.

    Repeated with its key, the call is answered with the first one's line, and makes nothing live again.
    """
    body_type(request, (JSON,))
    asked = parse(ActivateRequest, await read_body(request, services, SHORT), services.settings.max_rows)
    line = await services.in_store(_activate, services, version, who, asked.note, key)
    log_write("a version was made live", who=who, note=asked.note, version=version, line=line.number)
    return Response(to_json(line), media_type=JSON)


def _activate(services: Services, version: str, who: str, note: str, key: str | None) -> LogLine:
    line = services.registry.activate(version, who, note, key=key)
    services.live.confirm(version)
    return line
