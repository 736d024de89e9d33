"""What is served is what the last line of the log names, or it is said that it is not."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from app.errors import NotReady, StoreUnavailable, Unconfirmed
from app.serving.live import KEPT_VERSIONS, Live
from app.store.objects import Objects
from app.store.registry import Registry
from tests.conftest import ROOT


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of three versions and four lines; version 2 is live."""
    target = tmp_path / "store"
    for name in ("versions", "log"):
        shutil.copytree(ROOT / "tests" / "stores" / "0.1.0" / "sqlite" / name, target / name)
    return target


@pytest.fixture
def registry(store: Path) -> Registry:
    """Return its registry."""
    return Registry(Objects(store))


@pytest.fixture
def live(registry: Registry) -> Live:
    """Return what is served of it."""
    live = Live(registry)
    live.follow()
    return live


def test_it_follows_the_log(live: Live, registry: Registry) -> None:
    """A version that another process makes live is served at the next look."""
    assert live.current.version == "2"
    registry.activate("1", "other", "")
    live.follow()
    assert (live.current.version, live.damage) == ("1", [])


def test_a_line_that_was_removed_by_hand(live: Live, store: Path) -> None:
    """What the last line names now is served, and it is said that there were more."""
    (store / "log" / "4.json").unlink()
    live.follow()
    assert live.current.version == "2"
    live.follow(thoroughly=True)
    assert live.current.version == "1"
    assert live.damage == ["the log has lost lines: it ended with line 4, and now with line 3"]


def test_a_stray_line_far_ahead(live: Live, registry: Registry, store: Path) -> None:
    """A line that is no line is passed over and told; what is activated behind it is served."""
    (store / "log" / "9.json").write_bytes((store / "log" / "1.json").read_bytes())
    live.follow(thoroughly=True)
    assert live.current.version == "2"
    assert live.damage == ["line 9 of the log is damaged: it is line 1: version 2 is served instead"]
    line = registry.activate("1", "anna", "")
    live.confirm("1")
    assert (line.number, live.current.version, live.damage) == (10, "1", [])


def test_an_activation_that_is_not_in_force_is_no_success(live: Live, registry: Registry, store: Path) -> None:
    """If what the log names cannot be served here, the activation says so, and what is served instead."""
    registry.activate("3", "anna", "")
    (store / "versions" / "3.safetensors").unlink()
    with pytest.raises(Unconfirmed, match=r"version 3 is in the log as live, and this process serves version 2: there"):
        live.confirm("3")


def test_a_store_that_was_put_back_beneath_it(live: Live, registry: Registry, store: Path) -> None:
    """Another last line of the same number is seen, and a version whose file is gone."""
    (store / "log" / "4.json").unlink()
    registry.activate("1", "restored", "")
    live.follow(thoroughly=True)
    assert (live.current.version, live.damage) == ("1", [])
    (store / "versions" / "1.safetensors").unlink()
    live.follow(thoroughly=True)
    assert live.damage == ["there is no version 1: version 2 is served instead"]


def test_a_log_that_is_gone(live: Live, store: Path) -> None:
    """What is served is served on, and said to be no longer what the log names."""
    shutil.rmtree(store / "log")
    live.follow(thoroughly=True)
    assert live.current.version == "2"
    assert live.damage[0].startswith("there are versions, and none is live: `orchard activate 3`")


def test_a_failure_is_raised_and_the_next_look_goes_on(
    live: Live, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be looked at for a moment: its age is known, and then the log is followed again."""
    registry.activate("1", "other", "")
    before = live.unseen_s

    def refusing(_path: Path) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as stale:
        stale.setattr(Path, "stat", refusing)
        with pytest.raises(StoreUnavailable, match="Stale file handle"):
            live.follow()
    assert live.unseen_s > before
    assert live.current.version == "2"
    live.follow()
    assert live.current.version == "1"


def test_why_nothing_is_live(tmp_path: Path, store: Path) -> None:
    """An empty store, and one with versions whose log is lost, say what to do."""
    empty = Live(Registry(Objects(tmp_path / "empty")))
    empty.follow()
    with pytest.raises(NotReady, match="no model has been trained yet"):
        _ = empty.current
    shutil.rmtree(store / "log")
    lost = Live(Registry(Objects(store)))
    lost.follow()
    with pytest.raises(NotReady, match="`orchard activate 3` makes the newest one live"):
        _ = lost.current


def test_versions_are_asked_for_from_many_threads(live: Live, registry: Registry) -> None:
    """More versions than are kept, by several threads at once: each gets the one it asked for."""
    versions = ["1", "3", *(registry.publish(registry.read("1")).version for _ in range(KEPT_VERSIONS + 2))]
    wrong: list[str] = []

    def ask() -> None:
        wrong.extend(version for _ in range(20) for version in versions if live.version(version).version != version)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_entry_is_read_once(live: Live, store: Path) -> None:
    """What the list tells of a version is kept: asking for it again costs no file."""
    first = live.entries.of("3")
    (store / "versions" / "3.safetensors").unlink()
    assert live.entries.of("3") is first
    assert (first.decision, first.rows) == ("rejected", 19)
