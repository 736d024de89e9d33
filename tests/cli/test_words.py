"""What came of a training, of drift and of asking for access, sentence by sentence."""

from typing import Any

import pytest

from app.cli import words
from app.cli.words import POOR, SHOWN_REASONS, SHOWN_YIELDS
from app.model.glossary import GLOSSARY
from app.model.slips import WAY_OUT
from app.store.card import Card, CropScores, FitCard, RmsePair, RowCounts
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.report import Report, SuspiciousYield
from app.wire.schemas import Access, DriftReport
from tests.conftest import ROOT

NEITHER = RmsePair(candidate_rmse=None, current_rmse=None)
BOTH = RmsePair(candidate_rmse=1.0, current_rmse=0.75)


def _report(**changed: Any) -> Report:
    said: dict[str, Any] = {
        "version": "3",
        "batch": "390e",
        "decision": "accepted",
        "activated": True,
        "reasons": ["mango: all is well"],
        "dry_run": False,
        "rows": RowCounts(received=2, total=17),
        "fit": FitCard(epochs=1, converged=True, loss=1.0, least_squares_loss=1.0, relative_gap=0.0),
        "scores": {"mango": CropScores(new=NEITHER, old=BOTH)},
        "suspicious": [],
        "left_out": [],
        "changes": None,
    }
    return Report.model_validate(said | changed)


def _yield(row: int, crop: str = "mango") -> SuspiciousYield:
    return SuspiciousYield(row=row, region="J", crop=crop, tons=19_010.0, predicted=190.0, standard_errors=41.23456)


def _place(item: SuspiciousYield) -> str:
    return f"row {item.row + 1}"


def _decided(report: Report, parent: str | None = "2", *, whole: bool = False) -> list[str]:
    return [line.text for line in words.decision(report, parent, whole=whole)]


def _ended(report: Report, card: Card | None = None, live: str | None = "3") -> list[str]:
    return [line.text for line in words.ending(report, card, live, _place)]


@pytest.fixture(scope="module")
def card() -> Card:
    """Return the card of a model of mango and orange that was trained on the tutorial's rows."""
    return Registry(Objects(ROOT / "tests" / "stores" / "0.1.0" / "sqlite")).read("1").card


def test_what_it_is_worth_comes_first(card: Card) -> None:
    """A sentence a crop; one that is of no use is not shown as the others are."""
    mango = card.crops["mango"]
    poor = mango.model_copy(update={"out_of_fold": mango.out_of_fold.model_copy(update={"r_squared": 0.017})})
    first, second = words.worth(card.model_copy(update={"crops": card.crops | {"mango": poor}}))
    assert first.text == (
        "mango: weather explains 2 % of what separates the rows held out; the average would do as well"
    )
    assert (first.style, second.style) == (POOR, "")
    assert second.text.startswith("orange: weather explains 99.9 % of")


def test_what_was_accepted() -> None:
    """With its rows and what it was compared with; reasons are for who asks, but for a crop that is lost."""
    assert _decided(_report()) == ["accepted: trained on 17 rows, 2 of them sent now; no worse than version 2"]
    assert _decided(_report(), whole=True)[1:] == ["  mango: all is well"]
    (first,) = _decided(_report(rows=RowCounts(received=15, total=15)), None)
    assert first == "accepted: trained on 15 rows; there was no model to compare it with"
    lost = "rye: no longer predicted, since too few of the rows to train on report it"
    other = {"mango": CropScores(new=NEITHER, old=NEITHER)}
    report = _report(reasons=[lost, "mango is new"], scores=other, rows=RowCounts(received=0, total=15))
    assert _decided(report) == ["accepted: trained on 15 rows", f"  {lost}"]
    assert _decided(_report(version=None, dry_run=True))[0].startswith("would be accepted: ")


def test_what_was_rejected() -> None:
    """The first reasons, which name the causes; what to do about them is said at the end."""
    reasons = [f"reason {number}; {WAY_OUT}" for number in range(SHOWN_REASONS + 2)]
    report = _report(decision="rejected", activated=False, reasons=reasons)
    shown = _decided(report)
    assert shown == ["rejected:", "  reason 0", "  reason 1", "  reason 2", "  … and 2 more: orchard models show 3"]
    assert _decided(report, whole=True) == ["rejected:", *(f"  {reason}" for reason in reasons)]
    dry = report.model_copy(update={"version": None, "dry_run": True})
    assert (_decided(dry)[0], _decided(dry)[-1]) == ("would be rejected:", "  … and 2 more: --details")
    forced = report.model_copy(update={"activated": True})
    assert _decided(forced)[0] == "rejected, and live all the same, as was asked:"


