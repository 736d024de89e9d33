"""The record: what is said of intervals that were given before the yields were known."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.model.moments import Array
from app.model.record import NESTED, Record, binomial_tail
from app.model.sketch import Sketch
from app.model.student import t_quantile

DEGREES = 11
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
WIDTH = 2 ** (1 / 8)
"""Of a bin."""
MANY = st.lists(st.floats(-15, 15), min_size=20, max_size=80).map(np.array)


def _record(z: Array, degrees: int = DEGREES) -> Record:
    return Record(Sketch.of([None] * len(z), z, t_quantile(0.95, degrees), t_quantile(0.80, degrees)))


def _sum(most: int, trials: int, chance: float) -> float:
    """Return P(X <= most), term by term."""
    return math.fsum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(most + 1))


def _exact_factor(z: Array, level: float) -> float:
    """Return the factor of the rows themselves, at least that of an interval that holds those of lower levels."""
    reach = t_quantile(level, DEGREES)
    lower = [_exact_alone(z, known) * t_quantile(known, DEGREES) / reach for known in NESTED if known < level]
    return max(_exact_alone(z, level), *lower)


def _exact_alone(z: Array, level: float) -> float:
    away = np.sort(np.abs(z)) / t_quantile(level, DEGREES)
    if _sum(int(np.sum(away <= 1.0)), len(z), level) >= 0.05:
        return 1.0
    place = min(len(z), math.ceil(round((len(z) + 1) * level, 9)))
    return max(1.0, float(away[place - 1]))


@given(st.integers(1, 300), st.data(), st.floats(0.5, 0.999))
def test_the_tail_of_a_binomial_is_the_sum_of_its_terms(trials: int, data: st.DataObject, chance: float) -> None:
    """Up to all trials, where it is 1."""
    most = data.draw(st.integers(0, trials))
    assert binomial_tail(most, trials, chance) == pytest.approx(_sum(most, trials, chance), rel=1e-9, abs=1e-12)
    assert binomial_tail(trials, trials, chance) == 1.0


def test_the_tail_of_many_trials() -> None:
    """Half of it lies at the median, whatever their number; this one is SciPy's, binom.cdf(949564, 10**6, 0.95)."""
    assert binomial_tail(949_564, 10**6, 0.95) == pytest.approx(0.022958245092764083, abs=1e-9)
    assert binomial_tail(0, 10**6, 0.95) == 0.0


@given(st.lists(st.floats(-15, 15), max_size=80).map(np.array))
def test_rows_inside_80_and_95_are_exact(z: Array) -> None:
    """Whatever degrees of freedom are asked about; a higher level holds no fewer rows."""
    record = _record(z)
    assert record.rows == len(z)
    for level in (0.8, 0.95):
        assert record.inside(level, 3) == np.sum(np.abs(z) <= t_quantile(level, DEGREES))
    inside = [record.inside(level, DEGREES) for level in LEVELS]
    assert inside == sorted(inside)


@given(MANY, st.sampled_from(LEVELS))
def test_rows_inside_other_levels_are_right_within_a_bin(z: Array, level: float) -> None:
    """Those of an interval a bin narrower, and a bin wider, are on either side."""
    t = t_quantile(level, DEGREES)
    narrower, wider = (float(np.sum(np.abs(z) <= t * by)) for by in (1 / WIDTH, WIDTH))
    assert narrower - 1e-9 <= _record(z).inside(level, DEGREES) <= wider + 1e-9


@example(1.59375, 0.95, 4_294_967_294)
@given(st.floats(0.1, 4.0), st.sampled_from((0.8, 0.95)), st.integers(0, 2**32 - 1))
def test_the_factor_is_that_of_the_rows_within_a_bin(scale: float, level: float, seed: int) -> None:
    """The test and the factor are those of the rows themselves, each a bin nearer or farther."""
    z = scale * np.random.default_rng(seed).standard_t(DEGREES, 60)
    assume(np.abs(z).max() / t_quantile(0.95, DEGREES) < 11.0)
    factor = _record(z).factor(level, DEGREES)
    # A row that is counted a bin farther out can be the one that makes the test see something.
    nearer, farther = (_exact_factor(z * by, level) for by in (1 / WIDTH, WIDTH))
    assert nearer <= factor * (1 + 1e-12)
    assert factor <= farther * (1 + 1e-12)


@given(st.floats(0.5, 2.5), st.integers(0, 200))
def test_higher_levels_hold_lower_ones(scale: float, seed: int) -> None:
    """Of the levels that people ask for: their intervals are nested, and the sentences say why they are wider."""
    record = _record(scale * np.random.default_rng(seed).standard_t(DEGREES, 60))
    widths = [record.factor(level, DEGREES) * t_quantile(level, DEGREES) for level in NESTED]
    assert widths == sorted(widths)
    for level in NESTED:
        told = record.warning("corn", level, DEGREES)
        assert (told is None) == (record.factor(level, DEGREES) == 1.0)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_factor_of_other_levels(level: float) -> None:
    """Of many rows that scatter twice as far as was said it is 2."""
    z = 2.0 * np.random.default_rng(3).standard_t(DEGREES, 20_000)
    assert _record(z).factor(level, DEGREES) == pytest.approx(_exact_factor_of_many(z, level), rel=0.02)
    assert _record(z / 2.0).factor(level, DEGREES) < 1.05


