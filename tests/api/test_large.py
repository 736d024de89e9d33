"""Answers of megabytes: how many bytes of them are held at once, and that they are let go of."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from app.api import large
from app.api.concurrency import Concurrency
from app.errors import Overloaded
from app.settings import Settings
from app.wire.parts import PART, InMemoryFile
from tests.asking import Service

BYTES = 3 * PART


def _file() -> InMemoryFile:
    descriptor = os.memfd_create("test")
    os.write(descriptor, b"x" * BYTES)
    return InMemoryFile(descriptor, BYTES)


def _is_closed(file: InMemoryFile) -> bool:
    try:
        os.fstat(file.descriptor)
    except OSError:
        return True
    return False


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize("error", [None, OSError, asyncio.CancelledError])
def test_an_answer_is_held_until_it_has_been_taken(error: type[BaseException] | None) -> None:
    """Or its client has left; a second one that does not fit beside it is refused, and its memory given back."""
    concurrency = Concurrency(1, 1.0, most_answer_bytes=2 * BYTES - 1)
    file, held, sent = _file(), list[int](), 0

    async def send(message: Message) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        held.append(concurrency.answering)
        second = _file()
        with pytest.raises(Overloaded, match="answers of 393216 bytes are being sent, and 393216 more"):
            large.response(second, {}, "text/plain", concurrency)
        assert _is_closed(second)
        assert (
            len(large.response(b"x" * PART, {}, "text/plain", concurrency).body) == PART
        )  # a short one is let through
        if error is not None:
            raise error

    async def call() -> None:
        await large.response(file, {}, "text/plain", concurrency)({}, _nothing, send)

    if error is None:
        asyncio.run(call())
        assert sent == BYTES
    else:
        with pytest.raises(error):
            asyncio.run(call())
    assert set(held) == {BYTES}
    assert concurrency.answering == 0
    assert _is_closed(file)


@pytest.mark.parametrize(("most", "held", "status"), [(10**9, 10**6, 200), (10**6, 10**6, 503), (10**6, 0, 200)])
def test_over_http_it_is_503(trained: Path, most: int, held: int, status: int) -> None:
    """With Retry-After, before anything is sent, and no prediction is counted; one alone is always let through."""
    columns = {name: [75.0] * 5_000 for name in ("temperature", "rainfall", "humidity")}
    service = Service(Settings(model_store=trained))
    try:
        services: Any = service.services
        services.concurrency.most_answer_bytes, services.concurrency.answering = most, held
        found, headers, body = service.ask(json.dumps(columns).encode(), {"content-type": "application/json"})
        counts = services.tally.totals({}).counts
        assert (found, services.concurrency.answering) == (status, held)
    finally:
        service.close()
    assert counts.get(("predictions", ("mango",)), 0) == (5_000 if status == 200 else 0)
    if status == 503:
        assert headers[b"retry-after"] == b"1"
        assert json.loads(body)["code"] == "overloaded"
        assert b"answers of 1000000 bytes are being sent" in body