@pytest.mark.parametrize(
    ("changed", "live", "said"),
    [
        (
            {"suspicious": [_yield(4), _yield(4, "orange")]},
            "3",
            (
                "Nothing has changed: version 3 is still live. Look at row 5; correct it, and send the table again. "
                "(These 30 rows are set aside in batch 390e.)"
            ),
        ),
        (
            {"suspicious": [_yield(4), _yield(6), _yield(9)], "batch": None},
            "3",
            (
                "Nothing has changed: version 3 is still live. Look at row 5 and 2 more; correct them, and send the "
                "table again."
            ),
        ),
        (
            {"rows": RowCounts(received=1, total=5)},
            None,
            (
                "Nothing has changed: no version is live. Correct what is wrong and send the table again. "
                "(This row is set aside in batch 390e.)"
            ),
        ),
        (
            {"rows": RowCounts(received=0, total=5), "batch": None},
            "3",
            (
                "Nothing has changed: version 3 is still live. Withdraw the batch that is wrong "
                "(`orchard observations batches` lists them), and retrain."
            ),
        ),
    ],
)
def test_a_rejection_ends_with_what_to_do(changed: dict[str, Any], live: str | None, said: str) -> None:
    """Where things stand, which row to look at, and where the rows are; never how to force them in."""
    rejected = {"decision": "rejected", "activated": False, "rows": RowCounts(received=30, total=47)}
    assert _ended(_report(**rejected | changed), live=live) == [said]


def test_an_acceptance_ends_with_where_to_look(card: Card) -> None:
    """At the batch, at the figures; an example is said to be one, and how to do better."""
    figures = "all its figures: `orchard models show 3`; what they mean: `orchard glossary`"
    assert _ended(_report()) == ["its rows are stored as batch 390e", figures]
    kept = "it is not live, as was asked: `orchard activate 3` makes it so"
    assert _ended(_report(activated=False, batch=None)) == [kept, figures]
    example = card  # of the tutorial's rows, which tell it, whatever their file is called
    said = "this is an example, trained on 15 invented regions: `orchard train YOUR.csv` trains on your own"
    assert said in _ended(_report(), example)
    assert said in _ended(_report(), example.model_copy(update={"source": "harvest.csv"}))
    assert said not in _ended(_report(), example.model_copy(update={"data_digest": "0" * 64}))
    assert _ended(_report(version=None, batch=None, dry_run=True)) == []


def test_suspicious_yields_are_placed() -> None:
    """In words that count as people do; of many the first are shown, and the others counted."""
    (line,) = words.suspicious([_yield(4)], _place)
    assert line == ("row 5, mango: 19,010 tons; 190 predicted; 41.23 standard errors away", POOR)
    many = list(words.suspicious([_yield(row) for row in range(SHOWN_YIELDS + 7)], _place))
    assert len(many) == SHOWN_YIELDS + 1
    assert many[-1].text == "… and 7 more like that (--json lists them)"
    assert list(words.suspicious([], _place)) == []


@pytest.mark.parametrize(
    ("asked", "different", "said"),
    [
        (0, False, ["nobody has asked for a prediction in the last 24 hours"]),
        (
            1,
            False,
            ["the weather of the 1 region asked about in the last 24 hours is like that of version 3's training"],
        ),
        (
            7,
            True,
            [
                (
                    "the weather of the 7 regions asked about in the last 24 hours "
                    "differs from that of version 3's training:"
                ),
                "  it is hotter",
            ],
        ),
    ],
)
def test_drift_in_words(asked: int, different: bool, said: list[str]) -> None:
    """Whether anything was asked, and whether it is like training."""
    reasons = ["it is hotter"] if different else []
    report = DriftReport(
        model_version="3", hours=24, asked=asked, features={}, distance=None, different=different, reasons=reasons
    )
    assert [line.text for line in words.drift(report)] == said


ALL = Access(who="anna", read=True, rows=True, write=True, retrain=True)
READER = ALL.model_copy(update={"who": None, "write": False})
NOBODY = READER.model_copy(update={"rows": False})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ALL, ["the token reads, also what regions reported, and writes: what it writes is logged as by 'anna'"]),
        (READER, ["the token reads, also what regions reported; it does not write"]),
        (NOBODY, ["without a token all is read but what regions reported; that, and writing, need ORCHARD_TOKEN"]),
        (
            NOBODY.model_copy(update={"read": False, "retrain": False}),
            [
                "without a token nothing is read or written there: set ORCHARD_TOKEN",
                "the service cannot train: torch is not installed there",
            ],
        ),
    ],
)
def test_access_in_words(found: Access, said: list[str]) -> None:
    """What the token may do, or what may be done without one, and whether the service can train."""
    assert [line.text for line in words.access(found)] == said


@pytest.mark.parametrize(
    "term",
    [
        *("held out", "out of fold", "leverage", "condition number", "relative gap", "degrees of freedom", "loss"),
        *("epoch", "interval", "gate", "extrapolated", "record", "effects", "drift", "recipe", "moments", "batch"),
        *("version", "forecast", "lead", "bias", "coverage", "skill"),
    ],
)
def test_each_term_is_explained(term: str) -> None:
    """On one line, which a term of its own begins."""
    (meaning,) = [meaning for name, meaning in GLOSSARY.items() if term in name.split(", ")]
    assert meaning.isprintable()
    assert len(meaning) > 30
