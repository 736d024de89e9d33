"""Runs trainings in a process of their own, and reports their progress. This side serves, and does not import torch."""

import asyncio
import contextlib
import importlib.util
import json
import os
import pickle
import struct
import sys
from typing import Any

from app import PACKAGE
from app.data.integrity import has_trainings
from app.errors import OrchardError, RetrainRunning, TrainingFailed, TrainingUnavailable, Unconfirmed
from app.model.progress import Progress, Step
from app.settings import Settings
from app.training.order import Order
from app.training.report import Report

LENGTH = struct.Struct("!Q")
"""What stands before an order: its length in bytes."""
SECRETS = frozenset({"ORCHARD_TOKEN", "ORCHARD_READ_TOKEN"})
"""Variables of the service that training has no need of."""
LINE_LIMIT = 64 * 2**20
"""The longest line the training process may answer, bytes: a report that lists every row of a body fits."""

_DIED = "the training process died"


class Trainer:
    """Carries out orders, one at a time, in a child process that is kept a while, so that the next starts at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child: asyncio.subprocess.Process | None = None
        self._running = False
        self._idle: asyncio.TimerHandle | None = None

    @property
    def child_id(self) -> int | None:
        """The process id of the training process, None while there is no such process."""
        return self._child.pid if self._child is not None else None

    @property
    def can_train(self) -> bool:
        """Whether torch is installed here; where it is not, this installation serves only."""
        return importlib.util.find_spec("torch") is not None

    async def run(self, order: Order, progress: Progress | None = None) -> Report:
        """Carry out one order and return its report.

        Raises:
            RetrainRunning: one is being carried out.
            TrainingUnavailable: torch is not installed here.
            TrainingFailed: the process died, took too long or was stopped; nothing was changed.
            Unconfirmed: so it was, after its rows were committed; the message says what has become of its version.
            OrchardError: whatever the job raises.
        """
        if self._running:
            raise RetrainRunning("another training is running: try again when it is done")
        self._running = True
        try:
            async with asyncio.timeout(self._settings.retrain_timeout_s):
                return await self._exchange(order, progress)
        except TimeoutError as error:
            raise await self._gone(f"training took longer than {self._settings.retrain_timeout_s:g} s") from error
        except asyncio.CancelledError as error:
            # The service has no more time; the caller is told so instead of being left without an answer.
            if task := asyncio.current_task():
                task.uncancel()
            raise await self._gone("the service stops, and with it the training") from error
        finally:
            self._running = False
            self._await_idle()

    async def _exchange(self, order: Order, progress: Progress | None) -> Report:
        child = await self._ready_child()
        content = await asyncio.to_thread(pickle.dumps, order)
        assert child.stdin is not None  # noqa: S101 - it was started with pipes
        try:
            child.stdin.write(LENGTH.pack(len(content)) + content)
            await child.stdin.drain()
        except ConnectionError as error:
            raise await self._gone(_DIED) from error
        while True:
            message = await self._message(child)
            if "progress" in message:
                if progress is not None:
                    progress(Step(**message["progress"]))
            elif "error" in message:
                raise OrchardError.from_dict(message["error"])
            else:
                return Report.model_validate(message["report"])

    async def _ready_child(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._child is None or self._child.returncode is not None:
            if not self.can_train:
                raise TrainingUnavailable(
                    "this installation serves only: torch, which training needs, is not installed"
                )
            self._child = await self._started()
            await self._message(self._child)
        return self._child

    async def _started(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"{PACKAGE}.training",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
                env=self._environment(),
            )
        except OSError as error:
            raise TrainingFailed(
                f"the training process could not be started ({error.strerror}): nothing was changed, try again later"
            ) from error

    def _environment(self) -> dict[str, str]:
        """The parent's environment and settings; one thread, since the other cores serve."""
        settings = {
            "ORCHARD_MODEL_STORE": str(self._settings.model_store),
            "ORCHARD_DATABASE_URL": self._settings.database,
            "OMP_NUM_THREADS": "1",
        }
        inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
        return inherited | settings

    async def _message(self, child: asyncio.subprocess.Process) -> dict[str, Any]:
        assert child.stdout is not None  # noqa: S101 - it was started with pipes
        line = await child.stdout.readline()
        if not line.endswith(b"\n"):
            raise await self._gone(_DIED)
        message: dict[str, Any] = json.loads(line)
        return message

    async def _gone(self, what: str) -> OrchardError:
        """End the training process, settle what it has left, and return the error that says what came of it."""
        await self._kill()
        try:
            settled = await asyncio.to_thread(_settle, self._settings)
        except OrchardError as error:
            return Unconfirmed(f"{what}; what it may have committed cannot be looked at now: {error.detail}")
        if settled:
            return Unconfirmed(f"{what}: {'; '.join(settled)}; the same call under its Idempotency-Key tells more")
        return TrainingFailed(f"{what}: the live model and what was stored are as they were")

    async def _kill(self) -> None:
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()  # before it is forgotten, so that `close` waits too
            self._child = None

    def _await_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._settings.trainer_idle_s, self._dismiss)

    def _dismiss(self) -> None:
        if self._child is not None and self._child.stdin is not None and not self._running:
            self._child.stdin.close()
            self._child = None

    async def close(self, grace_s: float) -> None:
        """End the child process: at once when it is idle, after ``grace_s`` seconds at most when it is at work."""
        if self._idle is not None:
            self._idle.cancel()
        child = self._child
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), grace_s)
        await self._kill()


def _settle(settings: Settings) -> list[str]:
    if not has_trainings(settings.database):  # which is known at once: when the service stops, there is no time
        return []
    from app.training.pending import settle_store  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    return [str(settled) for settled in settle_store(settings)]
