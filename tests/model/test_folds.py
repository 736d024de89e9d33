"""Folds depend on regions and on nothing else; moments by fold are those of the rows, however they are merged."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from app.model.design import leverages
from app.model.folds import FOLDS, FRONTIER, FoldedMoments, assign_folds
from app.model.moments import Array, Moments
from app.model.names import Names

UNNAMED = np.zeros((1, 3))
names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
weathers = st.tuples(*[st.floats(-130, 30_000)] * 3)


def _rows(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Return weather, shape (count, 3), and the yields of two crops."""
    draw = np.random.default_rng(seed)
    return draw.uniform([60, 20, 30], [105, 900, 90], (count, 3)), draw.uniform(1, 100, (count, 2))


def _folded(features: Array, yields: Array, fold: ArrayLike) -> FoldedMoments:
    return FoldedMoments.of(features, yields[:, :1], np.asarray(fold, np.uint8))[0]


def _assert_close(found: Moments, wanted: Moments) -> None:
    assert found.count == wanted.count
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.comoments, wanted.comoments, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.minimum, wanted.minimum)
    np.testing.assert_array_equal(found.maximum, wanted.maximum)


@pytest.mark.parametrize(
    ("region", "fold"),
    [("A", 0), ("B", 0), ("C", 2), ("a", 3), ("A ", 1), ("region 1", 1), ("Blé d'été", 3), ("名", 2), ("a" * 200, 3)],
)
def test_folds_of_names_stay(region: str, fold: int) -> None:
    """A region has the fold that it had when stored batches were summed up, on every machine."""
    assert assign_folds([region], UNNAMED).tolist() == [fold]


@pytest.mark.parametrize(
    ("weather", "fold"),
    [
        ((73.0, 67.0, 43.0), 2),
        ((67.0, 73.0, 43.0), 4),
        ((73.0, 67.0, 43.5), 0),
        ((87.0, 134.0, 58.0), 4),
        ((0.0, 0.0, 0.0), 0),
        ((-0.0, 0.0, -0.0), 0),
    ],
)
def test_folds_of_weather_stay(weather: tuple[float, ...], fold: int) -> None:
    """So has a row without a name, by its weather: the order of the features counts, the sign of a zero does not."""
    for nameless in (None, ""):
        assert assign_folds([nameless], np.array([weather])).tolist() == [fold]


def test_no_rows_have_no_folds() -> None:
    """An empty table is no error."""
    assert assign_folds([], np.empty((0, 3))).shape == (0,)


