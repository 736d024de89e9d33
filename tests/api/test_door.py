"""What a connection does with each byte, clock and limit, without a network: what it writes is looked at."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.api import door as module
from app.api import doors as clocks
from app.api.door import Door
from app.api.doors import Doors, doors_of
from app.cli.serve import protocol
from app.main import create_app
from app.serving.tally import Tally
from app.settings import Settings
from tests.running import DEADLINE_S, ONE_REGION
from tests.talking import chunked, request

SPECIAL = request(ONE_REGION, b"X-Other: 1")
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def test_the_installed_uvicorn_is_the_one_that_this_was_written_for(caplog: pytest.LogCaptureFixture) -> None:
    """Of a newer one, compare httptools_impl.py with this one's, run these tests, and change `WRITTEN_FOR`."""
    assert protocol(uvicorn.__version__) == "app.api.door:Door"
    assert caplog.records == []


@pytest.mark.parametrize("version", ["0.53.9", "0.55.0", "1.54.0", "0.540.1", ""])
def test_another_uvicorn_is_served_by_its_own_protocol(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """And it is said."""
    assert protocol(version) == "httptools"
    assert f"uvicorn {version} is not the one" in caplog.text


class Wire(asyncio.Transport):
    """A connection whose other side is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended: Any = ""
        self.unread = 0
        self.is_reading_now = True

    def write(self, data: Any) -> None:
        """Take what is written."""
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        """Close one half."""
        self.ended = "half"

    def can_write_eof(self) -> bool:
        """Say that it can."""
        return True

    def close(self) -> None:
        """Close it."""
        self.ended = "closed"

    def abort(self) -> None:
        """Cut it off."""
        self.ended = "aborted"

    def is_closing(self) -> bool:
        """Say whether it is closed."""
        return self.ended in {"closed", "aborted"}

    def pause_reading(self) -> None:
        """Stop reading."""
        self.is_reading_now = False

    def resume_reading(self) -> None:
        """Read on."""
        self.is_reading_now = True

    def get_write_buffer_size(self) -> int:
        """Return what the other side has not read."""
        return self.unread


class House:
    """A running application, and connections to it."""

    def __init__(self, app: Any, doors: Doors, tally: Tally) -> None:
        self.tally = tally
        self._config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        self.doors = doors
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"now")]

    def connect(self) -> tuple[Door, Wire]:
        """Return a new connection."""
        wire, door = Wire(), Door(self._config, self.state, {}, asyncio.get_running_loop())
        door.connection_made(wire)
        return door, wire

    def wait(self, ticks: int, *connections: Door) -> None:
        """Let so many ticks pass."""
        for _ in range(ticks):
            self.doors.tick += 1
            for door in connections:
                door.look()


Test = Callable[[House], Coroutine[Any, Any, None]]


@pytest.fixture
def run(trained: Path) -> Callable[[Test], None]:
    """Return what runs a test within a running application."""

    def running(test: Test) -> None:
        async def call() -> None:
            app = create_app(Settings(model_store=trained, hosts=("x",), body_timeout_s=60, keep_alive_s=20))
            async with app.router.lifespan_context(app):
                doors = doors_of(SimpleNamespace(app=app))
                assert doors is not None
                await test(House(app, doors, app.state.services.tally))

        asyncio.run(call())

    return running


def _is_busy(door: Door) -> bool:
    cycle: object = door.cycle
    return (
        door.flow.is_held
        or bool(vars(door).get("_rest"))
        or bool(door.pipeline)
        or bool(cycle and not door.cycle.response_complete)
    )


async def _settled(door: Door) -> None:
    """Wait until all is answered that can be: a body of 100 KB by a process that has to be started, at low priority."""
    for _ in range(int(1_000 * DEADLINE_S)):
        await asyncio.sleep(0.001)
        if not _is_busy(door):
            return
    raise TimeoutError


def _codes(wire: Wire) -> list[int]:
    """Return the statuses of the answers written, and forget them."""
    codes = [int(part[:3]) for part in wire.written.split(b"HTTP/1.1 ")[1:]]
    wire.written = b""
    return codes


def test_a_plain_request_is_answered_where_it_arrives(run: Callable[[Test], None]) -> None:
    """Before anything else has its turn; the second time by its head alone, which the parser does not see."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        for _ in range(2):
            door.data_received(request())
            assert _codes(wire) == [200]
            door.parser = None  # type: ignore[assignment]
        assert list(house.doors.heads.values()) == [len(ONE_REGION)]
        assert house.state.total_requests == 2

    run(test)


@pytest.mark.parametrize(
    "sent",
    [
        (request()[:100], request()[100:]),
        (request() + request(),),
        (request() + b"\r\n",),
        (request(ONE_REGION, b"X-Request-ID: 1"),),
        (request(ONE_REGION, b"User-Agent: " + b"x" * 2_048),),
        (SPECIAL,),
        (request(ONE_REGION, b"Connection: close"),),
        (request(b"{}"),),
        (chunked(),),
    ],
)
def test_which_heads_are_not_known_again(run: Callable[[Test], None], sent: tuple[bytes, ...]) -> None:
    """Only one that came alone, in one piece with exactly its body, and was answered by the lane."""

    async def test(house: House) -> None:
        door, _ = house.connect()
        for part in sent:
            door.data_received(part)
        await _settled(door)
        assert house.doors.heads == {}

    run(test)


def test_a_length_left_behind_makes_no_head_plain(run: Callable[[Test], None]) -> None:
    """A plain request in two parts, then a special one with a body as long: that one is not plain the next time."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        special = request(target=b"POST /predict?explain=true HTTP/1.1")
        door.data_received(request()[:-5])
        door.data_received(request()[-5:])
        for _ in range(3):
            door.data_received(special)
            await _settled(door)
        assert wire.written.count(b'"baseline"') == 3 * 2
        assert house.doors.heads == {}

    run(test)


def test_there_are_only_so_many_heads(run: Callable[[Test], None]) -> None:
    """Whoever sends another one every time takes no more memory."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        for number in range(2 * clocks.MOST_HEADS + 10):
            door.data_received(request(ONE_REGION, b"User-Agent: %d" % number))
            await asyncio.sleep(0)
        assert len(house.doors.heads) == 10
        assert set(_codes(wire)) == {200}

    run(test)


def test_an_error_of_the_lane_is_the_general_paths(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the request is answered all the same, whether its head is known or not."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request())

        def fail(*_: object) -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(house.doors.lane, "answer", fail)
        for parts in ((request(),), (request()[:9], request()[9:])):
            for part in parts:
                door.data_received(part)
            await _settled(door)
        assert _codes(wire) == [200] * 3
        assert "the express lane failed" in caplog.text

    run(test)


def test_a_crowd_on_one_connection_lets_others_in_between(run: Callable[[Test], None]) -> None:
    """So many are answered at once; the rest waits, unread, for the others' turn."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request())
        assert _codes(wire) == [200]
        door.data_received(request() * 1_000)
        assert _codes(wire) == [200] * module.AT_ONCE
        assert not wire.is_reading_now
        await _settled(door)
        assert _codes(wire) == [200] * (1_000 - module.AT_ONCE)
        assert wire.is_reading_now

    run(test)


def test_a_crowd_of_connections_lets_others_in_between(run: Callable[[Test], None]) -> None:
    """So many are answered in one turn of the loop; the others keep their order, and none is lost at the end."""

    async def test(house: House) -> None:
        crowd = [house.connect() for _ in range(2 * clocks.A_TURN + 10)]
        for door, _ in crowd:
            door.data_received(request())
        assert [bool(wire.written) for _, wire in crowd] == [True] * clocks.A_TURN + [False] * (clocks.A_TURN + 10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert all(wire.written for _, wire in crowd[: 2 * clocks.A_TURN - clocks.A_TURN // 2])
        for door, _ in crowd:
            door.shutdown()
        assert [_codes(wire) for _, wire in crowd] == [[200]] * len(crowd)
        assert {wire.ended for _, wire in crowd} == {"closed"}

    run(test)


@pytest.mark.parametrize("one", [SPECIAL, HEALTH, chunked(), request(b"{}"), HEALTH + request()])
def test_what_is_behind_a_full_queue_waits(run: Callable[[Test], None], one: bytes) -> None:
    """It is not parsed, and no more is read, before there is room; nothing is lost."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(one * 1_500)
        assert len(door.pipeline) <= module.MOST_QUEUED + module.SLICE // 40
        assert not wire.is_reading_now
        door.flow.resume_reading()  # as requests do when they wait for their bodies
        assert not wire.is_reading_now
        await _settled(door)
        assert len(_codes(wire)) == 1_500 * (1 + (one == HEALTH + request()))
        assert wire.is_reading_now

    run(test)


def test_answers_that_are_not_read_hold_up_the_rest(run: Callable[[Test], None]) -> None:
    """And it goes on when they have been."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request())
        door.data_received(request() * 200)
        door.pause_writing()
        for _ in range(5):
            await asyncio.sleep(0.01)
        before = len(_codes(wire))
        assert before <= 2 + 2 * module.AT_ONCE
        assert not wire.is_reading_now
        door.resume_writing()
        await _settled(door)
        assert before + len(_codes(wire)) == 201

    run(test)


WRONG = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n" * 3, 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    "a space before a colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "an encoding of its own": (request(b"", b"Transfer-Encoding: gzip").replace(b"Content-Length: 0\r\n", b""), 400),
    "gzip, chunked": (request(b"", b"Transfer-Encoding: gzip, chunked").replace(b"Content-Length: 0\r\n", b""), 400),
    "chunked twice": (chunked(ONE_REGION, b"Transfer-Encoding: chunked"), 400),
    "chunks by HTTP/1.0": (chunked().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "a length and chunks": (request(ONE_REGION, b"Transfer-Encoding: chunked"), 400),
    "bytes over 127 in the path": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "upgraded, with too many headers": (
        request(ONE_REGION, b"Connection: upgrade", b"Upgrade: h2c", *[b"A: b"] * 100),
        431,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_request_gets_a_problem(run: Callable[[Test], None], name: str) -> None:
    """With our headers; nothing more is read, and the connection is closed a moment later."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        sent, code = WRONG[name]
        door.data_received(sent)
        await asyncio.sleep(0)
        head, _, body = wire.written.partition(b"\r\n\r\n")
        assert _codes(wire) == [code]
        for header in (b"date: now", b"x-content-type-options: nosniff", b"cache-control: no-store", b"x-request-id: "):
            assert b"\r\n" + header in head
        assert b"\r\nconnection: close" in head
        assert f'"status":{code}'.encode() in body
        assert wire.ended == "half"
        door.data_received(request() * 10)
        assert wire.written == b""
        house.wait(module.LINGER_TICKS, door)
        assert wire.ended == "half"
        house.wait(1, door)
        assert wire.ended == "closed"

    run(test)


def test_what_is_wrong_behind_others_takes_nothing_from_them(run: Callable[[Test], None]) -> None:
    """They are answered, and then the connection is closed; so is one whose request was wrong after its answer."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(SPECIAL * 3 + b"hello\r\n\r\n")
        await _settled(door)
        assert _codes(wire) == [200] * 3
        assert wire.ended == "closed"
        door, wire = house.connect()
        door.data_received(request() * 2 + b"hello\r\n\r\n")
        assert _codes(wire) == [200, 200, 400]
        door, wire = house.connect()
        door.data_received(chunked(target=b"GET /health/live")[:-20])
        await _settled(door)
        assert _codes(wire) == [200]
        door.data_received(b"zzzz\r\n")
        assert (wire.written, wire.ended) == (b"", "closed")

    run(test)


def test_a_body_that_is_wrong_has_one_answer(run: Callable[[Test], None]) -> None:
    """400, while the general path waits for the rest of it: that one is told that its client has left."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(chunked(ONE_REGION, b"X-Other: 1")[:-20])
        await asyncio.sleep(0.02)
        door.data_received(b"zzzz\r\n")
        await asyncio.sleep(0.05)
        assert _codes(wire) == [400]
        assert not house.state.tasks

    run(test)


MUCH: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
    "one header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"xxxxxxxx"),
    "one name of a header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A", b"xxxxxxxx"),
    "a path": (b"GET /", b"xxxxxxxx"),
    "empty lines": (b"", b"\r\n\r\n\r\n\r\n"),
    "trailers": (chunked(ONE_REGION)[:-2], b"X-A: b\r\n"),
    "one trailer": (chunked(ONE_REGION)[:-2] + b"X-A: ", b"xxxxxxxx"),
    "trailers of a long body": (chunked(b" " * 1_000_000, size=1_000)[:-2], b"X-A: b\r\n"),
    "what extends a chunk": (chunked(ONE_REGION)[:-5] + b"1;", b"xxxxxxxx"),
    "headers of one that would upgrade": (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
        b"A: b\r\n",
    ),
}


