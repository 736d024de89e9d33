r"""Which texts can be stored as the name of a crop, a region or a season, and as a note.

Only new ones are held against these rules: what is stored is learned from and served as it is.

Two names that look alike and differ would be two crops, or two regions in different folds. So names are in Unicode's
composed form (NFC), and hold nothing that cannot be seen. Nothing holds a control character, which could do something
to the terminal that shows it; a note may have tabs and several lines.
"""

import re
import unicodedata
from datetime import date

from app.model.weather import FEATURE_NAMES, REGION_LENGTH

TEXT_COLUMNS = ("region", "season")
OUTCOME_COLUMNS = ("forecast", "harvested")
"""What an observation may say besides: the id of the forecast that it is the outcome of, and the day of the harvest."""
ID_LENGTH = 128
"""Characters of a forecast's id, at most."""
MAX_CROPS = 100
RESERVED_ENDINGS = ("_tons", "_low", "_high")
RESERVED_NAMES = (*TEXT_COLUMNS, *OUTCOME_COLUMNS, *FEATURE_NAMES, "input", "extrapolated")
"""A table's other columns, and the names that the Open Inference Protocol's tensors have here."""
SHOWN = 40
"""Characters of a name that a message repeats."""

_DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"
"""What turns the direction of the text behind it."""
_UNSEEN = r"\u00ad\u115f\u1160\u200b\u2060-\u2064\u2800\u3164\ufeff\uffa0"
"""Letters, spaces and signs without a shape."""
_CONTROL = r"\x00-\x1f\x7f-\x9f" + _DIRECTIONS
_NOT_IN_NAMES = _CONTROL + _UNSEEN
_NOT_IN_NOTES = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f" + _DIRECTIONS

NAME_PATTERN = rf"^(?:[^\s{_NOT_IN_NAMES}](?:[^{_NOT_IN_NAMES}]*[^\s{_NOT_IN_NAMES}])?)?$"
"""What the name of a region or a season is, or nothing, except for its normal form."""
NOTE_PATTERN = rf"^[^{_NOT_IN_NOTES}]*$"
SOURCE_PATTERN = rf"^[^{_CONTROL}]*$"
"""A file's name, as it is told with rows: whatever is on one line."""
CROP_PATTERN = (
    rf"^(?!(?:{'|'.join(RESERVED_NAMES)})$)(?!.*(?:{'|'.join(RESERVED_ENDINGS)})$)(?![=+@ -])"
    r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]$"
)
"""`crop_name_problem` as a pattern, except for the spaces and signs of other scripts, and the normal form."""

_FOUND_IN_NAMES = re.compile(f"[{_NOT_IN_NAMES}]")
_FOUND_IN_NOTES = re.compile(f"[{_NOT_IN_NOTES}]")
_FOUND_UNSEEN = re.compile(f"[{_UNSEEN}]")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def name_problem(label: str) -> str | None:
    """Say what is wrong with the name of a region or a season, except its length, or return None."""
    if label.isascii() and label.isprintable() and label == label.strip():
        return None
    if found := _FOUND_IN_NAMES.search(label):
        return _without(found)
    if label != label.strip():
        return f"{label[:SHOWN]!a} begins or ends with a space: leave it out"
    return _form_problem(label)


def id_problem(name: str) -> str | None:
    """Say what is wrong with the id of a forecast, or return None."""
    if len(name) > ID_LENGTH:
        return f"{len(name)} characters, a forecast's id has at most {ID_LENGTH}"
    return name_problem(name)


def day_problem(text: str) -> str | None:
    """Say what is wrong with a day, or return None; an empty text is none, and nothing is wrong with it."""
    try:
        if text:
            day_of(text)
    except ValueError as error:
        return str(error)
    return None


def day_of(text: str) -> date:
    """Return the day that a text names.

    Raises:
        ValueError: it is none.
    """
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is not a day like 2026-04-30")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text} is not a day of the calendar") from error


def note_problem(note: str) -> str | None:
    """Say what is wrong with a note, except its length, or return None."""
    found = _FOUND_IN_NOTES.search(note)
    return _without(found) if found else None


def crop_name_problem(name: str) -> str | None:
    """Say what is wrong with a crop's name, or return None."""
    if not name or len(name) > REGION_LENGTH:
        return f"a crop's name has 1 to {REGION_LENGTH} characters, not {len(name)}"
    if not (name.isascii() and name.isalnum()) and (problem := _spelling_problem(name)):
        return f"the crop name {problem}"
    if name in RESERVED_NAMES or name.endswith(RESERVED_ENDINGS):
        return f"the crop name {name!r} means something else: choose another"
    return None


def _spelling_problem(name: str) -> str | None:
    if not name.isprintable() or name != name.strip() or name[0] in "=+-@" or _FOUND_UNSEEN.search(name):
        return f"{name!a} has characters that a name cannot have"
    if not any(unicodedata.category(sign)[0] in "LN" for sign in name):
        return f"{name!r} has no letter and no digit"
    return _form_problem(name)


def _without(found: re.Match[str]) -> str:
    kind = "which cannot be seen" if _FOUND_UNSEEN.match(found[0]) else "a control character"
    return f"has U+{ord(found[0]):04X} at place {found.start() + 1}, {kind}: leave it out"


def _form_problem(name: str) -> str | None:
    if unicodedata.is_normalized("NFC", name):
        return None
    composed = unicodedata.normalize("NFC", name)
    return f"{name[:SHOWN]!a} is not in Unicode's composed form (NFC): send it as {composed[:SHOWN]!a}"
