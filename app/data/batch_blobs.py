"""What is kept with a batch, compared with its hash and unpacked: moments, cells, record."""

import hashlib
from typing import Any

from safetensors import SafetensorError

from app.data import stored
from app.data.packed import unpacked_moments
from app.errors import StoreDamaged
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.sketch import Sketch


def checked_moments(row: Any) -> dict[str, FoldedMoments]:
    """Return a batch's moments."""
    damaged = f"the moments of batch {row.id} are damaged in the database"
    if row.moments_sha256 not in (None, hashlib.sha256(row.moments).hexdigest()):
        raise StoreDamaged(f"{damaged}: they are not what was written; withdraw the batch, or restore the database")
    try:
        return unpacked_moments(row.moments)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreDamaged(f"{damaged}: they cannot be read") from error


def checked_cells(row: Any) -> dict[str, Cells]:
    """Return a batch's cells, none where it has none."""
    if row.cells is None and row.cells_sha256 is None:
        return {}
    damaged = f"the cells of batch {row.id} are damaged in the database"
    if row.cells is None or row.cells_sha256 != hashlib.sha256(row.cells).hexdigest():
        raise StoreDamaged(f"{damaged}: they are not what was written; withdraw the batch, or restore the database")
    try:
        return stored.unpacked_cells(row.cells)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreDamaged(f"{damaged}: they cannot be read") from error


def checked_record(row: Any) -> dict[str, Sketch] | None:
    """Return a batch's record, None where it has none."""
    if row.record is None and row.record_sha256 is None:
        return None
    damaged = f"the record of batch {row.id} is damaged in the database"
    if row.record is None or row.record_sha256 != hashlib.sha256(row.record).hexdigest():
        raise StoreDamaged(f"{damaged}: it is not what was written; withdraw the batch, or restore the database")
    try:
        return stored.unpacked_record(row.record)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreDamaged(f"{damaged}: it cannot be read") from error
