"""What is let in at the bound and what is not, without a server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api import concurrency as room
from app.api.concurrency import Concurrency, ConcurrencyLimit
from app.api.helper import LARGE
from app.errors import BodyTimeout, Overloaded

MOST = 8 * LARGE


def _with(*sizes: int, most: int = MOST) -> Concurrency:
    """Return one that holds bodies of these sizes."""
    concurrency = Concurrency(limit=10, body_timeout_s=1.0, most_bytes=most)
    for size in sizes:
        concurrency.hold({}, size)
    return concurrency


@pytest.mark.parametrize(
    ("limit", "at_work", "is_full"), [(1, 0, False), (1, 1, True), (3, 2, False), (3, 3, True), (3, 4, True)]
)
def test_when_it_is_full(limit: int, at_work: int, is_full: bool) -> None:
    """As many as the limit are let in, and no more."""
    concurrency = Concurrency(limit, 1.0)
    concurrency.at_work = at_work
    assert concurrency.is_full is is_full


@pytest.mark.parametrize(
    ("held", "size", "fits"),
    [(0, 100, True), (0, 1_000, True), (1, 99, True), (1, 100, False), (60, 40, True), (60, 41, False)],
)
def test_which_answers_fit(held: int, size: int, fits: bool) -> None:
    """One alone always; beside others, as many bytes as there may be together."""
    concurrency = Concurrency(1, 1.0, most_answer_bytes=100)
    concurrency.answering = held
    if fits:
        concurrency.check_answer(size)
    else:
        with pytest.raises(Overloaded, match=f"^answers of {held} bytes are being sent, and {size} more are over"):
            concurrency.check_answer(size)


@pytest.mark.parametrize(
    ("others", "size", "fits"),
    [
        ([], MOST, True),
        ([], 100 * MOST, True),
        ([MOST], LARGE - 1, True),
        ([MOST], LARGE, False),
        ([7 * LARGE], LARGE, True),
        ([7 * LARGE + 1], LARGE, False),
        ([LARGE], 6 * LARGE, True),
        ([LARGE], 6 * LARGE + 1, False),
        ([5 * LARGE], LARGE + 1, True),
        ([6 * LARGE], LARGE + 1, False),
        ([LARGE] * 8, LARGE, False),
        ([LARGE - 1] * 100, MOST, True),
    ],
)
def test_which_bodies_fit(others: list[int], size: int, fits: bool) -> None:
    """One alone always, and short ones; of more, only an eighth of the room or less takes the last eighth."""
    concurrency = _with(*others)
    held = concurrency.held
    if fits:
        concurrency.check_room({}, size)
    else:
        free = 0 if size == LARGE else LARGE
        said = f"^bodies of {held} bytes are being worked on, and {size} more are over the limit of {MOST - free}:"
        with pytest.raises(Overloaded, match=said):
            concurrency.check_room({}, size)
    assert concurrency.held == held


def test_a_body_that_grows_is_held_once() -> None:
    """By its size so far, from where it is large; let go of, it leaves nothing, however often that is said."""
    concurrency = _with(LARGE)
    scope: Scope = {}
    found = []
    for size in (1, LARGE - 1, LARGE, LARGE + 5, 3 * LARGE):
        concurrency.hold(scope, size)
        found.append(concurrency.held - LARGE)
    assert found == [0, 0, LARGE, LARGE + 5, 3 * LARGE]
    for _ in range(2):
        concurrency.let_go(scope)
        assert concurrency.held == LARGE


def test_a_body_that_has_grown_too_large_is_let_go_whole() -> None:
    """What it held before it was refused is not lost."""
    concurrency = _with(4 * LARGE)
    scope: Scope = {}
    concurrency.hold(scope, 3 * LARGE)
    with pytest.raises(Overloaded):
        concurrency.hold(scope, 4 * LARGE)
    assert concurrency.held == 7 * LARGE
    concurrency.let_go(scope)
    assert concurrency.held == 4 * LARGE


def test_one_alone_grows_beyond_the_limit() -> None:
    """And the next one has room when it is gone."""
    concurrency = _with()
    scope: Scope = {}
    for size in (MOST, 2 * MOST):
        concurrency.hold(scope, size)
    with pytest.raises(Overloaded):
        concurrency.hold({}, LARGE)
    concurrency.let_go(scope)
    concurrency.hold({}, LARGE)
    assert concurrency.held == LARGE


def test_it_stops_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it was told first counts."""
    times = iter([5.0, 6.0])
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: next(times)))
    concurrency = _with()
    assert concurrency.stopping_since is None
    for _ in range(2):
        concurrency.stop()
        assert concurrency.stopping_since == 5.0


