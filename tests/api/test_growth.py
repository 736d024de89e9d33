"""No parser of what strangers send takes time or memory that grows faster than what they send."""

import contextlib
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import SecretStr

from app.api import encodings
from app.data.provenance import Provenance
from app.data.tables import parse_observations
from app.errors import OrchardError, TooLarge
from app.serving.live import Live
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.order import Order
from app.wire import arrow_stream, csv_body, json_body
from app.wire.arrow_stream import rows_if_plain
from app.wire.formats import PredictOptions, reply
from app.wire.media_types import GEOJSON, JSON
from app.wire.reported import Sent, read_order
from app.wire.schemas import ObservationsRequest
from app.wire.tensors import InferOptions, infer
from app.wire.validation import parse as parse_body
from tests import hostile
from tests.asking import Service

pytestmark = pytest.mark.measured

TIMES = 16
SLACK = 4
"""By so much more than the input time may grow: what is quadratic grows by 16."""
LEAST_S = 0.05
"""Less than this is not looked at."""
LEAST_BYTES = 4_000_000
ROWS = 200_000


def _peak(work: Callable[[], object], pool: pa.MemoryPool) -> int:
    """Return the most memory that the work takes, of Python's and of Arrow's, bytes."""
    before = pool.bytes_allocated()
    tracemalloc.start()
    try:
        work()
        return int(tracemalloc.get_traced_memory()[1] + pool.max_memory() - before)
    finally:
        tracemalloc.stop()


@pytest.fixture(params=[pytest.param(10_000, marks=pytest.mark.long)], ids=["large"])
def size(request: pytest.FixtureRequest) -> int:
    """Return the length of the shortest bodies, bytes."""
    found: int = request.param
    return found


def _assert_linear(parse: Callable[[bytes], object], make: hostile.Made, size: int) -> None:
    """Parse bodies of one, four and sixteen times a size; what is refused is as good."""
    system = pa.default_memory_pool()
    seconds, peaks = [], []
    for body in map(make, (size, 4 * size, TIMES * size)):

        def work(body: bytes = body) -> None:
            with contextlib.suppress(OrchardError):
                parse(body)

        work()  # what is imported or kept the first time does not count
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
        pool = pa.proxy_memory_pool(system)
        pa.set_memory_pool(pool)
        try:
            peaks.append(_peak(work, pool))
        finally:
            pa.set_memory_pool(system)
    assert seconds[2] < TIMES * SLACK * seconds[0] + LEAST_S, seconds
    assert seconds[2] < 4 * SLACK * seconds[1] + LEAST_S, seconds
    assert peaks[2] < TIMES * 2 * peaks[0] + LEAST_BYTES, peaks


@pytest.mark.parametrize("kind", hostile.JSON)
@pytest.mark.parametrize("model", ["questions", "observations"])
def test_json(kind: str, model: str, size: int) -> None:
    """As a question, and as observations."""

    def parse(body: bytes) -> object:
        if model == "questions":
            return json_body.read(body, ROWS)
        return parse_body(ObservationsRequest, body, ROWS)

    _assert_linear(parse, hostile.JSON[kind], size)


@pytest.mark.parametrize("kind", hostile.GEOJSON)
def test_geojson(asked: InferOptions, kind: str, size: int) -> None:
    """As a question that is answered in its own form, and as a harvest."""
    options = PredictOptions(GEOJSON, GEOJSON, ROWS, "1", asked.model, 0.95, explain=False)
    _assert_linear(lambda body: reply(body, options), hostile.GEOJSON[kind], size)
    _assert_linear(
        lambda body: read_order(body, Order(Provenance("", "")), Sent(GEOJSON, ROWS, {})), _harvest(kind), size
    )


def _harvest(kind: str) -> hostile.Made:
    return lambda size: hostile.GEOJSON[kind](size).replace(b'"humidity":43', b'"humidity":43,"yields":{"mango":5}')


@pytest.mark.parametrize("kind", hostile.DAYS)
def test_days(kind: str, size: int) -> None:
    """Of weather services."""
    _assert_linear(lambda body: json_body.read(body, ROWS), hostile.DAYS[kind], size)


