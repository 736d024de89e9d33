"""Whether the process answers, and whether it has a model to answer with."""

from fastapi import APIRouter

from app.api import problems
from app.api.schemas import Liveness, Readiness
from app.api.services import Used
from app.errors import NotReady

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> Liveness:
    """Return 200 as long as the process answers at all."""
    return Liveness(status="live")


@router.get("/ready", summary="A model is live", responses=problems.documented(503))
async def ready(used: Used) -> Readiness:
    """Return 200 and the live version, or 503 with the reason; after SIGTERM, too.

    Details name what is damaged: then the newest version that can be read is served.
    """
    if used.load.stopping_since is not None:
        raise NotReady("the service is shutting down")
    version = used.live.current.version
    details = [f"{used.live.damage}: version {version} is served instead"] if used.live.damage else []
    return Readiness(status="ready", model_version=version, details=details + used.damage)
