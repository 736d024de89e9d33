"""An S3 stand-in for tests: a real server that keeps objects in memory, and fails in the ways in which stores fail."""

import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

import pytest
import uvicorn

from tests.running import lasting_port, until

NAME = "orchard"
CONDITIONS = {"if-none-match": "*", "x-goog-if-generation-match": "0"}
"""The headers by which an object is created only if it is not there: of S3 and Azure, of Google."""
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
PAGE = 1_000

Failure = Literal[
    "slow down", "conflict", "error after", "hang after", "hang", "late", "forbidden", "unavailable", "no bucket"
]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


@dataclass
class Fault:
    """What happens to the next ``times`` requests of a method for keys that end so.

    "after": it is stored first; "late": it is stored once its client has gone.
    """

    kind: Failure
    method: str
    key: str
    times: float = 1


@dataclass
class Standin:
    """The objects, when they were stored, the requests so far, and what is to fail."""

    port: int
    objects: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ignores_conditions: bool = False
    """Whether ``If-None-Match`` is passed over, as some stores do."""
    hides_missing: bool = False
    """Whether missing objects are answered 403, as without the right to list them."""
    list_lags_s: float = 0.0
    is_gone: bool = False
    """Whether no request is answered at all."""

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ALLOW_HTTP": "true", **KEYS}

    def url(self) -> str:
        """Return the URL of a store of its own."""
        return f"s3://{NAME}/{uuid.uuid4().hex}"

    def fail(self, kind: Failure, method: str = "PUT", key: str = "", times: float = 1) -> None:
        """Let requests fail; those for the probe do not, unless they are meant."""
        self.faults.append(Fault(kind, method, key, times))

    def reset(self) -> None:
        """Fail no more, and forget what was asked."""
        self.faults.clear()
        self.asked.clear()
        self.ignores_conditions = self.hides_missing = self.is_gone = False
        self.list_lags_s = 0.0

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        method, key = scope["method"], unquote(scope["path"]).removeprefix(f"/{NAME}").removeprefix("/")
        self.asked.append((method, key))
        fault = self._next(method, key)
        if self.is_gone or (fault is not None and fault.kind in {"hang", "late"}):
            await _forever(receive)
            if fault is not None and fault.kind == "late":
                self._carried_out(method, key, body, scope)
            return
        if fault is None or fault.kind.endswith("after"):
            status, content, headers = self._carried_out(method, key, body, scope)
        if fault is not None:
            if fault.kind == "hang after":
                await _forever(receive)
                return
            status, content, headers = _failed(fault.kind)
        await _answer(send, status, b"" if method == "HEAD" else content, headers, len(content))

    def _next(self, method: str, key: str) -> Fault | None:
        for fault in self.faults:
            is_meant = fault.key or not key.endswith("/probe")
            if fault.times > 0 and fault.method in {method, "*"} and key.endswith(fault.key) and is_meant:
                fault.times -= 1
                return fault
        return None

    def _carried_out(self, method: str, key: str, body: bytes, scope: Message) -> tuple[int, bytes, dict[str, str]]:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if method == "PUT":
            is_new_only = any(headers.get(name) == value for name, value in CONDITIONS.items())
            if is_new_only and key in self.objects and not self.ignores_conditions:
                return 412, _error("PreconditionFailed"), {}
            self.objects[key], self.stored[key] = body, time.monotonic()
            return 200, b"", {"ETag": '"x"'}
        if not key:
            return 200, self._listed(parse_qs(scope["query_string"].decode())), {"Content-Type": "application/xml"}
        if key not in self.objects:
            return (403, _error("AccessDenied"), {}) if self.hides_missing else (404, _error("NoSuchKey"), {})
        return 200, self.objects[key], {"ETag": '"x"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}

    def _listed(self, query: dict[str, list[str]]) -> bytes:
        prefix, after = (query.get(name, [""])[0] for name in ("prefix", "continuation-token"))
        seen = time.monotonic() - self.list_lags_s
        found = sorted(
            key for key in self.objects if key.startswith(prefix) and key > after and self.stored[key] <= seen
        )
        page = found[:PAGE]
        rows = "".join(
            f"<Contents><Key>{escape(quote(key, safe='/'))}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"x"</ETag><Size>{len(self.objects[key])}</Size></Contents>'
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(found) > PAGE else ""
        cut = str(len(found) > PAGE).lower()
        return f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{rows}</ListBucketResult>".encode()


async def _forever(receive: Callable[[], Awaitable[Message]]) -> None:
    """Do not answer, until the client has gone: of a request that was read to its end nothing else comes."""
    await receive()


def _failed(kind: Failure) -> tuple[int, bytes, dict[str, str]]:
    status, code = {
        "slow down": (503, "SlowDown"),
        "conflict": (409, "ConditionalRequestConflict"),
        "error after": (500, "InternalError"),
        "forbidden": (403, "AccessDenied"),
        "unavailable": (502, ""),
        "no bucket": (404, "NoSuchBucket"),
    }[kind]
    return status, _error(code), {}


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as a test wants it</Message></Error>".encode()


async def _answer(send: Send, status: int, content: bytes, headers: dict[str, str], length: int) -> None:
    told = {"Content-Length": str(length), **headers}
    listed = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def standin_here() -> Iterator[Standin]:
    """Run a stand-in which this process, and those that it starts, find by the environment."""
    with standin() as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.environment.items():
            environment.setenv(name, value)
        yield running


@contextmanager
def standin() -> Iterator[Standin]:
    """Run a stand-in until the end of the block."""
    made = Standin(lasting_port())
    config = uvicorn.Config(
        made, "127.0.0.1", made.port, log_level="critical", lifespan="off", timeout_graceful_shutdown=0
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield made
    finally:
        server.should_exit = True
        thread.join()
