"""What is printed does nothing but show."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.cli.terminal import escaped, escaped_json, quoted


def test_names_are_quoted_where_they_must_be() -> None:
    """A name that can be printed stays as it is; another one is quoted, its characters escaped."""
    assert quoted("Blé, 2026 °F") == "Blé, 2026 °F"
    assert quoted("a\x1b[2J\u202e\n") == r"'a\x1b[2J\u202e\n'"


def test_lines_stay_lines() -> None:
    """Their ends are kept; carriage returns within, and all else that controls, are escaped."""
    assert escaped("a,°\r\nb\rc,\x1b[2J\x9b\r\n") == "a,°\nb\\rc,\\x1b[2J\\x9b\n"
    assert escaped("a\r\nb\n") == "a\nb\n"


@given(st.text(st.characters(codec="utf-8")))
def test_escaped_json_says_the_same(text: str) -> None:
    """Any text comes back, and every character of the JSON can be printed."""
    shown = escaped_json(json.dumps([text], ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == [text]
