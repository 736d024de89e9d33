"""Trainings in a process of their own: results and errors cross, and its death is no one else's."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.data.provenance import Provenance
from app.data.tables import Table
from app.errors import RetrainRunning, TooFewRows, TrainingFailed
from app.model.progress import Step
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.order import Order
from app.training.process import Trainer


def _run(settings: Settings, steps: Any) -> Any:
    async def with_trainer() -> Any:
        trainer = Trainer(settings)
        try:
            return await steps(trainer)
        finally:
            await trainer.close(10.0)

    work: Coroutine[Any, Any, Any] = with_trainer()
    return asyncio.run(work)


def test_reports_and_errors_cross_the_boundary(settings: Settings, tutorial: Table) -> None:
    """A report comes back with its progress; an error comes back as its class with its message."""
    few = Table(("A",), (None,), tutorial.weather[:1], ("kiwi",), np.array([[3.0]]))

    async def steps(trainer: Trainer) -> None:
        told: list[Step] = []
        with pytest.raises(TooFewRows, match="kiwi has 1 row and is left out"):
            await trainer.run(Order(Provenance("test", "test"), few))
        report = await trainer.run(Order(Provenance("test", "test"), tutorial), told.append)
        assert (report.version, report.activated) == ("1", True)
        assert told[0].stage == "fitting"
        assert {step.stage for step in told} >= {"fitting", "scoring", "publishing", "activating"}

    _run(settings, steps)


@pytest.mark.long
def test_a_killed_training_is_said_and_the_next_one_works(settings: Settings, tutorial: Table) -> None:
    """Kill -9 of the training process fails that training alone, and changes nothing."""

    async def steps(trainer: Trainer) -> None:
        await trainer.run(Order(Provenance("test", "test"), tutorial))

        def kill(_step: Step) -> None:
            child = trainer.child_id
            assert child is not None
            os.kill(child, signal.SIGKILL)

        with pytest.raises(TrainingFailed):
            await trainer.run(Order(Provenance("test", "test"), tutorial, activate="always"), kill)
        report = await trainer.run(Order(Provenance("test", "test"), activate="always"))
        assert (report.decision, report.rows.total) == ("accepted", 15)

    _run(settings, steps)
    assert Registry(Objects(settings.folder)).live()[0].version in {"2", "3"}


def test_one_at_a_time_in_this_process_too(settings: Settings, tutorial: Table) -> None:
    """A second order while one runs is refused at once."""

    async def steps(trainer: Trainer) -> None:
        first = asyncio.create_task(trainer.run(Order(Provenance("test", "test"), tutorial)))
        await asyncio.sleep(0)
        with pytest.raises(RetrainRunning):
            await trainer.run(Order(Provenance("test", "test")))
        assert (await first).version == "1"

    _run(settings, steps)


def test_a_training_that_takes_too_long_is_stopped(settings: Settings, tutorial: Table) -> None:
    """After its time limit a training is killed, and says so."""
    hurried = settings.model_copy(update={"retrain_timeout_s": 0.01})

    async def steps(trainer: Trainer) -> None:
        with pytest.raises(TrainingFailed, match=r"longer than 0\.01 s"):
            await trainer.run(Order(Provenance("test", "test"), tutorial))

    _run(hurried, steps)
    assert Registry(Objects(settings.folder)).versions() == []


def test_a_process_that_cannot_be_started_is_an_error(
    settings: Settings, tutorial: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said to whoever asked; nothing was changed, and the next order tries again."""

    async def steps(trainer: Trainer) -> None:
        with monkeypatch.context() as without:
            without.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(TrainingFailed, match=r"could not be started \(No such file or directory\)"):
                await trainer.run(Order(Provenance("test", "test"), tutorial))
        assert (await trainer.run(Order(Provenance("test", "test"), tutorial))).version == "1"

    _run(settings, steps)


def _environment(process: int | None) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


def test_tokens_are_not_inherited(settings: Settings, tutorial: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that for writing nor that for reading."""
    monkeypatch.setenv("ORCHARD_TOKEN", "a-token-for-writing")
    monkeypatch.setenv("ORCHARD_READ_TOKEN", "a-token-for-reading")

    async def steps(trainer: Trainer) -> None:
        await trainer.run(Order(Provenance("test", "test"), tutorial))
        inherited = _environment(trainer.child_id)
        assert b"ORCHARD_MODEL_STORE" in inherited
        assert b"a-token-for" not in inherited

    _run(settings, steps)
