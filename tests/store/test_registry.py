"""Numbered versions and the log: which numbers are none, what two writers do to each other, what is lost or damaged."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import KeyReused, NotFound, NotReady, StoreDamaged, StoreUnavailable
from app.store.line import StoredLine
from app.store.objects import Objects
from app.store.registry import LOG, VERSIONS, Registry
from app.store.version import Version
from tests.conftest import ROOT

FAULTS = [(2, "missing"), (6, "damaged"), (3, "damaged")]


@pytest.fixture(scope="session")
def version() -> Version:
    """Return some version."""
    return Registry(Objects(ROOT / "tests" / "stores" / "0.1.0" / "sqlite")).read("1")


@pytest.fixture
def store(tmp_path: Path, version: Version) -> Path:
    """Return a store of two versions and four lines, which make them live in turn."""
    registry = Registry(Objects(tmp_path))
    for number in ("1", "2"):
        assert registry.publish(version).version == number
    for number in ("1", "2", "1", "2"):
        registry.activate(number, "anna", f"for {number}")
    return tmp_path


@pytest.fixture
def registry(store: Path) -> Registry:
    """Return its registry."""
    return Registry(Objects(store))


class Overtaken(Objects):
    """Objects among which another writer is quicker, once, at the first creation in ``folder``."""

    def __init__(self, root: Path, folder: str, other: Callable[[Registry], object]) -> None:
        super().__init__(root)
        self._folder = folder
        self._others = [other]

    def create(self, name: str, content: bytes) -> None:
        """Create it, after the other writer."""
        if name.startswith(self._folder) and self._others:
            self._others.pop()(Registry(Objects(self.root)))
        super().create(name, content)


def _line(store: Path, number: int) -> Path:
    return store / LOG / f"{number}.json"


@pytest.mark.parametrize(
    "name", ["", "0", "01", "-1", "+1", "1.0", "1\n", " 1", "٣", "one", "../1", "1" * 19, "latest" * 100]
)
def test_what_is_no_number_is_no_version(registry: Registry, name: str) -> None:
    """A version's number begins at 1 and has no zeros, signs or blanks; what was asked for is shown, cut off."""
    with pytest.raises(NotFound) as refused:
        registry.read(name)
    assert refused.value.detail == f"there is no version {name[:20]!r}: versions are numbered 1, 2, 3, …"
    assert not registry.is_file(name, "")


@pytest.mark.parametrize("name", ["3", "10", "9" * 18])
def test_a_number_that_was_not_given(registry: Registry, name: str) -> None:
    """It is a number and no version's: the sentence is short."""
    with pytest.raises(NotFound) as refused:
        registry.read(name)
    assert refused.value.detail == f"there is no version {name}"
    assert not registry.has_version(name)


@pytest.mark.parametrize(
    ("there", "number"),
    [
        ([], "1"),
        (["1.safetensors"], "2"),
        (["1.safetensors", "9.safetensors", "10.safetensors"], "11"),
        (["1.safetensors", "4.void"], "5"),
        (["7.safetensors", "7.void", "x.safetensors", "8.tmp"], "8"),
    ],
)
def test_the_next_number(tmp_path: Path, version: Version, there: list[str], number: str) -> None:
    """One above the largest that was ever given, be it a version's or a void's; gaps are not filled."""
    (tmp_path / VERSIONS).mkdir()
    for name in there:
        (tmp_path / VERSIONS / name).touch()
    published = Registry(Objects(tmp_path)).publish(version)
    content = (tmp_path / VERSIONS / f"{number}.safetensors").read_bytes()
    assert (published.version, published.sha256) == (number, hashlib.sha256(content).hexdigest())


def test_a_version_whose_number_is_taken_meanwhile(store: Path, version: Version) -> None:
    """It gets the next one, and the other writer keeps its own."""
    others: list[str] = []
    objects = Overtaken(store, VERSIONS, lambda other: others.append(other.publish(version).version))
    assert Registry(objects).publish(version).version == "4"
    assert others == ["3"]
    assert Registry(objects).versions() == [4, 3, 2, 1]


def test_a_version_is_found_where_it_is_said_to_be(registry: Registry, version: Version) -> None:
    """The hash that was told, and the path, are those of the file."""
    published = registry.publish(version)
    assert hashlib.sha256(Path(registry.location("3")).read_bytes()).hexdigest() == published.sha256
    assert registry.is_file("3", published.sha256)
    assert not registry.is_file("3", "0" * 64)
    assert registry.has_version("3")
    assert registry.read("3", published.sha256).card == version.card


