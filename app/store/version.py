"""A version's file.

Weights, intercepts and moments as float64 tensors, the card in the header, and a checksum of it all.

The format is safetensors, which executes nothing when it is read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import safetensors.numpy
from pydantic import ValidationError
from safetensors import SafetensorError

from app.errors import StoreDamaged
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.moments import Array
from app.store.card import Card
from app.stored_formats import STORE, check_format

LENGTH_BYTES = 8
"""A safetensors file starts with the header's length, little-endian."""


@dataclass(frozen=True, eq=False)
class Version:
    """What is stored under a version's number.

    ``weights`` of shape (crops, features), ``intercepts`` of shape (crops,).
    """

    card: Card
    weights: Array
    intercepts: Array
    moments: dict[str, FoldedMoments]

    @cached_property
    def model(self) -> LinearModel:
        """The model to serve."""
        lines = {
            crop: (self.weights[number], float(self.intercepts[number])) for number, crop in enumerate(self.card.crops)
        }
        return LinearModel.of([feature.name for feature in self.card.features], lines, self.moments)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        tensors = {"weights": self.weights, "intercepts": self.intercepts}
        for number, crop in enumerate(self.card.crops):
            tensors |= self.moments[crop].to_arrays(f"moments/{number}/")
        card = self.card.model_dump_json()
        metadata = {"format": str(STORE), "card": card, "sha256": _checksum(card, tensors)}
        return safetensors.numpy.save(tensors, metadata)

    @classmethod
    def from_bytes(cls, content: bytes, *, verified: bool = False) -> "Version":
        """Read a file's content back; what is ``verified`` by the hash of the whole needs no other check.

        Raises:
            StoreDamaged: it is not what `to_bytes` returned.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        try:
            length = int.from_bytes(content[:LENGTH_BYTES], "little")
            metadata = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"]
            check_format(int(metadata.get("format", "1")), STORE, "the version")
            tensors = safetensors.numpy.load(content)
            card = Card.model_validate_json(metadata["card"], extra="ignore")
            if not verified and _checksum(metadata["card"], tensors) != metadata["sha256"]:
                raise StoreDamaged("the checksum is wrong")
            moments = {
                crop: FoldedMoments.from_arrays(f"moments/{number}/", tensors) for number, crop in enumerate(card.crops)
            }
            return cls(card, tensors["weights"], tensors["intercepts"], moments)
        except (ValueError, KeyError, TypeError, SafetensorError, ValidationError) as error:
            raise StoreDamaged(f"it cannot be read ({type(error).__name__})") from error


def _checksum(card: str, tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
