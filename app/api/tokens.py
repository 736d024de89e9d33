"""Named tokens, and the addresses that try wrong ones. Knows no HTTP."""

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NoReturn

from app.errors import InvalidInput, NotFound, StoreUnavailable, TooManyAttempts, Unauthorized
from app.settings import PREFIX, SHORTEST_TOKEN, Settings
from app.store.objects import Objects
from app.store.store import NameTaken

TOKEN_NAME = "token"  # noqa: S105 - the file's name
DEFAULT_NAME = "token"
"""Who writes with a token that has no name."""
LARGEST = 2**18
"""Bytes of a token file that is read: thousands of tokens."""
SHOWN = 5
"""Lines that a warning names by their number."""
ATTEMPTS = 10
WINDOW_S = 60.0
"""After that many wrong tokens within that many seconds an address has to wait for the rest of them."""
ADDRESSES = 10_000
"""Addresses that are kept in mind."""

logger = logging.getLogger("orchard")


class Tokens:
    """The tokens that writes need, by who writes with them.

    From ORCHARD_TOKEN; from the file that ORCHARD_TOKEN_FILE names; or from the file ``token`` in a model store that is
    a folder, which is made at the first start. A line for each, ``name token`` or only the token; ``#`` begins a
    comment. The file is read again when it, or what a link at its path leads to, has changed, so that tokens come and
    go without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises StoreUnavailable: there is no token and none can be kept; InvalidInput: none is named."""
        if settings.unservable is not None:
            raise InvalidInput(settings.unservable)
        self._given = settings.token_file
        self._fixed = {DEFAULT_NAME: settings.token.get_secret_value()} if settings.token is not None else None
        self._read_token = settings.read_token.get_secret_value() if settings.read_token is not None else None
        self._stamp: object = None
        self._named: dict[str, str] = self._fixed or {}
        if self._fixed is None:
            self._file = self._given or settings.folder / TOKEN_NAME
            self._objects = Objects(self._file.parent)
            if self._given is None:
                _make(self._objects)
            self._refresh()

    @property
    def reading_is_open(self) -> bool:
        """Whether reading needs no token."""
        return self._read_token is None

    def writer(self, given: str) -> str | None:
        """Return the name of the token given, None for a wrong one; the time it takes does not depend on how wrong."""
        if self._fixed is None:
            self._refresh()
        found = None
        for name, token in self._named.items():
            if hmac.compare_digest(given.encode(), token.encode()):
                found = name
        return found

    def may_read(self, given: str) -> bool:
        """Say whether the token given is the one for reading, or one for writing."""
        is_for_reading = hmac.compare_digest(given.encode(), (self._read_token or "").encode())
        return self.writer(given) is not None or (is_for_reading and self._read_token is not None)

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
            if stamp != self._stamp:
                self._named, self._stamp = self._read(status.st_size), stamp
                self._warn_of_mode(status.st_mode)
        except (OSError, NotFound, StoreUnavailable) as error:
            if self._given is None and isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(self._unreadable(error.__cause__ or error)) from error
        if not self._named:
            raise StoreUnavailable(self._empty())

    def _warn_of_mode(self, mode: int) -> None:
        # A secret is mounted for a group; the store's own file is its owner's.
        if self._given is None and mode & 0o077:
            logger.warning("the token file can be read by others than its owner: chmod 600 it")
        elif mode & 0o007:
            logger.warning(
                "the file of %sTOKEN_FILE can be read by everybody here: chmod 640 it, or mount the secret with "
                "defaultMode 0440",
                PREFIX,
            )

    def _unreadable(self, error: BaseException) -> str:
        if self._given is None:
            return "the model store's token file cannot be read"
        return f"the file of {PREFIX}TOKEN_FILE cannot be read: {getattr(error, 'strerror', None) or error}"

    def _empty(self) -> str:
        if self._given is None:
            return (
                f"the model store's token file holds no token, or more than {LARGEST} bytes: "
                "remove it, and the next start makes a new one"
            )
        return (
            f"the file of {PREFIX}TOKEN_FILE holds no token, or more than {LARGEST} bytes: write one of "
            f"{SHORTEST_TOKEN} characters or more, with a name before it or without, on a line of its own"
        )

    def _read(self, size: int) -> dict[str, str]:
        if size > LARGEST:
            return {}
        # Windows' editors begin a file with a byte order mark, which does not belong to the first token.
        return _parsed(self._objects.read(self._file.name).decode("utf-8-sig", errors="replace"))


def _make(objects: Objects) -> None:
    if not objects.exists(TOKEN_NAME):
        try:
            objects.create(TOKEN_NAME, secrets.token_urlsafe(32).encode() + b"\n")
        except NameTaken:
            """Another process has just made it."""


def _parsed(text: str) -> dict[str, str]:
    named: dict[str, str] = {}
    passed_over: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if len(words) > 2 or (words and len(words[-1]) < SHORTEST_TOKEN):  # noqa: PLR2004 - a name and a token
            passed_over.append(number)
        elif words:
            name = words[0] if len(words) > 1 else DEFAULT_NAME
            named[name if name not in named else f"{name} (line {number})"] = words[-1]
    if passed_over:
        _warn_of(passed_over)
    return named


def _warn_of(lines: Sequence[int]) -> None:
    shown = ", ".join(map(str, lines[:SHOWN])) + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
    logger.warning(
        "%s of the token file: passed over, since each has to be a token of %d characters or more, or a name and one",
        f"line {shown}" if len(lines) == 1 else f"lines {shown}",
        SHORTEST_TOKEN,
    )


class WrongTokens:
    """Wrong tokens by address. They only keep others from trying: a right one is let through from anywhere."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def refuse(self, address: str) -> NoReturn:
        """Record a wrong token, and say that it is one, or that there were too many.

        Raises:
            Unauthorized: it is wrong.
            TooManyAttempts: it is wrong, and so were all of the last ones from this address.
        """
        count, until = self._wrong.get(address, (0, 0.0))
        if count >= ATTEMPTS and time.monotonic() < until:
            raise TooManyAttempts(
                f"the token is wrong, like too many from this address before: try another in {WINDOW_S:g} seconds"
            )
        self._note(address)
        raise Unauthorized("the token is wrong")

    def _note(self, address: str) -> None:
        logger.warning("a wrong token", extra={"address": address})
        now = time.monotonic()
        count, until = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = (count + 1, until) if now < until else (1, now + WINDOW_S)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
