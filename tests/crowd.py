"""Many clients that ask all the time, each over one connection: ``python tests/crowd.py PORT COUNT``.

It prints a line once each has had an answer, and goes on until it is killed.
"""

import selectors
import socket
import sys

BODY = b'{"region": "A", "temperature": 75, "rainfall": 80, "humidity": 55}'
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY


def main() -> None:
    """Ask, and ask again as soon as there is an answer."""
    port, count = map(int, sys.argv[1:])
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port))
        waiting.register(one, selectors.EVENT_READ)
        one.sendall(REQUEST)
    answered: set[int] = set()
    while True:
        for key, _ in waiting.select():
            one = key.fileobj  # type: ignore[assignment]
            if one.recv(65_536).endswith(b"}"):
                if len(answered) < count:
                    answered.add(key.fd)
                    if len(answered) == count:
                        print("all are answered", flush=True)
                one.sendall(REQUEST)


if __name__ == "__main__":
    main()
