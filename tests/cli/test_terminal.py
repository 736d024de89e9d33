"""What is printed does nothing but show."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.cli.terminal import escaped, escaped_json, quoted, wrapped


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


def test_sentences_end_between_words() -> None:
    """Whatever the width, no word is broken; a path that is longer than a line stays whole."""
    text = "warning: a share of 1 is not-a-percentage /home/somebody/a/rather/long/model_store"
    lines = wrapped(text, 30, "  ").split("\n")
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= 30 or " " not in line.strip() for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert wrapped("short", 80) == "short"
