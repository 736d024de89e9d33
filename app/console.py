"""What the command line shows: a training's progress and report, versions, and what changed between two of them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from app import memory
from app.errors import NotReady, StoreDamaged, TrainingUnavailable
from app.model.figures import figure
from app.model.moments import Array
from app.settings import Settings
from app.store.card import Card, CropCard
from app.store.registry import Registry
from app.training.order import Order
from app.training.report import Report

Show = Callable[[str, int, int, float | None], None]


NONE = "-"
PIPE_WIDTH = 160
"""Characters in a line where the output is not a terminal."""


def run(settings: Settings, order: Order) -> None:
    """Carry out a training here, show how it goes, and print what came of it.

    Raises:
        TrainingUnavailable: torch is not installed.
        OrchardError: whatever the job raises.
    """
    try:
        from app.training.job import Job  # noqa: PLC0415 - imports torch, which may not be there
    except ModuleNotFoundError as error:
        raise TrainingUnavailable("torch, which training needs, is not installed here") from error

    memory.keep_freed()
    console = _console()
    job = Job(settings)
    try:
        with _progress(console, every_epoch=order.recipe.name == "tutorial") as show:
            outcome = job.run(order, show)
    finally:
        job.close()
    card = outcome.version.card
    if outcome.predictions is not None:
        _print_predictions(console, card, *outcome.predictions)
    _print_report(console, settings, outcome.report, card)


def _console() -> Console:
    # A pipe has no width: tables are cut to a terminal's only where there is one.
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@contextmanager
def _progress(console: Console, *, every_epoch: bool) -> Iterator[Show]:
    """A bar on a terminal; lines elsewhere, and for every epoch where the recipe asks for them."""
    if not console.is_terminal:

        def line(stage: str, epoch: int, epochs: int, loss: float | None) -> None:
            if stage == "fitting" and loss is not None and (every_epoch or _is_round(epoch)):
                console.print(_epoch(epoch, epochs, loss, every_epoch=every_epoch))

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(stage: str, epoch: int, epochs: int, loss: float | None) -> None:
            if loss is not None and every_epoch:
                console.print(_epoch(epoch, epochs, loss, every_epoch=True))
            text = stage if loss is None else f"{stage}, loss {loss:.6g}"
            bar.update(task, description=text, completed=epoch, total=epochs or None)

        yield show


def _is_round(epoch: int) -> bool:
    """Whether an epoch is 1, 2, 5, 10, 20, 50, 100 and so on."""
    return str(epoch).rstrip("0") in {"1", "2", "5"}


def _epoch(epoch: int, epochs: int, loss: float, *, every_epoch: bool) -> str:
    # Descent stops by itself: its number of epochs is a limit and says nothing about how far it is.
    return f"Epoch {epoch}/{epochs}: Loss: {loss:.4f}" if every_epoch else f"Epoch {epoch}: Loss: {loss:.10g}"


def _print_predictions(console: Console, card: Card, targets: Array, predictions: Array) -> None:
    """Print the tutorial recipe's predictions beside the targets, tons."""
    grid = Grid(title="Predictions beside targets, tons", title_justify="left")
    for crop in card.crops:
        grid.add_column(f"{crop} predicted", justify="right")
        grid.add_column(f"{crop} target", justify="right")
    for predicted, target in zip(predictions.tolist(), targets.tolist(), strict=True):
        pairs = zip(predicted, target, strict=True)
        grid.add_row(*(cell for guess, true in pairs for cell in (f"{guess:.2f}", f"{true:g}")))
    console.print(grid)


def _print_report(console: Console, settings: Settings, report: Report, card: Card) -> None:
    console.print(*fit_lines(card), sep="\n")
    console.print(coefficients(card), scores(card), sep="\n")
    for item in report.suspicious:
        console.print(
            f"suspicious: row {item.row} ({item.region or 'unnamed'}), {item.crop} {figure(item.tons)} tons: "
            f"{figure(item.predicted)} predicted, {figure(item.standard_errors)} standard errors away"
        )
    _print_decision(console, card)
    path = settings.model_store / "versions" / f"{report.version}.safetensors"
    console.print(f"version {report.version} ({'live' if report.activated else 'not live'}): {path}")
    if report.decision == "rejected" and not report.activated:
        console.print("it is kept for inspection; --activate always makes a version live whatever the gate says")


