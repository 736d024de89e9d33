"""Who may write, and who may read: named tokens, and addresses that try wrong ones."""

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.errors import NotFound, StoreUnavailable, TooManyAttempts, Unauthorized
from app.settings import Settings
from app.store.objects import NameTaken, Objects

TOKEN_NAME = "token"  # noqa: S105 - the file's name
DEFAULT_NAME = "token"
"""Who writes with a token that has no name."""
SHORTEST = 16
"""Characters: a shorter token could be guessed."""
ATTEMPTS = 10
WINDOW_S = 60.0
"""So many wrong tokens in so many seconds, and an address has to wait for the rest of them."""
ADDRESSES = 10_000
"""Addresses that are kept in mind."""
BEARER = HTTPBearer(auto_error=False, description="A token from the model store's file `token`, or ORCHARD_TOKEN.")

logger = logging.getLogger("orchard")


class Tokens:
    """The tokens that writes need, by who writes with them.

    From ORCHARD_TOKEN, or from the file ``token`` in the model store, which is made at the first start: a line for
    each, ``name token`` or only the token; ``#`` begins a comment. The file is read again when it has changed, so that
    tokens come and go without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises StoreUnavailable: there is no token and none can be kept."""
        self._objects = Objects(settings.model_store)
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
            if stamp == self._stamp:
                return
            named = _parsed(self._objects.read(TOKEN_NAME).decode(errors="replace"))
        except (OSError, NotFound) as error:
            raise StoreUnavailable("the model store's token file cannot be read") from error
        if not named:
            raise StoreUnavailable("the model store's token file holds no token: remove it, and a new one is made")
        if status.st_mode & 0o077:
            logger.warning("the token file can be read by others than its owner: chmod 600 it")
        self._named, self._stamp = named, stamp


def _parsed(text: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) > 2 or len(words[-1]) < SHORTEST:  # noqa: PLR2004 - a name and a token
            logger.warning(
                "line %d of the token file is no name and token of %d characters: passed over", number, SHORTEST
            )
            continue
        name = words[0] if len(words) > 1 else DEFAULT_NAME
        named[name if name not in named else f"{name} (line {number})"] = words[-1]
    return named


class Attempts:
    """Wrong tokens by address."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Let nobody try who has tried too often.

        Raises:
            TooManyAttempts: this address has to wait.
        """
        count, until = self._wrong.get(address, (0, 0.0))
        if count >= ATTEMPTS and time.monotonic() < until:
            raise TooManyAttempts(f"too many wrong tokens from this address: try again in {WINDOW_S:g} seconds")

    def note(self, address: str) -> None:
        """Take down a wrong token."""
        logger.warning("a wrong token", extra={"address": address})
        now = time.monotonic()
        count, until = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = (count + 1, until) if now < until else (1, now + WINDOW_S)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)


def require_writer(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> str:
    """Let a write through only with a right token; return who writes.

    Raises:
        Unauthorized: no token, or a wrong one.
        TooManyAttempts: too many wrong ones from this address.
    """
    services, address = _services(request), _address(request)
    services.attempts.check(address)
    who = services.tokens.writer(_given(credentials))
    if who is None:
        services.attempts.note(address)
        raise Unauthorized("the token is wrong")
    return who


def require_reader(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> None:
    """Let a call through only with ORCHARD_READ_TOKEN, or with a token for writing.

    Of all calls where that setting closes reading; else only of those that return what regions reported.

    Raises:
        Unauthorized, TooManyAttempts: as `require_writer`.
    """
    services, address = _services(request), _address(request)
    services.attempts.check(address)
    if not services.tokens.may_read(_given(credentials)):
        services.attempts.note(address)
        raise Unauthorized("the token is wrong")


class _Guarded(Protocol):
    """What is needed here of the services, which themselves need this room."""

    @property
    def tokens(self) -> Tokens: ...
    @property
    def attempts(self) -> Attempts: ...


def _services(request: Request) -> _Guarded:
    services: _Guarded = request.app.state.services
    return services


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _given(credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise Unauthorized("this call needs the header Authorization: Bearer <token>")
    return credentials.credentials


Writer = Annotated[str, Depends(require_writer)]
