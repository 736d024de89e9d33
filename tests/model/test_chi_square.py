"""Chi-square quantiles against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from app.model.chi_square import chi_square_quantile


@given(st.floats(0.01, 0.999), st.integers(1, 9_999))
def test_any_quantile_is_scipys(probability: float, degrees_of_freedom: int) -> None:
    """Any probability and up to 9 999 degrees of freedom agree with SciPy to 1e-10."""
    expected = float(chi2.ppf(probability, degrees_of_freedom))
    assert chi_square_quantile(probability, degrees_of_freedom) == pytest.approx(expected, rel=1e-10)


@given(st.floats(0.01, 0.999), st.floats(1.0, 300.0))
def test_degrees_of_freedom_need_not_be_whole(probability: float, degrees_of_freedom: float) -> None:
    """As those of a sum of squares that are known differently well are not."""
    expected = float(chi2.ppf(probability, degrees_of_freedom))
    assert chi_square_quantile(probability, degrees_of_freedom) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("degrees_of_freedom", [10_000, 123_456, 10**7])
def test_many_degrees_of_freedom(degrees_of_freedom: int) -> None:
    """Beyond 10 000 degrees of freedom the gate's quantile agrees to 1e-6."""
    expected = float(chi2.ppf(0.99, degrees_of_freedom))
    assert chi_square_quantile(0.99, degrees_of_freedom) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("probability", "degrees_of_freedom"), [(0.0, 3), (1.0, 3), (0.5, 0), (0.5, float("nan"))])
def test_out_of_bounds_is_an_error(probability: float, degrees_of_freedom: int) -> None:
    """A probability of 0 or 1 and no degrees of freedom have no quantile."""
    with pytest.raises(ValueError, match="no chi-square quantile"):
        chi_square_quantile(probability, degrees_of_freedom)
