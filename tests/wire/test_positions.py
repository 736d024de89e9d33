"""Positions are blanked: all else of a body stays where it is, and means the same."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import TooLarge
from app.wire import positions
from app.wire.positions import blanked

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
points = st.lists(numbers, max_size=3)
outlines = st.lists(
    points | st.lists(points, max_size=3) | st.lists(st.lists(points, max_size=2), max_size=2), max_size=3
)
names = st.sampled_from(["coordinates", '"coordinates', 'x"coordinates', "coordinates\\", "other"])
values = st.recursive(
    outlines | st.none() | st.sampled_from(['"coordinates":[[1,2]]', '\\"coordinates": [[', "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def _is_outline(value: Any, depth: int) -> bool:
    """Say whether a value is lists in lists of numbers, all so deep."""
    if depth == 0:
        return type(value) in (int, float)
    return isinstance(value, list) and all(_is_outline(inner, depth - 1) for inner in value)


def _expected(value: Any) -> Any:
    """Return what a body says without its positions."""
    if isinstance(value, list):
        return [_expected(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [] if name.endswith("coordinates") and _is_geometry(inner) else _expected(inner)
        for name, inner in value.items()
    }


def _is_geometry(value: Any) -> bool:
    return any(_is_outline(value, depth) for depth in (2, 3, 4))


@given(values, st.sampled_from([None, 1, "\t"]))
@example({"coordinates": [[]]}, None)
@example({"coordinates": [[1, "x"]]}, None)
@example({"coordinates": '"coordinates":[[1]]'}, None)
def test_nothing_but_positions_is_blanked(body: Any, indent: int | str | None) -> None:
    """Of names and texts that look like some, too; places and lines are those of the body."""
    content = json.dumps(body, indent=indent).encode()
    plain = blanked(content)
    assert json.loads(plain) == _expected(body)
    assert len(plain) == len(content)
    assert [row for row, sign in enumerate(plain) if sign == 10] == [
        row for row, sign in enumerate(content) if sign == 10
    ]


@pytest.mark.parametrize(
    "kept",
    [
        b'{"coordinates":[1,2]}',
        b'{"coordinates":[[1,2],[01,2]]}',
        b'{"coordinates":[[1,2],[NaN,2]]}',
        b'{"coordinates":[[1,2],[+1,2]]}',
        b'{"coordinates":[[1,2],]}',
        b'{"coordinates":[[1,2]',
        b'{"coordinates":[[1.,2]]}',
        b'{"coordinates":[[1 2]]}',
        b'{"coordinates" [[1,2]]}',
        b"{coordinates:[[1,2]]}",
        b'{"coordinates":[[[[[1,2]]]]]}',
    ],
)
def test_what_is_not_positions_stays(kept: bytes) -> None:
    """A Point's, which is short, and what is no JSON or no geometry: the parser is to see it."""
    assert blanked(kept) == kept


def test_positions_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their lists are counted, and the error says what to do."""
    monkeypatch.setattr(positions, "MOST_POSITIONS", 3)
    assert b"[   " in blanked(b'{"coordinates":[[1,2],[1,2],[1,2]]}')
    with pytest.raises(TooLarge, match="coordinates: 4 positions and lists of them: a body may have 3: simplify"):
        blanked(b'{"coordinates":[[1,2],[1,2],[1,2],[1,2]]}')
