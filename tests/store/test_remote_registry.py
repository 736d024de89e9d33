"""Versions and the log in object storage: as in a folder, but nothing is taken back, and nothing decided by a list."""

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app.errors import KeyReused, NotFound, NotReady, StoreDamaged, StoreUnavailable, Unconfirmed
from app.serving.live import MISSED_OFTEN, Live
from app.settings import StoreURL
from app.store import registry as module
from app.store.bucket import Bucket, Patience
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.version import Version
from tests.bucket import NAME, Standin, standin_here
from tests.conftest import ROOT

FOR_EVER = 1e9
PATIENT = Patience()


@pytest.fixture(scope="module")
def version() -> Version:
    """Return some version."""
    return Registry(Objects(ROOT / "tests" / "stores" / "0.1.0" / "sqlite")).read("1")


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    """Return a stand-in that all tests of this file use."""
    with standin_here() as running:
        yield running


@dataclass(frozen=True)
class Remote:
    """A store, and what it looks like from behind."""

    server: Standin
    url: str

    def registry(self, patience: Patience = PATIENT) -> Registry:
        """Return a registry of another process."""
        return Registry(Bucket(StoreURL(self.url), patience))

    def key(self, name: str) -> str:
        """Return under what an object is kept."""
        return f"{self.url.removeprefix(f's3://{NAME}/')}/{name}"

    def put(self, name: str, content: bytes) -> None:
        """Write an object by hand."""
        self.server.objects[self.key(name)] = content
        self.server.stored[self.key(name)] = time.monotonic()

    def lose(self, name: str) -> None:
        """Lose an object."""
        del self.server.objects[self.key(name)], self.server.stored[self.key(name)]

    def asked(self) -> list[tuple[str, str]]:
        """Return what was asked since the last time, in short."""
        folder = self.key("")
        found = [(method, key.removeprefix(folder) or "list") for method, key in self.server.asked]
        self.server.asked.clear()
        return found


@pytest.fixture
def remote(running: Standin, version: Version) -> Remote:
    """Return a store of two versions and four lines, which make them live in turn."""
    running.reset()
    remote = Remote(running, running.url())
    registry = remote.registry()
    assert [registry.publish(version).version for _ in range(2)] == ["1", "2"]
    for number in ("1", "2", "1", "2"):
        registry.activate(number, "anna", f"for {number}")
    running.asked.clear()
    return remote


def test_what_was_written_is_read(remote: Remote, version: Version) -> None:
    """By another process: versions, lines, the live one, where they are."""
    registry = remote.registry()
    assert registry.versions() == [2, 1]
    assert registry.read("2").card == version.card
    assert (registry.last_number(), registry.has_line(4), registry.has_line(5)) == (4, True, False)
    assert registry.newest() == 2
    assert [line.why for line in registry.log().lines] == ["for 2", "for 1", "for 2", "for 1"]
    assert registry.log().damage == []
    live = registry.live()
    assert (live.line.number, live.line.version, live.damage) == (4, "2", "")
    assert registry.location("2") == f"{remote.url}/versions/2.safetensors"
    assert registry.is_file("2", live.line.sha256)
    for wrong in ("3", "01", "x"):
        with pytest.raises(NotFound):
            registry.read(wrong)


def test_an_empty_store(running: Standin) -> None:
    """Nothing is live, and it is said why; there is no bucket at all, and that is said."""
    running.reset()
    empty = Remote(running, running.url()).registry()
    assert (empty.last_number(), empty.versions(), empty.newest(), empty.log().lines) == (0, [], 0, [])
    with pytest.raises(NotReady, match="no model has been trained yet"):
        empty.live()
    running.fail("no bucket", method="*", times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="there is no such bucket"):
        empty.live()


def test_versions_without_a_line(running: Standin, version: Version) -> None:
    """It is said which one can be made live."""
    running.reset()
    registry = Remote(running, running.url()).registry()
    registry.publish(version)
    with pytest.raises(NotReady, match="`orchard activate 1` makes the newest one live"):
        registry.live()


def test_nothing_is_taken_back(remote: Remote, version: Version) -> None:
    """Its number was perhaps served: it means that version for good, and the next one gets another."""
    registry = remote.registry()
    published = registry.publish(version)
    registry.discard(published.version)
    assert registry.read("3", published.sha256).card == version.card
    assert remote.registry().publish(version).version == "4"


def test_numbers_go_on_behind_the_newest(remote: Remote, version: Version) -> None:
    """Also where an old one is live, and there are gaps; what another writer has stored stays."""
    registry = remote.registry()
    for number in ("3", "4", "5"):
        assert registry.publish(version).version == number
    registry.activate("1", "anna", "back")
    assert (remote.registry().newest(), remote.registry().publish(version).version) == (5, "6")
    remote.put("versions/8.safetensors", b"another writer's")
    assert [remote.registry().publish(version).version for _ in range(2)] == ["9", "10"]
    assert remote.registry().versions() == [10, 9, 8, 6, 5, 4, 3, 2, 1]


