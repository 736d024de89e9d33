"""Answers of megabytes, sent in parts."""

import asyncio
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.concurrency import Concurrency
from app.wire.parts import PART, Content, InMemoryFile, pieces


def response(content: Content, headers: Mapping[str, str], media_type: str, concurrency: Concurrency) -> Response:
    """Return a response: in one piece where it is short, else in parts.

    Raises:
        Overloaded: too much is being sent already, to clients that may not read it.
    """
    if isinstance(content, bytes) and len(content) <= PART:
        return Response(content, headers=dict(headers), media_type=media_type)
    try:
        concurrency.check_answer(len(content))
    except BaseException:
        if isinstance(content, InMemoryFile):
            content.close()
        raise
    return LargeResponse(content, headers, media_type, concurrency)


class LargeResponse(Response):
    """A response that lets other requests in between its parts.

    Written at once, ten megabytes would hold up the event loop for five milliseconds: a client that reads as quickly as
    it is written to takes them all. One that does not read has them held here, which `Concurrency` counts.
    """

    def __init__(self, content: Content, headers: Mapping[str, str], media_type: str, concurrency: Concurrency) -> None:
        """``content`` is sent as it is, without a copy; a file is closed at the end."""
        super().__init__(headers=headers, media_type=media_type)
        self.headers["content-length"] = str(len(content))
        self._content = content
        self._concurrency = concurrency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        self._concurrency.answering += len(self._content)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in pieces(self._content):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._concurrency.answering -= len(self._content)
            if isinstance(self._content, InMemoryFile):
                # Giving twelve megabytes back takes a millisecond.
                await asyncio.to_thread(self._content.close)
