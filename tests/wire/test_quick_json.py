"""Large bodies of JSON as whole columns: the schemas' answer, or none."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import json_body, quick_json
from app.wire.questions import PLAIN, Question
from app.wire.strict_json import parse_json

WEATHER = {"temperature": 73.5, "rainfall": 67, "humidity": 43.25}
number = st.one_of(st.floats(0, 90), st.integers(0, 90))
name = st.one_of(st.none(), st.text(max_size=210))
row = st.fixed_dictionaries(dict.fromkeys(WEATHER, number), optional={"region": name})


def _by_schema(body: bytes) -> Question:
    return json_body._by_schema(parse_json(body, 1_000), PLAIN)  # noqa: SLF001


def _same(one: Question, other: Question) -> bool:
    return (
        one.shape == other.shape
        and list(one.regions) == list(other.regions)
        and all(np.array_equal(mine, theirs) for mine, theirs in zip(one.weather, other.weather, strict=True))
    )


@given(st.lists(row, min_size=1, max_size=8), st.booleans())
def test_rows_are_those_of_the_schemas(rows: list[dict[str, Any]], spaced: bool) -> None:
    """Numbers and names, whole numbers too; what is too long or cannot be a text is left to them."""
    body = json.dumps({"regions": rows}, separators=None if spaced else (",", ":")).encode()
    found = quick_json.question(body, 1_000)
    if found is not None:
        assert _same(found, _by_schema(body))
    else:
        names = [row.get("region") or "" for row in rows]
        assert any(len(name) > 200 or not name.isprintable() or {*"[{,"} & {*name} for name in names)


@given(st.lists(st.tuples(number, number, number, name), min_size=1, max_size=8), st.booleans())
def test_columns_are_those_of_the_schemas(rows: list[tuple[Any, ...]], named: bool) -> None:
    """With and without names."""
    columns = dict(zip([*WEATHER, "region"], map(list, zip(*rows, strict=True)), strict=True))
    if not named:
        del columns["region"]
    body = json.dumps(columns).encode()
    found = quick_json.question(body, 1_000)
    if found is not None:
        assert _same(found, _by_schema(body))
        assert found.has_regions == named
    else:
        assert named


ROW = json.dumps(WEATHER)[1:-1]
COLUMNS = '"temperature": [73, 91], "rainfall": [67, 88], "humidity": [43, 64]'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"regions": []}',
        '{"regions": null}',
        '{"regions": [null]}',
        '{"regions": [{}]}',
        f'{{"regions": [{{{ROW}, "extra": 1}}]}}',
        f'{{"regions": [{{{ROW}, "humidity": 43.25}}]}}',
        f'{{"regions": [{{{ROW}, "region": 5}}]}}',
        f'{{"regions": [{{{ROW}, "region": "{"x" * 201}"}}]}}',
        f'{{"regions": [{{{ROW}}}], "more": 1}}',
        f'{{"regions": [{{{ROW}}}]}} {{"regions": []}}',
        f'{{"regions": [{{{ROW}}}]}} x',
        f'\ufeff{{"regions": [{{{ROW}}}]}}',
        '{"regions": [{"temperature": "73", "rainfall": 67, "humidity": 43}]}',
        '{"regions": [{"temperature": true, "rainfall": 67, "humidity": 43}]}',
        '{"regions": [{"temperature": Infinity, "rainfall": 67, "humidity": 43}]}',
        '{"regions": [{"temperature": NaN, "rainfall": 67, "humidity": 43}]}',
        '{"regions": [{"temperature": 1e400, "rainfall": 67, "humidity": 43}]}',
        '{"regions": [{"temperature": 73, "rainfall": 67, "humidity": 101}]}',
        f"{{{COLUMNS}, {COLUMNS}}}",
        f'{{{COLUMNS}, "extra": [1, 2]}}',
        f'{{{COLUMNS}, "region": ["A"]}}',
        f'{{{COLUMNS}, "region": ["A", 5]}}',
        f'{{{COLUMNS}, "region": "AB"}}',
        '{"temperature": [73, 91], "rainfall": [67, 88]}',
        '{"temperature": [73, 91], "rainfall": [67, 88], "humidity": [43]}',
        '{"temperature": [], "rainfall": [], "humidity": []}',
        '{"temperature": [[73], [91]], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": [73, "91"], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": [73, null], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": [73, true], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": [73, 1e400], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": [73, 191], "rainfall": [67, 88], "humidity": [43, 64]}',
        '{"temperature": 73, "rainfall": [67, 88], "humidity": [43, 64]}',
    ],
)
def test_what_is_wrong_is_left_to_the_schemas(body: str) -> None:
    """They name it."""
    assert quick_json.question(body.encode(), 1_000) is None


def test_too_many_are_left_to_the_schemas() -> None:
    """They say how many there may be."""
    assert quick_json.question(f"{{{COLUMNS}}}".encode(), 1) is None
    assert quick_json.question(f"{{{COLUMNS}}}".encode(), 2) is not None
    assert (
        quick_json.question(b'{"regions": [{"temperature": 73, "rainfall": 67, "humidity": 43, "region": "\xff"}]}', 9)
        is None
    )