def _exact_factor_of_many(z: Array, level: float) -> float:
    return float(np.quantile(np.abs(z), level)) / t_quantile(level, DEGREES)


@given(MANY, st.sampled_from(LEVELS), st.integers(1, 60), st.data())
def test_worse_rows_never_make_it_smaller(z: Array, level: float, degrees: int, data: st.DataObject) -> None:
    """It is at least 1."""
    worse = z * np.array(data.draw(st.lists(st.floats(1, 8), min_size=len(z), max_size=len(z))))
    factors = [_record(rows).factor(level, degrees) for rows in (z, worse)]
    assert 1.0 <= factors[0] <= factors[1] * (1 + 1e-12)


@pytest.mark.parametrize(("outside", "widened"), [(14, False), (15, True)])
def test_it_stays_1_while_chance_may_have_done_it(outside: int, widened: bool) -> None:
    """Of 183 rows 9 are expected outside; 14 or more are there in 7.6% of all cases, 15 or more in 4.2%."""
    z = np.array([5.0] * outside + [0.5] * (183 - outside))
    assert (_sum(183 - outside, 183, 0.95) < 0.05) is widened
    assert (_record(z).factor(0.95, DEGREES) > 1.0) is widened


@pytest.mark.parametrize("rows", [0, 1, 19])
def test_few_rows_say_nothing(rows: int) -> None:
    """However far off they are: from 20 on they do."""
    record = _record(np.full(rows, 50.0))
    assert {record.factor(level, DEGREES) for level in LEVELS} == {1.0}
    assert record.warning("corn", 0.95, DEGREES) is None
    assert _record(np.full(20, 50.0)).factor(0.95, DEGREES) == pytest.approx(2**3.5)


def test_part_of_a_row_is_none() -> None:
    """A bin that the interval ends in counts in part: what is left of a row is outside, in the test and in words."""
    record = _record(np.array([0.5] * 80 + [1.80] * 7 + [10.0] * 13))  # 90% is reached at t = 1.796
    assert 84.0 < record.inside(0.9, DEGREES) < 85.0
    assert _sum(84, 100, 0.9) < 0.05 < _sum(85, 100, 0.9)
    assert record.factor(0.9, DEGREES) > 1.0
    assert "90% intervals held 84% of the 100 yields" in (record.warning("corn", 0.9, DEGREES) or "")


def test_it_holds_where_it_was_widened() -> None:
    """On rows like those of the record, an interval as many times as wide holds what it promises."""
    noise = np.random.default_rng(4)
    record, later = (1.5 * noise.standard_t(DEGREES, size) for size in (500, 20_000))
    factor = _record(record).factor(0.95, DEGREES)
    assert np.mean(np.abs(later) <= factor * t_quantile(0.95, DEGREES)) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (0, "no yield has been reported after it could be predicted"),
        (1, "only 1 yield has been reported after it could be predicted"),
        (12, "only 12 yields have been reported after they could be predicted"),
    ],
)
def test_what_is_not_yet_known(rows: int, sentence: str) -> None:
    """Is said to be."""
    expected = f"not yet known how well its intervals hold: {sentence}"
    assert _record(np.zeros(rows)).sentence() == expected


def test_its_sentence() -> None:
    """Not all rows are 100%, even where it rounds to it."""
    z = np.array([0.5] * 132 + [1.8] * 34 + [5.0] * 17)
    assert _record(z).sentence() == (
        "of 183 yields reported after they could be predicted, 166 (91%) lay in their 95% interval "
        "and 132 (72%) in their 80% one"
    )
    assert "1,999 (99.95%) lay" in _record(np.array([0.5] * 1999 + [5.0])).sentence()
    assert "20 (100%) lay" in _record(np.zeros(20)).sentence()


def test_its_warning() -> None:
    """The level and its share, never so rounded that they look alike; how many times as wide."""
    z = np.array([0.5] * 81 + [t_quantile(0.95, DEGREES) * 2**0.35] * 14)
    assert _record(z).warning("corn", 0.95, DEGREES) == (
        "corn: 95% intervals held 85% of the 95 yields reported since; this one is 1.27 times as wide as its rows "
        "alone would have it"
    )
    close = _record(np.array([0.5] * 94_700 + [2.3] * 5_300))
    assert "held 94.7% of the 100,000 yields" in (close.warning("corn", 0.95, DEGREES) or "")
    far = _record(np.array([0.5] * 197 + [9.0] * 3)).warning("corn", 0.999, DEGREES)
    assert far is not None
    assert far.startswith("corn: 99.9% intervals held 98.5% of the 200 yields")


def test_its_lean() -> None:
    """Is that of its sketch."""
    z = np.array([-3.0, -2.0, -3.0, -2.0])
    lean = Record(Sketch.of(["2024", "2024", "2025", "2025"], z, 2.0, 1.3)).lean()
    assert lean is not None
    assert (lean.seasons, lean.standard_errors) == (2, -2.5)
    assert _record(z).lean() is None
