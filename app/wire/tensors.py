"""Tensors of the Open Inference Protocol: JSON and raw bytes to columns of weather, and predictions to tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from app.data.tables import within
from app.errors import InvalidInput, MalformedInput, TooLarge
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.units import Units
from app.model.weather import FEATURE_NAMES, Needs, why_needed
from app.serving.drift import Usage
from app.serving.live import LEVEL
from app.wire.answers import Answer
from app.wire.parts import MOST_HERE, Parts, check_size
from app.wire.protocol import MODEL, InferRequest, InputTensor
from app.wire.questions import Question
from app.wire.strict_json import parse_json
from app.wire.texts import BYTES, names
from app.wire.validation import checked_object, validated

INPUT = "input"
REGION = "region"
TYPES = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
"""NumPy's names of the protocol's number types, little-endian; BF16 is the upper half of an FP32."""
BF16 = "BF16"
EXTRAPOLATED = "extrapolated"
NUMBER_BYTES, NUMBER_CHARACTERS = 8, 19
"""What a number of an answer takes: as bytes; and as JSON, most of them, with the comma."""

_REQUEST = TypeAdapter(InferRequest)
_Flat = Annotated[list[float], Field(fail_fast=True)]
_FLAT = TypeAdapter(_Flat)
_NESTED = TypeAdapter(Annotated[list[_Flat], Field(fail_fast=True)])


@dataclass(frozen=True, slots=True)
class InferOptions:
    """How a request is to be read and answered. ``header``: bytes of JSON before those of tensors; None: all of it."""

    header: int | None
    max_rows: int
    version: str
    model: LinearModel


@dataclass(frozen=True, slots=True)
class Inferred:
    """What is to be known of an answer: how many of its bytes are JSON, None for all; and what is recorded of it."""

    header: int | None
    usage: Usage


def infer(body: bytes, options: InferOptions) -> tuple[bytes | Parts, Inferred]:
    """Answer a request.

    Raises:
        MalformedInput, InvalidInput, TooLarge: a tensor's name, shape, datatype, size or value is wrong; it says which.
    """
    request, raw = _request(body, options)
    parameters = request.parameters
    units = Units(parameters.temperature_unit, parameters.rainfall_unit)
    weather, regions = _asked(request, raw, options.max_rows, options.model.needed_by, units)
    _check_size(_wanted(request, options.model), len(weather[0]))
    model = options.model.asked(effects=parameters.effects == "all", exact=parameters.exact)
    answer = Answer(Question("columns", regions, weather), options.version, model, LEVEL, explain=False)
    content, size = _written(request, answer, options)
    return content, Inferred(size, answer.usage())


def _request(body: bytes, options: InferOptions) -> tuple[InferRequest, memoryview]:
    """Return what a body's JSON says, and the bytes behind it."""
    header = len(body) if options.header is None else options.header
    if header > len(body):
        raise MalformedInput(f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes")
    request = validated(_REQUEST, checked_object(parse_json(body[:header], options.max_rows)))
    return request, memoryview(body)[header:]


def infer_here(body: bytes, options: InferOptions) -> tuple[bytes | Parts, Inferred] | None:
    """Do as `infer`; return None where the answer is JSON or large, which is better made in the helper process."""
    request, _ = _request(body, options)
    rows = max(tensor.shape[0] if tensor.shape else 0 for tensor in request.inputs)
    is_bytes = all(_wanted(request, options.model).values())
    return infer(body, options) if is_bytes and rows * len(options.model.crops) <= MOST_HERE else None


def _asked(
    request: InferRequest, raw: memoryview, max_rows: int, needs: Needs, units: Units
) -> tuple[list[Array], list[str] | None]:
    """Return an array, shape (n,), per feature as it is stored, and the regions' names where they are given.

    Those that are not needed may be left out where they are given by name; they are NaN then.
    """
    given = [tensor.name for tensor in request.inputs]
    named = [name for name in given if name != REGION]
    is_known = named == [INPUT] or (named and len(set(named)) == len(named) and set(named) <= {*FEATURE_NAMES})
    missing = [name for name in needs if name not in named and named != [INPUT]]
    if not is_known or given.count(REGION) > 1 or missing:
        why = f": {missing[0]} is missing{why_needed(needs[missing[0]])}" if is_known and missing else ""
        raise InvalidInput(
            f"inputs are {INPUT!r}, or {', '.join(map(repr, FEATURE_NAMES))}, and {REGION!r} if regions are named, not "
            f"{', '.join(map(repr, given))}{why}"
        )
    arrays: dict[str, Array] = {}
    regions: list[str] | None = None
    for tensor, part in _parts(request.inputs, raw, max_rows):
        if tensor.name == REGION:
            regions = names(tensor, part)
        else:
            arrays[tensor.name] = _numbers(tensor, part)
    if INPUT in arrays:
        columns = {name: np.ascontiguousarray(arrays[INPUT][:, place]) for place, name in enumerate(FEATURE_NAMES)}
    else:
        columns = {name: arrays[name].reshape(-1) for name in FEATURE_NAMES if name in arrays}
    rows = {name: len(column) for name, column in columns.items()}
    rows |= {REGION: len(regions)} if regions is not None else {}
    if len(set(rows.values())) > 1:
        raise InvalidInput("inputs differ in their rows: " + ", ".join(f"{name} has {n}" for name, n in rows.items()))
    if not next(iter(rows.values())):
        raise InvalidInput("the inputs have no rows")
    _check_bounds(columns, INPUT in arrays, units)
    nothing = np.full(next(iter(rows.values())), np.nan)
    weather = [columns.get(name, nothing) for name in FEATURE_NAMES]
    return within(units.stored(weather)) if units.named else weather, regions


def _numbers(tensor: InputTensor, raw: memoryview) -> Array:
    """Return an input as float64, in its shape."""
    numbers = _from_json(tensor) if tensor.data is not None else _from_bytes(tensor, raw)
    with np.errstate(invalid="ignore"):  # NaN of any kind is told as what it is
        return np.asarray(numbers.astype(np.float64).reshape(tensor.shape))


def _parts(tensors: list[InputTensor], raw: memoryview, max_rows: int) -> Iterator[tuple[InputTensor, memoryview]]:
    """Yield each input with its bytes, of those behind the JSON."""
    start = 0
    for tensor in tensors:
        _check_shape(tensor, max_rows)
        size = tensor.parameters.binary_data_size or 0
        yield tensor, raw[start : start + size]
        start += size
    if start != len(raw):
        raise InvalidInput(f"{len(raw)} bytes are behind the JSON, and inputs have {start} by their binary_data_size")


def _check_shape(tensor: InputTensor, max_rows: int) -> None:
    types = [BYTES] if tensor.name == REGION else [*TYPES, BF16]
    if tensor.datatype not in types:
        known = ", ".join(types)
        raise InvalidInput(f"input {tensor.name!r}: the datatype {tensor.datatype!r} is not one of {known}")
    wanted = "[n, 3]" if tensor.name == INPUT else "[n] or [n, 1]"
    widths = ([3],) if tensor.name == INPUT else ([], [1])
    if not tensor.shape or tensor.shape[1:] not in widths:
        raise InvalidInput(f"input {tensor.name!r}: the shape is {tensor.shape}, not {wanted}")
    if tensor.shape[0] > max_rows:
        raise TooLarge(f"input {tensor.name!r}: {tensor.shape[0]} rows, the limit is {max_rows}")
    if tensor.parameters.shared_memory_region is not None:
        raise InvalidInput(f"input {tensor.name!r}: shared memory is not supported here")
    if (tensor.data is None) == (tensor.parameters.binary_data_size is None):
        raise InvalidInput(f"input {tensor.name!r}: it needs either data or the parameter binary_data_size")


def _from_json(tensor: InputTensor) -> NDArray[Any]:
    data: list[Any] = tensor.data or []
    try:
        if data and isinstance(data[0], list):
            rows = _NESTED.validate_python(data, strict=True)
            _check_count(tensor, sum(map(len, rows)), "values")
            if any(len(row) != tensor.shape[-1] for row in rows) or len(tensor.shape) == 1:
                raise InvalidInput(f"input {tensor.name!r}: the data's rows are not of the shape {tensor.shape}")
            numbers = np.array(rows, dtype=np.float64).reshape(-1)
        else:
            numbers = np.array(_FLAT.validate_python(data, strict=True), dtype=np.float64)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" for part in fault["loc"])
        raise InvalidInput(f"input {tensor.name!r}: data{place} is not a number") from error
    _check_count(tensor, len(numbers), "values")
    return _as_declared(tensor, numbers)


def _as_declared(tensor: InputTensor, numbers: Array) -> NDArray[Any]:
    """Return JSON's numbers as their datatype has them, so that JSON and bytes mean the same."""
    kind = np.dtype("<f4" if tensor.datatype == BF16 else TYPES[tensor.datatype])
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            rounded = numbers.astype(kind)
        return _from_bf16(rounded.view("<u4") >> 16) if tensor.datatype == BF16 else rounded
    limits = np.iinfo(kind)
    wrong = np.flatnonzero(~((numbers == np.floor(numbers)) & (numbers >= limits.min) & (numbers <= limits.max)))
    if len(wrong):
        place = int(wrong[0])
        raise InvalidInput(
            f"input {tensor.name!r}: data[{place}] is {numbers[place]:g}, which is not an {tensor.datatype}"
        )
    return numbers


def _from_bytes(tensor: InputTensor, raw: memoryview) -> NDArray[Any]:
    size = tensor.parameters.binary_data_size or 0
    kind = np.dtype("<u2" if tensor.datatype == BF16 else TYPES[tensor.datatype])
    wanted = int(np.prod(tensor.shape)) * kind.itemsize
    if size != wanted:
        raise InvalidInput(
            f"input {tensor.name!r}: binary_data_size is {size}, but {tensor.datatype} {tensor.shape} takes {wanted}"
        )
    if len(raw) != size:
        raise MalformedInput(f"input {tensor.name!r}: {len(raw)} bytes are left of the body, not {size}")
    numbers = np.frombuffer(raw, kind)
    return _from_bf16(numbers) if tensor.datatype == BF16 else numbers


def _from_bf16(halves: NDArray[Any]) -> NDArray[Any]:
    return (halves.astype("<u4") << 16).view("<f4")


def _check_count(tensor: InputTensor, count: int, what: str) -> None:
    wanted = int(np.prod(tensor.shape))
    if count != wanted:
        raise InvalidInput(f"input {tensor.name!r}: {count} {what}, but its shape {tensor.shape} takes {wanted}")


def _check_bounds(columns: Mapping[str, Array], in_one: bool, units: Units) -> None:
    for place, feature in enumerate(units.features):
        if feature.name not in columns:
            continue
        column = columns[feature.name]
        bad = np.flatnonzero(~feature.admits(column))
        if not len(bad):
            continue
        row, value = int(bad[0]), float(column[bad[0]])
        where = f"input {INPUT!r}[{row}, {place}], {feature.name}" if in_one else f"input {feature.name!r}[{row}]"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        if not np.isfinite(value):
            raise MalformedInput(f"{where}: {value} is not finite{more}")
        raise InvalidInput(f"{where}: {feature.problem(value)}{more}")


def _written(request: InferRequest, answer: Answer, options: InferOptions) -> tuple[bytes | Parts, int | None]:
    """Return the answer, and how many of its bytes are JSON if others follow."""
    outputs, raw = [], []
    for name, binary in _wanted(request, options.model).items():
        array = _output(name, answer)
        tensor: dict[str, Any] = {"name": name, "datatype": "BOOL" if array.dtype == bool else "FP64"}
        tensor["shape"] = list(array.shape)
        if binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            raw.append(np.ascontiguousarray(array))
        else:
            tensor["data"] = np.ascontiguousarray(array)
        outputs.append(tensor)
    message = {"model_name": MODEL, "model_version": options.version, "id": request.id, "outputs": outputs}
    header = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return header, None
    parts = Parts()
    parts.write(header)
    for array in raw:
        parts.write(array.data)
    return parts, len(header)


def _check_size(wanted: Mapping[str, bool], rows: int) -> None:
    """Check the answer's size before it is made: a few bytes may ask for hundreds of columns."""
    check_size(rows * sum(NUMBER_BYTES if binary else NUMBER_CHARACTERS for binary in wanted.values()))


def _wanted(request: InferRequest, model: LinearModel) -> dict[str, bool]:
    """Return the outputs to send, and whether as bytes."""
    default = request.parameters.binary_data_output
    crops = [crop.crop for crop in model.crops]
    if not request.outputs:
        return {crop: default for crop in crops if crop != EXTRAPOLATED}
    known = {*crops, EXTRAPOLATED, *(f"{crop}_{end}" for crop in crops for end in ("low", "high"))}
    wanted: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in known:
            raise InvalidInput(f"there is no output {output.name[:100]!r}: there are {', '.join(sorted(known))}")
        if output.parameters.shared_memory_region is not None:
            raise InvalidInput(f"output {output.name!r}: shared memory is not supported here")
        binary = output.parameters.binary_data
        wanted[output.name] = default if binary is None else binary
    return wanted


def _output(name: str, answer: Answer) -> NDArray[Any]:
    if name == EXTRAPOLATED:  # before a crop of that name, which a store may have from before it was refused
        return answer.extrapolated
    if any(crop.crop == name for crop in answer.model.crops):  # before one whose end it could be: "low" is a name too
        column = answer.column(name, "tons")
    else:
        crop, _, end = name.rpartition("_")
        column = answer.column(crop, end)
    if column is None:
        raise InvalidInput(f"there is no output {name!r}: its crop has too few rows for an interval")
    return column
