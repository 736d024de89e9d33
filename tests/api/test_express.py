"""The express lane answers byte for byte as the general path, or leaves the request to it: over real connections.

The same request is sent once as it is and once with a header that the lane does not know, which goes the general way.
"""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.tables import Table, parse_observations
from tests.panels import learned, surprised, with_effects
from tests.running import ONE_REGION, Running, connections, copy_store, serving, until
from tests.talking import Answer, Talk, chunked, cut, request, talk

KINDS = ("tutorial", "two spreads", "effects", "a record", "no humidity", "effects, no rainfall", "one humidity")


@pytest.fixture(scope="module", params=KINDS)
def asked(request: pytest.FixtureRequest, tutorial: Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """Return connections to services of the same rows and of different rows, with effects, and with wider intervals.

    And of rows that lack a feature, or have one value of it.
    """
    store = tmp_path_factory.mktemp("store") / "store"
    if request.param == "a record":
        surprised(store)
    else:
        tables = {
            "tutorial": tutorial,
            "two spreads": _two_spreads(),
            "effects": with_effects(),
            "no humidity": _with(tutorial, 2, np.nan),
            "effects, no rainfall": _with(with_effects(), 1, np.nan),
            "one humidity": _with(tutorial, 2, 55.0),
        }
        learned(tables[request.param], store)
    with serving(store) as running, talk(running) as one:
        yield one


def _with(table: Table, column: int, value: float) -> Table:
    weather = table.weather.copy()
    weather[:, column] = value
    return replace(table, weather=weather)


def _two_spreads() -> Table:
    text = (Path(__file__).parent.parent.parent / "app" / "data" / "tutorial.csv").read_text().splitlines()
    rows = [line.split(",") for line in text]
    for row in rows[10:]:
        row[5] = ""  # orange is reported by nine rows only
    return parse_observations("\n".join(",".join(row) for row in rows).encode())


SAME, SPECIAL = b"X-Request-ID: same", b"X-Other: 1"
number = st.one_of(
    st.floats(-200, 200), st.floats(), st.integers(-40_000, 40_000), st.booleans(), st.text(max_size=3), st.none()
)
region = st.one_of(st.none(), st.text(max_size=210), st.integers())
likely = {"temperature": st.floats(-130, 140), "rainfall": st.floats(0, 30_000), "humidity": st.floats(0, 100)}
inside = {"temperature": st.floats(66, 105), "rainfall": st.floats(0, 140), "humidity": st.integers(34, 73)}
bodies = st.one_of(
    st.fixed_dictionaries(likely, optional={"region": st.text(max_size=200)}),
    st.fixed_dictionaries(inside, optional={"region": st.text(max_size=20)}),
    st.fixed_dictionaries(inside, optional={"region": st.sampled_from(["A", "I", "Z", "", 7, -2026, True, 2**60])}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(likely, number) | {"region": region, "extra": number}),
)


@given(bodies)
@settings(max_examples=200)
def test_both_paths_answer_the_same_bytes(asked: Talk, body: dict[str, Any]) -> None:
    """Status, headers and body are the same on both paths, for valid and invalid regions alike."""
    content = json.dumps(body).encode()
    quick = asked.ask(request(content, SAME))
    assert quick == asked.ask(request(content, SAME, SPECIAL))
    known_again = asked.ask(request(content))
    assert (known_again.status, known_again.code == 200) == (quick.status, known_again.body == quick.body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"temperature": NaN}', b'{"regions": []}'])
def test_unreadable_bodies_are_answered_alike(asked: Talk, body: bytes) -> None:
    """What is not a region is left to the general path, whole."""
    quick = asked.ask(request(body, SAME))
    assert quick == asked.ask(request(body, SAME, SPECIAL))
    assert quick.code in {400, 422}


HEADERS = [
    [],
    [b"content-type: application/json; charset=utf-8"],
    [b"content-type: text/csv"],
    [b"content-type: text/plain"],
    [b"accept: text/csv"],
    [b"accept: image/png"],
    [b"accept: application/json, */*"],
    [b"accept: application/json;q=0"],
    [b"accept: */*", b"accept: text/csv"],
    [b"content-encoding: gzip"],
    [b"origin: https://elsewhere.example"],
    [b"authorization: Bearer wrong"],
    [b"cookie: a=b", b"user-agent: test", b"accept-encoding: gzip"],
    [b"x-forwarded-for: 192.0.2.1", b"x-forwarded-proto: https", b"forwarded: for=192.0.2.1"],
    [b"connection: keep-alive"],
    [b"connection: Keep-Alive"],
    [b"connection: x-other"],
    [b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
]


@pytest.mark.parametrize("headers", HEADERS)
def test_other_headers_are_answered_alike(reading: Running, headers: list[bytes]) -> None:
    """Content types, Accept, origins, encodings make no difference between the paths."""
    typed = b"" if any(header.startswith(b"content-type") for header in headers) else b"Content-Type: text/json\r\n"
    for untyped in (b"", typed):
        with talk(reading) as one:
            quick = one.ask(request(ONE_REGION, SAME, *headers, typed=untyped))
            assert quick == one.ask(request(ONE_REGION, SAME, SPECIAL, *headers, typed=untyped))


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"POST /predict?" + query
            for query in (
                b"",
                b"level=0.8",
                b"explain=true",
                b"version=1",
                b"version=9",
                b"effects=some",
                b"exact=true",
            )
        ),
        b"POST /predict/",
        b"POST //predict",
        b"POST /predict#a",
        b"POST http://x/predict",
        b"POST /predic%74",
        b"GET /predict",
        b"PUT /predict",
        b"OPTIONS /predict",
        b"POST /predictions",
        b"POST /v2/models/yield/infer",
    ],
)
def test_other_addresses_are_answered_alike(reading: Running, target: bytes) -> None:
    """Queries, methods and other ways to write the path; nothing of them is taken for a plain request."""
    with talk(reading) as one:
        first = one.ask(request(target=target + b" HTTP/1.1"))
        for _ in range(2):
            head = request(length=len(ONE_REGION))[: -len(ONE_REGION)]
            assert one.ask(head, ONE_REGION).code == 200  # of which the next one must remember nothing
            quick = one.ask(request(ONE_REGION, SAME, target=target + b" HTTP/1.1"))
            assert quick == one.ask(request(ONE_REGION, SAME, SPECIAL, target=target + b" HTTP/1.1"))
            assert quick.status == first.status
            again = one.ask(request(target=target + b" HTTP/1.1"))
            assert again.status == first.status
            if again.code == 200:
                assert again.body == first.body


