"""The typed client: every call against a real service, and what it does when the service fails it."""

import asyncio
import inspect
import itertools
import json
import pydoc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import httpx
import pytest

from app.client import (
    AsyncOrchard,
    ClientError,
    Conflict,
    Orchard,
    Problem,
    RegionWeather,
    Rejected,
    ReportedSeason,
    ServiceEvent,
    Unavailable,
    Units,
    Unreachable,
    Unreadable,
)
from app.client.errors import retry_after
from app.client.events import Event, Events
from app.client.retries import LONGEST_WAIT_S
from app.data.provenance import Provenance
from app.model.progress import Step
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from app.training.report import Report
from app.wire.media_types import CSV, XLSX
from app.wire.schemas import HeldOutError, OnePrediction
from tests.running import DEADLINE_S, HARVEST, Running, copy_store, serving
from tests.workbooks import workbook_of

WEATHER: dict[str, Any] = {"temperature": 73.0, "rainfall": 67.0, "humidity": 43.0}
PREDICTION = OnePrediction(region=None, yields={}, extrapolated=False, warnings=[], model_version="1")
ROWS = [ReportedSeason.model_validate(row) for row in HARVEST["observations"]]
BUSY = {"title": "Too many requests at once", "status": 503, "detail": "busy", "code": "overloaded", "request_id": "r"}
RUNNING = BUSY | {"status": 409, "code": "retrain_running"}
TABLE = "region,season,temperature,rainfall,humidity,mango\nN,2026,73,67,43,56\nO,2026,91,88,64,81\n"

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tutorial: Any) -> Iterator[Running]:
    """Return a service with a model of the tutorial's rows."""
    store = tmp_path_factory.mktemp("client") / "store"
    job = Job(Settings(model_store=store))
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    job.close()
    with serving(store) as running:
        yield running


@pytest.fixture
def orchard(service: Running) -> Iterator[Orchard]:
    """Return a client with the token."""
    with Orchard(service.url, service.token) as client:
        yield client


def test_predictions_are_typed_in_every_shape(orchard: Orchard) -> None:
    """One region, several, columns and CSV give the same tons; level, explain and version are passed on."""
    one = orchard.predict(**WEATHER, region="A")
    assert one.region == "A"
    assert one.yields["mango"].tons == pytest.approx(57.3230998894851)
    assert one.yields["mango"].contributions is None
    many = orchard.predict_many([RegionWeather(**WEATHER), {"region": "B", **WEATHER}])
    assert [prediction.region for prediction in many.predictions] == [None, "B"]
    columns = orchard.predict_columns(temperature=[73, 91], rainfall=[67, 88], humidity=[43, 64], region=["A", None])
    table = orchard.predict_csv("region,temperature,rainfall,humidity\nA,73,67,43\n", level=0.8)
    cells = dict(zip(*(line.split(",") for line in table.splitlines()), strict=True))
    for tons in (many.predictions[1].yields["mango"].tons, columns.yields["mango"].tons[0], float(cells["mango_tons"])):
        assert tons == pytest.approx(57.3230998894851)
    explained = orchard.predict(**WEATHER, explain=True, level=0.5, version="1").yields["mango"]
    assert explained.contributions is not None
    assert explained.baseline is not None
    assert explained.baseline + sum(explained.contributions.values()) == pytest.approx(explained.tons)
    assert explained.high is not None
    assert one.yields["mango"].high is not None
    assert explained.high < float(cells["mango_high"]) < one.yields["mango"].high


