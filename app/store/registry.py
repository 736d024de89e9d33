"""The versions and the activation log: numbered, immutable, append-only.

The live version is the one that the last line of the log names. A line is created only if its number is free, so of two
writers one wins and the other looks again; rolling back is one more line. A number is given once: a version that is
taken back leaves a void behind, and in object storage stays where it is.

A folder is listed, since its files may be edited by hand, or lost. In object storage nothing is decided by a list: the
last line is galloped to.
"""

import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from app.errors import (
    KeyReused,
    NotFound,
    NotReady,
    OrchardError,
    StoreDamaged,
    StoreTooNew,
    StoreUnavailable,
    Unconfirmed,
)
from app.store.gallop import last_of
from app.store.line import LogLine, StoredLine
from app.store.store import NameTaken, Store
from app.store.version import Version

VERSIONS, VERSION_SUFFIX, VOID_SUFFIX = "versions", ".safetensors", ".void"
LOG, LOG_SUFFIX = "log", ".json"
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
LISTED_S = 300.0
"""How old a list of the versions in object storage may be, seconds; versions that came since are looked for by name."""
KEPT_LINES = 10_000
"""Lines of a log in object storage that are kept, some hundred bytes each."""
KEYED_LINES = 1_000
"""Lines of a log in object storage among which an idempotency key is looked for, the newest."""
READ_AHEAD = 1_000
"""Lines in object storage that are read before they are looked at; no more than are kept."""
AT_ONCE = 16
"""Objects that are read at once from object storage."""

logger = logging.getLogger("orchard.store")


