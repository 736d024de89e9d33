"""Named tokens, and the addresses that try wrong ones. Knows no HTTP."""

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NoReturn

from app.errors import NotFound, StoreUnavailable, TooManyAttempts, Unauthorized
from app.settings import SHORTEST_TOKEN, Settings
from app.store.objects import NameTaken, open_store

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

    From ORCHARD_TOKEN, or from the file ``token`` in the model store, which is made at the first start: a line for
    each, ``name token`` or only the token; ``#`` begins a comment. The file is read again when it has changed, so that
    tokens come and go without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises StoreUnavailable: there is no token and none can be kept."""
        self._objects = open_store(settings)
        self._fixed = {DEFAULT_NAME: settings.token.get_secret_value()} if settings.token is not None else None
        self._read_token = settings.read_token.get_secret_value() if settings.read_token is not None else None
        self._stamp: object = None
        self._named: dict[str, str] = self._fixed or {}
        if self._fixed is None:
            self._make()
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

    def _make(self) -> None:
        if not self._objects.exists(TOKEN_NAME):
            try:
                self._objects.create(TOKEN_NAME, secrets.token_urlsafe(32).encode() + b"\n")
            except NameTaken:
                """Another process has just made it."""

    def _refresh(self) -> None:
        try:
            status = (self._objects.root / TOKEN_NAME).stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._named, self._stamp = self._read(status.st_size), stamp
                if status.st_mode & 0o077:
                    logger.warning("the token file can be read by others than its owner: chmod 600 it")
        except (OSError, NotFound) as error:
            raise StoreUnavailable("the model store's token file cannot be read") from error
        if not self._named:
            raise StoreUnavailable(
                f"the model store's token file holds no token, or more than {LARGEST} bytes: "
                "remove it, and the next start makes a new one"
            )

    def _read(self, size: int) -> dict[str, str]:
        if size > LARGEST:
            return {}
        # Windows' editors begin a file with a byte order mark, which does not belong to the first token.
        return _parsed(self._objects.read(TOKEN_NAME).decode("utf-8-sig", errors="replace"))


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
