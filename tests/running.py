"""A real server for tests: ``orchard serve`` as a process on a free port, with a model store of its own."""

import functools
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import numpy as np

from app.serving.drift import Usage
from tests.forking import Process, fork_server

ROOT = Path(__file__).parent.parent
ANEW = ("env",)
DEADLINE_S = 60.0
POLL_S = 0.02
REST_S, LITTLE_S = 0.3, 0.03
"""A server that has computed so little for so long has nothing to do but what it does by itself."""
HARVEST = {
    "observations": [
        {"region": "K", "temperature": 73, "rainfall": 67, "humidity": 43, "yields": {"mango": 56.5, "orange": 70.2}},
        {"region": "L", "temperature": 91, "rainfall": 88, "humidity": 64, "yields": {"mango": 81.3, "orange": 100.4}},
        {"region": "M", "temperature": 87, "rainfall": 134, "humidity": 58, "yields": {"mango": 118.7, "orange": 134}},
    ]
}
"""Three honest rows near the tutorial's line."""

ONE_REGION = b'{"region": "A", "temperature": 75, "rainfall": 80, "humidity": 55}'
FIRST_PORT, PORTS = 20_000, 12_000
"""Below the range that systems give to clients."""
AT_A_TIME = 100
"""Requests that are sent before their answers are read."""


# httpx reads all certificate authorities for each client, for longer than a request takes; one reading serves them all.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]


@dataclass(frozen=True)
class Running:
    """A server process, a client for it, and the header that writes need."""

    process: Process
    client: httpx.Client
    store: Path
    write: dict[str, str]

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.client.base_url)

    @property
    def token(self) -> str:
        """What writes need."""
        return self.write["Authorization"].removeprefix("Bearer ")

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which a command works through it."""
        return {"ORCHARD_URL": self.url, "ORCHARD_TOKEN": self.token}

    def version(self) -> str:
        """Return the live version."""
        answer: str = self.client.get("/health/ready").json()["model_version"]
        return answer


def environment(store: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a command on ``store``: this one's, without ORCHARD_* of its own.

    Servers stop without a delay, unless ``settings`` say otherwise.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    # For a second the default would answer on, and say that it is not ready; requests written by hand say "Host: x".
    ours = {"ORCHARD_DRAIN_S": "0", "ORCHARD_HOSTS": "x"}
    return inherited | {"ORCHARD_MODEL_STORE": str(store)} | ours | settings


def orchard(store: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the orchard command to its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = start(words, environment(store, **settings), output, errors)
        try:
            code = process.wait(DEADLINE_S)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(words, code, output.read(), errors.read())


def start(words: Sequence[str], environ: dict[str, str], output: IO[str], errors: IO[str]) -> Process:
    """Start the orchard command; it runs in a fork, except where it starts workers, which would be others then."""
    with Path(os.devnull).open() as nothing:
        if "--workers" in words or "ORCHARD_WORKERS" in environ:
            command = [sys.executable, "-m", "app", *words]
            return subprocess.Popen(command, cwd=ROOT, env=environ, stdin=nothing, stdout=output, stderr=errors)
        is_training = words[:1] in {("train",), ("retrain",)} and not {"--url", "ORCHARD_URL"} & {*words, *environ}
        return fork_server(training=is_training).run(words, environ, nothing, output, errors)


def until(condition: Callable[[], object], within_s: float = DEADLINE_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it is not so within {within_s:g} s"
        time.sleep(POLL_S)


def lasting_port() -> int:
    """Return a free port that no client gets, not even while the service on it is down."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@contextmanager