@pytest.mark.long
def test_the_rest_of_the_calls(orchard: Orchard) -> None:
    """Retrain with progress, versions, cards, activation, log, drift, readiness; a table, and without observations."""
    steps: list[Step] = []
    report = orchard.retrain(ROWS, note="harvest 2026", progress=steps.append)
    assert (report.decision, report.activated, report.rows.received) == ("accepted", True, 3)
    assert {step.stage for step in steps} >= {"storing", "fitting", "scoring", "publishing", "activating"}
    assert report.version is not None
    assert orchard.ready().model_version == report.version
    assert orchard.card().version == orchard.card(report.version).version == report.version
    assert orchard.card().note == "harvest 2026"
    page = orchard.models(limit=1)
    assert [entry.version for entry in page.versions] == [report.version]
    assert orchard.models(before=page.next).versions
    assert page.versions[0].parent == "1"
    held = {crop: part.out_of_fold for crop, part in orchard.card().crops.items()}
    assert page.versions[0].out_of_fold == {crop: HeldOutError(rmse=of.rmse, by=of.by) for crop, of in held.items()}
    rows = orchard.residuals(report.version, crop="mango")
    assert (rows.model_version, rows.total, list(rows.crops)) == (report.version, 18, ["mango"])
    assert rows.crops["mango"].rmse == pytest.approx(held["mango"].rmse)
    assert orchard.residuals().crops.keys() == held.keys()
    line = orchard.activate("1", note="back")
    assert (line.version, line.why) == ("1", "back")
    assert orchard.log(limit=1).log == [line]
    assert orchard.log(before=line.number).log[0].version == report.version
    asked = orchard.drift().asked
    for shape in (orchard.predict, orchard.predict_columns):
        one = {"temperature": 73, "rainfall": 67, "humidity": 43}
        shape(**(one if shape == orchard.predict else {name: [value] for name, value in one.items()}), count=False)
    assert orchard.drift().asked == asked
    dry = orchard.retrain(table=TABLE, dry_run=True, activate="always")
    assert (dry.version, dry.dry_run, dry.rows.received) == (None, True, 2)
    assert orchard.retrain(activate="never").rows.received == 0


def test_what_the_token_may_do(orchard: Orchard, service: Running) -> None:
    """Each client asks for its own token; a wrong one is `Rejected`."""
    mine = orchard.access()
    assert (mine.who, mine.read, mine.rows, mine.write, mine.retrain) == ("token", True, True, True, True)
    url = service.url
    with Orchard(url) as nobody:
        none = nobody.access()
    assert (none.who, none.read, none.rows, none.write, none.retrain) == (None, True, False, False, True)
    with Orchard(url, "a-wrong-token") as wrong, pytest.raises(Rejected, match="the token is wrong"):
        wrong.access()


def test_observations_are_stored_once_paged_and_withdrawn(orchard: Orchard, tmp_path: Path) -> None:
    """Under one key a batch is stored once; pages are followed to the last row; a withdrawn batch is marked."""
    path = tmp_path / "harvest.csv"
    path.write_text(TABLE)
    before = len(list(orchard.observations()))
    batch = orchard.store(table=path, note="by client", key="client-1")
    assert orchard.store(table=path, note="by client", key="client-1") == batch
    assert orchard.store(ROWS).rows == 3
    rows = list(orchard.observations(page=2))
    assert len(rows) == before + 5
    assert [row.region for row in rows if row.batch == batch.batch] == ["N", "O"]
    assert orchard.withdraw(batch.batch, note="wrong scale").rows == 2
    newest, before_it = orchard.batches(limit=2).batches
    assert (newest.rows, newest.withdrawn) == (3, None)
    assert (before_it.batch, before_it.withdrawn_by, before_it.withdrawn_why) == (batch.batch, "token", "wrong scale")
    assert orchard.batches(before=newest.batch).batches[0] == before_it
    assert {row.batch for row in orchard.observations(withdrawn=True) if row.withdrawn} >= {batch.batch}
    in_use = list(orchard.observations(page=2))
    assert len(in_use) == before + 3
    assert not any(row.withdrawn for row in in_use)
    assert before_it.source == "harvest.csv (POST /observations)"
    with pytest.raises(ValueError, match="not both"):
        orchard.store(ROWS, table=path)


