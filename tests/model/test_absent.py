"""Rows without a column of weather: everything is as if there were no such column, in whatever order rows come."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.cells import Cells
from app.model.components import Components
from app.model.crossed import Crossed
from app.model.descent import descend
from app.model.design import condition_number, undetermined
from app.model.fit import least_squares
from app.model.folds import FoldedMoments, assign_folds
from app.model.held_out import held_out
from app.model.linear import LinearModel
from app.model.moments import Array, Moments
from app.model.names import Names
from app.model.scores import out_of_fold
from app.model.warning_texts import warnings_for, warnings_for_many
from app.model.weather import FEATURE_NAMES, why_needed

KEPT = [0, 1, 3]
LEVEL = 0.95


def _rows(count: int, seed: int = 3) -> Array:
    """Return rows of weather and tons, of which the third column says nothing."""
    draw = np.random.default_rng(seed)
    weather = np.column_stack([draw.uniform(60, 90, count), draw.uniform(50, 130, count), draw.uniform(40, 70, count)])
    tons = 2 + 0.5 * weather[:, 0] + 0.25 * weather[:, 1] + draw.normal(size=count)
    return np.column_stack([weather, tons])


def _without(rows: Array, column: int = 2) -> Array:
    lacking = rows.copy()
    lacking[:, column] = np.nan
    return lacking


def _assert_same(one: Moments, other: Moments) -> None:
    assert one.count == other.count
    assert one.mean == pytest.approx(other.mean, rel=1e-12, abs=1e-12)
    assert one.comoments == pytest.approx(other.comoments, rel=1e-9, abs=1e-7)
    assert one.minimum.tolist() == other.minimum.tolist()
    assert one.maximum.tolist() == other.maximum.tolist()


@pytest.mark.parametrize("count", [1, 7, 1_500, 20_000])
def test_moments_are_those_of_the_other_columns(count: int) -> None:
    """To the bit; of the absent one nothing is known, and no number is NaN."""
    rows = _rows(count)
    found, expected = Moments.of(_without(rows)), Moments.of(rows[:, KEPT])
    assert found.absent.tolist() == [False, False, True, False]
    assert found.of_columns(KEPT).mean.tobytes() == expected.mean.tobytes()
    assert found.factor[np.ix_(KEPT, KEPT)].tobytes() == expected.factor.tobytes()
    assert not found.factor[2].any()
    assert not found.factor[:, 2].any()
    assert (found.mean[2], found.minimum[2], found.maximum[2]) == (0.0, math.inf, -math.inf)
    assert found.constant[2]


def test_a_column_that_a_few_rows_lack_is_absent() -> None:
    """Wherever these rows stand, also in another block."""
    rows = _rows(40_000)
    for row in (0, 39_999):
        some = rows.copy()
        some[row, 2] = np.nan
        _assert_same(Moments.of(some), Moments.of(_without(rows)))


def test_no_rows_lack_nothing() -> None:
    """The neutral element of merging leaves a column where it is."""
    rows = _rows(9)
    assert not Moments.empty(4).absent.any()
    assert Moments.merge([Moments.empty(4), Moments.of(rows)], 4).absent.tolist() == [False] * 4


parts = st.lists(st.tuples(st.integers(1, 12), st.sets(st.integers(0, 2), max_size=2)), min_size=1, max_size=5)


def _cut(rows: Array, pieces: Sequence[tuple[int, set[int]]]) -> list[Array]:
    """Cut rows into parts, each without its columns."""
    ends = list(itertools.accumulate(size for size, _ in pieces))
    found = [rows[end - size : end].copy() for end, (size, _) in zip(ends, pieces, strict=True)]
    for part, (_, columns) in zip(found, pieces, strict=True):
        part[:, list(columns)] = np.nan
    return found


@given(parts, st.randoms(use_true_random=False))
def test_the_order_of_merging_does_not_matter(
    pieces: list[tuple[int, set[int]]], random: "np.random.Generator"
) -> None:
    """A column is there if no part lacks it; pairs may be merged first."""
    found = _cut(_rows(60), pieces)
    whole = Moments.of(np.concatenate(found))
    assert whole.absent.tolist() == [any(n in columns for _, columns in pieces) for n in range(3)] + [False]
    moments = list(map(Moments.of, found))
    for _ in range(3):
        random.shuffle(moments)
        _assert_same(Moments.merge(moments, 4), whole)
        pair = Moments.merge([Moments.merge(moments[:2], 4), *moments[2:]], 4)
        _assert_same(pair, whole)


@given(parts, st.randoms(use_true_random=False))
def test_the_order_of_merging_folds_does_not_matter(
    pieces: list[tuple[int, set[int]]], random: "np.random.Generator"
) -> None:
    """What some rows lack is left out of every fold, also of one that has none of these rows; leverages are finite."""
    found = _cut(_rows(60), pieces)
    folded = [_folded(part) for part in found]
    lacking = [any(n in columns for _, columns in pieces) for n in range(3)] + [False]
    random.shuffle(folded)
    merged = FoldedMoments.merge([FoldedMoments.merge(folded[:2]), *folded[2:]])
    for fold in merged.folds:
        assert not fold.count or fold.absent.tolist() == lacking
    _assert_same(merged.total, Moments.of(np.concatenate(found)))
    assert not merged.frontier[:, lacking[:3]].any()
    assert np.isfinite(merged.frontier).all()


def _folded(rows: Array, names: Sequence[str | None] | None = None) -> FoldedMoments:
    regions = names or [f"region {number}" for number in range(len(rows))]
    return FoldedMoments.of(rows[:, :3], rows[:, 3:], assign_folds(regions, rows[:, :3]))[0]


def _cells(rows: Array, regions: int = 5) -> Cells:
    names = [f"region {number % regions}" for number in range(len(rows))]
    seasons = [str(2015 + number // regions) for number in range(len(rows))]
    return Cells.of(Names.of(names), Names.of(seasons), rows)


@given(parts, st.randoms(use_true_random=False))
def test_the_order_of_merging_cells_does_not_matter(
    pieces: list[tuple[int, set[int]]], random: "np.random.Generator"
) -> None:
    """They count the rows that lack each column, and come back from a file as they were."""
    found = _cut(_rows(60), pieces)
    cells = list(map(_cells, found))
    random.shuffle(cells)
    merged = Cells.merge([Cells.merge(cells[:2]), *cells[2:]])
    counts = [sum(size for size, columns in pieces if n in columns) for n in range(3)] + [0]
    assert merged.lacking.tolist() == counts
    absent = merged.lacking > 0
    assert not merged.mean[:, absent].any()
    assert not merged.within[:, :, absent].any()
    rows = np.where(absent, 0.0, np.concatenate(found))
    mean = np.average(merged.mean, axis=0, weights=merged.count)
    between = np.sqrt(merged.count)[:, None] * (merged.mean - mean)
    squares = between.T @ between + sum(part.T @ part for part in merged.within)
    assert squares == pytest.approx(np.cov(rows.T, bias=True) * len(rows) if len(rows) > 1 else 0 * squares, abs=1e-6)
    again = Cells.from_arrays("x/", merged.to_arrays("x/"), merged.regions, merged.seasons)
    assert again.lacking.tolist() == counts
    assert ("x/lacking" in merged.to_arrays("x/")) == absent.any()


def test_folds_of_unnamed_rows_are_those_of_the_other_columns() -> None:
    """Whatever bits stand where there is no value."""
    weather = _without(_rows(50))[:, :3]
    negative = weather.copy()
    negative[:, 2] = -np.nan
    expected = assign_folds([None] * 50, weather[:, :2]).tolist()
    assert assign_folds([None] * 50, weather).tolist() == assign_folds([None] * 50, negative).tolist() == expected


def test_the_fit_is_that_of_two_features() -> None:
    """By descent and in closed form, against NumPy; the weight is 0, and scores are those of two features too."""
    rows = _rows(40)
    folded, pair = _folded(_without(rows)), _folded_pair(rows)
    design_matrix = np.column_stack([np.ones(40), rows[:, :2]])
    expected, (error,), *_ = np.linalg.lstsq(design_matrix, rows[:, 3])
    for line in (descend({"corn": folded.total}).crops["corn"], least_squares(folded.total)):
        assert [line.intercept, *line.weights[:2]] == pytest.approx(expected, rel=1e-10)
        assert line.weights[2] == 0.0
        assert (line.rank, line.full_rank) == (2, True)
        assert line.loss == pytest.approx(error / 40, rel=1e-10)
    found, score = out_of_fold(folded, folded), out_of_fold(pair, pair)
    assert found is not None
    assert score is not None
    assert found.tons == pytest.approx(score.tons, rel=1e-10)
    assert condition_number(folded.total) == pytest.approx(condition_number(pair.total), rel=1e-10)
    assert undetermined(folded.total) == ([], [])


def _folded_pair(rows: Array) -> FoldedMoments:
    names = [f"region {number}" for number in range(len(rows))]
    return FoldedMoments.of(rows[:, :2], rows[:, 3:], assign_folds(names, rows[:, :2]))[0]


def _model(rows: Array) -> LinearModel:
    folded = _folded(rows)
    fit = descend({"corn": folded.total}).crops["corn"]
    return LinearModel.of(FEATURE_NAMES, {"corn": (fit.weights, fit.intercept)}, {"corn": folded})


@pytest.mark.parametrize("humidity", [math.nan, 0.0, 55.0, 100.0])
def test_predictions_are_those_of_two_features(humidity: float) -> None:
    """Whatever is said of the absent one: no warning, not extrapolated; intervals and errors against NumPy."""
    rows = _rows(40)
    model = _model(_without(rows))
    (crop,) = model.crops
    place = np.array([1.0, 75.0, 90.0])
    design_matrix = np.column_stack([np.ones(40), rows[:, :2]])
    expected, (error,), *_ = np.linalg.lstsq(design_matrix, rows[:, 3])
    inverse = np.linalg.inv(design_matrix.T @ design_matrix)
    weather = [np.array([75.0] * 2), np.array([90.0] * 2), np.array([humidity] * 2)]
    found = model.yields(weather, LEVEL)
    assert found.tons["corn"] == pytest.approx([place @ expected] * 2, rel=1e-9)
    assert list(found.leverages.values())[0] == pytest.approx([place @ inverse @ place] * 2, rel=1e-9)  # noqa: RUF015
    assert crop.standard_errors is not None
    assert crop.standard_errors[:3] == pytest.approx(np.sqrt(error / 37 * np.diag(inverse)), rel=1e-9)
    assert not found.extrapolated.any()
    assert warnings_for_many(model, weather, found) == [[], []]
    assert warnings_for(model, [75.0, 90.0, humidity], LEVEL) == []
    assert list(crop.contributions(weather)) == ["temperature", "rainfall"]
    assert list(model.needed_by) == ["temperature", "rainfall"]


def test_a_constant_feature_need_not_be_given() -> None:
    """It is taken to be what it always was; another value is flagged in words."""
    rows = _rows(40)
    rows[:, 2] = 74.0
    model = _model(rows)
    assert model.needed_by == {"temperature": ("corn",), "rainfall": ("corn",)}
    columns = {given: [np.array([75.0]), np.array([90.0]), np.array([given])] for given in (math.nan, 74.0, 60.0)}
    found = {given: model.yields(weather, LEVEL) for given, weather in columns.items()}
    (missing, same, other) = found.values()
    assert missing.tons["corn"].tobytes() == same.tons["corn"].tobytes()
    assert [each.extrapolated.tolist() for each in (missing, same, other)] == [[False], [False], [True]]
    assert warnings_for(model, [75.0, 90.0, math.nan], LEVEL) == []
    assert warnings_for_many(model, columns[60.0], other) == [
        ["humidity 60 % was 74 % in all rows of training: its effect is not known"]
    ]


def test_effects_without_a_feature() -> None:
    """Regions and seasons are fitted as if there were two features, and errors by season too."""
    rows = _rows(40)
    rows[:, 3] += np.repeat(np.random.default_rng(9).normal(0, 5, 8), 5)
    lacking, pair = _cells(_without(rows)), _cells(rows[:, KEPT])
    found, expected = Components.of(lacking), Components.of(pair)
    assert found is not None
    assert expected is not None
    assert found.season.variance == pytest.approx(expected.season.variance, rel=1e-9)
    assert found.season.variance > 0
    first = Crossed.of(lacking, found, Moments.of(_without(rows))).moments
    second = Crossed.of(pair, expected, Moments.of(rows[:, KEPT])).moments
    assert least_squares(first).weights[:2] == pytest.approx(least_squares(second).weights, rel=1e-9)
    assert least_squares(first).weights[2] == 0.0
    one_region = ["A"] * 40
    by_season = held_out(_folded(_without(rows), one_region), _cells(_without(rows), 1))
    assert by_season.by == "season"
    assert math.isfinite(by_season.tons)


@pytest.mark.parametrize(
    ("crops", "said"),
    [
        ([], ""),
        (["orange"], ": orange needs it"),
        (["mango", "orange"], ": mango and orange need it"),
        (["a", "b", "c"], ": a, b and c need it"),
        (["a", "b", "c", "d", "e"], ": a, b, c and 2 more need it"),
    ],
)
def test_who_needs_a_feature_is_said(crops: list[str], said: str) -> None:
    """The first three by name."""
    assert why_needed(crops) == said