@pytest.mark.parametrize(("timeout_s", "shown"), [(30.0, "30 s"), (0.5, "0.5 s")])
def test_what_a_slow_body_is_told(timeout_s: float, shown: str) -> None:
    """How long it might have taken."""
    error = Concurrency(1, timeout_s).too_slow()
    assert isinstance(error, BodyTimeout)
    assert error.detail == f"the body did not arrive within {shown}"


EXEMPT = "/health/ready"


def _scope(concurrency: Concurrency, path: str = "/predict", kind: str = "http") -> Scope:
    state = SimpleNamespace(services=SimpleNamespace(concurrency=concurrency), problem_forms={})
    return {"type": kind, "method": "POST", "path": path, "headers": [], "app": SimpleNamespace(state=state)}


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _ask(scope: Scope, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> list[Any]:
    """Return what is sent in answer to a request."""
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_limited(app)(scope, _nothing, send))
    return sent


def _limited(app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> ConcurrencyLimit:
    return ConcurrencyLimit(app, frozenset({EXEMPT}))


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b""}


async def _answering(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(END)


@pytest.mark.parametrize(
    ("path", "kind", "at_work", "passes"),
    [
        ("/predict", "http", 1, True),
        ("/predict", "http", 2, False),
        (EXEMPT, "http", 2, True),
        (EXEMPT + "/", "http", 2, True),
        (EXEMPT + "/x", "http", 2, False),
        ("/x" + EXEMPT, "http", 2, False),
        ("/", "http", 2, False),
        ("/predict", "lifespan", 2, True),
    ],
)
def test_the_last_place_is_given_and_no_more(path: str, kind: str, at_work: int, passes: bool) -> None:
    """The paths that are exempt are answered even then, and what is no request."""
    concurrency = Concurrency(limit=2, body_timeout_s=1.0)
    concurrency.at_work = at_work
    start, *rest = _ask(_scope(concurrency, path, kind), _answering)
    assert concurrency.at_work == at_work
    if passes:
        assert [start, *rest] == [START, END]
        return
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(rest[0]["body"])["detail"] == "too many requests at once: try again in a second"


def test_a_body_is_held_until_its_answer_begins() -> None:
    """From then on it makes room, though the request is at work until the answer's end."""
    concurrency = Concurrency(limit=2, body_timeout_s=1.0)
    found: list[tuple[int, int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        concurrency.hold(scope, LARGE)
        found.append((concurrency.held, concurrency.at_work))
        await _answering(scope, receive, send)
        found.append((concurrency.held, concurrency.at_work))

    assert _ask(_scope(concurrency), app) == [START, END]
    assert [*found, (concurrency.held, concurrency.at_work)] == [(LARGE, 1), (0, 1), (0, 0)]


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
def test_who_fails_leaves_its_place(error: type[BaseException]) -> None:
    """And what it held, also if it is cancelled."""
    concurrency = Concurrency(limit=1, body_timeout_s=1.0)

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        concurrency.hold(scope, LARGE)
        raise error

    for _ in range(2):
        with pytest.raises(error):
            _ask(_scope(concurrency), app)
        assert (concurrency.held, concurrency.at_work) == (0, 0)


@pytest.mark.parametrize(
    ("work_s", "within_s", "is_answered"), [(0.05, 5.0, True), (5.0, 0.05, False), (0.0, 5.0, True)]
)
def test_the_end_waits_for_answers(work_s: float, within_s: float, is_answered: bool) -> None:
    """Until the last request has its answer, or the time is over."""

    async def end() -> bool:
        concurrency = Concurrency(10, 1.0)

        async def request() -> None:
            concurrency.at_work += 1
            await asyncio.sleep(work_s)
            concurrency.at_work -= 1

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        await concurrency.answered(within_s)
        task.cancel()
        return not concurrency.at_work

    assert asyncio.run(end()) == is_answered
