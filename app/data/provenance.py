"""Where stored rows and versions come from, and what makes a repeated call the same call."""

from dataclasses import dataclass

KEY_LENGTH = 200
"""Characters of an idempotency key, at most."""
SOURCE_LENGTH = 200
"""Characters of the name of a file that rows come from, at most."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """For the records: the ``source`` of the rows (a file, a call), ``who`` sent them, and why (``note``)."""

    source: str
    who: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key, and the ``fingerprint`` of its request, which tells a repetition from another request."""

    key: str
    fingerprint: str
