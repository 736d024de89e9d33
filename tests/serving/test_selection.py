"""A choice of many rows: the largest ones, others evenly spread, and all where they are few."""

import operator
from functools import partial

import numpy as np
import pytest

from app.model.moments import Array
from app.serving.selection import Selection


def _chosen(sizes: Array, part: int, most: int) -> tuple[Selection[int], list[int]]:
    selection = Selection[int](most)
    for start in range(0, len(sizes), part):
        selection.add(sizes[start : start + part], partial(operator.add, start))
    return selection, selection.rows()


@pytest.mark.parametrize("count", [0, 1, 19, 20])
@pytest.mark.parametrize("part", [1, 7, 100])
def test_few_rows_are_all_there(count: int, part: int) -> None:
    """In their order, each once."""
    selection, rows = _chosen(np.random.default_rng(count).normal(size=count), part, 20)
    assert rows == list(range(count))
    assert (selection.total, selection.every) == (count, 1)


@pytest.mark.parametrize("count", [21, 100, 1_001])
@pytest.mark.parametrize("part", [1, 7, 64])
def test_of_many_rows_the_largest_and_some_of_all(count: int, part: int) -> None:
    """The ten largest, and the first of every so many; never more than asked for, whatever the parts."""
    sizes = np.random.default_rng(count).permutation(count).astype(np.float64)
    selection, rows = _chosen(sizes, part, 20)
    largest = set(np.argsort(-sizes)[:10].tolist())
    assert set(rows) == largest | set(range(0, count, selection.every))
    assert rows == sorted(rows)
    assert 5 <= len(range(0, count, selection.every)) <= 10
    assert selection.total == count


def test_of_equals_the_first_are_kept() -> None:
    """So that the same question has the same answer."""
    selection, rows = _chosen(np.zeros(1_000), 64, 20)
    assert set(rows) == set(range(10)) | set(range(0, 1_000, selection.every))


def test_little_is_held() -> None:
    """However many rows there are."""
    held: list[int] = []

    def keep(row: int) -> int:
        held.append(row)
        return row

    selection = Selection[int](20)
    for _ in range(50):
        selection.add(np.arange(64.0), keep)
    assert len(held) < 50 * 64 / 2
