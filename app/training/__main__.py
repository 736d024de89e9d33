"""The training process: ``python -m app.training``, with the process id of the one that starts it.

Takes orders on standard input, one at a time, and answers on standard output.

An order is a pickle behind its length, from the parent process only; what comes back are JSON lines: ``{"progress":
…}`` any number of times, then ``{"report": …}`` or ``{"error": …}``. At the end of its input it ends.
"""

import json
import logging.config
import os
import pickle
import sys
import time
from dataclasses import asdict
from typing import Any, BinaryIO

from app import logs, memory, parent
from app.errors import OrchardError, ServiceError
from app.model.progress import Step
from app.settings import Settings
from app.training.order import Order
from app.training.process import LENGTH

logger = logging.getLogger("orchard.training")

REPORT_EVERY_S = 0.05
"""At most one progress line in this time, besides those that start a stage."""


def main() -> None:
    """Carry out orders until the input ends."""
    # What the server has open is not for here: a trainer that finishes its work would hold the port that it listens on.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # The parent reads only JSON lines: whatever else prints goes to standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # A Ctrl-C in the terminal is the server's to handle. (In a session of its own, niceness would not count.)
    os.setpgid(0, 0)
    os.nice(10)
    parent.end_with_parent(int(sys.argv[1]))
    import torch  # noqa: PLC0415 - after the redirection, and only in this process

    torch.set_num_threads(1)
    memory.keep_freed()
    from app.training.job import Job  # noqa: PLC0415 - imports torch

    settings = Settings()
    logging.config.dictConfig(logs.configuration(settings.log_format, settings.log_level))
    job = Job(settings)
    _answer(answers, {"ready": True})
    while (order := _next_order(sys.stdin.buffer)) is not None:
        _carry_out(job, order, answers)
    job.close()
    os._exit(0)  # taking torch apart would take as long as half of its import


def _next_order(orders: BinaryIO) -> Order | None:
    size = orders.read(LENGTH.size)
    if len(size) < LENGTH.size:
        return None
    content = orders.read(LENGTH.unpack(size)[0])
    order = pickle.loads(content)  # noqa: S301 - the pipe's other end is the process that started this one
    return order if isinstance(order, Order) else None


def _carry_out(job: Any, order: Order, answers: BinaryIO) -> None:
    last = ("", 0.0)

    def progress(step: Step) -> None:
        nonlocal last
        now = time.monotonic()
        if step.stage != last[0] or now - last[1] >= REPORT_EVERY_S:
            last = (step.stage, now)
            _answer(answers, {"progress": asdict(step)})

    try:
        report = job.run(order, progress).report
    except OrchardError as error:
        if isinstance(error, ServiceError):
            logger.warning(error.detail, exc_info=error.__cause__)
        _answer(answers, {"error": error.as_dict()})
    else:
        _answer(answers, {"report": report.model_dump(mode="json")})


def _answer(answers: BinaryIO, message: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()
    except BrokenPipeError:
        """The parent has gone: the transaction is carried through all the same."""


if __name__ == "__main__":
    main()
