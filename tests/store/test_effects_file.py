"""Versions with effects of regions and seasons: whole after a file, damage is found, and no program misreads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from app.errors import StoreDamaged, StoreTooNew
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import REGIONS, Version
from tests.running import copy_store

Tensors = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def content(panel: Path) -> bytes:
    """Return a version's file."""
    return (panel / "versions" / "1.safetensors").read_bytes()


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def test_a_version_survives_its_file(content: bytes) -> None:
    """Effects, regions and card come back to the bit; only crops that have effects bring any."""
    version = Version.from_bytes(content)
    again = Version.from_bytes(version.to_bytes())
    assert again.card == version.card
    assert again.regions == version.regions == tuple("ABCDEFGHI")
    assert list(again.effects) == list(version.effects) == ["mango", "orange"]
    for crop, effects in version.effects.items():
        arrays = again.effects[crop].to_arrays("")
        assert {name: array.tobytes() for name, array in effects.to_arrays("").items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
    assert [crop.effects is not None for crop in again.model.crops] == [True, True, False]


def test_names_of_any_script_survive(content: bytes) -> None:
    """With quotes and signs beyond the first plane."""
    version = Version.from_bytes(content)
    regions = ('"', "a\\b", "東", "\U0001f33d", *version.regions[4:])
    named = Version(version.card, version.weights, version.intercepts, version.moments, version.effects, regions)
    assert Version.from_bytes(named.to_bytes()).model.regions == regions


def test_every_damaged_byte_is_found(content: bytes) -> None:
    """Whichever byte of the file is changed: of the tensors, none may be another."""
    version = Version.from_bytes(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(0, header, 97), *range(header, len(content), 29), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        try:
            found = Version.from_bytes(bytes(damaged))
        except StoreDamaged:
            continue
        # White space in the header's padding is the only thing that may differ.
        assert place < header
        assert (found.card, found.regions, list(found.effects)) == (version.card, version.regions, ["mango", "orange"])


def _without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {other: array for other, array in tensors.items() if other != name}


SPOILT: dict[str, Callable[[Tensors], Tensors]] = {
    "an array of effects is missing": _without("effects/0/offset"),
    "a crop's effects are of more regions": lambda tensors: (
        tensors | {"effects/1/rows": np.append(tensors["effects/1/rows"], 0.0)}
    ),
    "a region has no name": lambda tensors: tensors | {REGIONS: np.frombuffer(b'["A"]', np.uint8)},
    "the names are no JSON": lambda tensors: tensors | {REGIONS: np.frombuffer(b'["A"', np.uint8)},
    "the names are no list": lambda tensors: tensors | {REGIONS: np.frombuffer(b"7", np.uint8)},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_does_not_belong_together_is_damaged(content: bytes, spoilt: str) -> None:
    """Even where no checksum is looked at: it is the store's error, and none of the program."""
    tensors = SPOILT[spoilt](safetensors.numpy.load(content))
    with pytest.raises(StoreDamaged, match="it cannot be read"):
        Version.from_bytes(safetensors.numpy.save(tensors, _metadata(content)), verified=True)


@pytest.mark.parametrize("name", [REGIONS, "effects/0/numbers", "effects/1/numbers"])
def test_effects_do_not_get_lost(content: bytes, name: str) -> None:
    """Without the names, or what says that a crop has effects, the checksum is wrong."""
    tensors = _without(name)(safetensors.numpy.load(content))
    with pytest.raises(StoreDamaged):
        Version.from_bytes(safetensors.numpy.save(tensors, _metadata(content)))


def test_the_format_says_what_is_in_it(content: bytes, trained: Path) -> None:
    """3 with effects, which earlier programs refuse; 2 without, which they read."""
    assert _metadata(content)["format"] == "3"
    plain = (trained / "versions" / "1.safetensors").read_bytes()
    assert _metadata(plain)["format"] == "2"
    assert _metadata(Version.from_bytes(plain).to_bytes()) == _metadata(plain)
    without = Version.from_bytes(content)
    common = Version(without.card, without.weights, without.intercepts, without.moments)
    assert _metadata(common.to_bytes())["format"] == "2"


def test_a_later_format_is_refused(content: bytes, panel: Path, tmp_path: Path) -> None:
    """Not guessed at: the message says what this program reads, and what to install."""
    later = content.replace(b'"format":"3"', b'"format":"4"')
    message = r"newer version of Orchard \(format 4; this one reads up to 3\): install that version"
    with pytest.raises(StoreTooNew, match=message):
        Version.from_bytes(later)
    store = copy_store(panel, tmp_path / "store")
    (store / "versions" / "1.safetensors").write_bytes(later)
    with pytest.raises(StoreTooNew, match=message):
        Registry(Objects(store)).read("1")
