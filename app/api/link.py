"""GET /predict: one region in a link, for those that can send nothing else, as spreadsheets' formulas cannot.

A person who opens the bare address in a browser is led to the page.
"""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import to_json
from starlette.responses import RedirectResponse, Response

from app.api.headers import ASK_AGAIN
from app.api.negotiation import answer_type, prefers
from app.api.openapi.parts import MODEL_VERSION, UNCHANGED, contents, documented
from app.api.predict import Exact, Explain, Level, Version, WithEffects
from app.api.represented import Represented
from app.api.services import ServicesDep
from app.api.units import units_asked
from app.errors import FieldError, InputError, InvalidInput, NotAcceptable
from app.model.linear import LinearModel
from app.model.units import Units
from app.model.weather import FEATURE_NAMES, REGION_LENGTH
from app.serving.live import LEVEL
from app.wire.formats import FORMATS, PredictOptions, reply
from app.wire.media_types import CSV, GEOJSON, HTML, JSON
from app.wire.parts import take
from app.wire.questions import BodyOptions
from app.wire.schemas import OnePrediction

Form = Literal["json", "csv", "geojson", "value"]
MEDIA_TYPES = {"json": JSON, "csv": CSV, "geojson": GEOJSON}
TEXT = "text/plain; charset=utf-8"
SEE_OTHER = 303
LED: dict[int | str, dict[str, Any]] = {
    SEE_OTHER: {"description": "Without a query, what prefers HTML, as browsers do, is led to the page."}
}
NEVER_KEPT = {"Cache-Control": "no-store", "Vary": "Accept"}
"""Of the way to the page: the same address has another answer for others."""
_DECIMAL_COMMA = re.compile(r"\s*([+-]?\d+),(\d+)\s*")


