"""What answers look like as text: tables, and lines of facts. Prints nothing.

Names and notes are others': in a table each is quoted where it holds more than what can be printed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table

from app.cli.terminal import quoted
from app.model.moments import Array
from app.model.rounding import rounded
from app.model.weather import FEATURE_NAMES
from app.store.card import Card, CropCard, CropScores, FitCard
from app.training.report import Change, Changes
from app.wire.schemas import (
    BandedTons,
    BatchPage,
    CropResidual,
    CropYield,
    DriftReport,
    ForecastBatchPage,
    ForecastEntry,
    ForecastsStored,
    ForecastYield,
    LogPage,
    ObservationEntry,
    OnePrediction,
    ResidualPage,
    ScorePage,
    VersionPage,
)

NONE = "-"
TIME, DAY = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"
SCORED = {
    "forecast": "Harvests less what was forecast, tons",
    "arrival": "Yields less what was predicted when they were reported, tons",
}
SHOWN_REGIONS = 20
"""Regions of a dry run that are shown; ``--json`` has them all."""


class Grid(Table):
    """A table whose title, columns and cells do nothing to the terminal that shows it."""

    def __init__(self, *columns: str, title: str | None = None) -> None:
        super().__init__(*columns, title=None if title is None else quoted(title), title_justify="left")

    def add_column(self, header: RenderableType = "", *more: Any, **named: Any) -> None:
        """Add a column."""
        super().add_column(_quoted(header), *more, **named)

    def add_row(self, *cells: RenderableType | None, **named: Any) -> None:
        """Add a row."""
        super().add_row(*(None if cell is None else _quoted(cell) for cell in cells), **named)


def _quoted(part: RenderableType) -> RenderableType:
    return quoted(part) if isinstance(part, str) else part


def prediction(answer: OnePrediction, level: float) -> Grid:
    """Return a region's yields, a crop a line."""
    grid = Grid(title=f"{answer.region or 'Yields'}, by version {answer.model_version}, tons")
    grid.add_column("")
    for name in ("tons", f"{100 * level:.4g}% interval"):
        grid.add_column(name, justify="right", no_wrap=True)
    for name, crop in answer.yields.items():
        grid.add_row(name, f"{crop.tons:.2f}", _interval(crop))
    return grid


def explanation(answer: OnePrediction) -> Grid | None:
    """Return what a region's yields are made of, a crop a line; None where that was not asked for."""
    # Of some crops the region contributes, of others not.
    parts = list(dict.fromkeys(part for crop in answer.yields.values() for part in crop.contributions or ()))
    if not parts:
        return None
    grid = Grid(title="Made of, tons: the average of training, and what weather and region add")
    grid.add_column("")
    for name in ("baseline", *parts):
        grid.add_column(name, justify="right", no_wrap=True)
    for name, crop in answer.yields.items():
        grid.add_row(name, *_explanation(crop, parts))
    return grid


def _interval(crop: CropYield) -> str:
    return NONE if crop.low is None or crop.high is None else f"{crop.low:.2f} to {crop.high:.2f}"


def _explanation(crop: CropYield, parts: Iterable[str]) -> Iterator[str]:
    if crop.baseline is not None and crop.contributions is not None:
        yield f"{crop.baseline:.2f}"
        yield from (f"{crop.contributions[part]:+.2f}" if part in crop.contributions else NONE for part in parts)


def beside_targets(crops: Iterable[str], targets: Array, predictions: Array) -> Grid:
    """Return the tutorial recipe's predictions beside the targets, tons."""
    grid = Grid(title="Predictions beside targets, tons")
    for crop in crops:
        grid.add_column(f"{crop} predicted", justify="right")
        grid.add_column(f"{crop} target", justify="right")
    for predicted, target in zip(predictions.tolist(), targets.tolist(), strict=True):
        pairs = zip(predicted, target, strict=True)
        grid.add_row(*(cell for guess, true in pairs for cell in (f"{guess:.2f}", f"{true:g}")))
    return grid


def fit_lines(card: Card) -> list[str]:
    """Return how fitting went, a line a fact."""
    return [
        f"rows                {card.rows.total}",
        f"recipe              {card.recipe}",
        *fitting(card.fit),
        *left_out(card.left_out),
        *(line for crop, part in card.crops.items() for line in (*_undetermined(crop, part), *_effects(crop, part))),
        *_record_lines(card),
    ]


