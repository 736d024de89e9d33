"""A training on the command line: its progress, and the report at its end. Imports torch only when it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from app.errors import TrainingUnavailable
from app.model.moments import Array
from app.settings import Settings
from app.store.card import Card
from app.training.order import Order
from app.training.report import Report

Show = Callable[[str, int, int, float | None], None]


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

    console = Console(highlight=False, soft_wrap=True)
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
    fit = report.fit
    state = "converged" if fit.converged else "NOT converged"
    lines = [
        f"rows                {report.rows.total}",
        f"recipe              {card.recipe}",
        f"epochs              {fit.epochs} ({state})",
        f"loss                {fit.loss:.12g} tons² (mean squared error over all elements)",
        f"least-squares loss  {fit.least_squares_loss:.12g} tons²",
        f"relative gap        {fit.relative_gap:.3g}",
        *(f"left out            {sentence}" for sentence in report.left_out),
    ]
    console.print("\n".join(lines))
    console.print(_coefficients(card))
    for reason in report.reasons:
        console.print(f"{report.decision}: {reason}")
    path = settings.model_store / "versions" / f"{report.version}.safetensors"
    live = "live" if report.activated else "not live"
    console.print(f"version {report.version} ({live}): {path}")


def _coefficients(card: Card) -> Grid:
    grid = Grid(title="Coefficients", title_justify="left")
    grid.add_column("")
    for crop in card.crops:
        grid.add_column(crop, justify="right")
    grid.add_column("unit")
    grid.add_row("intercept", *(f"{crop.intercept:.9g}" for crop in card.crops.values()), "tons")
    for feature in card.features:
        weights = (f"{crop.weights[feature.name]:.9g}" for crop in card.crops.values())
        grid.add_row(feature.name, *weights, f"tons per {feature.unit}")
    return grid
