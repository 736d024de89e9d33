"""What is asked of a store or a service besides the call itself, to be told with its answer."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import OrchardError

if TYPE_CHECKING:
    from app.cli.local import Local
    from app.cli.rollback import Left
    from app.client import Orchard
    from app.training.report import Report
    from app.wire.schemas import VersionCard


def print_report(orchard: "Orchard | Local", report: "Report", table: Path | None, *, details: bool) -> None:
    """Print a training's report; ``table``: what was sent, whose lines are named."""
    from app.cli import console
    from app.cli.places import places

    live = orchard.models(limit=1).live
    card = None if report.version is None or console.is_unchanged(report) else orchard.card(report.version)
    parent = card.parent if card is not None else live
    recorded = _recorded(orchard, parent) if details and parent is not None else {}
    place = places(table, report.suspicious)
    about = console.About(card, parent, live, recorded, orchard.location(report.version), place)
    console.print_report(report, about, details=details)


def tell_example(orchard: "Orchard | Local", version: str) -> None:
    """Say so where a version was trained on nothing but invented regions."""
    from app.cli import console, words
    from app.data import example

    card = _card(orchard, version)
    if card is not None and example.is_learned(card.data_digest):
        console.complain(f"version {card.version} is {words.example()}")


def tell_extrapolated(answer: str) -> None:
    """Say how many regions of an answer in CSV, in any dialect, are outside what training has seen, where any are."""
    from app.cli import console
    from app.data.dialect import separator_of

    separator, _ = separator_of(answer)
    header, *rows = csv.reader(io.StringIO(answer, newline=""), delimiter=separator)
    place = header.index("extrapolated")
    outside = sum(row[place] == "true" for row in rows)
    if outside:
        are = "is" if outside == 1 else "are"
        console.complain(f"{outside} of {len(rows)} regions {are} outside what training has seen")


def left(orchard: "Orchard | Local", version: str, *, needed: bool) -> "Left | None":
    """Look at what going back leaves in training; None where that cannot be seen, which holds up no rollback."""
    from app.cli import rollback

    try:
        return rollback.left(orchard, version)
    except _failures(orchard):
        if needed:
            raise
        return None


def _recorded(orchard: "Orchard | Local", version: str) -> dict[str, float]:
    """Return a version's errors on rows held out by region, which those of a candidate are compared with, by crop."""
    card = _card(orchard, version)
    held = {crop: part.out_of_fold for crop, part in card.crops.items()} if card is not None else {}
    return {crop: error.rmse for crop, error in held.items() if error.by in {"region", None}}


def _card(orchard: "Orchard | Local", version: str) -> "VersionCard | None":
    """Return a card that something is to be said of besides, None where it is not to be had."""
    try:
        return orchard.card(version)
    except _failures(orchard):
        return None


def _failures(orchard: "Orchard | Local") -> tuple[type[Exception], ...]:
    """Return what may be raised by what is asked; the client is imported only where it is that."""
    from app.cli.local import Local

    if isinstance(orchard, Local):
        return (OrchardError,)
    from app.client import ClientError

    return (ClientError,)
