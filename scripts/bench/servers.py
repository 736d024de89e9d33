"""Servers to measure: each a process on a free port, pinned to cores, with its start time and its memory."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BODY = b'{"region":"A","temperature":73,"rainfall":67,"humidity":43}'
JSON = {"Content-Type": "application/json"}
DEADLINE_S = 60.0
HEAD = 4_096
"""An answer's headers are shorter than this, bytes."""


@dataclass(frozen=True)
class Kind:
    """A service that can be started: ``command`` with ``{port}`` in it; where its predictions are asked for."""

    name: str
    command: Sequence[str]
    path: str = "/predict"
    body: bytes = BODY


UVICORN = [sys.executable, "-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error"]
FLOOR = Kind(
    "uvicorn, a constant body",
    [*UVICORN, "scripts.bench.constant:floor", "--lifespan", "off"],
)
IDIOMATIC = Kind(
    "FastAPI + pydantic + torch",
    [*UVICORN, "scripts.bench.services:idiomatic", "--factory"],
)
ORCHARD = Kind("Orchard", [sys.executable, "-m", "app", "serve", "--port", "{port}"])


@dataclass(frozen=True)
class Server:
    """A running one. ``start_s``: from the process's start to its first answer of a prediction, seconds."""

    kind: Kind
    port: int
    process: "subprocess.Popen[bytes]"
    start_s: float

    @property
    def url(self) -> str:
        """Where to ask."""
        return f"http://127.0.0.1:{self.port}{self.kind.path}"

    @property
    def family_megabytes(self) -> float:
        """Resident memory of the process and all that it started, 10⁶ bytes."""
        return sum(map(_resident, _family(self.process.pid))) / 1e6


def pinned(cores: str, command: Sequence[str]) -> list[str]:
    """Return the command, held to ``cores`` (like "0" or "0,1")."""
    return ["taskset", "--cpu-list", cores, *command]


@contextmanager
def serving(kind: Kind, cores: str, store: Path) -> Iterator[Server]:
    """Start a server on ``cores`` and end it with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = pinned(cores, [word.format(port=port) for word in kind.command])
    environment = os.environ | {"ORCHARD_MODEL_STORE": str(store), "ORCHARD_DRAIN_S": "0", "PYTHONPATH": _path()}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_prediction(kind, port, process)
        yield Server(kind, port, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def _await_prediction(kind: Kind, port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ChildProcessError(f"{kind.name} ended with code {process.returncode}")
        try:
            if b" 200 " in ask(port, kind.path, kind.body, JSON)[:16]:
                return
        except ConnectionError:
            time.sleep(0.005)
    raise TimeoutError(f"{kind.name} does not answer within {DEADLINE_S:g} s")


class Connection:
    """A connection that is kept, and a buffer that is used again: the client should cost next to nothing."""

    def __init__(self, port: int, room: int = 2**23) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(room)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> memoryview:
        """Post a body and return the whole answer, headers and all."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self._socket.sendall(head.encode() + body)
        have, want = 0, len(self._buffer)
        while have < want:
            have += self._received(have)
            end = self._buffer.find(b"\r\n\r\n", 0, min(have, HEAD))
            if end > 0:
                length = re.search(rb"content-length: (\d+)", self._buffer[:end], re.IGNORECASE)
                want = end + 4 + int(length[1]) if length else have
        return memoryview(self._buffer)[:have]

    def _received(self, have: int) -> int:
        with memoryview(self._buffer) as view:
            count = self._socket.recv_into(view[have:])
        if not count:
            raise ConnectionError("the server has closed the connection")
        return count

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def ask(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Post a body over a connection of its own and return the whole answer."""
    connection = Connection(port)
    try:
        return bytes(connection.post(path, body, headers))
    finally:
        connection.close()


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _family(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(member for child in children for member in _family(int(child)))]


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
