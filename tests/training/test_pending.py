"""Between a training's commit and its line in the log anything may happen: it is carried through, or taken back."""

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

from app.data.observations import Observations
from app.data.provenance import Once, Provenance
from app.data.tables import Table
from app.errors import StoreDamaged, StoreUnavailable, Unconfirmed
from app.settings import Settings
from app.store.line import LogLine
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.lock import alone
from app.training.order import Order
from app.training.pending import settle_at_start, settle_store
from app.training.process import Trainer

ROWS = [[56.5, 70.2], [81.3, 100.4], [118.7, 133.6]]


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def job(settings: Settings, tutorial: Table) -> Iterator[Job]:
    """Return trainings on a store whose live model is that of the tutorial."""
    job = Job(settings)
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    yield job
    job.close()


@pytest.fixture
def order(tutorial: Table) -> Order:
    """Return a retrain on three rows under a key."""
    three = Table(("K", "L", "M"), (None,) * 3, tutorial.weather[:3] + 0.5, tutorial.crops, np.array(ROWS))
    return Order(Provenance("test", "anna", "harvest"), three, activate="always", once=Once("k", "d"))


@pytest.fixture
def registry(settings: Settings) -> Registry:
    """Return the store's registry."""
    return Registry(Objects(settings.folder))


def _refuse(_registry: Registry, *_line: object) -> LogLine:
    raise StoreUnavailable("the model store cannot be written: No space left on device")


def _die(*_arguments: object, **_more: object) -> LogLine:
    raise Died


