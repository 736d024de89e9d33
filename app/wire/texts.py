"""Texts of the Open Inference Protocol: the names of regions, in JSON or as bytes."""

import struct
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from app.errors import InvalidInput, MalformedInput
from app.model.weather import REGION_LENGTH
from app.wire.protocol import InputTensor

BYTES = "BYTES"
"""The protocol's name of texts. As bytes, each is behind its length, a little-endian number of 32 bits."""
_TEXTS = TypeAdapter(Annotated[list[str], Field(fail_fast=True)])


def names(tensor: InputTensor, raw: memoryview) -> list[str]:
    """Return an input's texts, of at most 200 characters each; its shape is [n] or [n, 1].

    Raises:
        InvalidInput: a text is too long or none, or there are more or fewer than the shape says.
        MalformedInput: the bytes are not texts.
    """
    found = _from_json(tensor) if tensor.data is not None else _from_bytes(tensor, raw)
    if len(found) != tensor.shape[0]:
        raise InvalidInput(
            f"input {tensor.name!r}: {len(found)} texts, but its shape {tensor.shape} takes {tensor.shape[0]}"
        )
    for place, text in enumerate(found):
        if len(text) > REGION_LENGTH:
            raise InvalidInput(f"input {tensor.name!r}[{place}]: {len(text)} characters, the limit is {REGION_LENGTH}")
    return found


def _from_json(tensor: InputTensor) -> list[str]:
    data = tensor.data or []
    if all(isinstance(row, list) and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    try:
        return _TEXTS.validate_python(data, strict=True)
    except ValidationError as error:
        place = "".join(f"[{part}]" for part in error.errors(include_url=False)[0]["loc"])
        raise InvalidInput(f"input {tensor.name!r}: data{place} is not a text") from error


def _from_bytes(tensor: InputTensor, raw: memoryview) -> list[str]:
    found: list[str] = []
    start = 0
    if len(raw) != (tensor.parameters.binary_data_size or 0):
        size = tensor.parameters.binary_data_size
        raise MalformedInput(f"input {tensor.name!r}: {len(raw)} bytes are left of the body, not {size}")
    try:
        while start < len(raw):
            if len(found) == tensor.shape[0]:  # a text may take four bytes: there could be millions of them
                raise InvalidInput(f"input {tensor.name!r}: more texts than its shape {tensor.shape} takes")
            (length,) = struct.unpack_from("<I", raw, start)
            start += 4 + length
            if start > len(raw):
                raise MalformedInput(f"input {tensor.name!r}: text {len(found)} is longer than the tensor")
            found.append(str(raw[start - length : start], "utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedInput(f"input {tensor.name!r}: text {len(found)} cannot be read: {error}") from error
    return found
