"""How the text of a table is written: its encoding, what separates cells, and whether decimals have a comma.

Excel writes CSV with semicolons and decimal commas where the language has them (German, French, Portuguese, Russian),
"Unicode text" as UTF-16 with tabs, and begins a file with `sep=;` where it is told to.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.data.columns import known_in
from app.errors import MalformedInput

SEPARATORS = (",", ";", "\t")
"""The first of those that explain a header equally well is meant."""
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
ZIP = b"PK\x03\x04"
"""What a workbook begins with."""
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\r?\n', re.IGNORECASE)
"""What Excel is told the separator by, in a line of its own before the header."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """``decimal_comma``: numbers are written 73,5."""

    separator: str = ","
    decimal_comma: bool = False


PLAIN = Dialect()
"""CSV as RFC 4180 has it."""


def as_utf8(content: bytes) -> bytes:
    """Return a text in UTF-16, which its first bytes tell, as UTF-8, and any other as it is.

    Raises:
        MalformedInput: it is a workbook, or is not the UTF-16 that it says it is.
    """
    if content.startswith(ZIP):
        raise MalformedInput(
            "the table is an Excel workbook, not CSV: send it as application/vnd.openxmlformats-officedocument."
            "spreadsheetml.sheet, or save it as 'CSV UTF-8'"
        )
    if not content.startswith(UTF16):
        return content
    try:
        return content.decode("utf-16").encode()
    except UnicodeError as error:
        raise MalformedInput("the table begins as UTF-16 does, and is not: save it as 'CSV UTF-8'") from error


def text_of(content: bytes, first_line: int) -> str:
    """Decode UTF-8; ``first_line`` lines are before these.

    Raises:
        MalformedInput: it is not UTF-8, or has a NUL byte.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start) + 1
        raise MalformedInput(
            f"the table is not UTF-8: line {line} cannot be read; save it in Excel as 'CSV UTF-8', whose plain 'CSV' "
            "is in an encoding of its own, or send the workbook (.xlsx)"
        ) from error
    if "\0" in text:
        raise MalformedInput("the table has a NUL byte, as no CSV has")
    return text


def separator_of(text: str) -> tuple[str, int]:
    """Return what separates the cells of a table, and where its header begins, behind Excel's line that names it."""
    if told := _SEPARATOR_LINE.match(text):
        return told[1], told.end()
    header = next((line for line in text[:LONGEST].splitlines() if line.strip(BLANK)), "")
    return max(SEPARATORS, key=lambda separator: known_in(_cells(header, separator))), 0


BLANK = " \t\r\n,;\ufeff"
"""What a line without anything in it may hold."""
LONGEST = 256 * 1024
"""Characters within which a header is looked for."""


def _cells(line: str, separator: str) -> Iterator[str]:
    try:
        for cells in csv.reader(io.StringIO(line, newline=""), delimiter=separator):
            yield from cells
    except csv.Error:
        return