def test_numbers_that_a_folder_had_taken_back_stay_taken(remote: Remote, version: Version) -> None:
    """Its voids may have been copied with it."""
    remote.put("versions/3.void", b"")
    registry = remote.registry()
    assert registry.publish(version).version == "4"
    with pytest.raises(NotFound):
        registry.read("3")


def test_a_version_that_may_have_been_written_is_nobodys(remote: Remote, version: Version) -> None:
    """Nothing names it, whether it comes or not: nothing was done."""
    remote.server.fail("hang", key="versions/3.safetensors", times=FOR_EVER)
    with pytest.raises(StoreUnavailable, match="version 3 could not be written"):
        remote.registry(Patience(0.5, 0.2, 0.4)).publish(version)
    remote.server.reset()
    assert remote.registry().versions() == [2, 1]


def test_a_line_of_which_nothing_is_known(remote: Remote) -> None:
    """The error says so; whoever comes next sees whether it is there."""
    remote.server.fail("hang", key="log/5.json", times=FOR_EVER)
    with pytest.raises(Unconfirmed, match=r"log/5\.json.*may still happen"):
        remote.registry(Patience(0.5, 0.2, 0.4)).activate("1", "anna", "back")
    remote.server.reset()
    assert remote.registry().activate("1", "ben", "again").number == 5


def test_a_line_whose_answer_is_lost_is_written_once(remote: Remote) -> None:
    """It is found to be one's own."""
    remote.server.fail("error after", key="log/5.json")
    assert remote.registry().activate("1", "anna", "back").number == 5
    assert remote.registry().last_number() == 5


def test_a_key_makes_one_line(remote: Remote) -> None:
    """From any process; for another version it is refused."""
    first = remote.registry().activate("1", "anna", "", key="k")
    remote.registry().activate("2", "anna", "")
    assert remote.registry().activate("1", "anna", "", key="k") == first
    with pytest.raises(KeyReused):
        remote.registry().activate("2", "anna", "", key="k")


@pytest.mark.parametrize(
    ("limit", "before", "numbers"),
    [(None, None, [4, 3, 2, 1]), (2, None, [4, 3]), (0, None, []), (9, 4, [3, 2, 1]), (1, 3, [2]), (1, 99, [4])],
)
def test_pages_of_the_log(remote: Remote, limit: int | None, before: int | None, numbers: list[int]) -> None:
    """As in a folder."""
    assert [line.number for line in remote.registry().log(limit, before).lines] == numbers


def test_damage_is_told(remote: Remote) -> None:
    """Of lines and versions; the newest that can be read is live."""
    remote.put("log/4.json", b"{")
    remote.put("versions/2.safetensors", b"x")
    registry = remote.registry()
    found = registry.log()
    assert [line.number for line in found.lines] == [3, 2, 1]
    assert found.damage == ["line 4 of the log is damaged"]
    live = registry.live()
    assert (live.line.number, live.damage) == (3, "line 4 of the log is damaged")
    with pytest.raises(StoreDamaged):
        registry.activate("2", "anna", "")


def test_nothing_is_decided_by_a_list(remote: Remote, version: Version) -> None:
    """One is asked for only where versions are shown, and then not at every look."""
    registry = remote.registry()
    live = Live(registry)
    live.follow()
    live.follow(thoroughly=True)
    registry.publish(version)
    registry.activate("3", "anna", "", key="k")
    live.follow()
    registry.log()
    assert ("GET", "list") not in remote.asked()
    assert registry.versions() == [3, 2, 1]
    assert ("GET", "list") in remote.asked()
    remote.registry().publish(version)
    assert registry.versions() == [4, 3, 2, 1]
    assert ("GET", "list") not in remote.asked()


