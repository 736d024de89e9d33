"""Processes that all want the same names, on a disk and on two S3 servers: each name is won once, and none is lost."""

import multiprocessing as mp
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from app.settings import StoreURL
from app.store.bucket import Bucket
from app.store.objects import Objects
from app.store.store import NameTaken, Store
from tests.bucket import KEYS, NAME, standin
from tests.running import lasting_port

Kind = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Store]]
NAMES, PROCESSES = 200, 8
WAIT_S = 60.0


def _race(store: Store, me: int, start: Barrier, won: "Queue[tuple[int, list[int]]]") -> None:
    """Create each name at the same moment as all others do."""
    mine: list[int] = []
    for number in range(NAMES):
        start.wait(WAIT_S)
        try:
            store.create(f"log/{number}.json", f"{me} has {number}".encode())
        except NameTaken:
            continue
        mine.append(number)
    won.put((me, mine))


@contextmanager
def _stand_in(_folder: Path, environment: pytest.MonkeyPatch) -> Iterator[Store]:
    with standin() as server:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        yield Bucket(StoreURL(server.url()))


@contextmanager
def _moto(_folder: Path, environment: pytest.MonkeyPatch) -> Iterator[Store]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - seconds, for this test alone

    port = lasting_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        url = f"http://127.0.0.1:{port}"
        for name, value in {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", **KEYS}.items():
            environment.setenv(name, value)
        import httpx  # noqa: PLC0415

        assert httpx.put(f"{url}/{NAME}").status_code == httpx.codes.OK
        yield Bucket(StoreURL(f"s3://{NAME}/{uuid.uuid4().hex}"))
    finally:
        server.stop()


@contextmanager
def _disk(folder: Path, _environment: pytest.MonkeyPatch) -> Iterator[Store]:
    yield Objects(folder / "store")


@pytest.mark.long
@pytest.mark.parametrize("kind", [_disk, _stand_in, _moto])
def test_a_name_is_won_once(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight processes one has it, and what it wrote is there; nobody thinks so wrongly, and no name is left out."""
    context = mp.get_context("spawn")
    start, won = context.Barrier(PROCESSES), context.Queue()
    with kind(tmp_path, monkeypatch) as store:
        racing = [context.Process(target=_race, args=(store, me, start, won)) for me in range(PROCESSES)]
        for process in racing:
            process.start()
        found = dict(won.get(timeout=WAIT_S) for _ in racing)
        for process in racing:
            process.join(WAIT_S)
        wins = Counter(number for mine in found.values() for number in mine)
        assert wins == dict.fromkeys(range(NAMES), 1)
        assert store.numbers("log", ".json") == list(range(NAMES))
        for me, mine in found.items():
            written = [store.read(f"log/{number}.json") for number in mine]
            assert written == [b"%d has %d" % (me, number) for number in mine]
        assert sum(map(bool, found.values())) > 1


@pytest.mark.long
def test_another_s3_server_does_as_the_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Created once, read back, listed, missing."""
    with _moto(tmp_path, monkeypatch) as store:
        store.create("log/1.json", b"x")
        store.create("log/1.json", b"x")
        with pytest.raises(NameTaken):
            store.create("log/1.json", b"y")
        assert (store.read("log/1.json"), store.exists("log/1.json"), store.exists("log/2.json")) == (b"x", True, False)
        for number in range(2, 12):
            store.create(f"log/{number}.json", b"")
        assert (store.numbers("log", ".json"), store.numbers("none", ".json")) == (list(range(1, 12)), [])
