"""A fitted model before it is judged: which rows it was fitted on, the fit, and what its card says of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np

from app.data.harvest import HELD_ROWS, Harvest, moments_of
from app.data.tables import Mask, Table
from app.errors import InvalidInput, TooFewRows
from app.model import scores
from app.model.cells import Cells
from app.model.components import Components
from app.model.crossed import Crossed
from app.model.descent import TutorialRecipe, descend, follow_tutorial
from app.model.design import condition_number, undetermined
from app.model.effects import Effects
from app.model.fit import Fit, least_squares
from app.model.folds import FoldedMoments, assign_folds
from app.model.held_out import HeldOut, held_out
from app.model.linear import EXACT, CropModel, LinearModel
from app.model.moments import Array, Moments
from app.model.progress import Progress
from app.model.record import INNER, OUTER, Record
from app.model.rounding import told_apart
from app.model.scored import Scored, Tons
from app.model.sketch import Sketch
from app.model.weather import FEATURE_NAMES, WEATHER, YIELD, Feature
from app.model.worth import Worth
from app.store.card import (
    BandedCard,
    Card,
    CoverageCard,
    CropCard,
    CropScores,
    Effect,
    EffectsCard,
    EpochLoss,
    FeatureCard,
    FitCard,
    HeldCard,
    LeanCard,
    OutOfFold,
    PredictedCard,
    RecordCard,
    RmsePair,
    RowCounts,
    SeasonRecord,
    StandardErrors,
    StoredBatches,
)
from app.store.version import Version
from app.training.order import Order, Recipe

MIN_ROWS = 6
"""A crop with fewer rows is left out: four coefficients and two degrees of freedom."""
SMALLEST = 1e-100
"""Values must deviate by this much, in their unit: the squares of smaller deviations leave float64's range."""
DISTINCT = 1e-12
"""And the values of a feature by this share of the largest one: what is closer is rounding."""
CURVE_POINTS = 200
"""The loss curve in the card has about this many points, the first and the last epoch among them."""


@dataclass(frozen=True, eq=False, slots=True)
class TrainingMoments:
    """The moments of the rows to train on, by crop: those the live model has learned, and those it has never seen."""

    old: dict[str, FoldedMoments]
    new: dict[str, FoldedMoments]

    def merged(self) -> dict[str, FoldedMoments]:
        """Return the moments of all of them, by crop in alphabetical order."""
        crops = sorted({*self.old, *self.new})
        parts = {crop: [side[crop] for side in (self.old, self.new) if crop in side] for crop in crops}
        return {crop: FoldedMoments.merge(sides) for crop, sides in parts.items()}


@dataclass(frozen=True, slots=True)
class Taken:
    """The batches that a version learns, as its card tells: how many, their rows, the digest of their content.

    ``named``: the ids of those that came with the training. ``stored``: the others, None if there are none.
    """

    count: int
    rows: int
    digest: str
    named: list[str]
    stored: StoredBatches | None


