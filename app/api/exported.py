"""All rows of a table as CSV, in one piece where they are few, else as they are read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from app.api import encodings
from app.api.address import HEAD
from app.api.services import Services
from app.errors import Overloaded
from app.wire.formats import FORMATS
from app.wire.media_types import CSV

AGAIN_S = 0.5
"""After so long an export goes on that found all threads of the database taken, seconds."""
Part = Callable[[Any, Any], tuple[str, Any]]
"""Returns a part of what is to be done, and what is left of it; None: nothing."""


async def exported(
    request: Request, services: Services, begin: Callable[..., Any], part: Part, *more: object
) -> Response:
    """Return all rows of a table. ``begin``: of the database and ``more``, what is to be done."""
    encoding = encodings.wanted(request)
    to_do = await services.in_database(begin, services.observations, *more)
    text, rest = await services.in_database(part, services.observations, to_do)
    if rest is None:
        return Response(text, media_type=FORMATS[CSV].content_type)
    headers = {"Vary": "Accept-Encoding"} | ({"Content-Encoding": encoding} if encoding else {})
    parts = _parts(services, part, text, None if request.scope.get(HEAD) else rest)
    sent = parts if encoding is None else _compressed(parts, encodings.compressor(encoding))
    return StreamingResponse(sent, headers=headers, media_type=FORMATS[CSV].content_type)


async def _parts(services: Services, part: Part, text: str, rest: Any) -> AsyncIterator[bytes]:
    """Yield the parts of an export. Where one cannot be read, the connection breaks off: nobody takes it for all."""
    yield text.encode()
    while rest is not None:
        try:
            text, rest = await services.in_database(part, services.observations, rest)
        except Overloaded:
            await asyncio.sleep(AGAIN_S)
        else:
            yield text.encode()


async def _compressed(parts: AsyncIterator[bytes], by: encodings.Compressor) -> AsyncIterator[bytes]:
    async for part in parts:
        if compressed := await asyncio.to_thread(by.compress, part):
            yield compressed
    yield by.flush()
