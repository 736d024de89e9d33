"""Errors as RFC 9457 problems: one table gives each error class its status, code and title."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app import errors
from app.errors import FieldError, NotReady, OrchardError, Overloaded, ServiceError
from app.wire.validation import invalid

logger = logging.getLogger("orchard.problems")

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
"""Faults that an answer lists; its detail counts them all."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an error class is over HTTP."""

    status: int
    code: str
    title: str
    headers: tuple[tuple[str, str], ...] = ()


KINDS: dict[type[OrchardError], Kind] = {
    errors.InputError: Kind(400, "bad_request", "The request cannot be answered"),
    errors.MalformedInput: Kind(400, "malformed", "The body cannot be read"),
    errors.Unauthorized: Kind(401, "unauthorized", "A valid token is needed", (("WWW-Authenticate", "Bearer"),)),
    errors.NotFound: Kind(404, "not_found", "There is no such thing"),
    errors.NotAcceptable: Kind(406, "not_acceptable", "No acceptable content type"),
    errors.BodyTimeout: Kind(408, "body_timeout", "The body did not arrive in time", (("Connection", "close"),)),
    errors.Conflict: Kind(409, "conflict", "The request conflicts with another one"),
    errors.RetrainRunning: Kind(409, "retrain_running", "A retrain is running", (("Retry-After", "1"),)),
    errors.KeyReused: Kind(409, "key_reused", "The idempotency key was used for another request"),
    errors.KeyTaken: Kind(409, "key_taken", "A call with this idempotency key is running", (("Retry-After", "1"),)),
    errors.TooLarge: Kind(413, "too_large", "The body is too large", (("Connection", "close"),)),
    errors.TargetTooLong: Kind(414, "target_too_long", "The path or the query is too long"),
    errors.UnknownMediaType: Kind(415, "unknown_media_type", "The content type is not understood"),
    errors.Misdirected: Kind(421, "misdirected", "The request is for another host"),
    errors.InvalidInput: Kind(422, "invalid", "The input is invalid"),
    errors.TooFewRows: Kind(422, "too_few_rows", "There are too few rows to fit"),
    errors.Diverged: Kind(422, "diverged", "Descent diverged"),
    errors.TooManyAttempts: Kind(429, "too_many_attempts", "Too many wrong tokens", (("Retry-After", "60"),)),
    errors.HeadersTooLarge: Kind(431, "headers_too_large", "The headers are too large", (("Connection", "close"),)),
    errors.OrchardError: Kind(500, "internal", "Something went wrong"),
    errors.ServiceError: Kind(503, "unavailable", "The service is not available"),
    errors.Overloaded: Kind(503, "overloaded", "Too many requests at once", (("Retry-After", "1"),)),
    errors.NotReady: Kind(503, "not_ready", "No model is live", (("Retry-After", "5"),)),
    errors.StoreDamaged: Kind(503, "store_damaged", "A stored file is damaged"),
    errors.StoreTooNew: Kind(503, "store_too_new", "The store was written by a newer version"),
    errors.Unconfirmed: Kind(503, "unconfirmed", "It is not certain whether this was done", (("Retry-After", "5"),)),
    errors.StoreUnavailable: Kind(503, "store_unavailable", "The store is not available", (("Retry-After", "5"),)),
    errors.TrainingUnavailable: Kind(503, "training_unavailable", "This installation cannot train"),
    errors.TrainingFailed: Kind(503, "training_failed", "Training failed", (("Retry-After", "5"),)),
    errors.HelperFailed: Kind(503, "answering_failed", "A large question was not answered"),
}
ANYWHERE = (401, 414, 421, 422, 429, 431, 503)
"""What any call can end in: no token, too much around its body, another host, an unknown query, overload."""
METHOD_NOT_ALLOWED, BAD_REQUEST, INVALID, LEFT = 405, 400, 422, 499
"""LEFT: as what a request is counted whose client has gone before its answer; nobody ever receives it."""
UNREAD = "unread"
"""In the scope of a request whose body is answered before it has been read to its end."""
LINGER_S = 2.0
"""How long the rest of such a body is thrown away before the connection is closed, seconds."""
INFERENCE = "/v2"
"""Where the Open Inference Protocol is spoken."""
HTTP_CODES = {
    404: ("not_found", "There is no such path"),
    METHOD_NOT_ALLOWED: ("method_not_allowed", "This path has other methods"),
}