@dataclass(frozen=True, eq=False, slots=True)
class CropEffects:
    """What regions and seasons of one crop have of their own: as served, of ``regions``, and in the card."""

    served: Effects
    regions: list[str]
    card: EffectsCard


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A fit on ``moments``, by crop; ``effects`` of those crops where any are seen.

    ``held``: each crop's error on rows that were held out. ``predictions`` are the tutorial recipe's targets
    and predictions, (n, crops) tons.
    """

    fit: Fit
    moments: dict[str, FoldedMoments]
    held: dict[str, HeldOut]
    effects: dict[str, CropEffects]
    left_out: list[str]
    predictions: tuple[Array, Array] | None

    @classmethod
    def of(
        cls,
        order: Order,
        harvest: Harvest | None,
        rows: TrainingMoments,
        cells: Mapping[str, Cells],
        progress: Progress,
    ) -> "Candidate":
        """Fit the crops that have rows enough, by the order's recipe.

        ``harvest`` is what came with it; ``cells``: all rows by region and season, as far as known, by crop.

        Raises:
            TooFewRows: no crop has.
            InvalidInput: the numbers are too large, or the recipe does not go with the order.
            Diverged: the learning rate is too large.
        """
        try:
            if order.recipe.name == "tutorial":
                return cls._by_tutorial(order, harvest, cells, progress)
            usable, left_out = _usable(rows.merged())
            left_out += _check_spread({crop: part.total for crop, part in usable.items()}, cells)
            if harvest is not None:
                left_out += harvest.left_out
            fit = _descend(order.recipe, {crop: part.total for crop, part in usable.items()}, progress)
            effects = _crossed(fit, {crop: cells[crop] for crop in usable if crop in cells})
        except OverflowError as error:
            raise InvalidInput(f"the rows cannot be fitted: {error}") from error
        return cls(fit, usable, _held(usable, cells), effects, left_out, None)

    @classmethod
    def _by_tutorial(
        cls, order: Order, harvest: Harvest | None, cells: Mapping[str, Cells], progress: Progress
    ) -> "Candidate":
        if harvest is None or harvest.table is None:
            raise InvalidInput(
                f"the tutorial recipe goes through the rows themselves: it needs a table, of at most {HELD_ROWS} rows"
            )
        _check_weather(harvest.table)
        complete, left_out = _complete(harvest.table)
        usable, few = _usable(moments_of(complete))
        targets = complete.yields[:, [complete.crops.index(crop) for crop in usable]]
        totals = {crop: moments.total for crop, moments in usable.items()}
        recipe = _tutorial(order.recipe)
        fit, predictions = follow_tutorial(complete.weather, targets, totals, recipe, progress)
        told = [*harvest.left_out, *left_out, *few]
        return cls(fit, usable, _held(usable, cells), {}, told, (targets, predictions))

    def worth(self) -> dict[str, Worth]:
        """Return what each crop's line is worth on rows that were held out."""
        totals = {crop: self.moments[crop].total for crop in self.held}
        return {
            crop: Worth(score.by, _r_squared(totals[crop], score), score.tons, float(totals[crop].mean[-1]))
            for crop, score in self.held.items()
        }

    def version(
        self,
        order: Order,
        harvest: Harvest | None,
        taken: Taken,
        parent: str | None,
        verdict: scores.Verdict,
        record: Mapping[str, Sketch],
        predicted: Mapping[str, Scored],
    ) -> Version:
        """Return what is stored of it, with the gate's verdict in its card.

        ``taken``: its batches; ``record``: theirs, by crop. ``predicted``: what the live version had said of the rows
        that came.
        """
        moments = {crop: part.trimmed() for crop, part in self.moments.items()}
        lines = {crop: (line.weights, line.intercept) for crop, line in self.fit.crops.items()}
        effects, regions = self._placed_effects()
        sketches = {crop: record[crop] for crop in lines if crop in record}
        records = {crop: Record(sketch) for crop, sketch in sketches.items()}
        model = LinearModel.of(FEATURE_NAMES, lines, moments, effects, regions, records)
        at_hand = harvest.table if harvest is not None and taken.count == 1 else None
        card = Card(
            created=datetime.now(UTC),
            recipe="tutorial" if self.fit.recipe == "tutorial" else "descent",
            parent=parent,
            note=order.provenance.note,
            source=order.provenance.source,
            seed=order.recipe.seed,
            features=_feature_cards({crop: part.total for crop, part in moments.items()}),
            crops={
                crop.crop: _crop_card(
                    crop, moments[crop.crop], at_hand, self.fit, self.effects.get(crop.crop), self.held[crop.crop]
                )
                for crop in model.crops
            },
            rows=RowCounts(
                received=harvest.rows if harvest is not None else 0,
                total=taken.rows,
            ),
            fit=_fit_card(self.fit),
            loss_curve=_curve(self.fit.losses),
            decision="accepted" if verdict.accepted else "rejected",
            reasons=[*verdict.reasons, *_off(predicted)],
            scores={
                crop: CropScores(new=_pair(judged.new), old=_pair(judged.old)) for crop, judged in verdict.crops.items()
            },
            record={crop.crop: _record_card(crop) for crop in model.crops},
            as_predicted={crop: card for crop, scored in predicted.items() if (card := _predicted_card(scored))},
            left_out=self.left_out,
            batches=taken.named,
            stored=taken.stored,
            data_digest=taken.digest,
        )
        weights = np.stack([weights for weights, _ in lines.values()])
        intercepts = np.array([intercept for _, intercept in lines.values()])
        return Version(card, weights, intercepts, moments, effects, regions, sketches)

    def _placed_effects(self) -> tuple[dict[str, Effects], tuple[str, ...]]:
        """Return the effects of all crops over the same regions."""
        places: dict[str, int] = {}
        for crop in self.effects.values():
            for region in crop.regions:
                places.setdefault(region, len(places))
        return {
            name: crop.served.placed(np.array([places[region] for region in crop.regions], dtype=np.intp), len(places))
            for name, crop in self.effects.items()
        }, tuple(places)


