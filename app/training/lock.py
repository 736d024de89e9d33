"""One training at a time on a model store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from app.errors import RetrainRunning, StoreUnavailable

NAME = "retrain.lock"


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold the store's training lock, which the system releases when its owner dies.

    Raises:
        RetrainRunning: another process holds it.
        StoreUnavailable: the store cannot be written.
    """
    lock = filelock.FileLock(store / NAME, timeout=0, preserve_lock_file=True)
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise RetrainRunning("another training is running on this model store: try again when it is done") from error
    except OSError as error:
        raise StoreUnavailable(f"the model store cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