class _LeadsPeople(Represented):
    """A route that leads a browser without a query to the page.

    Before anything else, a token included: a browser can send none, and it is the page that asks for it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answered = super().get_route_handler()

        async def led(request: Request) -> Response:
            if request.scope["query_string"] or not _is_browser(request):
                return await answered(request)
            return RedirectResponse(_page_from(request), SEE_OTHER, NEVER_KEPT)

        return led


def _is_browser(request: Request) -> bool:
    """Say whether a page is what is wanted most; that a header is too long to be read, the call says itself."""
    try:
        return prefers(request, HTML, tuple(MEDIA_TYPES.values()))
    except NotAcceptable:
        return False


def _page_from(request: Request) -> str:
    """Return where the page is, from the path as it was asked: relatively, so that it is right behind every prefix."""
    return "../#/ask" if request.scope.get("raw_path", b"").endswith(b"/") else "./#/ask"


router = APIRouter(tags=["predict"], route_class=_LeadsPeople)


def _plain(given: Any) -> Any:
    """Return a number with a decimal point: a spreadsheet writes it as its language does."""
    found = _DECIMAL_COMMA.fullmatch(given) if isinstance(given, str) else None
    return f"{found[1]}.{found[2]}" if found else given


def _number(description: str, example: float) -> Any:
    return Query(description=description, openapi_examples={"tutorial": {"value": example}})


_AsWritten = Annotated[float | None, BeforeValidator(_plain), WithJsonSchema({"type": "number"})]
Temperature = Annotated[_AsWritten, _number("Average over the season, °F, or in `temperature_unit`.", 73)]
Rainfall = Annotated[_AsWritten, _number("Total over the season, mm, or in `rainfall_unit`.", 67)]
Humidity = Annotated[_AsWritten, _number("Average relative humidity over the season, %.", 43)]
Region = Annotated[
    str | None,
    Query(max_length=REGION_LENGTH, description="The region's name."),
    WithJsonSchema({"type": "string", "maxLength": REGION_LENGTH}),
]
Crop = Annotated[
    str | None, Query(description="Answer of this crop alone; `value` needs it."), WithJsonSchema({"type": "string"})
]
FormatAsked = Annotated[
    Form | None,
    Query(
        alias="format",
        description="What to answer in, for who cannot send `Accept`; `value` is the crop's tons as plain text.",
    ),
    WithJsonSchema({"type": "string", "enum": list(get_args(Form))}),
]


@router.get(
    "/predict",
    summary="Predict one region's yields, asked in the link",
    response_model=OnePrediction,
    responses=documented(404, 406, 422, 503)
    | UNCHANGED
    | LED
    | {200: {"content": contents(CSV, GEOJSON, "text/plain"), "headers": MODEL_VERSION}},
)
async def link(
    request: Request,
    services: ServicesDep,
    units: Annotated[Units, Depends(units_asked)],
    temperature: Temperature = None,
    rainfall: Rainfall = None,
    humidity: Humidity = None,
    region: Region = None,
    level: Level = LEVEL,
    explain: Explain = False,
    version: Version = None,
    effects: WithEffects = "all",
    exact: Exact = False,
    crop: Crop = None,
    form: FormatAsked = None,
) -> Response:
    """Predict as `POST /predict` does, for formulas of spreadsheets, links, and whoever can only fetch an address.

    A decimal comma is read. Nothing is stored, and the answer may be kept for as long as its tag holds. A browser that
    asks without a query is led to the page.
    """
    wanted = answer_type(request, tuple(MEDIA_TYPES.values())) if form is None else MEDIA_TYPES.get(form, JSON)
    served = await services.served(version)
    model = _of_crop(served.model.asked(effects=effects == "all", exact=exact), crop, form)
    weather = {"temperature": temperature, "rainfall": rainfall, "humidity": humidity}
    asked = {name: int(value) if value.is_integer() else value for name, value in weather.items() if value is not None}
    if not asked:
        raise InvalidInput(
            "the link asks about no weather: give it as in /predict?temperature=73&rainfall=67&humidity=43, or send it "
            "by POST"
        )
    options = PredictOptions(
        JSON, wanted, 1, served.version, model, level, explain=explain, body=BodyOptions(units=units)
    )
    try:
        content, usage = reply(to_json(asked | ({} if region is None else {"region": region})), options)
    except InputError as error:
        raise _in_query(error) from error
    services.note(served.model, usage)
    headers = {"X-Model-Version": served.version} | ASK_AGAIN | ({"Vary": "Accept"} if form is None else {})
    if form == "value":
        tons = OnePrediction.model_validate_json(take(content)).yields[model.crops[0].crop].tons
        return Response(f"{tons:.6g}", headers=headers, media_type=TEXT)
    return Response(take(content), headers=headers, media_type=FORMATS[wanted].content_type)


def _of_crop(model: LinearModel, crop: str | None, form: Form | None) -> LinearModel:
    """Return the model of one crop; of all where none is named.

    Raises:
        InvalidInput: there is no such crop, or a value is asked for and it is open of which.
    """
    known = [each.crop for each in model.crops]
    if crop is not None and crop not in known:
        raise _fault("crop", f"there is no crop {crop[:REGION_LENGTH]!r}: there is {' or '.join(known)}")
    if crop is None and form == "value" and len(known) > 1:
        raise _fault("crop", f"is missing: format=value answers of one crop, crop={' or crop='.join(known)}")
    return model if crop is None else model.of_crop(crop)


def _fault(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"query.{name}: {message}", [FieldError(("query", name), message, "invalid")])


def _in_query(error: InputError) -> InvalidInput:
    """Return what is wrong with the weather as what is wrong with the query; there is no body that could be malformed.

    A number that is not finite is invalid, too.
    """
    faults = [
        FieldError(("query", *fault.loc), fault.message, fault.code) if fault.loc[:1] != ("query",) else fault
        for fault in error.errors
    ]
    is_placed = bool(faults) and error.errors[0].loc[:1] and error.errors[0].loc[0] in FEATURE_NAMES
    return InvalidInput(f"query.{error.detail}" if is_placed else error.detail, faults)
