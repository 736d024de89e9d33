"""What the process does with memory, set once at its start."""

import contextlib
import ctypes
import gc
import resource

KEPT_BYTES = 32 * 2**20
"""What malloc keeps of freed memory instead of giving it back, bytes."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # from malloc.h


def keep_freed() -> None:
    """Let malloc keep what has been freed, such as one large question's arrays, for the next.

    Taking it from the system again, page by page, costs more than the arithmetic on it. Where malloc is not the GNU C
    library's, nothing changes. Not for a process that writes JSON: growing text moves without a copy only where its
    memory is mapped.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_ARENA_MAX, 1)  # what one thread has freed serves all: Python's lock keeps them apart anyway


def give_back() -> None:
    """Give all freed memory back to the system, as far as it can be."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def limit(most: int) -> None:
    """Take no more than ``most`` bytes of memory of its own: more is a MemoryError, or the end of this process.

    Not of addresses: libraries reserve more of them than they use.
    """
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def freeze_heap() -> None:
    """Tell the collector that what has been made so far stays: looking through it would cost a request milliseconds."""
    gc.collect()
    gc.freeze()