def serving(store: Path, *options: str, through: Sequence[str] = (), **settings: str) -> Iterator[Running]:
    """Run a server until the end of the block; it must then end by SIGTERM with exit code 0.

    ``through``: a command that starts it in a Python of its own, rather than a fork; `ANEW` does no more than that.
    """
    port = lasting_port()
    log = store.parent / f"{store.name}.log"
    words, environ = ("serve", "--port", str(port), *options), environment(store, **settings)
    with log.open("w") as output:
        process: Process
        if through:
            command = [*through, sys.executable, "-m", "app", *words]
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT)
        else:
            process = start(words, environ, output, output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        try:
            await_answer(client, process)
            token = settings.get("ORCHARD_TOKEN") or (store / "token").read_text().strip()
            yield Running(process, client, store, {"Authorization": f"Bearer {token}"})
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
    assert code == 0, log.read_text()


def await_answer(client: httpx.Client, process: Process) -> None:
    """Wait until the server answers at all."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            client.get("/health/live")
        except httpx.TransportError:
            time.sleep(POLL_S)
        else:
            return
    raise TimeoutError("the server does not answer")


def predict_often(running: Running, count: int) -> None:
    """Ask so many times for one region, over one connection."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    requests = (head % len(ONE_REGION) + ONE_REGION) * AT_A_TIME
    with socket.create_connection((running.client.base_url.host, running.client.base_url.port or 0)) as connection:
        for _ in range(count // AT_A_TIME):
            connection.sendall(requests)
            answered = 0
            rest = b""
            while answered < AT_A_TIME:
                received = rest + connection.recv(2**20)
                answered += received.count(b"HTTP/1.1 200 OK\r\n")
                rest = received[received.rfind(b"\n") + 1 :]  # a status line is counted once it is whole


def children(process: int, named: str) -> list[int]:
    """Return the ids of a process's children, and theirs, whose command line has a word in it."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if named in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                found.append(child)
            found += children(child, named)
    return found


def cpu_s(running: Running) -> float:
    """Return how long a server and its helpers have computed, seconds.

    That is what a limit of time is held against: on a machine that is busy with other things it stays the same.
    """
    ticks = 0
    for process in (running.process.pid, *children(running.process.pid, "app.api.helper")):
        with suppress(OSError):  # it may be gone
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def connections(running: Running) -> int:
    """Return how many connections to a server are open."""
    server = f":{running.client.base_url.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(server) and state == "01" for _, local, _, state, *_ in lines)


def await_taken(running: Running, before: int) -> None:
    """Wait until a server that had so many connections has another one, and has done with it what it can for now."""
    until(lambda: connections(running) > before)
    await_rest(running)


def await_rest(running: Running) -> None:
    """Wait until a server has done what it can for now."""
    computed, rests_since = cpu_s(running), time.monotonic()
    while time.monotonic() < rests_since + REST_S:
        time.sleep(POLL_S)
        if _is_busy(running) or cpu_s(running) > computed + LITTLE_S:
            computed, rests_since = cpu_s(running), time.monotonic()


def _is_busy(running: Running) -> bool:
    """Say whether a server computes, or would if it had a core."""
    tasks = Path(f"/proc/{running.process.pid}/task").iterdir()
    return any((task / "stat").read_text().rpartition(")")[2].split()[0] == "R" for task in tasks)


def peak_mb(process: int) -> float:
    """Return the most memory that a process has ever had."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def sleep(body: bytes) -> tuple[bytes, str]:
    """Take as many seconds as the body says, then give it back: work for the helper process."""
    time.sleep(float(body))
    return body, "slept"


def where(body: bytes) -> tuple[bytes, int]:
    """Say in which process this is: work for the helper process."""
    return body, os.getpid()


def usage(body: bytes) -> tuple[bytes, Usage]:
    """Return the usage of a request about as many regions as the body says: work for the helper process."""
    regions = int(body)
    return b"", Usage([np.arange(regions, dtype=np.float64)] * 3, regions, 7)


def hoard(body: bytes, answer: bool = False) -> tuple[bytes, int]:
    """Take as many bytes of memory as the body says, and give them back or nothing: work for the helper process."""
    taken = bytes(int(body))
    return taken if answer else b"", len(taken)


def variables(body: bytes) -> tuple[bytes, list[str]]:
    """Return the names of environment variables: work for the helper process."""
    return body, list(os.environ)


def copy_store(trained: Path, target: Path) -> Path:
    """Copy a trained store, so that a test may write to its own."""
    shutil.copytree(trained, target)
    return target