def fitting(fit: FitCard) -> list[str]:
    """Return how near descent has come to the optimum, a line a fact."""
    return [
        f"epochs              {fit.epochs} ({'converged' if fit.converged else 'NOT converged'})",
        f"loss                {fit.loss:.12g} tons² (mean squared error over all elements)",
        f"least-squares loss  {fit.least_squares_loss:.12g} tons²",
        f"relative gap        {fit.relative_gap:.3g}",
    ]


def left_out(sentences: Iterable[str]) -> list[str]:
    """Return what takes no part, a line each."""
    return [f"left out            {sentence}" for sentence in sentences]


def _undetermined(crop: str, part: CropCard) -> Iterator[str]:
    if part.constant_features:
        yield f"constant            {', '.join(part.constant_features)}, in the rows of {crop}: weight 0"
    if part.collinear_features:
        yield f"collinear           {', '.join(part.collinear_features)}, in the rows of {crop}: minimum-norm weights"


def _effects(crop: str, part: CropCard) -> Iterator[str]:
    """Say how much of what the weather leaves unexplained is the region, and how much the season."""
    if part.effects is None:
        return
    told = [
        f"{effect.share:.0%} the {name} ({effect.groups} {name}s)"
        for name, effect in (("region", part.effects.region), ("season", part.effects.season))
        if effect is not None
    ]
    yield f"beyond weather      of what the weather leaves unexplained in {crop}, {', '.join(told)}"


def _record_lines(card: Card) -> list[str]:
    """Return how well intervals held, a line a sentence; nothing where no crop's yield has been asked yet."""
    asked = {crop: record for crop, record in card.record.items() if record.rows}
    return [f"record              {crop}: {said}" for crop, record in asked.items() for said in record.said]


def coefficients(card: Card) -> Grid:
    """Return each crop's coefficients with their standard errors and units."""
    grid = Grid(title="Coefficients (± standard error)")
    grid.add_column("")
    for crop in card.crops:
        grid.add_column(crop, justify="right")
    grid.add_column("unit")
    crops = card.crops.values()
    grid.add_row("intercept", *(_with_error(crop.intercept, crop, None) for crop in crops), "tons")
    for feature in card.features:
        weights = (_with_error(crop.weights[feature.name], crop, feature.name) for crop in crops)
        grid.add_row(feature.name, *weights, f"tons per {feature.unit}")
    return grid


def _with_error(value: float, crop: CropCard, feature: str | None) -> str:
    """A coefficient and its standard error: of the weight of ``feature``, or of the intercept."""
    errors = crop.standard_errors
    if feature in crop.absent_features:
        return NONE
    if errors is None:
        return f"{value:.9g}"
    return f"{value:.9g} ± {errors.intercept if feature is None else errors.weights[feature]:.2g}"


def scores(card: Card) -> Grid:
    """Return how far to trust each crop's line."""
    grid = Grid(title="Scores")
    grid.add_column("")
    for crop in card.crops:
        grid.add_column(crop, justify="right")
    grid.add_column("unit")
    # Cross-validation refits by least squares, whatever the recipe.
    refit = "" if card.fit.converged else " of least squares"
    lines: list[tuple[str, Callable[[CropCard], float | None], str]] = [
        ("rows", lambda crop: crop.rows, ""),
        ("degrees of freedom", lambda crop: crop.degrees_of_freedom, ""),
        ("residual sd", lambda crop: crop.residual_sd, "tons"),
        ("R²", lambda crop: crop.r_squared, ""),
        (f"out-of-fold RMSE{refit}", lambda crop: crop.out_of_fold.rmse, "tons"),
        (f"out-of-fold MAE{refit}", lambda crop: crop.out_of_fold.mean_absolute_error, "tons"),
        (f"out-of-fold R²{refit}", lambda crop: crop.out_of_fold.r_squared, ""),
        ("largest leverage", lambda crop: crop.largest_leverage, ""),
        ("condition number", lambda crop: crop.condition_number, ""),
    ]
    for name, value, unit in lines:
        if name.startswith("out-of-fold RMSE"):
            grid.add_row("held out at a time", *(HELD_OUT[crop.out_of_fold.by] for crop in card.crops.values()), "")
        grid.add_row(name, *(_or_none(value(crop)) for crop in card.crops.values()), unit)
    return grid


HELD_OUT = {
    "region": "a fifth of the regions",
    "season": "a season",
    "row": "a fifth of the rows",
    "nothing": "nothing: in sample",
    None: NONE,
}
"""What errors are of rows of, in words."""


def _or_none(value: float | None) -> str:
    return NONE if value is None else rounded(value)


