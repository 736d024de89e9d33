"""One training as one transaction: validate, fit, score, gate, publish, keep, activate.

Runs in a process that does not serve. The order of the writes is what makes it safe: the version's file (which nothing
refers to yet), then the rows, the answer and what is still to be done (`app.training.pending`) in one transaction of
the database, then the line of the log. No lock of the database is held while it fits. See ARCHITECTURE.md,
"The end of a transaction".
"""

import logging
from dataclasses import dataclass

import numpy as np

from app.data.harvest import Harvest, single_cells
from app.data.learned import NOTHING, marked
from app.data.merged import Merged, by_crop
from app.data.observations import ORCHARD, Batch, Observations, Transaction
from app.data.region_means import RegionMean
from app.data.rollups import InUse
from app.data.spark import Spark
from app.data.table_file import TableFile
from app.data.tables import Table
from app.errors import NotFound, NotReady, OrchardError, RetrainRunning, StoreDamaged, Unconfirmed
from app.model import scores
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.moments import Array
from app.model.progress import Progress, Step, no_progress
from app.settings import Settings
from app.store.card import StoredBatches
from app.store.objects import open_store
from app.store.registry import Overtaken, Published, Registry
from app.store.version import Version
from app.training import repeats, review
from app.training.batch_records import BatchRecords
from app.training.candidate import Candidate, Taken, TrainingMoments
from app.training.learned import learned_by
from app.training.lock import alone
from app.training.order import Order, PackedTable, Recipe
from app.training.pending import Pending, ours, settle
from app.training.report import NOTHING_NEW, Changes, Report, SuspiciousYield
from app.training.seen import Seen

MOST_ATTEMPTS = 5
"""How often a training is tried where another version is made live while it is at work."""
EXACT_ATTEMPTS = 2
"""So often it begins again whoever has made one live; then only where another training has."""
LINES = 100
"""Lines of the log that are looked through at a time."""

