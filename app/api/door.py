"""The door: what every connection passes through, before there is a request that anything could be asked about.

It is uvicorn's own protocol with two things more. It guards: headers, trailers, queued requests and unread answers of a
connection have limits, and clocks run for whoever sends nothing, sends slowly or does not read. And it hands plain
predictions to the express lane, which answers them at once; all else, whatever is special about it, is replayed to
uvicorn's code as if it had come there first.

Under other servers, or a uvicorn that this was not written for, the general path answers everything.
"""

import asyncio
import logging
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.express import Express, Headers
from app.api.headers import NO_KEEPING, NO_SNIFFING
from app.api.request_id import request_id
from app.errors import BodyTimeout, HeadersTooLarge, InputError, MalformedInput
from app.wire.json_body import to_bytes
from app.wire.problems import Kind, kind_of, problem

WRITTEN_FOR = ("0.54",)
"""Versions of uvicorn whose protocol this is known to fit."""
TICK_S = 1.0
"""How often the clocks of all connections are looked at, seconds."""
HEAD_TICKS = 10
"""How long a request's head may take."""
SILENT_TICKS = 60
"""How long a connection may stay without a first request."""
BODY_TICKS = 1
"""How long the lane waits for a body; the general path has a clock of its own."""
STUCK_TICKS = 30
"""How long a client may leave an answer unread."""
MOST_AROUND = 80 * 1024
"""Bytes of a request that are no body: the path, headers and trailers, what frames chunks."""
AROUND_A_BYTE = 8
"""And so many more for each byte of a body, which may come in a chunk of its own."""
MOST_QUEUED = 50
"""Requests of a connection that may wait for the answer to one before them."""
MOST_HEADS = 256
"""Different heads of plain requests that are known again; a client sends the same one every time."""
IDLE, HEAD, LANE, GENERAL = range(4)
"""What a connection is at: between requests, in a head, in a body for the lane, in one for the general path."""

logger = logging.getLogger("orchard")


