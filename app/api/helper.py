"""Works on large bodies in a process of their own, so that small ones keep their latency.

Reading and writing megabytes of JSON or CSV holds Python's lock for tens of milliseconds; a thread would not help.
Bodies and answers cross as files in memory, not through a pipe. ``python -m app.api.helper``
is that process; it ends when the server does. What a parser makes of a hostile body is limited there: in memory and
time, and it kills nobody else.
"""

import asyncio
import gc
import heapq
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from app import memory, parent
from app.errors import HelperFailed, OrchardError, TooLarge
from app.wire.parts import Content, InMemoryFile, Parts, check_size, pieces

IDLE_S = 60.0
"""How long the process is kept without work, seconds: it holds about 60 MB."""

LARGE = 16 * 1024
"""Bodies of this many bytes take more than a millisecond or two, and do not hold up the event loop."""
FEW_CROPS = 4
"""With more crops than these a body's answer is longer, and fewer bytes are a large body."""
MEMORY_BYTES, MEMORY_TIMES = 256 * 2**20, 48
"""The most memory that the process may take: that many bytes, and the longest body that many times.

By default 1.8 GB: 200 000 regions with the explanations of two crops take 870 MB, 140 000 observations of ten crops
520 MB. What takes more asks for too much at once, or is something that nobody has thought of.
"""
PATIENCE_S = 120.0
"""How long one body may be worked on before the process is given up, seconds: the largest take a few."""
NICE = 10
"""How much is left to those who ask about a single region."""

Result = TypeVar("Result")
Work = Callable[..., tuple[bytes | Parts, Any]]
"""A function of a module, of a body and more: what it returns first may be large, the second is small."""


SETTINGS, KEYS = "ORCHARD_", ("AWS_", "AZURE_", "GOOGLE_")
"""What the names of variables begin with that are settings, and of those that may be keys of object storage."""


