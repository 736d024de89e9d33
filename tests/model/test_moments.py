"""Moments: exact, mergeable in any way, and kept in digits where forming S would lose them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.model.fit import least_squares
from app.model.moments import BLOCK, Array, Moments

rows_of_numbers = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(2, 5)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@given(rows_of_numbers)
def test_moments_are_those_of_numpy(rows: Array) -> None:
    """Count, mean, co-moments and range are NumPy's."""
    moments = Moments.of(rows)
    away = rows - rows.mean(axis=0)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(moments.comoments, away.T @ away, rtol=1e-9, atol=1e-3)
    np.testing.assert_array_equal(moments.minimum, rows.min(axis=0))
    np.testing.assert_array_equal(moments.maximum, rows.max(axis=0))
    assert (np.diag(moments.factor) >= 0).all()
    np.testing.assert_array_equal(np.tril(moments.factor, -1), 0.0)


@given(st.data(), st.integers(20, 60))
@settings(max_examples=50)
def test_any_split_in_any_order_gives_the_same_model(data: st.DataObject, count: int) -> None:
    """However rows are split and in whatever order the parts are merged, the coefficients agree to 1e-9."""
    draw = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    features = draw.uniform([60, 20, 30], [105, 900, 90], (count, 3))
    rows = np.column_stack([features, features @ [-0.4, 0.8, 0.7] + 2 + draw.normal(0, 1, count)])
    part = np.array(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    pieces = [Moments.of(rows[part == number]) for number in data.draw(st.permutations(range(6)))]
    left = Moments.empty(4)
    for piece in pieces:
        left = Moments.merge([left, piece], 4)
    whole = least_squares(Moments.of(rows))
    for merged in (Moments.merge(pieces, 4), left):
        fit = least_squares(merged)
        np.testing.assert_allclose(fit.weights, whole.weights, rtol=1e-9)
        assert fit.intercept == pytest.approx(whole.intercept, rel=1e-9)


def test_a_large_mean_costs_no_digits() -> None:
    """With mean 1e8 and deviation 1 over 10 000 rows, the variance is right to 1e-7, in one piece or in many."""
    draw = np.random.default_rng(0)
    rows = 1e8 + draw.normal(0, 1, (10_000, 2))
    values = [Fraction(value) for value in rows[:, 1].tolist()]
    mean = sum(values, Fraction()) / len(values)
    exact = float(sum(((value - mean) ** 2 for value in values), Fraction()))
    many = Moments.merge([Moments.of(part) for part in np.array_split(rows, 37)], 2)
    for moments in (Moments.of(rows), many):
        assert moments.comoments[1, 1] == pytest.approx(exact, rel=1e-7)
    naive = float(np.sum(rows[:, 1] ** 2) - np.sum(rows[:, 1]) ** 2 / len(rows))
    assert abs(naive / exact - 1) > 1e-4


def test_blocks_do_not_show() -> None:
    """More rows than a block give the moments of all of them."""
    rows = np.random.default_rng(1).normal(5, 2, (2 * BLOCK + 7, 3))
    moments = Moments.of(rows)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.comoments, np.cov(rows.T, ddof=0) * len(rows), rtol=1e-10)


def test_no_rows_are_neutral() -> None:
    """Merging with no rows changes nothing, and no rows at all stay none."""
    moments = Moments.of(np.arange(12.0).reshape(4, 3))
    assert Moments.merge([Moments.empty(3), moments], 3) is moments
    assert Moments.merge([], 3).count == 0


def test_overflow_is_an_error() -> None:
    """Values whose squares leave float64 are an error, not an infinity."""
    for large in (1e200, 1.7e308):
        with pytest.raises(OverflowError, match=r"1\.8e308"):
            Moments.of(np.array([[large, 1.0], [-large, 2.0], [0.0, 3.0]]))


@given(rows_of_numbers, st.floats(-3, 3), st.floats(-100, 100))
def test_squared_error_is_that_of_the_rows(rows: Array, weight: float, intercept: float) -> None:
    """The squared error of any line over the rows follows from their moments."""
    weights = np.full(rows.shape[1] - 1, weight)
    direct = float(np.sum((rows[:, -1] - rows[:, :-1] @ weights - intercept) ** 2))
    assert Moments.of(rows).squared_error(weights, intercept) == pytest.approx(direct, rel=1e-9, abs=1e-3)


def test_constant_columns_are_known_exactly() -> None:
    """A column is constant when all its values are the same, however large."""
    rows = np.column_stack([np.full(9, 1e8 + 0.1), np.arange(9.0)])
    assert Moments.of(rows).constant.tolist() == [True, False]