def test_a_head_gets_no_body(reading: Running) -> None:
    """HEAD where there is only POST, and where there is GET; the next request is answered as ever."""
    for path, code in ((b"/retrain", 405), (b"/health/live", 200)):
        with talk(reading) as one:
            one.send(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert one.answer(to_head=True).code == code
            assert one.ask(request()).code == 200


def _plain(one: Talk) -> Answer:
    return one.ask(request(ONE_REGION, SAME, SPECIAL))


def test_a_request_is_cut_at_every_byte(reading: Running) -> None:
    """In two parts, wherever the cut is, and byte by byte; with an id of its own and with a head that is known."""
    whole, without = request(ONE_REGION, SAME), request()
    with talk(reading) as one:
        expected = _plain(one)
        for place in range(1, len(whole)):
            assert one.ask(whole[:place], whole[place:]) == expected
        for place in range(1, len(without)):
            assert one.ask(without[:place], without[place:]).body == expected.body
        assert one.ask(*(whole[place : place + 1] for place in range(len(whole)))) == expected
        together = whole + request(b"{}", SAME) + whole
        for place in range(1, len(together), 3):
            one.send(together[:place], together[place:])
            first, second, third = one.answers(3)
            assert (first, second.code, third) == (expected, 422, expected)


def _menu(name: bytes) -> st.SearchStrategy[bytes]:
    """Return requests of all kinds, in which their answers can be told by a name."""
    identity = b"X-Request-ID: " + name
    region = ONE_REGION.replace(b'"A"', b'"%b"' % name)
    return st.sampled_from(
        [
            request(region),
            request(region),
            request(region),
            request(region, identity),
            request(region, SPECIAL),
            request(region, target=b"POST /predict?level=0.5 HTTP/1.1"),
            request(b'{"region": 1}', identity),
            request(b"{", identity),
            request(b'{"regions": [%b]}' % region),
            request(region + b" " * 5_000),
            chunked(region),
            chunked(region, identity, size=1),
            request(region, b"Expect: 100-continue", b"Content-Encoding: br", identity),
            request(region, identity, host=b"Host: elsewhere.example\r\n"),
            request(b"", identity, target=b"GET /health/live HTTP/1.1"),
            request(b"", identity, target=b"GET /nothing HTTP/1.1"),
            b"\r\n" + request(region, b"Connection: Upgrade", b"Upgrade: h2c"),
        ]
    )


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Return requests, and where what is sent of them is cut."""
    count = draw(st.one_of(st.integers(2, 10), st.integers(2, 60), st.just(60)))
    asked = [draw(_menu(b"n%d" % number)) for number in range(count)]
    return asked, draw(st.lists(st.integers(0, sum(map(len, asked))), max_size=4))


def _told(answer: Answer) -> tuple[Any, ...]:
    """Return an answer without an id that was made up for it, which is longer, the more there were before."""
    made_up = re.compile(rb"\b[0-9a-f]{12}-[0-9a-f]+\b")
    body = made_up.sub(b"", answer.body)
    longer = len(answer.body) - len(body)
    headers = [
        (name, b"%d" % (int(value) - longer) if name == b"content-length" else made_up.sub(b"", value))
        for name, value in answer.headers
    ]
    return answer.status, tuple(headers), body


@pytest.mark.long
@given(conversations())
@settings(max_examples=60)
def test_many_at_once_are_answered_one_by_one(reading: Running, conversation: tuple[list[bytes], list[int]]) -> None:
    """In one part or several, plain ones and all others: each has the answer that it has alone, and in its turn."""
    asked, places = conversation
    with talk(reading) as one:
        alone = [_told(one.ask(each)) for each in asked]
    with talk(reading) as one:
        one.send(*cut(b"".join(asked), places))
        assert [_told(answer) for answer in one.answers(len(asked))] == alone
        assert one.is_open()


@pytest.mark.parametrize("sent", [request(), request(ONE_REGION, SPECIAL), request() + request(b"{}")])
def test_a_thousand_at_once(reading: Running, sent: bytes) -> None:
    """More than are queued: what does not fit waits, and nothing is lost."""
    each = sent.count(b"POST")
    with talk(reading) as one:
        one.send(sent)
        alone = [_told(answer) for answer in one.answers(each)]
        one.send(sent * 1_000)
        assert [_told(answer) for answer in one.answers(1_000 * each)] == alone * 1_000
        assert one.is_open()


FORMS: dict[str, tuple[bytes, int, bool]] = {
    "HTTP/1.0": (request(ONE_REGION, SAME, target=b"POST /predict HTTP/1.0"), 200, False),
    "HTTP/1.0 without a Host": (request(ONE_REGION, SAME, target=b"POST /predict HTTP/1.0", host=b""), 200, False),
    "HTTP/1.0 that keeps alive": (
        request(ONE_REGION, SAME, b"Connection: keep-alive", target=b"POST /predict HTTP/1.0"),
        200,
        False,
    ),
    "closing": (request(ONE_REGION, SAME, b"Connection: close"), 200, False),
    "another host": (request(ONE_REGION, SAME, host=b"Host: elsewhere.example\r\n"), 421, True),
    "no host": (request(ONE_REGION, SAME, host=b""), 400, False),
    "two hosts": (request(ONE_REGION, SAME, host=b"Host: x\r\nHost: x\r\n"), 400, False),
    "two hosts and HTTP/1.0": (
        request(ONE_REGION, SAME, host=b"Host: x\r\nHost: y\r\n", target=b"POST /predict HTTP/1.0"),
        400,
        False,
    ),
    "an empty host": (request(ONE_REGION, SAME, host=b"Host:\r\n"), 200, True),
    "a long body": (request(ONE_REGION + b" " * 4_096, SAME), 200, True),
    "the longest body of the lane": (request(ONE_REGION.ljust(4_096), SAME), 200, True),
    "a body in chunks": (chunked(ONE_REGION, SAME), 200, True),
    "a body in chunks of a byte": (chunked(ONE_REGION, SAME, size=1), 200, True),
    "no length": (request(ONE_REGION, SAME).replace(b"Content-Length: 66\r\n", b"")[: -len(ONE_REGION)], 400, True),
    "the length 0": (request(b"", SAME), 400, True),
    "a length with a zero before it": (
        request(ONE_REGION, SAME).replace(b"Length: ", b"Length: 00"),
        200,
        True,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_a_request(reading: Running, name: str) -> None:
    """Each is answered as with a header more, and the connection is left open or closed as it should."""
    sent, code, stays = FORMS[name]
    found = []
    for each in (sent, sent.replace(SAME, SAME + b"\r\n" + SPECIAL)):
        with talk(reading) as one:
            answer = one.ask(each)
            assert answer.code == code
            found.append(answer if code != 400 or stays else answer.status)
            if stays:
                assert one.is_open()
            else:
                assert answer.header(b"connection") == b"close"
                assert one.is_closed()
    assert found[0] == found[1]


def test_who_expects_to_be_told_to_go_on_is_told(reading: Running) -> None:
    """Expect: 100-continue is answered before the body is sent, and the prediction after it."""
    with talk(reading) as one:
        expected = _plain(one)
        assert one.ask(request(b"", SAME, b"Expect: 100-continue", length=len(ONE_REGION))).code == 100
        assert one.ask(ONE_REGION) == expected
        assert one.is_open()


@pytest.mark.parametrize("count", [1, 60])
def test_half_closed_connections(reading: Running, count: int) -> None:
    """Who sends and closes its side gets the lane's answers.

    On the general path it is one that has left as soon as that is seen: it gets its answer whole, or none.
    """
    with talk(reading) as one:
        one.send(request() * count)
        one.socket.shutdown(socket.SHUT_WR)
        assert [answer.code for answer in one.answers(count)] == [200] * count
        assert one.is_closed()
    with talk(reading) as one:
        one.send(request(ONE_REGION, SPECIAL))
        one.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(EOFError):
            assert one.answer().code == 200
        assert one.is_closed()


COUNTED = (
    "orchard_requests_total",
    "orchard_request_seconds_count",
    "orchard_predictions_total",
    "orchard_extrapolated_predictions_total",
    "orchard_asked_regions",
)


def _counts(running: Running) -> dict[str, float]:
    lines = [line for line in running.client.get("/metrics").text.splitlines() if line.startswith(COUNTED)]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "/metrics" not in name}


def test_counts_are_the_same(trained: Path, tmp_path: Path) -> None:
    """Of requests by status, predictions, those outside training and regions asked about; also of who left."""
    asked = [ONE_REGION, ONE_REGION.replace(b"75", b"125"), b"{", b'{"region": 1}', ONE_REGION] * 3
    left = 2
    added = []
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_LOG_LEVEL="debug") as running:
        for more in ([], [SPECIAL]):
            before = _counts(running)
            with talk(running) as one:
                for body in asked:
                    one.ask(request(body, *more))
                one.send(b"".join(request(body, *more) for body in asked))
                one.answers(len(asked))
            for _ in range(left):
                open_before = connections(running)
                with talk(running) as one:
                    one.send(request(ONE_REGION[:10], *more, length=len(ONE_REGION)))
                until(lambda open_before=open_before: connections(running) <= open_before)  # type: ignore[misc]
            until(lambda before=before: _status(running, before, "499") == left)  # type: ignore[misc]
            after = _counts(running)
            added.append({name: after[name] - before.get(name, 0.0) for name in after})
    assert added[0] == added[1]
    assert added[0]['orchard_requests_total{method="POST",route="/predict",status="200"}'] == 18
    assert added[0]['orchard_extrapolated_predictions_total{crop="mango"}'] == 6
    lines = (tmp_path / "store.log").read_text().splitlines()
    answered = [line for line in lines if "path=/predict" in line and "status=200" in line]
    assert 18 <= len(answered) <= 25  # so most plain ones were the lane's, but those behind an invalid one


def _status(running: Running, before: dict[str, float], status: str) -> float:
    name = f'orchard_requests_total{{method="POST",route="/predict",status="{status}"}}'
    return _counts(running).get(name, 0.0) - before.get(name, 0.0)
