"""What pages of other origins may call: CORS as Starlette has it, whose refusals are problems like all others."""

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api import problems
from app.errors import InputError

REFUSED = 400
SHOWN = 100
"""Characters of an origin or a method that a message repeats."""


class CORS(CORSMiddleware):
    """Lets pages of some origins call, and tells the others why not."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a browser that asks before it sends."""
        answer = super().preflight_response(request_headers)
        if answer.status_code != REFUSED:
            return answer
        origin, method = request_headers["origin"], request_headers["access-control-request-method"]
        if self.is_allowed_origin(origin):
            return _Refused(f"pages of other origins may not send this: {method[:SHOWN]}", answer)
        return _Refused(f"this origin is not in ORCHARD_CORS_ORIGINS: {origin[:SHOWN]}", answer)


class _Refused(Response):
    """A problem in the place of an answer, with what that says to browsers and caches."""

    def __init__(self, detail: str, answer: Response) -> None:
        super().__init__()
        self._detail = detail
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        problem = problems.response(Request(scope), InputError(self._detail))
        kept = [(name, value) for name, value in self._answer.raw_headers if not name.startswith(b"content-")]
        problem.raw_headers += kept
        await problem(scope, receive, send)
