"""One training as one transaction: validate, keep, fit, score, gate, publish, activate.

Runs in a process that does not serve. The order of the writes is what makes it safe: the version's file (which nothing
refers to yet), then the commit of the observations, then the line of the log. Whatever fails before that line leaves
the live model and the stored observations as they were.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from app.data.harvest import Harvest
from app.data.observations import Batch, Observations, Transaction
from app.data.table_file import TableFile
from app.data.tables import Table
from app.errors import NotReady, OrchardError, RetrainRunning, StoreUnavailable
from app.model import scores
from app.model.folds import FoldedMoments
from app.model.moments import Array
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from app.training import review
from app.training.candidate import Candidate, Rows
from app.training.order import Order, PackedTable
from app.training.report import Changes, Report, SuspiciousYield

Progress = Callable[[str, int, int, float | None], None]
"""Called with (stage, epoch, epochs at most, loss in tons² or None)."""


def _silent(stage: str, epoch: int, epochs: int, loss: float | None) -> None:
    """Progress for nobody."""


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """A training's report, and what a caller in the same process may want to show.

    The version and the rows with predictions.
    """

    report: Report
    version: Version
    predictions: tuple[Array, Array] | None
    """Targets and the tutorial recipe's predictions beside them, shape (n, crops), tons."""


