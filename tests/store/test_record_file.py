"""Versions with a record: whole after a file, damage is found, and nothing of it gets lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from app.errors import StoreDamaged
from app.store.version import Version

Tensors = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def content(recorded: Path) -> bytes:
    """Return a version's file."""
    return (recorded / "versions" / "2.safetensors").read_bytes()


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def test_a_record_survives_its_file(content: bytes) -> None:
    """To the bit, and so does what it makes of intervals."""
    version = Version.from_bytes(content)
    again = Version.from_bytes(version.to_bytes())
    assert list(again.records) == list(version.records) == ["mango", "orange", "pear"]
    for crop, sketch in version.records.items():
        assert again.records[crop].seasons == sketch.seasons == ("2005", "2006", "2007")
        arrays = again.records[crop].to_arrays("")
        assert {name: array.tobytes() for name, array in sketch.to_arrays("").items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
    for served in version.model.crops:
        held = version.card.record[served.crop].levels
        assert {level: served.widening(float(level)) for level in held} == {
            level: said.widening for level, said in held.items()
        }


def test_every_damaged_byte_is_found(content: bytes) -> None:
    """Whichever byte of the file is changed: of the tensors, none may be another."""
    version = Version.from_bytes(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(0, header, 197), *range(header, len(content), 29), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        try:
            found = Version.from_bytes(bytes(damaged))
        except StoreDamaged:
            continue
        # White space in the header's padding is the only thing that may differ.
        assert place < header
        assert (found.card, list(found.records)) == (version.card, list(version.records))


def _without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {other: array for other, array in tensors.items() if other != name}


SPOILT: dict[str, Callable[[Tensors], Tensors]] = {
    "an array is missing": _without("record/0/bins"),
    "a season has no name": lambda tensors: tensors | {"record/1/seasons": np.frombuffer(b'["2005"]', np.uint8)},
    "the names are no JSON": lambda tensors: tensors | {"record/1/seasons": np.frombuffer(b'["2005"', np.uint8)},
    "the names are no list": lambda tensors: tensors | {"record/1/seasons": np.frombuffer(b"7", np.uint8)},
    "a row is in no bin": lambda tensors: tensors | {"record/2/count": tensors["record/2/count"] + 1.0},
    "a number is none": lambda tensors: tensors | {"record/2/total": tensors["record/2/total"] * np.nan},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_does_not_belong_together_is_damaged(content: bytes, spoilt: str) -> None:
    """Even where no checksum is looked at: it is the store's error, and none of the program."""
    tensors = SPOILT[spoilt](safetensors.numpy.load(content))
    with pytest.raises(StoreDamaged, match="it cannot be read"):
        Version.from_bytes(safetensors.numpy.save(tensors, _metadata(content)), verified=True)


@pytest.mark.parametrize("name", ["record/0/seasons", "record/2/bins", "record/1/within_80"])
def test_a_record_does_not_get_lost(content: bytes, name: str) -> None:
    """Without the names of its seasons, which say that a crop has one, the checksum is wrong."""
    tensors = _without(name)(safetensors.numpy.load(content))
    with pytest.raises(StoreDamaged):
        Version.from_bytes(safetensors.numpy.save(tensors, _metadata(content)))


def test_the_format_says_that_there_is_one(content: bytes) -> None:
    """Programs that do not know of records would answer with narrower intervals: they refuse it."""
    version = Version.from_bytes(content)
    fields = (version.card, version.weights, version.intercepts, version.moments)
    alone = Version(*fields, records=version.records)
    assert _metadata(alone.to_bytes())["format"] == "3"
    assert _metadata(Version(*fields).to_bytes())["format"] == "2"
    assert list(Version.from_bytes(alone.to_bytes()).records) == ["mango", "orange", "pear"]