@pytest.mark.parametrize("name", MUCH)
def test_what_is_around_a_body_has_an_end(run: Callable[[Test], None], name: str) -> None:
    """Whatever it is, and however long the body was: 431, of 100 KB."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        begin, more = MUCH[name]
        door.data_received(begin)
        sent = 0
        for _ in range(200):
            door.data_received(more * (1_000 // len(more)))
            sent += 1_000
            if wire.ended:
                break
        assert _codes(wire) == [431]
        assert 80_000 < sent < 110_000
        assert len(door.headers or []) <= 101

    run(test)


@pytest.mark.parametrize("size", [1, 2, 7, 4_000])
def test_a_body_may_come_in_any_chunks(run: Callable[[Test], None], size: int) -> None:
    """Of a byte each, too, however long it is."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        whole = chunked(ONE_REGION + b" " * 100_000, size=size)
        for start in range(0, len(whole), 50_000):
            door.data_received(whole[start : start + 50_000])
            await asyncio.sleep(0)
        await _settled(door)
        assert _codes(wire) == [200]

    run(test)


UPGRADES = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]


def test_a_wish_for_another_protocol_is_passed_over(run: Callable[[Test], None]) -> None:
    """With a body of a length and in chunks, cut anywhere, many at once; the rest of Connection counts."""

    async def test(house: House) -> None:
        for whole in (request(ONE_REGION, *UPGRADES), chunked(ONE_REGION, *UPGRADES), SPECIAL):
            for place in range(1, len(whole), 7):
                door, wire = house.connect()
                door.data_received(whole[:place])
                door.data_received(whole[place:] + request())
                await _settled(door)
                assert _codes(wire) == [200, 200]
        door, wire = house.connect()
        door.data_received(request(ONE_REGION, *UPGRADES) * 500)
        await _settled(door)
        assert _codes(wire) == [200] * 500
        door.data_received(request(ONE_REGION, b"Connection: close, upgrade", b"Upgrade: h2c"))
        await _settled(door)
        assert b"\r\nconnection: close\r\n" in wire.written
        assert wire.ended == "closed"

    run(test)


