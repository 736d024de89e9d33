"""Moments, cells and sketches by crop as bytes, in the safetensors format: what is kept of rows, without them."""

import json
from collections.abc import Mapping

import safetensors.numpy

from app.model.folds import FoldedMoments
from app.model.moments import Array


def packed_moments(learned: Mapping[str, FoldedMoments]) -> bytes:
    """Return the moments of crops as bytes."""
    tensors: dict[str, Array] = {}
    for number, moments in enumerate(learned.values()):
        tensors |= moments.to_arrays(f"{number}/")
    return safetensors.numpy.save(tensors, {"crops": json.dumps(list(learned))})


def unpacked_moments(content: bytes) -> dict[str, FoldedMoments]:
    """Return the moments that `packed_moments` has packed, by crop.

    Raises:
        ValueError, KeyError, TypeError, SafetensorError: it is not what was packed.
    """
    length = int.from_bytes(content[:8], "little")
    crops = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["crops"])
    tensors = safetensors.numpy.load(content)
    return {crop: FoldedMoments.from_arrays(f"{number}/", tensors) for number, crop in enumerate(crops)}
