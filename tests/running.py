"""A real server for tests: ``orchard serve`` as a process on a free port, with a model store of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0
HARVEST = {
    "observations": [
        {"region": "K", "temperature": 73, "rainfall": 67, "humidity": 43, "yields": {"mango": 56.5, "orange": 70.2}},
        {"region": "L", "temperature": 91, "rainfall": 88, "humidity": 64, "yields": {"mango": 81.3, "orange": 100.4}},
        {"region": "M", "temperature": 87, "rainfall": 134, "humidity": 58, "yields": {"mango": 118.7, "orange": 134}},
    ]
}
"""Three honest rows near the tutorial's line."""


@dataclass(frozen=True)
class Running:
    """A server process, a client for it, and the header that writes need."""

    process: subprocess.Popen[str]
    client: httpx.Client
    store: Path
    write: dict[str, str]

    def version(self) -> str:
        """Return the live version."""
        answer: str = self.client.get("/health/ready").json()["model_version"]
        return answer


def environment(store: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a command on ``store``: this one's, without ORCHARD_* of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    return inherited | {"ORCHARD_MODEL_STORE": str(store)} | settings


def orchard(store: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the orchard command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env=environment(store, **settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@contextmanager
def serving(store: Path, *options: str, **settings: str) -> Iterator[Running]:
    """Run a server until the end of the block; it must then end by SIGTERM with exit code 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = store.parent / f"{store.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port), *options],
            cwd=ROOT,
            env=environment(store, **settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        try:
            await_answer(client, process)
            token = settings.get("ORCHARD_TOKEN") or (store / "token").read_text().strip()
            yield Running(process, client, store, {"Authorization": f"Bearer {token}"})
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
    assert code == 0, log.read_text()


def await_answer(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    """Wait until the server answers at all."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            client.get("/health/live")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server does not answer")


def copy_store(trained: Path, target: Path) -> Path:
    """Copy a trained store, so that a test may write to its own."""
    shutil.copytree(trained, target)
    return target