def _print_decision(console: Console, card: Card) -> None:
    console.print(f"{card.decision}:", *(f"  {reason}" for reason in card.reasons), sep="\n")


def fit_lines(card: Card) -> list[str]:
    """Return how fitting went, a line a fact."""
    fit = card.fit
    return [
        f"rows                {card.rows.total}",
        f"recipe              {card.recipe}",
        f"epochs              {fit.epochs} ({'converged' if fit.converged else 'NOT converged'})",
        f"loss                {fit.loss:.12g} tons² (mean squared error over all elements)",
        f"least-squares loss  {fit.least_squares_loss:.12g} tons²",
        f"relative gap        {fit.relative_gap:.3g}",
        *(f"left out            {sentence}" for sentence in card.left_out),
        *(line for crop, part in card.crops.items() for line in _undetermined(crop, part)),
    ]


def _undetermined(crop: str, part: CropCard) -> Iterator[str]:
    if part.constant_features:
        yield f"constant            {', '.join(part.constant_features)}, in the rows of {crop}: weight 0"
    if part.collinear_features:
        yield f"collinear           {', '.join(part.collinear_features)}, in the rows of {crop}: minimum-norm weights"


def coefficients(card: Card) -> Grid:
    """Return each crop's coefficients with their standard errors and units."""
    grid = Grid(title="Coefficients (± standard error)", title_justify="left")
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
    if errors is None:
        return f"{value:.9g}"
    return f"{value:.9g} ± {errors.intercept if feature is None else errors.weights[feature]:.2g}"


def scores(card: Card) -> Grid:
    """Return how far to trust each crop's line."""
    grid = Grid(title="Scores", title_justify="left")
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
        grid.add_row(name, *(_or_none(value(crop)) for crop in card.crops.values()), unit)
    return grid


def _or_none(value: float | None) -> str:
    return NONE if value is None else figure(value)


def print_versions(registry: Registry) -> None:
    """Print all versions, newest first."""
    live = _live(registry)
    grid = Grid("version", "live", "created (UTC)", "recipe", "rows", "crops", "loss, tons²", "decision", "source")
    for number in registry.versions():
        version = str(number)
        try:
            card = registry.read(version).card
        except StoreDamaged as error:
            grid.add_row(version, "", "", "", "", "", "", "damaged", error.detail)
            continue
        grid.add_row(
            version,
            "live" if version == live else "",
            f"{card.created:%Y-%m-%d %H:%M:%S}",
            card.recipe,
            str(card.rows.total),
            ", ".join(card.crops),
            figure(card.fit.loss),
            card.decision,
            card.source,
        )
    _console().print(grid)


def print_version(registry: Registry, version: str) -> None:
    """Print one version's card."""
    card = registry.read(version).card
    console = _console()
    console.print(*fit_lines(card), sep="\n")
    console.print(coefficients(card), scores(card), sep="\n")
    _print_decision(console, card)


def print_difference(registry: Registry, first: str, second: str) -> None:
    """Print what changed from one version to another: rows, loss, and each crop's numbers side by side."""
    cards = [registry.read(version).card for version in (first, second)]
    grid = Grid("", f"version {first}", f"version {second}", "change", title="Differences", title_justify="left")
    before, after = (dict(_numbers(card)) for card in cards)
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        change = "" if old is None or new is None else f"{new - old:+.4g}"
        if old != new:
            grid.add_row(name, *(NONE if value is None else f"{value:.9g}" for value in (old, new)), change)
    _console().print(grid)


def _numbers(card: Card) -> Iterator[tuple[str, float | None]]:
    yield "rows", card.rows.total
    yield "loss, tons²", card.fit.loss
    for name, crop in card.crops.items():
        yield f"{name}: rows", crop.rows
        yield f"{name}: intercept, tons", crop.intercept
        for feature in card.features:
            yield f"{name}: {feature.name}, tons per {feature.unit}", crop.weights[feature.name]
        yield f"{name}: residual sd, tons", crop.residual_sd
        yield f"{name}: out-of-fold RMSE, tons", crop.out_of_fold.rmse


def _live(registry: Registry) -> str | None:
    try:
        return registry.live()[0].version
    except NotReady:
        return None
