"""Conversations over a bare connection: what is sent stands in the test, byte by byte; answers are read one by one."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.running import ONE_REGION, Running

BETWEEN_S = 0.002
"""So long after one part the next is sent, that it comes by itself."""
TYPED = b"Content-Type: application/json\r\n"


@dataclass(frozen=True)
class Answer:
    """An answer as it came, but for the date."""

    status: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def code(self) -> int:
        """The status."""
        return int(self.status.split()[1])

    def header(self, wanted: bytes) -> bytes | None:
        """Return a header's value."""
        return dict(self.headers).get(wanted)


def request(
    body: bytes = ONE_REGION,
    *headers: bytes,
    target: bytes = b"POST /predict HTTP/1.1",
    host: bytes = b"Host: x\r\n",
    typed: bytes = TYPED,
    length: int | None = None,
) -> bytes:
    """Return a request with these header lines beside what it has to have."""
    more = b"".join(header + b"\r\n" for header in headers)
    size = b"Content-Length: %d\r\n" % (len(body) if length is None else length)
    return target + b"\r\n" + host + typed + more + size + b"\r\n" + body


def chunked(body: bytes = ONE_REGION, *headers: bytes, size: int = 10, target: bytes = b"POST /predict") -> bytes:
    """Return a request whose body comes in chunks."""
    head = b"%b HTTP/1.1\r\nHost: x\r\n%b%b" % (target, TYPED, b"".join(header + b"\r\n" for header in headers))
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class Talk:
    """A connection."""

    def __init__(self, running: Running) -> None:
        self.socket = socket.create_connection((running.client.base_url.host, running.client.base_url.port or 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(20)
        self._read = b""

    def send(self, *parts: bytes) -> None:
        """Send, in several parts if several are given."""
        for number, part in enumerate(parts):
            if number:
                time.sleep(BETWEEN_S)
            self.socket.sendall(part)

    def ask(self, *parts: bytes) -> Answer:
        """Send a request, and return its answer."""
        self.send(*parts)
        return self.answer()

    def answers(self, count: int) -> list[Answer]:
        """Return the next answers."""
        return [self.answer() for _ in range(count)]

    def answer(self, *, to_head: bool = False) -> Answer:
        """Return the next answer; ``to_head``: one to HEAD, which has no body."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        pairs = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
        length = 0 if to_head else int(dict(pairs).get(b"content-length", b"0"))
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Answer(status, tuple(pair for pair in pairs if pair[0] != b"date"), body)

    def _more(self) -> None:
        received = self.socket.recv(2**18)
        if not received:
            raise EOFError(self._read)
        self._read += received

    def is_closed(self) -> bool:
        """Say whether the other side closes, and sends nothing more before."""
        if self._read:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def is_open(self) -> bool:
        """Say whether the other side still listens."""
        return self.ask(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").code == 200


@contextmanager
def talk(running: Running) -> Iterator[Talk]:
    """Open a connection for the block."""
    one = Talk(running)
    try:
        yield one
    finally:
        one.socket.close()


def cut(content: bytes, places: Sequence[int]) -> list[bytes]:
    """Return it in parts that end at these places."""
    ends = sorted({place % len(content) for place in places} - {0})
    return [content[start:end] for start, end in zip([0, *ends], [*ends, len(content)], strict=True)]
