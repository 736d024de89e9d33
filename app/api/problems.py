"""Errors that leave a route, answered as problems; the table of them is `app.wire.problems`."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.address import prefix_of
from app.errors import FieldError, NotReady, OrchardError, Overloaded, ServiceError, TrainingUnavailable
from app.wire.media_types import JSON, PROBLEM
from app.wire.problems import KINDS, Kind, kind_of, problem
from app.wire.validation import invalid

logger = logging.getLogger("orchard.problems")


NOT_FOUND, METHOD_NOT_ALLOWED, LEFT = 404, 405, 499
"""LEFT: as what a request is counted whose client has gone before its answer; nobody ever receives it."""
NO_CONTENT = 204
UNREAD = "unread"
"""In the scope of a request whose body is answered before it has been read to its end."""
LINGER_S = 2.0
"""How long the rest of such a body is thrown away before the connection is closed, seconds."""
ProblemForm = Callable[[Kind, str], tuple[int, dict[str, Any]]]
"""Of an error's kind and detail: the status and the body of its answer."""
HTTP_CODES = {
    NOT_FOUND: ("not_found", "Not found"),
    METHOD_NOT_ALLOWED: ("method_not_allowed", "Method not allowed"),
}


def response(request: Request, error: OrchardError) -> Response:
    """Return the problem for an error."""
    kind = kind_of(error)
    return _response(request, kind, error.detail, error.errors)


def _response(request: Request, kind: Kind, detail: str, faults: Iterable[FieldError] = ()) -> Response:
    form = _Lingering if request.scope.get(UNREAD) else Response
    for prefix, written in request.app.state.problem_forms.items():
        if request.url.path.startswith(prefix):
            status, body = written(kind, detail)
            return form(to_json(body), status, dict(kind.headers), JSON)
    request_id = request.scope.get("state", {}).get("request_id", "")
    body = problem(kind, detail, faults, request_id)
    return form(to_json(body), kind.status, dict(kind.headers), PROBLEM)


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


def _allowed(app: FastAPI, request: Request, error: HTTPException) -> list[str]:
    """Return all methods of a path, where the router names only those of one route."""
    template = getattr(request.scope.get("route"), "path", "")
    methods = [method.upper() for method in app.openapi()["paths"].get(template, {})]
    if not methods:  # the page's: they are not in the document
        methods = [method.strip() for method in (error.headers or {}).get("Allow", "").split(",")]
    return [*methods, *(["HEAD"] if "GET" in methods and "HEAD" not in methods else []), "OPTIONS"]


def _lost(request: Request) -> str:
    """Say of a path that is none where to look instead."""
    below = prefix_of(request)
    return (
        f"{request.method} {request.url.path[:200]}: there is no such path; Orchard's page is at {below}/, "
        f"its documentation at {below}/docs, its state at {below}/health/ready, predictions at POST {below}/predict"
    )


def install(app: FastAPI, forms: Mapping[str, ProblemForm]) -> None:
    """Answer every error that leaves a route with a problem; ``forms``: below which paths it has another form."""
    app.state.problem_forms = forms

    async def orchard(request: Request, error: Exception) -> Response:
        assert isinstance(error, OrchardError)  # noqa: S101 - it is registered for this class
        if isinstance(error, ServiceError) and not isinstance(error, Overloaded | NotReady):
            # A full disk, a damaged file, a training that died: somebody has to see to it. That this installation
            # cannot train, whoever installed it knows.
            level = logging.WARNING if isinstance(error, TrainingUnavailable) else logging.ERROR
            logger.log(level, error.detail, extra={"code": kind_of(error).code}, exc_info=error.__cause__)
        return response(request, error)

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for this class
        return response(request, invalid(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class
        code, title = HTTP_CODES.get(error.status_code, ("http_error", str(error.detail)))
        headers, detail = error.headers or {}, f"{request.method} {request.url.path[:200]}: {title.lower()}"
        if error.status_code == NOT_FOUND:
            detail = _lost(request)
        elif error.status_code == METHOD_NOT_ALLOWED:
            allowed = _allowed(app, request, error)
            headers = {"Allow": ", ".join(allowed)}
            if request.method == "OPTIONS":  # asked what there is, not for something that there is not
                return Response(status_code=NO_CONTENT, headers=headers)
            detail = f"{request.method} {request.url.path[:200]}: this path takes {' and '.join(allowed[:-1])}"
        kind = Kind(error.status_code, code, title, tuple(headers.items()))
        return _response(request, kind, detail)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=LEFT)

    async def unexpected(request: Request, _error: Exception) -> Response:
        return _response(request, KINDS[OrchardError], "an unexpected error happened; the log has it")

    app.add_exception_handler(OrchardError, orchard)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)