logger = logging.getLogger("orchard.training")


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
        self._settings = settings
        self._registry = Registry(open_store(settings))
        self._observations = Observations(settings.database)

    def run(self, order: Order, progress: Progress = no_progress) -> Outcome:
        """Carry out one order.

        Raises:
            RetrainRunning: another training is at work on this store.
            InvalidInput, TooFewRows, Diverged: the rows or the recipe cannot be fitted.
            KeyReused: the idempotency key belongs to another request.
            StoreUnavailable: a write failed.
            StoreDamaged: what is stored is not what was written.
            After any of them the live model and the stored observations are as they were.
            Unconfirmed: the training may have been carried out; its key tells.
        """
        with alone(self._settings, self._observations):
            taken: _Taken | None = None
            for number in range(MOST_ATTEMPTS):
                settle(self._registry, self._observations)
                try:
                    if (earlier := self._repeated(order)) is not None:
                        return earlier
                    after = self._registry.last_number()  # before the live version: whatever comes since is behind it
                    live = self._live()
                    # What stands for all that was learned before is read once: it is not compared with what was live.
                    taken = taken if taken is not None and order.alone else _Taken.of(order, live, progress)
                    behind = _Behind(after, passes=number >= EXACT_ATTEMPTS)
                    return self._train(taken, live, behind, progress)
                except Overtaken as error:
                    logger.warning("a training was overtaken, and begins again: %s", error.detail)
            raise RetrainRunning(f"{MOST_ATTEMPTS} other trainings were done while this one was at work: try again")

    def close(self) -> None:
        """Close the database."""
        self._observations.close()

    def _repeated(self, order: Order) -> Outcome | None:
        """Repeat the answer that was given under the order's key, None where there is none, or it is taken back.

        Raises:
            Overtaken: its training is being completed.
        """
        if order.once is None:
            return None
        with self._observations.reading() as transaction:
            earlier = transaction.answer(order.once)
            if earlier is None:
                return None
            if ours(transaction.trainings(), self._registry):
                raise Overtaken("another training is being completed")
        report = Report.model_validate_json(earlier.body, extra="ignore")
        assert report.version is not None  # noqa: S101 - the answer of a dry run is not kept
        try:
            version = self._registry.read(report.version, earlier.version_sha256)
        except (NotFound, StoreDamaged) as error:
            raise StoreDamaged(f"the call under this key made version {report.version}: {error.detail}") from error
        # Version 0.1.0 noted nothing of what was still to be done; and a log may be restored from an older copy.
        if report.activated and not self._was_live(report.version):
            live = self._live()
            if version.card.parent != (live.number if live is not None else None):
                self._take_back(report, order)
                return None
            self._registry.activate(
                report.version, order.provenance.who, order.provenance.note, sha256=earlier.version_sha256
            )
        return Outcome(report, version, None)

    def _was_live(self, version: str) -> bool:
        before = None  # the newest lines first: a call is mostly repeated soon
        while lines := self._registry.log(LINES, before).lines:
            if any(line.version == version for line in lines):
                return True
            before = lines[-1].number
        return False

    def _take_back(self, report: Report, order: Order) -> None:
        assert order.once is not None  # noqa: S101 - an answer was found under its key
        with self._observations.transaction() as transaction:
            if report.batch is not None:
                transaction.withdraw(report.batch, ORCHARD, "another version was made live before that of its training")
            transaction.forget_answer(order.once.key)

    def _train(self, taken: "_Taken", live: "_Live | None", behind: "_Behind", progress: Progress) -> Outcome:
        """Make one attempt, judged against ``live``.

        Raises:
            Overtaken: another version was made live since. Nothing is left of the attempt.
        """
        order, harvest, seen = taken.order, taken.harvest, taken.seen
        if not (order.dry_run or order.alone):  # which reads no other batch
            self._observations.roll_up()
        with self._observations.reading() as transaction:
            if ours(transaction.trainings(), self._registry):
                raise Overtaken("another training is being completed")
            stock = _Stock.of(order, harvest, transaction, live)
            for batch in stock.unlearned:
                for table in transaction.tables(batch):
                    seen.stored(table)
            coming = seen.record.by_crop() if stock.is_news else {}
            record = BatchRecords.of(stock.in_use, stock.new, coming, transaction, self._registry)
        attempt = _Attempt.of(order, harvest, seen, stock, record, live, progress)
        if live is not None and attempt.repeats(live):
            return self._unchanged(attempt, live)
        if order.dry_run:
            return attempt.outcome(None)
        progress(Step("publishing"))
        published = self._registry.publish(attempt.version)
        try:
            progress(Step("storing"))
            pending = self._stored(attempt, published, behind)
        except Unconfirmed:
            raise  # the database may name the version
        except BaseException:
            self._registry.discard(published.version)
            raise
        if pending is not None:
            progress(Step("activating"))
            self._activate(pending)
        return attempt.outcome(published.version)

    def _unchanged(self, attempt: "_Attempt", live: "_Live") -> Outcome:
        """Make no version: the live one is what would come of it. An answer under a key is kept all the same."""
        order, changed = attempt.order, {"activated": False, "reasons": [NOTHING_NEW.format(live.number)]}
        report = attempt.outcome(None if order.dry_run else live.number).report.model_copy(update=changed)
        if order.once is not None and not order.dry_run:
            with self._observations.transaction() as transaction:
                transaction.keep_answer(order.once, report.model_dump_json(), live.sha256)
        return Outcome(report, live.version, None)

    def _stored(self, attempt: "_Attempt", published: Published, behind: "_Behind") -> Pending | None:
        """Commit the rows, the answer, and what is still to be done, which is returned.

        Raises:
            Overtaken: another training is doing that, or has done it, since this one was judged.
        """
        order, outcome = attempt.order, attempt.outcome(published.version)
        with self._observations.transaction() as transaction:
            transaction.hold_training()
            if ours(transaction.trainings(), self._registry):
                raise Overtaken("another training was done first")
            after = behind.last(self._registry)
            added, replaced = attempt.store(transaction)
            if order.once is not None:
                transaction.keep_answer(order.once, outcome.report.model_dump_json(), published.sha256)
            if not outcome.report.activated:
                return None
            pending = Pending(
                version=published.version,
                sha256=published.sha256,
                after=after,
                who=order.provenance.who,
                note=attempt.note,
                added=added,
                replaced=replaced,
                key=order.once.key if order.once is not None else None,
            )
            pending.write(transaction)
        return pending

    def _activate(self, pending: Pending) -> None:
        try:
            pending.activate(self._registry, self._observations)
        except Unconfirmed:
            raise  # the line may still land: whoever trains or starts next looks for it
        except OrchardError as error:
            try:
                is_undone = pending.undo(self._registry, self._observations, "its training could not be completed")
                if not is_undone and pending.was_made_live(self._registry):
                    return  # by whoever has found it under way
            except OrchardError as second:
                raise Unconfirmed(
                    f"version {pending.version} is stored and could not be made live ({error.detail}), nor be taken "
                    f"back ({second.detail}): the next training or start on this store does one or the other; "
                    "repeat the call under the same Idempotency-Key"
                ) from error
            raise

    def _live(self) -> "_Live | None":
        try:
            line, version, _ = self._registry.live()
        except NotReady:
            return None
        return _Live(line.version, line.sha256, version)