def test_a_list_is_made_again_when_it_is_old(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came behind a gap is in it then."""
    registry = remote.registry()
    remote.put("versions/9.safetensors", b"x")
    registry.versions()
    remote.put("versions/7.safetensors", b"x")
    assert registry.versions() == [9, 2, 1]
    monkeypatch.setattr(module, "LISTED_S", 0.0)
    assert registry.versions() == [9, 7, 2, 1]


def test_a_follower_asks_for_the_next_line_and_no_more(remote: Remote) -> None:
    """When nothing happens; thoroughly, it looks whether the last line is what it was, and its version there."""
    live = Live(remote.registry())
    live.follow()
    assert live.current.version == "2"
    remote.asked()
    live.follow()
    assert remote.asked() == [("HEAD", "log/5.json")]
    live.follow(thoroughly=True)
    assert len(remote.asked()) == 4
    remote.registry().activate("1", "ben", "back")
    live.follow()
    assert (live.current.version, live.last_line) == ("1", 5)


def test_a_replica_that_starts_gallops(running: Standin, version: Version) -> None:
    """To the last of many lines, in a few looks."""
    running.reset()
    remote = Remote(running, running.url())
    registry = remote.registry()
    registry.publish(version)
    registry.activate("1", "anna", "")
    (first,) = (content for key, content in running.objects.items() if key == remote.key("log/1.json"))
    for number in range(2, 3_001):
        remote.put(f"log/{number}.json", first)
    remote.asked()
    assert remote.registry().last_number() == 3_000
    assert len(remote.asked()) < 26


def test_a_log_that_was_emptied_is_noticed(remote: Remote) -> None:
    """By a thorough look: it may have been restored from a copy."""
    live = Live(remote.registry())
    live.follow()
    for number in (4, 3):
        remote.lose(f"log/{number}.json")
    live.follow(thoroughly=True)
    assert live.damage == ["the log has lost lines: it ended with line 4, and now with line 2"]


def test_a_store_that_goes_away_and_comes_back(remote: Remote) -> None:
    """What was served is served on, each look says what is wrong, and the first that succeeds finds what has come."""
    hurried = Live(remote.registry(Patience(0.5, 0.2, 0.4)))
    hurried.follow()
    remote.server.fail("unavailable", method="*", times=FOR_EVER)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="502 Bad Gateway"):
            hurried.follow()
    assert hurried.current.version == "2"
    unseen_s = hurried.unseen_s
    remote.server.reset()
    remote.registry().activate("1", "anna", "")
    hurried.follow()
    assert hurried.current.version == "1"
    assert hurried.unseen_s < unseen_s


def test_who_asks_on_and_on_for_no_version_is_answered_from_memory(remote: Remote) -> None:
    """And is not once there is one: neither by this process's doing, nor after a second."""
    live = Live(remote.registry())
    for _ in range(3 * MISSED_OFTEN):
        with pytest.raises(NotFound, match="there is no version 3"):
            live.version("3")
    assert sum(name == "versions/3.safetensors" for _, name in remote.asked()) == MISSED_OFTEN
    with pytest.raises(NotFound, match="there is no version '11111111111111111111'"):
        live.version("1" * 1_000)  # it is no number: none is looked for
    assert remote.asked() == []


def _told(live: Live) -> None:
    live.published("3")


def _activated(live: Live) -> None:
    live.follow()


@pytest.mark.parametrize("learn", [_told, _activated])
def test_a_version_that_comes_is_found_at_once(remote: Remote, version: Version, learn: Callable[[Live], None]) -> None:
    """By who is told of it, or finds it in the log, however often it was asked for before."""
    live = Live(remote.registry())
    live.follow()
    for _ in range(2 * MISSED_OFTEN):
        with pytest.raises(NotFound):
            live.version("3")
    registry = remote.registry()
    registry.publish(version)
    registry.activate("3", "anna", "")
    learn(live)
    assert live.version("3").version == "3"


def test_a_few_misses_are_not_remembered(remote: Remote, version: Version) -> None:
    """Whoever asks a moment later finds what has come meanwhile, from wherever."""
    live = Live(remote.registry())
    with pytest.raises(NotFound):
        live.version("3")
    remote.registry().publish(version)
    assert live.version("3").version == "3"
    remote.asked()
    assert live.version("3") is live.held("3")
    assert remote.asked() == []


def test_it_goes_to_other_processes(remote: Remote) -> None:
    """Without what it keeps."""
    registry = remote.registry()
    registry.log()
    copy: Registry = pickle.loads(pickle.dumps(registry))  # noqa: S301 - written in this line
    assert [line.number for line in copy.log().lines] == [4, 3, 2, 1]


def test_lines_are_read_once(remote: Remote) -> None:
    """They never change."""
    registry = remote.registry()
    registry.log()
    remote.asked()
    assert len(registry.log().lines) == 4
    assert [name for method, name in remote.asked() if method == "GET"] == []


def test_a_long_log_is_read_once(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not all of its lines are kept."""
    monkeypatch.setattr(module, "KEPT_LINES", 2)
    monkeypatch.setattr(module, "READ_AHEAD", 2)
    registry = remote.registry()
    remote.asked()
    assert [line.number for line in registry.log().lines] == [4, 3, 2, 1]
    assert [method for method, _ in remote.asked()].count("GET") == 4


def test_two_who_list_at_once_list_each_version_once(
    remote: Remote, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that comes is found by both."""
    registry = remote.registry()
    registry.versions()
    remote.registry().publish(version)
    real, meanwhile = registry.given_after, [registry.versions]

    def given_after(number: int) -> Iterator[int]:
        found = list(real(number))
        if meanwhile:
            meanwhile.pop()()
        return iter(found)

    monkeypatch.setattr(registry, "given_after", given_after)
    assert registry.versions() == [3, 2, 1]
    assert registry.versions() == [3, 2, 1]
