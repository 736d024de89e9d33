"""Objects in object storage: created once whatever fails, read back after every doubt, nothing decided by a list."""

import importlib.util
import json
import logging
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import InvalidInput, NotFound, OrchardError, StoreUnavailable, Unconfirmed
from app.settings import Settings, StoreURL
from app.store.bucket import EXTRA, PROBE, Bucket, Patience
from app.store.objects import Objects, open_store
from app.store.store import NameTaken
from tests.bucket import Failure, Standin, standin_here

PATIENT = Patience(connect_s=2.0, answer_s=0.3, all_s=10.0)
HURRIED = Patience(connect_s=0.5, answer_s=0.2, all_s=0.4)
"""For what does not succeed however long it is tried."""
LINE, MINE, THEIRS = "log/7.json", b"mine", b"theirs"
FOR_EVER = 1e9


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    """Return a stand-in that all tests of this file use."""
    with standin_here() as running:
        yield running


@pytest.fixture
def server(running: Standin) -> Standin:
    """Return the stand-in, which fails no more."""
    running.reset()
    return running


@pytest.fixture
def bucket(server: Standin) -> Bucket:
    """Return an empty store that has been written to before: its probe is there."""
    bucket = Bucket(StoreURL(server.url()), PATIENT)
    bucket.create("first", b"")
    server.asked.clear()
    return bucket


@pytest.fixture
def hurried(bucket: Bucket) -> Bucket:
    """Return the same store, which soon gives up."""
    hurried = Bucket(StoreURL(bucket.location("").rstrip("/")), HURRIED)
    hurried.create("second", b"")
    return hurried


def test_what_is_created_can_be_read(bucket: Bucket) -> None:
    """And nothing else; the empty object too."""
    bucket.create(LINE, MINE)
    assert (bucket.read(LINE), bucket.read("first")) == (MINE, b"")
    assert (bucket.exists(LINE), bucket.exists("log/8.json")) == (True, False)
    with pytest.raises(NotFound, match=r"there is no log/8\.json"):
        bucket.read("log/8.json")
    assert bucket.location(LINE).endswith(f"/{LINE}")


def test_a_name_is_given_once(bucket: Bucket) -> None:
    """Who comes second is told, and what is there stays; discarding and cleaning change nothing."""
    bucket.create(LINE, THEIRS)
    with pytest.raises(NameTaken):
        bucket.create(LINE, MINE)
    bucket.discard(LINE)
    assert bucket.clean() == 0
    assert bucket.read(LINE) == THEIRS


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        ("slow down", 2),
        ("conflict", 1),
        ("error after", 1),
        ("hang after", 1),
        ("hang", 1),
        ("unavailable", 1),
        ("late", 1),
    ],
)
def test_a_failure_that_passes(bucket: Bucket, server: Standin, failure: Failure, times: int) -> None:
    """Refused twice; a conflict with nothing stored; stored, and answered by an error or by nothing; stored late."""
    server.fail(failure, key=LINE, times=times)
    bucket.create(LINE, MINE)
    assert bucket.read(LINE) == MINE
    assert [fault.times for fault in server.faults] == [0]


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        ("slow down", StoreUnavailable, r"cannot be written: it answers 503 Service Unavailable \(SlowDown\)"),
        ("forbidden", StoreUnavailable, r"cannot be written: it answers 403 Forbidden \(AccessDenied\)"),
        ("no bucket", StoreUnavailable, r"cannot be written: it answers 404 Not Found \(NoSuchBucket\)"),
        ("conflict", StoreUnavailable, "it says that there is such an object, and there is none"),
        ("hang", Unconfirmed, r"may still happen \(no answer from it in time\).*Idempotency-Key"),
        ("unavailable", Unconfirmed, r"may still happen \(it answers 502 Bad Gateway\)"),
    ],
)
def test_a_failure_that_stays(
    hurried: Bucket, server: Standin, failure: Failure, error: type[OrchardError], message: str
) -> None:
    """Where it is certain that nothing was stored, the error says so; where it may still be, that too."""
    server.fail(failure, key=LINE, times=FOR_EVER)
    with pytest.raises(error, match=message):
        hurried.create(LINE, MINE)
    server.reset()
    assert not hurried.exists(LINE)