@dataclass(frozen=True, slots=True)
class _Behind:
    """Which line a training goes behind: ``after``, the log's last one, or one before it, when its live version was.

    ``passes``: whether lines by hand may have come since. Somebody who activates without a pause would keep a training
    from ever being done; whatever they made live, it is the newest rows that are learned.
    """

    after: int
    passes: bool

    def last(self, registry: Registry) -> int:
        """Return the last line now.

        Raises:
            Overtaken: another training's line has come since, or one by hand that is not passed over.
        """
        number = self.after
        while registry.has_line(number + 1):
            number += 1
            if not self.passes or registry.is_of_training(number):
                raise Overtaken(f"line {number} of the log was written first")
        return number


@dataclass(frozen=True, eq=False, slots=True)
class _Live:
    """The version that is live while a training runs."""

    number: str
    sha256: str
    version: Version

    def current(self) -> scores.Current:
        # An error in sample is too small to be held against others.
        recorded = {
            name: max(crop.out_of_fold.rmse, (crop.residual_sd or 0.0) if crop.out_of_fold.by == "nothing" else 0.0)
            for name, crop in self.version.card.crops.items()
        }
        return scores.Current(self.version.model, recorded)


@dataclass(frozen=True, eq=False, slots=True)
class _Taken:
    """What comes with an order, taken in before the database is looked at."""

    order: Order
    harvest: Harvest | None
    seen: Seen

    @classmethod
    def of(cls, order: Order, live: _Live | None, progress: Progress) -> "_Taken":
        """Read the order's table, and look at its rows beside what the live version says."""
        seen = Seen(live.version.model if live is not None else None, alone=order.alone)
        if order.table is None:
            return cls(order, None, seen)
        source = order.table.unpacked() if isinstance(order.table, PackedTable) else order.table
        if isinstance(source, Spark):
            return cls(order, _learned_there(source, seen, progress), seen)

        def look(part: Table, first_row: int) -> None:
            if not isinstance(source, Table):
                at = "" if isinstance(source, TableFile) else f" {source.at}"
                progress(Step(f"reading{at}", first_row))
            seen.look(part, first_row)

        return cls(order, Harvest.of(source, look), seen)


def _learned_there(source: Spark, seen: Seen, progress: Progress) -> Harvest:
    """Let rows be learned where they are: of what is seen of them only counts come back."""
    harvest, mistaken = source.learned(lambda at: progress(Step(f"reading {at}")))
    seen.elsewhere(harvest.rows, mistaken)
    return harvest


