"""A terminal for tests: commands whose output is one, and what they wrote."""

import os
import pty
import re
from pathlib import Path

from tests.running import environment, start

STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(store: Path, *words: str, columns: int = 120, code: int = 0, **settings: str) -> str:
    """Run a command whose output is a terminal, and return what it wrote; it must end with ``code``."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        environ = environment(store, TERM="xterm-256color", COLUMNS=str(columns), **settings)
        process = start(words, environ, terminal, terminal)
    output = b""
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        output += part
    os.close(master)
    assert process.wait(60) == code
    return output.decode()


def lines_of(text: str) -> list[str]:
    """Return the lines that stay on a terminal, without their colours: a bar is drawn over."""
    shown = STYLES.sub("", text)
    return [line.rpartition("\r")[2].rstrip() for line in shown.replace("\r\n", "\n").split("\n")]