def test_the_asynchronous_client_does_the_same(service: Running) -> None:
    """The same calls, awaited; several at once over one client."""

    async def calls() -> None:
        async with AsyncOrchard(service.url, service.token) as orchard:
            answers = await asyncio.gather(*(orchard.predict(**WEATHER, region=str(n)) for n in range(8)))
            assert [answer.region for answer in answers] == [str(n) for n in range(8)]
            stages: list[str] = []
            report = await orchard.retrain(ROWS, dry_run=True, progress=lambda step: stages.append(step.stage))
            assert report.dry_run
            assert "fitting" in stages
            assert (await orchard.access()).write
            batch = await orchard.store(table=TABLE)
            rows = [row async for row in orchard.observations(page=2)]
            assert [row.region for row in rows][-2:] == ["N", "O"]
            assert (await orchard.withdraw(batch.batch)).batch == batch.batch
            assert (await orchard.retrain(dry_run=True)).rows.received == 0
            with pytest.raises(Rejected, match="no version 99"):
                await orchard.activate("99")
            with pytest.raises(Rejected, match="rainfall"):
                await orchard.retrain(table=TABLE.replace("67", "-67"), progress=lambda *_: None)

    asyncio.run(calls())


def test_errors_carry_the_problems_fields(orchard: Orchard, service: Running) -> None:
    """An invalid value, a wrong token, an unknown version, a used key: errors with all that the problem says."""
    with pytest.raises(Rejected) as invalid:
        orchard.predict(temperature=73, rainfall=-5, humidity=430)
    error = invalid.value
    assert (error.status, error.code, error.title) == (422, "invalid", "The input is invalid")
    assert error.detail == str(error) == "rainfall: -5 is below 0 mm (and 1 more)"
    assert [(fault.loc, fault.code) for fault in error.errors] == [
        (("rainfall",), "out_of_bounds"),
        (("humidity",), "out_of_bounds"),
    ]
    assert error.request_id
    assert error.retry_after is None
    with pytest.raises(Rejected, match="not finite"):
        orchard.predict(temperature=float("nan"), rainfall=5, humidity=43)
    with pytest.raises(Rejected) as unknown:
        orchard.card("7/../x?y")
    assert unknown.value.status == 404
    with Orchard(service.url, "wrong") as stranger, pytest.raises(Rejected) as refused:
        stranger.activate("1")
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    orchard.store(ROWS, key="client-2")
    with pytest.raises(Conflict) as used:
        orchard.store(ROWS[:1], key="client-2")
    assert used.value.code == "key_reused"


def _fake(answers: list[httpx.Response | Exception], seen: list[httpx.Request]) -> Handler:
    """Return a service that gives one answer after the other, and the last one ever after."""

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if not answer.is_closed:  # a stream, which is there once
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return handle


def _orchard(answers: list[Any], seen: list[httpx.Request], *, retries: int = 3) -> Orchard:
    return Orchard("http://orchard.test", "t", retries=retries, transport=httpx.MockTransport(_fake(answers, seen)))


def _busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=BUSY | {"status": status}, headers=headers)


GOOD = httpx.Response(200, json=PREDICTION.model_dump())
STORED = httpx.Response(201, json={"batch": "b", "rows": 3})
SOON: dict[str, Any] = {"Retry-After": "0"}
PROXY = httpx.Response(503, text="<h1>upstream is away</h1>")


@pytest.mark.parametrize("first", [_busy(**SOON), PROXY, httpx.ConnectError("refused"), httpx.ReadError("reset")])
def test_what_will_pass_is_tried_again(first: httpx.Response | Exception) -> None:
    """Two 503s or broken connections, then the answer: three attempts, by both clients."""
    seen: list[httpx.Request] = []
    with _orchard([first, first, GOOD], seen) as orchard:
        assert orchard.predict(**WEATHER) == PREDICTION
    assert len(seen) == 3

    async def asynchronously() -> None:
        transport = httpx.MockTransport(_fake([first, first, GOOD], again))
        async with AsyncOrchard("http://orchard.test", transport=transport) as orchard:
            assert await orchard.predict(**WEATHER) == PREDICTION

    again: list[httpx.Request] = []
    asyncio.run(asynchronously())
    assert len(again) == 3


def test_one_key_is_kept_through_all_attempts() -> None:
    """The client makes a key of its own for each write, and repeats the call with the same one."""
    seen: list[httpx.Request] = []
    with _orchard([httpx.ReadError("reset"), _busy(**SOON), STORED], seen) as orchard:
        orchard.store(ROWS)
        orchard.store(ROWS)
    keys = [request.headers["Idempotency-Key"] for request in seen]
    assert len(keys) == 4
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert len(keys[0]) >= 32
    assert len({request.content for request in seen}) == 1


