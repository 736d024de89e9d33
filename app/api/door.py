"""The door: what every connection passes through, before there is a request that anything could be asked about.

It is uvicorn's own protocol with two things more. It guards: headers, trailers, queued requests and unread answers of a
connection have limits, and clocks run for whoever sends nothing, sends slowly or does not read. And it hands plain
predictions to the express lane, which answers them at once; all else, whatever is special about it, is replayed to
uvicorn's code as if it had come there first.

Under other servers, or a uvicorn that this was not written for, the general path answers everything; `app.cli.serve`
chooses.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api import doors as clocks
from app.api.doors import LONGEST_HEAD, Doors, doors_of
from app.api.express import Headers
from app.api.headers import NO_KEEPING, NO_SNIFFING
from app.api.limits import MOST_HEADERS
from app.api.request_id import request_id
from app.errors import BodyTimeout, HeadersTooLarge, InputError
from app.wire.json_body import to_bytes
from app.wire.problems import kind_of, problem

HEAD_TICKS = 10
"""How long a request's head may take."""
SILENT_TICKS = 60
"""How long a connection may stay without a first request."""
BODY_TICKS = 1
"""How long the lane waits for a body; the general path has a clock of its own."""
STUCK_TICKS = 30
"""How long a client may leave an answer unread."""
LINGER_TICKS = 2
"""How long what still comes is thrown away before a connection is closed that cannot be read: the system would take the
answer back if it were closed at once (RFC 9112, 9.6)."""
MOST_AROUND = 80 * 1024
"""Bytes of a request that are no body: the path, headers and trailers, what frames chunks."""
AROUND_A_BYTE = 8
"""And so many more for each byte of a body, which may come in a chunk of its own."""
MOST_QUEUED = 50
"""Requests of a connection that may wait for the answer to one before them; what is behind them is not parsed yet."""
SLICE = 8 * 1024
"""Bytes that are parsed before it is asked how many requests they were."""
AT_ONCE = 64
"""Plain requests of a connection that are answered before others have their turn."""
NO_LINGER = struct.pack("ii", 1, 0)
"""As SO_LINGER: what is unsent at the end is thrown away."""
HEAD_END = b"\r\n\r\n"
HOP = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and options of Connection, of a client that would rather speak another protocol."""
IDLE, HEAD, LANE, GENERAL = range(4)
"""What a connection is at: between requests, in a head, in a body for the lane, in one for the general path."""

logger = logging.getLogger("orchard")


class Flow(FlowControl):
    """Lets nobody ask for more while some of what has come waits to be parsed."""

    is_held = False

    def resume_reading(self) -> None:
        """Read on, unless that has to wait."""
        if not self.is_held:
            super().resume_reading()


class Door(HttpToolsProtocol):
    """One connection."""

    flow: Flow
    _doors: Doors | None = None
    _phase = IDLE
    _since = 0
    """The tick at which it came to what it is at."""
    _around = 0
    """Bytes of this request beyond what its body accounts for."""
    _was_asked = False
    _is_deaf = False
    """Whether it cannot be read any further: what is being answered is, and then it is closed."""
    _upgrades = False
    _unsent = 0
    _stuck = 0
    _length = 0
    _body = b""
    _rest = b""
    """What has come and is not parsed yet."""
    _at_work: RequestResponseCycle | None = None
    """The request that is being answered; `cycle` is the last one that waits behind it."""
    _plain: int | None = None
    """The length of the body of a request that the lane has just answered, if its head may be known again."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._doors = doors_of(self.app)
        if self._doors is not None:
            self._doors.open.add(self)
            self._since = self._doors.tick

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._doors is not None:
            self._doors.open.discard(self)
        if self._phase == LANE:
            self._replay()  # which counts that its client has left
        self._rest = b""
        if self._at_work is not None and not self._at_work.response_complete:
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if not self._is_deaf:
            self._take(self._rest + data if self._rest else data)

    def _take(self, data: bytes) -> None:
        """Answer what is known at once, and parse the rest, no more of it at a time than may be queued."""
        self._rest = b""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._phase != GENERAL and self._doors is not None and self._doors.is_others_turn:
            self._hold(data)
            return
        if self._phase == IDLE and self._is_free():
            data, count = self._answered(data)
            if count == AT_ONCE and data:
                self._hold(data)
                return
        for start in range(0, len(data), SLICE):
            if len(self.pipeline) >= MOST_QUEUED or (start and self._phase != GENERAL and not self._is_answering()):
                self._hold(data[start:])
                return
            self._parse(data[start : start + SLICE])
            if self._is_deaf:
                return

    def _hold(self, rest: bytes) -> None:
        """Keep what is not parsed until others have had their turn, or until there is room in the queue."""
        self._rest = rest
        self.flow.is_held = True
        self.flow.pause_reading()
        if not self._is_answering() and not self.flow.write_paused:
            self.loop.call_soon(self._go_on)

    def _go_on(self, *, at_once: bool = False) -> None:
        """Take what was kept."""
        if at_once and self._doors is not None:
            self._doors.answered = 0
        if self._rest and self._doors is not None and self._doors.is_others_turn and not self._is_answering():
            self.loop.call_soon(self._go_on)
        elif self._rest and not self.transport.is_closing():
            self.flow.is_held = False
            self._take(self._rest)
            if not self._rest:
                self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with what waits for it."""
        if self._doors is not None:
            self._since = self._doors.tick
        super().on_response_complete()
        if self._rest and len(self.pipeline) <= MOST_QUEUED // 2:
            self.loop.call_soon(self._go_on)

    def resume_writing(self) -> None:
        """Go on with what waits for it."""
        super().resume_writing()
        if self._rest and not self._is_answering():
            self.loop.call_soon(self._go_on)

    def _parse(self, data: bytes) -> None:
        begins = self._phase == IDLE
        self._plain = None
        rest = b""
        self._around += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = self._not_upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InputError("the bytes received are not a request of HTTP/1.1"))
        self._around = max(0, self._around)
        if self._around > MOST_AROUND:
            self._refuse(
                HeadersTooLarge(f"more than {MOST_AROUND} bytes around the body: send fewer or shorter headers")
            )
        elif begins and self._plain is not None and self._doors is not None:
            head = data[: data.find(HEAD_END) + len(HEAD_END)]
            if len(data) == len(head) + self._plain:
                self._doors.remember(head, self._plain)
        while rest and not self._is_deaf:
            self._parse(rest[:SLICE])
            rest = rest[SLICE:]

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

    def _answered(self, data: bytes) -> tuple[bytes, int]:
        """Answer plain requests with a known head, one after the other; return what is left, and how many they were."""
        assert self._doors is not None  # noqa: S101 - asked by `_is_free`
        heads, start, answers = self._doors.heads, 0, list[bytes]()
        while len(answers) < AT_ONCE and (end := data.find(HEAD_END, start, start + LONGEST_HEAD)) >= 0:
            end += len(HEAD_END)
            length = heads.get(data[start:end])
            if length is None or end + length > len(data):
                break
            answer = self._asked(data[end : end + length], b"")
            if answer is None:
                break
            answers.append(answer)
            start = end + length
        if answers:
            self._write(answers[0] if len(answers) == 1 else b"".join(answers), len(answers))
        return data[start:] if start else data, len(answers)

    def _asked(self, body: bytes, given: bytes) -> bytes | None:
        """Return the lane's answer; None where the general path is to answer, which knows what to do with errors."""
        assert self._doors is not None  # noqa: S101 - there is a lane
        try:
            return self._doors.lane.answer(body, given, self.server_state.default_headers)
        except Exception:
            logger.exception("the express lane failed")
            return None

    def _write(self, answers: bytes, count: int) -> None:
        assert self._doors is not None  # noqa: S101 - the lane has answered
        self.transport.write(answers)
        self._doors.count(count)
        self.server_state.total_requests += count
        self._was_asked = True
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
        """Collect a header, one more than there may be; those behind a body say nothing that is asked for."""
        if self._phase == HEAD and len(self.headers) <= MOST_HEADERS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the lane have a plain request, and the general path all others."""
        if self._is_deaf:
            return
        if (fault := self._fault()) is not None:
            self._refuse(fault)
        elif self.parser.should_upgrade():
            self._upgrades = True
        elif (length := self._plain_length()) is not None:
            self._length, self._body, self._phase = length, b"", LANE
        else:
            self._hand_on()

    def _plain_length(self) -> int | None:
        """Return how long the body of a plain request is, None of one that is not for the lane."""
        if not (self._is_free() and self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()):
            return None
        assert self._doors is not None  # noqa: S101 - asked by `_is_free`
        return self._doors.lane.length(self.parser.get_method(), self.url, self.headers)

    def _fault(self) -> InputError | None:
        """Return what is wrong with a head as such (RFC 9110, 9.3.6; RFC 9112, 2.3, 3.2 and 6.1)."""
        version, upgrades = self.parser.get_http_version(), self.parser.should_upgrade()
        if version not in ("1.0", "1.1"):
            return InputError(f"HTTP/{version} is not spoken here: use HTTP/1.1")
        if upgrades and self.parser.get_method() == b"CONNECT":
            return InputError("this is no proxy: it connects to nothing")
        if len(self.headers) > MOST_HEADERS:  # not all of them are here: the general path says so
            return HeadersTooLarge(f"more than {MOST_HEADERS} headers: send fewer") if upgrades else None
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            return InputError(f"{hosts} Host headers: a request has one")
        coded = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if coded and (coded != [b"chunked"] or version == "1.0"):
            return InputError("a Transfer-Encoding other than chunked, or with HTTP/1.0, is not read here")
        return None

    def _hand_on(self) -> None:
        """Replay a head to the general path."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers += headers
        self._phase = GENERAL
        self._was_asked = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect or hand on a part of a body."""
        self._around -= len(body) * (1 + AROUND_A_BYTE)
        if self._phase == LANE:
            self._body = self._body + body if self._body else body
        elif self._phase == GENERAL and not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, or let the general path know that a request is whole."""
        if self._is_deaf:
            return
        phase, self._phase = self._phase, IDLE
        self._around = 0
        if self._doors is not None:
            self._since = self._doors.tick
        if phase == LANE:
            self._answer_plain()
        elif phase == GENERAL:
            super().on_message_complete()

    def _answer_plain(self) -> None:
        given = next((value for name, value in self.headers if name == b"x-request-id"), b"")
        answer = self._asked(self._body, given)
        if answer is None:
            self._replay()
            super().on_message_complete()
            self._phase = IDLE
        else:
            self._write(answer, 1)
            self._plain = None if given else self._length  # one with an id of its own does not come again
            self.headers, self._body = [], b""

    def _replay(self) -> None:
        """Hand on a request that the lane has begun with."""
        body, self._body = self._body, b""
        self._hand_on()
        if body:
            super().on_body(body)

    def _not_upgraded(self, rest: bytes) -> bytes:
        """Return a request whose client would rather speak another protocol, without that wish (RFC 9110, 7.8).

        ``rest``: what came behind its head, which the parser takes for that protocol.
        """
        if not self._upgrades or self._is_deaf:
            return b""
        self._upgrades = False
        asked = [self.parser.get_method(), self.url, b"HTTP/" + self.parser.get_http_version().encode()]
        lines = [b" ".join(asked)]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() not in HOP)  # noqa: PLW2901
            if name not in HOP and (value or name != b"connection"):
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._phase = IDLE
        return b"\r\n".join(lines) + HEAD_END + rest

    # What it does by itself

    def look(self) -> None:
        """See whether a clock has run out."""
        assert self._doors is not None  # noqa: S101 - these are looked at
        waited, is_answering = self._doors.tick - self._since, self._is_answering()
        if self._is_deaf:
            if waited > LINGER_TICKS and (not is_answering or self.cycle.disconnected):
                self.transport.close()
        elif self.flow.read_paused:
            self._since = self._doors.tick  # it waits for us
        elif self._phase == LANE and waited > BODY_TICKS:
            self._replay()
        elif self._phase == HEAD and waited > HEAD_TICKS:
            self._refuse(BodyTimeout(f"the head of the request did not arrive within {HEAD_TICKS * clocks.TICK_S:g} s"))
        elif self._phase in (IDLE, GENERAL) and not is_answering:
            if waited > (self._doors.keep_alive_ticks if self._was_asked else SILENT_TICKS):
                self.transport.close()
            elif waited and self._phase == IDLE:
                self.cycle = self.scope = self._at_work = None  # type: ignore[assignment] # as before the first request
                self.headers = []
        self._look_at_what_is_unread()

    def _look_at_what_is_unread(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stuck = self._stuck + 1 if unsent and unsent == self._unsent else 0
        self._unsent = unsent
        if self._stuck >= STUCK_TICKS:
            with contextlib.suppress(AttributeError, OSError):  # else the system would keep what it has of it
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()

    def shutdown(self) -> None:
        """Finish what has begun."""
        if self._phase == LANE:
            self._replay()
        while self._rest and not (self._is_answering() or self.flow.write_paused or self.transport.is_closing()):
            self._go_on(at_once=True)
        super().shutdown()

    def _refuse(self, error: InputError) -> None:
        """Answer that a request cannot be read, behind what is being answered, and close the connection."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self.flow.is_held = False
        if self._doors is not None:
            self._since = self._doors.tick
        is_answering = self._is_answering()
        if is_answering and (self.pipeline or self._phase != GENERAL or self.cycle.response_started):
            self.cycle.keep_alive = False  # what is being answered is, and nothing behind it
            return
        if self._phase == GENERAL and not is_answering:  # it has its answer: a second one would be taken for another's
            self.transport.close()
            return
        if is_answering:  # this is its answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_refusal(error, self.server_state.default_headers))
        if self._doors is None or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.flow.resume_reading()


def _refusal(error: InputError, common: Headers) -> bytes:
    kind, identity = kind_of(error), request_id(b"")
    content = to_bytes(problem(kind, error.detail, request_id=identity.decode()))
    headers = [
        *common,
        (b"content-length", b"%d" % len(content)),
        (b"content-type", b"application/problem+json"),
        (b"x-request-id", identity),
        NO_SNIFFING,
        *NO_KEEPING,
        (b"connection", b"close"),
    ]
    return STATUS_LINE[kind.status] + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + content
