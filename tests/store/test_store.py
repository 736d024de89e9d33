"""Objects, versions and the registry: created once, verified, never overwritten."""

import errno
import os
import threading
from pathlib import Path

import pytest

from app.data.provenance import Provenance
from app.data.tables import Table
from app.errors import NotFound, NotReady, StoreDamaged, StoreUnavailable
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.store.store import NameTaken
from app.store.version import Version
from app.training.job import Job
from app.training.order import Order


@pytest.fixture(scope="module")
def version(tutorial: Table, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Return a trained version."""
    job = Job(Settings(model_store=tmp_path_factory.mktemp("trained")))
    outcome = job.run(Order(Provenance("test", "test"), tutorial, alone=True))
    job.close()
    return outcome.version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Return a registry on an empty store."""
    return Registry(Objects(tmp_path / "store"))


def test_an_object_is_created_once(tmp_path: Path) -> None:
    """A second creation under the same name fails and leaves the first as it was, and nothing temporary."""
    objects = Objects(tmp_path / "store")
    objects.create("a/1", b"first")
    with pytest.raises(NameTaken):
        objects.create("a/1", b"second")
    assert objects.read("a/1") == b"first"
    assert (tmp_path / "store/a/1").stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "store/tmp").iterdir()) == []


def test_numbers_are_those_of_numbered_names(tmp_path: Path) -> None:
    """Only names that are a number and the suffix count, in numeric order."""
    objects = Objects(tmp_path)
    for name in ("10.json", "9.json", "x.json", "3.txt", "٣.json"):
        objects.create(f"log/{name}", b"")
    assert objects.numbers("log", ".json") == [9, 10]
    assert objects.numbers("nothing", ".json") == []


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    """Where a file is in the way of the folder, writing is a clear error, and reading says what is missing."""
    (tmp_path / "store").write_text("in the way")
    objects = Objects(tmp_path / "store")
    with pytest.raises(StoreUnavailable, match="the model store cannot be written: "):
        objects.create("a/1", b"")
    with pytest.raises(StoreUnavailable, match="the model store cannot be read: "):
        objects.read("a/1")


def test_a_version_survives_its_file(version: Version) -> None:
    """Weights, intercepts, moments and card come back to the bit."""
    again = Version.from_bytes(version.to_bytes())
    assert again.card == version.card
    assert again.weights.tobytes() == version.weights.tobytes()
    assert again.model == version.model


def test_every_damaged_byte_is_found(version: Version) -> None:
    """Whichever byte of the file is changed, and wherever it is cut off, reading it is an error."""
    content = version.to_bytes()
    for place in [*range(200), *range(200, len(content), 37), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        try:
            found = Version.from_bytes(bytes(damaged))
        except StoreDamaged:
            continue
        # White space in the header's padding is the only thing that may differ.
        assert found.card == version.card
        assert found.weights.tobytes() == version.weights.tobytes()
    for length in (0, 5, 100, len(content) - 1):
        with pytest.raises(StoreDamaged):
            Version.from_bytes(content[:length])


def test_versions_are_numbered_and_activated(registry: Registry, version: Version) -> None:
    """Versions count up from 1; the live one is the last activated; the log keeps all lines."""
    with pytest.raises(NotReady, match="no model has been trained yet"):
        registry.live()
    assert [registry.publish(version).version for _ in range(3)] == ["1", "2", "3"]
    for number in ("2", "3", "1"):
        registry.activate(number, "me", f"for {number}")
    assert registry.versions() == [3, 2, 1]
    assert registry.live()[0].version == "1"
    assert [line.version for line in registry.log(10).lines] == ["1", "3", "2"]
    assert [line.version for line in registry.log(1, before=3).lines] == ["3"]


def test_what_is_not_there_cannot_be_activated(registry: Registry, version: Version) -> None:
    """An unknown or damaged version is refused, and no line is written."""
    registry.publish(version)
    with pytest.raises(NotFound, match="there is no version 7"):
        registry.activate("7", "me", "")
    assert registry.last_number() == 0


def test_writers_at_once_never_share_a_number(registry: Registry, version: Version) -> None:
    """Eight writers at once get eight versions and eight lines."""
    published: list[str] = []

    def write() -> None:
        number = registry.publish(version).version
        published.append(number)
        registry.activate(number, "me", "")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, published)) == list(range(1, 9))
    assert registry.last_number() == 8
    assert sorted(line.version for line in registry.log(10).lines) == sorted(published)


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_damaged_version_is_passed_over(tmp_path: Path, registry: Registry, version: Version, damage: str) -> None:
    """When the last activated version is damaged, replaced or gone, the one before is live."""
    for number in ("1", "2"):
        assert registry.publish(version).version == number
        registry.activate(number, "me", "")
    file = tmp_path / "store/versions/2.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif damage == "other":
        other = Version(version.card, version.weights * 2, version.intercepts, version.moments)
        file.write_bytes(other.to_bytes())
    else:
        file.unlink()
    assert registry.live()[0].version == "1"


def test_a_damaged_line_is_passed_over(tmp_path: Path, registry: Registry, version: Version) -> None:
    """A line of the log that cannot be read is no activation, and the log goes on behind it."""
    for number in ("1", "2"):
        registry.publish(version)
        registry.activate(number, "me", "")
    (tmp_path / "store/log/2.json").write_text('{"number": 2, "ver')
    assert registry.live()[0].version == "1"
    assert [line.version for line in registry.log(5).lines] == ["1"]
    assert registry.activate("2", "me", "").number == 3


@pytest.mark.parametrize("call", ["unlink", "fsync"])
def test_once_linked_a_write_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """If tidying up fails after the link, the object is there, and no error says that it is not."""
    objects = Objects(tmp_path / "store")
    objects.create("log/1.json", b"first")
    real, linked = getattr(os, call), []
    link = os.link

    def linking(source: str, target: Path) -> None:
        link(source, target)
        linked.append(target)

    def failing(*arguments: object, **named: object) -> object:
        if linked:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(os, "link", linking)
        broken.setattr(os, call, failing)
        objects.create("log/2.json", b"second")
    assert objects.read("log/2.json") == b"second"


def test_a_link_whose_answer_is_lost_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that carries a link out and then fails, or repeats it, has made the object."""
    objects = Objects(tmp_path / "store")
    link = os.link

    def twice(source: str, target: Path) -> None:
        link(source, target)
        link(source, target)

    with monkeypatch.context() as repeating:
        repeating.setattr(os, "link", twice)
        objects.create("log/1.json", b"first")
    assert objects.read("log/1.json") == b"first"


def test_a_folder_that_cannot_be_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for an object in it is the store's error, not the system's."""
    objects = Objects(tmp_path / "store")

    def refusing(_path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refusing)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        objects.exists("log/1.json")