def test_the_clock_of_a_head(run: Callable[[Test], None]) -> None:
    """From its first byte, whatever comes of it; not while nothing is read because of an answer before it."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        house.wait(5, door)
        for byte in b"GET / HTTP":
            assert not wire.written
            door.data_received(bytes([byte]))
            house.wait(1, door)
        assert not wire.written
        house.wait(1, door)
        assert _codes(wire) == [408]
        door, wire = house.connect()
        door.data_received(SPECIAL * 2 + HEALTH[:20])
        house.wait(100, door)
        await _settled(door)
        door.data_received(HEALTH[20:])
        await _settled(door)
        assert _codes(wire) == [200] * 3

    run(test)


def test_the_clock_of_silence(run: Callable[[Test], None]) -> None:
    """Until a first request, and between two; from the end of an answer on, however long that took."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        house.wait(module.SILENT_TICKS, door)
        assert not wire.ended
        house.wait(1, door)
        assert (wire.ended, wire.written) == ("closed", b"")
        for sent in (request(), SPECIAL):
            door, wire = house.connect()
            door.data_received(sent)
            house.wait(100, door)  # it takes its time, if it is not answered at once
            if sent == SPECIAL:
                await _settled(door)
            else:
                assert wire.ended == "closed"
                door, wire = house.connect()
                door.data_received(sent)
            house.wait(20, door)
            assert not wire.ended
            door.data_received(b"\r\n")
            house.wait(1, door)
            assert wire.ended == "closed"

    run(test)


