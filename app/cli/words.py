"""What came of a training, of drift and of asking for access, in plain words, a sentence a line. Prints nothing."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from app.data import example as the_example
from app.model.rounding import rounded
from app.model.slips import WAY_OUT
from app.model.worth import LOST, Worth
from app.store.card import Card, CropCard
from app.training.report import Report, SuspiciousYield
from app.wire.schemas import Access, DriftReport

SHOWN_REASONS, SHOWN_YIELDS = 3, 10
"""Reasons of a rejection, and suspicious yields, that are shown; the version's card, or ``--json``, has them all."""
POOR = "yellow"
"""How a terminal shows what deserves no trust."""

Place = Callable[[SuspiciousYield], str]
"""Says where in what was sent a yield stands."""


class Line(NamedTuple):
    """A line, and the style in which a terminal shows it."""

    text: str
    style: str = ""


def worth(card: Card) -> Iterator[Line]:
    """Yield how much the weather explains, a sentence a crop."""
    for name, crop in card.crops.items():
        of = _worth(crop)
        yield Line(of.sentence(name), POOR if of.is_useless else "")


def _worth(crop: CropCard) -> Worth:
    held = crop.out_of_fold
    return Worth(held.by, held.r_squared, held.rmse, crop.mean_yield)


def example() -> str:
    """Return what is said of a version that has learned nothing but the example."""
    return f"an example, trained on {the_example.words()}: `orchard train YOUR.csv` trains on your own"


def left_out(sentences: Iterable[str]) -> Iterator[Line]:
    """Yield what takes no part."""
    return (Line(f"left out: {sentence}", POOR) for sentence in sentences)


def suspicious(found: list[SuspiciousYield], place: Place) -> Iterator[Line]:
    """Yield the yields that lie far from what the current model predicts."""
    for item in found[:SHOWN_YIELDS]:
        yield Line(
            f"{place(item)}, {item.crop}: {rounded(item.tons)} tons; {rounded(item.predicted)} predicted; "
            f"{rounded(item.standard_errors)} standard errors away",
            POOR,
        )
    if len(found) > SHOWN_YIELDS:
        yield Line(f"… and {len(found) - SHOWN_YIELDS} more like that (--json lists them)", POOR)


def decision(report: Report, parent: str | None, *, whole: bool) -> Iterator[Line]:
    """Yield what the gate says, and what has come of it; ``whole``: with all its reasons."""
    would = "would be " if report.dry_run else ""
    if report.decision == "accepted":
        yield Line(f"{would}accepted: {_standing(report, parent)}")
        yield from (Line(f"  {reason}") for reason in report.reasons if whole or LOST in reason)
        return
    though = ", and live all the same, as was asked" if report.activated else ""
    yield Line(f"{would}rejected{though}:", POOR)
    shown = report.reasons if whole else report.reasons[:SHOWN_REASONS]
    # What to do is said at the end, where it is read.
    yield from (Line(f"  {reason if whole else reason.removesuffix(f'; {WAY_OUT}')}") for reason in shown)
    if more := len(report.reasons) - len(shown):
        all_of_them = "--details" if report.version is None else f"orchard models show {report.version}"
        yield Line(f"  … and {more} more: {all_of_them}")


def _standing(report: Report, parent: str | None) -> str:
    rows, sent = report.rows.total, report.rows.received
    learned = f"trained on {rows} rows" + (f", {sent} of them sent now" if 0 < sent < rows else "")
    if parent is None:
        return f"{learned}; there was no model to compare it with"
    pairs = [pair for score in report.scores.values() for pair in (score.new, score.old)]
    return f"{learned}; no worse than version {parent}" if any(pair.current_rmse for pair in pairs) else learned


def ending(report: Report, card: Card | None, live: str | None, place: Place) -> Iterator[Line]:
    """Yield where things stand, and what to do next."""
    if report.decision == "rejected" and not report.activated:
        yield Line(" ".join(_after_rejection(report, live, place)))
        return
    if report.version is None:
        return
    if report.batch is not None:
        yield Line(f"its rows are stored as batch {report.batch}")
    if not report.activated:
        yield Line(f"it is not live, as was asked: `orchard activate {report.version}` makes it so")
    if card is not None and the_example.is_learned(card.data_digest):
        yield Line(f"this is {example()}")
    yield Line(f"all its figures: `orchard models show {report.version}`; what they mean: `orchard glossary`")


def _after_rejection(report: Report, live: str | None, place: Place) -> Iterator[str]:
    yield f"Nothing has changed: {f'version {live} is still live' if live is not None else 'no version is live'}."
    rows = report.rows.received
    if report.suspicious:
        first, more = report.suspicious[0], len({item.row for item in report.suspicious}) - 1
        others = f" and {more} more" if more else ""
        yield f"Look at {place(first)}{others}; correct {'them' if more else 'it'}, and send the table again."
    elif rows:
        yield "Correct what is wrong and send the table again."
    else:
        yield "Withdraw the batch that is wrong (`orchard observations batches` lists them), and retrain."
    if report.batch is not None:
        yield f"({'This row is' if rows == 1 else f'These {rows} rows are'} set aside in batch {report.batch}.)"


def drift(report: DriftReport) -> Iterator[Line]:
    """Yield whether the weather asked about lately is like that of training."""
    if not report.asked:
        yield Line(f"nobody has asked for a prediction in the last {report.hours} hours")
        return
    asked = f"{report.asked} region{'s' * (report.asked != 1)} asked about in the last {report.hours} hours"
    if not report.different:
        yield Line(f"the weather of the {asked} is like that of version {report.model_version}'s training")
        return
    yield Line(f"the weather of the {asked} differs from that of version {report.model_version}'s training:", POOR)
    yield from (Line(f"  {reason}") for reason in report.reasons)


def access(found: Access) -> Iterator[Line]:
    """Yield what may be done with the token, or without one, and whether the service can train."""
    if found.who is not None:
        yield Line(
            f"the token reads, also what regions reported, and writes: what it writes is logged as by {found.who!r}"
        )
    elif found.rows:
        yield Line("the token reads, also what regions reported; it does not write")
    elif found.read:
        yield Line("without a token all is read but what regions reported; that, and writing, need ORCHARD_TOKEN")
    else:
        yield Line("without a token nothing is read or written there: set ORCHARD_TOKEN", POOR)
    if not found.retrain:
        yield Line("the service cannot train: torch is not installed there", POOR)
