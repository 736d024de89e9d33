"""The records of the batches that are trained on, also of those that were stored before records were kept."""

import logging
from dataclasses import dataclass
from typing import Self

from app.data.merged import by_crop
from app.data.observations import Batch, Transaction
from app.data.ranges import Ranges
from app.data.rollups import InUse
from app.errors import StoreDamaged
from app.model.sketch import Sketch
from app.store.line import LogLine
from app.store.registry import Registry
from app.store.version import Version
from app.training.arrivals import Arrivals
from app.training.asked import record_of

logger = logging.getLogger("orchard.training")


@dataclass(frozen=True, eq=False, slots=True)
class BatchRecords:
    """What batches' yields were predicted as before they were known.

    ``known``: the record of stored batches, part by part, by crop. ``found``: of those of them that nobody has asked
    of before, by id. ``coming``: of the batch that comes. ``many_seasons``: crops that have too many. What is damaged
    may be restored: of a batch that it leaves without a record the next training asks again.
    """

    known: list[dict[str, Sketch]]
    found: dict[str, dict[str, Sketch]]
    coming: dict[str, Sketch]
    many_seasons: tuple[str, ...]

    @classmethod
    def of(
        cls,
        in_use: InUse,
        new: Batch | None,
        coming: dict[str, Sketch],
        transaction: Transaction,
        registry: Registry,
    ) -> Self:
        """Read them; where one has none, ask the version that was live when the batch came.

        ``new``: the batch that comes with the training, of which ``coming`` says what the live version would have said.
        """
        run = in_use.run
        found = _Asking(in_use, transaction, registry).records() if run.unasked else {}
        known = []
        for part in in_use.parts:  # in the order in which they came
            known += [part.merged.record, *(found[name] for name in part.merged.run.unasked if name in found)]
        return cls(known, found, coming if new is not None else {}, run.many_seasons)

    def merged(self) -> dict[str, Sketch]:
        """Return the record of all the batches, by crop."""
        whole = {crop: Sketch.merge(parts) for crop, parts in by_crop([*self.known, self.coming])}
        return {
            crop: record.without_seasons() if crop in self.many_seasons else record for crop, record in whole.items()
        }


class _Asking:
    """Asks the versions that were live when batches came, from the log."""

    def __init__(self, in_use: InUse, transaction: Transaction, registry: Registry) -> None:
        """``in_use``: the batches that are trained on."""
        self._unasked = in_use.run.unasked
        self._used = Ranges(in_use.run.ranges)
        self._transaction = transaction
        self._arrivals = Arrivals(registry, transaction.ids_at)
        self._share: dict[str, bool] = {}

    def records(self) -> dict[str, dict[str, Sketch]]:
        """Return what can be said of the batches that nobody has asked of before, by id."""
        asked = ((batch.id, self._record(batch)) for batch in self._transaction.named(self._unasked))
        return {name: record for name, record in asked if record is not None}

    def _record(self, batch: Batch) -> dict[str, Sketch] | None:
        """Return what the version that was live would have said; nothing where there was none, or none that could.

        None where it cannot be said now, since something is damaged.
        """
        line = self._arrivals.line(batch)
        if line is None:
            return {}
        version = self._arrivals.version(line)
        if version is None:
            return None
        if not self._arrivals.is_news(batch, line, version) or not self._shares(line, version):
            return {}  # a version that has learned other rows alone was not asked to predict these
        try:
            return record_of(self._transaction.tables(batch), version.model)
        except StoreDamaged as error:
            logger.warning("what was predicted of batch %s is not known: %s", batch.id, error.detail)
            return None

    def _shares(self, line: LogLine, version: Version) -> bool:
        """Say whether a version has learned any of the batches that are trained on."""
        if line.sha256 not in self._share:
            learned = self._arrivals.learned(line, version)
            named = self._transaction.rollups.sequences(learned.ids)
            ranges = any(self._used.touch(*part) for part in learned.ranges)
            self._share[line.sha256] = ranges or any(sequence in self._used for sequence in named)
        return self._share[line.sha256]
