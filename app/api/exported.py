"""The rows of a table: a page of them, or all as CSV, in one piece where they are few, else as they are read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, NamedTuple

from fastapi import Query, Request
from pydantic import WithJsonSchema
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from app.api import encodings
from app.api.address import HEAD
from app.api.negotiation import answer_type
from app.api.services import Services
from app.errors import Overloaded
from app.wire.formats import FORMATS
from app.wire.media_types import CSV, JSON

ROWS, MOST_ROWS = 1_000, 10_000
"""Rows in a page where nobody says how many, and at most."""
AGAIN_S = 0.5
"""After so long an export goes on that found all threads of the database taken, seconds."""
Limit = Annotated[
    int | None,
    Query(ge=1, le=MOST_ROWS, description=f"Rows in a page; without it {ROWS}, and as CSV without `after` all rows."),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_ROWS}),
]
After = Annotated[str | None, Query(description="The `next` of the page before.")]
Part = Callable[[Any, Any], tuple[str, Any]]
"""Returns a part of what is to be done, and what is left of it; None: nothing."""


class Rows(NamedTuple):
    """How a table is read. ``page``: of the database, a number of rows, a cursor and more; ``csv_of`` such a page.

    ``begin``: of the database and more, what is to be done for all rows, ``part`` by part.
    """

    page: Callable[..., Any]
    csv_of: Callable[[Any], str]
    begin: Callable[..., Any]
    part: Part


async def paged(
    request: Request, services: Services, rows: Rows, limit: int | None, after: str | None, *more: object
) -> Response:
    """Return a page of ``limit`` rows, as CSV with the next one's cursor in ``X-Next``; or all as CSV without both."""
    wanted = answer_type(request, (JSON, CSV))
    if wanted == CSV and limit is None and after is None:
        return await _exported(request, services, rows.begin, rows.part, *more)

    def written() -> tuple[str | bytes, str | None]:  # ten thousand rows take a tenth of a second to write
        page = rows.page(services.observations, limit or ROWS, after, *more)
        return (rows.csv_of(page), page.next) if wanted == CSV else (to_json(page), None)

    content, following = await services.in_database(written)
    headers = {"X-Next": following} if following else {}
    return Response(content, headers=headers, media_type=FORMATS[wanted].content_type)


async def _exported(
    request: Request, services: Services, begin: Callable[..., Any], part: Part, *more: object
) -> Response:
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
