"""GET /scores: what was said of yields before they were known, beside what they were."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from app.api import latest
from app.api.guards import Credentials, require_reader
from app.api.openapi.parts import ALSO_WITHOUT, documented
from app.api.represented import Represented
from app.api.services import ServicesDep
from app.serving.groups import KEYS, Basis, Key
from app.wire import scores
from app.wire.media_types import JSON
from app.wire.schemas import ScorePage

router = APIRouter(tags=["forecasts"], route_class=Represented)

By = Annotated[
    str | None,
    Query(
        description=f"What to group by, besides crops: some of {', '.join(KEYS)}, with commas between them. `region` "
        "needs a token. Without `lead` a yield is compared with the last of its forecasts alone."
    ),
    WithJsonSchema({"type": "string"}),
]


def _keys(request: Request, services: ServicesDep, credentials: Credentials, by: By = None) -> tuple[Key, ...]:
    """Return what to group by; what regions reported is told to tokens alone."""
    asked = scores.keys(by)
    if "region" in asked:
        require_reader(request, services, credentials)
    return asked


@router.get(
    "/scores",
    summary="Score what was predicted against what was harvested",
    response_model=ScorePage,
    responses=documented(401, 422, 503),
    openapi_extra=ALSO_WITHOUT,
)
async def score(
    request: Request,
    services: ServicesDep,
    by: Annotated[tuple[Key, ...], Depends(_keys)],
    basis: Annotated[
        Basis,
        Query(
            description="`forecast`: as forecasts were given. `arrival`: what the version that was live when yields "
            "were reported says of the weather reported with them, for which nothing need have been recorded."
        ),
    ] = "forecast",
) -> Response:
    """Return bias, error and coverage by group, each with how far it may be off, and in words.

    A yield that the version had learned does not count; those set aside by a training count in groups of their own.
    """
    return Response(await latest.written(services, basis, by, request), media_type=JSON)
