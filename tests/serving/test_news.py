"""What is told of a store: each thing once, in its order, under the log's line."""

import shutil
from pathlib import Path

import pytest

from app.errors import StoreUnavailable
from app.serving.drift import AskedWeather
from app.serving.live import Live
from app.serving.news import COMPARED_EVERY_S, Event, News, lines
from app.store.objects import Objects
from app.store.registry import Registry
from tests.conftest import ROOT

FAR = (139.0, 29_000.0, 1.0)
"""Weather that no training has seen."""


class Store:
    """A store of three versions and four lines (version 2 is live), followed by a process."""

    def __init__(self, folder: Path) -> None:
        for name in ("versions", "log"):
            shutil.copytree(ROOT / "tests" / "stores" / "0.1.0" / "sqlite" / name, folder / name)
        self.folder = folder
        self.registry = Registry(Objects(folder))
        self.live = Live(self.registry)
        self.asked = AskedWeather()
        self.now = 0.0
        self.news = News(self.registry, self.live, self.asked, lambda: self.now)
        self.look()

    def look(self, *, is_listening: bool = True) -> list[Event]:
        """Follow the log, and return what is new."""
        self.live.follow(thoroughly=True)
        return self.news.look(is_listening=is_listening)

    def publish(self) -> str:
        """Store a version that is not live."""
        return self.registry.publish(self.registry.read("1")).version

    def ask(self, weather: tuple[float, float, float], times: int) -> None:
        """Ask about so many weathers that are nearly this one."""
        for number in range(times):
            self.asked.note((weather[0] - number / times, *weather[1:]))
        self.asked.begin_merge()()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store that was looked at once."""
    return Store(tmp_path / "store")


def _trained(version: str, line: int, decision: str | None = "accepted") -> Event:
    return Event("trained", line, {"version": version, "decision": decision})


def test_what_was_there_before_is_not_new(store: Store) -> None:
    """The first look finds what there is, and tells nothing of it; nor does a look at the same."""
    assert store.news.line == 4
    assert store.look() == []


def test_an_activation_is_its_line(store: Store) -> None:
    """Several since the last look come in their order, each once."""
    store.registry.activate("1", "anna", "back")
    store.registry.activate("3", "ben", "")
    assert store.look() == [
        Event("activated", 5, {"version": "1", "who": "anna", "note": "back"}),
        Event("activated", 6, {"version": "3", "who": "ben", "note": ""}),
    ]
    assert store.look() == []


def test_a_version_that_is_not_live_is_told_at_the_second_look(store: Store) -> None:
    """By then its training is committed, or it was taken back, and is not told of."""
    kept, taken_back = store.publish(), store.publish()
    assert store.look() == []
    store.registry.discard(taken_back)
    assert store.look() == [_trained(kept, 4)]
    assert store.publish() == "6"
    assert [store.look(), store.look(), store.look()] == [[], [_trained("6", 4)], []]


def test_a_version_is_trained_before_it_is_live(store: Store) -> None:
    """Whether or not a look has seen it before; under the line before it, so that who comes again hears the line."""
    first = store.publish()
    store.registry.activate(first, "anna", "")
    activated = Event("activated", 5, {"version": first, "who": "anna", "note": ""})
    assert store.look() == [_trained(first, 4), activated]
    second = store.publish()
    assert store.look() == []
    store.registry.activate(second, "anna", "")
    assert [event.name for event in store.look()] == ["trained", "activated"]
    store.registry.activate(first, "anna", "")
    assert [event.name for event in store.look()] == ["activated"]


def test_what_is_damaged_is_told_as_far_as_it_is_known(store: Store) -> None:
    """Of a version whose file is damaged, that it was trained; of a damaged line, nothing."""
    version = store.publish()
    (store.folder / "versions" / f"{version}.safetensors").write_bytes(b"x")
    store.look()
    assert store.look() == [_trained(version, 4, None)]
    (store.folder / "log" / "5.json").write_bytes(b"{}")
    store.registry.activate("1", "anna", "")
    assert [event.line for event in store.look()] == [6]


def test_a_log_that_has_lost_lines_goes_on(store: Store) -> None:
    """What is written next is told under its number, though that number was told of before."""
    (store.folder / "log" / "4.json").unlink()
    assert store.look() == []
    assert store.news.line == 3
    store.registry.activate("2", "anna", "again")
    assert [event.line for event in store.look()] == [4]


def test_a_look_that_fails_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one tells what it would have."""
    store.registry.activate("1", "anna", "")
    store.live.follow()
    with monkeypatch.context() as broken:
        broken.setattr(Objects, "read", lambda _objects, _name: (_ for _ in ()).throw(StoreUnavailable("broken")))
        with pytest.raises(StoreUnavailable):
            store.news.look(is_listening=True)
    assert [event.line for event in store.look()] == [5]


def test_a_log_that_was_never_looked_at_has_no_news(store: Store) -> None:
    """Its lines are not told as new once it can be looked at."""
    live = Live(store.registry)
    news = News(store.registry, live, store.asked)
    assert (news.look(is_listening=True), news.line) == ([], 0)
    live.follow()
    assert (news.look(is_listening=True), news.line) == ([], 4)


def test_the_first_version_of_an_empty_store_is_told(tmp_path: Path, store: Store) -> None:
    """An empty log that was looked at is known."""
    registry = Registry(Objects(tmp_path / "empty"))
    live = Live(registry)
    news = News(registry, live, AskedWeather())
    assert live.last_line is None
    live.follow()
    assert live.last_line == 0
    assert news.look(is_listening=True) == []
    registry.publish(store.registry.read("1"))
    registry.activate("1", "anna", "")
    live.follow()
    assert [event.name for event in news.look(is_listening=True)] == ["trained", "activated"]


def test_drift_is_told_when_it_begins_and_when_it_ends(store: Store) -> None:
    """Once each, with the distance; compared at most once a minute, and only for those who listen."""
    assert store.look() == []
    store.ask(FAR, 50)
    store.now = COMPARED_EVERY_S - 1
    assert store.look() == []
    store.now = COMPARED_EVERY_S
    assert store.look(is_listening=False) == []
    (began,) = store.look()
    assert (began.name, began.line, began.told["different"]) == ("drift", 4, True)
    assert began.told["distance"] is not None
    store.now *= 2
    assert store.look() == []
    store.news._asked = AskedWeather()  # noqa: SLF001 - a day later all that was asked about is forgotten
    assert store.look() == []
    store.now *= 2
    assert store.look() == [Event("drift", 4, {"distance": None, "different": False})]


def test_lines_are_read_as_they_are(store: Store) -> None:
    """From the first to the last that is wanted, without those that are missing."""
    (store.folder / "log" / "2.json").unlink()
    assert [line.number for line in lines(store.registry, 1, 9)] == [1, 3, 4]
    assert list(lines(store.registry, 5, 4)) == []
