"""Bytes of megabytes: kept where they are, given out whole and in pieces, and their files closed."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import TooLarge
from app.wire.parts import LONGEST, PART, SMALL, Content, InMemoryFile, Parts, check_size, pieces, take


def _filled(contents: Iterable[bytes]) -> Parts:
    parts = Parts()
    for content in contents:
        assert parts.write(content) == len(content)
    return parts


def _file(folder: Path, content: bytes) -> InMemoryFile:
    path = folder / "content"
    path.write_bytes(content)
    return InMemoryFile(os.open(path, os.O_RDONLY), len(content))


def _is_open(file: InMemoryFile) -> bool:
    try:
        os.fstat(file.descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("size", [0, 1, LONGEST])
def test_an_answer_may_be_so_large(size: int) -> None:
    """The limit itself is allowed."""
    check_size(size)


def test_an_answer_may_not_be_larger() -> None:
    """One byte more is refused, with both numbers and what to do."""
    with pytest.raises(TooLarge, match=f"would have {LONGEST + 1} bytes, the limit is {LONGEST}: ask for fewer"):
        check_size(LONGEST + 1)


@given(st.lists(st.sampled_from([0, 1, 7, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL]), max_size=8))
def test_what_was_written_comes_out(sizes: list[int]) -> None:
    """All of it, in order, whatever is small among it; looked at twice, and written to in between."""
    contents = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
    parts = _filled(contents)
    assert len(parts) == sum(sizes)
    assert b"".join(parts.views()) == b"".join(contents)
    parts.write(b"end")
    assert b"".join(parts.views()) == take(parts) == b"".join(contents) + b"end"


def test_small_ones_are_put_together() -> None:
    """Neighbours that are small become one view; a large one between them keeps its own."""
    large = bytes(SMALL)
    assert [len(view) for view in _filled([b"a", b"bc", large, b"d", b"e"]).views()] == [3, SMALL, 2]
    assert _filled([b"", b""]).views() == []


def test_large_ones_are_not_copied() -> None:
    """A large array is seen as it is now, a small one as it was when it was written."""
    large, small = np.zeros(SMALL), np.zeros(1)
    parts = Parts()
    assert parts.write(large.data) == large.nbytes
    parts.write(small.data)
    large[0] = small[0] = 1.0
    assert take(parts) == large.tobytes() + bytes(8)


def test_it_is_written_to_like_a_file() -> None:
    """Who flushes and closes it, as Arrow does, finds all that was written still there."""
    parts = _filled([b"a"])
    parts.flush()
    parts.close()
    assert not parts.closed
    assert take(parts) == b"a"


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5])
def test_pieces(tmp_path: Path, size: int) -> None:
    """Bytes, parts and a file come out whole, in as few pieces of at most 128 KiB as there can be."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    file = _file(tmp_path, content)
    kinds: list[Content] = [content, _filled([content]), file]
    for kind in kinds:
        sizes = [len(piece) for piece in pieces(kind)]
        assert sizes == [PART] * (size // PART) + [size % PART] * (size % PART > 0)
        assert len(kind) == size
        assert take(kind) == content
    assert not _is_open(file)


@pytest.mark.parametrize(
    ("start", "count", "read"), [(0, 3, b"abc"), (4, 2, b"ef"), (4, 100, b"ef"), (6, 5, b""), (0, 0, b"")]
)
def test_a_part_of_a_file(tmp_path: Path, start: int, count: int, read: bytes) -> None:
    """Any part, as far as the file goes."""
    file = _file(tmp_path, b"abcdef")
    assert file.read(start, count) == read
    file.close()


def test_a_system_that_reads_less_than_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes at a time: it is asked again until all are there."""
    file = _file(tmp_path, b"abcdefg")
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, count, start: read(descriptor, min(count, 2), start))
    assert (file.read(1, 5), file.read(5, 9)) == (b"bcdef", b"fg")
    assert take(file) == b"abcdefg"


def test_a_file_that_cannot_be_read_is_closed() -> None:
    """The error is raised, and the descriptor is given back all the same."""
    pipe, other = os.pipe()
    file = InMemoryFile(pipe, 5)
    with pytest.raises(OSError, match="Illegal seek"):
        take(file)
    assert not _is_open(file)
    os.close(other)
