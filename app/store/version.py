"""A version's file.

Weights, intercepts and moments as float64 tensors, the card in the header, and a checksum of it all.

The format is safetensors, which executes nothing when it is read.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError

from app.errors import StoreDamaged
from app.model.effects import Effects
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.names import packed_names, unpacked_names
from app.model.record import Record
from app.model.sketch import Sketch
from app.store.card import Card
from app.stored_formats import PLAIN_VERSION, VERSION, check_format

REGIONS = "regions"
"""The tensor that holds the regions' names, as JSON."""
ROUNDING = 1e-7
"""Two trainings on the same rows, added up in another order, differ by less, relatively."""
LENGTH_BYTES = 8
"""A safetensors file starts with the header's length, little-endian."""


@dataclass(frozen=True, eq=False)
class Version:
    """What is stored under a version's number.

    ``weights`` of shape (crops, features), ``intercepts`` of shape (crops,): the crops' common lines. ``effects``: of
    the crops that have any, over the same ``regions``. ``records``: how well intervals held, of crops that have any.
    """

    card: Card
    weights: Array
    intercepts: Array
    moments: dict[str, FoldedMoments]
    effects: dict[str, Effects] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    records: dict[str, Sketch] = field(default_factory=dict)

    @cached_property
    def model(self) -> LinearModel:
        """The model to serve."""
        lines = {
            crop: (self.weights[number], float(self.intercepts[number])) for number, crop in enumerate(self.card.crops)
        }
        features = [feature.name for feature in self.card.features]
        records = {crop: Record(sketch) for crop, sketch in self.records.items()}
        return LinearModel.of(features, lines, self.moments, self.effects, self.regions, records)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        tensors = self.predicting()
        for number, crop in enumerate(self.card.crops):
            tensors |= self.moments[crop].to_arrays(f"moments/{number}/")
        card = self.card.model_dump_json()
        is_plain = not (self.effects or self.records or any(crop.absent_features for crop in self.card.crops.values()))
        written = PLAIN_VERSION if is_plain else VERSION
        metadata = {"format": str(written), "card": card, "sha256": _checksum(card, tensors)}
        return safetensors.numpy.save(tensors, metadata)

    def is_like(self, other: "Version") -> bool:
        """Say whether another version predicts the same and says the same of its crops, but for rounding.

        A version from before something was learned or told of the same rows is not like one from since.
        """
        ours, theirs = self.predicting(), other.predicting()
        return (
            ours.keys() == theirs.keys()
            and all(_is_like(ours[name], theirs[name]) for name in ours)
            and _is_said(_told(self.card), _told(other.card))
        )

    def predicting(self) -> dict[str, NDArray[Any]]:
        """Return what predictions are made from, but for the moments."""
        tensors: dict[str, NDArray[Any]] = {"weights": self.weights, "intercepts": self.intercepts}
        for number, crop in enumerate(self.card.crops):
            if crop in self.effects:
                tensors |= self.effects[crop].to_arrays(f"effects/{number}/")
            if crop in self.records:
                tensors |= self.records[crop].to_arrays(f"record/{number}/")
                tensors[f"record/{number}/seasons"] = packed_names(self.records[crop].seasons)
        if self.effects:
            tensors[REGIONS] = packed_names(self.regions)
        return tensors

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
            check_format(int(metadata.get("format", "1")), VERSION, "the version")
            tensors = safetensors.numpy.load(content)
            card = Card.model_validate_json(metadata["card"], extra="ignore")
            if not verified and _checksum(metadata["card"], tensors) != metadata["sha256"]:
                raise StoreDamaged("the checksum is wrong")
            moments = {
                crop: FoldedMoments.from_arrays(f"moments/{number}/", tensors) for number, crop in enumerate(card.crops)
            }
            return cls(
                card,
                tensors["weights"],
                tensors["intercepts"],
                moments,
                *_effects(card, tensors),
                _records(card, tensors),
            )
        except (ValueError, KeyError, TypeError, SafetensorError, ValidationError) as error:
            raise StoreDamaged(f"it cannot be read ({type(error).__name__})") from error


def _is_like(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Say whether two arrays differ by no more than the order in which rows were added up."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if ours.dtype.kind != "f":
        return bool((ours == theirs).all())
    size = float(np.max(np.abs(ours[np.isfinite(ours)]), initial=0.0))
    return bool(np.allclose(ours, theirs, rtol=ROUNDING, atol=ROUNDING * size, equal_nan=True))


def _told(card: Card) -> dict[str, Any]:
    """Return what a card says of its crops, but for an error that is known only where the rows were at hand."""
    told = card.model_dump(include={"recipe", "crops", "record", "features"})
    for crop in told["crops"].values():
        del crop["out_of_fold"]["mean_absolute_error"]
    return told


def _is_said(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=ROUNDING, abs_tol=ROUNDING)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_is_said(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_is_said, ours, theirs))
    return bool(ours == theirs)


def _effects(card: Card, tensors: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Effects], tuple[str, ...]]:
    if REGIONS not in tensors:
        return {}, ()
    regions = tuple(unpacked_names(tensors[REGIONS]))
    having = [(f"effects/{number}/", crop) for number, crop in enumerate(card.crops)]
    return {
        crop: Effects.from_arrays(prefix, tensors, len(regions))
        for prefix, crop in having
        if f"{prefix}numbers" in tensors
    }, regions


def _records(card: Card, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Sketch]:
    having = [(f"record/{number}/", crop) for number, crop in enumerate(card.crops)]
    return {
        crop: Sketch.from_arrays(prefix, tensors, unpacked_names(tensors[f"{prefix}seasons"]))
        for prefix, crop in having
        if f"{prefix}seasons" in tensors
    }


def _checksum(card: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
