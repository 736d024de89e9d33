"""How what is read is sent: compressed for who takes that, and not at all for who has it already."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.api import encodings
from app.api.headers import ASK_AGAIN

QUICK = 32 * 1024
"""Bytes that are compressed on the event loop: fewer take less than half a millisecond."""
NOT_MODIFIED, OK = 304, 200
OF_A_BODY = ("content-length", "content-type", "content-encoding")
"""What a 304 does not say. All else replaces what a browser has kept (RFC 9111, 3.2): a page's policy among it."""


class Represented(APIRoute):
    """A route whose answers to GET are compressed where that is worth it.

    Those that may be kept if it is asked again whether they still hold (`ASK_AGAIN`) have a tag for that, and are a 304
    without a body for who names it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answered = super().get_route_handler()

        async def represented(request: Request) -> Response:
            if request.method != "GET":
                return await answered(request)
            encoding = encodings.wanted(request)
            response = await answered(request)
            if response.status_code != OK or not isinstance(getattr(response, "body", None), bytes):
                return response
            if response.headers.get("cache-control") == ASK_AGAIN["Cache-Control"]:
                response.headers["ETag"] = tag = _tag(bytes(response.body))
                if _names(request, tag):
                    kept = {name: value for name, value in response.headers.items() if name not in OF_A_BODY}
                    return Response(status_code=NOT_MODIFIED, headers=kept | {"Vary": "Accept-Encoding"})
            if len(response.body) >= encodings.WORTH_IT:
                response.headers.append("Vary", "Accept-Encoding")
                if encoding is not None:
                    await _compress(response, encoding)
            return response

        return represented


def _tag(content: bytes) -> str:
    """Return a weak tag, which is that of the content however it is compressed (RFC 9110, 8.8.1)."""
    return f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def _names(request: Request, tag: str) -> bool:
    """Say whether a request names a tag among those that it has, or any."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag.removeprefix("W/") in (
        one.strip().removeprefix("W/") for one in given.split(",")
    )


async def _compress(response: Response, encoding: str) -> None:
    plain = bytes(response.body)
    if len(plain) <= QUICK:
        response.body = encodings.encoded(plain, encoding)
    else:
        response.body = await asyncio.to_thread(encodings.encoded, plain, encoding)
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Content-Encoding"] = encoding
