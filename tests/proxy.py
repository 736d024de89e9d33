"""A proxy in front of PostgreSQL that loses the answers to COMMIT: ``python -m tests.proxy --cuts 50``.

It cuts both connections once COMMIT is carried out and before its answer goes back, so that the service cannot know
what has become of it; or before COMMIT is passed on. Or it falls silent: connections stay open and nothing comes back.

The program uploads and retrains under idempotency keys through it, lets others train in between, repeats what was not
answered, and looks whether each call was carried out exactly once, by the version that its answer names.
"""

import argparse
import random
import select
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from sqlalchemy.engine import make_url

from tests.learned import learned
from tests.postgresql import Cluster, cluster, programs
from tests.running import Running, serving

GREETING = 3
"""A client's first messages have no type; the one with this version in its high bytes is the last of them."""
WRITES = b"INSERT INTO batches"
"""A transaction that has sent this is one that is cut."""
PATIENCE_S = 60.0
LOOK_S = 0.05

When = Literal["after", "before"]


class Talk:
    """What a client says to PostgreSQL, message by message, and which transactions have written."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_greeted = False
        self._statements: dict[bytes, bytes] = {}
        self._has_written = self._ends = False

    def messages(self, received: bytes) -> Iterator[bytes]:
        """Yield the messages that are complete by now."""
        self._rest += received
        while True:
            start = int(self._is_greeted)
            size = start + int.from_bytes(self._rest[start : start + 4], "big")
            if len(self._rest) < max(start + 4, size):
                return
            message, self._rest = self._rest[:size], self._rest[size:]
            self._is_greeted = self._is_greeted or int.from_bytes(message[4:6], "big") == GREETING
            yield message

    def is_commit(self, message: bytes) -> bool:
        """Say whether this message makes the server commit what was written."""
        kind, text = message[:1], self._text(message)
        self._has_written = self._has_written or text.startswith(WRITES)
        self._ends = self._ends or text.upper() == b"COMMIT"
        if text.upper() == b"ROLLBACK":
            self._has_written = False
        if not self._ends or kind not in {b"Q", b"S"}:  # a simple query, or the Sync behind a prepared one
            return False
        has_written, self._has_written, self._ends = self._has_written, False, False
        return has_written

    def _text(self, message: bytes) -> bytes:
        """Return the statement that a message runs, empty where it runs none."""
        if message[:1] == b"Q":
            return message[5:].rstrip(b"\0; ")
        if message[:1] == b"P":
            name, text, _ = message[5:].split(b"\0", 2)
            self._statements[name] = text
        if message[:1] == b"B":
            return self._statements.get(message[5:].split(b"\0", 2)[1], b"")
        return b""


class Proxy(socketserver.ThreadingTCPServer):
    """Passes connections on to a port of this machine until it is told to cut one, or to fall silent."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.target = port
        self.armed: When | None = None
        self.cuts = 0
        self.is_silent = False
        self.is_closed = False
        self.waiting: set[socket.socket] = set()
        """Clients that have said something since it is silent."""

    def through(self, url: str) -> str:
        """Return a database's URL with this proxy before it."""
        return make_url(url).set(port=self.server_address[1]).render_as_string(hide_password=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that its client or the server resets is no error here."""


class Connection(socketserver.BaseRequestHandler):
    """One connection, both ways, in one thread: what is cut cannot have slipped through."""

    server: Proxy

    def handle(self) -> None:
        """Pass on until an end closes, or this connection is cut."""
        talk = Talk()
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            while not self.server.is_closed:
                ready = select.select([self.request, upstream], [], [], LOOK_S)[0]
                if self.server.is_silent:
                    self.server.waiting |= {self.request} & set(ready)
                    time.sleep(LOOK_S)
                    continue
                for side in ready:
                    received = side.recv(2**16)
                    if not received or not self._passed(talk, upstream, received, upwards=side is self.request):
                        return

    def _passed(self, talk: Talk, upstream: socket.socket, received: bytes, *, upwards: bool) -> bool:
        if not upwards:
            self.request.sendall(received)
            return True
        for message in talk.messages(received):
            when = self.server.armed if talk.is_commit(message) else None
            if when is not None:
                self.server.armed = None
            if when != "before":
                upstream.sendall(message)
            if when == "after":
                self._await_commit(upstream)
            if when is not None:
                self.server.cuts += 1
                return False
        return True

    @staticmethod
    def _await_commit(upstream: socket.socket) -> None:
        answer = b""
        while b"COMMIT" not in answer and (more := upstream.recv(2**16)):
            answer += more


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """Run a proxy for a port of this machine until the end of the block."""
    with Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": LOOK_S})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.is_closed = True
            proxy.shutdown()
            thread.join()


@dataclass(frozen=True)
class Call:
    """One call under a key, which is its note too."""

    key: str
    path: str
    body: dict[str, Any]

    def make(self, running: Running) -> httpx.Response:
        """Make it once, over a connection of its own."""
        url = running.client.base_url.join(self.path)
        headers = running.write | {"Idempotency-Key": self.key}
        return httpx.post(url, json=self.body | {"note": self.key}, headers=headers, timeout=PATIENCE_S)

    def answer(self, running: Running) -> dict[str, Any]:
        """Repeat it until it is answered, and return the answer; a refusal has no such thing."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            response = self.make(running)
            if response.status_code not in {409, 503} or time.monotonic() > deadline:
                answer: dict[str, Any] = response.json()
                return answer
            time.sleep(LOOK_S)


def rows(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Return honest rows, near the tutorial's line."""
    found = []
    for number in range(count):
        weather = draw.uniform(60, 100), draw.uniform(50, 130), draw.uniform(40, 70)
        tons = 2.2 - 0.42 * weather[0] + 0.84 * weather[1] + 0.68 * weather[2] + draw.gauss(0, 0.5)
        named = dict(zip(("temperature", "rainfall", "humidity"), weather, strict=True))
        found.append({"region": f"R{number}", **named, "yields": {"mango": max(0.0, tons)}})
    return found


@dataclass
class Witness:
    """Compares what the service has with what it has answered."""

    running: Running
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    activated: list[dict[str, Any]] = field(default_factory=list)
    """Answers of retrains that are live, or were."""

    def look(self, call: Call, answers: list[dict[str, Any]]) -> None:
        """Look what has become of a call, which was answered so."""
        first = answers[0]
        if any(answer != first for answer in answers) or "batch" not in first:
            self.fault("answers that differ, or none", call.key, answers)
            return
        batches: list[dict[str, Any]] = self._got("/observations/batches?limit=1000")["batches"]
        used = [batch["batch"] for batch in batches if batch["note"] == call.key and batch["withdrawn"] is None]
        if first["batch"] not in [batch["batch"] for batch in batches] or (not used and self._is_kept(first)):
            self.fault("lost", call.key, first)
        if len(used) > 1:
            self.fault("doubled", call.key, used)
        if "version" in first:
            self._look_at_version(call, first)

    @staticmethod
    def _is_kept(answer: dict[str, Any]) -> bool:
        return "version" not in answer or answer["decision"] == "accepted" or bool(answer["activated"])

    def _look_at_version(self, call: Call, answer: dict[str, Any]) -> None:
        card = self._got(f"/models/{answer['version']}")
        if card.get("note") != call.key or answer["batch"] not in card["batches"]:
            whose = card.get("note", card.get("detail"))
            self.fault("version of another", call.key, "is answered", answer["version"], "which is of:", whose)
        if answer["activated"]:
            self.activated.append(answer)

    def look_at_log(self) -> None:
        """Each line names a version that its caller has made and wanted live, and the last one has learned all."""
        lines = self._got("/models/log?limit=1000")["log"]
        for line in lines[:-1]:  # but for the first model's
            note = self._got(f"/models/{line['version']}").get("note")
            if not line["why"].startswith(f"{note}") or line["why"].startswith("never"):
                self.fault("live unasked", f"line {line['number']} for {line['why']}: a version of:", note)
        taught = learned(self._got("/models/live"), self._got("/observations/batches?limit=1000")["batches"])
        named = {line["version"] for line in lines}
        for answer in self.activated:
            if answer["batch"] not in taught or answer["version"] not in named:
                self.fault("unlearned", "version", answer["version"], "batch", answer["batch"])

    def fault(self, kind: str, *what: Any) -> None:
        """Take down a fault, once."""
        told = f"{kind}: {' '.join(map(str, what))}"
        if told not in self.faults:
            self.counts[kind] += 1
            self.faults.append(told)

    def _got(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.running.client.get(path, headers=self.running.write).json()
        return answer


KINDS = ("lost", "doubled", "version of another", "live unasked", "unlearned", "answers that differ, or none")


def call_of(key: str, kind: str, draw: random.Random) -> Call:
    """Return an upload, or a retrain with its rule for activation."""
    if kind in {"upload", "large upload"}:
        return Call(key, "/observations", {"observations": rows(draw, 3 if kind == "upload" else 200)})
    return Call(key, "/retrain", {"observations": rows(draw, 3), "activate": kind})


def cut(proxy: Proxy, running: Running, call: Call, when: When, between: Call | None) -> list[dict[str, Any]]:
    """Make a call that is cut, somebody else's after it, and repeat the first; return its answers."""
    cuts, proxy.armed = proxy.cuts, when
    first = call.make(running)
    assert proxy.cuts == cuts + 1, f"{call.path} has committed nothing: {first.text}"
    if between is not None:
        between.answer(running)
    answers = [first.json()] if first.is_success else []
    return [*answers, call.answer(running), call.answer(running)]


def run(server: Cluster, folder: Path, cuts: int, seed: int) -> Witness:
    """Cut so often after COMMIT, and a fifth as often before it."""
    draw = random.Random(seed)  # noqa: S311 - calls and rows
    url = server.database()
    with proxied(server.port) as proxy, serving(folder / "store", ORCHARD_DATABASE_URL=proxy.through(url)) as running:
        witness = Witness(running)
        moments: list[When] = [*["after"] * cuts, *["before"] * (cuts // 5)]  # type: ignore[list-item]
        for number, when in enumerate(moments):
            kind = draw.choice(["upload", "large upload", "always", "always", "if_better"])
            call = call_of(f"{kind} {number}", kind, draw)
            others = draw.choice(["never", "never", "always", None])
            between = call_of(f"{others} between {number}", others, draw) if others else None
            answers = cut(proxy, running, call, when, between)
            witness.counts[f"{when} COMMIT"] += 1
            witness.counts["answered at once"] += len(answers) > 2
            witness.look(call, answers)
            witness.look_at_log()
    return witness


def main() -> int:
    """Cut as asked, and say what has become of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    with cluster(found) as server, tempfile.TemporaryDirectory() as folder:
        witness = run(server, Path(folder), asked.cuts, asked.seed)
    for fault in witness.faults:
        print(fault[:600], file=sys.stderr)
    counts = witness.counts
    print(f"{counts['after COMMIT']} cuts after COMMIT, {counts['before COMMIT']} before it;", end=" ")
    print(f"{counts['answered at once']} calls answered at once, the others when repeated:", end=" ")
    print(", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    return 1 if witness.faults else 0


if __name__ == "__main__":
    sys.exit(main())
