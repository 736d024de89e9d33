"""Pairs of the basis "arrival": yields, and what the version that was live said of the weather reported with them.

Nothing need have been recorded for that: versions and the activation log never change.
"""

import logging
from typing import TYPE_CHECKING

from app.data.observations import ORCHARD
from app.errors import StoreDamaged
from app.model.slips import lacked
from app.model.sums import Sums
from app.serving.groups import Key, Keyed, Scores, Value
from app.training.arrivals import Arrivals, Arrived, arrived

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.data.observations import Batch, Observations, Transaction
    from app.data.tables import Table
    from app.store.registry import Registry
    from app.store.version import Version

logger = logging.getLogger("orchard")


def read(scores: Scores, registry: "Registry", observations: "Observations") -> None:
    """Count in the rows of all batches that are in use, and of those that were set aside.

    Raises:
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    arrivals = Arrivals(registry, observations.ids_at)
    with observations.reading() as transaction:
        batches = transaction.all()
    for batch in batches:
        set_aside = batch.withdrawn is not None and batch.withdrawn_by == ORCHARD
        if batch.withdrawn is not None and not set_aside:
            continue
        line = arrivals.line(batch)
        if line is None:
            continue
        version = arrivals.version(line)
        if version is None:
            scores.left_out.unreadable += batch.rows
        elif not arrivals.is_news(batch, line, version):
            scores.left_out.learned += batch.rows
        else:
            with observations.reading() as transaction:
                _read(scores, batch, line.version, version, transaction)


def _read(scores: Scores, batch: "Batch", number: str, version: "Version", transaction: "Transaction") -> None:
    try:
        rows = 0
        for table in transaction.tables(batch):
            rows += len(table)
            for of in arrived(table, version.model):
                scores.add(_keyed(table, of, number, scores, set_aside=batch.withdrawn is not None))
        if not rows:
            _read_moments(scores, batch, number, version, transaction)
    except StoreDamaged as error:
        logger.warning("what was predicted of batch %s is not known: %s", batch.id, error.detail)
        scores.left_out.unreadable += batch.rows


def _read_moments(scores: Scores, batch: "Batch", number: str, version: "Version", transaction: "Transaction") -> None:
    """Count in a batch whose rows are not stored: a line's squared error on them is a function of their moments."""
    moments = transaction.moments([batch])
    for crop in version.model.crops:
        rows = moments.get(crop.crop)
        if rows is not None and not lacked(crop, rows.total):
            sums = Sums.of_moments(crop, rows.total)
            scores.add_sums({"version": number}, set_aside=batch.withdrawn is not None, crop=crop.crop, sums=sums)


def _keyed(table: "Table", of: Arrived, number: str, scores: Scores, *, set_aside: bool) -> Keyed:
    """Return a crop's pairs with the keys that are asked for."""
    keys: dict[Key, Sequence[Value] | Value] = {"version": number, "extrapolated": of.extrapolated.tolist()}
    if "region" in scores.by:
        keys["region"] = [table.regions[row] or None for row in of.rows.tolist()]
    if "season" in scores.by:
        keys["season"] = list(of.seasons)
    return Keyed(of.crop, set_aside, keys, of.seasons, of.pairs)
