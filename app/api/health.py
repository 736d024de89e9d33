"""Whether the process answers, and whether it has a model to answer with."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from app.api.openapi.parts import documented
from app.api.services import ServicesDep
from app.data import example
from app.errors import NotReady
from app.serving.live import Served
from app.settings import Settings
from app.wire.schemas import Liveness, Readiness

router = APIRouter(prefix="/health", tags=["health"])

LATE_S = 5.0
"""A log that was not looked at for so long is told of, seconds: usually it is every half second. In object storage,
where it is every 5, after three times as long."""


@router.get("/live", summary="The process answers")
async def live() -> Liveness:
    """Return 200 as long as the process answers at all."""
    return Liveness(status="live")


@router.get("/ready", summary="A model is live", response_model_exclude_none=True, responses=documented(503))
async def ready(services: ServicesDep) -> Readiness:
    """Return 200 and the live version, or 503 with the reason; after SIGTERM, too.

    Details name what is damaged, where the newest version that can be read is served, and a database that is out of
    reach, while predictions go on; crops whose last seasons all came out on one side of what was predicted; and those
    whose forecasts were less often within their intervals than these promise, as was found lately.
    `source` is there while what is served was learned from the example's invented regions alone.
    """
    if services.concurrency.stopping_since is not None:
        raise NotReady("the service is shutting down")
    live = services.live
    services.latest.ask(services)
    database = [services.database.fault] if services.database.fault else []
    return Readiness(
        status="ready",
        model_version=live.current.version,
        details=[
            *live.damage,
            *_unseen(live.unseen_s, services.settings),
            *services.condition.details,
            *database,
            *_leans(live.current),
            *services.latest.below_promise,
        ],
        source=_example(live.current),
    )


def _example(served: Served) -> str | None:
    """Say that a version was trained on the example alone, None of any other."""
    source = example.told(served.card.source, served.card.data_digest)
    return source if source != served.card.source else None


def _leans(served: Served) -> list[str]:
    leans = ((crop.crop, crop.record.lean()) for crop in served.model.crops if crop.record is not None)
    return [f"{crop}: {lean.sentence()}" for crop, lean in leans if lean is not None]


def _unseen(seconds: float, settings: Settings) -> list[str]:
    """Say since when the log could not be looked at, where that is so."""
    if seconds < max(LATE_S, 3 * settings.follow_every_s):
        return []
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    return [f"the log could not be looked at since {since:%Y-%m-%dT%H:%M:%SZ}: a newer version may be live"]