def _interrupted(job: Job, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed, pytest.raises(Died):  # noqa: PT012 - only there does it die
        killed.setattr(Registry, "activate_after", _die)
        job.run(order)


def _state(settings: Settings, registry: Registry) -> Any:
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        in_use, left = [batch.rows for batch in transaction.active()], transaction.trainings()
    observations.close()
    return registry.versions(), [line.version for line in registry.log().lines], in_use, left


def test_the_next_start_carries_it_through(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing was made live meanwhile, the version is, in its caller's name; the repeated call gets its answer."""
    _interrupted(job, order, monkeypatch)
    assert registry.live()[0].version == "1"
    (settled,) = settle_store(settings)
    assert (settled.version, settled.is_live) == ("2", True)
    assert _state(settings, registry) == ([2, 1], ["2", "1"], [15, 3], [])
    assert (registry.live()[0].who, registry.live()[0].why) == ("anna", "harvest")
    assert job.run(order).report.version == "2"
    assert settle_store(settings) == []


def test_the_next_training_carries_it_through(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever trains next settles it first, and learns from its rows."""
    _interrupted(job, order, monkeypatch)
    report = job.run(Order(Provenance("test", "otto"), activate="always")).report
    assert (report.version, report.rows.total) == ("3", 18)
    assert _state(settings, registry) == ([3, 2, 1], ["3", "2", "1"], [15, 3], [])


def test_what_was_made_live_since_stays(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody made a version live meanwhile, the training is taken back; its call, repeated, is made anew."""
    _interrupted(job, order, monkeypatch)
    registry.activate("1", "otto", "no experiments")
    (settled,) = settle_store(settings)
    assert not settled.is_live
    assert _state(settings, registry) == ([1], ["1", "1"], [15], [])
    again = job.run(order).report
    assert (again.version, again.activated, again.rows.total) == ("3", True, 18)
    assert _state(settings, registry)[2] == [15, 3]


def test_a_log_that_ends_earlier_is_not_continued_behind_a_gap(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the log was restored from an older copy, the version was judged against another one than is live now."""
    registry.activate("1", "otto", "again")
    _interrupted(job, order, monkeypatch)
    (settings.folder / "log" / "2.json").unlink()
    (settled,) = settle_store(settings)
    assert not settled.is_live
    assert _state(settings, registry) == ([1], ["1"], [15], [])


def test_a_repeated_key_rolls_nothing_back(
    job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another harvest was learned after the trainer died: the first call, repeated, unlearns none of its rows."""
    _interrupted(job, order, monkeypatch)
    three = order.table
    assert isinstance(three, Table)
    later = Table(("N", "O", "P"), (None,) * 3, three.weather + 1.0, three.crops, np.array(ROWS) + 1.0)
    assert job.run(Order(Provenance("later", "otto"), later, activate="always")).report.rows.total == 21
    assert job.run(order).report.version == "2"
    assert registry.live()[1].card.rows.total == 21


def test_a_key_makes_nobody_elses_version_live(job: Job, order: Order, registry: Registry, settings: Settings) -> None:
    """If the version's file is another than that of the answer, it is said; it is not made live."""
    job.run(order)
    path = settings.folder / "versions" / "2.safetensors"
    path.write_bytes((settings.folder / "versions" / "1.safetensors").read_bytes())
    (settings.folder / "log" / "2.json").unlink()
    with pytest.raises(StoreDamaged, match="the call under this key made version 2: the file of version 2 is not"):
        job.run(order)
    assert registry.last_number() == 1


def test_a_full_disk_that_lets_nothing_be_taken_back(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the line nor the undo can be written: the error says that it is not certain; the key finds it done."""
    real = Observations.transaction
    calls: list[int] = []

    def full(observations: Observations) -> Any:
        calls.append(1)
        if len(calls) > 2:  # it looks what is to be settled, then stores; the undo is the third
            raise StoreUnavailable("the observations cannot be reached: database or disk is full")
        return real(observations)

    with monkeypatch.context() as disk, pytest.raises(Unconfirmed, match="repeat the call under the same"):  # noqa: PT012 - only there is it full
        disk.setattr(Registry, "activate_after", _refuse)
        disk.setattr(Observations, "transaction", full)
        job.run(order)
    assert job.run(order).report.version == "2"
    assert _state(settings, registry) == ([2, 1], ["2", "1"], [15, 3], [])


def test_a_commit_of_unknown_outcome_keeps_the_version(
    job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was committed or not: its number is given to no other version, and the key finds what is so."""
    keep = Observations.transaction

    class Cut:
        """A transaction whose COMMIT is carried out and never answered."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __enter__(self) -> Any:
            return self._inner.__enter__()

        def __exit__(self, *error: object) -> None:
            self._inner.__exit__(*error)
            raise Unconfirmed("the database has not answered")

    calls: list[int] = []

    def cut(observations: Observations) -> Any:
        calls.append(1)
        return Cut(keep(observations)) if len(calls) == 2 else keep(observations)

    with monkeypatch.context() as lost, pytest.raises(Unconfirmed):  # noqa: PT012 - only there is it lost
        lost.setattr(Observations, "transaction", cut)
        job.run(order)
    assert registry.versions() == [2, 1]
    never = Order(Provenance("other", "otto"), order.table, activate="never")
    assert job.run(never).report.version == "3"
    assert job.run(order).report.version == "2"
    assert registry.live()[0].version == "2"


def test_another_stores_training_is_left_alone(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores on one database: what one has left to do is not the other's to settle."""
    _interrupted(job, order, monkeypatch)
    other = Settings(model_store=settings.folder.parent / "other", database_url=settings.database)
    assert settle_store(other) == []
    assert [settled.version for settled in settle_store(settings)] == ["2"]
    assert registry.live()[0].version == "2"


def test_who_cannot_settle_does_not_say_that_nothing_was_done(
    settings: Settings, job: Job, order: Order, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training process died, and another training, which settles what it has left, is at work already."""
    _interrupted(job, order, monkeypatch)
    observations = Observations(settings.database)
    with alone(settings, observations):
        monkeypatch.setattr(Trainer, "_exchange", mock.AsyncMock(side_effect=TimeoutError))
        with pytest.raises(Unconfirmed, match="cannot be looked at now: another training is running"):
            asyncio.run(Trainer(settings).run(order))
        settle_at_start(settings)
        assert registry.live().line.version == "1"
    observations.close()
    settle_at_start(settings)
    assert registry.live().line.version == "2"


def test_a_start_keeps_nobody_from_training(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is under way it does not take the lock: a retrain of that moment would be refused."""
    assert job is not None
    monkeypatch.setattr("app.training.pending.alone", mock.Mock(side_effect=AssertionError))
    settle_at_start(settings)
