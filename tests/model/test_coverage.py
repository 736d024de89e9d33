"""Coverage: Wilson's band of the share inside, and an alarm that seasons which fail together do not raise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from app.model.coverage import Coverage
from app.model.sums import Sums
from scripts.simulate_scores import pairs_of

COUNTS = st.lists(st.integers(1, 30).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), min_size=1)


def _coverage(counts: list[tuple[int, int]], *, named: bool = True, far: float = 50.0) -> Coverage:
    """Return that of seasons with so many inside of so many."""
    errors = np.concatenate([np.where(np.arange(of) < inside, 0.0, far) for inside, of in counts])
    seasons: list[str | None] = [
        str(season) if named else None for season, (_, of) in enumerate(counts) for _ in range(of)
    ]
    found = Coverage.of_sums(Sums.of(seasons, pairs_of(errors)))
    assert found is not None
    return found


def test_eight_of_eight() -> None:
    """Are anything from 68% on."""
    band = _coverage([(8, 8)]).band()
    assert band.low == pytest.approx(0.6756, abs=1e-4)
    assert band.high == 1.0
    none = _coverage([(0, 8)]).band()
    assert (none.low, none.high) == pytest.approx((0.0, 1.0 - band.low))


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_of_one_season_it_is_wilsons(counts: tuple[int, int]) -> None:
    """Every share within it is one from which that seen is at most 1.96 standard errors away (Wilson 1927)."""
    inside, of = counts
    band = _coverage([counts]).band()
    z = float(norm.ppf(0.975))
    for bound in (band.low, band.high):
        away = abs(inside / of - bound)
        assert away == pytest.approx(z * math.sqrt(bound * (1.0 - bound) / of), rel=1e-6, abs=1e-9)


@given(COUNTS)
def test_a_band_is_a_share_and_holds_the_one_seen(counts: list[tuple[int, int]]) -> None:
    """Of any seasons; pairs of a season never tell more than as many that share nothing."""
    found = _coverage(counts)
    band = found.band()
    inside, of = (sum(part[place] for part in counts) for place in (0, 1))
    assert 0.0 <= band.low <= inside / of + 1e-12
    assert inside / of - 1e-12 <= band.high <= 1.0
    assert found.independent <= of
    assert 0.0 <= found.chance <= 1.0


def test_seasons_that_differ_tell_less() -> None:
    """The same 54 of 60: spread evenly they tell as much as fewer that share nothing, in one bad season as a few."""
    evenly, one_bad = _coverage([(18, 20)] * 3), _coverage([(20, 20), (20, 20), (14, 20)])
    alone = _coverage([(54, 60)])
    assert alone.independent == 60.0
    assert one_bad.independent < evenly.independent < 60.0
    assert one_bad.band().low < evenly.band().low < alone.band().low


def test_a_pair_a_season_shares_nothing() -> None:
    """Then the test is the exact binomial one."""
    found = _coverage([(1, 1)] * 20 + [(0, 1)] * 4)
    assert found.independent == pytest.approx(24.0, rel=1e-12)
    assert found.chance == pytest.approx(float(binom.cdf(20, 24, 0.95)), rel=1e-9)


def test_one_bad_season_is_no_alarm_but_bad_seasons_are() -> None:
    """30 of 60 are far fewer than 95%; of seasons that were all as bad chance does not make that, of one it may."""
    assert _coverage([(2, 20), (14, 20), (14, 20)]).chance < 0.01
    assert _coverage([(20, 20), (20, 20), (12, 20)]).chance > 0.01
    assert float(binom.cdf(52, 60, 0.95)) < 0.01


def test_pairs_without_a_season_or_an_interval() -> None:
    """The former are counted where there are no three seasons, and only there; without intervals there is nothing."""
    sums = Sums.merge([Sums.of([None] * 10, pairs_of(np.zeros(10))), Sums.of(["1", "2"], pairs_of(np.zeros(2)))])
    found = Coverage.of_sums(sums)
    assert found is not None
    assert (found.of, found.seasons) == (12.0, 2)
    third = Coverage.of_sums(Sums.merge([sums, Sums.of(["3"], pairs_of(np.zeros(1)))]))
    assert third is not None
    assert (third.of, third.seasons) == (3.0, 3)
    assert Coverage.of_sums(Sums.merge([])) is None


def test_what_is_promised_is_the_mean_of_the_levels() -> None:
    """Of forecasts that promised different ones."""
    pairs = pairs_of(np.zeros(4))
    found = Coverage.of_sums(Sums.of(["1"] * 4, replace(pairs, level=np.array([0.8, 0.8, 0.9, 0.95]))))
    assert found is not None
    assert found.promised == pytest.approx(0.8625)
