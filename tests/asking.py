"""A running application, asked without a network."""

import asyncio
from typing import Any

from app.api.openapi.document import DocumentedAPI
from app.api.services import Services
from app.main import create_app
from app.settings import Settings

Reply = tuple[int, dict[bytes, bytes], bytes]


class Service:
    """A running application, asked without a network, and so by the general path: the lane is where bytes arrive."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        app = create_app(settings)
        assert isinstance(app, DocumentedAPI)
        self._app = app
        self._lifespan = app.router.lifespan_context(app)
        self._runner.run(self._lifespan.__aenter__())

    @property
    def services(self) -> Services:
        """What request code is handed."""
        services: Services = self._app.state.services
        return services

    def close(self) -> None:
        """Stop the application."""
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def ask(self, body: bytes, headers: dict[str, str], *, query: str = "") -> Reply:
        """Post a body to /predict."""
        return self._runner.run(self._ask(body, headers, query))

    async def _ask(self, body: bytes, headers: dict[str, str], query: str) -> Reply:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/predict",
            "raw_path": b"/predict",
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        await self._app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], dict(sent[0]["headers"]), content