@given(st.lists(st.tuples(names, weathers), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_fold_of_a_row_is_its_own(rows: list[tuple[str | None, tuple[float, ...]]], draw: random.Random) -> None:
    """Whatever other rows there are, in whatever order, and however their names are kept."""
    alone = [assign_folds([name], np.array([weather])).item() for name, weather in rows]
    order = list(range(len(rows)))
    draw.shuffle(order)
    regions, weather = [rows[row][0] for row in order], np.array([rows[row][1] for row in order])
    for kept in (regions, Names.of(regions)):
        assert assign_folds(kept, weather).tolist() == [alone[row] for row in order]


@given(names.filter(bool), st.lists(weathers, min_size=2, max_size=5))
def test_seasons_of_a_region_stay_together(region: str, seasons: list[tuple[float, ...]]) -> None:
    """A named region has one fold whatever its weather: no fit is tested on a region that it has seen."""
    assert len(set(assign_folds([region] * len(seasons), np.array(seasons)).tolist())) == 1


@pytest.mark.parametrize("named", [True, False])
def test_folds_are_of_like_size(named: bool) -> None:
    """Of ten thousand regions about a fifth is in each, also where neighbours differ little in name or weather."""
    regions = [f"R{row}" if named else None for row in range(10_000)]
    weather = np.column_stack([np.arange(10_000) / 100, np.full(10_000, 80.0), np.full(10_000, 50.0)])
    counts = np.bincount(assign_folds(regions, weather), minlength=FOLDS)
    assert len(counts) == FOLDS
    assert counts.min() > 1_800


@given(st.lists(st.integers(0, FOLDS - 1), max_size=40), st.permutations(range(40)))
@settings(max_examples=50)
def test_each_fold_has_the_moments_of_its_rows(fold: list[int], shuffled: list[int]) -> None:
    """Crop by crop, also of a fold without rows and of no rows at all; the order of the rows does not matter."""
    order = [row for row in shuffled if row < len(fold)]
    features, yields = _rows(len(fold))
    of_rows = np.array(fold, np.uint8)
    crops = FoldedMoments.of(features[order], yields[order], of_rows[order])
    assert len(crops) == 2
    for crop, tons in zip(crops, yields.T, strict=True):
        rows = np.column_stack([features, tons])
        for number in range(FOLDS):
            _assert_close(crop.folds[number], Moments.of(rows[of_rows == number]))
            _assert_close(crop.without(number), Moments.of(rows[of_rows != number]))
        _assert_close(crop.total, Moments.of(rows))
        assert sorted(crop.frontier.tolist()) == sorted(features.tolist())


@given(st.lists(st.integers(0, 3), min_size=30, max_size=30))
@settings(max_examples=50)
def test_parts_merge_into_the_whole(part: list[int]) -> None:
    """Fold by fold, however rows are split into parts, some of which may have none."""
    features, yields = _rows(30)
    fold = np.arange(30) % FOLDS
    whole = _folded(features, yields, fold)
    splits = [np.array(part) == number for number in range(4)]
    merged = FoldedMoments.merge(_folded(features[rows], yields[rows], fold[rows]) for rows in splits)
    for found, wanted in zip(merged.folds, whole.folds, strict=True):
        _assert_close(found, wanted)
    assert sorted(merged.frontier.tolist()) == sorted(whole.frontier.tolist())


@pytest.mark.parametrize("count", [FRONTIER - 1, FRONTIER, FRONTIER + 1, 6_000])
def test_the_frontier_is_the_outermost_rows(count: int) -> None:
    """All rows where they are few; of more, those of the largest leverage, also after merging and trimming."""
    features, yields = _rows(count)
    folded = _folded(features, yields, [0] * count)
    outermost = np.sort(leverages(features, folded.total))[-FRONTIER:]
    np.testing.assert_allclose(np.sort(leverages(folded.frontier, folded.total)), outermost, rtol=1e-12)
    merged = FoldedMoments.merge([folded, _folded(*_rows(200, seed=1), [1] * 200)])
    everything = np.concatenate([features, _rows(200, seed=1)[0]])
    assert len(merged.trimmed().frontier) == FRONTIER
    largest = leverages(everything, merged.total).max()
    assert leverages(merged.trimmed().frontier, merged.total).max() == pytest.approx(largest, rel=1e-12)


def test_crops_of_the_same_rows_spread_alike() -> None:
    """Yields make no difference; one row more, another value or another outermost row does."""
    features, yields = _rows(20)
    fold = np.arange(20, dtype=np.uint8) % FOLDS
    first, second = FoldedMoments.of(features, yields, fold)
    assert first.spreads_as(second)
    moved = features.copy()
    moved[3, 1] += 1e-9
    others = [
        _folded(features[1:], yields[1:], fold[1:]),
        _folded(moved, yields, fold),
        FoldedMoments(first.folds, first.frontier[1:]),
    ]
    assert [first.spreads_as(other) for other in others] == [False] * 3


def test_arrays_hold_it_to_the_bit() -> None:
    """What is written to a file comes back, a fold without rows and all; an array that is missing is an error."""
    folded = _folded(*_rows(70), [row % 4 for row in range(70)])
    arrays = folded.to_arrays("moments/0/")
    assert {name.removeprefix("moments/0/") for name in arrays} == {
        *("count", "mean", "factor", "minimum", "maximum", "frontier")
    }
    assert all(array.dtype == np.float64 and array.flags.c_contiguous for array in arrays.values())
    again = FoldedMoments.from_arrays("moments/0/", arrays)
    assert [part.count for part in again.folds] == [18, 18, 17, 17, 0]
    for name, array in again.to_arrays("moments/0/").items():
        assert array.tobytes() == arrays[name].tobytes()
    for missing in arrays:
        with pytest.raises(KeyError, match=missing):
            FoldedMoments.from_arrays("moments/0/", {name: arrays[name] for name in arrays if name != missing})
