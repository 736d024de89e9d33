"""t quantiles against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from app.model.student import t_quantile


def test_the_tutorials_quantile() -> None:
    """With 11 degrees of freedom, 95% lie within 2.2009851600916398."""
    assert t_quantile(0.95, 11) == pytest.approx(2.2009851600916398, rel=1e-13)


@given(st.floats(0.5, 0.9999), st.one_of(st.integers(1, 1_200), st.integers(1_200, 10**8)))
def test_any_quantile_is_scipys(level: float, degrees_of_freedom: int) -> None:
    """Any level and any degrees of freedom agree with SciPy to 1e-11."""
    expected = float(student.isf((1.0 - level) / 2.0, degrees_of_freedom))
    assert t_quantile(level, degrees_of_freedom) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("level", "degrees_of_freedom"), [(0.0, 5), (1.0, 5), (0.95, 0)])
def test_out_of_bounds_is_an_error(level: float, degrees_of_freedom: int) -> None:
    """A level of 0 or 1 and no degrees of freedom have no quantile."""
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(level, degrees_of_freedom)
