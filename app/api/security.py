"""Who may write, how much a body may hold, and the id of each request."""

import hmac
import itertools
import re
import secrets
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import InvalidInput, StoreUnavailable, TooLarge, Unauthorized
from app.settings import Settings
from app.store.objects import NameTaken, Objects

TOKEN_NAME = "token"  # noqa: S105 - the file's name
OWNER_ONLY = 0o600
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
KEY_LENGTH = 200
BEARER = HTTPBearer(auto_error=False, description="The token in the model store's file `token`, or ORCHARD_TOKEN.")


def token_of(settings: Settings) -> str:
    """Return the token that writes need: the setting, or the model store's, made now if there is none.

    Raises:
        StoreUnavailable: there is none and it cannot be kept.
    """
    if settings.token is not None:
        return settings.token.get_secret_value()
    objects = Objects(settings.model_store)
    if not objects.exists(TOKEN_NAME):
        try:
            objects.create(TOKEN_NAME, secrets.token_urlsafe(32).encode() + b"\n", OWNER_ONLY)
        except NameTaken:
            """Another process has just made it."""
    token = objects.read(TOKEN_NAME).decode().strip()
    if not token:
        raise StoreUnavailable("the model store's token file is empty: remove it, and a new token is made")
    return token


def require_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> str:
    """Let a write through only with the right token, compared in constant time; return who writes.

    Raises:
        Unauthorized: no token, or a wrong one.
    """
    if credentials is None:
        raise Unauthorized("this call needs the header Authorization: Bearer <token>")
    expected: str = request.app.state.services.token
    if not hmac.compare_digest(credentials.credentials.encode(), expected.encode()):
        raise Unauthorized("the token is wrong")
    return "token"


Writer = Annotated[str, Depends(require_token)]


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, of at most ``limit`` bytes.

    Raises:
        TooLarge: it is larger, by its Content-Length or by what arrived.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes, the limit is {limit}")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
        parts.append(part)
    return b"".join(parts)


def idempotency_key(request: Request) -> str | None:
    """Return the request's idempotency key.

    Raises:
        InvalidInput: it is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= KEY_LENGTH:
        raise InvalidInput(f"Idempotency-Key has {len(key)} characters: 1 to {KEY_LENGTH} are allowed")
    return key


_PROCESS = secrets.token_hex(6).encode() + b"-"
_COUNT = itertools.count(1)


def request_id(given: bytes) -> bytes:
    """Return the id of a request: the one given, if it is one, else a new one, unique to this process and request."""
    if given and REQUEST_ID.fullmatch(given):
        return given
    return b"%b%x" % (_PROCESS, next(_COUNT))


class RequestId:
    """Gives each request an id: the client's X-Request-ID, or a new one; it is repeated in the answer's header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        identity = request_id(given)
        scope.setdefault("state", {})["request_id"] = identity.decode()

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", identity))
            await send(message)

        await self._app(scope, receive, identified)
