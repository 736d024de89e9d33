"""What signals do. SIGTERM: not ready first, then no new connections."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def announced(notice: Callable[[], None], delay_s: float) -> Iterator[None]:
    """Within the block SIGTERM calls ``notice`` at once, and ``delay_s`` seconds later what handled it before.

    A load balancer sees the service leaving while it still answers.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    loop = asyncio.get_running_loop()

    def stop(number: int, _frame: FrameType | None) -> None:
        notice()
        loop.call_soon_threadsafe(loop.call_later, delay_s, before, number, None)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def heard(number: signal.Signals, notice: Callable[[], None]) -> Iterator[None]:
    """Within the block a signal calls ``notice``, in the event loop, besides what handled it before."""
    before = signal.getsignal(number)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    loop = asyncio.get_running_loop()

    def hear(caught: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(notice)
        before(caught, frame)

    signal.signal(number, hear)
    try:
        yield
    finally:
        signal.signal(number, before)
