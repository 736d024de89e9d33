"""What the command line shows: how a training goes and what came of it, answers as tables or as JSON."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from app.cli import grids, words
from app.cli.grids import Grid
from app.cli.terminal import escaped, escaped_json, quoted, wrapped
from app.cli.words import Line, Place
from app.model.moments import Array
from app.model.progress import Progress, Step, no_progress
from app.store.card import Card
from app.training.report import NOTHING_NEW, Report
from app.wire.schemas import (
    Access,
    BatchPage,
    DriftReport,
    ForecastBatchPage,
    ForecastPage,
    ForecastsStored,
    LogPage,
    ObservationPage,
    OnePrediction,
    ResidualPage,
    ScorePage,
    VersionCard,
    VersionPage,
)

PIPE_WIDTH = 160
"""Characters in a line where the output is not a terminal."""


OF_PARTS = "reading "
"""What the stage of a table that is read file by file, or part by part, begins with."""


class Screen(Console):
    """Where to print. Of names and notes in it, nothing does anything but show."""

    def print(self, *parts: Any, **named: Any) -> None:
        """Print lines and tables."""
        super().print(*(quoted(part) if isinstance(part, str) else part for part in parts), **named)

    def say(self, *lines: Line | str) -> None:
        """Print sentences: on a terminal each in lines that end between words."""
        for line in lines:
            text, style = (line, "") if isinstance(line, str) else line
            shown = quoted(text)
            if self.is_terminal:
                indent = " " * (len(shown) - len(shown.lstrip()) + 2)
                shown = wrapped(shown, self.width, indent)
            super().print(Text(shown, style))


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
def progress(
    *, as_json: bool = False, every_epoch: bool = False, details: bool = False, begins: str = "starting"
) -> Iterator[Progress]:
    """Show how a training goes.

    A bar on a terminal; elsewhere lines, where ``details`` are wanted, and for every epoch where the recipe asks for
    them. Where the output is to be JSON, the bar is on standard error, and there are no lines. ``begins``: what is
    shown until the first step.
    """
    shown = console(stderr=as_json)
    if not shown.is_terminal:
        yield no_progress if as_json or not (details or every_epoch) else _lines(shown, every_epoch=every_epoch)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(begins, total=None)

        def show(step: Step) -> None:
            if step.loss is not None and every_epoch:
                shown.print(_epoch(step, step.loss, every_epoch=True))
            text = quoted(_stage(step, every_epoch=every_epoch))
            total = step.epochs if every_epoch and step.epochs else None
            # The first of a stage is drawn at once: most stages are over before the next refresh.
            bar.update(task, description=text, completed=step.epoch, total=total, refresh=step.epoch <= 1)

        yield show


def _stage(step: Step, *, every_epoch: bool) -> str:
    """Return what is being done; how many epochs there will be only where that is known."""
    if step.loss is None:
        return step.stage
    of = f" of {step.epochs}" if every_epoch else ""
    return f"{step.stage}, epoch {step.epoch}{of}, loss {step.loss:.6g}"


def _lines(shown: Console, *, every_epoch: bool) -> Progress:
    part = ""

    def line(step: Step) -> None:
        nonlocal part
        if step.stage.startswith(OF_PARTS) and step.stage != part:
            part = step.stage
            shown.print(part)
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


def print_beside_targets(crops: Iterable[str], targets: Array, predictions: Array) -> None:
    """Print the tutorial recipe's predictions beside the targets, tons."""
    console().print(grids.beside_targets(crops, targets, predictions))


def print_report(report: Report, about: "About", *, details: bool = False) -> None:
    """Print what came of a training: in words, and with ``details`` all its figures."""
    out = console()
    if is_unchanged(report):
        out.say(*report.reasons)
        return
    card, rejected = about.card, report.decision == "rejected"
    if card is not None and (details or not rejected):
        out.say(*words.worth(card))
    if details:
        out.say(*_facts(report, card))
        _print_figures(out, report, about)
    else:
        out.say(*words.left_out(report.left_out))
    out.say(*words.suspicious(report.suspicious, about.place))
    if report.changes is not None:
        _, regions = shown = list(grids.changes(report.changes))
        out.print(*(shown if details else [regions]), sep="\n")
    out.say(*words.decision(report, about.parent, whole=details))
    ending = list(words.ending(report, card, about.live, about.place))
    if rejected and not report.activated:
        _print_where(out, report, about.location)
        out.say(*ending)
    else:
        out.say(*ending)
        _print_where(out, report, about.location)


class About(NamedTuple):
    """What is known beside a training's report.

    ``card``: of its version, None for a dry run. ``parent``: the version that was live before. ``live``: the one that
    is now. ``recorded``: the errors out of fold, by region, that are known of ``parent``, by crop. ``location``: where
    the version is. ``place``: where rows stand in what was sent.
    """

    card: Card | None
    parent: str | None
    live: str | None
    recorded: Mapping[str, float]
    location: str
    place: Place


def is_unchanged(report: Report) -> bool:
    """Say whether a training has made no version, since the live one is what would have come of it."""
    return [reason.partition("version")[0] for reason in report.reasons] == [NOTHING_NEW.partition("version")[0]]


def _print_where(out: "Screen", report: Report, location: str) -> None:
    if report.version is None:
        out.print("a dry run: nothing was stored or published")
    else:
        out.print(f"version {report.version} ({'live' if report.activated else 'not live'}): {location}")