class Turns:
    """Whose turn it is where one works at a time: shorter bodies first, none overtaken by more bytes than it has."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._passed = 0
        self._count = itertools.count()

    @asynccontextmanager
    async def turn(self, size: int, asker: Request | None = None) -> AsyncIterator[None]:
        """Wait for the turn of a body of ``size`` bytes, and have it for the block.

        Raises:
            ClientDisconnect: who has sent it has left in the meantime.
        """
        await self._wait(size, asker)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, size: int, asker: Request | None) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        mine = asyncio.get_running_loop().create_future()
        # Who comes later stands behind everyone that has been passed: so no one is passed for ever.
        heapq.heappush(self._waiting, (self._passed + size, next(self._count), mine))
        try:
            await _unless_left(mine, asker)
        except BaseException:
            if not mine.cancel() and not mine.cancelled():
                self._next()  # it had come at this very moment
            raise

    def _next(self) -> None:
        while self._waiting:
            self._passed, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False


async def _unless_left(turn: asyncio.Future[None], asker: Request | None) -> None:
    if asker is None:
        await turn
        return
    left = asyncio.create_task(_left(asker))
    try:
        await asyncio.wait({turn, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
    if not turn.done():
        raise ClientDisconnect


async def _left(asker: Request) -> None:
    while (await asker.receive())["type"] != "http.disconnect":
        """Its body has been read: nothing else comes."""


class Helper:
    """The other process, started by the first large body; it works on one at a time, and so does the thread here.

    ``asker``, where given, is the request that a call is for: if its client leaves before its turn, it is given up.
    """

    def __init__(
        self,
        max_body_bytes: int = 32 * 2**20,
        idle_s: float = IDLE_S,
        patience_s: float = PATIENCE_S,
        *,
        reads_store: bool = False,
    ) -> None:
        """``reads_store``: it works on nothing that strangers have sent, and may have the keys of the model store."""
        self._reads_store = reads_store
        self._memory = MEMORY_BYTES + MEMORY_TIMES * max_body_bytes
        self._turns, self._turns_here = Turns(), Turns()
        self._thread = ThreadPoolExecutor(1, "helper")
        self._here = ThreadPoolExecutor(1, "here", initializer=os.nice, initargs=(NICE,))  # of the thread alone
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None
        self._idle_s = idle_s
        self._patience_s = patience_s
        self._idle: asyncio.TimerHandle | None = None

    async def call_here(
        self, work: Callable[..., Result], body: bytes, *more: Any, asker: Request | None = None
    ) -> Result:
        """Return what ``work(body, *more)`` returns, done in a thread here: for what leaves Python's lock alone mostly.

        Raises:
            ClientDisconnect: the asker has left.
        """
        async with self._turns_here.turn(len(body), asker):
            return await asyncio.get_running_loop().run_in_executor(self._here, work, body, *more)

    async def run(
        self,
        work: Work,
        body: bytes,
        *more: Any,
        asker: Request,
        crops: int = 0,
        in_thread: Callable[..., tuple[Content, Any] | None] | None = None,
        unfolds: bool = False,
    ) -> tuple[Content, Any]:
        """Return what ``work(body, *more)`` returns: short bodies are worked on here, others in the helper process.

        ``crops``: how many are predicted for each region. ``in_thread``: the work, done in a thread of this process
        where that leaves Python's lock alone; it returns None where it had better be done in the helper process.
        ``unfolds``: a short body may hold much, and is worked on there, too.

        Raises:
            HelperFailed, TooLarge, ClientDisconnect, OrchardError: as `call`.
        """
        if in_thread is None and not unfolds and is_small(body, crops):
            return work(body, *more)
        done = await self.call_here(in_thread, body, *more, asker=asker) if in_thread is not None else None
        return done or await self.call(work, body, *more, asker=asker)

    async def call(self, work: Work, body: bytes, *more: Any, asker: Request | None = None) -> tuple[InMemoryFile, Any]:
        """Return what ``work(body, *more)`` returns there.

        Raises:
            HelperFailed: the process could not be started, died, or took too long.
            TooLarge: the work takes more memory than there is for it, or its answer is too long.
            ClientDisconnect: the asker has left.
            OrchardError: whatever the work raises.
        """
        loop = asyncio.get_running_loop()
        async with self._turns.turn(len(body), asker):
            if self._idle is not None:
                self._idle.cancel()
            try:
                return await loop.run_in_executor(self._thread, self._exchange, work, body, more)
            finally:
                self._idle = loop.call_later(self._idle_s, self._thread.submit, self._end)

    def _exchange(self, work: Work, body: bytes, more: tuple[Any, ...]) -> tuple[InMemoryFile, Any]:
        try:
            line, process = self._ready()
        except OSError as error:
            self._end()
            raise HelperFailed(
                f"the process that works on large bodies could not be started ({error.strerror}): try a smaller one"
            ) from error
        try:
            line.send_bytes(pickle.dumps((work, more, len(body))))
            _send_memory(line, body, process.pid)
            if not line.poll(self._patience_s):
                process.kill()
            outcome = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that was started here
            if "error" in outcome:
                raise OrchardError.from_dict(outcome["error"])
            size, small = outcome["answer"]
            return InMemoryFile(recv_handle(line), size), small
        except (EOFError, OSError) as error:
            self._end()
            raise HelperFailed("the process that works on large bodies died: try a smaller one") from error

    def _ready(self) -> tuple["Connection[Any, Any]", subprocess.Popen[bytes]]:
        if self._line is None or self._process is None or self._process.poll() is not None:
            self._end()
            self._line, other = Pipe()
            with other:
                self._process = subprocess.Popen(  # noqa: S603 - this program itself
                    [sys.executable, "-m", __name__, str(other.fileno()), str(self._memory), str(os.getpid())],
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=_environment(reads_store=self._reads_store),
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


def _environment(*, reads_store: bool) -> dict[str, str]:
    """Return the environment without settings, of which some are secret and none are needed there.

    And without keys of object storage, unless it is to be read there.

    With one thread; and Arrow's memory by malloc, as its own allocator takes a gigabyte of addresses at once.
    """
    hidden = (SETTINGS,) if reads_store else (SETTINGS, *KEYS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return inherited | {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


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


def is_small(body: bytes, crops: int = 0) -> bool:
    """Tell whether a body can be read, and ``crops`` predicted for its regions, without holding up the event loop."""
    return len(body) * max(crops, FEW_CROPS) < LARGE * FEW_CROPS


def main() -> None:
    """Answer questions until the server closes its end."""
    # A Ctrl-C in the terminal is the server's to handle. (In a session of its own, niceness would not count.)
    os.setpgid(0, 0)
    os.nice(NICE)
    parent.end_with_parent(int(sys.argv[3]))
    line: Connection[Any, Any] = Connection(int(sys.argv[1]))
    most = int(sys.argv[2])
    memory.limit(most)
    gc.disable()  # looking through a million new rows for garbage would take as long as reading them
    while True:
        try:
            refused = _refused(line, most)
        except (EOFError, OSError):
            return
        memory.freeze_heap()
        if refused:  # a body with hundreds of thousands of faults should not keep the memory too
            memory.give_back()


def _refused(line: "Connection[Any, Any]", most: int) -> bool:
    """Work on one body, of which nothing is held afterwards, and return whether it was refused."""
    work, more, size = pickle.loads(line.recv_bytes())  # noqa: S301 - from the process that started this one
    received = InMemoryFile(recv_handle(line), size)
    body = received.read(0, size)
    received.close()
    try:
        content, small = work(body, *more)
        check_size(len(content))
        answer = pickle.dumps({"answer": (len(content), small)})  # may compute: weather crosses as its moments
    except OrchardError as error:
        line.send_bytes(pickle.dumps({"error": error.as_dict()}))
        return True
    except MemoryError:
        message = f"a body of {size} bytes takes more than {most // 2**20} MB to work on: send it in parts"
        line.send_bytes(pickle.dumps({"error": TooLarge(message).as_dict()}))
        return True
    line.send_bytes(answer)
    _send_memory(line, content, os.getppid())
    return False


if __name__ == "__main__":
    main()