def _crossed(fit: Fit, cells: Mapping[str, Cells]) -> dict[str, CropEffects]:
    """Fit the lines of the crops of which regions or seasons show something of their own.

    By descent to the end: a recipe's rate and epochs are of the common line, whose rows are spread otherwise.
    """
    crossed = {}
    for crop, those in cells.items():
        common = fit.crops[crop].moments
        found = Components.of(those) if not _is_exact(common) else None
        if found is not None:
            crossed[crop] = Crossed.of(those, found, common)
    if not crossed:
        return {}
    lines = descend({crop: part.moments for crop, part in crossed.items()}).crops
    return {
        crop: _crop_effects(part, cells[crop], lines[crop].weights, lines[crop].intercept)
        for crop, part in crossed.items()
    }


def _is_exact(moments: Moments) -> bool:
    """Say whether a line passes through all the rows, so that nothing is left for regions and seasons to explain."""
    return math.sqrt(least_squares(moments).least_squares_loss) <= EXACT * abs(float(moments.mean[-1]))


def _crop_effects(crossed: Crossed, cells: Cells, weights: Array, intercept: float) -> CropEffects:
    served = crossed.effects(weights, intercept)
    parts = crossed.components
    region, season = (
        Effect(groups=part.groups, deviation=math.sqrt(part.variance), share=part.variance / parts.total)
        if part.variance
        else None
        for part in (parts.region, parts.season)
    )
    errors = served.standard_errors(crossed.mean_variance)
    card = EffectsCard(
        rows=parts.rows,
        region=region,
        season=season,
        noise=math.sqrt(parts.noise),
        intercept=served.intercept,
        weights=dict(zip(FEATURE_NAMES, served.weights.tolist(), strict=True)),
        standard_errors=StandardErrors(intercept=errors[0], weights=dict(zip(FEATURE_NAMES, errors[1:], strict=True))),
        degrees_of_freedom=served.degrees[0],
        degrees_of_freedom_unseen=served.degrees[1],
    )
    return CropEffects(served, [cells.regions[code] for code in crossed.regions.tolist()], card)


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


def _check_spread(crops: Mapping[str, Moments], cells: Mapping[str, Cells]) -> list[str]:
    """Say, a sentence each, which features have one value only, or are absent, and are left out for a crop.

    ``cells``: all rows of a crop by region and season, which say how many of them have no value; not of all crops.

    Raises:
        InvalidInput: values differ, and by so little that nothing can be learned of the difference.
    """
    sentences = []
    for crop, moments in crops.items():
        columns = zip((*WEATHER, YIELD), moments.minimum.tolist(), moments.maximum.tolist(), strict=True)
        for number, (column, low, high) in enumerate(columns):
            if low < high:
                _check_column(crop, column, low, high, float(moments.deviations[number]))
            elif low > high:
                sentences.append(_absent(crop, column, cells.get(crop), number))
            elif column is not YIELD:
                sentences.append(
                    f"{crop}: {column.name} is {low:g} {column.unit} in all {moments.count} rows and is left out: "
                    "the crop's line says nothing of any other value"
                )
    return sentences