def test_a_call_that_may_have_been_done_is_not_repeated() -> None:
    """Activation after a broken connection is not; a 503, which promises that nothing was done, is repeated."""
    line = {"number": 1, "action": "activate", "version": "1", "sha256": "", "who": "", "why": "", "when": 0}
    unconfirmed = httpx.Response(503, json=BUSY | {"code": "unconfirmed"}, headers=SOON)
    for first, attempts in ((httpx.ReadError("reset"), 1), (_busy(502), 1), (unconfirmed, 1), (_busy(**SOON), 2)):
        seen: list[httpx.Request] = []
        with _orchard([first, httpx.Response(200, json=line)], seen) as orchard:
            if attempts == 1:
                with pytest.raises((Unreachable, Unavailable)):
                    orchard.activate("1")
            else:
                assert orchard.activate("1").version == "1"
        assert len(seen) == attempts


@pytest.mark.parametrize(
    ("answer", "attempts", "error"),
    [
        (_busy(**SOON), 3, Unavailable),
        (_busy(), 1, Unavailable),
        (_busy(503, **{"Retry-After": f"{LONGEST_WAIT_S * 4:.0f}"}), 1, Unavailable),
        (httpx.Response(409, json=RUNNING, headers={"Retry-After": "1"}), 1, Conflict),
        (httpx.Response(500, json=BUSY | {"status": 500}), 1, Problem),
        (httpx.Response(200, text="<h1>hello</h1>"), 1, Unreadable),
        (httpx.Response(307, headers={"Location": "http://other.test"}), 1, Problem),
        (httpx.ReadTimeout("slow"), 1, Unreachable),
    ],
)
def test_what_is_given_up(answer: httpx.Response | Exception, attempts: int, error: type[ClientError]) -> None:
    """After the retries; at once where it will not pass, where it would take too long, and where it is no answer."""
    seen: list[httpx.Request] = []
    with _orchard([answer], seen, retries=2) as orchard, pytest.raises(ClientError) as raised:
        orchard.store(ROWS)
    assert type(raised.value) is error
    assert len(seen) == attempts
    if isinstance(answer, httpx.Response) and "Retry-After" in answer.headers:
        assert raised.value.retry_after == float(answer.headers["Retry-After"])


def _subclasses(kind: type[httpx.RequestError]) -> list[type[httpx.RequestError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _subclasses(child))]


@pytest.mark.parametrize("kind", _subclasses(httpx.RequestError))
def test_no_error_of_the_library_below_escapes(kind: type[httpx.RequestError]) -> None:
    """Whatever goes wrong on the way is an error of the client's, and keeps what was said."""
    with _orchard([kind("what happened")], [], retries=0) as orchard, pytest.raises(Unreachable) as raised:
        orchard.models()
    assert "what happened" in raised.value.detail or "not answered in time" in raised.value.detail


def test_what_cannot_be_a_header_is_refused_at_once() -> None:
    """A token or a key with a line break or a letter beyond ASCII, before anything is sent or said."""
    for text in ("a\nb", "ключ"):
        with pytest.raises(ValueError, match="the token has characters that no token has"):
            Orchard(token=text)
        with _orchard([STORED], []) as orchard, pytest.raises(ValueError, match="an idempotency key has"):
            orchard.store(ROWS, key=text)


def test_readiness_is_asked_once() -> None:
    """That a service is not ready is an answer."""
    seen: list[httpx.Request] = []
    with _orchard([_busy(**SOON)], seen) as orchard, pytest.raises(Unavailable):
        orchard.ready()
    assert len(seen) == 1


def _events(*events: tuple[str, str], cut: bool = False) -> httpx.Response:
    whole = "".join(f"event: {name}\ndata: {data}\n\n" for name, data in events).encode()

    def broken() -> Iterator[bytes]:
        yield whole
        raise httpx.ReadError("reset")

    return httpx.Response(200, content=broken() if cut else whole, headers={"Content-Type": "text/event-stream"})


STEP = ("progress", '{"stage": "fitting", "epoch": 1, "epochs": 9, "loss": 2.5, "later": true}')


