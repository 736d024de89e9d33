"""Answers of megabytes, sent in parts."""

import asyncio
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.wire.parts import PART, Content, InMemoryFile, pieces


def response(content: Content, headers: Mapping[str, str], media_type: str) -> Response:
    """Return a response: in one piece where it is short, else in parts."""
    if isinstance(content, bytes) and len(content) <= PART:
        return Response(content, headers=dict(headers), media_type=media_type)
    return LargeResponse(content, headers, media_type)


class LargeResponse(Response):
    """A response that lets other requests in between its parts.

    Written at once, ten megabytes would hold up the event loop for five milliseconds: a client that reads as quickly as
    it is written to takes them all.
    """

    def __init__(self, content: Content, headers: Mapping[str, str], media_type: str) -> None:
        """``content`` is sent as it is, without a copy; a file is closed at the end."""
        super().__init__(headers=headers, media_type=media_type)
        self.headers["content-length"] = str(len(content))
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in pieces(self._content):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if isinstance(self._content, InMemoryFile):
                # Giving twelve megabytes back takes a millisecond.
                await asyncio.to_thread(self._content.close)
