"""The folder in which worker processes share their counts: gone with the service, or at the next start after it."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "orchard-"
OWNER = "owner"
"""A file in the folder that its owner holds a lock on for as long as it lives."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Return a temporary folder that is there until the end of the block."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        handle, unnamed = tempfile.mkstemp(dir=name)
        with os.fdopen(handle, "w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            Path(unnamed).rename(Path(name) / OWNER)  # nobody sees it before it is locked
            yield Path(name)


def remove_abandoned() -> int:
    """Remove such folders whose owner has ended without doing so; return how many there were.

    A folder without the owner's file, or of another user, is somebody else's whatever its name.
    """
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            removed += _remove_if_abandoned(folder)
    return removed


def _remove_if_abandoned(folder: Path) -> bool:
    status = folder.lstat()
    if not folder.is_dir() or folder.is_symlink() or status.st_uid != os.geteuid():
        return False
    with (folder / OWNER).open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError where the owner lives
        shutil.rmtree(folder)
    return True