def test_a_stream_that_breaks_is_taken_up_again(orchard: Orchard) -> None:
    """Cut in the middle or ended too early, a retrain is asked for again under its key, even while it still runs."""
    report = orchard.retrain(ROWS, dry_run=True).model_dump_json()
    for broken in (_events(STEP, cut=True), _events(STEP)):
        seen: list[httpx.Request] = []
        steps: list[Step] = []
        running = httpx.Response(409, json=RUNNING, headers={"Retry-After": "0"})
        with _orchard([broken, running, _events(STEP, ("result", report))], seen) as other:
            taken = steps.append
            assert other.retrain(ROWS, progress=taken).model_dump_json() == report
        assert steps == [Step("fitting", 1, 9, 2.5)] * 2
        assert len({request.headers["Idempotency-Key"] for request in seen}) == 1
        assert len(seen) == 3


def test_a_stream_may_end_in_an_error() -> None:
    """The problem within the stream is raised as if it had been the answer; nonsense is called so."""
    problem = '{"title": "t", "status": 422, "detail": "too few rows", "code": "too_few_rows", "request_id": "r"}'
    expected = [
        (_events(STEP, ("error", problem)), Rejected),
        (_events(("error", "nonsense")), Unreadable),
        (_events(("progress", "nonsense")), Unreadable),
        (_events(("result", "nonsense")), Unreadable),
        (httpx.Response(200, text="hello", headers={"Content-Type": "text/plain"}), Unreadable),
    ]
    for answer, kind in expected:
        with _orchard([answer], []) as orchard, pytest.raises(kind):
            orchard.retrain(ROWS, progress=lambda *_: None)

        async def asynchronously(answer: httpx.Response = answer, kind: type[ClientError] = kind) -> None:
            async with AsyncOrchard("http://o.test", transport=httpx.MockTransport(_fake([answer], []))) as orchard:
                with pytest.raises(kind):
                    await orchard.retrain(ROWS, progress=lambda *_: None)

        asyncio.run(asynchronously())


class _Flaky(BaseHTTPRequestHandler):
    """A service that breaks the first connection after it has read the request, is busy once, and then answers."""

    keys: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        if len(self.keys) == 1:
            self.close_connection = True
            return
        answer = _busy() if len(self.keys) == 2 else STORED
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_over_real_connections() -> None:
    """A server that hangs up, then is busy, then answers; and none at all."""
    with HTTPServer(("127.0.0.1", 0), _Flaky) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        with Orchard(url, "t") as orchard:
            assert orchard.store(ROWS).batch == "b"
        server.shutdown()
        thread.join()
    assert len(_Flaky.keys) == 3
    assert len(set(_Flaky.keys)) == 1
    with Orchard(url, retries=1) as orchard, pytest.raises(Unreachable, match=f"no service can be reached at {url}"):
        orchard.models()


@pytest.mark.long
def test_a_killed_service_is_told_as_such(tmp_path: Path, service: Running) -> None:
    """A service that is killed while it retrains: the client says so, and a new one is asked under the same key."""
    store = copy_store(service.store, tmp_path / "store")
    with pytest.raises(AssertionError):  # it does not end by SIGTERM
        _kill_while_retraining(store)
    with serving(store) as running, Orchard(running.url, running.token) as orchard:
        first = _retrained(orchard)
        assert orchard.retrain(ROWS, key="killed") == first
        assert sum(row.region == "K" for row in orchard.observations(withdrawn=True) if row.batch == first.batch) == 1


def _retrained(orchard: Orchard) -> Report:
    """Retrain once the training process of the service that was killed has come to its end."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return orchard.retrain(ROWS, key="killed")
        except Conflict as error:
            if error.code != "retrain_running" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _kill_while_retraining(store: Path) -> None:
    with serving(store) as running:
        url = running.url
        with Orchard(url, running.token, retries=1) as orchard, pytest.raises(Unreachable):
            orchard.retrain(ROWS, key="killed", progress=lambda *_: running.process.kill())


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://x:y", "/models", ""])
def test_bad_addresses_are_refused_at_once(url: str) -> None:
    """What is no address of HTTP is a mistake of the caller's."""
    with pytest.raises(ValueError, match="is not a URL"):
        Orchard(url)


