"""Cross-validation from moments against refits on the rows, and the gate's sentences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.fit import Fit, least_squares
from app.model.folds import FoldedMoments, assign_folds
from app.model.linear import LinearModel
from app.model.scores import Current, judge, mean_absolute_error, out_of_fold
from app.model.weather import FEATURE_NAMES


def _refit(table: Table, crop: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return scikit-learn's out-of-fold predictions over the same folds."""
    fold = assign_folds(table.regions, table.weather)
    tons = table.yields[:, crop]
    predicted = cross_val_predict(LinearRegression(), table.weather, tons, cv=PredefinedSplit(fold))
    return np.asarray(predicted)


@pytest.mark.parametrize("crop", [0, 1])
def test_fold_scores_are_those_of_refits(tutorial: Table, crop: int) -> None:
    """The tutorial's out-of-fold RMSE and MAE from moments equal scikit-learn's refits to 1e-9."""
    errors = tutorial.yields[:, crop] - _refit(tutorial, crop)
    moments = moments_of(tutorial)[tutorial.crops[crop]]
    fold = assign_folds(tutorial.regions, tutorial.weather)
    score = out_of_fold(moments, moments)
    assert score is not None
    assert score.tons == pytest.approx(float(np.sqrt(np.mean(errors**2))), rel=1e-9)
    absolute = mean_absolute_error(moments, tutorial.weather, tutorial.yields[:, crop], fold)
    assert absolute == pytest.approx(float(np.mean(np.abs(errors))), rel=1e-9)


def test_group_folds_over_many_regions_equal_group_k_fold() -> None:
    """With 40 regions of 5 seasons each, scores equal refits in which no region is in training and test at once."""
    draw = np.random.default_rng(3)
    regions = tuple(f"region {number}" for number in range(40) for _ in range(5))
    weather = draw.uniform([60, 200, 40], [100, 900, 90], (200, 3))
    tons = weather @ [1.5, -0.2, 3.0] + 40 + draw.normal(0, 9, 200)
    table = Table(regions, (None,) * 200, weather, ("corn",), tons[:, None])
    fold = assign_folds(regions, weather)
    splits = list(GroupKFold(5).split(weather, tons, groups=fold))
    for train, test in splits:
        assert not {regions[row] for row in train} & {regions[row] for row in test}
    predicted = cross_val_predict(LinearRegression(), weather, tons, cv=splits)
    moments = moments_of(table)["corn"]
    score = out_of_fold(moments, moments)
    assert score is not None
    assert score.tons == pytest.approx(float(np.sqrt(np.mean((tons - predicted) ** 2))), rel=1e-9)


@given(st.permutations(range(15)))
@settings(max_examples=25)
def test_row_order_does_not_matter(order: list[int]) -> None:
    """The folds and so the scores are those of the regions, whatever order their rows come in."""
    draw = np.random.default_rng(1)
    weather = draw.uniform([60, 20, 30], [100, 150, 80], (15, 3))
    tons = draw.uniform(10, 90, (15, 1))
    names: list[str | None] = [f"R{number}" for number in range(10)] + [None] * 5
    first = Table(tuple(names), (None,) * 15, weather, ("rye",), tons)
    second = Table(tuple(names[row] for row in order), (None,) * 15, weather[order], ("rye",), tons[order])
    scores = [out_of_fold(moments, moments) for table in (first, second) for moments in moments_of(table).values()]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0].tons == pytest.approx(scores[1].tons, rel=1e-9)


def test_one_region_alone_is_scored_in_sample(tutorial: Table) -> None:
    """Where all rows are of one region nothing is out of fold: the error of the fit on all rows is taken."""
    alone = Table(("A",) * 15, (None,) * 15, tutorial.weather, tutorial.crops, tutorial.yields)
    moments = moments_of(alone)["mango"]
    score = out_of_fold(moments, moments)
    assert score is not None
    assert score.tons == pytest.approx(np.sqrt(least_squares(moments.total).least_squares_loss), rel=1e-9)