@dataclass(frozen=True, slots=True)
class Published:
    """A version's number, and the sha256 of its file."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LogPart:
    """Lines of the log, newest first; ``damage``: a sentence for each that is not what was written, and so not here."""

    lines: list[LogLine]
    damage: list[str]


class LiveVersion(NamedTuple):
    """The activation that is in force, its version, and the damage that was passed over on the way to it, or ""."""

    line: LogLine
    version: Version
    damage: str


class Overtaken(OrchardError):
    """Another line was appended since the one that a training was judged against."""


class Registry:
    """Lists, reads, verifies, publishes and activates the versions in a store of objects."""

    def __init__(self, objects: Store) -> None:
        self._objects = objects
        self._last = 0
        self._listed: list[int] = []
        self._listed_at: float | None = None
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def __reduce__(self) -> tuple[type["Registry"], tuple[Store]]:
        """Go to another process without what is kept."""
        return Registry, (self._objects,)

    @property
    def is_remote(self) -> bool:
        """Whether it is in object storage."""
        return self._objects.is_remote

    def versions(self) -> list[int]:
        """Return the numbers of all versions, newest first.

        In object storage they are listed now and then, and those that came since are looked for.
        """
        if not self.is_remote:
            return self._found_versions()
        now = time.monotonic()
        listed, at = self._listed, self._listed_at
        if at is None or now - at > LISTED_S:
            listed, at = self._found_versions(), now
        added = list(self.given_after(max(listed, default=0)))
        listed = [*reversed(added), *listed]
        self._listed, self._listed_at = listed, at  # once it is whole: other threads may be at it too
        return listed

    def _found_versions(self) -> list[int]:
        void = set(self._objects.numbers(VERSIONS, VOID_SUFFIX))
        return [number for number in reversed(self._objects.numbers(VERSIONS, VERSION_SUFFIX)) if number not in void]

    def given_after(self, number: int) -> Iterator[int]:
        """Yield the numbers that were given after one, those included that were taken back since.

        A look for each and for the one behind them, where a list of all versions would take the longer, the more
        there are.
        """
        while self._is_given(number + 1):
            number += 1
            yield number

    def _is_given(self, number: int) -> bool:
        # In object storage nothing is taken back: there voids are only what was copied from a folder.
        is_there = self._objects.exists(_version_name(str(number)))
        return is_there or (not self.is_remote and self._objects.exists(_void_name(number)))

    def newest(self) -> int:
        """Return the number of the newest version, 0 for none; in object storage, of those that follow the live one."""
        if not self.is_remote:
            return max(self._found_versions(), default=0)
        try:
            live = int(self.line(self.last_number()).version)
        except (NotFound, StoreDamaged, StoreTooNew):
            live = 0
        return last_of(self._is_given, live)

    def publish(self, version: Version) -> Published:
        """Store a version under the next number, and return it. It is not live by that.

        Two writers of the same bytes under the same number may both be told that it is theirs, which harms neither.

        Raises:
            StoreUnavailable: it could not be written; nothing is left behind that anybody names.
        """
        content = version.to_bytes()
        number = self._next_number()
        while not self._is_created(number, content):
            number += 1
        return Published(str(number), hashlib.sha256(content).hexdigest())

    def _is_created(self, number: int, content: bytes) -> bool:
        """Create a version's file, unless its number was given before."""
        if self._is_void(str(number)):
            return False
        try:
            self._objects.create(_version_name(str(number)), content)
        except NameTaken:
            return False
        except Unconfirmed as error:
            # Whether the file is there or comes makes no difference: nothing will name it.
            raise StoreUnavailable(f"version {number} could not be written: {error.detail}") from error
        if not self.is_remote and self._is_void(str(number)):
            # Another writer's was taken back between the two looks: the void came first, then the file went.
            self._objects.discard(_version_name(str(number)))
            return False
        return True

    def _next_number(self) -> int:
        if self.is_remote:
            return self.newest() + 1
        given = (self._objects.numbers(VERSIONS, suffix) for suffix in (VERSION_SUFFIX, VOID_SUFFIX))
        return max((n for numbers in given for n in numbers), default=0) + 1

    def discard(self, version: str) -> None:
        """Take back a version that was published and that nothing names. What fails is logged: it does no harm.

        In object storage it stays: other replicas may have served it, and its number must never mean another version.
        """
        if self.is_remote:
            return
        try:
            # The void comes first: somebody may have asked for the number, which must never mean another version.
            self._objects.create(_void_name(version), b"")
            self._objects.discard(_version_name(version))
        except OrchardError as error:
            logger.warning("version %s could not be taken back: %s", version, error.detail)

    def read(self, version: str, sha256: str | None = None) -> Version:
        """Read and verify a version: its own checksum, and ``sha256`` of the file where the log has told it.

        Raises:
            NotFound: there is no such version.
            StoreDamaged: the file is not what was written.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        return _verified(version, self._content(version), sha256)

    def _content(self, version: str) -> bytes:
        if not NUMBER.fullmatch(version):
            raise NotFound(f"there is no version {version[:20]!r}: versions are numbered 1, 2, 3, …")
        if self._is_void(version):
            raise NotFound(f"there is no version {version}")
        try:
            return self._objects.read(_version_name(version))
        except NotFound as error:
            raise NotFound(f"there is no version {version}") from error

    def _is_void(self, version: str) -> bool:
        return self._objects.exists(_void_name(version))

    def is_file(self, version: str, sha256: str) -> bool:
        """Say whether the version's file is there and has this hash."""
        try:
            return hashlib.sha256(self._content(version)).hexdigest() == sha256
        except NotFound:
            return False

    def location(self, version: str) -> str:
        """Return the path or the URL of a version's file."""
        return self._objects.location(_version_name(version))

    def has_version(self, version: str) -> bool:
        """Say whether the version's file is there, whole or not."""
        return self._objects.exists(_version_name(version))

    def activate(
        self, version: str, who: str, note: str, *, sha256: str | None = None, key: str | None = None
    ) -> LogLine:
        """Make a version live: append a line to the log that names it, whatever line is the last one.

        ``sha256``: what the version's file must be. Under a ``key`` a line is written once, and returned again.

        Raises:
            NotFound, StoreDamaged: there is no such version, or it is damaged or another one; nothing is appended.
            KeyReused: the key was used for another version.
            StoreUnavailable: the line could not be written.
            Unconfirmed: it may have been, or may still come.
        """
        found = self._hash_of_version(version, sha256)
        while True:
            if key is not None and (earlier := self._line_of(key)) is not None:
                if earlier.version != version:
                    raise KeyReused("the idempotency key was used before, to make another version live")
                return earlier.shown
            line = self._line_behind(self.last_number(), Published(version, found), who, note, key=key)
            try:
                self._objects.create(_line_name(line.number), line.to_bytes())
            except NameTaken:
                continue
            return line.shown

    def activate_after(self, number: int, published: Published, who: str, note: str) -> LogLine:
        """Make a training's version live, as the line behind the one that it was judged against, and as no other.

        Whoever finds the training under way may do the same at the same time: the line is written once.

        Raises:
            Overtaken: another line was appended there; nothing is done.
            NotFound, StoreDamaged: there is no such version, or it is damaged or another one; nothing is appended.
            StoreUnavailable: the line could not be written.
            Unconfirmed: it may have been, or may still come.
        """
        try:
            self._hash_of_version(published.version, published.sha256)
            line = self._line_behind(number, published, who, note, after=number)
            self._objects.create(_line_name(line.number), line.to_bytes())
        except (NameTaken, NotFound) as error:  # whoever sees that it is overtaken takes its version back
            if not self.has_line(number + 1):
                raise
            there = self.line(number + 1)
            if (there.version, there.sha256) != (published.version, published.sha256):
                raise Overtaken(f"version {there.version} was made live first, by {there.who}") from error
            return there
        return line.shown

    def _hash_of_version(self, version: str, sha256: str | None) -> str:
        content = self._content(version)
        _verified(version, content, sha256)
        return hashlib.sha256(content).hexdigest()

    def _line_behind(
        self, last: int, published: Published, who: str, note: str, *, key: str | None = None, after: int | None = None
    ) -> StoredLine:
        return StoredLine(
            number=last + 1,
            action="activate",
            version=published.version,
            sha256=published.sha256,
            who=who,
            why=note,
            when=datetime.now(UTC),
            before=self._hash_of_line(last),
            key=key,
            after=after,
        )

    def _line_of(self, key: str) -> StoredLine | None:
        """Return the line that was written under a key; in object storage, of the newest thousand."""
        numbers = self._lines_newest_first()
        if self.is_remote:
            numbers = numbers[:KEYED_LINES]
            self._keep(numbers)
        for number in numbers:
            try:
                line = StoredLine.from_bytes(self._content_of_line(number), number)
            except (StoreDamaged, NotFound):
                continue
            if line.key == key:
                return line
        return None

    def _hash_of_line(self, number: int) -> str | None:
        try:
            return hashlib.sha256(self._objects.read(_line_name(number))).hexdigest()
        except NotFound:
            return None

    def last_number(self) -> int:
        """Return the number of the log's last line, 0 for an empty log; in object storage, of those without a gap."""
        if not self.is_remote:
            # A folder that is written to while it is listed may lack names that were there all the time.
            return self.last_after(max(self._objects.numbers(LOG, LOG_SUFFIX), default=0))
        # A bucket may have been emptied, or restored from an earlier copy.
        known = self._last if self._last and self.has_line(self._last) else 0
        self._last = self.last_after(known)
        return self._last

    def last_after(self, known: int) -> int:
        """Return the number of the last of the lines that follow one that is there, or its own."""
        return last_of(self.has_line, known)

    def _lines_newest_first(self) -> Sequence[int]:
        if self.is_remote:
            return range(self.last_number(), 0, -1)
        return self._objects.numbers(LOG, LOG_SUFFIX)[::-1]

    def has_line(self, number: int) -> bool:
        """Say whether the log has this line: what a follower asks about the next one."""
        return self._objects.exists(_line_name(number))

    def line(self, number: int) -> LogLine:
        """Read a line of the log.

        Raises:
            NotFound: there is no such line.
            StoreDamaged: it is not a line that was written.
            StoreTooNew: it was written by a newer version of Orchard.
        """
        return self._line(number).shown

    def _line(self, number: int) -> StoredLine:
        return StoredLine.from_bytes(self._objects.read(_line_name(number)), number)

    def is_of_training(self, number: int) -> bool:
        """Say whether a training has written a line, and not a person; those of version 0.1.0 do not tell.

        Raises:
            NotFound, StoreDamaged, StoreTooNew: as `line`.
        """
        return self._line(number).after is not None

    def log(self, limit: int | None = None, before: int | None = None) -> LogPart:
        """Return up to ``limit`` lines, newest first, those with a number below ``before``.

        Each line tells what the one before it was; one that is another now is damaged, and left out.
        """
        numbers = self._lines_newest_first()
        wanted = [number for number in numbers if before is None or number < before][:limit]
        lines: list[LogLine] = []
        damage = [f"line {number} of the log is missing" for number in _gaps(wanted)]
        told = self._told_of(wanted[0]) if wanted and wanted[0] != numbers[0] else None
        present = set(numbers)
        for place, number in enumerate(wanted):
            if self.is_remote and place % READ_AHEAD == 0:
                self._keep(wanted[place : place + READ_AHEAD])
            if number + 1 not in present:
                told = None  # the line that told of it is missing
            try:
                line = _vouched(self._content_of_line(number), number, told)
            except StoreDamaged as error:
                damage.append(error.detail)
                told = None
            except NotFound:
                damage.append(f"line {number} of the log is missing")
                told = None
            else:
                lines.append(line.shown)
                told = line.before
        return LogPart(lines, damage)

    def _content_of_line(self, number: int) -> bytes:
        """Read a line, if it is not kept."""
        if (kept := self._kept.get(number)) is not None:
            return kept
        return self._objects.read(_line_name(number))

    def _keep(self, numbers: Iterable[int]) -> None:
        """Read lines in object storage, several at once, and keep them, since none ever changes."""
        missing = [number for number in numbers if number not in self._kept]
        if not missing:
            return
        with ThreadPoolExecutor(min(AT_ONCE, len(missing)), "lines") as threads:
            for number, content in zip(missing, threads.map(self._content_or_none, missing), strict=True):
                if content is not None:
                    self._kept[number] = content
        while len(self._kept) > KEPT_LINES:
            self._kept.popitem(last=False)

    def _content_or_none(self, number: int) -> bytes | None:
        try:
            return self._objects.read(_line_name(number))
        except NotFound:
            return None

    def _told_of(self, number: int) -> str | None:
        """Return the sha256 that the next line tells of a line, None where there is no next line, or it is damaged."""
        try:
            return self._line(number + 1).before
        except (NotFound, StoreDamaged):
            return None

    def live(self, known: int = 0) -> LiveVersion:
        """Return the newest activation whose version can be read.

        ``known``: a line that is known to be the last one, so that the log need not be listed.

        Raises:
            NotReady: nothing was ever activated, or nothing that was can be read.
            StoreTooNew: the newest one was written by a newer version of Orchard.
        """
        damage = ""
        for number in self._newest_first(known):
            try:
                line = self.line(number)
                version = self.read(line.version, line.sha256)
            except (StoreDamaged, NotFound) as error:
                damage = damage or error.detail
            else:
                return LiveVersion(line, version, damage)
        raise NotReady(damage or self._why_none())

    def _why_none(self) -> str:
        if newest := self.newest():
            return f"there are versions, and none is live: `orchard activate {newest}` makes the newest one live"
        return "no model has been trained yet"

    def _newest_first(self, known: int) -> Iterator[int]:
        if known:
            yield known
        yield from (number for number in self._lines_newest_first() if number != known)


