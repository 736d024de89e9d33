"""The versions and the activation log: numbered, immutable, append-only.

The live version is the one that the last line of the log names. A line is created only if its number is free, so of two
writers one wins and the other looks again; rolling back is one more line.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import NotFound, NotReady, StoreDamaged
from app.store.objects import NameTaken, Objects
from app.store.version import Version

VERSIONS, VERSION_SUFFIX = "versions", ".safetensors"
LOG, LOG_SUFFIX = "log", ".json"
NUMBER = re.compile(r"[1-9][0-9]{0,17}")


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


class Registry:
    """Lists, reads, verifies, publishes and activates the versions in a store of objects."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def versions(self) -> list[int]:
        """Return the numbers of all versions, newest first."""
        return self._objects.numbers(VERSIONS, VERSION_SUFFIX)[::-1]

    def publish(self, version: Version) -> str:
        """Store a version under the next free number, and return it. It is not live by that.

        Raises:
            StoreUnavailable: it could not be written; nothing is left behind.
        """
        content = version.to_bytes()
        number = max(self.versions(), default=0) + 1
        while True:
            try:
                self._objects.create(_version_name(str(number)), content)
            except NameTaken:
                number += 1
            else:
                return str(number)

    def discard(self, version: str) -> None:
        """Take back a version that was published and never activated."""
        self._objects.discard(_version_name(version))

    def read(self, version: str, sha256: str | None = None) -> Version:
        """Read and verify a version: its own checksum, and ``sha256`` of the file where the log has told it.

        Raises:
            NotFound: there is no such version.
            StoreDamaged: the file is not what was written.
        """
        content = self._content(version)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise StoreDamaged(f"the file of version {version} is not the one that was activated (sha256)")
        try:
            return Version.from_bytes(content, verified=sha256 is not None)
        except StoreDamaged as error:
            raise StoreDamaged(f"the file of version {version} is damaged: {error.detail}") from error

    def _content(self, version: str) -> bytes:
        if not NUMBER.fullmatch(version):
            raise NotFound(f"there is no version {version[:20]!r}: versions are numbered 1, 2, 3, …")
        try:
            return self._objects.read(_version_name(version))
        except NotFound as error:
            raise NotFound(f"there is no version {version}") from error

    def activate(self, version: str, who: str, why: str) -> LogLine:
        """Make a version live: append a line to the log that names it.

        Raises:
            NotFound, StoreDamaged: there is no such version, or it is damaged; nothing is appended.
            StoreUnavailable: the line could not be written.
        """
        self.read(version)
        sha256 = hashlib.sha256(self._content(version)).hexdigest()
        number = self.last_number() + 1
        while True:
            line = LogLine(
                number=number,
                action="activate",
                version=version,
                sha256=sha256,
                who=who,
                why=why,
                when=datetime.now(UTC),
            )
            try:
                self._objects.create(_line_name(number), line.model_dump_json().encode())
            except NameTaken:
                number += 1
            else:
                return line

    def last_number(self) -> int:
        """Return the number of the log's last line, 0 for an empty log."""
        return max(self._objects.numbers(LOG, LOG_SUFFIX), default=0)

    def has_line(self, number: int) -> bool:
        """Say whether the log has this line: what a follower asks about the next one."""
        return self._objects.exists(_line_name(number))

    def line(self, number: int) -> LogLine:
        """Read a line of the log.

        Raises:
            NotFound: there is no such line.
            StoreDamaged: it is not a line that was written.
        """
        try:
            return LogLine.model_validate_json(self._objects.read(_line_name(number)))
        except ValidationError as error:
            raise StoreDamaged(f"line {number} of the log is damaged") from error

    def log(self, limit: int, before: int | None = None) -> list[LogLine]:
        """Return up to ``limit`` lines, newest first, those with a number below ``before``.

        Damaged ones are left out.
        """
        numbers = [n for n in reversed(self._objects.numbers(LOG, LOG_SUFFIX)) if before is None or n < before]
        lines = []
        for number in numbers[:limit]:
            try:
                lines.append(self.line(number))
            except StoreDamaged:
                continue
        return lines

    def live(self, known: int = 0) -> tuple[LogLine, Version, str]:
        """Return the newest activation whose version can be read, the version, and what damage was passed over.

        ``known``: a line that is known to be the last one, so that the log need not be listed.

        Raises:
            NotReady: nothing was ever activated, or nothing that was can be read.
        """
        damage = ""
        for number in self._newest_first(known):
            try:
                line = self.line(number)
                version = self.read(line.version, line.sha256)
            except (StoreDamaged, NotFound) as error:
                damage = damage or error.detail
            else:
                return line, version, damage
        raise NotReady(damage or "no model has been trained yet")

    def _newest_first(self, known: int) -> Iterator[int]:
        if known:
            yield known
        yield from (number for number in reversed(self._objects.numbers(LOG, LOG_SUFFIX)) if number != known)


def _version_name(version: str) -> str:
    return f"{VERSIONS}/{version}{VERSION_SUFFIX}"


def _line_name(number: int) -> str:
    return f"{LOG}/{number}{LOG_SUFFIX}"
