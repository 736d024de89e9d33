"""What a crop's line is worth, word for word, and what of it the gate says."""

from dataclasses import replace

import numpy as np
import pytest

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.fit import Fit, least_squares
from app.model.folds import FoldedMoments
from app.model.linear import LinearModel
from app.model.rounding import new_rows
from app.model.scores import Current, judge, out_of_fold
from app.model.weather import FEATURE_NAMES
from app.model.worth import Worth

GOOD = Worth("region", 0.9985, 1.3299, 76.0)


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (
            GOOD,
            (
                "weather explains 99.9 % of what separates regions it was not trained on "
                "(typical error 1.33 tons, average yield 76)"
            ),
        ),
        (
            replace(GOOD, by="season", r_squared=0.3269, error=3.4944),
            (
                "weather explains 33 % of what separates seasons it was not trained on "
                "(typical error 3.494 tons, average yield 76)"
            ),
        ),
        (
            replace(GOOD, by="row", r_squared=0.99999),
            (
                "weather explains 99.9 % of what separates rows it was not trained on "
                "(typical error 1.33 tons, average yield 76)"
            ),
        ),
        (
            replace(GOOD, by="nothing", r_squared=1.0),
            (
                "weather explains all of what separates the rows it was trained on "
                "(typical error 1.33 tons, average yield 76)"
                ": judged on its own rows only, since none could be held out"
            ),
        ),
        (
            replace(GOOD, by=None, r_squared=0.5),
            ("weather explains 50 % of what separates the rows held out (typical error 1.33 tons, average yield 76)"),
        ),
        (
            replace(GOOD, r_squared=0.017),
            "weather explains 2 % of what separates regions it was not trained on; the average would do as well",
        ),
        (
            replace(GOOD, r_squared=-0.4),
            "weather explains nothing of what separates regions it was not trained on; the average would do as well",
        ),
        (
            replace(GOOD, by="nothing", r_squared=0.1),
            (
                "weather explains 10 % of what separates the rows it was trained on: judged on its own rows only, "
                "since none could be held out; the average would do as well"
            ),
        ),
        (
            replace(GOOD, r_squared=None),
            "all its yields are the same: there is nothing for weather to explain",
        ),
    ],
)
def test_what_a_line_is_worth(worth: Worth, said: str) -> None:
    """How much it explains, of what that was held out, and by how much it is off where it is of use."""
    assert worth.words() == said
    assert worth.sentence("mango") == f"mango: {said}"


@pytest.mark.parametrize(("r_squared", "useless"), [(0.2, False), (0.1999, True), (-3.0, True), (None, False)])
def test_what_is_useless(r_squared: float | None, useless: bool) -> None:
    """Less than a fifth explained; where all yields are the same nothing can be said."""
    assert replace(GOOD, r_squared=r_squared).is_useless == useless


@pytest.mark.parametrize(
    ("count", "sent", "said"),
    [
        (1, None, "1 new row"),
        (3, 3, "3 new rows"),
        (3, 2, "3 new rows (2 sent now, 1 stored before)"),
        (3, 0, "3 new rows (stored before)"),
        (2, 5, "2 new rows"),
    ],
)
def test_new_rows_are_counted(count: int, sent: int | None, said: str) -> None:
    """Those that were stored before the call are not said to have come with it."""
    assert new_rows(count, sent) == said


def _fit(moments: dict[str, FoldedMoments]) -> Fit:
    return Fit("descent", {crop: least_squares(part.total) for crop, part in moments.items()}, 1, (1.0,), 0.0)


def test_the_gate_says_what_is_useless(tutorial: Table) -> None:
    """A useless crop of a first version is accepted, is not called sound, and what it is worth is said."""
    moments = moments_of(tutorial)
    useless = replace(GOOD, r_squared=0.01)
    verdict = judge(_fit(moments), moments, {}, moments, None, may_drop=False, worth={"mango": useless, "orange": GOOD})
    assert verdict.accepted
    assert verdict.reasons[0] == "there is no current model to compare with; the numbers can be fitted"
    assert verdict.reasons[-1] == useless.sentence("mango")
    assert "sound" not in " ".join(verdict.reasons)
    assert [reason for reason in verdict.reasons if "orange" in reason][-1].startswith("orange is new: its out-of-fold")


def test_an_error_in_sample_is_called_so(tutorial: Table) -> None:
    """Where nothing could be held out, what the gate says of a new crop is not called out of fold."""
    moments = moments_of(tutorial)
    worth = {"mango": replace(GOOD, by="nothing", error=1.0109)}
    verdict = judge(_fit(moments), moments, {}, moments, None, may_drop=False, worth=worth)
    assert "mango is new: its in-sample error is 1.011 tons on 15 rows" in verdict.reasons


def test_the_limit_is_named_once(tutorial: Table) -> None:
    """Of new rows and of old ones, in the same words, whether they are within it or not; and whose rows they are."""
    old = moments_of(tutorial)
    names = tuple(f"new {number}" for number in range(3))
    yields = np.array([[57.0, 69.0], [81.5, 100.5], [118.5, 133.5]])
    new = moments_of(Table(names, (None,) * 3, tutorial.weather[:3], tutorial.crops, yields))
    together = {crop: FoldedMoments.merge([old[crop], new[crop]]) for crop in old}
    lines = {crop: (fit.weights, fit.intercept) for crop, fit in _fit(old).crops.items()}
    recorded = {crop: score.tons for crop, part in old.items() if (score := out_of_fold(part, part))}
    current = Current(LinearModel.of(FEATURE_NAMES, lines, old), recorded)
    sent = {"mango": 2}
    verdict = judge(_fit(together), together, old, new, current, may_drop=False, sent=sent)
    assert verdict.reasons[0].startswith("mango: on 3 new rows (2 sent now, 1 stored before) its out-of-fold error is ")
    assert verdict.reasons[2].startswith("orange: on 3 new rows (stored before) its out-of-fold error is ")
    for reason in verdict.reasons:
        assert reason.count("allowed") == 1
        assert reason.endswith(" are allowed")
        assert "honest noise" not in reason
