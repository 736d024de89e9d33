"""Run the command behind this one's name, with the clocks of connections ten times as fast.

``python -m tests.hurried PYTHON -m app serve …``, as `tests.running.serving` starts it with ``through=HURRIED``.
"""

import sys

from app.api import door, doors
from app.cli.commands import main

HURRIED = (sys.executable, "-m", "tests.hurried")
TICK_S = 0.1
TICKS = 10
"""How long the clocks of heads, silence and writing run: a second."""

if __name__ == "__main__":
    doors.TICK_S = TICK_S
    door.HEAD_TICKS = door.SILENT_TICKS = door.STUCK_TICKS = TICKS
    sys.argv[:4] = ["orchard"]
    main()
