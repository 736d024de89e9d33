"""The records of the batches that are trained on, also of those that were stored before records were kept."""

import logging
from dataclasses import dataclass
from typing import Self

from app.data.observations import Batch, Transaction
from app.errors import StoreDamaged
from app.model.sketch import Sketch
from app.store.registry import Registry
from app.training.arrivals import Arrivals
from app.training.asked import record_of

logger = logging.getLogger("orchard.training")


@dataclass(frozen=True, eq=False, slots=True)
class BatchRecords:
    """What batches' yields were predicted as before they were known: ``by_batch``, by its id, and crop.

    ``found``: the stored batches of which nobody has asked before. What is damaged may be restored: of a batch that it
    leaves without a record the next training asks again.
    """

    by_batch: dict[str, dict[str, Sketch]]
    found: list[str]

    @classmethod
    def of(
        cls,
        batches: list[Batch],
        new: Batch | None,
        coming: dict[str, Sketch],
        transaction: Transaction,
        registry: Registry,
    ) -> Self:
        """Read them; where one has none, ask the version that was live when the batch came.

        ``new``: the batch that comes with the training, of which ``coming`` says what the live version would have said.
        """
        stored = [batch for batch in batches if batch is not new]
        known = transaction.records(stored)
        missing = [batch for batch in stored if known[batch.id] is None]
        asking = _Asking({batch.id for batch in stored}, registry) if missing else None
        by_batch: dict[str, dict[str, Sketch]] = {}
        found = []
        for batch in stored:
            record = known[batch.id]
            if record is None and asking is not None:
                record = asking.record(batch, transaction)
                found += [batch.id] if record is not None else []
            by_batch[batch.id] = record or {}
        if new is not None:
            by_batch[new.id] = coming
        return cls(by_batch, found)

    def merged(self) -> dict[str, Sketch]:
        """Return the record of all the batches, by crop."""
        crops = dict.fromkeys(crop for record in self.by_batch.values() for crop in record)
        return {
            crop: Sketch.merge(record[crop] for record in self.by_batch.values() if crop in record) for crop in crops
        }


class _Asking:
    """Asks the versions that were live when batches came, from the log."""

    def __init__(self, used: set[str], registry: Registry) -> None:
        """``used``: the batches that are trained on."""
        self._used = used
        self._arrivals = Arrivals(registry)

    def record(self, batch: Batch, transaction: Transaction) -> dict[str, Sketch] | None:
        """Return what the version that was live would have said; nothing where there was none, or none that could.

        None where it cannot be said now, since something is damaged.
        """
        line = self._arrivals.line(batch)
        if line is None:
            return {}
        version = self._arrivals.version(line)
        if version is None:
            return None
        if not self._arrivals.is_news(batch, line, version) or self._used.isdisjoint(version.card.batches):
            return {}  # a version that has learned other rows alone was not asked to predict these
        try:
            return record_of(transaction.tables(batch), version.model)
        except StoreDamaged as error:
            logger.warning("what was predicted of batch %s is not known: %s", batch.id, error.detail)
            return None
