"""The messages of the Open Inference Protocol (V2, REST), as far as a model of three numbers needs them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.model.units import RainfallUnit, TemperatureUnit
from app.wire.schemas import EffectsAsked

MODEL = "yield"
"""The name of the one model there is."""
NAME_LENGTH = 256


class _Message(BaseModel):
    # What the protocol may add one day, and what other servers take, is no error.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Name = Annotated[str, Field(max_length=NAME_LENGTH)]
Identity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(max_length=NAME_LENGTH),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": NAME_LENGTH}, {"type": "number"}]}),
]


class TensorParameters(_Message):
    """``binary_data_size``: how many bytes of the tensor are behind the JSON."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None
    shared_memory_region: str | None = None


class InputTensor(_Message):
    """An array of numbers: ``data`` in JSON, flat or nested by rows, or its bytes behind the JSON."""

    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(max_length=8)]
    datatype: Annotated[str, Field(max_length=16)]
    parameters: TensorParameters = TensorParameters()
    data: list[Any] | None = None


class OutputParameters(_Message):
    """``binary_data``: send the output's bytes behind the JSON."""

    binary_data: bool | None = None
    shared_memory_region: str | None = None


class RequestedOutput(_Message):
    """An output by its name."""

    name: Name
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Message):
    """``binary_data_output``: send the bytes of all outputs behind the JSON that say nothing themselves.

    ``effects``: "none" predicts by the common line, without what a region and a season have of their own. ``exact``:
    intervals are as wide as the rows of training alone would have them. ``temperature_unit`` and
    ``rainfall_unit``: what the inputs are in, °F and mm if nothing is said.
    """

    binary_data_output: bool = False
    effects: EffectsAsked = "all"
    exact: bool = False
    temperature_unit: TemperatureUnit | None = None
    rainfall_unit: RainfallUnit | None = None


class InferRequest(_Message):
    """What is asked: one input `input`, or `temperature`, `rainfall` and `humidity`; which outputs, else all crops.

    An input `region`, of BYTES, may name the regions.
    """

    id: Identity = ""
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=1_000)] | None = None


class OutputTensor(BaseModel):
    """An array of the answer."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[float] | list[bool] | None = None


class InferResponse(BaseModel):
    """The answer; ``id`` is the request's, or empty."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


class InferenceError(BaseModel):
    """What every error of the protocol is."""

    error: str


class ServerMetadata(BaseModel):
    """What answers here."""

    name: str
    version: str
    extensions: list[str]


class ServerHealth(BaseModel):
    """Whether the service answers, and has a model to answer with."""

    live: bool
    ready: bool


class TensorMetadata(BaseModel):
    """A tensor's name, type and shape; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model's versions, what it takes and what it gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """A version can be asked."""

    name: str
    ready: bool


class ModelEntry(BaseModel):
    """A version in the index."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(_Message):
    """``ready``: list only what can be asked."""

    ready: bool = False
