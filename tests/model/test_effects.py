"""Effects as served: the same bits for one region and for many, whole in a file, wider for what is not known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.components import Components, Part
from app.model.effects import Effects, degrees
from app.model.moments import Array
from app.model.student import t_quantile

KNOWN, UNSEEN = 4, 4
NOISE, BY_REGION, BY_SEASON = 1.5, 30.0, 6.0


def _margin(effects: Effects, weather: Any, place: Any, level: float) -> Any:
    return effects.scale(level)[place] * effects.width(weather, place)


def _effects() -> Effects:
    """Return those of four regions: the more rows, the surer of the region."""
    draw = np.random.default_rng(4)
    rows = np.array([9.0, 1.0, 4.0, 2.0, 0.0])
    center = np.array([75.0, 80.0, 55.0]) + draw.normal(0, 3, (KNOWN + 1, 3))
    base = 1.0 / np.array([9.1, 1.1, 4.1, 2.1, 16.0])
    whitener = np.triu(draw.normal(0, 0.05, (3, 3)))
    offset = np.append(draw.normal(0, 5, KNOWN), 0.0)
    line = np.array([0.4, 0.6, -0.2]), 3.0
    return Effects(*line, rows, offset, center, base, whitener, NOISE, BY_REGION, BY_SEASON, (7.5, 12.25))


EFFECTS = _effects()

weather = st.tuples(st.floats(-130, 140), st.floats(0, 30_000), st.floats(0, 100))
place = st.integers(0, UNSEEN)


@given(st.lists(st.tuples(weather, place), min_size=1, max_size=5), st.floats(0.5, 0.999))
def test_one_and_many_get_the_same_bits(asked: list[tuple[tuple[float, ...], int]], level: float) -> None:
    """Tons, leverage, width and margin are the same bits from floats and from arrays."""
    columns = [np.array(column) for column in zip(*(values for values, _ in asked), strict=True)]
    places = np.array([number for _, number in asked], dtype=np.intp)
    many: list[Array] = [
        EFFECTS.tons(columns, places),
        EFFECTS.leverage(columns, places),
        EFFECTS.width(columns, places),
        _margin(EFFECTS, columns, places, level),
    ]
    for row, (values, number) in enumerate(asked):
        one = [
            EFFECTS.tons(values, number),
            EFFECTS.leverage(values, number),
            EFFECTS.width(values, number),
            _margin(EFFECTS, values, number, level),
        ]
        assert [float(number) for number in one] == [float(column[row]) for column in many]


@given(weather, place)
def test_they_are_what_the_formulas_say(values: tuple[float, ...], number: int) -> None:
    """With numpy's products, and the variances written out."""
    point = np.array(values)
    assert EFFECTS.tons(values, number) == pytest.approx(
        3.0 + point @ EFFECTS.weights + EFFECTS.offset[number], rel=1e-12, abs=1e-9
    )
    away = EFFECTS.whitener @ (point - EFFECTS.center[number])
    leverage = EFFECTS.base[number] + away @ away
    assert EFFECTS.leverage(values, number) == pytest.approx(leverage, rel=1e-12)
    variance = NOISE * (1.0 + leverage) + BY_SEASON + (BY_REGION if number == UNSEEN else 0.0)
    of = 12.25 if number == UNSEEN else 7.5
    assert _margin(EFFECTS, values, number, 0.9) == pytest.approx(t_quantile(0.9, of) * variance**0.5, rel=1e-12)


def test_an_unseen_region_is_less_sure() -> None:
    """By all that regions differ by; by nothing where they do not differ, whatever the place."""
    assert EFFECTS.unseen == UNSEEN
    known, unseen = EFFECTS.beyond
    assert unseen - known == pytest.approx(BY_REGION / NOISE)
    assert EFFECTS.beyond_by_place.tolist() == [known] * KNOWN + [unseen]
    assert EFFECTS.scale(0.95).tolist() == [EFFECTS.scales(0.95)[0]] * KNOWN + [EFFECTS.scales(0.95)[1]]
    alike = replace(EFFECTS, by_region=0.0, degrees=(7.5, 7.5))
    assert len(set(alike.beyond)) == len(set(alike.scales(0.95))) == 1