class Doors:
    """All connections of a process, and the clock that they go by."""

    def __init__(self, lane: Express, keep_alive_s: float) -> None:
        self.lane = lane
        self.open: set[Door] = set()
        self.tick = 0
        self.keep_alive_ticks = max(1, round(keep_alive_s / TICK_S))
        self.heads: dict[bytes, tuple[int, bytes]] = {}
        """Heads of plain requests, byte by byte: the length of the body behind each, and the X-Request-ID in it."""

    def remember(self, head: bytes, length: int, given: bytes) -> None:
        """Know a head again; one with an id of its own will not come again."""
        if not given:
            if len(self.heads) >= MOST_HEADS:
                self.heads.clear()
            self.heads[head] = (length, given)

    async def watch(self) -> None:
        """Look at all clocks, for as long as the service runs."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick += 1
            for door in list(self.open):
                door.look()


def doors_of(app: Any) -> Doors | None:
    """Return those of an application, whatever is wrapped around it; None of another one."""
    while app is not None and not hasattr(app, "doors"):
        app = getattr(app, "app", None)
    return getattr(app, "doors", None)


def protocol() -> type[HttpToolsProtocol] | str:
    """Return what uvicorn is to use as its protocol: its own, with a warning, where this one may not fit."""
    if uvicorn.__version__.rpartition(".")[0] in WRITTEN_FOR:
        return Door
    logger.warning(
        "uvicorn %s is not one that the express lane and the limits of connections were written for (%s): predictions "
        "take longer, and connections are guarded less; install the versions of requirements.lock",
        uvicorn.__version__,
        ", ".join(WRITTEN_FOR),
    )
    return "httptools"


class Door(HttpToolsProtocol):
    """One connection."""

    _doors: Doors | None = None
    _phase = IDLE
    _since = 0
    _fed = 0
    _delivered = 0
    _served = False
    _is_deaf = False
    _upgrades = False
    _unsent = 0
    _stuck = 0
    _length = 0
    _body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._doors = doors_of(self.app)
        if self._doors is not None:
            self._doors.open.add(self)
            self._since = self._doors.tick

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._doors is not None:
            self._doors.open.discard(self)
        super().connection_lost(exc)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Answer what is known at once; parse the rest."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._phase == IDLE and self._is_free():
            data = self._answered(data)
            if not data:
                return
        begins = self._phase == IDLE
        self._fed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data, upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(MalformedInput("the bytes received are not a request of HTTP/1.1"))
            return
        if self._fed - self._delivered * AROUND_A_BYTE > MOST_AROUND:
            self._refuse(
                HeadersTooLarge(f"more than {MOST_AROUND} bytes around the body: send fewer or shorter headers")
            )
        elif begins and self._plain is not None and self._doors is not None:
            length, given = self._plain
            if len(data) == data.find(b"\r\n\r\n") + 4 + length:
                self._doors.remember(data[: len(data) - length], length, given)
            self._plain = None

    _plain: tuple[int, bytes] | None = None
    """Of a plain request that has just been answered: its body's length, and its X-Request-ID."""

    def _is_free(self) -> bool:
        """Say whether nothing is being answered on this connection, and what was has been read."""
        return (
            self._doors is not None
            and not self._is_answering()
            and not self.pipeline
            and not self.flow.write_paused
            and not self.access_log
            and not self._is_deaf
        )

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _answered(self, data: bytes) -> bytes:
        """Answer plain requests with a known head, one after the other, and return what is left."""
        doors = self._doors
        assert doors is not None  # noqa: S101 - asked by `_is_free`
        start, answers = 0, []
        while (end := data.find(b"\r\n\r\n", start) + 4) > 3:  # noqa: PLR2004 - found
            known = doors.heads.get(data[start:end])
            if known is None or end + known[0] > len(data):
                break
            answer = doors.lane.answer(data[end : end + known[0]], known[1], self.server_state.default_headers)
            if answer is None:
                break
            answers.append(answer)
            start = end + known[0]
        if answers:
            self._write(answers[0] if len(answers) == 1 else b"".join(answers), len(answers))
        return data[start:] if start else data

    def _write(self, answers: bytes, count: int) -> None:
        assert self._doors is not None  # noqa: S101 - the lane has answered
        self.transport.write(answers)
        self.server_state.total_requests += count
        self._served = True
        self._since = self._doors.tick

    # What the parser finds

    def on_message_begin(self) -> None:
        """Collect a head, before anything is made of it."""
        self._phase = HEAD
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        if self._doors is not None:
            self._since = self._doors.tick

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; those behind a body say nothing that is asked for."""
        if self._phase == HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the lane have a plain request, and the general path all others."""
        if self._is_deaf:
            return
        if self.parser.should_upgrade():
            self._upgrades = True
            return
        if (fault := self._fault()) is not None:
            self._refuse(fault)
            return
        if self._is_free() and self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive():
            assert self._doors is not None  # noqa: S101 - asked by `_is_free`
            length = self._doors.lane.length(self.parser.get_method(), self.url, self.headers)
            if length is not None:
                self._length, self._body, self._phase = length, b"", LANE
                return
        self._hand_on()

    def _fault(self) -> InputError | None:
        """Return what is wrong with a head as such (RFC 9112, 3.2 and 6.1)."""
        names = [name for name, _ in self.headers]
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() == "1.1"):
            return MalformedInput(f"{names.count(b'host')} Host headers: a request has one")
        coded = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if coded and coded != [b"chunked"]:
            return MalformedInput("a Transfer-Encoding other than chunked is not read here")
        return None

    def _hand_on(self) -> None:
        """Replay a head to the general path."""
        if self._is_answering() and len(self.pipeline) >= MOST_QUEUED:
            self._is_deaf = True  # what is queued is answered, and then the connection is closed
            self.cycle.keep_alive = False
            return
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers += headers
        self._phase = GENERAL
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect or hand on a part of a body."""
        self._delivered += len(body)
        if self._phase == LANE:
            self._body = self._body + body if self._body else body
        elif self._phase == GENERAL:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, or let the general path know that a request is whole."""
        phase, self._phase = self._phase, IDLE
        self._fed = self._delivered = 0
        if phase == LANE:
            self._answer_plain()
        elif phase == GENERAL:
            super().on_message_complete()
        if self._doors is not None:
            self._since = self._doors.tick

    def _answer_plain(self) -> None:
        assert self._doors is not None  # noqa: S101 - the lane has taken the request
        given = next((value for name, value in self.headers if name == b"x-request-id"), b"")
        answer = self._doors.lane.answer(self._body, given, self.server_state.default_headers)
        if answer is None:
            self._replay()
            super().on_message_complete()
            self._phase = IDLE
        else:
            self._write(answer, 1)
            self._plain = (self._length, given)

    def _replay(self) -> None:
        """Hand on a request that the lane has begun with."""
        body, self._body = self._body, b""
        self._hand_on()
        if body:
            super().on_body(body)

    def _go_on(self, data: bytes, offset: int) -> None:
        """Ignore that a client would rather speak another protocol, and read its body (RFC 9110, 7.8)."""
        if not self._upgrades:
            return
        self._upgrades = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in (b"upgrade", b"http2-settings")]
        self.parser = httptools.HttpRequestParser(self)
        head = b"\r\n".join(line for line in lines if not line.startswith(b"connection:")) + b"\r\n\r\n"
        self._phase = IDLE
        self._fed = self._delivered = 0
        self.data_received(head + data[offset:])

    # What it does by itself

    def look(self) -> None:
        """See whether a clock has run out."""
        assert self._doors is not None  # noqa: S101 - these are looked at
        waited = self._doors.tick - self._since
        if self._phase == LANE and waited > BODY_TICKS:
            self._phase = GENERAL
            self._replay()
        elif self._phase == HEAD and waited > HEAD_TICKS:
            self._refuse(BodyTimeout(f"the head of the request did not arrive within {HEAD_TICKS * TICK_S:g} s"))
        elif self._phase == IDLE and waited > self._patience(self._doors) and not self._is_answering():
            self.transport.close()
        self._look_at_what_is_unread()

    def _patience(self, doors: Doors) -> int:
        was_asked = self._served or bool(self.cycle)
        return doors.keep_alive_ticks if was_asked else SILENT_TICKS

    def _look_at_what_is_unread(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stuck = self._stuck + 1 if unsent and unsent == self._unsent else 0
        self._unsent = unsent
        if self._stuck >= STUCK_TICKS:
            self.transport.abort()

    def shutdown(self) -> None:
        """Finish what has begun."""
        if self._phase == LANE:
            self._replay()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer what uvicorn finds wrong."""
        self._refuse(MalformedInput(msg))

    def _refuse(self, error: InputError) -> None:
        """Answer that a request cannot be read, behind what is being answered, and close the connection."""
        if self._is_deaf:
            return
        self._is_deaf = True
        if self._is_answering() and (self.pipeline or self._phase != GENERAL or self.cycle.response_started):
            self.cycle.keep_alive = False  # what is being answered is, and nothing behind it
            return
        self.transport.write(_refusal(kind_of(error), error.detail, self.server_state.default_headers))
        self.transport.close()


def _refusal(kind: Kind, detail: str, common: Headers) -> bytes:
    identity = request_id(b"")
    content = to_bytes(problem(kind, detail, request_id=identity.decode()))
    headers = [
        *common,
        (b"content-length", b"%d" % len(content)),
        (b"content-type", b"application/problem+json"),
        (b"x-request-id", identity),
        NO_SNIFFING,
        *NO_KEEPING,
        (b"connection", b"close"),
    ]
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"HTTP/1.1 %d %b\r\n" % (kind.status, kind.title.encode()) + b"".join(lines) + b"\r\n" + content