def test_events_are_put_together_from_lines() -> None:
    """Several lines of data, comments, unknown fields and events without data."""
    lines = ["event: a", "data: 1", "data:2", "", ": comment", "id: 7", "", "data", "", "event: b", ""]
    events = Events()
    assert [event for line in lines if (event := events.feed(line))] == [Event("a", "1\n2"), Event("message", "", "7")]


def test_a_stream_is_cut_into_lines_where_it_says_so() -> None:
    """At line feeds, wherever parts end: not at other signs that end lines, nor within a letter's bytes."""
    text = "id: 1\r\nevent: a\r\ndata: x\u2028y\x85z\x0cü\r\n\r\nevent: b\ndata: 2\n\nevent: c\ndata: 3\n"
    expected = [Event("a", "x\u2028y\x85z\x0cü", "1"), Event("b", "2", "1")]
    content = text.encode()
    for size in (1, 2, 3, len(content)):
        events = Events()
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        assert [event for part in parts for event in events.take(part)] == expected


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [("12", 12, 12), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9, 1e12)],
)
def test_retry_after_is_seconds_or_a_date(given: str, least: float, most: float) -> None:
    """Both forms of RFC 9110 are understood."""
    found = retry_after(httpx.Response(503, headers={"Retry-After": given}))
    assert found is not None
    assert least <= found <= most


@pytest.mark.parametrize("given", ["soon", "", "-1", "1.5"])
def test_retry_after_may_be_nonsense(given: str) -> None:
    """What is neither counts as not given."""
    assert retry_after(httpx.Response(503, headers={"Retry-After": given})) is None


def test_the_token_is_in_no_representation(service: Running) -> None:
    """Neither a client's nor an error's text shows it."""
    with Orchard(service.url, "a-secret-of-mine") as orchard:
        with pytest.raises(Rejected) as refused:
            orchard.activate("1")
        assert "a-secret-of-mine" not in repr(orchard) + repr(refused.value) + str(refused.value.__dict__)


def test_the_units_of_a_client_are_in_its_queries() -> None:
    """Predictions of every kind, retrains and stored batches say them; what lists what is stored does not."""
    seen: list[httpx.Request] = []
    transport = httpx.MockTransport(_fake([httpx.Response(422, json=BUSY | {"status": 422})], seen))
    feature = {"type": "Feature", "geometry": None, "properties": WEATHER}
    columns: dict[str, Any] = {name: [value] for name, value in WEATHER.items()}
    with Orchard("http://o.test", "t", units=Units("celsius", "inch"), transport=transport) as orchard:
        calls: list[Callable[[], object]] = [
            lambda: orchard.predict(**WEATHER, level=0.8),
            lambda: orchard.predict_many([WEATHER]),
            lambda: orchard.predict_columns(**columns),
            lambda: orchard.predict_csv(TABLE),
            lambda: orchard.predict_geojson(feature),
            lambda: orchard.retrain(ROWS),
            lambda: orchard.retrain(table=TABLE),
            lambda: orchard.store(ROWS),
        ]
        for call in (*calls, orchard.observation_page, orchard.models):
            with pytest.raises(Rejected):
                call()
    said = [{name: value for name, value in request.url.params.items() if "unit" in name} for request in seen]
    assert said == [{"temperature_unit": "celsius", "rainfall_unit": "inch"}] * len(calls) + [{}, {}]
    assert seen[0].url.params["level"] == "0.8"

    async def asynchronously() -> None:
        async with AsyncOrchard("http://o.test", units=Units(rainfall="inch"), transport=transport) as orchard:
            with pytest.raises(Rejected):
                await orchard.predict(**WEATHER)

    asyncio.run(asynchronously())
    assert dict(seen[-1].url.params) == {"rainfall_unit": "inch"}
    with pytest.raises(ValueError, match="temperature_unit 'C' is unknown: use fahrenheit or celsius or kelvin"):
        Units("C")  # type: ignore[arg-type]