def test_a_crop_that_knows_fewer_regions() -> None:
    """Among more regions, in another order: those it knows are as they were, and the others as one never seen."""
    places = np.array([5, 0, 3, 1], dtype=np.intp)
    among = EFFECTS.placed(places, 6)
    assert [len(among.rows), among.unseen] == [7, 6]
    values = (77.0, 81.0, 52.0)
    for mine, theirs in [*zip(places.tolist(), range(KNOWN), strict=True), (2, UNSEEN), (4, UNSEEN), (6, UNSEEN)]:
        for found, expected in (
            (among.tons(values, mine), EFFECTS.tons(values, theirs)),
            (_margin(among, values, mine, 0.95), _margin(EFFECTS, values, theirs, 0.95)),
            (among.rows[mine], EFFECTS.rows[theirs]),
        ):
            assert found == expected
    assert EFFECTS.rows.tolist() == [9.0, 1.0, 4.0, 2.0, 0.0]


def test_a_crop_that_knows_no_region() -> None:
    """Of which seasons alone are seen."""
    arrays = {name: getattr(EFFECTS, name)[KNOWN:] for name in ("rows", "offset", "center", "base")}
    seasons = replace(EFFECTS, by_region=0.0, **arrays)
    among = seasons.placed(np.empty(0, dtype=np.intp), 2)
    values = (77.0, 81.0, 52.0)
    assert {float(_margin(among, values, number, 0.95)) for number in range(3)} == {
        float(_margin(seasons, values, 0, 0.95))
    }
    again = Effects.from_arrays("", seasons.to_arrays(""), 0)
    assert again.tons(values, 0) == seasons.tons(values, 0)


def test_they_survive_a_file() -> None:
    """Every array and number comes back to the bit."""
    arrays = EFFECTS.to_arrays("effects/7/")
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float64)}
    assert all(name.startswith("effects/7/") for name in arrays)
    again = Effects.from_arrays("effects/7/", arrays | {"other": np.zeros(1)}, KNOWN)
    for name, array in arrays.items():
        assert again.to_arrays("effects/7/")[name].tobytes() == array.tobytes()
    values = (77.0, 81.0, 52.0)
    for number in range(KNOWN + 1):
        assert _margin(again, values, number, 0.95) == _margin(EFFECTS, values, number, 0.95)


ARRAYS = EFFECTS.to_arrays("")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_noticed(name: str) -> None:
    """Whichever it is."""
    with pytest.raises(KeyError, match=name):
        Effects.from_arrays("", {other: array for other, array in ARRAYS.items() if other != name}, KNOWN)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("damage", ["shorter", "longer", "flat"])
def test_arrays_that_do_not_belong_together_are_refused(name: str, damage: str) -> None:
    """One is cut, is of more regions or features, or has another shape."""
    array = ARRAYS[name]
    spoilt = {"shorter": array[:-1], "longer": np.concatenate([array, array[:1]]), "flat": array[..., None]}[damage]
    with pytest.raises(ValueError, match="do not belong together"):
        Effects.from_arrays("", ARRAYS | {name: spoilt}, KNOWN)


@pytest.mark.parametrize("regions", [KNOWN - 1, KNOWN + 1])
def test_other_regions_than_it_was_learned_from_are_refused(regions: int) -> None:
    """Fewer or more names than places."""
    with pytest.raises(ValueError, match="do not belong together"):
        Effects.from_arrays("", ARRAYS, regions)


variance = st.floats(0, 1e6)


@given(variance, variance, st.floats(1e-9, 1e6), st.integers(3, 500), st.integers(3, 500), st.integers(1, 10**6))
def test_there_are_degrees_enough_for_a_quantile(
    by_region: float, by_season: float, noise: float, regions: int, seasons: int, left: int
) -> None:
    """At least 1 and at most all that there are, whatever the variances; the same where regions do not differ."""
    found = degrees(Components(10, Part(by_region, regions), Part(by_season, seasons), noise, left))
    assert min(found) >= 1
    assert max(found) <= (left + regions + seasons) * (1 + 1e-9)
    assert by_region or found[0] == found[1]
    assert all(t_quantile(0.95, of) > 0 for of in found)