def _absent(crop: str, column: Feature, cells: Cells | None, number: int) -> str:
    """Say that a feature is left out for a crop, since some of its rows have no value of it."""
    if cells is None:
        return f"{crop}: {column.name} is missing in some of its rows and is left out"
    lacking, rows = int(cells.lacking[number]), int(np.sum(cells.count))
    if lacking == rows:
        return f"{crop}: {column.name} is not in its rows and is left out"
    return f"{crop}: {column.name} is missing in {lacking} of {rows} rows and is left out"


def _check_weather(table: Table) -> None:
    """Check that there is a value of every feature: the tutorial's tensors have no gaps.

    Raises:
        InvalidInput: a column is absent.
    """
    missing = [feature.name for feature in WEATHER if feature.name in table.absent]
    if missing:
        raise InvalidInput(
            f"the tutorial recipe needs {', '.join(FEATURE_NAMES)}, and the table has no {' and no '.join(missing)}: "
            "add it, or take the recipe that is used without saying so, descent"
        )


def _check_column(crop: str, column: Feature, low: float, high: float, deviation: float) -> None:
    least = SMALLEST if column is YIELD else max(SMALLEST, DISTINCT * max(abs(low), abs(high)))
    if deviation < least:
        first, last = told_apart(low, high)
        raise InvalidInput(
            f"{crop}: the values of {column.name}, {first} to {last} {column.unit}, cannot be told apart: they deviate "
            f"by {deviation:.3g} {column.unit}, and at least {least:.3g} is needed; check the unit, or give one value"
        )


def _complete(table: Table) -> tuple[Table, list[str]]:
    """Keep the rows that report every crop: the tutorial's tensors have no gaps."""
    complete: Mask = np.logical_not(np.isnan(table.yields).any(axis=1))
    missing = int(np.sum(~complete))
    if not missing:
        return table, []
    sentence = f"{missing} of {len(table)} rows do not report every crop and are left out by the tutorial recipe"
    return table.rows(complete), [sentence]


def _descend(recipe: Recipe, crops: dict[str, Moments], progress: Progress) -> Fit:
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


def _pair(comparison: scores.Comparison) -> RmsePair:
    candidate, current = comparison.candidate, comparison.current
    return RmsePair(
        candidate_rmse=candidate.tons if candidate is not None else None,
        current_rmse=current.tons if current is not None else None,
    )


def _feature_cards(crops: Mapping[str, Moments]) -> list[FeatureCard]:
    """Range and mean of each feature over the rows of all crops that use it.

    A row counts once for each crop it reports.
    """
    return [_feature_card(feature, number, list(crops.values())) for number, feature in enumerate(WEATHER)]


def _feature_card(feature: Feature, number: int, crops: list[Moments]) -> FeatureCard:
    parts = [part for part in crops if not part.absent[number]]
    if not parts:
        return FeatureCard(name=feature.name, unit=feature.unit, minimum=None, maximum=None, mean=None)
    mean = np.average([part.mean for part in parts], axis=0, weights=[part.count for part in parts])
    return FeatureCard(
        name=feature.name,
        unit=feature.unit,
        minimum=min(float(part.minimum[number]) for part in parts),
        maximum=max(float(part.maximum[number]) for part in parts),
        mean=float(mean[number]),
    )


