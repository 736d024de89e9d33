"""The least that a server can do: a constant body of the length that a prediction has. Needs nothing but a server."""

from typing import Any

ANSWER = (
    b'{"model_version":"1","region":"A","yields":{"mango":{"tons":57.32309988948519,"low":54.37889268201725,'
    b'"high":60.26730709695313},"orange":{"tons":69.54267150942283,"low":66.94555318751047,"high":72.1397898313352}},'
    b'"extrapolated":false,"warnings":[]}'
)
HEADERS = [(b"content-length", b"%d" % len(ANSWER)), (b"content-type", b"application/json")]


async def floor(scope: Any, receive: Any, send: Any) -> None:
    """Take the body and answer a constant of the length that a prediction has: nothing is validated or computed."""
    if scope["type"] != "http":
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
