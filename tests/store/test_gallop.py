"""The last of many numbers, in few looks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.gallop import last_of


@given(last=st.integers(0, 100_000), back=st.integers(0, 100_000))
def test_the_last_is_found_in_few_looks(last: int, back: int) -> None:
    """From nothing, or from one that is known: two looks for each doubling of what came since."""
    known = max(0, last - back)
    looks: list[int] = []

    def is_there(number: int) -> bool:
        looks.append(number)
        return number <= last

    assert last_of(is_there, known) == last
    assert len(looks) <= 2 * math.log2(last - known + 1) + 1


@pytest.mark.parametrize(("there", "found"), [({1, 2, 4}, {2, 4}), ({1, 3, 4, 5, 6, 7}, {1, 7}), ({2, 3}, {0})])
def test_with_gaps_it_is_one_without_a_next_one(there: set[int], found: set[int]) -> None:
    """So that a name behind it is free."""
    last = last_of(lambda number: number in there)
    assert last in found
    assert last + 1 not in there
