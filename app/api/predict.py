"""POST /predict: regions in any of the formats, days of weather services; the answer has the shape of the question."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator, WithJsonSchema
from starlette.responses import Response

from app.api import encodings, large
from app.api.bodies import read_body
from app.api.helper import is_small
from app.api.negotiation import answer_type, body_type
from app.api.openapi import examples
from app.api.openapi.parts import MODEL_VERSION, body, contents, documented
from app.api.services import ServicesDep
from app.api.units import units_asked
from app.data.naming import day_of
from app.model.units import Units
from app.model.weather import REGION_LENGTH
from app.serving.live import LEVEL
from app.wire.formats import FORMATS, READ, PredictOptions, answered_in, reply, reply_here
from app.wire.media_types import ARROW, GEOJSON, JSON, XLSX
from app.wire.questions import BodyOptions
from app.wire.schemas import LEVELS, EffectsAsked, Name, OnePrediction, PredictionColumns, SeveralPredictions

router = APIRouter(tags=["predict"])

Level = Annotated[
    float, Query(ge=LEVELS[0], le=LEVELS[1], description="The share of harvests that an interval should cover.")
]
Explain = Annotated[bool, Query(description="Add each crop's baseline and what weather and region add to it, in tons.")]
Version = Annotated[str | None, Query(description="Predict with this version; without it, with the live one.")]
WithEffects = Annotated[
    EffectsAsked,
    Query(description="`none`: predict by the common line, without what the region and the season have of their own."),
]

WithWarnings = Annotated[
    bool, Query(description="A column `warnings` in tables (CSV, Arrow); other answers have them anyway.")
]

OTHERS = [media_type for media_type in FORMATS if media_type != JSON]
BODIES = [media_type for media_type in READ if media_type != JSON]

Exact = Annotated[
    bool,
    Query(description="Intervals as wide as the rows of training alone would have them, whatever the record says."),
]

Counts = Annotated[
    bool,
    Query(
        alias="count",
        description="Without it (`false`) the question leaves no trace in drift and in the counts of predictions: for "
        "curves, maps and trials, which ask about weather that no region has.",
    ),
]

Day = Annotated[date, BeforeValidator(day_of)]
_DAY_SCHEMA = WithJsonSchema({"type": "string", "format": "date"})
SeasonStart = Annotated[
    Day | None,
    Query(description="The first day of the season, of a body with days of weather; without it, their first."),
    _DAY_SCHEMA,
]
SeasonEnd = Annotated[
    Day | None,
    Query(description="The last day of the season, of a body with days of weather; without it, their last."),
    _DAY_SCHEMA,
]
RegionOfDays = Annotated[
    Name | None,
    Query(description="The region's name, of a body with days of weather; without it, `latitude,longitude`."),
    WithJsonSchema({"type": "string", "maxLength": REGION_LENGTH}),
]


def _body_options(
    units: Annotated[Units, Depends(units_asked)],
    season_start: SeasonStart = None,
    season_end: SeasonEnd = None,
    region: RegionOfDays = None,
) -> BodyOptions:
    """Return what the query says of how the body is to be read."""
    return BodyOptions(season_start, season_end, region, units)


Options = Annotated[BodyOptions, Depends(_body_options)]


@router.post(
    "/predict",
    summary="Predict yields from weather",
    response_model=OnePrediction | SeveralPredictions | PredictionColumns,
    responses=documented(400, 404, 406, 408, 413, 415, 422, 503)
    | {200: {"content": contents(*OTHERS), "headers": MODEL_VERSION}},
    openapi_extra=body("PredictRequest", examples.PREDICT, *BODIES, schemas={GEOJSON: "GeoJSONRequest"}),
)
async def predict(
    request: Request,
    services: ServicesDep,
    asked: Options,
    level: Level = LEVEL,
    explain: Explain = False,
    version: Version = None,
    effects: WithEffects = "all",
    exact: Exact = False,
    warnings: WithWarnings = False,
    counts: Counts = True,
) -> Response:
    """Predict each crop's yield in tons, with a prediction interval and a warning wherever it deserves less trust.

    Where the model has learned what regions have of their own, the name of a region that it knows is used. A body may
    also be the answer of Open-Meteo or NASA POWER, as it came: its days are made a season, from `season_start` to
    `season_end`. A workbook is answered as CSV. A long answer is compressed for who takes no other
    (`Accept-Encoding: gzip, identity;q=0`).
    """
    sent = body_type(request, tuple(READ))
    wanted = answer_type(request, answered_in(sent))
    encoding = encodings.demanded(request)
    content = await read_body(request, services)
    served = await services.served(version)
    model = served.model.asked(effects=effects == "all", exact=exact)
    options = PredictOptions(
        sent, wanted, services.settings.max_rows, served.version, model, level, explain, asked, warnings
    )
    crops = len(model.crops)
    answer, usage = await services.helper.run(
        reply,
        content,
        options,
        asker=request,
        crops=crops,
        in_thread=_in_thread(content, options),
        unfolds=sent == XLSX,
    )
    headers = {"X-Model-Version": served.version}
    if encoding and len(answer) >= encodings.WORTH_ITS_TIME:
        answer = await asyncio.to_thread(encodings.encoded, answer, encoding)
        headers |= {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    response = large.response(answer, headers, FORMATS[wanted].content_type, services.concurrency)
    if counts:
        services.note(served.model, usage)
    return response


def _in_thread(content: bytes, options: PredictOptions) -> Callable[..., Any] | None:
    """Return what works in a thread of this process: on Arrow, which leaves Python's lock alone; None for the rest.

    A workbook, which may hold much more than its bytes, is none of it, whatever it is answered in.
    """
    formats = {options.sent, options.wanted}
    if XLSX in formats:
        return None
    if formats == {ARROW} or (ARROW in formats and is_small(content, len(options.model.crops))):
        return reply_here
    return None
