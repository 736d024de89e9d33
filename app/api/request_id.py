"""How much a request may hold and how long it may take, the id of each, and the headers of each answer."""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Iterable
from typing import Annotated

from fastapi import Header, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.api import problems
from app.api.services import Services
from app.errors import HeadersTooLarge, InputError, TargetTooLong, TooLarge, UnknownMediaType

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
KEY_LENGTH = 200
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=KEY_LENGTH,
        description="Under one key a write is made once; repeated, it is answered again.",
    ),
]
SHORT = 16 * 1024
"""Bytes of a body that holds no rows, only a note or the like: it is read on the event loop."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Headers = Iterable[tuple[bytes, bytes]]


async def read_body(request: Request, services: Services, limit: int | None = None) -> bytes:
    """Return the body, of at most ``limit`` bytes, by default as many as the settings allow.

    Raises:
        UnknownMediaType: it is encoded, as with gzip: what it unfolds to is not limited by what it holds.
        TooLarge: it is larger than the limit, by its Content-Length or by what arrived.
        BodyTimeout: it did not arrive in time.
        Overloaded: it is large, and so are others that are there.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnknownMediaType(f"bodies encoded as {encoding[:40]!r} are not read: send it as it is")
    return await read_encoded_body(request, services, limit)


async def read_encoded_body(request: Request, services: Services, limit: int | None = None) -> bytes:
    """Return the body as it was sent, however it is encoded.

    Raises:
        TooLarge, BodyTimeout, Overloaded: as `read_body`.
    """
    limit = min(limit or services.settings.max_body_bytes, services.settings.max_body_bytes)
    try:
        services.concurrency.check_room(request.scope, _declared(request, limit))
        async with asyncio.timeout(services.settings.body_timeout_s):
            return await _read(request, services, limit)
    except TooLarge:
        request.scope[problems.UNREAD] = True
        raise
    except TimeoutError as error:
        raise services.concurrency.too_slow() from error


def _declared(request: Request, limit: int) -> int:
    """Return how many bytes are to come, 0 where that is not said."""
    declared = request.headers.get("content-length", "")
    if not declared.isdigit():
        return 0
    if int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes, the limit is {limit}")
    return int(declared)


async def _read(request: Request, services: Services, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
        services.concurrency.hold(request.scope, size)
        parts.append(part)
    return b"".join(parts)


MOST_HEADERS = 100
"""Headers of a request."""
MOST_HEADER_BYTES = 64 * 1024
"""Bytes of all headers' names and values."""
MOST_TARGET_BYTES = 8 * 1024
"""Bytes of a path, and of a query."""


def _refusal(scope: Scope) -> InputError | None:
    """Return what is too much around a request's body, before anything looks for a meaning in it."""
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS:
        return HeadersTooLarge(f"{len(headers)} headers: the limit is {MOST_HEADERS}, send fewer")
    if (size := sum(len(name) + len(value) for name, value in headers)) > MOST_HEADER_BYTES:
        return HeadersTooLarge(f"headers of {size} bytes: the limit is {MOST_HEADER_BYTES}, send fewer or shorter ones")
    for what, given in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        if len(given) > MOST_TARGET_BYTES:
            return TargetTooLong(
                f"a {what} of {len(given)} bytes: the limit is {MOST_TARGET_BYTES}, send a shorter one"
            )
    return None


NO_SNIFFING = (b"x-content-type-options", b"nosniff")
"""On every answer: it is what it says it is."""
NO_KEEPING = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""On every answer that a browser may keep or show as a page; on predictions each would cost half a microsecond."""
PAGES = [
    (b"cache-control", b"private, max-age=3600"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
]
"""On the page to read and try: scripts, styles and requests are this service's own."""

logger = logging.getLogger("orchard.requests")

_PROCESS = secrets.token_hex(6).encode() + b"-"
_COUNT = itertools.count(1)


def request_id(given: bytes) -> bytes:
    """Return the id of a request: the one given, if it is one, else a new one, unique to this process and request."""
    if given and REQUEST_ID.fullmatch(given):
        return given
    return b"%b%x" % (_PROCESS, next(_COUNT))


def _common(path: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of every answer under a path."""
    if path == "/predict":
        return [NO_SNIFFING]
    return [NO_SNIFFING, *(PAGES if path.startswith("/docs") else NO_KEEPING)]


def _header(headers: Headers, wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _trace(headers: Headers) -> dict[str, str]:
    """Return the ids of the trace that a request belongs to (W3C Trace Context), if it says so."""
    found = TRACEPARENT.fullmatch(_header(headers, b"traceparent"))
    return {"trace_id": found[1].decode(), "parent_id": found[2].decode()} if found else {}


class RequestId:
    """Gives each request an id, the client's X-Request-ID or a new one, and its answer that and the common headers.

    Being around all others, it also refuses those with too much around their body, and counts the request and how long
    it took.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope["headers"], b"x-request-id")
        identity = request_id(given)
        logs.bind({"request_id": identity.decode(), **_trace(scope["headers"])})
        common = _common(scope["path"])
        scope.setdefault("state", {})["request_id"] = identity.decode()

        began, status = time.perf_counter(), 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity), *common]
            await send(message)

        refusal = _refusal(scope)
        # Nothing here reads cookies; Starlette would for every request, in quadratic time (CVE-2024-7592).
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        try:
            await (self._app if refusal is None else problems.response(Request(scope), refusal))(
                scope, receive, identified
            )
        finally:
            took, method = time.perf_counter() - began, scope["method"]
            labels = (_template(scope), method if method in METHODS else "other", str(status or 500))
            scope["app"].state.services.tally.took("requests", *labels, seconds=took)
            seen = {"method": method, "path": scope["path"], "status": status, "ms": round(1e3 * took, 3)}
            logger.debug("request", extra=seen)


def _template(scope: Scope) -> str:
    """Return the path of the route that has answered, with names in place of values; "none" where none has."""
    return str(getattr(scope.get("route"), "path", "none"))
