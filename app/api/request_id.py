"""The id of each request, in its log lines and its answer."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Iterable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.api import problems
from app.api.headers import NO_KEEPING, NO_SNIFFING
from app.api.limits import refusal

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
LASTS = "lasts"
"""In a request's state: the path of the route, where its answer lasts until the client leaves. It is counted when it
begins, and how long it lasted is nothing that the route has taken."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Headers = Iterable[tuple[bytes, bytes]]


logger = logging.getLogger("orchard.requests")

_PROCESS = secrets.token_hex(6).encode() + b"-"
_COUNT = itertools.count(1)


def request_id(given: bytes) -> bytes:
    """Return the id of a request: the one given, if it is one, else a new one, unique to this process and request."""
    if given and REQUEST_ID.fullmatch(given):
        return given
    return b"%b%x" % (_PROCESS, next(_COUNT))


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

    def __init__(self, app: ASGIApp, bare: frozenset[str]) -> None:
        """``bare``: paths whose answers get no header that says how they may be kept or shown."""
        self._app = app
        self._bare = bare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = request_id(_header(scope["headers"], b"x-request-id"))
        logs.bind({"request_id": identity.decode(), **_trace(scope["headers"])})
        common = [] if scope["path"].rstrip("/") in self._bare else NO_KEEPING
        scope.setdefault("state", {})["request_id"] = identity.decode()

        began, status = time.perf_counter(), 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                added = [header for header in common if header[0] not in given]
                message["headers"] = [*message["headers"], (b"x-request-id", identity), NO_SNIFFING, *added]
                if (route := scope["state"].get(LASTS)) is not None:
                    _count(scope, route, status, time.perf_counter() - began)
            await send(message)

        refused = refusal(scope)
        # Nothing here reads cookies; Starlette would for every request, in quadratic time (CVE-2024-7592).
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        try:
            await (self._app if refused is None else problems.response(Request(scope), refused))(
                scope, receive, identified
            )
        finally:
            took = time.perf_counter() - began
            if not (status and LASTS in scope["state"]):
                _count(scope, _template(scope), status, took)
            seen = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(1e3 * took, 3)}
            logger.debug("request", extra=seen)


def _count(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Count a request by the path of its route, and how long it took."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    scope["app"].state.services.tally.took("requests", route, method, str(status or 500), seconds=seconds)


def _template(scope: Scope) -> str:
    """Return the path of the route that has answered, with names in place of values; "none" where none has."""
    return str(getattr(scope.get("route"), "path", "none"))