def test_crops_and_workbooks_are_told_of_tables(tmp_path: Path) -> None:
    """Crops are in the query of what learns; a workbook is sent as one, by what it begins with."""
    seen: list[httpx.Request] = []
    transport = httpx.MockTransport(_fake([httpx.Response(422, json=BUSY | {"status": 422})], seen))
    book = tmp_path / "book.csv"
    book.write_bytes(workbook_of([["temperature"], [73]]))
    with Orchard("http://o.test", "t", transport=transport) as orchard:
        calls: list[Callable[[], object]] = [
            lambda: orchard.retrain(table=TABLE, crops=["mango", "orange"]),
            lambda: orchard.store(table=book, crops=("mango",)),
            lambda: orchard.retrain(table=book),
            lambda: orchard.predict_csv(book),
        ]
        for call in calls:
            with pytest.raises(Rejected):
                call()
        for wrong in (
            lambda: orchard.store(ROWS, crops=["mango"]),
            lambda: orchard.retrain(crops=["mango"]),
            lambda: orchard.retrain(table=TABLE, crops="mango"),
        ):
            with pytest.raises(ValueError, match="crops are names of a table's columns, as a list"):
                wrong()
    assert [request.url.params.get("crops") for request in seen] == ["mango,orange", "mango", None, None]
    assert [request.headers["content-type"] for request in seen] == [CSV, XLSX, XLSX, XLSX]
    assert seen[-1].headers["accept"] == CSV

    async def asynchronously() -> None:
        async with AsyncOrchard("http://o.test", transport=transport) as orchard:
            with pytest.raises(Rejected):
                await orchard.retrain(table=TABLE, crops=["mango"])

    asyncio.run(asynchronously())
    assert seen[-1].url.params["crops"] == "mango"


def test_geojson_comes_back_as_it_is() -> None:
    """A collection is sent and answered as GeoJSON; an answer that is none is told as such."""
    collection = {"type": "FeatureCollection", "features": [], "name": "fields"}
    seen: list[httpx.Request] = []
    with _orchard([httpx.Response(200, json=collection | {"model_version": "1"})], seen) as orchard:
        assert orchard.predict_geojson(collection, effects="none") == collection | {"model_version": "1"}
    (request,) = seen
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/geo+json"
    assert json.loads(request.content) == collection
    assert dict(request.url.params) == {"effects": "none"}
    with _orchard([httpx.Response(200, text="[1]")], []) as orchard, pytest.raises(Unreadable):
        orchard.predict_geojson(collection)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (
            BUSY | {"status": 409, "code": "key_reused"},
            "choose another key for another request, or repeat the first one",
        ),
        (RUNNING, "ask again in a moment"),
    ],
)
def test_a_conflict_says_what_to_do(answer: dict[str, Any], advice: str) -> None:
    """A key that was used is used for good; for anything else there is a time."""
    with _orchard([httpx.Response(409, json=answer)], []) as orchard, pytest.raises(Conflict) as raised:
        orchard.store(ROWS)
    assert raised.value.advice.startswith(advice)
    later = httpx.Response(409, json=RUNNING, headers={"Retry-After": "2"})
    with _orchard([later], []) as orchard, pytest.raises(Conflict) as raised:
        orchard.store(ROWS)
    assert raised.value.advice == "ask again in 2 s"


def test_signatures_are_those_of_the_call() -> None:
    """As a class's method with `self`, as a client's without; what is returned is what the client returns."""
    for kind, returned in ((Orchard, OnePrediction), (AsyncOrchard, Coroutine[Any, Any, OnePrediction])):
        method = inspect.signature(kind.predict)
        bound = inspect.signature(kind().predict)
        assert list(method.parameters) == ["self", *bound.parameters]
        assert list(bound.parameters)[:4] == ["temperature", "rainfall", "humidity", "region"]
        assert method.return_annotation == bound.return_annotation == returned
        assert get_type_hints(kind.predict)["return"] == returned
        assert bound.parameters["level"].default is None
        text = pydoc.plain(pydoc.render_doc(kind.predict))
        assert "predict(self, *, temperature: " in text
        assert "humidity: " in text
        assert "Predict one region's yields, tons." in text
        assert "OnePrediction" in text
        assert "predict(self, *, temperature: " in pydoc.plain(pydoc.render_doc(kind))
    with pytest.raises(TypeError, match="temperatur"):
        Orchard().predict(temperatur=1)  # type: ignore[call-arg]


