"""One training at a time on a model store.

Trainings that ran side by side would still lose nothing: each makes its version live behind the line that it was judged
against, or begins again. The lock spares them the work.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import filelock

from app.data.observations import Observations
from app.errors import RetrainRunning, StoreUnavailable
from app.settings import Settings

NAME = "retrain.lock"
RUNNING = "another training is running on this model store: try again when it is done"


def alone(settings: Settings, observations: Observations) -> AbstractContextManager[None]:
    """Hold the training lock of a store: a file in a folder, or one of PostgreSQL's where the store has none.

    Either is released when its owner dies.

    Raises:
        RetrainRunning: another process holds it.
        StoreUnavailable: the store, or the database, cannot be written.
    """
    if settings.is_remote:
        return _of_database(str(settings.model_store), observations)
    return _of_folder(settings.folder)


@contextmanager
def _of_folder(store: Path) -> Iterator[None]:
    lock = filelock.FileLock(store / NAME, timeout=0, preserve_lock_file=True)
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise RetrainRunning(RUNNING) from error
    except OSError as error:
        raise StoreUnavailable(f"the model store cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _of_database(store: str, observations: Observations) -> Iterator[None]:
    with observations.alone(store) as is_held:
        if not is_held:
            raise RetrainRunning(RUNNING)
        yield