def _verified(version: str, content: bytes, sha256: str | None) -> Version:
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise StoreDamaged(f"the file of version {version} is not the one that was written (sha256)")
    try:
        return Version.from_bytes(content, verified=sha256 is not None)
    except StoreDamaged as error:
        raise StoreDamaged(f"the file of version {version} is damaged: {error.detail}") from error


def _vouched(content: bytes, number: int, told: str | None) -> StoredLine:
    """Return a line; ``told``: the sha256 that the next one tells of it."""
    line = StoredLine.from_bytes(content, number)
    if told not in {None, hashlib.sha256(content).hexdigest()}:
        raise StoreDamaged(f"line {number} of the log is not what line {number + 1} was written after")
    return line


def _gaps(numbers: list[int]) -> list[int]:
    """Return the numbers that are missing between the newest and the oldest, a hundred at most."""
    if not numbers:
        return []
    present = set(numbers)
    return [number for number in range(numbers[0], numbers[-1], -1) if number not in present][:100]


def _version_name(version: str) -> str:
    return f"{VERSIONS}/{version}{VERSION_SUFFIX}"


def _void_name(version: str | int) -> str:
    return f"{VERSIONS}/{version}{VOID_SUFFIX}"


def _line_name(number: int) -> str:
    return f"{LOG}/{number}{LOG_SUFFIX}"