def test_the_methods_of_a_class_can_be_called() -> None:
    """As with any method: the client is its first argument."""
    with _orchard([GOOD], []) as orchard:
        assert Orchard.predict(orchard, **WEATHER) == PREDICTION
        assert list(map(orchard.predict_csv, [])) == []


def _happenings(*ids: int, name: str = "activated") -> httpx.Response:
    """Return a stream of events, with a comment that keeps it alive before each."""
    whole = "".join(f': alive\n\nid: {n}\nevent: {name}\ndata: {{"version": "{n}"}}\n\n' for n in ids)
    return httpx.Response(200, content=whole.encode(), headers={"Content-Type": "text/event-stream"})


def test_events_are_followed_from_one_connection_to_the_next() -> None:
    """After an end, a break and a busy answer: each connection says which event was the last that was seen."""
    broken = httpx.Response(
        200, content=_breaking(_happenings(43).content), headers={"Content-Type": "text/event-stream"}
    )
    answers = [_happenings(41, 42), httpx.ConnectError("refused"), broken, _busy(**SOON), _happenings(44)]
    seen: list[httpx.Request] = []
    with _orchard([*answers, httpx.Response(404, json=BUSY | {"status": 404})], seen) as orchard:
        events = orchard.events(after=40)
        told = [next(events) for _ in range(4)]
        assert told[0] == ServiceEvent("activated", 41, {"version": "41"})
        assert [event.id for event in told] == [41, 42, 43, 44]
        with pytest.raises(Rejected):
            next(events)
    assert [request.headers["Last-Event-ID"] for request in seen] == ["40", "42", "42", "43", "43", "44"]

    async def asynchronously() -> None:
        again = [_happenings(1), _happenings(2, name="trained"), httpx.Response(404, json=BUSY | {"status": 404})]
        transport = httpx.MockTransport(_fake([*again], seen_too))
        async with AsyncOrchard("http://orchard.test", transport=transport) as orchard:
            events = orchard.events()
            named.extend([(event.name, event.id) for event in (await anext(events), await anext(events))])
            with pytest.raises(Rejected):
                await anext(events)

    seen_too: list[httpx.Request] = []
    named: list[tuple[str, int | None]] = []
    asyncio.run(asynchronously())
    assert named == [("activated", 1), ("trained", 2)]
    assert [request.headers.get("Last-Event-ID") for request in seen_too] == [None, "1", "2"]


def _breaking(content: bytes) -> Iterator[bytes]:
    yield content
    raise httpx.ReadError("reset")


def test_a_stream_of_events_that_is_none_is_given_up() -> None:
    """What is not Orchard's, and what cannot be reached at all: after the client's own retries."""
    for answer, error, attempts in (
        (httpx.Response(200, text="<h1>hello</h1>"), Unreadable, 1),
        (_events(("drift", "nonsense")), Unreadable, 1),
        (httpx.Response(401, json=BUSY | {"status": 401}), Rejected, 1),
        (httpx.ConnectError("refused"), Unreachable, 2),
        (httpx.ReadTimeout("slow"), Unreachable, 2),
    ):
        seen: list[httpx.Request] = []
        with _orchard([answer], seen, retries=1) as orchard, pytest.raises(error):
            next(orchard.events())
        assert len(seen) == attempts


class _Stream(BaseHTTPRequestHandler):
    """A service whose stream of events ends after each event; the next connection gets those after the last seen."""

    def do_GET(self) -> None:
        """Tell one event."""
        number = int(self.headers.get("Last-Event-ID", "0")) + 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f'id: {number}\nevent: drift\ndata: {{"distance": {number}.5}}\n\n'.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_events_over_real_connections() -> None:
    """Three connections, one event each, in order and none twice; whoever leaves closes the connection."""
    with HTTPServer(("127.0.0.1", 0), _Stream) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Orchard(f"http://127.0.0.1:{server.server_port}") as orchard:
            told = list(itertools.islice(orchard.events(), 3))
        server.shutdown()
        thread.join()
    assert told == [ServiceEvent("drift", number, {"distance": number + 0.5}) for number in (1, 2, 3)]