def test_the_rest_of_a_body_that_was_answered_is_not_waited_for(run: Callable[[Test], None]) -> None:
    """For as long as for the next request, and no longer, whatever trickles in."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request(b"x", target=b"POST /nothing HTTP/1.1", length=1_000))
        await _settled(door)
        assert _codes(wire) == [404]
        for _ in range(21):
            assert not wire.ended
            door.data_received(b"x")
            house.wait(1, door)
        assert wire.ended == "closed"

    run(test)


def test_a_slow_body_is_the_general_paths(run: Callable[[Test], None]) -> None:
    """After two ticks, with what has come of it; the rest of it is answered when it comes."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        whole = request()
        for part in (whole[:-30], whole[-30:-20]):
            door.data_received(part)
        house.wait(1, door)
        assert not house.state.tasks
        house.wait(1, door)
        assert len(house.state.tasks) == 1
        await asyncio.sleep(0.01)
        door.data_received(whole[-20:])
        await _settled(door)
        assert _codes(wire) == [200]

    run(test)


def test_a_body_that_is_on_its_way_at_the_end_is_waited_for(run: Callable[[Test], None]) -> None:
    """Then its connection is closed; an idle one is at once; requests that have come are answered."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request()[:-10])
        door.shutdown()
        assert not wire.ended
        door.data_received(request()[-10:])
        await _settled(door)
        assert b"\r\nconnection: close\r\n" in wire.written
        assert (_codes(wire), wire.ended) == ([200], "closed")
        door, wire = house.connect()
        door.data_received(request())
        door.data_received(request() * 200)
        door.shutdown()
        assert (_codes(wire), wire.ended) == ([200] * 201, "closed")

    run(test)


def test_the_clock_of_writing(run: Callable[[Test], None]) -> None:
    """Who reads nothing at all for so long is cut off; who reads a little is not."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request())
        for unread in range(1_000, 900, -1):
            wire.unread = unread
            door.data_received(request())
            house.wait(1, door)
        assert not wire.ended
        house.wait(module.STUCK_TICKS - 1, door)
        assert wire.ended in {"", "closed"}  # idle connections are closed, which waits for what is unread
        house.wait(1, door)
        assert wire.ended == "aborted"

    run(test)


