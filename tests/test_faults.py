"""Faults of an input: how many are listed, how many are told, and which error they make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldError, InvalidInput, MalformedInput
from app.faults import MAX_ERRORS, Faults


def _fault(*loc: str | int) -> FieldError:
    return FieldError(loc, "is wrong", "wrong")


def test_without_faults_there_is_no_error() -> None:
    """Nothing is raised, whether the sentence would name a place or not."""
    faults = Faults()
    faults.raise_if_any()
    faults.raise_if_any(placed=True)
    assert (faults.error(), faults.error(placed=True)) == (None, None)


@pytest.mark.parametrize(
    ("locs", "placed", "detail"),
    [
        ([("rows", 3, "rainfall")], True, "rows.3.rainfall: is wrong"),
        ([("rows", 3, "rainfall")], False, "is wrong"),
        ([()], True, "is wrong"),
        ([(0,)], True, "0: is wrong"),
        ([("b",), ("a",)], True, "b: is wrong (and 1 more)"),
        ([("b",), ("a",), ()], False, "is wrong (and 2 more)"),
    ],
)
def test_the_sentence(locs: list[tuple[str | int, ...]], placed: bool, detail: str) -> None:
    """The first fault, with its place if that is asked for and known, and how many more there are."""
    faults = Faults()
    for loc in locs:
        faults.add(_fault(*loc))
    with pytest.raises(InvalidInput) as refused:
        faults.raise_if_any(placed=placed)
    assert refused.value.detail == str(refused.value) == detail
    assert [fault.loc for fault in refused.value.errors] == locs


@given(st.integers(1, 3 * MAX_ERRORS))
def test_all_are_counted_and_the_first_are_listed(count: int) -> None:
    """Of more than a hundred, the first hundred stand in the error in their order."""
    faults = Faults()
    for row in range(count):
        faults.add(_fault(row))
    error = faults.error()
    assert error is not None
    assert error.errors == tuple(map(_fault, range(min(count, MAX_ERRORS))))
    assert error.detail == ("is wrong" if count == 1 else f"is wrong (and {count - 1} more)")


def test_many_at_once() -> None:
    """What others have listed and counted is added to what was there; no more than a hundred are listed."""
    faults = Faults()
    faults.add(_fault("first"))
    faults.add_many(map(_fault, range(MAX_ERRORS)), 5_000)
    faults.add(_fault("last"))
    error = faults.error()
    assert error is not None
    assert error.detail == "is wrong (and 5001 more)"
    assert error.errors == (_fault("first"), *map(_fault, range(MAX_ERRORS - 1)))


@pytest.mark.parametrize("place", [0, 1, MAX_ERRORS + 10])
def test_one_that_makes_it_unreadable(place: int) -> None:
    """One such fault among many that are not, listed or not, first or not, makes the error malformed."""
    faults = Faults()
    for row in range(MAX_ERRORS + 20):
        faults.add(_fault(row), malformed=row == place)
    with pytest.raises(MalformedInput):
        faults.raise_if_any()


def test_first_rows_first() -> None:
    """Faults found column by column are told row by row, and within a row in the order in which they were found."""
    faults = Faults()
    for column in ("a", "b"):
        for row in (2, 10, 1):
            faults.add(_fault(row, column))
    faults.sort_by_row()
    error = faults.error(placed=True)
    assert error is not None
    assert [fault.loc for fault in error.errors] == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (10, "a"), (10, "b")]
    assert error.detail.startswith("1.a: ")
