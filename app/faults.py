"""What is wrong with an input, fault by fault, until there is an error to raise."""

from collections.abc import Iterable

from app.errors import FieldError, InvalidInput, MalformedInput, OrchardError

MAX_ERRORS = 100
"""Faults that are listed one by one; the rest is counted."""


class Faults:
    """Collects faults, lists the first of them, and counts them all."""

    def __init__(self) -> None:
        self._listed: list[FieldError] = []
        self._count = 0
        self._malformed = False

    def add(self, fault: FieldError, *, malformed: bool = False) -> None:
        """Add one; ``malformed``: the input cannot even be read as what it claims to be."""
        self.add_many([fault] if len(self._listed) < MAX_ERRORS else [], 1, malformed=malformed)

    def add_many(self, listed: Iterable[FieldError], count: int, *, malformed: bool = False) -> None:
        """Add ``count`` of them, of which the first ones, MAX_ERRORS at most, are given."""
        self._count += count
        self._malformed = self._malformed or malformed
        self._listed += listed

    def sort_by_row(self) -> None:
        """Put those of the first rows first, where columns were looked at one after another."""
        self._listed.sort(key=lambda fault: fault.loc[0])

    def error(self, *, placed: bool = False) -> OrchardError | None:
        """Return the error that lists them; None where there are none.

        ``placed``: the sentence begins with the place of the first one, which its own message does not name.
        """
        if not self._count:
            return None
        first = self._listed[0]
        place = ".".join(map(str, first.loc)) if placed else ""
        more = f" (and {self._count - 1} more)" if self._count > 1 else ""
        kind = MalformedInput if self._malformed else InvalidInput
        return kind(f"{place}: {first.message}{more}" if place else first.message + more, self._listed[:MAX_ERRORS])

    def raise_if_any(self, *, placed: bool = False) -> None:
        """Raise that error, where there is one.

        Raises:
            MalformedInput: one of the faults makes the input unreadable.
            InvalidInput: it is readable, and wrong.
        """
        if (error := self.error(placed=placed)) is not None:
            raise error