def gate(judged: Mapping[str, CropScores], recorded: Mapping[str, float]) -> Grid:
    """Return what the gate has compared: errors on rows that are new to the current model, and on old ones.

    ``recorded``: the current model's errors out of fold on its own rows, as far as they are known. Without all of
    them its errors on the old rows are those of rows that it has learned, which are smaller.
    """
    known = [crop for crop, score in judged.items() if score.old.current_rmse is not None]
    is_like = all(crop in recorded for crop in known)
    grid = Grid(title="Errors (RMSE) of this version, held out by region, and of the current one, tons")
    grid.add_column("")
    for name in (
        "new rows",
        "current",
        "old rows",
        "current, held out" if is_like else "current (has seen these rows)",
    ):
        grid.add_column(name, justify="right")
    for crop, score in judged.items():
        of_old = recorded[crop] if is_like and crop in known else score.old.current_rmse
        rmses = (score.new.candidate_rmse, score.new.current_rmse, score.old.candidate_rmse, of_old)
        grid.add_row(crop, *map(_or_none, rmses))
    return grid


def changes(changed: Changes) -> Iterator[Grid]:
    """Yield what activating a version would change: coefficients, and predictions for each region's average weather."""
    crops = list(changed.coefficients)
    grid = Grid(title="Coefficients, live → candidate")
    grid.add_column("")
    for crop in crops:
        grid.add_column(crop, justify="right")
    grid.add_row("intercept", *(_change(changed.coefficients[crop].intercept) for crop in crops))
    for name in FEATURE_NAMES:
        grid.add_row(name, *(_change(changed.coefficients[crop].weights[name]) for crop in crops))
    yield grid
    more = len(changed.regions) - SHOWN_REGIONS
    grid = Grid(
        title="Predictions for each region's average weather, live → candidate, tons"
        + (f" (and {more} more)" if more > 0 else "")
    )
    grid.add_column("region")
    for crop in crops:
        grid.add_column(crop, justify="right")
    for region in changed.regions[:SHOWN_REGIONS]:
        grid.add_row(region.region or NONE, *(_change(region.yields[crop]) for crop in crops))
    yield grid


def _change(change: Change) -> str:
    return " → ".join(NONE if value is None else f"{value:.4g}" for value in (change.old, change.new))


def versions(page: VersionPage) -> Grid:
    """Return a page of versions: what fits beside each other in 80 columns without breaking a word."""
    grid = _listing("crops", "source", whole=("version", "state", "created", "rows"))
    for entry in page.versions:
        state: str = "damaged" if entry.damaged else entry.decision or ""
        if entry.live:
            state = "live" if state == "accepted" else f"live, {state}"
        grid.add_row(
            entry.version,
            state,
            f"{entry.created:{DAY}}" if entry.created else "",
            str(entry.rows) if entry.rows is not None else "",
            ", ".join(entry.crops or ()),
            entry.source,
        )
    return grid


def all_of_versions(page: VersionPage) -> Grid:
    """Return a page of versions with all that is known of each."""
    columns = ("version", "live", "created (UTC)", "recipe", "rows", "crops", "loss, tons²", "decision", "source")
    grid = _listing(*columns, "note", "after", "out-of-fold RMSE, tons (by)")
    for entry in page.versions:
        grid.add_row(
            entry.version,
            "live" if entry.live else "",
            f"{entry.created:{TIME}}" if entry.created else "",
            entry.recipe,
            str(entry.rows) if entry.rows is not None else "",
            ", ".join(entry.crops or ()),
            rounded(entry.loss) if entry.loss is not None else "",
            "damaged" if entry.damaged else entry.decision,
            entry.source,
            entry.note,
            entry.parent,
            "; ".join(f"{crop} {rounded(of.rmse)} ({of.by or NONE})" for crop, of in (entry.out_of_fold or {}).items()),
        )
    return grid


def held_out(page: ResidualPage) -> Grid:
    """Return each crop's error on rows held out."""
    grid = Grid("crop", title=f"Errors of version {page.model_version} on rows held out")
    for name in ("rows", "RMSE, tons"):
        grid.add_column(name, justify="right")
    grid.add_column("held out at a time")
    for crop, of in page.crops.items():
        grid.add_row(crop, str(of.rows), _or_none(of.rmse), HELD_OUT[of.by])
    return grid


