"""A line of the activation log, as it is told and as it is stored."""

import hashlib
import json
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import StoreDamaged
from app.stored_formats import LINE, check_format

_DIGEST = b',"digest":"'
"""What stands before the digest, the last field; a quote within a text has a backslash before it."""


class LogLine(BaseModel):
    """One activation: which version (and its file's sha256), who did it, why, and when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    action: Literal["activate"]
    version: str
    sha256: str
    who: str
    why: str
    when: datetime


class StoredLine(LogLine):
    """A line as it is stored.

    ``before``: the sha256 of the line before it, so that each line vouches for the earlier ones. ``key``: the
    idempotency key that it was written under. ``after``: of a training, the line that it was judged against, or the
    last one by hand since, 0 for an empty log; None: by hand.
    """

    format: int = LINE
    before: str | None = None
    key: str | None = None
    after: int | None = None

    @property
    def shown(self) -> LogLine:
        """The line as it is told."""
        return LogLine.model_construct(**{name: getattr(self, name) for name in LogLine.model_fields})

    def to_bytes(self) -> bytes:
        """Return it as JSON, with the sha256 of its other fields as the last one."""
        fields = self.model_dump_json().encode()
        return fields[:-1] + _DIGEST + hashlib.sha256(fields).hexdigest().encode() + b'"}'

    @classmethod
    def from_bytes(cls, content: bytes, number: int) -> Self:
        """Read what `to_bytes` returned for the line of this number; lines of version 0.1.0 have no digest.

        Raises:
            StoreDamaged: it is not what was written, or it is another line.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        damaged = f"line {number} of the log is damaged"
        try:
            stored = json.loads(content)
            check_format(stored.get("format", 1), LINE, f"line {number} of the log")
            if "format" in stored and not _is_whole(content):
                raise StoreDamaged(f"{damaged}: the checksum is wrong")
            line = cls.model_validate_json(content, extra="ignore")
        except (ValueError, AttributeError, TypeError, ValidationError) as error:
            raise StoreDamaged(damaged) from error
        if line.number != number:
            raise StoreDamaged(f"{damaged}: it is line {line.number}")
        return line


def _is_whole(content: bytes) -> bool:
    fields, _, digest = content.rpartition(_DIGEST)
    return hashlib.sha256(fields + b"}").hexdigest().encode() + b'"}' == digest