def _fit(moments: dict[str, FoldedMoments], excess: float = 0.0) -> Fit:
    return Fit("descent", {crop: least_squares(part.total) for crop, part in moments.items()}, 1, (1.0,), excess)


def _current(moments: dict[str, FoldedMoments]) -> Current:
    lines = {crop: (fit.weights, fit.intercept) for crop, fit in _fit(moments).crops.items()}
    recorded = {crop: score.tons for crop, part in moments.items() if (score := out_of_fold(part, part))}
    return Current(LinearModel.of(FEATURE_NAMES, lines, moments), recorded)


def _rows(tutorial: Table, yields: list[list[float]]) -> dict[str, FoldedMoments]:
    count = len(yields)
    names = tuple(f"new {number}" for number in range(count))
    return moments_of(Table(names, (None,) * count, tutorial.weather[:count], tutorial.crops, np.array(yields)))


def test_honest_rows_are_accepted_with_their_numbers(tutorial: Table) -> None:
    """Yields near the line are accepted, and the reasons name crop, rows and both errors."""
    old = moments_of(tutorial)
    new = _rows(tutorial, [[57.0, 69.0], [81.5, 100.5], [118.5, 133.5]])
    together = {crop: FoldedMoments.merge([old[crop], new[crop]]) for crop in old}
    verdict = judge(_fit(together), together, old, new, _current(old), may_drop=False)
    assert verdict.accepted
    assert verdict.reasons[0].startswith("mango: on 3 new rows its out-of-fold error is ")
    assert "recorded for the current model" in verdict.reasons[1]


def test_a_yield_in_kilograms_is_refused_by_name(tutorial: Table) -> None:
    """One mango yield of 56 000 tons is refused, with a sentence that names mango, its error and what is allowed."""
    old = moments_of(tutorial)
    new = _rows(tutorial, [[56_000.0, 70.0], [81.0, 101.0], [119.0, 133.0]])
    together = {crop: FoldedMoments.merge([old[crop], new[crop]]) for crop in old}
    verdict = judge(_fit(together), together, old, new, _current(old), may_drop=False)
    assert not verdict.accepted
    assert verdict.reasons[0].startswith("mango: on 3 new rows the current model is off by 28,680 tons")
    assert verdict.reasons[1].startswith("mango: on 3 new rows its out-of-fold error is ")
    assert "that are allowed" in verdict.reasons[1]
    assert all(sentence.startswith("mango") for sentence in verdict.failed)


def test_an_unconverged_fit_is_refused_even_without_a_current_model(tutorial: Table) -> None:
    """With no current model, convergence and full rank are still needed."""
    moments = moments_of(tutorial)
    verdict = judge(_fit(moments, excess=1.0), moments, {}, moments, None, may_drop=False)
    assert not verdict.accepted
    assert "did not converge" in verdict.reasons[0]


def test_collinear_rows_are_refused_by_crop(tutorial: Table) -> None:
    """Rows that determine only two of three weights are refused, and the crop is named."""
    weather = tutorial.weather.copy()
    weather[:, 2] = 2.0 * weather[:, 0] - 40.0
    rows = Table(tutorial.regions, tutorial.seasons, weather, tutorial.crops, tutorial.yields)
    moments = moments_of(rows)
    verdict = judge(_fit(moments), moments, {}, moments, None, may_drop=False)
    assert verdict.failed[0] == "mango: its rows determine only 2 of the 3 weights of features that vary"


@pytest.mark.parametrize("may_drop", [True, False])
def test_a_lost_crop_is_said_and_refused_unless_it_may_go(tutorial: Table, *, may_drop: bool) -> None:
    """A candidate that no longer predicts orange is refused, except where the table was to stand alone."""
    old = moments_of(tutorial)
    kept = {"mango": old["mango"]}
    verdict = judge(_fit(kept), kept, kept, {}, _current(old), may_drop=may_drop)
    assert verdict.accepted is may_drop
    assert any(sentence.startswith("orange: no longer predicted") for sentence in verdict.reasons)
