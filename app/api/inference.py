"""The Open Inference Protocol (V2) over REST, as other model servers speak it: /v2."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from app import __version__
from app.api import encodings, large
from app.api.bodies import SHORT, read_body
from app.api.helper import LARGE, is_small
from app.api.openapi import examples
from app.api.openapi.parts import BAD_REQUEST, INVALID, MODEL_VERSION, body, contents, documented_inference
from app.api.services import Services, ServicesDep
from app.errors import MalformedInput, NotFound
from app.serving.live import Served
from app.wire.media_types import BINARY, JSON
from app.wire.problems import Kind
from app.wire.protocol import (
    MODEL,
    IndexRequest,
    InferResponse,
    ModelEntry,
    ModelMetadata,
    ModelReady,
    ServerHealth,
    ServerMetadata,
    TensorMetadata,
)
from app.wire.tensors import EXTRAPOLATED, INPUT, InferOptions, infer, infer_here
from app.wire.validation import parse

router = APIRouter(prefix="/v2", tags=["inference"])
health = APIRouter(prefix="/v2/health", tags=["inference"])

HEADER = "Inference-Header-Content-Length"
LISTED = 1_000
"""Versions that the index and the metadata list, the newest."""


def problem(kind: Kind, detail: str) -> tuple[int, dict[str, Any]]:
    """Return an error as the protocol has it, which knows one status for whatever is wrong with a request."""
    return BAD_REQUEST if kind.status == INVALID else kind.status, {"error": detail}


ModelName = Annotated[str, Path(description="There is one model.", json_schema_extra={"enum": [MODEL]})]
ModelVersion = Annotated[str, Path(description="A version's number.")]


@router.get("", summary="What answers here", responses=documented_inference())
@router.get("/", include_in_schema=False)
async def server() -> ServerMetadata:
    """Return the service's name and version, and which extensions of the protocol it knows."""
    return ServerMetadata(name="orchard", version=__version__, extensions=["binary_tensor_data"])


@health.get("/live", summary="The service answers", responses=documented_inference())
async def live(services: ServicesDep) -> ServerHealth:
    """Return 200 as long as the process answers at all."""
    return ServerHealth(live=True, ready=_is_ready(services))


@health.get("/ready", summary="A model is live", responses=documented_inference() | {503: {"model": ServerHealth}})
async def ready(services: ServicesDep, response: Response) -> ServerHealth:
    """Return 200, or 503 while there is no model or the service is shutting down."""
    is_ready = _is_ready(services)
    response.status_code = 200 if is_ready else 503
    return ServerHealth(live=True, ready=is_ready)


def _is_ready(services: Services) -> bool:
    return services.live.loaded is not None and services.concurrency.stopping_since is None


def _served(services: ServicesDep, model: ModelName) -> Served:
    """Return the live version."""
    _check_name(model)
    return services.live.current


async def _version(services: ServicesDep, model: ModelName, version: ModelVersion) -> Served:
    """Return the version asked for."""
    _check_name(model)
    return await services.served(version)


def _check_name(model: str) -> None:
    if model != MODEL:
        raise NotFound(f"there is no model {model[:100]!r}: there is {MODEL!r}")


Live = Annotated[Served, Depends(_served)]
Versioned = Annotated[Served, Depends(_version)]


@router.get("/models/{model}", summary="What the model takes and gives", responses=documented_inference(404))
async def metadata(services: ServicesDep, served: Live) -> ModelMetadata:
    """Return the model's versions, inputs and outputs, of the live version.

    The input may also be given as `temperature`, `rainfall` and `humidity`, of shape [n] or [n, 1].
    """
    return await _metadata(services, served)


@router.get(
    "/models/{model}/versions/{version}",
    summary="What a version of the model takes and gives",
    responses=documented_inference(404),
)
async def version_metadata(services: ServicesDep, served: Versioned) -> ModelMetadata:
    """Return the same of one version."""
    return await _metadata(services, served)


