"""Answers large questions in a process of their own, so that small ones keep their latency.

Reading and writing megabytes of JSON or CSV holds Python's lock for tens of milliseconds; a thread would not help.
Bodies and answers cross as files in memory, not through a pipe. ``python -m app.api.aside``
is that process; it ends when the server does.
"""

import asyncio
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import numpy as np

from app.api.answers import Answer
from app.api.large import InMemoryFile
from app.api.questions import read
from app.errors import AnsweringFailed, OrchardError
from app.model.linear import LinearModel
from app.model.moments import Array, Moments

IDLE_S = 60.0
"""How long the process is kept without work, seconds: it holds about 60 MB."""


NICE = 10
"""How much is left to those who ask about a single region."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a body is to be read and answered: its content type and the answer's, the version, and the query."""

    sent: str
    wanted: str
    max_rows: int
    version: str
    model: LinearModel
    level: float
    explain: bool


def reply(body: bytes, terms: Terms) -> tuple[bytes | memoryview, list[Array]]:
    """Read a question and return its answer, and the weather that was asked about.

    Raises:
        InputError: the question cannot be answered.
    """
    question = read(body, terms.sent, terms.max_rows)
    answer = Answer(question, terms.version, terms.model, terms.level, explain=terms.explain)
    return answer.write(terms.wanted), list(question.weather)


class Aside:
    """The other process, started by the first large question; it answers one at a time, and so does the thread here."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._here = ThreadPoolExecutor(1, "here", initializer=os.nice, initargs=(NICE,))  # of the thread alone
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None
        self._idle_s = idle_s
        self._idle: asyncio.TimerHandle | None = None

    async def reply_here(self, body: bytes, terms: Terms) -> tuple[bytes | memoryview, list[Array]]:
        """Do as `reply` outside this class, in a thread: for what leaves Python's lock alone most of the time."""
        return await asyncio.get_running_loop().run_in_executor(self._here, reply, body, terms)

    async def reply(self, body: bytes, terms: Terms) -> tuple[InMemoryFile, Moments]:
        """Return the answer to a body, and the moments of the weather that was asked about, 3 columns.

        Raises:
            InputError: the question cannot be answered.
            AnsweringFailed: the process died.
        """
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        try:
            return await loop.run_in_executor(self._thread, self._exchange, body, terms)
        finally:
            self._idle = loop.call_later(self._idle_s, self._thread.submit, self._end)

    def _exchange(self, body: bytes, terms: Terms) -> tuple[InMemoryFile, Moments]:
        line, process = self._ready()
        try:
            line.send_bytes(pickle.dumps((terms, len(body))))
            _send_memory(line, body, process.pid)
            outcome = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that was started here
            if isinstance(outcome, OrchardError):
                raise outcome
            size, moments = outcome
            return InMemoryFile(recv_handle(line), size), moments
        except (EOFError, OSError) as error:
            self._end()
            raise AnsweringFailed("the process that answers large questions died: try a smaller one") from error

    def _ready(self) -> tuple["Connection[Any, Any]", subprocess.Popen[bytes]]:
        if self._line is None or self._process is None or self._process.poll() is not None:
            self._end()
            self._line, other = Pipe()
            with other:
                self._process = subprocess.Popen(  # noqa: S603 - this program itself
                    [sys.executable, "-m", "app.api.aside", str(other.fileno())],
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C in the terminal is the server's to handle
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


def _send_memory(line: "Connection[Any, Any]", content: bytes | memoryview, receiver: int | None) -> None:
    """Hand over a file without a name, in memory where the system can, that holds ``content``."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("orchard")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
        send_handle(line, descriptor, receiver)
    finally:
        os.close(descriptor)


def main() -> None:
    """Answer questions until the server closes its end."""
    os.nice(NICE)
    line: Connection[Any, Any] = Connection(int(sys.argv[1]))
    while True:
        try:
            terms, size = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that started this one
            received = InMemoryFile(recv_handle(line), size)
            body = received.read(0, size)
            received.close()
            _answer(line, body, terms)
        except (EOFError, OSError):
            return


def _answer(line: "Connection[Any, Any]", body: bytes, terms: Terms) -> None:
    try:
        content, weather = reply(body, terms)
    except OrchardError as error:
        line.send_bytes(pickle.dumps(error))
        return
    line.send_bytes(pickle.dumps((len(content), Moments.of(np.column_stack(weather)))))
    _send_memory(line, content, os.getppid())


if __name__ == "__main__":
    main()
