"""What a process does when the one that started it ends: it ends too, so that nothing lives on without a master."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import time

LOOK_EVERY_S = 0.5
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def end_with_parent(parent: int | None = None) -> None:
    """End this process, at once and without another word, as soon as its parent has ended, however that came about.

    What a process writes bears being killed at any moment. ``parent``: its process id, for a process that would not
    notice by itself if its parent had ended before this call; one that reads its work from the parent does. Linux
    takes the *thread* that has started a process for its parent: that has to live as long as the process may.
    """
    if not _asked_of_the_kernel():
        threading.Thread(target=_await_end, args=(parent or os.getppid(),), daemon=True).start()
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def end_with_supervisor() -> None:
    """Do as `end_with_parent` where this process is one of several workers of a service."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        end_with_parent(supervisor.pid)


def _asked_of_the_kernel() -> bool:
    """Ask for a SIGKILL at the parent's end, and say whether this system knows how."""
    with contextlib.suppress(AttributeError, OSError):
        asked: int = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        return asked == 0
    return False


def _await_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