def _print_figures(out: "Screen", report: Report, about: "About") -> None:
    if about.card is not None:
        out.print(grids.coefficients(about.card), grids.scores(about.card), sep="\n")
    pairs = [pair for score in report.scores.values() for pair in (score.new, score.old)]
    if any(pair.current_rmse is not None for pair in pairs):
        out.print(grids.gate(report.scores, about.recorded))


def _facts(report: Report, card: Card | None) -> list[str]:
    if card is not None:
        return grids.fit_lines(card)
    return [f"rows                {report.rows.total}", *grids.fitting(report.fit), *grids.left_out(report.left_out)]


def print_prediction(answer: OnePrediction, level: float) -> None:
    """Print one region's yields and the warnings beside them."""
    out = console()
    out.print(grids.prediction(answer, level))
    if (parts := grids.explanation(answer)) is not None:
        out.print(parts)
    out.say(*(f"warning: {warning}" for warning in answer.warnings))


def print_versions(page: VersionPage, *, wide: bool = False) -> None:
    """Print a page of versions; ``wide``: all that is known of each, however wide the terminal is."""
    _print_page([grids.all_of_versions(page) if wide else grids.versions(page)], _before(page.next), wide=wide)


def _before(following: object) -> str | None:
    return f"--before {following}" if following else None


def print_card(card: VersionCard) -> None:
    """Print one version's card."""
    out = console()
    out.print(f"version             {card.version} ({'live' if card.live else 'not live'})")
    out.say(*words.worth(card), *grids.fit_lines(card))
    out.print(grids.coefficients(card), grids.scores(card), sep="\n")
    out.say(f"{card.decision}:", *(f"  {reason}" for reason in card.reasons))


def print_difference(first: VersionCard, second: VersionCard) -> None:
    """Print what changed from one version to another: rows, loss, and each crop's numbers side by side."""
    console().print(grids.difference(first.version, second.version, grids.differences(first, second)))


def print_residuals(page: ResidualPage, most: int) -> None:
    """Print the ``most`` yields that lie farthest from what is predicted of them without them."""
    out = console()
    out.say(*([] if page.reason is None else [page.reason]))
    if not page.residuals:
        return
    out.print(grids.held_out(page), grids.residuals(page, most), sep="\n")


def print_log(page: LogPage) -> None:
    """Print a page of the activation log."""
    _print_page([grids.log(page)], _before(page.next))


def print_batches(page: BatchPage) -> None:
    """Print a page of batches."""
    if not page.batches:
        console().print("no batch is stored")
        return
    _print_page([grids.batches(page)], _before(page.next))


def print_drift(report: DriftReport) -> None:
    """Print how far the weather asked about lately is from that of training."""
    out = console()
    out.say(*words.drift(report))
    if report.asked:
        out.print(grids.drift(report))


def print_access(found: Access) -> None:
    """Print what may be done with the token, or without one."""
    console().say(*words.access(found))


def print_glossary(terms: Mapping[str, str]) -> None:
    """Print what terms mean, a line each."""
    console().say(*(f"{term}: {meaning}" for term, meaning in terms.items()))


def complain(text: str) -> None:
    """Print a sentence on standard error."""
    console(stderr=True).say(text)


def print_observations(page: ObservationPage) -> None:
    """Print a page of stored observations."""
    if not page.observations:
        console().print("no observation is stored")
        return
    _print_page(grids.observations(page.observations), f"--after {page.next}" if page.next else None)


def print_stored_forecasts(stored: ForecastsStored) -> None:
    """Print forecasts that were just stored."""
    out = console()
    out.print(grids.foretold(stored))
    count = len(stored.predictions)
    out.print(f"batch {stored.batch}: {count} forecasts by version {stored.model_version} stored")


def print_forecasts(page: ForecastPage) -> None:
    """Print a page of stored forecasts."""
    if not page.forecasts:
        console().print(f"no such forecast here; there are more: --after {page.next}" if page.next else "no forecast")
        return
    _print_page(grids.forecasts(page.forecasts), f"--after {page.next}" if page.next else None)


def print_forecast_batches(page: ForecastBatchPage) -> None:
    """Print a page of batches of forecasts."""
    if not page.batches:
        console().print("no batch of forecasts is stored")
        return
    _print_page([grids.forecast_batches(page)], _before(page.next))


def print_scores(page: ScorePage) -> None:
    """Print scores, and what they come to, in sentences."""
    out = console()
    if page.scores:
        out.print(grids.scored(page))
    else:
        out.print("no yield has been reported of what was predicted")
    for group in page.scores:
        named = (getattr(group, name) for name in page.by if name != "crop")
        told = [str(value) for value in named if value is not None]
        aside = ["set aside by a training"] if group.set_aside else []
        ambiguous = f"; of {group.ambiguous} another one may be the yield" if group.ambiguous else ""
        out.say(f"{', '.join([group.crop, *told, *aside])}: {group.verdict}{ambiguous}")
    left = page.left_out
    if left.learned:
        out.say(f"{left.learned} not counted: the version had learned the yield")
    if left.known:
        out.say(f"{left.known} not counted: the forecast was stored after the yield")
    if left.unreadable:
        out.say(f"{left.unreadable} not counted: what is stored cannot be read; orchard check names it")


def _print_page(found: Iterable[Grid], following: str | None, *, wide: bool = False) -> None:
    out = console()
    if wide:
        found = list(found)
        endless = out.options.update(width=sys.maxsize)
        out.width = max([out.width, *(out.measure(grid, options=endless).maximum for grid in found)])
    out.print(*found, sep="\n")
    if following:
        out.print(f"there are more: {following}")