@pytest.mark.parametrize("kind", hostile.CSV)
def test_csv(kind: str, size: int) -> None:
    """As a question, and as observations."""
    _assert_linear(lambda body: csv_body.read(body, ROWS), hostile.CSV[kind], size)
    _assert_linear(lambda body: parse_observations(body, ROWS), hostile.CSV[kind], size)


@pytest.mark.parametrize("kind", [*hostile.ARROW, *hostile.CODED])
def test_arrow(kind: str, size: int) -> None:
    """With names, and with dictionaries of names; also where it is only asked whether it is plain."""
    make = (hostile.ARROW | hostile.CODED)[kind]
    _assert_linear(lambda body: arrow_stream.read(body, ROWS), make, size)
    _assert_linear(rows_if_plain, make, size)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Let Python's collector rest, as in the process aside: it would look through this test run's own objects."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture(scope="module")
def asked(trained: Path) -> InferOptions:
    """Return how the live version is asked."""
    live = Live(Registry(Objects(trained)))
    live.follow()
    return InferOptions(None, ROWS, "1", live.current.model)


@pytest.mark.parametrize("kind", hostile.TENSORS)
def test_tensors(asked: InferOptions, kind: str, size: int) -> None:
    """In JSON."""
    _assert_linear(lambda body: infer(body, asked), hostile.TENSORS[kind], size)


def test_tensors_as_bytes(asked: InferOptions, size: int) -> None:
    """With more outputs than inputs."""
    _assert_linear(
        lambda body: infer(body, replace(asked, header=body.index(b"}]}") + 3)),
        lambda length: hostile.binary(length)[0],
        size,
    )


def test_each_output_is_computed_once(asked: InferOptions) -> None:
    """Sixteen times as many crops take sixteen times as long, not once more for each other one."""
    (crop, *_) = asked.model.crops

    def parse(count: bytes) -> object:
        names = [f"c{number}" for number in range(int(count))]
        model = replace(asked.model, crops=tuple(replace(crop, crop=name) for name in names))
        body, header = hostile.binary(6_000, names)
        return infer(body, InferOptions(header, ROWS, "1", model))

    _assert_linear(parse, lambda count: b"%d" % count, size=6)


def test_answers_have_a_longest_length(asked: InferOptions) -> None:
    """A megabyte may not ask for half a gigabyte: it is refused before anything is computed, and says what to do."""
    (crop, *_) = asked.model.crops
    names = [f"c{number}" for number in range(98)]
    model = replace(asked.model, crops=tuple(replace(crop, crop=name) for name in names))
    body, header = hostile.binary(300_000, names)
    with pytest.raises(TooLarge, match="the answer would have 558600000 bytes, the limit is 268435456: ask for fewer"):
        infer(body, InferOptions(header, ROWS, "1", model))


@pytest.mark.parametrize("kind", hostile.FOLDED)
def test_folded(kind: str, size: int) -> None:
    """Gzip is unfolded no further than the limit."""
    _assert_linear(lambda body: encodings.decoded(body, "gzip", 32 * 2**20), hostile.FOLDED[kind], size)


@pytest.fixture(scope="module", params=["open", "closed"])
def service(request: pytest.FixtureRequest, trained: Path) -> Iterator[Service]:
    """Return the application, open to all, and with a token for reading."""
    token = SecretStr("only-for-some-who-read") if request.param == "closed" else None
    service = Service(Settings(model_store=trained, read_token=token))
    yield service
    service.close()


@pytest.mark.parametrize("kind", [*hostile.HEADERS, *hostile.QUERIES])
def test_headers_and_queries(service: Service, kind: str) -> None:
    """All that the application does with a request, whatever reads it."""
    name, make = hostile.HEADERS.get(kind, ("", hostile.QUERIES.get(kind)))
    assert make is not None

    def ask(value: bytes) -> None:
        headers = {"content-type": JSON, "accept-encoding": "gzip"} | ({name: value.decode()} if name else {})
        status, _, _ = service.ask(hostile.ROW, headers, query="" if name else value.decode())
        assert status < 500

    _assert_linear(ask, lambda size: make(size).encode(), 4_000)