def kind_of(error: OrchardError) -> Kind:
    """Return the table's entry for an error's class, or for the nearest class above it."""
    return next(KINDS[kind] for kind in type(error).__mro__ if kind in KINDS)


class FieldProblem(BaseModel):
    """One fault of one value: where, what, and a stable word."""

    model_config = ConfigDict(extra="forbid")

    loc: list[str | int]
    message: str
    code: str


class Problem(BaseModel):
    """An RFC 9457 problem. ``errors`` is there for invalid input only."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation that can end in these statuses, besides those that any can end in."""
    titles: dict[int, str] = {}
    for kind in KINDS.values():
        titles.setdefault(kind.status, kind.title)
    schema = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": titles[status], "content": schema} for status in {*statuses, *ANYWHERE}}


def inference(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation of the Open Inference Protocol, whose errors have their own form."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceError"}}}
    described = documented(*statuses, BAD_REQUEST)
    return {status: entry | {"content": content} for status, entry in described.items() if status != INVALID}


def response(request: Request, error: OrchardError) -> Response:
    """Return the problem for an error."""
    kind = kind_of(error)
    return _response(request, kind, error.detail, error.errors)


def _response(request: Request, kind: Kind, detail: str, faults: Iterable[FieldError] = ()) -> Response:
    form = _Lingering if request.scope.get(UNREAD) else Response
    if request.url.path.startswith(INFERENCE):
        # The Open Inference Protocol knows one status for whatever is wrong with a request.
        status = BAD_REQUEST if kind.status == INVALID else kind.status
        return form(to_json({"error": detail}), status, dict(kind.headers), "application/json")
    request_id = request.scope.get("state", {}).get("request_id", "")
    body = _body(kind, detail, faults, request_id)
    return form(to_json(body), kind.status, dict(kind.headers), MEDIA_TYPE)


class _Lingering(Response):
    """An answer before the body's end, after which the connection is closed: but only when its client has had the time.

    Closed at once, with bytes unread, the system would take the answer back (RFC 9112, 9.6).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lingering(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_thrown_away(receive), LINGER_S)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await super().__call__(scope, receive, lingering)


async def _thrown_away(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        """What still comes is not looked at."""


def body(error: OrchardError) -> dict[str, Any]:
    """Return the problem for an error that no request has met with."""
    return _body(kind_of(error), error.detail, error.errors, "")


def _body(kind: Kind, detail: str, faults: Iterable[FieldError], request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
        "request_id": request_id,
    }
    listed = [
        {"loc": list(fault.loc), "message": fault.message, "code": fault.code} for fault in list(faults)[:MAX_ERRORS]
    ]
    if listed:
        body["errors"] = listed
    return body


def _allowed(app: FastAPI, request: Request) -> dict[str, str]:
    """Return the Allow header of a path: all its methods, where the router names only those of one route."""
    template = getattr(request.scope.get("route"), "path", "")
    methods = [method.upper() for method in app.openapi()["paths"].get(template, {})]
    return {"Allow": ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])}


def install(app: FastAPI) -> None:
    """Answer every error that leaves a route with a problem."""

    async def orchard(request: Request, error: Exception) -> Response:
        assert isinstance(error, OrchardError)  # noqa: S101 - it is registered for this class
        if isinstance(error, ServiceError) and not isinstance(error, Overloaded | NotReady):
            logger.warning(error.detail, extra={"code": kind_of(error).code}, exc_info=error.__cause__)
        return response(request, error)

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for this class
        return response(request, invalid(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class
        code, title = HTTP_CODES.get(error.status_code, ("http_error", str(error.detail)))
        headers = _allowed(app, request) if error.status_code == METHOD_NOT_ALLOWED else error.headers
        kind = Kind(error.status_code, code, title, tuple((headers or {}).items()))
        return _response(request, kind, f"{request.method} {request.url.path[:200]}: {title.lower()}")

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=LEFT)

    async def unexpected(request: Request, _error: Exception) -> Response:
        return _response(request, KINDS[OrchardError], "an unexpected error happened; the log has it")

    app.add_exception_handler(OrchardError, orchard)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)
