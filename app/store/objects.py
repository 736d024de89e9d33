"""Files that are created once and never changed: the only room that writes files. And which kind of store there is.

Every write is all or nothing and on the disk when it returns: a temporary file is filled and fsynced, then linked to
its name, which fails if the name is taken. Once it is linked, the write is done, whatever fails afterwards.
"""

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.errors import NotFound, StoreUnavailable
from app.settings import Settings, StoreURL
from app.store.store import NameTaken, Store

TEMPORARY = "tmp"
YOUNG_S = 10.0
"""An empty temporary file may be one that its writer has not locked yet, for that many seconds."""
OWNER_ONLY, OWNERS_FOLDER = 0o600, 0o700
"""What regions reported is shown over HTTP only with a token: the files beside it are their owner's too."""

logger = logging.getLogger("orchard.store")


class Objects:
    """The objects below a local folder, by their path in it (``versions/1.safetensors``).

    The folder is made by the first write.
    """

    is_remote = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def location(self, name: str) -> str:
        """Return an object's path."""
        return str(self.root / name)

    def create(self, name: str, content: bytes) -> None:
        """Store ``content`` under a new name, durably.

        Raises:
            NameTaken: the name exists.
            StoreUnavailable: the disk is full, read-only or broken; there is no such object.
        """
        target = self.root / name
        with _reported("written"):
            _make_folder(target.parent)
            _make_folder(self.root / TEMPORARY)
            handle, temporary = tempfile.mkstemp(dir=self.root / TEMPORARY)
            try:
                with os.fdopen(handle, "wb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)  # tells `clean` that its writer lives
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    _link(temporary, target)
            finally:
                _tried(Path(temporary).unlink)  # what stays is removed by `clean`
        # The object is there, and others may have read it: an error now would say that it is not.
        _tried(lambda: _sync_folder(target.parent))

    def clean(self) -> int:
        """Remove the temporary files of writers that died, and return how many there were.

        Raises:
            StoreUnavailable: they cannot be removed.
        """
        removed = 0
        with _reported("cleaned"):
            for path in (self.root / TEMPORARY).glob("*"):
                with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if file.seek(0, os.SEEK_END) or time.time() - path.stat().st_mtime > YOUNG_S:
                        path.unlink()
                        removed += 1
        return removed

    def replace(self, name: str, content: bytes) -> None:
        """Store ``content`` under a name, new or not: for what is worth nothing after a crash.

        A reader sees old or new.

        Raises:
            StoreUnavailable: it could not be written.
        """
        target = self.root / name
        with _reported("written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(target)
            except OSError:
                _tried(Path(temporary).unlink)
                raise

    def hold(self, name: str) -> int:
        """Lock an object, new or not, and return its file descriptor: it is held until that is closed.

        The system closes it when its process ends, however it ends: others see by `is_held` who lives.

        Raises:
            StoreUnavailable: it could not be written.
        """
        target = self.root / name
        with _reported("written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(target, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        return handle

    def is_held(self, name: str) -> bool:
        """Say whether a process that lives holds an object.

        Raises:
            StoreUnavailable: it cannot be looked at.
        """
        with _reported("read"):
            try:
                with (self.root / name).open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see each other
            except FileNotFoundError:
                return False
            except BlockingIOError:
                return True
            return False

    def read(self, name: str) -> bytes:
        """Return an object's content.

        Raises:
            NotFound: there is no such object.
            StoreUnavailable: it cannot be read.
        """
        with _reported("read"):
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError as error:
                raise NotFound(f"there is no {name}") from error

    def exists(self, name: str) -> bool:
        """Say whether there is an object of this name.

        Raises:
            StoreUnavailable: the folder cannot be looked at.
        """
        with _reported("read"):
            try:
                (self.root / name).stat()
            except FileNotFoundError:
                return False
            return True  # `Path.exists` takes some failures for no

    def numbers(self, folder: str, suffix: str) -> list[int]:
        """Return, ascending, the n of all the objects ``folder/<n><suffix>``.

        Raises:
            StoreUnavailable: the folder cannot be read.
        """
        with _reported("read"):
            try:
                names = os.listdir(self.root / folder)  # noqa: PTH208 - a path for each would take five times as long
            except FileNotFoundError:
                return []
        stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def discard(self, name: str) -> None:
        """Take back an object that nothing refers to yet, if it exists.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
        with _reported("written"):
            (self.root / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _reported(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the model store cannot be {verb}: {error.strerror}") from error


def _link(temporary: str, target: Path) -> None:
    try:
        os.link(temporary, target)
    except OSError as error:
        # A network file system may carry a call out and lose its answer, or repeat one that was carried out.
        if target.exists() and target.samefile(temporary):
            return
        if isinstance(error, FileExistsError):
            raise NameTaken(f"{target.name} exists") from error
        raise


def _tried(call: Callable[[], None]) -> None:
    """Do what is worth trying and changes nothing of what has been done."""
    try:
        call()
    except OSError as error:
        logger.warning("after a write: %s: %s", error.strerror, error.filename or "")


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        for missing in reversed([folder, *folder.parents]):
            if not missing.is_dir():
                missing.mkdir(mode=OWNERS_FOLDER, exist_ok=True)
                _sync_folder(missing.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_store(settings: Settings) -> Store:
    """Return the model store that the settings name: a folder, or a place in object storage.

    Raises:
        InvalidInput: what object storage needs is not installed.
    """
    if isinstance(settings.model_store, StoreURL):
        from app.store.bucket import Bucket  # noqa: PLC0415 - by those who have such a store

        return Bucket(settings.model_store)
    return Objects(settings.model_store)
