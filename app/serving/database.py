"""Whether the database answers, asked again and again beside the work."""

import logging
import threading
import time
from collections.abc import Callable

from app.data.reach import silence

INTERVAL_S = 5.0
"""How long after an answer it is asked again, seconds."""
PATIENCE_S = 10.0
"""How long an answer may take, seconds."""
FAULT = "the observations' database does not answer: predictions go on, uploads and retrains fail"
"""What strangers are told; the log knows more."""

logger = logging.getLogger("orchard.database")


class DatabaseWatch:
    """Asks the database in a thread of its own, so that nobody waits for one that is silent."""

    def __init__(self, url: str, ask: Callable[[str], str | None] = silence) -> None:
        self._url = url
        self._ask = ask
        self._reason = ""
        self._asked: float | None = None
        self._stopped = threading.Event()

    @property
    def fault(self) -> str:
        """What is wrong, as far as is known; "" for nothing."""
        asked = self._asked
        is_late = asked is not None and time.monotonic() - asked > PATIENCE_S
        return FAULT if self._reason or is_late else ""

    def start(self) -> None:
        """Ask from now on."""
        # A daemon: the service does not wait at its end for a database that is silent.
        threading.Thread(target=self._watch, name="database", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._asked = time.monotonic()
            try:
                reason = self._ask(self._url) or ""
            except Exception as error:  # noqa: BLE001 - whatever a driver raises is no reason to stop asking
                reason = type(error).__name__
            self._tell(reason)
            self._reason, self._asked = reason, None
            self._stopped.wait(INTERVAL_S)

    def _tell(self, reason: str) -> None:
        if reason and not self._reason:
            logger.error("the observations' database does not answer: %s", reason)
        elif self._reason and not reason:
            logger.info("the observations' database answers again")
