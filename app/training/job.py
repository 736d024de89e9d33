"""One training as one transaction: validate, keep, fit, score, gate, publish, activate.

Runs in a process that does not serve. The order of the writes is what makes it safe: the version's file (which
nothing refers to yet), then the commit of the observations, then the line of the log. Whatever fails before that line
leaves the live model and the stored observations as they were.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import filelock
import numpy as np

from app.data.observations import Batch, Observations, Transaction, moments_of
from app.data.tables import Table
from app.errors import InvalidInput, NotReady, OrchardError, RetrainRunning, StoreUnavailable, TooFewRows
from app.model.descent import TutorialRecipe, descend, follow_tutorial
from app.model.fit import Fit
from app.model.folds import FoldedMoments
from app.model.linear import CropModel, LinearModel
from app.model.moments import Array, Moments
from app.model.weather import NAMES, WEATHER
from app.settings import Settings
from app.store.card import Card, CropCard, EpochLoss, FeatureCard, FitCard, RowCounts
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from app.training.order import Order, Recipe
from app.training.report import Report

MIN_ROWS = 6
"""A crop with fewer rows is left out: four coefficients and two degrees of freedom."""
CURVE_POINTS = 200
"""The loss curve in the card has about this many points, the first and the last epoch among them."""

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
        try:
            with self._observations.transaction() as transaction:
                progress("storing", 0, 0, None)
                kept = _Kept.by(order, transaction)
                candidate = _Candidate.of(order, kept.batches, transaction, progress)
                version = candidate.version(order, kept.batches, self._parent())
                report = _report(version, order)
                if order.dry_run:
                    raise _DryRun(Outcome(report, version, candidate.predictions))  # noqa: TRY301 - leaves the transaction
                progress("publishing", 0, 0, None)
                published = self._registry.publish(version)
                report = report.model_copy(update={"version": published})
                if order.key:
                    transaction.keep_answer(order.key, order.digest, report.model_dump_json())
        except _DryRun as stop:
            return stop.outcome
        except BaseException:
            if published is not None:
                self._registry.discard(published)
            raise
        if report.activated:
            self._activate(published, order, kept, progress)
        return Outcome(report, version, candidate.predictions)

    def _activate(self, version: str, order: Order, kept: "_Kept", progress: Progress) -> None:
        progress("activating", 0, 0, None)
        try:
            self._registry.activate(version, order.who, order.note)
        except OrchardError:
            with self._observations.transaction() as transaction:
                kept.undo(order, transaction)
            self._registry.discard(version)
            raise

    def _parent(self) -> str | None:
        try:
            return self._registry.live()[0].version
        except NotReady:
            return None


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
    def by(cls, order: Order, transaction: Transaction) -> "_Kept":
        """Store the order's rows; where they are to stand alone, withdraw the other batches."""
        if order.table is None:
            return cls(transaction.active(), [], [])
        if not order.alone:
            new = transaction.add(order.table, source=order.source, note=order.note, who=order.who)
            return cls(transaction.active(), [new], [])
        known = transaction.find(order.table.digest)
        batch = known or transaction.add(order.table, source=order.source, note=order.note, who=order.who)
        others = [other for other in transaction.active() if other.id != batch.id]
        for other in others:
            transaction.withdraw(other.id, f"replaced by training on {order.source} alone")
        added = [batch] if known is None or known.withdrawn else []
        return cls([transaction.restore(batch.id)], added, others)

    def undo(self, order: Order, transaction: Transaction) -> None:
        """Take the changes back, after their transaction was committed."""
        for batch in self.added:
            transaction.withdraw(batch.id, "its training could not be completed")
        for batch in self.replaced:
            transaction.restore(batch.id)
        if order.key:
            transaction.forget_answer(order.key)


@dataclass(frozen=True, eq=False, slots=True)
class _Candidate:
    """A fitted model, before anything is said about it."""

    fit: Fit
    moments: dict[str, FoldedMoments]
    left_out: list[str]
    predictions: tuple[Array, Array] | None

    @classmethod
    def of(cls, order: Order, batches: list[Batch], transaction: Transaction, progress: Progress) -> "_Candidate":
        """Fit the crops that have rows enough."""

        def fitting(epoch: int, epochs: int, loss: float) -> None:
            progress("fitting", epoch, epochs, loss)

        try:
            if order.recipe.name == "tutorial":
                return cls._by_tutorial(order, fitting)
            learned = transaction.moments(batches)
            moments = {crop: FoldedMoments.merge(parts) for crop, parts in learned.items()}
            usable, left_out = _usable(moments)
            if order.table is not None:
                left_out += order.table.left_out
            fit = _descend(order.recipe, {crop: part.total for crop, part in usable.items()}, fitting)
        except OverflowError as error:
            raise InvalidInput(f"the rows cannot be fitted: {error}") from error
        return cls(fit, usable, left_out, None)

    @classmethod
    def _by_tutorial(cls, order: Order, fitting: Callable[[int, int, float], None]) -> "_Candidate":
        table = order.table
        if table is None:
            raise InvalidInput("the tutorial recipe needs a table: it goes through the rows themselves")
        complete, left_out = _complete(table)
        usable, few = _usable(moments_of(complete))
        columns = [complete.crops.index(crop) for crop in usable]
        targets = complete.yields[:, columns]
        recipe = _tutorial(order.recipe)
        totals = {crop: moments.total for crop, moments in usable.items()}
        fit, predictions = follow_tutorial(complete.weather, targets, totals, recipe, fitting)
        return cls(fit, usable, [*table.left_out, *left_out, *few], (targets, predictions))

    def version(self, order: Order, batches: list[Batch], parent: str | None) -> Version:
        """Return what is stored of it."""
        moments = {crop: part.trimmed() for crop, part in self.moments.items()}
        lines = {crop: (line.weights, line.intercept) for crop, line in self.fit.crops.items()}
        model = LinearModel.of(NAMES, lines, moments)
        card = Card(
            created=datetime.now(UTC),
            recipe="tutorial" if self.fit.recipe == "tutorial" else "descent",
            parent=parent,
            note=order.note,
            source=order.source,
            seed=order.recipe.seed,
            features=_feature_cards({crop: part.total for crop, part in moments.items()}),
            crops={crop.crop: _crop_card(crop) for crop in model.crops},
            rows=RowCounts(
                received=len(order.table) if order.table is not None else 0,
                total=sum(batch.rows for batch in batches),
            ),
            fit=_fit_card(self.fit),
            loss_curve=_curve(self.fit.losses),
            decision="accepted",
            reasons=[],
            scores={},
            left_out=self.left_out,
            batches=[batch.id for batch in batches],
            data_digest=hashlib.sha256("".join(batch.digest for batch in batches).encode()).hexdigest(),
        )
        weights = np.stack([weights for weights, _ in lines.values()])
        intercepts = np.array([intercept for _, intercept in lines.values()])
        return Version(card, weights, intercepts, moments)