class Job:
    """Trainings on one model store and one observation table."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry(Objects(settings.model_store))
        self._observations = Observations(settings.database)
        self._lock = settings.model_store / "retrain.lock"

    def run(self, order: Order, progress: Progress = _silent) -> Outcome:
        """Carry out one order.

        Raises:
            RetrainRunning: another training is at work on this store.
            InvalidInput, TooFewRows, Diverged: the rows or the recipe cannot be fitted.
            KeyReused: the idempotency key belongs to another request.
            StoreUnavailable: a write failed.
            After any of them the live model and the stored observations are as they were.
        """
        with _alone(self._lock):
            with self._observations.transaction() as transaction:
                earlier = transaction.answer(order.key, order.digest) if order.key else None
            if earlier is not None:
                return self._resumed(Report.model_validate_json(earlier), order)
            return self._train(order, progress)

    def close(self) -> None:
        """Close the database."""
        self._observations.close()

    def _resumed(self, report: Report, order: Order) -> Outcome:
        """Finish what a crash between commit and activation has left open, and repeat the answer."""
        assert report.version is not None  # noqa: S101 - the answer of a dry run is not kept
        if report.activated:
            lines = self._registry.log(limit=self._registry.last_number() or 1)
            if all(line.version != report.version for line in lines):
                self._registry.activate(report.version, order.who, order.note)
        return Outcome(report, self._registry.read(report.version), None)

    def _train(self, order: Order, progress: Progress) -> Outcome:
        published: str | None = None
        live = self._live()
        harvest, found = _read(order, live, progress)
        try:
            with self._observations.transaction() as transaction:
                progress("storing", 0, 0, None)
                kept = _Kept.by(order, harvest, transaction)
                attempt = _Attempt.of(order, harvest, found, kept, live, transaction, progress)
                if order.dry_run:
                    raise _DryRun(attempt.outcome(None))  # noqa: TRY301 - leaves the transaction
                if not attempt.wanted:
                    kept.undo(transaction, f"its training was rejected: {attempt.verdict.failed[0]}")
                progress("publishing", 0, 0, None)
                published = self._registry.publish(attempt.version)
                outcome = attempt.outcome(published)
                if order.key:
                    transaction.keep_answer(order.key, order.digest, outcome.report.model_dump_json())
        except _DryRun as stop:
            return stop.outcome
        except BaseException:
            if published is not None:
                self._registry.discard(published)
            raise
        if outcome.report.activated:
            progress("activating", 0, 0, None)
            self._activate(published, attempt)
        return outcome

    def _activate(self, version: str, attempt: "_Attempt") -> None:
        order = attempt.order
        why = order.note
        if attempt.verdict.failed:
            why = f"{why} (activated although the gate rejects it: {attempt.verdict.failed[0]})".strip()
        try:
            self._registry.activate(version, order.who, why)
        except OrchardError:
            with self._observations.transaction() as transaction:
                attempt.kept.undo(transaction, "its training could not be completed")
                if order.key:
                    transaction.forget_answer(order.key)
            self._registry.discard(version)
            raise

    def _live(self) -> "_Live | None":
        try:
            line, version, _ = self._registry.live()
        except NotReady:
            return None
        return _Live(line.version, version)


@dataclass(frozen=True, eq=False, slots=True)
class _Live:
    """The version that is live while a training runs."""

    number: str
    version: Version

    def current(self) -> scores.Current:
        recorded = {name: crop.out_of_fold.rmse for name, crop in self.version.card.crops.items()}
        return scores.Current(self.version.model, recorded)


def _read(order: Order, live: _Live | None, progress: Progress) -> tuple[Harvest | None, list[SuspiciousYield]]:
    """Take in what comes with an order, before any lock on the database is held, and look for suspicious rows."""
    if order.table is None:
        return None, []
    source = order.table.unpacked() if isinstance(order.table, PackedTable) else order.table
    found: list[SuspiciousYield] = []

    def look(part: Table, first_row: int) -> None:
        if isinstance(source, TableFile):
            progress("reading", first_row, 0, None)
        if live is not None and len(found) < review.MOST_LISTED:
            found.extend(review.suspicious(part, live.version.model, first_row))

    return Harvest.of(source, look), found[: review.MOST_LISTED]


class _DryRun(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the store's training lock, which the system releases when its owner dies."""
    lock = filelock.FileLock(path, timeout=0, preserve_lock_file=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise RetrainRunning("another training is running on this model store: try again when it is done") from error
    except OSError as error:
        raise StoreUnavailable(f"the model store cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Kept:
    """The batches to train on, and what was changed in the table to get there."""

    batches: list[Batch]
    added: list[Batch]
    replaced: list[Batch]

    @classmethod
    def by(cls, order: Order, harvest: Harvest | None, transaction: Transaction) -> "_Kept":
        """Store what came with the order; where it is to stand alone, withdraw the other batches."""
        if harvest is None:
            return cls(transaction.active(), [], [])
        if not order.alone:
            new = transaction.add(harvest, source=order.source, note=order.note, who=order.who)
            return cls(transaction.active(), [new], [])
        known = transaction.find(harvest.digest)
        batch = known or transaction.add(harvest, source=order.source, note=order.note, who=order.who)
        others = [other for other in transaction.active() if other.id != batch.id]
        for other in others:
            transaction.withdraw(other.id, f"replaced by training on {order.source} alone")
        added = [batch] if known is None or known.withdrawn else []
        return cls([transaction.restore(batch.id)], added, others)

    def undo(self, transaction: Transaction, why: str) -> None:
        """Take the changes back: what was added is kept, but withdrawn from training."""
        for batch in self.added:
            transaction.withdraw(batch.id, why)
        for batch in self.replaced:
            transaction.restore(batch.id)

    def rows(self, transaction: Transaction, live: _Live | None) -> Rows:
        """Return the moments of the rows to train on, split into what the live model has learned and has not."""
        learned = set(live.version.card.batches) if live is not None else set()
        old = transaction.moments(batch for batch in self.batches if batch.id in learned)
        new = transaction.moments(batch for batch in self.batches if batch.id not in learned)
        return Rows(_merged(old), _merged(new))


def _merged(parts: dict[str, list[FoldedMoments]]) -> dict[str, FoldedMoments]:
    return {crop: FoldedMoments.merge(moments) for crop, moments in parts.items()}


@dataclass(frozen=True, eq=False, slots=True)
class _Attempt:
    """A candidate with the gate's verdict and the report on it."""

    order: Order
    suspicious: list[SuspiciousYield]
    kept: _Kept
    live: _Live | None
    candidate: Candidate
    verdict: scores.Verdict
    version: Version
    changes: Changes | None

    @classmethod
    def of(
        cls,
        order: Order,
        harvest: Harvest | None,
        found: list[SuspiciousYield],
        kept: _Kept,
        live: _Live | None,
        transaction: Transaction,
        progress: Progress,
    ) -> "_Attempt":
        """Fit and judge a candidate."""
        rows = kept.rows(transaction, live)
        candidate = Candidate.of(order, harvest, rows, lambda *epoch: progress("fitting", *epoch))
        progress("scoring", 0, 0, None)
        current = live.current() if live is not None else None
        moments = candidate.moments
        verdict = scores.judge(candidate.fit, moments, rows.old, rows.new, current, may_drop=order.alone)
        version = candidate.version(order, harvest, kept.batches, live.number if live is not None else None, verdict)
        changes = None
        if order.dry_run:
            before = live.version.model if live is not None else None
            changes = review.changes(before, version.model, transaction.region_means(kept.batches))
        return cls(order, found, kept, live, candidate, verdict, version, changes)

    @property
    def wanted(self) -> bool:
        """Whether the rows that came with it stay in training."""
        return self.verdict.accepted or self.order.activate == "always"

    def outcome(self, published: str | None) -> Outcome:
        """Return the report under the version's number, None if it was not published."""
        card, order = self.version.card, self.order
        report = Report(
            version=published,
            batch=self.kept.added[0].id if self.kept.added and not order.dry_run else None,
            decision=card.decision,
            activated=published is not None and self.wanted and order.activate != "never",
            reasons=card.reasons,
            dry_run=order.dry_run,
            rows=card.rows,
            fit=card.fit,
            scores=card.scores,
            suspicious=self.suspicious,
            left_out=card.left_out,
            changes=self.changes,
        )
        return Outcome(report, self.version, self.candidate.predictions)