def residuals(page: ResidualPage, most: int) -> Grid:
    """Return the ``most`` yields that lie farthest off, in their crop's error; rows count from 1, as in what was sent.

    Without the names of batches, which are as wide as half a terminal: ``--json`` has them.
    """
    found = [(_away(page, crop, of), entry, crop, of) for entry in page.residuals for crop, of in entry.yields.items()]
    found.sort(key=lambda each: -abs(each[0]))
    grid = Grid(title="Farthest off, tons: reported, predicted without the row, its interval")
    for name in ("row", "region", "season", "crop"):
        grid.add_column(name, overflow="fold")
    for name in ("tons", "predicted", "interval", "off", "leverage"):
        grid.add_column(name, justify="right", no_wrap=True)
    for _, entry, crop, of in found[:most]:
        interval = NONE if of.low is None or of.high is None else f"{of.low:.2f} to {of.high:.2f}"
        middle = of.out_of_fold
        tons = (NONE, NONE) if middle is None else (f"{middle:.2f}", f"{of.tons - middle:+.2f}")
        names = (str(entry.row + 1), entry.region or "", entry.season or "", crop)
        grid.add_row(*names, f"{of.tons:g}", tons[0], interval, tons[1], f"{of.leverage:.2f}")
    return grid


def _away(page: ResidualPage, crop: str, of: CropResidual) -> float:
    """Return how far a yield lies from what is predicted of it without it, in its crop's error."""
    return 0.0 if of.out_of_fold is None else (of.tons - of.out_of_fold) / (page.crops[crop].rmse or 1.0)


def batches(page: BatchPage) -> Grid:
    """Return a page of batches."""
    grid = _listing("from", whole=("batch", "rows", "stored"))
    for entry in page.batches:
        origin = [entry.source, entry.note, "withdrawn" if entry.withdrawn is not None else ""]
        grid.add_row(entry.batch, str(entry.rows), f"{entry.created:{DAY}}", "; ".join(filter(None, origin)))
    return grid


def drift(report: DriftReport) -> Grid:
    """Return the weather asked about beside that of training."""
    grid = Grid(title="Weather asked about and in training: mean ± standard deviation")
    grid.add_column("")
    for name in ("asked about", "in training", "shift, deviations"):
        grid.add_column(name, justify="right")
    for name, entry in report.features.items():
        asked = f"{entry.asked_mean:.4g} ± {entry.asked_deviation:.2g}"
        training = f"{entry.training_mean:.4g} ± {entry.training_deviation:.2g}"
        grid.add_row(name, asked, training, NONE if entry.shift is None else f"{entry.shift:+.2f}")
    return grid


def log(page: LogPage) -> Grid:
    """Return a page of the activation log."""
    grid = _listing("who", "why", whole=("line", "version", "when (UTC)"))
    for line in page.log:
        grid.add_row(str(line.number), line.version, f"{line.when:{TIME}}", line.who, line.why)
    return grid


def observations(entries: Iterable[ObservationEntry]) -> Iterator[Grid]:
    """Yield stored observations, a table a batch; rows count from 1, as in the table that was sent."""
    for batch, grouped in groupby(entries, lambda entry: (entry.batch, entry.withdrawn)):
        rows = list(grouped)
        crops = list(dict.fromkeys(crop for row in rows for crop in row.yields))
        grid = Grid(title=f"Batch {batch[0]}" + (", withdrawn" if batch[1] else ""))
        for name in ("row", "region", "season"):
            grid.add_column(name)
        for name in (*FEATURE_NAMES, *crops):
            grid.add_column(name, justify="right")
        for row in rows:
            weather = ("" if (value := getattr(row, name)) is None else f"{value:g}" for name in FEATURE_NAMES)
            yields = (f"{row.yields[crop]:g}" if crop in row.yields else "" for crop in crops)
            grid.add_row(str(row.row + 1), row.region or "", row.season or "", *weather, *yields)
        yield grid


def foretold(stored: ForecastsStored) -> Grid:
    """Return forecasts that were just stored."""
    crops = list(dict.fromkeys(crop for each in stored.predictions for crop in each.yields))
    grid = _of_forecasts(f"Tons, and the interval that covers {stored.level:g} of harvests", crops)
    for each in stored.predictions:
        yields = [_banded(each.yields.get(crop)) for crop in crops]
        grid.add_row(each.id, each.region, each.season, *yields, "; ".join(each.warnings))
    return grid


