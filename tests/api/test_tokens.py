"""Tokens by name, the file that they are lines of, and the addresses that try wrong ones."""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.api import tokens
from app.api.tokens import ATTEMPTS, LARGEST, WINDOW_S, Tokens, WrongTokens
from app.errors import OrchardError, StoreUnavailable, TooManyAttempts, Unauthorized
from app.settings import Settings
from app.store.objects import Objects

ANNA, BEN, READS = "anna-has-a-token", "ben-has-a-token-", "a-token-for-reading"


@pytest.fixture
def file(settings: Settings) -> Path:
    """Return the path of a token file that only its owner can read, with a token of Anna's."""
    settings.folder.mkdir()
    file = settings.folder / "token"
    file.touch(0o600)
    file.write_text(f"anna {ANNA}\n")
    return file


def test_the_first_start_makes_a_token(settings: Settings) -> None:
    """A long one, in a file of its owner's; the next start takes the same."""
    first = Tokens(settings)
    file = settings.folder / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (made,) = file.read_text().splitlines()
    assert len(made) == 43
    assert (first.writer(made), Tokens(settings).writer(made)) == ("token", "token")


def test_two_first_starts_agree(settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second with its token takes the one of the first."""
    monkeypatch.setattr(Objects, "exists", lambda _objects, _name: False)
    assert Tokens(settings).writer(ANNA) == "anna"
    assert file.read_text() == f"anna {ANNA}\n"


@pytest.mark.parametrize(
    ("text", "writers"),
    [
        (ANNA, {ANNA: "token"}),
        (f"anna {ANNA}\nben {BEN}\n", {ANNA: "anna", BEN: "ben"}),
        (f"{ANNA}\n{BEN}\n", {ANNA: "token", BEN: "token (line 2)"}),
        (f"anna {ANNA}\n\nanna {BEN}\n", {ANNA: "anna", BEN: "anna (line 3)"}),
        (f"\t anna \t {ANNA} \r\n  ben {BEN}", {ANNA: "anna", BEN: "ben"}),
        (f"# all of us\nanna {ANNA} # since May\n#ben {BEN}\n", {ANNA: "anna", BEN: None}),
        (f"anna {ANNA}#{BEN}\n", {ANNA: "anna", f"{ANNA}#{BEN}": None, BEN: None}),
        (f"anna {ANNA}\nben {BEN[:-1]}\n", {ANNA: "anna", BEN: None, BEN[:-1]: None}),
        (f"anna {ANNA}\nben and {BEN}\n", {ANNA: "anna", BEN: None}),
        (f"{ANNA} short\nben {BEN}\n", {ANNA: None, "short": None, BEN: "ben"}),
        (f"\ufeffanna {ANNA}\n", {ANNA: "anna"}),
        (f"\ufeff{ANNA}\n", {ANNA: "token"}),
        (f"anna {ANNA}\n", {"": None, "anna": None, f"anna {ANNA}": None, ANNA[:-1]: None, ANNA + "\n": None}),
    ],
)
def test_each_line_is_a_token(settings: Settings, file: Path, text: str, writers: dict[str, str | None]) -> None:
    """With a name or none, behind it a comment; what is no such line is nobody's token."""
    file.write_text(text)
    found = Tokens(settings)
    assert {token: found.writer(token) for token in writers} == writers


def test_what_is_no_text_is_passed_over(settings: Settings, file: Path) -> None:
    """The lines around it are read."""
    file.write_bytes(b"\xff\xfe\x00\nanna " + ANNA.encode() + b"\n")
    assert Tokens(settings).writer(ANNA) == "anna"


def _written(file: Path) -> None:
    before = file.stat()
    file.write_text(f"ben {BEN} # has come\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _written_over(file: Path) -> None:
    before = file.stat()
    file.write_text(f"ben  {BEN}\n")
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _put_in_place(file: Path) -> None:
    before = file.stat()
    other = file.with_name("other")
    other.write_text(f"ben  {BEN}\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("edit", [_written, _written_over, _put_in_place])
def test_tokens_come_and_go(settings: Settings, file: Path, edit: Callable[[Path], None]) -> None:
    """When the file has another length, another time or is another one: the old token is gone, the new one is right."""
    found = Tokens(settings)
    assert (found.writer(ANNA), found.writer(BEN)) == ("anna", None)
    edit(file)
    assert (found.writer(ANNA), found.writer(BEN)) == (None, "ben")


def test_the_file_is_read_when_it_has_changed(settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not otherwise; a change that could not be read is read at the next look."""
    found = Tokens(settings)

    def failing(_objects: Objects, _name: str) -> bytes:
        raise StoreUnavailable("the disk is gone")

    with monkeypatch.context() as gone:
        gone.setattr(Objects, "read", failing)
        assert found.writer(ANNA) == "anna"
        _written(file)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="the disk is gone"):
                found.writer(ANNA)
    assert (found.writer(ANNA), found.writer(BEN)) == (None, "ben")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "holds no token"),
        (b"# nobody\n", "holds no token"),
        (b"short\n", "holds no token"),
        (ANNA.encode() + b"\n" * LARGEST, "more than 262144 bytes"),
    ],
)
def test_without_a_token_nobody_writes(settings: Settings, file: Path, content: bytes | None, message: str) -> None:
    """Not even with the last right one, until there is one again; a start says so too."""
    found = Tokens(settings)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
        with pytest.raises(StoreUnavailable, match=message):
            Tokens(settings)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=message):
            found.writer(ANNA)
    file.write_text(f"anna {ANNA}\n")
    assert found.writer(ANNA) == "anna"


def test_a_file_of_the_largest_size_is_read(settings: Settings, file: Path) -> None:
    """To its last line."""
    file.write_bytes(ANNA.encode().rjust(LARGEST, b"\n"))
    assert Tokens(settings).writer(ANNA) == "token"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["x"], "line 1 of"),
        (["", "a b c", "# x", "anna too-short"], "lines 2, 4 of"),
        (["x"] * 5, "lines 1, 2, 3, 4, 5 of"),
        (["x"] * 7, "lines 1, 2, 3, 4, 5 and 2 more of"),
    ],
)
def test_lines_that_are_passed_over_are_told(
    settings: Settings, file: Path, lines: list[str], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By their numbers, a few of them, once for each change of the file."""
    file.write_text("\n".join([*lines, ANNA]))
    with caplog.at_level(logging.WARNING, "orchard"):
        found = Tokens(settings)
        found.writer(ANNA)
    (line,) = caplog.messages
    assert line.startswith(f"{shown} the token file: passed over, since each has to be a token of 16 characters")


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_told(
    settings: Settings, file: Path, mode: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do; its tokens are right all the same."""
    file.chmod(mode)
    with caplog.at_level(logging.WARNING, "orchard"):
        assert Tokens(settings).writer(ANNA) == "anna"
    assert ["chmod 600 it" in line for line in caplog.messages] == [True] * is_told


def test_the_setting_stands_for_the_file(settings: Settings, file: Path) -> None:
    """With ORCHARD_TOKEN the file is not read, and none is made."""
    fixed = Tokens(settings.model_copy(update={"token": SecretStr(BEN)}))
    assert (fixed.writer(BEN), fixed.writer(ANNA)) == ("token", None)
    file.unlink()
    assert fixed.writer(BEN) == "token"
    Tokens(settings.model_copy(update={"token": SecretStr(BEN)}))
    assert not file.exists()


def _mounted(folder: Path, token: str) -> Path:
    """Write a secret as Kubernetes mounts it: the name is a link into a folder that a link stands for."""
    version = folder / f"..{token}"
    version.mkdir(parents=True)
    (version / "token").write_text(f"{token}\n")
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")
    if not (folder / "token").is_symlink():
        (folder / "token").symlink_to(Path("..data") / "token")
    return folder / "token"


def test_a_mounted_secret_is_read_again_when_it_is_exchanged(settings: Settings, tmp_path: Path) -> None:
    """Its links lead elsewhere then; the model store gets no file of its own, and the secret is not written."""
    file = _mounted(tmp_path / "secret", ANNA)
    found = Tokens(settings.model_copy(update={"token_file": file}))
    assert (found.writer(ANNA), found.writer(BEN)) == ("token", None)
    _mounted(tmp_path / "secret", BEN)
    assert (found.writer(ANNA), found.writer(BEN)) == (None, "token")
    assert file.read_text() == f"{BEN}\n"
    assert not settings.folder.exists()


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), ("# nobody\n", "holds no token")])
def test_a_token_file_without_a_token_is_told(
    settings: Settings, tmp_path: Path, content: str | None, message: str
) -> None:
    """By the name of its setting; none is made."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OrchardError, match=f"ORCHARD_TOKEN_FILE.*{message}"):
        Tokens(settings.model_copy(update={"token_file": file}))
    assert file.exists() is (content is not None)


def test_a_secret_that_can_no_longer_be_read_is_named(settings: Settings, tmp_path: Path) -> None:
    """It is not the model store that cannot."""
    file = tmp_path / "secret"
    file.write_text(ANNA)
    tokens = Tokens(settings.model_copy(update={"token_file": file}))
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreUnavailable, match="the file of ORCHARD_TOKEN_FILE cannot be read: Is a directory"):
        tokens.writer(ANNA)


@pytest.mark.parametrize(("mode", "is_told"), [(0o400, False), (0o440, False), (0o644, True)])
def test_a_secret_that_everybody_can_read_is_told(
    settings: Settings, tmp_path: Path, mode: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One for a group is not: that is how secrets are mounted."""
    file = tmp_path / "secret"
    file.write_text(ANNA)
    file.chmod(mode)
    with caplog.at_level(logging.WARNING, "orchard"):
        Tokens(settings.model_copy(update={"token_file": file}))
    assert ["chmod 640 it" in line for line in caplog.messages] == [True] * is_told


@pytest.mark.parametrize(
    ("read_token", "given", "may_read"),
    [
        (None, ANNA, True),
        (None, "", False),
        (None, READS, False),
        (READS, ANNA, True),
        (READS, READS, True),
        (READS, "", False),
        (READS, READS[:-1], False),
        (READS, "ü", False),
    ],
)
@pytest.mark.usefixtures("file")
def test_who_may_read(settings: Settings, read_token: str | None, given: str, may_read: bool) -> None:
    """With the token for reading, if there is one, or with one for writing; the one for reading never writes."""
    secret = None if read_token is None else SecretStr(read_token)
    found = Tokens(settings.model_copy(update={"read_token": secret}))
    assert found.reading_is_open is (read_token is None)
    assert found.may_read(given) is may_read
    assert found.writer(given) == ("anna" if given == ANNA else None)


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Return the time it is set to."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that wrong tokens are timed by."""
    clock = Clock()
    monkeypatch.setattr(tokens, "time", clock)
    return clock


def _refusals(wrong: WrongTokens, count: int, address: str = "192.0.2.1") -> list[type[Exception]]:
    found: list[type[Exception]] = []
    for _ in range(count):
        with pytest.raises((Unauthorized, TooManyAttempts)) as refused:
            wrong.refuse(address)
        found.append(refused.type)
    return found


@pytest.mark.usefixtures("clock")
def test_after_ten_wrong_ones_an_address_has_to_wait() -> None:
    """And no other address."""
    wrong = WrongTokens()
    assert _refusals(wrong, 12) == [Unauthorized] * ATTEMPTS + [TooManyAttempts] * 2
    assert _refusals(wrong, 1, "192.0.2.2") == [Unauthorized]


def test_the_wait_ends_with_the_window(clock: Clock) -> None:
    """It began with the first wrong token, and trying meanwhile makes it no longer; then there are ten again."""
    wrong = WrongTokens()
    _refusals(wrong, 1)
    clock.now += WINDOW_S - 1
    assert _refusals(wrong, 10) == [Unauthorized] * 9 + [TooManyAttempts]
    clock.now += 0.999
    assert _refusals(wrong, 1) == [TooManyAttempts]
    clock.now += 0.001
    assert _refusals(wrong, 11) == [Unauthorized] * 10 + [TooManyAttempts]


def test_few_wrong_ones_are_forgotten_with_the_window(clock: Clock) -> None:
    """Nine in each minute never have to wait."""
    wrong = WrongTokens()
    for _ in range(3):
        assert _refusals(wrong, ATTEMPTS - 1) == [Unauthorized] * (ATTEMPTS - 1)
        clock.now += WINDOW_S


@pytest.mark.usefixtures("clock")
def test_few_addresses_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than that, the one whose last wrong token is longest ago is forgotten."""
    monkeypatch.setattr(tokens, "ADDRESSES", 2)
    wrong = WrongTokens()
    _refusals(wrong, ATTEMPTS - 1, "first")
    _refusals(wrong, ATTEMPTS, "second")
    _refusals(wrong, 1, "first")
    _refusals(wrong, 1, "third")
    assert _refusals(wrong, 1, "first") == [TooManyAttempts]
    assert _refusals(wrong, 1, "second") == [Unauthorized]


@pytest.mark.usefixtures("clock")
def test_each_wrong_one_that_counts_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its address; those after them are not."""
    with caplog.at_level(logging.WARNING, "orchard"):
        _refusals(WrongTokens(), ATTEMPTS + 5)
    assert [(line.getMessage(), vars(line)["address"]) for line in caplog.records] == [
        ("a wrong token", "192.0.2.1")
    ] * ATTEMPTS