def _crop_card(
    crop: CropModel,
    moments: FoldedMoments,
    at_hand: Table | None,
    fit: Fit,
    effects: CropEffects | None,
    held: HeldOut,
) -> CropCard:
    total = moments.total
    constant, collinear = undetermined(total)
    errors = crop.standard_errors if fit.converged else None  # their formula is that of least squares
    return CropCard(
        intercept=crop.intercept,
        weights=dict(zip(FEATURE_NAMES, crop.weights, strict=True)),
        rows=crop.spread.rows,
        rank=crop.spread.rank,
        degrees_of_freedom=crop.degrees_of_freedom,
        residual_sd=crop.residual_sd,
        mean_yield=crop.mean,
        r_squared=scores.r_squared(total, crop.squared_error),
        standard_errors=(
            StandardErrors(intercept=errors[0], weights=dict(zip(FEATURE_NAMES, errors[1:], strict=True)))
            if errors
            else None
        ),
        condition_number=condition_number(total),
        constant_features=[FEATURE_NAMES[column] for column in constant],
        absent_features=[name for name, absent in zip(FEATURE_NAMES, crop.spread.absent, strict=True) if absent],
        collinear_features=[FEATURE_NAMES[column] for column in collinear],
        largest_leverage=crop.spread.largest_leverage,
        out_of_fold=_out_of_fold(crop.crop, moments, at_hand, held),
        effects=effects.card if effects is not None else None,
    )


def _off(predicted: Mapping[str, Scored]) -> list[str]:
    """Say of which crops the live version was off on average, by more than the yields that came differ."""
    off = {crop: scored for crop, scored in predicted.items() if _is_off(scored.bias)}
    return [f"{crop}: {scored.bias_sentence('the live version was')}" for crop, scored in off.items()]


def _is_off(bias: Tons | None) -> bool:
    if bias is None or bias.low is None or bias.high is None:
        return False
    return bias.low > 0.0 or bias.high < 0.0


def _predicted_card(scored: Scored) -> PredictedCard | None:
    if scored.bias is None or scored.rmse is None or scored.mae is None:
        return None
    held = scored.coverage
    return PredictedCard(
        n=scored.n,
        seasons=scored.seasons,
        bias=BandedCard(**asdict(scored.bias)),
        mae=scored.mae,
        rmse=BandedCard(**asdict(scored.rmse)),
        coverage=CoverageCard(**asdict(held)) if held is not None else None,
        width=scored.width,
        interval_score=scored.interval_score,
        skill=scored.skill,
        verdict=scored.verdict("the predictions"),
    )


def _record_card(crop: CropModel) -> RecordCard:
    record = crop.record or Record(Sketch.merge([]))
    lean, sketch = record.lean(), record.sketch
    means = zip(sketch.seasons, sketch.count.tolist(), sketch.total.tolist(), strict=True)
    return RecordCard(
        rows=record.rows,
        levels={
            f"{level:g}": HeldCard(inside=int(record.inside(level, crop.degrees)), widening=crop.widening(level))
            for level in (INNER, OUTER)
            if record.rows
        },
        seasons=[SeasonRecord(season=season, rows=int(rows), mean=total / rows) for season, rows, total in means],
        lean=LeanCard(seasons=lean.seasons, standard_errors=lean.standard_errors) if lean is not None else None,
        said=[record.sentence(), *([lean.sentence()] if lean is not None else [])],
    )


def _held(moments: Mapping[str, FoldedMoments], cells: Mapping[str, Cells]) -> dict[str, HeldOut]:
    return {crop: held_out(part, cells.get(crop)) for crop, part in moments.items()}


def _r_squared(total: Moments, score: HeldOut) -> float | None:
    return scores.r_squared(total, score.rows * score.tons**2)


def _out_of_fold(crop: str, moments: FoldedMoments, at_hand: Table | None, score: HeldOut) -> OutOfFold:
    absolute = None
    if at_hand is not None and score.by in {"region", "row"}:
        tons = at_hand.yields[:, at_hand.crops.index(crop)]
        reported = ~np.isnan(tons)
        fold = assign_folds(at_hand.regions, at_hand.weather)[reported]
        weather = np.nan_to_num(at_hand.weather[reported])  # what is absent has weight 0
        absolute = scores.mean_absolute_error(moments, weather, tons[reported], fold)
    return OutOfFold(
        rmse=score.tons,
        mean_absolute_error=absolute,
        r_squared=_r_squared(moments.total, score),
        by=score.by,
    )
