"""Cells: rows by region and season, put together in any order and in any parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.cells import Cells
from app.model.moments import Array, Moments
from app.model.names import Names

REGIONS, SEASONS = ("A", "B", None), ("2024", "2025", None)
ROW = st.tuples(
    st.sampled_from(REGIONS), st.sampled_from(SEASONS), *(st.floats(-100, 100).map(lambda value: round(value, 3)),) * 2
)


def _cells(rows: list[tuple[str | None, str | None, float, float]]) -> Cells:
    regions, seasons, *columns = zip(*rows, strict=True)
    return Cells.of(Names.of(regions), Names.of(seasons), np.column_stack(columns).astype(np.float64))


def _by_name(cells: Cells) -> dict[tuple[str | None, str | None], tuple[float, list[float]]]:
    """Return each cell's count and mean by its names."""
    regions, seasons = (*cells.regions, None), (*cells.seasons, None)
    return {
        (regions[region], seasons[season]): (count, mean)
        for region, season, count, mean in zip(
            cells.region, cells.season, cells.count.tolist(), cells.mean.tolist(), strict=True
        )
    }


def _all_squares(cells: Cells) -> Array:
    """Return the co-moments of all rows about their common mean."""
    mean = np.average(cells.mean, axis=0, weights=cells.count)
    between = np.sqrt(cells.count)[:, None] * (cells.mean - mean)
    return np.asarray(between.T @ between + sum(part.T @ part for part in cells.within))


@given(st.lists(ROW, min_size=1, max_size=30))
def test_each_pair_of_names_is_a_cell(rows: list[tuple[str | None, str | None, float, float]]) -> None:
    """With the count and mean of its rows; rows without a name are a cell, too; nothing of the rows is lost."""
    cells = _cells(rows)
    found = _by_name(cells)
    assert set(found) == {row[:2] for row in rows}
    for names, (count, mean) in found.items():
        mine = [row[2:] for row in rows if row[:2] == names]
        assert count == len(mine)
        assert mean == pytest.approx(np.mean(mine, axis=0).tolist(), abs=1e-9)
    moments = Moments.of(np.array([row[2:] for row in rows]))
    assert _all_squares(cells) == pytest.approx(moments.comoments, abs=1e-6)


@given(st.lists(st.lists(ROW, min_size=1, max_size=10), min_size=1, max_size=4))
def test_parts_merge_into_the_whole(parts: list[list[tuple[str | None, str | None, float, float]]]) -> None:
    """However the rows are cut, with names in any order."""
    merged, whole = Cells.merge(map(_cells, parts)), _cells([row for part in parts for row in part])
    found, expected = _by_name(merged), _by_name(whole)
    assert set(found) == set(expected)
    for names, (count, mean) in found.items():
        assert count == expected[names][0]
        assert mean == pytest.approx(expected[names][1], abs=1e-9)
    for side in (0, 1):
        squares = [cells.within[side].T @ cells.within[side] for cells in (merged, whole)]
        assert squares[0] == pytest.approx(squares[1], abs=1e-6)


def test_rows_that_name_no_region_are_kept_apart() -> None:
    """They are many regions': what they differ by within their cell is no noise of a region."""
    cells = _cells(
        [("A", "2024", 1.0, 1.0), ("A", "2024", 1.0, 3.0), (None, "2024", 1.0, 0.0), (None, "2024", 1.0, 8.0)]
    )
    assert [float(part[-1, -1] ** 2) for part in cells.within] == pytest.approx([2.0, 32.0])
    named = cells.named()
    assert list(_by_name(named)) == [("A", "2024")]
    assert not named.within[1].any()
    assert named.named() is named


@given(st.lists(ROW, min_size=1, max_size=20))
def test_they_come_back_from_arrays(rows: list[tuple[str | None, str | None, float, float]]) -> None:
    """What a file holds is what was written."""
    cells = _cells(rows)
    found = Cells.from_arrays("x/", cells.to_arrays("x/"), cells.regions, cells.seasons)
    assert _by_name(found) == _by_name(cells)
    assert np.array_equal(found.within, cells.within)


@pytest.mark.parametrize("name", ["region", "season", "count", "mean", "within"])
def test_arrays_that_do_not_belong_together(name: str) -> None:
    """A missing array is a KeyError, one of another length and a name that is not there are a ValueError."""
    cells = _cells([("A", "2024", 1.0, 2.0), ("B", "2025", 3.0, 4.0)])
    arrays = cells.to_arrays("")
    with pytest.raises(KeyError):
        Cells.from_arrays("", {key: array for key, array in arrays.items() if key != name}, ("A", "B"), ("1", "2"))
    with pytest.raises(ValueError, match="belong together"):
        Cells.from_arrays("", arrays | {name: arrays[name][:1]}, ("A", "B"), ("1", "2"))
    with pytest.raises(ValueError, match="a name that is not there"):
        Cells.from_arrays("", arrays, ("A",), ("1", "2"))
