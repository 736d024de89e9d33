"""What is kept with a batch, compared with its hash and unpacked: moments, cells, record."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from safetensors import SafetensorError

from app.data import stored
from app.data.packed import unpacked_moments
from app.errors import StoreDamaged
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.sketch import Sketch

Content = TypeVar("Content")


def checked_moments(row: Any) -> dict[str, FoldedMoments]:
    """Return a batch's moments; version 0.1.0 has kept no hash of them."""
    sha256 = hashlib.sha256(row.moments).hexdigest() if row.moments_sha256 is None else row.moments_sha256
    return _checked(f"the moments of batch {row.id} are", row.moments, sha256, unpacked_moments)


def checked_cells(row: Any) -> dict[str, Cells]:
    """Return a batch's cells, none where it has none."""
    if row.cells is None and row.cells_sha256 is None:
        return {}
    return _checked(f"the cells of batch {row.id} are", row.cells, row.cells_sha256, stored.unpacked_cells)


def checked_record(row: Any) -> dict[str, Sketch] | None:
    """Return a batch's record, None where it has none."""
    if row.record is None and row.record_sha256 is None:
        return None
    return _checked(f"the record of batch {row.id} is", row.record, row.record_sha256, stored.unpacked_record)


def _checked(what: str, packed: bytes | None, sha256: str | None, unpack: Callable[[bytes], Content]) -> Content:
    """Return what was packed.

    Raises:
        StoreDamaged: it is not what was written.
    """
    damaged = f"{what} damaged in the database"
    if packed is None or sha256 != hashlib.sha256(packed).hexdigest():
        raise StoreDamaged(f"{damaged}: not what was written; withdraw the batch, or restore the database")
    try:
        return unpack(packed)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreDamaged(f"{damaged}: it cannot be read") from error