def _usable(moments: Mapping[str, FoldedMoments]) -> tuple[dict[str, FoldedMoments], list[str]]:
    """Split off, with a sentence each, the crops with too few rows."""
    counts = {crop: part.total.count for crop, part in moments.items()}
    few = [
        f"{crop} has {count} row{'s' * (count != 1)} and is left out: a crop needs at least {MIN_ROWS}"
        for crop, count in counts.items()
        if count < MIN_ROWS
    ]
    usable = {crop: part for crop, part in sorted(moments.items()) if counts[crop] >= MIN_ROWS}
    if not usable:
        raise TooFewRows("too few rows: " + ("; ".join(few) or "no observation is stored"))
    return usable, few


def _complete(table: Table) -> tuple[Table, list[str]]:
    """Keep the rows that report every crop: the tutorial's tensors have no gaps."""
    complete = ~np.isnan(table.yields).any(axis=1)
    missing = int(np.sum(~complete))
    if not missing:
        return table, []
    kept = np.flatnonzero(complete).tolist()
    rows = Table(
        tuple(table.regions[row] for row in kept),
        tuple(table.seasons[row] for row in kept),
        table.weather[complete],
        table.crops,
        table.yields[complete],
    )
    return rows, [f"{missing} of {len(table)} rows do not report every crop and are left out by the tutorial recipe"]


def _descend(recipe: Recipe, crops: dict[str, Moments], progress: Callable[[int, int, float], None]) -> Fit:
    if recipe.batch_size is not None:
        raise InvalidInput("a batch size belongs to the tutorial recipe: descent takes all rows at once")
    if recipe.epochs is None:
        return descend(crops, learning_rate=recipe.learning_rate, progress=progress)
    return descend(crops, epochs=recipe.epochs, learning_rate=recipe.learning_rate, progress=progress)


def _tutorial(recipe: Recipe) -> TutorialRecipe:
    given = {
        name: value
        for name in ("epochs", "learning_rate", "batch_size", "seed")
        if (value := getattr(recipe, name)) is not None
    }
    return replace(TutorialRecipe(), **given)


def _fit_card(fit: Fit) -> FitCard:
    return FitCard(
        epochs=fit.epochs,
        converged=fit.converged,
        loss=fit.loss,
        least_squares_loss=fit.least_squares_loss,
        relative_gap=fit.relative_gap,
    )


def _curve(losses: tuple[float, ...]) -> list[EpochLoss]:
    last = len(losses)
    step = max(1, last // CURVE_POINTS)
    epochs = sorted({*range(1, last + 1, step), last} - {0})
    return [EpochLoss(epoch=epoch, loss=losses[epoch - 1]) for epoch in epochs]


def _feature_cards(crops: Mapping[str, Moments]) -> list[FeatureCard]:
    """Range and mean of each feature over the rows of all crops; a row counts once for each crop it reports."""
    parts = list(crops.values())
    minimum = np.min([part.minimum for part in parts], axis=0)
    maximum = np.max([part.maximum for part in parts], axis=0)
    mean = np.average([part.mean for part in parts], axis=0, weights=[part.count for part in parts])
    return [
        FeatureCard(
            name=feature.name,
            unit=feature.unit,
            minimum=float(minimum[number]),
            maximum=float(maximum[number]),
            mean=float(mean[number]),
        )
        for number, feature in enumerate(WEATHER)
    ]


def _crop_card(crop: CropModel) -> CropCard:
    return CropCard(
        intercept=crop.intercept,
        weights=dict(zip(NAMES, crop.weights, strict=True)),
        rows=crop.spread.rows,
        rank=crop.spread.rank,
        degrees_of_freedom=crop.degrees_of_freedom,
        residual_sd=crop.residual_sd,
        mean_yield=crop.mean,
        largest_leverage=crop.spread.largest_leverage,
    )


def _report(version: Version, order: Order) -> Report:
    card = version.card
    activated = order.activate == "always" or (order.activate == "if_better" and card.decision == "accepted")
    return Report(
        version=None,
        decision=card.decision,
        activated=activated and not order.dry_run,
        reasons=card.reasons,
        dry_run=order.dry_run,
        rows=card.rows,
        fit=card.fit,
        scores=card.scores,
        suspicious=[],
        left_out=card.left_out,
    )
