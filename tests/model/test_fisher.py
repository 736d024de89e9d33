"""The tail of the F distribution against SciPy."""

import pytest
from scipy import stats

from app.model.fisher import f_tail

RATIOS = (0.01, 0.5, 0.9, 1.0, 1.02, 1.1, 1.5, 2.6, 5.0, 30.0, 1e4)
SEEN = 1e-250
"""What is less likely is as good as impossible."""


@pytest.mark.parametrize("degrees", [1, 2, 3, 5, 11, 98, 3_000, 200_000])
@pytest.mark.parametrize("noise_degrees", [1, 2, 5, 10, 55, 500, 12_000, 1_000_000])
def test_it_is_that_of_scipy(degrees: int, noise_degrees: int) -> None:
    """From far below the mean to far above it, with few degrees of freedom and with a million."""
    for ratio in RATIOS:
        expected = stats.f.sf(ratio, degrees, noise_degrees)
        if expected > SEEN:
            assert f_tail(ratio, degrees, noise_degrees) == pytest.approx(expected, rel=1e-7)


def test_the_ends() -> None:
    """Every ratio is above 0, none beyond all."""
    assert f_tail(0.0, 3, 7) == 1.0
    assert f_tail(float("inf"), 3, 7) == 0.0


@pytest.mark.parametrize(
    ("ratio", "degrees", "noise_degrees"), [(-1.0, 1, 1), (float("nan"), 1, 1), (1, 0, 1), (1, 1, 0)]
)
def test_what_is_no_distribution(ratio: float, degrees: int, noise_degrees: int) -> None:
    """Ratios below 0, and no degrees of freedom, are refused."""
    with pytest.raises(ValueError, match="no F distribution"):
        f_tail(ratio, degrees, noise_degrees)
