"""Works on large bodies in a process of their own, so that small ones keep their latency.

Reading and writing megabytes of JSON or CSV holds Python's lock for tens of milliseconds; a thread would not help.
Bodies and answers cross as files in memory, not through a pipe. ``python -m app.api.aside``
is that process; it ends when the server does.
"""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, TypeVar

from app import memory, parent
from app.api.large import InMemoryFile, Parts, pieces
from app.errors import AnsweringFailed, OrchardError

IDLE_S = 60.0
"""How long the process is kept without work, seconds: it holds about 60 MB."""

LARGE = 16 * 1024
"""Bodies of this many bytes take more than a millisecond or two, and do not hold up the event loop."""
PATIENCE_S = 120.0
"""How long one body may be worked on before the process is given up, seconds: the largest take a few."""
NICE = 10
"""How much is left to those who ask about a single region."""

Result = TypeVar("Result")
Work = Callable[..., tuple[bytes | Parts, Any]]
"""A function of a module, of a body and more: what it returns first may be large, the second is small."""


class Aside:
    """The other process, started by the first large body; it works on one at a time, and so does the thread here."""

    def __init__(self, idle_s: float = IDLE_S, patience_s: float = PATIENCE_S) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._here = ThreadPoolExecutor(1, "here", initializer=os.nice, initargs=(NICE,))  # of the thread alone
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None
        self._idle_s = idle_s
        self._patience_s = patience_s
        self._idle: asyncio.TimerHandle | None = None

    async def call_here(self, work: Callable[..., Result], *more: Any) -> Result:
        """Return what ``work(*more)`` returns, done in a thread here: for what leaves Python's lock alone mostly."""
        return await asyncio.get_running_loop().run_in_executor(self._here, work, *more)

    async def call(self, work: Work, body: bytes, *more: Any) -> tuple[InMemoryFile, Any]:
        """Return what ``work(body, *more)`` returns there.

        Raises:
            AnsweringFailed: the process died, or took too long.
            OrchardError: whatever the work raises.
        """
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        try:
            return await loop.run_in_executor(self._thread, self._exchange, work, body, more)
        finally:
            self._idle = loop.call_later(self._idle_s, self._thread.submit, self._end)

    def _exchange(self, work: Work, body: bytes, more: tuple[Any, ...]) -> tuple[InMemoryFile, Any]:
        line, process = self._ready()
        try:
            line.send_bytes(pickle.dumps((work, more, len(body))))
            _send_memory(line, body, process.pid)
            if not line.poll(self._patience_s):
                process.kill()
            outcome = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that was started here
            if isinstance(outcome, OrchardError):
                raise outcome
            size, small = outcome
            return InMemoryFile(recv_handle(line), size), small
        except (EOFError, OSError) as error:
            self._end()
            raise AnsweringFailed("the process that works on large bodies died: try a smaller one") from error

    def _ready(self) -> tuple["Connection[Any, Any]", subprocess.Popen[bytes]]:
        if self._line is None or self._process is None or self._process.poll() is not None:
            self._end()
            self._line, other = Pipe()
            with other:
                self._process = subprocess.Popen(  # noqa: S603 - this program itself
                    [sys.executable, "-m", "app.api.aside", str(other.fileno())],
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
        return self._line, self._process

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()  # which ends the process
        if self._process is not None:
            self._process.wait()
        self._line = self._process = None

    async def close(self) -> None:
        """End the process after the question that it is answering."""
        if self._idle is not None:
            self._idle.cancel()
        self._thread.submit(self._end)
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._here.shutdown)


def _send_memory(line: "Connection[Any, Any]", content: bytes | Parts, receiver: int | None) -> None:
    """Hand over a file without a name, in memory where the system can, that holds ``content``."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("orchard")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            for piece in pieces(content):
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
        send_handle(line, descriptor, receiver)
    finally:
        os.close(descriptor)


def main() -> None:
    """Answer questions until the server closes its end."""
    # A Ctrl-C in the terminal is the server's to handle. (In a session of its own, niceness would not count.)
    os.setpgid(0, 0)
    os.nice(NICE)
    parent.end_with_parent()
    line: Connection[Any, Any] = Connection(int(sys.argv[1]))
    gc.disable()  # looking through a million new rows for garbage would take as long as reading them
    while True:
        try:
            refused = _refused(line)
        except (EOFError, OSError):
            return
        memory.settle()
        if refused:  # whoever sends hundreds of thousands of faults is not to have the memory too
            memory.give_back()


def _refused(line: "Connection[Any, Any]") -> bool:
    """Work on one body, of which nothing is held afterwards, and return whether it was refused."""
    work, more, size = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that started this one
    received = InMemoryFile(recv_handle(line), size)
    body = received.read(0, size)
    received.close()
    try:
        content, small = work(body, *more)
    except OrchardError as error:
        line.send_bytes(pickle.dumps(error))
        return True
    line.send_bytes(pickle.dumps((len(content), small)))
    _send_memory(line, content, os.getppid())
    return False


if __name__ == "__main__":
    main()
