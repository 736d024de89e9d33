"""Sketches: rows counted exactly, and added in any order and in any parts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.names import Names
from app.model.seasons import MOST_SEASONS
from app.model.sketch import BEYOND, BINS, LOG_EDGES, UP_TO_1, Sketch
from app.model.student import t_quantile

T_95, T_80 = t_quantile(0.95, 11), t_quantile(0.80, 11)
SEASONS = ("2024", "2025", "2026", None)
ROW = st.tuples(
    st.sampled_from(SEASONS), st.one_of(st.floats(-40, 40), st.sampled_from([T_95, -T_95, T_80, math.inf, 0.0]))
)
Rows = list[tuple[str | None, float]]


def _sketch(rows: Rows) -> Sketch:
    return Sketch.of([season for season, _ in rows], np.array([z for _, z in rows]), T_95, T_80)


def _same(one: Sketch, other: Sketch) -> bool:
    """Return whether two have the same seasons in the same order, the same counts, and sums alike but for rounding."""
    counts = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("count", "within_80", "bins"))
    sums = all(getattr(one, name) == pytest.approx(getattr(other, name)) for name in ("total", "squares"))
    return one.seasons == other.seasons and counts and sums


@given(st.lists(ROW, max_size=30))
def test_rows_are_counted_exactly(rows: Rows) -> None:
    """By season, in the order in which seasons first appear; a row on the end of its interval is inside."""
    sketch = _sketch(rows)
    assert sketch.seasons == tuple(dict.fromkeys(season for season, _ in rows))
    for number, season in enumerate(sketch.seasons):
        mine = [z for name, z in rows if name == season]
        kept = [max(-BEYOND, min(z, BEYOND)) for z in mine]
        assert sketch.count[number] == sketch.bins[number].sum() == len(mine)
        assert sketch.total[number] == pytest.approx(sum(kept))
        assert sketch.squares[number] == pytest.approx(sum(z * z for z in kept))
        assert sketch.within_80[number] == sum(abs(z) <= T_80 for z in mine)
        assert sketch.bins[number, :UP_TO_1].sum() == sum(abs(z) <= T_95 for z in mine)


@given(st.floats(0.01, 100.0))
def test_a_row_is_in_the_bin_around_its_r(r: float) -> None:
    """Above the lower edge, up to the upper one; what is beyond all edges is in the outermost bins."""
    (number,) = np.flatnonzero(Sketch.of([None], np.array([-r]), 1.0, 1.0).bins[0])
    low, high = np.exp2(LOG_EDGES[number : number + 2])
    assert r > low or number == 0
    assert r <= high or number == BINS - 1


def test_bins_are_an_eighth_of_an_octave_from_a_22nd_to_11() -> None:
    """With 1 an edge."""
    assert np.exp2(LOG_EDGES[[0, UP_TO_1, -1]]) == pytest.approx([1 / 22.6, 1.0, 11.3], rel=1e-2)
    assert np.exp2(LOG_EDGES)[UP_TO_1] == 1.0
    assert np.diff(LOG_EDGES) == pytest.approx(1 / 8)


@given(st.floats(0.5, 20.0))
def test_the_last_bit_tells_inside_from_outside(t: float) -> None:
    """The quotient r of neighbours is never rounded to 1."""
    sketch = Sketch.of([None] * 3, np.array([math.nextafter(t, 0.0), t, math.nextafter(t, 100.0)]), t, t)
    assert sketch.bins[0, :UP_TO_1].sum() == sketch.within_80[0] == 2


@given(st.lists(st.lists(ROW, max_size=10), max_size=4))
def test_parts_merge_into_the_whole(parts: list[Rows]) -> None:
    """However the rows are cut, and whichever are merged first."""
    sketches = [_sketch(part) for part in parts]
    whole = _sketch([row for part in parts for row in part])
    assert _same(Sketch.merge(sketches), whole)
    assert _same(Sketch.merge([*sketches[:1], Sketch.merge(sketches[1:])]), whole)
    assert _same(Sketch.merge([Sketch.merge(sketches[:-1]), *sketches[-1:]]), whole)


def test_each_row_has_its_own_degrees_of_freedom() -> None:
    """Names that no row has, as those of a part of a table, are no seasons."""
    names = Names.of(["2023", "2024", "2025"])[1:]
    sketch = Sketch.of(names, np.array([2.0, 2.0]), np.array([1.9, 2.1]), np.array([1.3, 1.4]))
    assert sketch.seasons == ("2024", "2025")
    assert sketch.bins[:, :UP_TO_1].sum(axis=1).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("z", "t_95", "t_80"),
    [
        ([1.0, math.nan], 2.0, 1.0),
        ([1.0], 2.0, 1.0),
        ([1.0, 2.0], 1.0, 2.0),
        ([1.0, 2.0], 1.0, 0.0),
        ([1.0, 2.0], math.inf, 1.0),
    ],
)
def test_what_is_no_row(z: list[float], t_95: float, t_80: float) -> None:
    """A ValueError says so."""
    with pytest.raises(ValueError, match=r"rows need|quantiles"):
        Sketch.of(["2024", "2025"], np.array(z), t_95, t_80)


@given(st.lists(ROW, max_size=20))
def test_they_come_back_from_arrays(rows: Rows) -> None:
    """What a file holds is what was written, its bins in 32 bits."""
    sketch = _sketch(rows)
    arrays = sketch.to_arrays("x/")
    assert arrays["x/bins"].dtype == np.uint32
    assert _same(Sketch.from_arrays("x/", arrays, sketch.seasons), sketch)


def test_more_rows_than_32_bits_count() -> None:
    """They come back, too."""
    bins = np.zeros((1, BINS))
    bins[0, 0] = 5e9
    sketch = Sketch((None,), np.array([5e9]), np.array([0.0]), np.array([1.0]), np.array([5e9]), np.array([0.0]), bins)
    assert _same(Sketch.from_arrays("", sketch.to_arrays(""), (None,)), sketch)


def test_rows_that_fail_together_tell_less() -> None:
    """Of rows that share nothing each tells by itself; of those that share all, each season does."""
    seasons, z = ["1", "1", "1", "2", "2", None], np.zeros(6)
    assert Sketch.of(seasons, z, 2.0, 1.3).independent == 6
    assert Sketch.of(seasons, z, 2.0, 1.3, 1.0).independent == pytest.approx(3)
    half = Sketch.of(seasons, z, 2.0, 1.3, np.full(6, 0.5))
    assert half.independent == pytest.approx(3 / 1.5 + 2 / 1.25 + 1)
    parts = [Sketch.of([name], np.zeros(1), 2.0, 1.3, 0.5) for name in seasons]
    assert Sketch.merge(parts).independent == pytest.approx(half.independent)


@pytest.mark.parametrize("shared", [-0.1, 1.1, np.nan])
def test_a_share_is_one(shared: float) -> None:
    """What rows have in common is between nothing and all."""
    with pytest.raises(ValueError, match="0 to 1"):
        Sketch.of(["1"], np.zeros(1), 2.0, 1.3, shared)


@pytest.mark.parametrize("name", ["count", "total", "squares", "within_80", "shared", "bins"])
def test_damage_is_refused(name: str) -> None:
    """Arrays of another length, what is not finite, negative counts; a missing one is a KeyError."""
    sketch = _sketch([("2024", 1.0), ("2025", -3.0)])
    arrays = sketch.to_arrays("")
    with pytest.raises(KeyError):
        Sketch.from_arrays("", {key: array for key, array in arrays.items() if key != name}, sketch.seasons)
    array = arrays[name].astype(np.float64)
    negative = [] if name == "total" else [-1.0 - array]  # a sum of z may have any sign
    for damaged in (array[:1], array[:, None], array + np.nan, array + np.inf, *negative):
        with pytest.raises(ValueError, match="of the sketch"):
            Sketch.from_arrays("", arrays | {name: damaged}, sketch.seasons)


@pytest.mark.parametrize(
    "damage",
    [{"count": [1.0, 2.0]}, {"within_80": [0.5, 0.0]}, {"within_80": [1.0, 1.0]}, {"squares": [-1.0, 1.0]}],
)
def test_counts_that_do_not_add_up(damage: dict[str, list[float]]) -> None:
    """Rows that are in no bin, parts of a row, a row outside its 95% interval that is inside its 80% one."""
    sketch = _sketch([("2024", 1.0), ("2025", -3.0)])
    arrays = sketch.to_arrays("") | {name: np.array(values) for name, values in damage.items()}
    with pytest.raises(ValueError, match="do not add up"):
        Sketch.from_arrays("", arrays, sketch.seasons)


def test_names_that_are_not_those_of_its_seasons() -> None:
    """One too many, one twice."""
    sketch = _sketch([("2024", 1.0), ("2025", -3.0)])
    for names in (("2024", "2025", None), ("2024", "2024")):
        with pytest.raises(ValueError, match="of the sketch"):
            Sketch.from_arrays("", sketch.to_arrays(""), names)


def test_too_many_names_are_no_seasons() -> None:
    """Of 500 each is told; with one more their rows count all the same, as of none, also where they come in parts."""
    z = np.linspace(-3.0, 3.0, MOST_SEASONS + 1)
    names = [str(number) for number in range(MOST_SEASONS + 1)]
    all_but_one = Sketch.of(names[:-1], z[:-1], 2.0, 1.3)
    assert list(all_but_one.seasons) == names[:-1]
    together = Sketch.of(names, z, 2.0, 1.3)
    assert (together.seasons, together.count.tolist()) == ((None,), [MOST_SEASONS + 1])
    merged = Sketch.merge([all_but_one, Sketch.of(names[-1:], z[-1:], 2.0, 1.3)])
    again = Sketch.merge([together, Sketch.of(names[:1], z[:1], 2.0, 1.3)])
    assert merged.seasons == (None,)
    assert merged.bins.tolist() == together.bins.tolist()
    assert merged.squares == pytest.approx(together.squares)
    assert again.seasons == (None, "0")
