"""The express lane answers byte for byte as the general path, or leaves the request to it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.api.document import DocumentedAPI
from app.data.tables import Table, parse_observations
from app.main import create_app
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order

Reply = tuple[int, dict[bytes, bytes], bytes]


class Service:
    """A running application, asked without a network; `general` goes around the express lane."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        app = create_app(settings)
        assert isinstance(app, DocumentedAPI)
        self._app = app
        self._lifespan = app.router.lifespan_context(app)
        self._runner.run(self._lifespan.__aenter__())

    def close(self) -> None:
        """Stop the application."""
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def ask(self, body: bytes, headers: dict[str, str], *, express: bool, query: str = "") -> Reply:
        """Post a body to /predict, with or without the express lane."""
        lane, self._app.express = self._app.express, self._app.express if express else None
        try:
            return self._runner.run(self._ask(body, headers, query))
        finally:
            self._app.express = lane

    async def _ask(self, body: bytes, headers: dict[str, str], query: str) -> Reply:
        sent: list[Any] = []
        half = len(body) // 2
        parts = [body] if headers.pop("split", None) is None else [body[:half], body[half:]]
        last = len(parts) - 1
        messages = iter(
            [{"type": "http.request", "body": part, "more_body": number < last} for number, part in enumerate(parts)]
        )

        async def receive() -> Any:
            return next(messages)

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


@pytest.fixture(scope="module", params=["tutorial", "two spreads"])
def service(
    request: pytest.FixtureRequest, tutorial: Table, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return services whose crops have the same rows, and different rows."""
    settings = Settings(model_store=tmp_path_factory.mktemp("store"))
    table = tutorial if request.param == "tutorial" else _two_spreads()
    job = Job(settings)
    job.run(Order("test", "test", table, alone=True))
    job.close()
    service = Service(settings)
    yield service
    service.close()


def _two_spreads() -> Table:
    text = (Path(__file__).parent.parent.parent / "app" / "data" / "tutorial.csv").read_text().splitlines()
    rows = [line.split(",") for line in text]
    for row in rows[10:]:
        row[5] = ""  # orange is reported by nine rows only
    return parse_observations("\n".join(",".join(row) for row in rows).encode())


HEADERS = {"content-type": "application/json", "x-request-id": "same"}
number = st.one_of(
    st.floats(-200, 200), st.floats(), st.integers(-40_000, 40_000), st.booleans(), st.text(max_size=3), st.none()
)
region = st.one_of(st.none(), st.text(max_size=210), st.integers())
likely = {"temperature": st.floats(-130, 140), "rainfall": st.floats(0, 30_000), "humidity": st.floats(0, 100)}
inside = {"temperature": st.floats(66, 105), "rainfall": st.floats(0, 140), "humidity": st.integers(34, 73)}
bodies = st.one_of(
    st.fixed_dictionaries(likely, optional={"region": st.text(max_size=200)}),
    st.fixed_dictionaries(inside, optional={"region": st.text(max_size=20)}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(likely, number) | {"region": region, "extra": number}),
)


@given(bodies)
@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_paths_answer_the_same_bytes(service: Service, body: dict[str, Any]) -> None:
    """Status, body and headers are the same on both paths, for valid and invalid regions alike."""
    content = json.dumps(body).encode()
    quick = service.ask(content, dict(HEADERS), express=True)
    general = service.ask(content, dict(HEADERS), express=False)
    assert quick == general


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({"content-type": "application/json; charset=utf-8"}, ""),
        ({"content-type": "text/csv"}, ""),
        ({"content-type": "text/plain"}, ""),
        ({"accept": "text/csv"}, ""),
        ({"accept": "image/png"}, ""),
        ({"accept": "application/json, */*"}, ""),
        ({"accept": "application/json;q=0"}, ""),
        ({"x-request-id": "a b"}, ""),
        ({"split": "yes"}, ""),
        ({}, "level=0.8"),
        ({}, "explain=true"),
        ({}, "version=1"),
        ({}, "version=9"),
    ],
)
def test_other_requests_are_answered_alike(service: Service, headers: dict[str, str], query: str) -> None:
    """Content types, Accept, chunked bodies and queries make no difference between the paths."""
    content = b'{"temperature": 73, "rainfall": 67, "humidity": 43}'
    quick = service.ask(content, {"x-request-id": "same"} | headers, express=True, query=query)
    general = service.ask(content, {"x-request-id": "same"} | headers, express=False, query=query)
    if headers.get("x-request-id"):
        assert quick[1].pop(b"x-request-id") != general[1].pop(b"x-request-id")
    assert quick[0] == general[0]
    assert quick[1] == general[1]
    assert quick[2].replace(b" ", b"") == general[2].replace(b" ", b"") or b"request_id" in quick[2]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"temperature": NaN}', b'{"regions": []}'])
def test_unreadable_bodies_are_answered_alike(service: Service, body: bytes) -> None:
    """What is not a region is left to the general path, whole."""
    quick = service.ask(body, dict(HEADERS), express=True)
    assert quick == service.ask(body, dict(HEADERS), express=False)
    assert quick[0] in {400, 422}
