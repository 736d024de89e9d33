"""Lines of the log vouch for themselves and for the line before; what is newer than this program is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import KeyReused, NotFound, StoreDamaged, StoreTooNew
from app.store.objects import Objects
from app.store.registry import Registry
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "stores" / "0.1.0" / "sqlite"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of version 0.1.0, four lines long, to which this version has added two."""
    target = tmp_path / "store"
    for name in ("versions", "log"):
        (target / name).mkdir(parents=True)
        for path in (GOLDEN / name).iterdir():
            (target / name / path.name).write_bytes(path.read_bytes())
    registry = Registry(Objects(target))
    for version in ("1", "2"):
        registry.activate(version, "anna", f"back to {version}")
    return target


def _swap(log: Path) -> None:
    first, second = (log / "2.json").read_bytes(), (log / "3.json").read_bytes()
    (log / "2.json").write_bytes(second)
    (log / "3.json").write_bytes(first)


def _edit(log: Path, line: int, old: str, new: str) -> None:
    path = log / f"{line}.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "lines swapped": (_swap, "line 2 of the log is damaged: it is line 3"),
    "a line copied to the end": (
        lambda log: (log / "7.json").write_bytes((log / "1.json").read_bytes()),
        "line 7 of the log is damaged: it is line 1",
    ),
    "who, in the last line": (lambda log: _edit(log, 6, "anna", "otto"), "line 6 of the log is damaged: the checksum"),
    "why, in the middle": (lambda log: _edit(log, 5, "back", "BACK"), "line 5 of the log is damaged: the checksum"),
    "who, in a line of 0.1.0": (
        lambda log: _edit(log, 4, '"who":"token"', '"who":"otto"'),
        "line 4 of the log is not what line 5 was written after",
    ),
    "a line removed": (lambda log: (log / "3.json").unlink(), "line 3 of the log is missing"),
    "a line that is none": (lambda log: (log / "5.json").write_bytes(b"[]"), "line 5 of the log is damaged"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_log_is_told(store: Path, name: str) -> None:
    """Whatever is changed by hand, the log says which line it is, and does not show it."""
    registry = Registry(Objects(store))
    assert registry.log().damage == []
    change, told = CHANGES[name]
    change(store / "log")
    found = registry.log()
    assert any(sentence.startswith(told) for sentence in found.damage), found.damage
    damaged = int(told.split()[1])
    assert damaged not in {line.number for line in found.lines}


def test_a_damaged_last_line_is_passed_over_and_told(store: Path) -> None:
    """The version of the line before is live, and it is said why."""
    _edit(store / "log", 6, "anna", "otto")
    line, _, damage = Registry(Objects(store)).live()
    assert (line.number, line.version) == (5, "1")
    assert "line 6 of the log is damaged" in damage


def test_lines_of_earlier_versions_are_shown_as_they_were(store: Path) -> None:
    """A line is told in the same form whoever wrote it."""
    lines = Registry(Objects(store)).log().lines
    old = json.loads((store / "log" / "1.json").read_text())
    assert json.loads(lines[-1].model_dump_json()) == old
    assert set(type(lines[0]).model_fields) == set(old)


def test_a_key_makes_one_line(store: Path) -> None:
    """Under one key a version is made live once; another version under it is refused."""
    registry = Registry(Objects(store))
    first = registry.activate("1", "anna", "", key="k")
    registry.activate("2", "anna", "")
    assert registry.activate("1", "anna", "", key="k") == first
    with pytest.raises(KeyReused):
        registry.activate("2", "anna", "", key="k")
    assert registry.last_number() == 8


def test_only_the_file_that_was_meant_is_made_live(store: Path) -> None:
    """A version whose file has another hash is not."""
    registry = Registry(Objects(store))
    with pytest.raises(StoreDamaged, match="sha256"):
        registry.activate("1", "anna", "", sha256="0" * 64)
    assert registry.last_number() == 6


def test_a_number_is_given_once(store: Path) -> None:
    """A version that is taken back is gone, and so is its number; a void without the file's end is as good."""
    registry = Registry(Objects(store))
    published = registry.publish(registry.read("1"))
    registry.discard(published.version)
    with pytest.raises(NotFound):
        registry.read(published.version)
    assert registry.versions() == [3, 2, 1]
    assert registry.publish(registry.read("2")).version == "5"
    (store / "versions" / "5.void").touch()  # it was killed before the file was removed
    assert registry.versions() == [3, 2, 1]
    assert not registry.is_file("5", published.sha256)


def test_what_a_newer_version_wrote_is_refused(store: Path) -> None:
    """A line or a version of a later format is not guessed at: the message says what to install."""
    registry = Registry(Objects(store))
    line = '{"format": 99, "number": 7, "action": "promote"}'
    (store / "log" / "7.json").write_text(line)
    with pytest.raises(StoreTooNew, match=r"line 7 of the log was written by a newer version .*format 99.*install"):
        registry.live()
    (store / "log" / "7.json").unlink()
    path = store / "versions" / "2.safetensors"
    published = registry.publish(registry.read("2"))
    path = store / "versions" / f"{published.version}.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"format":"2"', b'"format":"9"'))
    with pytest.raises(StoreTooNew, match="newer version"):
        registry.read(published.version)


def test_fields_that_a_later_version_adds_are_ignored(store: Path) -> None:
    """A line and a card of this format with a field more are read."""
    path = store / "log" / "4.json"
    path.write_text(path.read_text()[:-1] + ',"mood":"good"}')
    assert Registry(Objects(store)).line(4).version == "2"


def test_what_is_stored_is_its_owners(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    Objects(tmp_path / "a" / "store").create("versions/1.safetensors", b"x")
    for path in (tmp_path / "a" / "store", tmp_path / "a" / "store" / "versions"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "store" / "versions" / "1.safetensors").stat().st_mode & 0o777 == 0o600