def test_what_is_taken_back_is_no_file(registry: Registry, version: Version) -> None:
    """Its file is removed, its number never means a version again."""
    published = registry.publish(version)
    registry.discard("3")
    assert not Path(registry.location("3")).exists()
    assert not registry.has_version("3")
    assert not registry.is_file("3", published.sha256)
    with pytest.raises(NotFound, match="there is no version 3"):
        registry.activate("3", "anna", "")


def test_taking_back_fails_without_harm(
    registry: Registry, version: Version, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that cannot be written keeps the version, which nothing names, and the log says so."""

    def failing(_objects: Objects, _name: str, _content: bytes) -> None:
        raise StoreUnavailable("the model store cannot be written: No space left on device")

    registry.publish(version)
    with monkeypatch.context() as full, caplog.at_level(logging.WARNING, "orchard.store"):
        full.setattr(Objects, "create", failing)
        registry.discard("3")
    said = "version 3 could not be taken back: the model store cannot be written: No space left on device"
    assert caplog.messages == [said]
    assert registry.versions() == [3, 2, 1]


def test_a_damaged_version_is_told(registry: Registry) -> None:
    """By its own checksum, or, where the hash of its file is known, by that; it is not made live."""
    good = hashlib.sha256(Path(registry.location("2")).read_bytes()).hexdigest()
    Path(registry.location("2")).write_bytes(Path(registry.location("2")).read_bytes()[:-8] + b"\x7f" * 8)
    with pytest.raises(StoreDamaged) as damaged:
        registry.read("2")
    assert damaged.value.detail == "the file of version 2 is damaged: the checksum is wrong"
    with pytest.raises(StoreDamaged) as another:
        registry.read("2", good)
    assert another.value.detail == "the file of version 2 is not the one that was written (sha256)"
    with pytest.raises(StoreDamaged):
        registry.activate("2", "anna", "")
    assert registry.last_number() == 4


def test_a_line_says_what_was_done(store: Path, registry: Registry) -> None:
    """It is told as it was written, and vouches for the line before and for the version's file."""
    told = registry.activate("1", "otto", "back", key="k")
    assert told == registry.line(5)
    assert (told.number, told.action, told.version, told.who, told.why) == (5, "activate", "1", "otto", "back")
    assert registry.is_file("1", told.sha256)
    stored = json.loads(_line(store, 5).read_bytes())
    assert stored["before"] == hashlib.sha256(_line(store, 4).read_bytes()).hexdigest()
    assert json.loads(_line(store, 1).read_bytes())["before"] is None


def test_lines_that_are_there(registry: Registry, tmp_path: Path) -> None:
    """The last number, and whether there is a line, of a log and of an empty one."""
    assert (registry.last_number(), registry.has_line(4), registry.has_line(5)) == (4, True, False)
    empty = Registry(Objects(tmp_path / "empty"))
    assert (empty.last_number(), empty.has_line(1), empty.log().lines, empty.versions()) == (0, False, [], [])
    with pytest.raises(NotFound):
        registry.line(5)


def test_a_line_whose_number_is_taken_meanwhile(store: Path) -> None:
    """It is written after the other one, and vouches for that."""
    objects = Overtaken(store, LOG, lambda other: other.activate("1", "otto", "quicker"))
    assert Registry(objects).activate("2", "anna", "slower").number == 6
    log = Registry(objects).log()
    assert [(line.who, line.why) for line in log.lines[:2]] == [("anna", "slower"), ("otto", "quicker")]
    assert log.damage == []


def test_a_key_that_another_writer_uses_meanwhile(store: Path) -> None:
    """The call that comes second, under the same key, is the first one repeated, or refused."""
    objects = Overtaken(store, LOG, lambda other: other.activate("1", "otto", "first", key="k"))
    assert Registry(objects).activate("1", "anna", "second", key="k").why == "first"
    objects = Overtaken(store, LOG, lambda other: other.activate("1", "otto", "first", key="l"))
    with pytest.raises(KeyReused, match="used before, to make another version live"):
        Registry(objects).activate("2", "anna", "second", key="l")
    assert Registry(objects).last_number() == 6


def test_a_key_is_found_behind_damage(store: Path, registry: Registry) -> None:
    """A line that cannot be read hides no earlier one."""
    first = registry.activate("1", "anna", "", key="k")
    registry.activate("2", "anna", "")
    _line(store, 6).write_bytes(b"{")
    assert registry.activate("1", "anna", "again", key="k") == first


@pytest.mark.parametrize(
    ("limit", "before", "numbers"),
    [
        (None, None, [4, 3, 2, 1]),
        (2, None, [4, 3]),
        (0, None, []),
        (9, 4, [3, 2, 1]),
        (1, 3, [2]),
        (2, 1, []),
        (1, 99, [4]),
    ],
)
def test_pages_of_the_log(registry: Registry, limit: int | None, before: int | None, numbers: list[int]) -> None:
    """Newest first, so many at most, those below a number."""
    found = registry.log(limit, before)
    assert [line.number for line in found.lines] == numbers
    assert found.damage == []


def test_a_line_at_the_top_of_a_page_is_vouched_for(store: Path, registry: Registry) -> None:
    """Whoever rewrites a line, digest and all, is found by the line after it, which is on the page before."""
    line = StoredLine.from_bytes(_line(store, 2).read_bytes(), 2)
    _line(store, 2).write_bytes(line.model_copy(update={"who": "otto"}).to_bytes())
    assert registry.line(2).who == "otto"
    found = registry.log(before=3)
    assert [line.number for line in found.lines] == [1]
    assert found.damage == ["line 2 of the log is not what line 3 was written after"]


def test_each_fault_of_the_log_is_told(store: Path, registry: Registry) -> None:
    """What is missing comes first, then what is damaged, and what can still be read is shown."""
    for _ in range(2):
        registry.activate("1", "anna", "")
    _line(store, 6).write_bytes(b"[]")
    _line(store, 3).write_bytes(b"{")
    _line(store, 2).unlink()
    found = registry.log()
    assert [line.number for line in found.lines] == [5, 4, 1]
    assert found.damage == [f"line {number} of the log is {fault}" for number, fault in FAULTS]


def test_many_missing_lines_are_not_all_told(store: Path, registry: Registry) -> None:
    """A stray number far ahead is no reason for a thousand sentences: the hundred newest are told."""
    line = StoredLine.from_bytes(_line(store, 4).read_bytes(), 4)
    _line(store, 1_000).write_bytes(line.model_copy(update={"number": 1_000}).to_bytes())
    missing = [sentence for sentence in registry.log().damage if sentence.endswith("is missing")]
    assert len(missing) == 100
    assert (missing[0], missing[-1]) == ("line 999 of the log is missing", "line 900 of the log is missing")


def test_a_known_last_line_saves_the_list(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last line is known, and is good, the log is not listed."""

    def listing(_objects: Objects, _folder: str, _suffix: str) -> list[int]:
        raise AssertionError

    monkeypatch.setattr(Objects, "numbers", listing)
    live = Registry(Objects(store)).live(4)
    assert (live.line.number, live.line.version, live.damage) == (4, "2", "")


@pytest.mark.parametrize("known", [0, 4])
def test_the_newest_that_can_be_read_is_live(store: Path, registry: Registry, known: int) -> None:
    """Of all that was passed over the newest damage is told."""
    _line(store, 4).write_bytes(b"{")
    _line(store, 3).unlink()
    Path(registry.location("2")).unlink()
    live = registry.live(known)
    assert (live.line.number, live.line.version, live.damage) == (1, "1", "line 4 of the log is damaged")


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("versions/2.safetensors", "there is no version 2"),
        ("versions", "there is no version 2"),
        ("log", "there are versions, and none is live: `orchard activate 2` makes the newest one live"),
        ("", "no model has been trained yet"),
    ],
)
def test_why_none_is_live(store: Path, registry: Registry, lost: str, why: str) -> None:
    """What was lost: every version that was live, the log, or all."""
    for path in (store / lost, Path(registry.location("1"))) if lost == "versions/2.safetensors" else (store / lost,):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(NotReady) as caught:
        registry.live()
    assert caught.value.detail == why


def test_a_missing_line_does_not_damage_its_neighbours(store: Path, registry: Registry) -> None:
    """What a line tells of the one before it is not held against the one before that."""
    _line(store, 3).unlink()
    log = registry.log()
    assert [line.number for line in log.lines] == [4, 2, 1]
    assert log.damage == ["line 3 of the log is missing"]


def test_a_number_that_is_taken_back_meanwhile(
    registry: Registry, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version is taken back since the numbers were listed, and its file is gone: another one does not get it."""
    first = registry.publish(version).version
    with monkeypatch.context() as stale:
        number = str(int(first) + 1)
        stale.setattr(Objects, "numbers", lambda *_of: [int(first)])
        assert registry.publish(version).version == number
        registry.discard(number)
        published = registry.publish(version)
    assert published.version == str(int(number) + 1)
    assert registry.read(published.version, published.sha256).card == version.card
    assert int(number) not in registry.versions()


def test_a_list_that_lacks_the_last_lines(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that is made while lines are written: the last line is looked for behind those that it has."""
    listed = Objects.numbers
    monkeypatch.setattr(Objects, "numbers", lambda *of: listed(*of)[:-2])
    assert registry.last_number() == 4
