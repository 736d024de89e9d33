"""JSON as plain objects: what is refused before anything is validated."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import MalformedInput
from app.wire.strict_json import parse_json

ROWS = 1_000

names = st.sampled_from(["a", "b", ":", '":', "\\", "é"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
blanks = st.sampled_from(["", " ", "\n\t"])


def _texts() -> st.SearchStrategy[str]:
    """JSON texts, whose objects may name a field twice, and spell it in two ways."""
    spelled = st.builds(lambda name, ascii_only: json.dumps(name, ensure_ascii=ascii_only), names, st.booleans())
    leaves = spelled | st.sampled_from(["1", "-2.5e3", "null", "true"])

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        field = st.builds("{}{}:{}{}".format, spelled, blanks, blanks, inner)
        objects = st.lists(field, max_size=4).map(lambda fields: "{" + ",".join(fields) + "}")
        return objects | st.lists(inner, max_size=4).map(lambda entries: "[" + ",".join(entries) + "]")

    return st.recursive(leaves, grown, max_leaves=12)


def _is_unambiguous(text: str) -> bool:
    found = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append(len({name for name, _ in pairs}) == len(pairs))

    json.loads(text, object_pairs_hook=note)
    return all(found)


@given(_texts())
@example('{"a":[{"b":1,"b":2}],"a":3}')
def test_what_names_a_field_twice_is_refused(text: str) -> None:
    """All else is read as Python's own parser reads it."""
    if _is_unambiguous(text):
        assert parse_json(text.encode(), ROWS) == json.loads(text)
        return
    with pytest.raises(MalformedInput, match="given twice") as refused:
        parse_json(text.encode(), ROWS)
    (fault,) = refused.value.errors
    # The first field of each name: behind the one that is told, others may be named twice too.
    where = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    for part in fault.loc:
        where = where[part]
