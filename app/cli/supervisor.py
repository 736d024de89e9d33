"""Looks after several serving processes, as uvicorn does, and says when one has died."""

import logging

from uvicorn.supervisors import Multiprocess

logger = logging.getLogger("orchard")


class Supervisor(Multiprocess):
    """Starts another process in the place of one that has died, or that does not answer and so is ended."""

    def keep_subprocess_alive(self) -> None:
        """Look at each; uvicorn tells of a death among its notices, where nobody looks for what went wrong."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for died in before:
            if died not in self.processes:
                logger.error(
                    "serving process %s died (exit code %s): another one takes its place", died.pid, died.exitcode
                )