def forecasts(entries: Iterable[ForecastEntry]) -> Iterator[Grid]:
    """Yield stored forecasts, a table a batch."""
    for batch, grouped in groupby(entries, lambda entry: entry.batch):
        rows = list(grouped)
        first, crops = rows[0], list(rows[0].yields)
        told = f"version {first.model_version}: tons, interval of {first.level:g}"
        grid = _of_forecasts(f"Batch {batch}, {first.created:{DAY}}, {told}", crops)
        for row in rows:
            yields = [_banded(row.yields.get(crop)) for crop in crops]
            grid.add_row(row.id, row.region, row.season, *yields, "; ".join(row.warnings))
        yield grid


def _of_forecasts(title: str, crops: Iterable[str]) -> Grid:
    grid = Grid(title=title)
    for name in ("id", "region", "season"):
        grid.add_column(name, overflow="fold")
    for crop in crops:
        grid.add_column(crop, justify="right", no_wrap=True)
    grid.add_column("warnings", overflow="fold")
    return grid


def forecast_batches(page: ForecastBatchPage) -> Grid:
    """Return a page of batches of forecasts."""
    grid = _listing("from", whole=("batch", "rows", "version", "stored"))
    for entry in page.batches:
        gone = f"{entry.erased} of them erased since" if entry.erased else ""
        origin = "; ".join(filter(None, (entry.source, entry.note, gone)))
        grid.add_row(entry.batch, str(entry.rows), entry.model_version, f"{entry.created:{DAY}}", origin)
    return grid


def scored(page: ScorePage) -> Grid:
    """Return scores, a group a line."""
    keys = [name for name in page.by if name != "crop"]
    grid = Grid(title=SCORED[page.basis])
    for name in ("crop", *keys):
        grid.add_column(name, overflow="fold")
    for name in ("yields", "seasons", "bias (95%)", "RMSE (95%)", "inside", "skill"):
        grid.add_column(name, justify="right")
    for group in page.scores:
        crop = f"{group.crop}, set aside" if group.set_aside else group.crop
        held = group.coverage
        inside = "" if held is None else f"{held.inside} of {held.of}, promised {held.promised:.0%}"
        figures = [_banded(group.bias), _banded(group.rmse), inside]
        skill = "" if group.skill is None else f"{group.skill:.2f}"
        told = ["" if (value := getattr(group, name)) is None else str(value) for name in keys]
        grid.add_row(crop, *told, str(group.n), str(group.seasons), *figures, skill)
    return grid


def _banded(of: BandedTons | ForecastYield | None) -> str:
    if of is None:
        return ""
    return f"{of.tons:.2f}" if of.low is None or of.high is None else f"{of.tons:.2f} ({of.low:.2f} to {of.high:.2f})"


class Difference(NamedTuple):
    """A number of two versions' cards, None where one of them lacks it."""

    name: str
    first: float | None
    second: float | None

    @property
    def change(self) -> float | None:
        """The second less the first."""
        return None if self.first is None or self.second is None else self.second - self.first


def differences(first: Card, second: Card) -> list[Difference]:
    """Return the numbers that differ: rows, loss, and each crop's."""
    before, after = (dict(_numbers(card)) for card in (first, second))
    found = [Difference(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]
    return [difference for difference in found if difference.first != difference.second]


def difference(first: str, second: str, found: Iterable[Difference]) -> Grid:
    """Return them side by side."""
    grid = Grid("", f"version {first}", f"version {second}", "change", title="Differences")
    for number in found:
        values = (NONE if value is None else f"{value:.9g}" for value in (number.first, number.second))
        grid.add_row(number.name, *values, "" if number.change is None else f"{number.change:+.4g}")
    return grid


def _numbers(card: Card) -> Iterator[tuple[str, float | None]]:
    yield "rows", card.rows.total
    yield "loss, tons²", card.fit.loss
    for name, crop in card.crops.items():
        yield f"{name}: rows", crop.rows
        yield f"{name}: intercept, tons", crop.intercept
        for feature in card.features:
            yield f"{name}: {feature.name}, tons per {feature.unit}", crop.weights[feature.name]
        yield f"{name}: residual sd, tons", crop.residual_sd
        yield f"{name}: out-of-fold RMSE (held out: {HELD_OUT[crop.out_of_fold.by]}), tons", crop.out_of_fold.rmse


def _listing(*names: str, whole: Iterable[str] = ()) -> Grid:
    """Return a table whose cells are folded in a narrow terminal, not cut; those of the first ``whole`` are not."""
    grid = Grid()
    for name in whole:
        grid.add_column(name, no_wrap=True)
    for name in names:
        grid.add_column(name, overflow="fold")
    return grid
