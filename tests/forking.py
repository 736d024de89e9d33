"""Starts ``orchard`` at once: a process that has imported the application forks one for each command.

Importing the application takes a second of a core, with torch three, and tests start it hundreds of times. What runs
after the fork is what ``python -m app`` runs, with arguments, environment, folder, input, output and exit code of its
own. What looks at the process itself, what it imports or how it starts others like it, starts Python anew instead.
"""

import atexit
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn, Protocol

from app import parent

ROOT = Path(__file__).parent.parent
LONGEST_REQUEST = 2**20
NOT_BEFORE_A_FORK = "import pyarrow"
"""It starts a thread, which no fork has."""
ONLY_FOR_TRAINING = "import torch"


class Process(Protocol):
    """What of `subprocess.Popen` tests use; a forked process has it too."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Send it SIGKILL."""


class Forked:
    """A command that runs in a fork; its exit code is asked of the process that has forked it."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._ends = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        if self._code is None:
            waiting = select.poll()
            waiting.register(self._ends, select.POLLIN)
            if not waiting.poll(None if timeout is None else 1e3 * timeout):
                raise subprocess.TimeoutExpired("orchard", timeout or 0.0)
            self._code = self._server.code_of(self.pid)
            os.close(self._ends)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        if self._code is None:
            signal.pidfd_send_signal(self._ends, sig)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """What asks the process that forks; that one ends with it."""

    def __init__(self, *, training: bool) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        words = [sys.executable, "-m", "tests.forking", str(other.fileno()), *(["training"] if training else [])]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # others would be lost in a fork
        self._process = subprocess.Popen(words, cwd=ROOT, env=inherited | one_thread, pass_fds=[other.fileno()])
        other.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], stdin: IO[str], stdout: IO[str], stderr: IO[str]
    ) -> Forked:
        """Run ``orchard`` with these words."""
        request = json.dumps({"words": list(words), "environment": dict(environment)}).encode()
        return Forked(self, self._ask(request, [file.fileno() for file in (stdin, stdout, stderr)]))

    def code_of(self, pid: int) -> int:
        """Return the exit code of a process that has ended."""
        return self._ask(json.dumps(pid).encode(), [])

    def _ask(self, request: bytes, files: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [request], files)
            answer = self._socket.recv(100)
        assert answer, "the process that forks has ended"
        return int(answer)


@functools.cache
def fork_server(*, training: bool) -> ForkServer:
    """Return the process that forks: with torch in it, or without."""
    server = ForkServer(training=training)
    atexit.register(server.close)
    return server


def _serve(requests: socket.socket) -> None:
    """Answer requests until there are no more; in a fork, run the command."""
    while True:
        content, files, *_ = socket.recv_fds(requests, LONGEST_REQUEST, 3)
        if not content:
            return
        request = json.loads(content)
        if isinstance(request, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
        else:
            server = os.getpid()
            answer = os.fork()
            if answer == 0:
                _run(request["words"], request["environment"], files, server)
            for file in files:
                os.close(file)
        requests.send(str(answer).encode())


def _run(words: list[str], environment: dict[str, str], files: list[int], server: int) -> NoReturn:
    """Be a new process that does what ``python -m app`` does."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    parent.end_with_parent(server)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(ROOT / "app" / "__main__.py"), *words]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stdout = open(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    code = 1
    try:
        importlib.import_module("app.cli.commands").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself does, whatever it is
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, as at the end of a program
    atexit._run_exitfuncs()  # noqa: SLF001 - the rest of what Python does at its end is of no use here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _modules(*, training: bool) -> Iterator[str]:
    """Yield what the application consists of, except what does not bear a fork."""
    import app  # noqa: PLC0415 - it is there once a fork is wanted

    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.endswith("__main__") or (module.name.startswith("app.training.") and not training):
            continue
        spec = importlib.util.find_spec(module.name)
        assert spec is not None
        source = Path(spec.origin or "").read_text()
        if NOT_BEFORE_A_FORK not in source and (training or ONLY_FOR_TRAINING not in source):
            yield module.name


def main() -> None:
    """Import the application, and fork as often as asked."""
    import gc  # noqa: PLC0415 - of use here alone

    training = "training" in sys.argv[2:]
    for module in _modules(training=training):
        importlib.import_module(module)
    importlib.import_module("uvicorn.supervisors")
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests)


if __name__ == "__main__":
    main()