HELD: list[Any] = [None, [], None]


def test_an_idle_connection_holds_no_request(run: Callable[[Test], None]) -> None:
    """A head of 60 KB is let go of once it is answered, on both paths."""

    async def test(house: House) -> None:
        for sent in (request(ONE_REGION, b"Cookie: " + b"x" * 60_000), SPECIAL):
            door, wire = house.connect()
            door.data_received(sent)
            await _settled(door)
            house.wait(2, door)
            assert [value for name, value in vars(door).items() if name in {"cycle", "scope", "headers"}] == HELD
            door.data_received(sent)
            await _settled(door)
            assert _codes(wire) == [200, 200]

    run(test)


def test_who_leaves_in_the_middle_is_counted(run: Callable[[Test], None]) -> None:
    """As on the general path: 499."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(request()[:-10])
        door.connection_lost(None)
        assert door not in house.doors.open
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not house.state.tasks
        assert wire.written == b""
        counts = house.tally.totals({}).durations
        assert sum(counts["requests", ("/predict", "POST", "499")].buckets) == 1

    run(test)


def test_who_leaves_behind_many_requests_is_told_once(
    run: Callable[[Test], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The request that is being answered is given up, and those behind it are never begun."""

    async def test(house: House) -> None:
        door, wire = house.connect()
        door.data_received(SPECIAL * 100)
        door.connection_lost(None)
        wire.ended = "closed"  # from now on nothing may be written
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not house.state.tasks
        assert wire.written == b""
        assert "Traceback" not in caplog.text

    run(test)


def test_one_broken_connection_stops_no_clock(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, once."""
    monkeypatch.setattr(clocks, "TICK_S", 0.001)

    async def test(house: House) -> None:
        looked = []

        class Broken:
            def look(self) -> None:
                raise RuntimeError("broken")

        class Whole:
            def look(self) -> None:
                looked.append(house.doors.tick)

        house.doors.open |= {Broken(), Whole()}
        watching = asyncio.create_task(house.doors.watch())
        while len(looked) < 3:  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.001)
        watching.cancel()
        house.doors.open.clear()
        assert [record.levelno for record in caplog.records if "clocks" in record.message] == [logging.ERROR]

    run(test)


def test_another_application_has_no_lane() -> None:
    """The class serves it all the same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def test() -> None:
        house = House(app, cast("Doors", None), cast("Tally", None))
        door, wire = house.connect()
        door.data_received(request() + b"\r\n" + HEALTH)
        await _settled(door)
        door.data_received(b"hello\r\n\r\n")
        assert _codes(wire) == [204, 204, 400]
        assert wire.ended == "closed"
        door.connection_lost(None)

    asyncio.run(test())
