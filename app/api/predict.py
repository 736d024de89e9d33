"""POST /predict: one region, several, columns, CSV or Arrow; the answer has the shape of the question."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import problems
from app.api.helper import is_small
from app.api.large import PART, Content, LargeResponse
from app.api.negotiation import ARROW, CSV, JSON, answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import MODEL_VERSION, body, contents
from app.api.request_id import read_body
from app.api.services import Services, ServicesDep
from app.serving.drift import Usage
from app.serving.live import LEVEL
from app.wire.answers import PredictOptions, reply, reply_aside, reply_here
from app.wire.schemas import OnePrediction, PredictionColumns, SeveralPredictions

router = APIRouter(tags=["predict"])

Level = Annotated[float, Query(ge=0.5, le=0.999, description="The share of harvests that an interval should cover.")]
Explain = Annotated[bool, Query(description="Add each crop's baseline and the weather's contributions to it, in tons.")]
Version = Annotated[str | None, Query(description="Predict with this version; without it, with the live one.")]

_TYPES = (JSON, CSV, ARROW)


@router.post(
    "/predict",
    summary="Predict yields from weather",
    response_model=OnePrediction | SeveralPredictions | PredictionColumns,
    responses=problems.documented(400, 404, 406, 408, 413, 415, 422, 503)
    | {200: {"content": contents(CSV, ARROW), "headers": MODEL_VERSION}},
    openapi_extra=body("PredictRequest", examples.PREDICT, CSV, ARROW),
)
async def predict(
    request: Request, services: ServicesDep, level: Level = LEVEL, explain: Explain = False, version: Version = None
) -> Response:
    """Predict each crop's yield in tons, with a prediction interval and a warning wherever it deserves less trust."""
    sent = body_type(request, _TYPES)
    wanted = answer_type(request, (sent, *(other for other in _TYPES if other != sent)))
    content = await read_body(request, services)
    served = services.live.current if version is None else services.live.version(version)
    options = PredictOptions(sent, wanted, services.settings.max_rows, served.version, served.model, level, explain)
    answer = await _replied(request, content, options, services)
    media_type = f"{CSV}; charset=utf-8" if wanted == CSV else wanted
    headers = {"X-Model-Version": served.version}
    if isinstance(answer, bytes) and len(answer) <= PART:
        return Response(answer, headers=headers, media_type=media_type)
    return LargeResponse(answer, headers, media_type)


async def _replied(request: Request, body: bytes, options: PredictOptions, services: Services) -> Content:
    """Answer here what is short, in a thread what leaves Python's lock alone, and all else in another process."""
    short = is_small(body, len(options.model.crops))
    replied: tuple[Content, Usage] | None = None
    if options.sent == options.wanted == ARROW or (ARROW in {options.sent, options.wanted} and short):
        replied = await services.helper.call_here(reply_here, body, options, asker=request)
    elif short:
        replied = reply(body, options)
    content, usage = replied or await services.helper.call(reply_aside, body, options, asker=request)
    services.note(options.model, usage)
    return content
