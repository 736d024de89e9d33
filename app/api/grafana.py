"""GET /grafana.json: a dashboard to import."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.openapi.parts import documented
from app.wire import dashboard
from app.wire.media_types import JSON

router = APIRouter(tags=["health"])


@router.get(
    "/grafana.json",
    summary="A dashboard for Grafana",
    response_class=Response,
    responses=documented() | {200: {"content": {JSON: {"schema": {"type": "object"}}}}},
)
async def grafana() -> Response:
    """Return a dashboard to import: what `/metrics` counts, by Prometheus, and the versions, by Infinity.

    It is the same in every installation: the file `deploy/grafana/orchard.json`.
    """
    return Response(dashboard.text(), media_type=JSON)
