"""Sums: what pairs add up to, in any order and in any parts; of rows that are known by their moments as well."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.harvest import moments_of
from app.data.tables import Table
from app.model.fit import least_squares
from app.model.linear import LinearModel
from app.model.moments import Moments
from app.model.names import Names
from app.model.pairs import Pairs
from app.model.seasons import MOST_SEASONS
from app.model.sums import COLUMNS, Sums
from app.model.weather import FEATURE_NAMES

Row = tuple[str | None, int, float, float]
ROWS = st.lists(
    st.tuples(st.sampled_from(("2024", "2025", "2026", None)), st.integers(0, 3), st.floats(0, 100), st.floats(0, 100)),
    max_size=40,
)


def _pairs(rows: list[Row]) -> Pairs:
    """Return pairs of which every third has no interval, every fifth cannot be asked on the weather reported."""
    tons, predicted = (np.array([row[place] for row in rows], dtype=np.float64) for place in (2, 3))
    place = np.arange(len(rows))
    half = np.where(place % 3 == 0, np.nan, 10.0)
    on_reported = np.where(place % 5 == 0, np.nan, 0.5 * (tons + predicted))
    level = np.where(place % 2 == 0, 0.8, 0.95)
    return Pairs(
        tons,
        predicted,
        predicted - half,
        predicted + half,
        level,
        tons * 0 + 40.0,
        on_reported,
        np.ones((len(rows), 3)),
    )


def _sums(rows: list[Row]) -> Sums:
    return Sums.of([row[0] for row in rows], _pairs(rows))


def _same(one: Sums, other: Sums) -> None:
    assert one.seasons == other.seasons
    np.testing.assert_allclose(one.table, other.table, rtol=1e-12, atol=1e-9)


@given(ROWS)
def test_pairs_are_added_one_by_one(rows: list[Row]) -> None:
    """By season, in the order in which seasons first appear; each column as its name says."""
    sums, pairs = _sums(rows), _pairs(rows)
    assert sums.seasons == tuple(dict.fromkeys(row[0] for row in rows))
    for number, season in enumerate(sums.seasons):
        expected = dict.fromkeys(COLUMNS, 0.0)
        for row in (place for place, row in enumerate(rows) if row[0] == season):
            tons, error = float(pairs.tons[row]), float(pairs.tons[row] - pairs.predicted[row])
            added = {"pairs": 1, "error": error, "squares": error**2, "baseline": (tons - 40.0) ** 2}
            added |= {"seen": 1, "absolute": abs(error)}
            if row % 3:
                low, high, level = (float(column[row]) for column in (pairs.low, pairs.high, pairs.level))
                outside = max(low - tons, tons - high, 0.0)
                score = high - low + 2.0 / (1.0 - level) * outside
                added |= {"bounded": 1, "inside": outside == 0.0, "promised": level}
                added |= {"width": high - low, "penalised": score}
            if row % 5:
                by_model = tons - float(pairs.on_reported[row])
                added |= {"split": 1, "model": by_model, "weather": error - by_model}
                added |= dict.fromkeys(FEATURE_NAMES, 1.0)
            for name, value in added.items():
                expected[name] += value
        assert sums.table[number].tolist() == pytest.approx([expected[name] for name in COLUMNS], rel=1e-9, abs=1e-9)


@given(ROWS, st.integers(0, 40), st.integers(0, 40))
def test_merged_in_parts_is_all_at_once(rows: list[Row], first: int, second: int) -> None:
    """Whatever the parts, also without rows, and in whatever order they are merged."""
    pairs, seasons = _pairs(rows), [row[0] for row in rows]
    low, high = sorted((min(first, len(rows)), min(second, len(rows))))
    parts = [
        Sums.of(seasons[start:end], pairs.rows(slice(start, end)))
        for start, end in ((0, low), (low, high), (high, len(rows)))
    ]
    _same(Sums.merge(parts), Sums.of(seasons, pairs))
    _same(Sums.merge([Sums.merge(parts[:2]), parts[2]]), Sums.merge([parts[0], Sums.merge(parts[1:])]))


@given(ROWS)
def test_groups_are_those_of_their_own_rows(rows: list[Row]) -> None:
    """Each as if it were alone; a group without pairs has none."""
    pairs, seasons, place = _pairs(rows), [row[0] for row in rows], np.array([row[1] for row in rows], dtype=np.intp)
    groups = Sums.by(place, 5, Names.of(seasons), pairs)
    assert len(groups) == 5
    for number, sums in enumerate(groups):
        mine = place == number
        _same(sums, Sums.of([season for season, my in zip(seasons, mine, strict=True) if my], pairs.rows(mine)))


def test_too_many_seasons_are_none() -> None:
    """Where each row has one of its own, nothing is said by season; in parts as at once."""
    rows: list[Row] = [(str(number), 0, 50.0, 40.0) for number in range(MOST_SEASONS + 1)]
    assert _sums(rows).seasons == (None,)
    assert len(_sums(rows[1:]).seasons) == MOST_SEASONS
    merged = Sums.merge([_sums(rows[:300]), _sums(rows[300:])])
    assert merged.seasons == (None,)
    assert merged.total("pairs") == _sums(rows).total("pairs") == MOST_SEASONS + 1


def test_rows_known_by_their_moments(tutorial: Table) -> None:
    """Errors, their squares and those of the mean yield are those of the rows; nothing is said of one row alone."""
    moments = moments_of(tutorial)
    fits = {crop: least_squares(part.total) for crop, part in moments.items()}
    model = LinearModel.of(FEATURE_NAMES, {crop: (fit.weights, fit.intercept) for crop, fit in fits.items()}, moments)
    draw = np.random.default_rng(4)
    weather = tutorial.weather + draw.normal(0.0, 3.0, tutorial.weather.shape)
    tons = tutorial.yields[:, 0] + 5.0
    crop = model.crops[0]
    known = Sums.of([None] * len(tons), Pairs.arrival(tons, crop, model.yields(list(weather.T), 0.95)))
    found = Sums.of_moments(crop, Moments.of(np.column_stack([weather, tons])), "2026")
    assert found.seasons == ("2026",)
    for name in ("pairs", "error", "squares", "baseline", "split", "model", "weather"):
        assert found.total(name) == pytest.approx(known.total(name), rel=1e-9), name
    assert [found.total(name) for name in ("seen", "absolute", "bounded", "inside", "width")] == [0.0] * 5
