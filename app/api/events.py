"""GET /events: what happens in the store, as it happens."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response, StreamingResponse

from app.api.address import HEAD
from app.api.guards import BEARER
from app.api.openapi.parts import contents, documented
from app.api.request_id import LASTS
from app.api.services import Services, ServicesDep
from app.errors import OrchardError
from app.serving.listeners import Listener
from app.serving.news import Event, lines
from app.store.registry import Registry
from app.wire.event_stream import KEEP_ALIVE, beginning, written
from app.wire.media_types import EVENTS

router = APIRouter(tags=["models"])

PATH = "/events"
KEEP_ALIVE_S = 15.0
"""After so long without an event a comment is sent, seconds: less than proxies wait."""
RETRY_S = 2.0
"""After how long a client is to come again when its stream has ended, seconds."""
AT_ONCE = 100
"""Lines of the log that are read together."""
MOST_NUMBER = 2**53
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Tells nginx to pass on what comes when it comes."""

LastEventId = Annotated[
    int | None,
    Header(ge=0, le=MOST_NUMBER, description="The id of the last event received: a line of the activation log."),
]


async def _listening(services: ServicesDep) -> AsyncIterator[Listener]:
    """Have one who listens, until the answer has ended.

    Raises:
        Overloaded: there are too many.
    """
    with services.listeners.joined() as listener:
        yield listener


@router.get(
    PATH,
    summary="What happens, as it happens",
    response_class=Response,
    responses=documented(422, 503) | {200: {"content": contents(EVENTS)}},
)
async def events(
    request: Request,
    services: ServicesDep,
    listener: Annotated[Listener, Depends(_listening)],
    last_event_id: LastEventId = None,
) -> Response:
    """Stream `activated` (version, who, note), `trained` (version, decision) and `drift` (distance, different).

    `activated` is a line of the activation log, and its id the line's number; the id of others is that of the last line
    before them. With `Last-Event-ID` the lines since then come first. `trained` is a new version, live or not. `drift`:
    the weather asked about in the last day is no longer that of training, or is again. Without an event a comment comes
    every 15 seconds. The stream ends when the service stops, when its client does not read, and when its token is no
    longer valid.
    """
    setattr(request.state, LASTS, PATH)
    if HEAD in request.scope:
        return StreamingResponse(iter(()), media_type=EVENTS, headers=UNBUFFERED)
    given = await BEARER(request)
    token = given.credentials if given is not None else ""
    stream = _stream(services, listener, token, last_event_id)
    return StreamingResponse(stream, media_type=EVENTS, headers=UNBUFFERED)


async def _stream(services: Services, listener: Listener, token: str, since: int | None) -> AsyncIterator[bytes]:
    """Yield what was missed since a line of the log, then what happens."""
    try:
        # A log that has lost lines has no such line; what another worker has told may be ahead of what this one knows.
        if (
            since is not None
            and since > listener.line
            and not await services.in_store(services.registry.has_line, since)
        ):
            since = None
        yield beginning(listener.line if since is None else None, RETRY_S)
        heard_until = listener.line if since is None else since
        for first in range(heard_until + 1, listener.line + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, listener.line)
            if missed := await services.in_store(_missed, services.registry, first, last):
                yield missed
        while not listener.is_over and _may_listen(services, token):
            heard = _unheard(await listener.heard(KEEP_ALIVE_S), heard_until)
            if heard or not listener.is_over:
                yield b"".join(map(written, heard)) or KEEP_ALIVE
    except OrchardError:
        """The log or the tokens cannot be read: the client comes again, and says up to where it has heard."""


def _unheard(events: Iterable[Event], until: int) -> list[Event]:
    """Return events without the lines of the log up to one that was told before."""
    return [event for event in events if event.name != "activated" or event.line > until]


def _missed(registry: Registry, first: int, last: int) -> bytes:
    return b"".join(written(Event.of(line)) for line in lines(registry, first, last))


def _may_listen(services: Services, token: str) -> bool:
    """Say whether reading is open, or the token still one for it: tokens come and go while it is listened."""
    return services.tokens.reading_is_open or services.tokens.may_read(token)


async def tell(services: Services, thread: Executor | None = None) -> None:
    """Look in a thread what is new in the store, and tell all who listen.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    look = partial(services.news.look, is_listening=len(services.listeners) > 0)
    news = await asyncio.get_running_loop().run_in_executor(thread, look)
    services.listeners.tell(news, services.news.line)