async def _metadata(services: Services, served: Served) -> ModelMetadata:
    numbers = await services.in_store(services.registry.versions)
    crops = [crop.crop for crop in served.model.crops]
    ends = [f"{crop}{end}" for end in ("", "_low", "_high") for crop in crops]
    outputs = [TensorMetadata(name=name, datatype="FP64", shape=[-1]) for name in ends if name != EXTRAPOLATED]
    return ModelMetadata(
        name=MODEL,
        versions=list(map(str, reversed(numbers[:LISTED]))),
        platform="orchard",
        inputs=[TensorMetadata(name=INPUT, datatype="FP64", shape=[-1, 3])],
        outputs=[*outputs, TensorMetadata(name=EXTRAPOLATED, datatype="BOOL", shape=[-1])],
    )


@router.get("/models/{model}/ready", summary="The model can be asked", responses=documented_inference(404))
async def model_ready(served: Live) -> ModelReady:
    """Return 200 if there is a live version."""
    del served
    return ModelReady(name=MODEL, ready=True)


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="A version of the model can be asked",
    responses=documented_inference(404),
)
async def version_ready(served: Versioned) -> ModelReady:
    """Return 200 if the version is there and whole."""
    del served
    return ModelReady(name=MODEL, ready=True)


@router.post(
    "/repository/index",
    summary="List the model's versions",
    responses=documented_inference(400, 408, 413, 415),
    openapi_extra=body("IndexRequest", examples.INDEX, required=False),
)
async def index(request: Request, services: ServicesDep) -> list[ModelEntry]:
    """Return the newest thousand versions. An empty body is allowed."""
    parse(IndexRequest, await read_body(request, services, SHORT), services.settings.max_rows)
    numbers = await services.in_store(services.registry.versions)
    return [ModelEntry(name=MODEL, version=str(number), state="READY", reason="") for number in numbers[:LISTED]]


_INFER: dict[str, Any] = {
    "response_model": InferResponse,
    "responses": documented_inference(400, 404, 408, 413, 415)
    | {200: {"content": contents(BINARY), "headers": MODEL_VERSION}},
    "openapi_extra": body("InferRequest", examples.INFER, BINARY),
}


@router.post("/models/{model}/infer", summary="Predict yields from tensors of weather", **_INFER)
async def predict(request: Request, services: ServicesDep, served: Live) -> Response:
    """Predict with the live version.

    Inputs: `input`, [n, 3], of temperature (°F), rainfall (mm) and humidity (%); or these three by name, each [n] or
    [n, 1]; any number type. `region`, BYTES, [n], may name the regions. Outputs: each crop's tons, FP64 [n]; by name
    also `<crop>_low`, `<crop>_high` and `extrapolated`. With the header `Inference-Header-Content-Length` tensors'
    bytes follow the JSON.
    """
    return await _predict(request, services, served)


@router.post("/models/{model}/versions/{version}/infer", summary="Predict with a version of the model", **_INFER)
async def predict_with_version(request: Request, services: ServicesDep, served: Versioned) -> Response:
    """Predict with one version."""
    return await _predict(request, services, served)


async def _predict(request: Request, services: Services, served: Served) -> Response:
    encoding = encodings.wanted(request)
    asked = await read_body(request, services)
    options = InferOptions(_header(request), services.settings.max_rows, served.version, served.model)
    crops = len(served.model.crops)
    # Bytes leave Python's lock alone: they are worked on in a thread. Long JSON goes to the helper process.
    is_binary = options.header is not None and options.header < LARGE and not is_small(asked, crops)
    content, inferred = await services.helper.run(
        infer, asked, options, asker=request, crops=crops, in_thread=infer_here if is_binary else None
    )
    headers = {"X-Model-Version": served.version}
    if inferred.header is not None:
        headers[HEADER] = str(inferred.header)
    media_type = JSON if inferred.header is None else BINARY
    if encoding and len(content) >= encodings.WORTH_IT:
        content = await asyncio.to_thread(encodings.encoded, content, encoding)
        headers |= {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    response = large.response(content, headers, media_type, services.concurrency)
    services.note(served.model, inferred.usage)
    return response


def _header(request: Request) -> int | None:
    given = request.headers.get(HEADER)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 12):  # noqa: PLR2004 - no body is longer
        raise MalformedInput(f"{HEADER} is {given[:40]!r}, which is not a number of bytes")
    return int(given)
