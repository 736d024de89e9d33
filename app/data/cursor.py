"""Where a page of rows ends, as the text that the next one is asked for with."""

from app.errors import NotFound

_LONGEST = 40
"""Characters of two 64-bit numbers with a line between."""


def cursor_of(batch: int, row: int) -> str:
    """Return the cursor of a row: the sequence of its batch, and its place there."""
    return f"{batch}-{row}"


def place_of(cursor: str) -> tuple[int, int]:
    """Return the batch and the row that a cursor names.

    Raises:
        NotFound: no page has given it.
    """
    batch, _, row = cursor.partition("-")
    if len(cursor) <= _LONGEST and all(part.isascii() and part.isdigit() for part in (batch, row)):
        place = int(batch), int(row)
        if max(place) < 2**63:
            return place
    raise NotFound("there is no page behind that cursor")