@dataclass(frozen=True, eq=False, slots=True)
class _Stock:
    """The batches to train on: those ``in_use`` when the training began, and the one that comes with it.

    ``taken``: all of them, as the version's card tells. ``new``: the entry of the one that comes, if it is to be
    stored. ``taken_up``: one that is stored already and was withdrawn. ``replaced``: those that the new one is to stand
    for. ``cells``: all rows by region and season, by crop; ``no_cells`` rows are not known so. ``unlearned``: stored
    batches that the live version has not learned. ``there_already``: sentences about rows that would count twice.
    ``is_news``: whether the live version cannot know the rows that come: none is there already, and none of the batches
    that it has learned is withdrawn, which the rows might correct. ``is_learned``: whether the live version has learned
    these batches and no others. ``regions``: mean weather by region, for a dry run.
    """

    in_use: InUse
    taken: Taken
    new: Batch | None
    taken_up: Batch | None
    replaced: list[Batch]
    rows: TrainingMoments
    cells: dict[str, Cells]
    no_cells: int
    unlearned: list[Batch]
    there_already: list[str]
    is_news: bool
    is_learned: bool
    regions: dict[str | None, RegionMean]

    @classmethod
    def of(cls, order: Order, harvest: Harvest | None, transaction: Transaction, live: _Live | None) -> "_Stock":
        """Look at what is stored; nothing is changed."""
        rollups = transaction.rollups
        learned = learned_by(live.version.card, transaction.ids_at) if live is not None else NOTHING
        new = known = None
        if harvest is not None:
            known = transaction.find(harvest.digest) if order.alone else None
            if known is None:
                new = Batch.of(harvest, order.provenance)
        if order.alone:
            in_use = rollups.alone(known.sequence if known is not None else None, learned)
        else:
            in_use = rollups.in_use(learned)
        old, unseen = (_moments(in_use.merged(old=old)) for old in (True, False))
        if new is not None and harvest is not None:
            unseen = _merged(unseen, harvest.moments)
        cells = dict(by_crop(part.merged.cells for part in in_use.parts))
        there_already: list[str] = []
        if harvest is not None and harvest.table is not None and not order.alone:
            there_already = list(repeats.sentences(harvest.table, cells, _alike(harvest.table, in_use, transaction)))
        if new is not None and harvest is not None:
            for crop, those in harvest.cells.items():
                cells.setdefault(crop, []).append(those)
        known_again = sum(part.run.count for part in in_use.merged(old=True))
        regions: dict[str | None, RegionMean] = {}
        if order.dry_run:
            only = in_use.run.ranges if order.alone else None
            regions = rollups.region_means(only).by_region()
        return cls(
            in_use,
            _taken(in_use, known, new, transaction),
            new,
            known if known is not None and known.withdrawn is not None else None,
            [batch for batch in transaction.active() if batch != known] if order.alone else [],
            TrainingMoments(old, unseen),
            {crop: Cells.merge(parts) for crop, parts in cells.items()},
            in_use.run.no_cells,
            [] if order.alone else transaction.in_ranges(in_use.new, withdrawn=False),
            there_already,
            not there_already and known_again == learned.count,
            known_again == learned.count and not in_use.new and new is None,
            regions,
        )


def _taken(in_use: InUse, known: Batch | None, new: Batch | None, transaction: Transaction) -> Taken:
    """Tell of the batches that are trained on; one that comes with the training by its id."""
    run = in_use.run
    named = [batch for batch in (known, new) if batch is not None]
    stored = None
    if known is None and run.count:
        last = run.ranges[-1][1]
        marks = sorted(transaction.ids_at(marked(last)).items())
        stored = StoredBatches(count=run.count, ranges=list(run.ranges), marks=marks)
    return Taken(
        count=run.count + (new is not None),
        rows=run.rows + (new.rows if new is not None else 0),
        digest=run.with_digest(new.digest if new is not None else None).data_digest,
        named=[batch.id for batch in named],
        stored=stored,
    )


def _moments(parts: list[Merged]) -> dict[str, FoldedMoments]:
    return {crop: FoldedMoments.merge(of) for crop, of in by_crop(part.moments for part in parts)}


def _alike(table: Table, in_use: InUse, transaction: Transaction) -> dict[str, list[Cells]]:
    """Return the stored rows that rows of a table may repeat, where those of several batches are put together."""
    together = dict(by_crop(part.merged.cells for part in in_use.parts if part.merged.run.count > 1))
    rows = repeats.several_stored(table, together)
    found = transaction.alike(table.rows(rows)) if rows.any() else []
    return dict(by_crop(single_cells(each) for each in found))


def _merged(first: dict[str, FoldedMoments], second: dict[str, FoldedMoments]) -> dict[str, FoldedMoments]:
    crops = {**first, **second}
    return {crop: FoldedMoments.merge(side[crop] for side in (first, second) if crop in side) for crop in crops}


