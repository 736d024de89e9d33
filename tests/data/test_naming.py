"""Names of crops, regions and seasons, and notes: what is refused, and in which words."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.data.naming import CROP_PATTERN, crop_name_problem, name_problem, note_problem
from app.wire.schemas import Note, StoredName

NAME_PATTERN: TypeAdapter[str] = TypeAdapter(StoredName)
NOTE_PATTERN: TypeAdapter[str] = TypeAdapter(Note)
COMPOSED, TAKEN_APART = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("name", ["mango", "Blé d'été", "名", "7", "½", "corn (late)", "x'", COMPOSED, "a:b"])
def test_crops_may_be_called_so(name: str) -> None:
    """Any script, digits, signs within."""
    assert crop_name_problem(name) is None
    assert re.search(CROP_PATTERN, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (TAKEN_APART, r"'cafe\u0301' is not in Unicode's composed form (NFC): send it as 'caf\xe9'"),
        ("\u3164", "has characters that a name cannot have"),
        ("mango\u3164", "has characters that a name cannot have"),
        ("\u2800", "has characters that a name cannot have"),
        ("man\u200bgo", "has characters that a name cannot have"),
        ("\u0301", "has no letter and no digit"),
        ("(!)", "has no letter and no digit"),
        ("extrapolated", "means something else: choose another"),
        ("input", "means something else: choose another"),
        ("season", "means something else: choose another"),
        ("mango_low", "means something else: choose another"),
        ("\x1b[31mred", r"'\x1b[31mred' has characters that a name cannot have"),
    ],
)
def test_crops_may_not_be_called_so(name: str, message: str) -> None:
    """What looks like another name or like none, and what answers use themselves."""
    assert message in (crop_name_problem(name) or "")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("a\x1b]0;x\x07", "has U+001B at place 2, a control character: leave it out"),
        ("a\x9b31m", "has U+009B at place 2, a control character: leave it out"),
        ("\u202eabc", "has U+202E at place 1, a control character: leave it out"),
        ("a\tb", "has U+0009 at place 2, a control character: leave it out"),
        ("a\u200bb", "has U+200B at place 2, which cannot be seen: leave it out"),
        (" a", "' a' begins or ends with a space: leave it out"),
        ("a\u3000", r"'a\u3000' begins or ends with a space: leave it out"),
        (TAKEN_APART, r"'cafe\u0301' is not in Unicode's composed form (NFC): send it as 'caf\xe9'"),
    ],
)
def test_regions_may_not_be_called_so(label: str, message: str) -> None:
    """What looks like another region, which may be in another fold, and what does something to a terminal."""
    assert name_problem(label) == message
    assert _is_valid(NAME_PATTERN, label) is (label == TAKEN_APART)


def _is_valid(schema: TypeAdapter[Any], text: str) -> bool:
    try:
        schema.validate_python(text)
    except ValidationError:
        return False
    return True


@given(st.text(st.characters(codec="utf-8"), max_size=6))
def test_the_schema_says_what_the_sentences_say(text: str) -> None:
    """But for the normal form, which no pattern of it knows; of notes without exception."""
    problem = name_problem(text)
    if problem is None or "composed form" not in problem:
        assert _is_valid(NAME_PATTERN, text) is (problem is None)
    assert _is_valid(NOTE_PATTERN, text) is (note_problem(text) is None)


def test_notes_may_have_lines() -> None:
    """Tabs and line ends, and text of any direction; nothing else that controls."""
    assert note_problem("one\r\n\ttwo \u200f\u05d0") is None
    assert note_problem("\x1b[2J") == "has U+001B at place 1, a control character: leave it out"
    assert note_problem("\u202e") is not None
