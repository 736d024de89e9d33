"""Bodies of requests: how they arrive, and what stands beside them in the query and the headers."""

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import Header, Query, Request
from pydantic import Field, WithJsonSchema

from app.api import encodings, problems
from app.api.services import Services
from app.data.naming import NOTE_PATTERN, SOURCE_PATTERN
from app.data.provenance import KEY_LENGTH, SOURCE_LENGTH, Once
from app.errors import TooLarge
from app.wire.schemas import NOTE_LENGTH, Note

NoteQuery = Annotated[
    Note | None,
    Query(description="Why, for the records."),
    WithJsonSchema({"type": "string", "maxLength": NOTE_LENGTH, "pattern": NOTE_PATTERN}),
]
SourceQuery = Annotated[
    Annotated[str, Field(max_length=SOURCE_LENGTH, pattern=SOURCE_PATTERN)] | None,
    Query(description="The name of the file that the rows come from, for the records."),
    WithJsonSchema({"type": "string", "maxLength": SOURCE_LENGTH, "pattern": SOURCE_PATTERN}),
]
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


def given(**query: Any) -> dict[str, Any]:
    """Return those of a query's parameters that are given."""
    return {name: value for name, value in query.items() if value is not None}


def source(call: str, file: str | None) -> str:
    """Return where rows come from: a call, and what file's they were if that is told."""
    return f"{file} ({call})" if file else call


def once(request: Request, content: bytes, key: str | None) -> Once | None:
    """Return the idempotency key with what tells a repeated request from another one; None without a key."""
    if key is None:
        return None
    line = f"{request.method} {request.url.path}?{request.url.query} {request.headers.get('content-type', '')}\n"
    return Once(key, hashlib.sha256(line.encode() + content).hexdigest())


async def read_body(request: Request, services: Services, limit: int | None = None) -> bytes:
    """Return the body, decoded, of at most ``limit`` bytes, by default as many as the settings allow.

    Raises:
        UnknownMediaType: it is encoded in another way than gzip and deflate.
        MalformedInput: it is not what its Content-Encoding says.
        TooLarge: it is larger than the limit, by its Content-Length, by what arrived, or by what that unfolds to.
        BodyTimeout: it did not arrive in time.
        Overloaded: it is large, as sent or decoded, and so are others that are there.
    """
    limit = min(limit or services.settings.max_body_bytes, services.settings.max_body_bytes)
    encoding = encodings.given(request)
    content = await _as_sent(request, services, limit)
    if encoding is None:
        return content
    content = await asyncio.to_thread(encodings.decoded, content, encoding, limit)
    services.concurrency.hold(request.scope, len(content))
    return content


async def _as_sent(request: Request, services: Services, limit: int) -> bytes:
    """Return the body, however it is encoded.

    Raises:
        TooLarge, BodyTimeout, Overloaded: as `read_body`.
    """
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