@dataclass(frozen=True, eq=False, slots=True)
class _Attempt:
    """A candidate with the gate's verdict and the report on it."""

    order: Order
    harvest: Harvest | None
    suspicious: list[SuspiciousYield]
    stock: _Stock
    record: BatchRecords
    candidate: Candidate
    verdict: scores.Verdict
    version: Version
    changes: Changes | None

    @classmethod
    def of(
        cls,
        order: Order,
        harvest: Harvest | None,
        seen: Seen,
        stock: _Stock,
        record: BatchRecords,
        live: _Live | None,
        progress: Progress,
    ) -> "_Attempt":
        """Fit and judge a candidate."""
        rows = stock.rows
        # Where some rows are not known by region and season, what can be said of the others would be taken for all.
        cells = stock.cells if not stock.no_cells else {}
        candidate = Candidate.of(order, harvest, rows, cells, progress)
        if stock.no_cells:
            candidate.left_out.append(
                f"{stock.no_cells} rows of earlier batches are not known by region and season, since they are not "
                "stored: predictions are by the common line"
            )
        progress(Step("scoring"))
        current = live.current() if live is not None else None
        moments = candidate.moments
        noticed = [*seen.sentences(), *stock.there_already]
        sent = {crop: part.total.count for crop, part in harvest.moments.items()} if harvest is not None else {}
        verdict = scores.judge(
            candidate.fit,
            moments,
            rows.old,
            rows.new,
            current,
            may_drop=order.alone,
            noticed=noticed,
            sent=sent,
            worth=candidate.worth(),
        )
        parent = live.number if live is not None else None
        predicted = seen.as_predicted() if stock.is_news else {}
        version = candidate.version(order, harvest, stock.taken, parent, verdict, record.merged(), predicted)
        changes = None
        if order.dry_run:
            before = live.version.model if live is not None else None
            changes = review.changes(before, version.model, _regions(stock, harvest))
        return cls(order, harvest, seen.suspicious, stock, record, candidate, verdict, version, changes)

    @property
    def wanted(self) -> bool:
        """Whether the rows that came with it stay in training."""
        return self.verdict.accepted or self.order.activate == "always"

    def repeats(self, live: _Live) -> bool:
        """Whether the live version has learned the same batches in the same way, and nothing else was asked for."""
        asked = self.order
        return (
            asked.table is None
            and asked.activate == "if_better"
            and asked.recipe == Recipe()
            and self.verdict.accepted
            and not self.record.found
            and self.stock.is_learned
            and self.version.is_like(live.version)
        )

    @property
    def note(self) -> str:
        """Why its version is made live, for the log."""
        note = self.order.provenance.note
        if self.verdict.failed:
            note = f"{note} (activated although the gate rejects it: {self.verdict.failed[0]})".strip()
        return note

    def store(self, transaction: Transaction) -> tuple[list[str], list[str]]:
        """Store what came with the order; if it is refused, it is kept, and withdrawn from training.

        Returns:
            The batches that take part in training by this, and those that no longer do.
        """
        stock, who, source = self.stock, self.order.provenance.who, self.order.provenance.source
        if stock.new is not None and self.harvest is not None:
            transaction.add(stock.new, self.harvest, self.record.coming)
        transaction.rollups.erase(stock.in_use.damaged)
        for batch in self.record.found:
            transaction.keep_record(batch, self.record.found[batch])
        added = [batch.id for batch in (stock.new, stock.taken_up) if batch is not None]
        if not self.wanted:
            for batch in added:
                transaction.withdraw(batch, ORCHARD, f"its training was rejected: {self.verdict.failed[0]}")
            return [], []
        if stock.taken_up is not None:
            transaction.restore(stock.taken_up.id, who, f"taken up by training on {source} alone")
        for replaced in stock.replaced:
            transaction.withdraw(replaced.id, who, f"replaced by training on {source} alone")
        return added, [batch.id for batch in stock.replaced]

    def outcome(self, published: str | None) -> Outcome:
        """Return the report under the version's number, None if it was not published."""
        card, order = self.version.card, self.order
        batch = self.stock.new or self.stock.taken_up
        report = Report(
            version=published,
            batch=batch.id if batch is not None and not order.dry_run else None,
            decision=card.decision,
            activated=published is not None and self.wanted and order.activate != "never",
            reasons=card.reasons,
            dry_run=order.dry_run,
            rows=card.rows,
            fit=card.fit,
            scores=card.scores,
            as_predicted=card.as_predicted,
            suspicious=self.suspicious,
            left_out=card.left_out,
            changes=self.changes,
        )
        return Outcome(report, self.version, self.candidate.predictions)


def _regions(stock: _Stock, harvest: Harvest | None) -> dict[str | None, Array]:
    """Return each region's average weather, shape (3,), over what is stored and what came with the order."""
    means = dict(stock.regions)
    if stock.new is not None and harvest is not None and harvest.table is not None:
        for region, mean in review.region_means(harvest.table).items():
            means[region] = _mean(means[region], mean) if region in means else mean
    ordered = sorted(means, key=lambda region: (region is not None, region or ""))
    return {region: means[region].weather for region in ordered}


def _mean(first: RegionMean, second: RegionMean) -> RegionMean:
    rows = first.rows + second.rows
    mean = (first.rows * first.weather + second.rows * second.weather) / rows
    # A feature that one of them has no value of has the mean of the other.
    known = np.where(np.isnan(first.weather), second.weather, first.weather)
    return RegionMean(rows, np.where(np.isnan(mean), known, mean))
