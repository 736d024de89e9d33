"""The versions and the activation log."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from app.api import bodies, problems
from app.api.negotiation import JSON, body_type
from app.api.schemas import (
    ActivateRequest,
    DriftReport,
    FeatureDriftEntry,
    LogPage,
    VersionCard,
    VersionEntry,
    VersionPage,
)
from app.api.security import read_body
from app.api.services import Services, Used
from app.api.tokens import Writer
from app.errors import OrchardError
from app.logs import wrote
from app.serving.drift import drift
from app.store.registry import LogLine

router = APIRouter(prefix="/models", tags=["models"])

MAX_NUMBER = 2**53
Limit = Annotated[int, Query(ge=1, le=1_000, description="Entries in a page.")]
VersionPath = Annotated[str, Path(max_length=20, description="A version's number.")]


@router.get("", summary="List the versions, newest first", responses=problems.documented(422, 503))
async def versions(
    used: Used,
    limit: Limit = 20,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Only versions older than this one.")] = None,
) -> VersionPage:
    """Return the versions and which one is live."""
    return await asyncio.to_thread(_versions, used, limit, before)


def _versions(used: Services, limit: int, before: int | None) -> VersionPage:
    numbers = [number for number in used.registry.versions() if before is None or number < before]
    shown = numbers[:limit]
    live = _live(used)
    return VersionPage(
        live=live,
        versions=[_entry(used, str(number), live) for number in shown],
        next=str(shown[-1]) if len(numbers) > limit else None,
    )


def _live(used: Services) -> str | None:
    try:
        return used.live.current.version
    except OrchardError:
        return None


def _entry(used: Services, version: str, live: str | None) -> VersionEntry:
    try:
        card = used.live.version(version).card
    except OrchardError:
        return VersionEntry(
            version=version,
            live=version == live,
            damaged=True,
            created=None,
            recipe=None,
            rows=None,
            crops=None,
            decision=None,
            loss=None,
            source=None,
            note=None,
        )
    return VersionEntry(
        version=version,
        live=version == live,
        damaged=False,
        created=card.created,
        recipe=card.recipe,
        rows=card.rows.total,
        crops=list(card.crops),
        decision=card.decision,
        loss=card.fit.loss,
        source=card.source,
        note=card.note,
    )


@router.get("/live", summary="The live version's card", responses=problems.documented(503))
async def live(used: Used) -> VersionCard:
    """Return what the live version says about itself."""
    served = used.live.current
    return VersionCard(**dict(served.card), version=served.version, live=True)


@router.get(
    "/live/drift", summary="How far the weather asked about is from training", responses=problems.documented(503)
)
async def drift_report(used: Used) -> DriftReport:
    """Compare the weather asked about since the start, over all workers, with the weather of training."""
    served = used.live.current
    await asyncio.to_thread(used.asked.take())
    found = drift(await asyncio.to_thread(used.asked.moments), served.model.widest_spread)
    features = {name: FeatureDriftEntry(**asdict(feature)) for name, feature in found.features.items()}
    return DriftReport(model_version=served.version, asked=found.asked, features=features, distance=found.distance)


@router.get("/log", summary="The activation log, newest first", responses=problems.documented(422, 503))
async def log(
    used: Used,
    limit: Limit = 100,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Only lines older than this one.")] = None,
) -> LogPage:
    """Return which version was made live by whom, why and when."""
    lines = await asyncio.to_thread(used.registry.log, limit + 1, before)
    return LogPage(log=lines[:limit], next=lines[limit - 1].number if len(lines) > limit else None)


@router.get("/{version}", summary="A version's card", responses=problems.documented(404, 422, 503))
async def card(used: Used, version: VersionPath) -> VersionCard:
    """Return what a version says about itself: weights, scores, rows, recipe, loss curve, data digest, parent."""
    served = await asyncio.to_thread(used.live.version, version)
    return VersionCard(**dict(served.card), version=version, live=version == _live(used))


@router.post(
    "/{version}/activate",
    summary="Make a version live: roll back or forward",
    response_model=LogLine,
    responses=problems.documented(400, 401, 404, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": {"content": {JSON: {"schema": {"$ref": "#/components/schemas/ActivateRequest"}}}}},
)
async def activate(request: Request, used: Used, who: Writer, version: VersionPath) -> Response:
    """Append a line to the activation log, and serve that version from the next request on."""
    body_type(request, (JSON,))
    body = bodies.parse(ActivateRequest, await read_body(request, used))
    line = await asyncio.to_thread(_activate, used, version, who, body.note)
    wrote("a version was made live", who=who, why=body.note, version=version, line=line.number)
    return Response(to_json(line), media_type=JSON)


def _activate(used: Services, version: str, who: str, note: str) -> LogLine:
    line = used.registry.activate(version, who, note)
    used.live.follow()
    return line
