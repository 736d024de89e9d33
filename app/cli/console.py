"""What the command line shows: how a training goes and what came of it, answers as tables or as JSON."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from app.cli import grids
from app.cli.grids import Grid
from app.cli.terminal import escaped, escaped_json, quoted
from app.model.moments import Array
from app.model.progress import Progress, Step, no_progress
from app.model.rounding import rounded
from app.store.card import Card
from app.training.report import Report
from app.wire.schemas import LogPage, ObservationPage, OnePrediction, VersionCard, VersionPage

PIPE_WIDTH = 160
"""Characters in a line where the output is not a terminal."""


class Screen(Console):
    """Where to print. Of names and notes in it, nothing does anything but show."""

    def print(self, *parts: Any, **named: Any) -> None:
        """Print lines and tables."""
        super().print(*(quoted(part) if isinstance(part, str) else part for part in parts), **named)


def console(*, stderr: bool = False) -> Screen:
    """Return where to print. A pipe has no width: tables are cut to a terminal's only where there is one."""
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else PIPE_WIDTH
    return Screen(stderr=stderr, highlight=False, soft_wrap=True, width=width, markup=False, emoji=False)


def print_line(text: str) -> None:
    """Print one line."""
    print(quoted(text))


def print_table(table: str) -> None:
    """Print CSV: to a file or a pipe as it is, to be sent again; on a terminal so that it only shows."""
    sys.stdout.write(escaped(table) if sys.stdout.isatty() else table)


def print_json(answer: BaseModel | list[Any] | dict[str, Any]) -> None:
    """Print an answer as the service gives it: without what it was not asked for."""
    content = answer.model_dump_json(exclude_unset=True) if isinstance(answer, BaseModel) else to_json(answer).decode()
    print(escaped_json(content))


@contextmanager
def progress(*, as_json: bool = False, every_epoch: bool = False) -> Iterator[Progress]:
    """Show how a training goes.

    A bar on a terminal; lines elsewhere, and for every epoch where the recipe asks for them. Where the output is to be
    JSON, the bar is on standard error, and there are no lines.
    """
    shown = console(stderr=as_json)
    if not shown.is_terminal:
        yield no_progress if as_json else _lines(shown, every_epoch=every_epoch)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(step: Step) -> None:
            if step.loss is not None and every_epoch:
                shown.print(_epoch(step, step.loss, every_epoch=True))
            text = quoted(step.stage if step.loss is None else f"{step.stage}, loss {step.loss:.6g}")
            # The first of a stage is drawn at once: most stages are over before the next refresh.
            bar.update(task, description=text, completed=step.epoch, total=step.epochs or None, refresh=step.epoch <= 1)

        yield show


def _lines(shown: Console, *, every_epoch: bool) -> Progress:
    def line(step: Step) -> None:
        if step.loss is not None and (every_epoch or _is_round(step.epoch)):
            shown.print(_epoch(step, step.loss, every_epoch=every_epoch))

    return line


def _is_round(epoch: int) -> bool:
    """Whether an epoch is 1, 2, 5, 10, 20, 50, 100 and so on."""
    return str(epoch).rstrip("0") in {"1", "2", "5"}


def _epoch(step: Step, loss: float, *, every_epoch: bool) -> str:
    # Descent stops by itself: its number of epochs is a limit and says nothing about how far it is.
    return (
        f"Epoch {step.epoch}/{step.epochs}: Loss: {loss:.4f}"
        if every_epoch
        else f"Epoch {step.epoch}: Loss: {loss:.10g}"
    )


def print_beside_targets(card: Card, targets: Array, predictions: Array) -> None:
    """Print the tutorial recipe's predictions beside the targets, tons."""
    console().print(grids.beside_targets(card.crops, targets, predictions))


def print_report(report: Report, card: Card | None, location: str) -> None:
    """Print a training's report; ``card``: the version's, None for a dry run, ``location``: where the version is."""
    out = console()
    out.print(*_facts(report, card), sep="\n")
    if card is not None:
        out.print(grids.coefficients(card), grids.scores(card), sep="\n")
    if any(
        score.new.current_rmse is not None or score.old.current_rmse is not None for score in report.scores.values()
    ):
        out.print(grids.gate(report.scores))
    for item in report.suspicious:
        out.print(
            f"suspicious: row {item.row} ({item.region or 'unnamed'}), {item.crop} {rounded(item.tons)} tons: "
            f"{rounded(item.predicted)} predicted, {rounded(item.standard_errors)} standard errors away"
        )
    if report.changes is not None:
        out.print(*grids.changes(report.changes), sep="\n")
    _print_decision(out, report.decision, report.reasons)
    if report.version is None:
        out.print("a dry run: nothing was stored or published")
        return
    out.print(f"version {report.version} ({'live' if report.activated else 'not live'}): {location}")
    if report.decision == "rejected" and not report.activated:
        out.print("it is kept for inspection; --activate always makes a version live whatever the gate says")


def _facts(report: Report, card: Card | None) -> list[str]:
    if card is not None:
        return grids.fit_lines(card)
    return [f"rows                {report.rows.total}", *grids.fitting(report.fit), *grids.left_out(report.left_out)]


def _print_decision(out: Console, decision: str, reasons: Iterable[str]) -> None:
    out.print(f"{decision}:", *(f"  {reason}" for reason in reasons), sep="\n")


def print_prediction(answer: OnePrediction, level: float) -> None:
    """Print one region's yields and the warnings beside them."""
    out = console()
    out.print(grids.prediction(answer, level))
    for warning in answer.warnings:
        out.print(f"warning: {warning}")


def print_versions(page: VersionPage) -> None:
    """Print a page of versions."""
    _print_page([grids.versions(page)], f"--before {page.next}" if page.next else None)


def print_card(card: VersionCard) -> None:
    """Print one version's card."""
    out = console()
    out.print(f"version             {card.version} ({'live' if card.live else 'not live'})")
    out.print(*grids.fit_lines(card), sep="\n")
    out.print(grids.coefficients(card), grids.scores(card), sep="\n")
    _print_decision(out, card.decision, card.reasons)


def print_difference(first: VersionCard, second: VersionCard) -> None:
    """Print what changed from one version to another: rows, loss, and each crop's numbers side by side."""
    console().print(grids.difference(first.version, second.version, grids.differences(first, second)))


def print_log(page: LogPage) -> None:
    """Print a page of the activation log."""
    _print_page([grids.log(page)], f"--before {page.next}" if page.next else None)


def print_observations(page: ObservationPage) -> None:
    """Print a page of stored observations."""
    if not page.observations:
        console().print("no observation is stored")
        return
    _print_page(grids.observations(page.observations), f"--after {page.next}" if page.next else None)


def _print_page(found: Iterable[Grid], following: str | None) -> None:
    out = console()
    out.print(*found, sep="\n")
    if following:
        out.print(f"there are more: {following}")