@pytest.fixture(params=["gs", "az"])
def foreign(server: Standin, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Return a store of Google's, which encodes slashes in URLs, or of Azure's, whose URLs hold a signature."""
    account = {"gcs_base_url": f"http://127.0.0.1:{server.port}", "disable_oauth": True}
    account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    (tmp_path / "account.json").write_text(json.dumps(account))
    told = {
        "GOOGLE_SERVICE_ACCOUNT": str(tmp_path / "account.json"),
        "AZURE_STORAGE_ACCOUNT_NAME": "orchard",
        "AZURE_STORAGE_SAS_KEY": "sv=1&sig=secret",
        "AZURE_ENDPOINT": f"http://127.0.0.1:{server.port}",
    }
    for name, value in {**told, "GOOGLE_ALLOW_HTTP": "true", "AZURE_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(StoreURL(server.url().replace("s3", request.param, 1)), HURRIED)
    bucket.create("first", b"")
    return bucket


@pytest.mark.parametrize("failure", ["error after", "late"])
def test_another_kind_of_store_leaves_the_same_doubt(foreign: Bucket, server: Standin, failure: Failure) -> None:
    """What was answered by an error, or by nothing, may be there: also where the error names the object otherwise."""
    server.fail(failure, key=LINE)
    foreign.create(LINE, MINE)
    assert foreign.read(LINE) == MINE
    server.fail("hang", key="log/8.json", times=FOR_EVER)
    with pytest.raises(Unconfirmed, match="may still happen"):
        foreign.create("log/8.json", MINE)


@pytest.mark.parametrize("failure", ["error after", "hang after", "hang", "slow down", "conflict"])
def test_taken_by_another_in_the_middle_of_it(bucket: Bucket, server: Standin, failure: Failure) -> None:
    """With and without an answer: it is the other one's, and not overwritten."""
    bucket.create(LINE, THEIRS)
    server.fail(failure, key=LINE)
    with pytest.raises(NameTaken):
        bucket.create(LINE, MINE)
    assert bucket.read(LINE) == THEIRS


def test_what_landed_late_is_ones_own(bucket: Bucket, hurried: Bucket, server: Standin) -> None:
    """A write of which nothing was known is found when it is repeated."""
    server.fail("hang", key=LINE, times=FOR_EVER)
    with pytest.raises(Unconfirmed):
        hurried.create(LINE, MINE)
    server.reset()
    key = bucket.location(LINE).removeprefix("s3://orchard/")
    server.objects[key], server.stored[key] = MINE, time.monotonic()
    bucket.create(LINE, MINE)
    with pytest.raises(NameTaken):
        bucket.create(LINE, THEIRS)


def test_it_cannot_be_read_back(hurried: Bucket, server: Standin) -> None:
    """Then nothing is known, whatever the PUT was answered."""
    hurried.create(LINE, THEIRS)
    server.fail("unavailable", method="GET", key=LINE, times=FOR_EVER)
    with pytest.raises(Unconfirmed, match="502 Bad Gateway"):
        hurried.create(LINE, MINE)


@pytest.mark.parametrize("failure", ["slow down", "hang", "unavailable", "forbidden", "no bucket"])
def test_a_look_that_fails_is_no_absence(hurried: Bucket, server: Standin, failure: Failure) -> None:
    """Neither for `exists` nor for `read`."""
    hurried.create(LINE, MINE)
    server.fail(failure, method="*", times=FOR_EVER)
    server.fail(failure, method="*", key=PROBE, times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="the model store cannot be read"):
        hurried.read(LINE)
    if failure != "no bucket":  # which a HEAD cannot tell from a missing object
        with pytest.raises(StoreUnavailable, match="the model store cannot be read"):
            hurried.exists(LINE)


def test_a_look_is_repeated(bucket: Bucket, server: Standin) -> None:
    """A failure that passes is not noticed."""
    bucket.create(LINE, MINE)
    server.fail("unavailable", method="GET", key=LINE, times=2)
    server.fail("slow down", method="HEAD", key=LINE, times=1)
    assert (bucket.read(LINE), bucket.exists(LINE)) == (MINE, True)


def test_missing_objects_that_are_answered_403(
    bucket: Bucket, server: Standin, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right to list: they are missing if what is known to be there can be read; it is said, once."""
    server.hides_missing = True
    with caplog.at_level(logging.WARNING, "orchard.store"):
        assert [bucket.exists(name) for name in (LINE, "log/8.json", "first")] == [False, False, True]
        with pytest.raises(NotFound):
            bucket.read(LINE)
        bucket.create(LINE, MINE)
    assert bucket.read(LINE) == MINE
    assert ["grant s3:ListBucket" in message for message in caplog.messages] == [True]
    server.fail("forbidden", method="*", times=FOR_EVER)
    server.fail("forbidden", method="*", key=PROBE, times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="grant s3:GetObject and s3:ListBucket"):
        bucket.exists("log/8.json")


def _elsewhere(bucket: Bucket) -> Bucket:
    """Return the store as another process gets it."""
    copy: Bucket = pickle.loads(pickle.dumps(bucket))  # noqa: S301 - written in this line
    return copy


def test_a_reader_of_such_a_store_finds_the_probe(bucket: Bucket, server: Standin) -> None:
    """It has read nothing so far, and knows by the writers' probe that it may; without one it knows nothing."""
    server.hides_missing = True
    assert not _elsewhere(bucket).exists(LINE)
    with pytest.raises(StoreUnavailable):
        Bucket(StoreURL(server.url()), HURRIED).exists(LINE)


def test_a_store_that_overwrites_is_not_written(server: Standin, caplog: pytest.LogCaptureFixture) -> None:
    """What is there can be read; each write is refused, with the reason, until the store has learned it."""
    there = Bucket(StoreURL(server.url()), HURRIED)
    there.create(LINE, THEIRS)
    server.ignores_conditions = True
    other = _elsewhere(there)
    assert other.read(LINE) == THEIRS
    with caplog.at_level(logging.ERROR, "orchard.store"):
        for name in (LINE, "log/8.json"):
            with pytest.raises(StoreUnavailable, match=r"ignores If-None-Match.*it is read, and not written"):
                other.create(name, MINE)
    assert len(caplog.messages) == 2
    assert other.read(LINE) == THEIRS
    server.ignores_conditions = False
    other.create("log/8.json", MINE)


def test_the_probe_is_made_once_a_process_and_by_no_reader(server: Standin) -> None:
    """Before the first write; where it cannot be, nothing is written."""
    bucket = Bucket(StoreURL(server.url()), HURRIED)
    bucket.exists(LINE)
    bucket.numbers("log", ".json")
    assert [method for method, _ in server.asked if method == "PUT"] == []
    server.fail("slow down", key=PROBE, times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        bucket.create(LINE, MINE)
    assert not bucket.exists(LINE)
    server.reset()
    bucket.create(LINE, MINE)
    bucket.create("log/8.json", MINE)
    names = [key.rpartition("/")[2] for method, key in server.asked if method == "PUT"]
    assert names == [PROBE, PROBE, "7.json", "8.json"]


def test_numbers_of_any_count(bucket: Bucket, server: Standin) -> None:
    """More than a store lists at once, in order, without what is not numbered; a list that lags hides no object."""
    folder = bucket.location("versions").removeprefix("s3://orchard/")
    for number in range(1, 1_203):
        server.objects[f"{folder}/{number}.safetensors"] = b""
        server.stored[f"{folder}/{number}.safetensors"] = 0.0
    for name in ("4.void", "x.safetensors", "1.safetensors.copy", "٣.safetensors"):
        bucket.create(f"versions/{name}", b"x")
    assert bucket.numbers("versions", ".safetensors") == list(range(1, 1_203))
    assert (bucket.numbers("versions", ".void"), bucket.numbers("nothing", ".json")) == ([4], [])
    server.list_lags_s = 60.0
    bucket.create(LINE, MINE)
    assert (bucket.numbers("log", ".json"), bucket.exists(LINE)) == ([], True)
    server.fail("forbidden", method="GET", times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="cannot be listed: it answers 403"):
        bucket.numbers("log", ".json")


def test_a_store_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: it cannot be read, and certainly nothing was written."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    nowhere = Bucket(StoreURL("s3://b/p"), HURRIED)
    with pytest.raises(StoreUnavailable, match="cannot be read: no connection to it"):
        nowhere.exists(LINE)
    with pytest.raises(StoreUnavailable, match="cannot be written: no connection to it"):
        nowhere.create(LINE, MINE)


def test_a_store_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing in the environment is named."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StoreUnavailable, match=r"az://c/p cannot be opened: .*Account must be specified"):
        Bucket(StoreURL("az://c/p"), HURRIED).exists(LINE)


def test_which_store_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the scheme; without obstore it is said what to install."""
    database = "postgresql+psycopg://o@db/orchard"
    remote = Settings(model_store="gs://b/p", database_url=database)  # type: ignore[arg-type]
    assert isinstance(open_store(Settings(model_store=tmp_path)), Objects)
    assert isinstance(open_store(remote), Bucket)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InvalidInput, match="gs://b/p is in object storage, for which obstore is needed") as refused:
        open_store(remote)
    assert EXTRA in refused.value.detail
