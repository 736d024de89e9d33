"""Text for a terminal: what a stranger has written cannot move the cursor, or pass for a line that is not there."""

import re
import textwrap

_DOUBTFUL = re.compile(r"[^ -~]")
_LINE_END = re.compile(r"\r?\n")


def quoted(text: str) -> str:
    r"""Return a name, a note or the like as it is, or quoted, with what cannot be printed as an escape like `\x1b`."""
    return text if text.isprintable() else repr(text)


def escaped(text: str) -> str:
    r"""Return lines with what cannot be printed as an escape like `\x1b`."""
    return _LINE_END.sub("\n", text) if _is_printable(text) else "\n".join(map(_escaped, _LINE_END.split(text)))


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return a sentence in lines of at most ``width`` characters, broken between words; the later ones are indented.

    A word that is longer, such as a path, stays whole: a terminal breaks it so that it can still be copied.
    """
    return textwrap.fill(text, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def escaped_json(text: str) -> str:
    """Return JSON that says the same, with what cannot be printed as JSON escapes it."""
    return text if text.isprintable() else _DOUBTFUL.sub(lambda found: _in_json(found[0]), text)


def _is_printable(text: str) -> bool:
    return text.replace("\r\n", "").replace("\n", "").isprintable()


def _escaped(line: str) -> str:
    return _DOUBTFUL.sub(lambda found: found[0] if found[0].isprintable() else repr(found[0])[1:-1], line)


def _in_json(sign: str) -> str:
    if sign.isprintable() or sign == "\n":
        return sign
    pairs = sign.encode("utf-16-be").hex()
    return "".join(f"\\u{pairs[start : start + 4]}" for start in range(0, len(pairs), 4))
