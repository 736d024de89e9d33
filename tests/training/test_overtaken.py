"""Several trainings on one store: each version goes behind the line that it was judged against, or is made again."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psycopg
import pytest

from app.data.database import LONG_HELD
from app.data.observations import Observations
from app.data.provenance import Once, Provenance
from app.data.tables import Table
from app.errors import RetrainRunning, StoreUnavailable
from app.settings import Settings
from app.store.line import LogLine
from app.store.objects import open_store
from app.store.registry import Overtaken, Published, Registry
from app.training import job as jobs
from app.training.job import EXACT_ATTEMPTS, MOST_ATTEMPTS, Job
from app.training.order import Order
from app.training.pending import Pending, _settled, settle_store
from tests.postgresql import Cluster
from tests.running import until

TRAINERS, EACH = 3, 25
KEEPALIVE = "02:"
"""Of Linux's timers of a connection, the one after which it asks whether the other end is still there."""


@pytest.fixture
def job(settings: Settings, tutorial: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """Return trainings that no lock keeps from each other, on a store whose live model is that of the tutorial."""
    job = Job(settings)
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    monkeypatch.setattr(jobs, "alone", lambda *_of: nullcontext())
    yield job
    job.close()


def _three(number: int) -> Table:
    weather = np.array([[73.0, 67.0, 43.0], [91.0, 88.0, 64.0], [87.0, 134.0, 58.0]]) + number / 64
    yields = np.array([[56.0, 70.0], [81.0, 101.0], [119.0, 133.0]]) + number / 32
    return Table((f"K{number}", f"L{number}", f"M{number}"), (None,) * 3, weather, ("mango", "orange"), yields)


def _order(number: int, key: str | None = None) -> Order:
    once = Once(key, "same") if key is not None else None
    return Order(Provenance(f"batch {number}", "test"), _three(number), activate="always", once=once)


def _registry(settings: Settings) -> Registry:
    return Registry(open_store(settings))


def _in_use(settings: Settings) -> tuple[int, int]:
    """Return how many rows are in use, and how many batches are withdrawn."""
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        batches = transaction.all()
        assert transaction.trainings() == []
    observations.close()
    return sum(b.rows for b in batches if b.withdrawn is None), sum(b.withdrawn is not None for b in batches)


def _meanwhile(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, does: Callable[[], object], times: int) -> None:
    """Let something happen just before a function is called, so many times."""
    real, left = getattr(owner, name), [times]

    def called(*positional: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            does()
        return real(*positional, **named)

    monkeypatch.setattr(owner, name, called)


def test_a_training_that_is_overtaken_is_made_again(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is done while it fits: it learns that one's rows too, and nothing of its first attempt is left."""
    other = Job(settings)
    _meanwhile(monkeypatch, Registry, "publish", lambda: other.run(_order(1)), 1)
    report = job.run(_order(2, "k")).report
    assert report.rows.total == 15 + 3 + 3
    line, version, _ = _registry(settings).live()
    assert (line.version, version.card.rows.total) == (report.version, 21)
    assert _in_use(settings) == (21, 0)
    assert job.run(_order(2, "k")).report == report
    other.close()


def test_a_person_who_activates_comes_first(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the commit and the line somebody rolls back: the training is taken back, and made again behind that."""
    registry = _registry(settings)
    _meanwhile(monkeypatch, Registry, "activate_after", lambda: registry.activate("1", "otto", "no experiments"), 1)
    report = job.run(_order(1)).report
    assert [line.version for line in registry.log().lines] == [report.version, "1", "1"]
    assert registry.live().version.card.rows.total == 18
    assert _in_use(settings) == (18, 1)


def test_who_activates_without_a_pause_keeps_nobody_from_training(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training is judged anew twice; then lines by hand are passed over, and it goes behind the last one."""
    registry = _registry(settings)
    _meanwhile(monkeypatch, Registry, "publish", lambda: registry.activate("1", "otto", "again"), MOST_ATTEMPTS)
    assert job.run(_order(1)).report.activated
    assert [line.number for line in registry.log().lines if line.version != "1"] == [EXACT_ATTEMPTS + 3]
    assert registry.live().version.card.rows.total == 18
    assert _in_use(settings) == (18, 0)


def test_who_is_always_overtaken_is_told(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five attempts it is refused, nothing of it is left, and it can be sent again."""
    registry = _registry(settings)
    first = Published("1", registry.live().line.sha256)
    _meanwhile(
        monkeypatch,
        Registry,
        "publish",
        lambda: registry.activate_after(registry.last_number(), first, "otto", "trained elsewhere"),
        MOST_ATTEMPTS,
    )
    with pytest.raises(RetrainRunning, match="try again"):
        job.run(_order(1, "k"))
    assert _in_use(settings) == (15, 0)
    assert registry.live().line.version == "1"
    assert job.run(_order(1, "k")).report.activated


def test_what_another_completes_is_done(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start elsewhere finds the training under way and makes its version live: the training sees that it is."""
    monkeypatch.setattr("app.training.pending.alone", lambda *_of: nullcontext())
    _meanwhile(monkeypatch, Pending, "activate", lambda: [done.is_live for done in settle_store(settings)], 1)
    report = job.run(_order(1)).report
    registry = _registry(settings)
    assert [line.version for line in registry.log().lines] == [report.version, "1"]
    assert _in_use(settings) == (18, 0)


def test_a_training_under_way_is_no_ones_past(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are committed and whose version is not live yet are learned by nobody who may have to unlearn them."""
    other = Job(settings)
    seen: list[int] = []

    def train() -> None:
        seen.append(other.run(_order(2)).report.rows.total)

    _meanwhile(monkeypatch, Pending, "activate", train, 1)
    job.run(_order(1))
    assert seen == [21]  # it has carried the first one through, and begun behind it
    assert _registry(settings).live().version.card.rows.total == 21
    assert [line.number for line in _registry(settings).log().lines] == [3, 2, 1]
    assert _in_use(settings) == (21, 0)
    other.close()


def test_what_another_completes_is_not_taken_back(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line cannot be written here, and meanwhile is elsewhere: the rows that the live version has learned stay."""
    monkeypatch.setattr("app.training.pending.alone", lambda *_of: nullcontext())
    real, elsewhere = Registry.activate_after, [False]

    def refused(registry: Registry, *line: Any) -> LogLine:
        if elsewhere[0]:
            return real(registry, *line)
        elsewhere[0] = True
        assert [done.is_live for done in settle_store(settings)] == [True]
        raise StoreUnavailable("the model store cannot be written: it answers 503 Slow Down")

    monkeypatch.setattr(Registry, "activate_after", refused)
    report = job.run(_order(1, "k")).report
    assert _registry(settings).live().line.version == report.version
    assert _in_use(settings) == (18, 0)
    assert job.run(_order(1, "k")).report == report


def test_a_training_is_taken_back_once(
    settings: Settings, job: Job, tutorial: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes late to it leaves alone what was done since: the second attempt, its answer, what it replaces."""
    registry = _registry(settings)
    late: list[Pending] = []
    real = Pending.activate

    def activate(pending: Pending, *where: Any) -> None:
        if not late:
            late.append(pending)
            registry.activate("1", "otto", "no experiments")
        real(pending, *where)

    monkeypatch.setattr(Pending, "activate", activate)
    corrected = Table(tutorial.regions, tutorial.seasons, tutorial.weather, tutorial.crops, tutorial.yields + 0.5)
    order = replace(_order(1, "k"), table=corrected, alone=True)
    report = job.run(order).report
    observations = Observations(settings.database)
    assert not _settled(late[0], registry, observations).is_live
    observations.close()
    assert _in_use(settings) == (15, 1)
    assert job.run(order).report == report


def test_a_repeated_call_waits_for_the_first(settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is there and its version not live yet: that is carried through as it was judged, and not by hand."""
    other = Job(settings)

    def committed() -> None:
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - only there does it die
            killed.setattr(Pending, "activate", mock.Mock(side_effect=KeyboardInterrupt))
            other.run(_order(1, "k"))

    _meanwhile(monkeypatch, Job, "_repeated", committed, 1)
    report = job.run(_order(1, "k")).report
    assert b'"after":1' in (settings.folder / "log" / "2.json").read_bytes()
    assert [line.version for line in _registry(settings).log().lines] == [report.version, "1"]
    assert _in_use(settings) == (18, 0)
    other.close()


def test_a_line_says_what_it_was_judged_against(settings: Settings, job: Job) -> None:
    """A training's line is the one behind it; one that is taken, by another version, is left as it is."""
    registry = _registry(settings)
    report = job.run(_order(1)).report
    assert report.version is not None
    line = (settings.folder / "log" / "2.json").read_bytes()
    assert b'"after":1' in line
    assert (
        b'"after":null'
        in (registry.activate("1", "otto", "back"), (settings.folder / "log" / "3.json"))[1].read_bytes()
    )
    sha256 = registry.line(2).sha256
    assert registry.activate_after(1, Published(report.version, sha256), "otto", "again") == registry.line(2)
    with pytest.raises(Overtaken, match="version 1 was made live first, by otto"):
        registry.activate_after(2, Published(report.version, sha256), "otto", "again")
    assert registry.last_number() == 3


def _train(store: Path, database: str | None, trainer: int, tries: Any) -> None:
    """Send harvests, each until it is learned."""
    mock.patch.object(jobs, "alone", return_value=nullcontext()).start()
    job = Job(Settings(model_store=store, database_url=database))
    for number in range(EACH):
        for attempt in range(100):
            try:
                job.run(_order(1 + trainer * EACH + number))
            except RetrainRunning:
                assert attempt < 99
            else:
                break
            finally:
                with tries.get_lock():
                    tries.value += 1
    job.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_batch_is_ever_missing(kind: str, tmp_path: Path, tutorial: Table, request: pytest.FixtureRequest) -> None:
    """Three trainers that no lock keeps apart, 25 retrains each: each line's version has learned all batches before."""
    postgresql: Cluster | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    settings = Settings(
        model_store=tmp_path / "store", database_url=postgresql.database() if postgresql is not None else None
    )
    first = Job(settings)
    first.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    first.close()
    spawn = multiprocessing.get_context("spawn")
    tries = spawn.Value("i", 0)
    trainers = [
        spawn.Process(target=_train, args=(settings.model_store, settings.database_url, number, tries))
        for number in range(TRAINERS)
    ]
    for trainer in trainers:
        trainer.start()
    for trainer in trainers:
        trainer.join(120)
        assert trainer.exitcode == 0
    registry = _registry(settings)
    lines = registry.log().lines[::-1]
    totals = [registry.read(line.version, line.sha256).card.rows.total for line in lines]
    assert totals == [15 + 3 * number for number in range(1 + TRAINERS * EACH)]
    assert _in_use(settings)[0] == 15 + 3 * TRAINERS * EACH


def test_a_lock_of_the_database(postgresql: Cluster) -> None:
    """A store that has no folder is locked in PostgreSQL, by its name, for as long as the one who holds it lives."""
    url = postgresql.database()
    mine, theirs = Observations(url), Observations(url)
    with mine.alone("s3://bucket/a") as first, theirs.alone("s3://bucket/a") as second, theirs.alone("s3://b") as third:
        assert (first, second, third) == (True, False, True)
        with mine.transaction() as transaction:
            transaction.trainings()
    with theirs.alone("s3://bucket/a") as again:
        assert again
    for each in (mine, theirs):
        each.close()


def _owners(url: str) -> tuple[psycopg.Connection[Any], list[tuple[int, int]]]:
    """Return a connection, and of the others that hold a lock in its database the process, and the client's port."""
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    query = (
        "SELECT pid, client_port FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND datname = current_database()"
    )
    return connection, connection.execute(query).fetchall()


def test_a_lock_whose_connection_is_lost(postgresql: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """What was done under it is done: it is no error at the end, and the next one can have it."""
    url = postgresql.database()
    observations = Observations(url)
    with observations.alone("s3://bucket/a") as is_held:
        assert is_held
        connection, [(process, _)] = _owners(url)
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))
        with observations.alone("s3://bucket/a") as again:
            assert again
    assert "a lock in the database was lost before its end" in caplog.text
    with observations.alone("s3://bucket/a") as again:
        assert again
    connection.close()
    observations.close()


def _timers(port: int) -> list[str]:
    """Return what the system waits for at both ends of a connection, and for how long, ticks in hexadecimal."""
    ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [end[5] for end in ends if f":{port:04X}" in {end[1][-5:], end[2][-5:]}]


def test_a_lock_goes_with_its_owners_machine(postgresql: Cluster) -> None:
    """Each end soon asks whether the other one is still there; by itself, the system would after two hours."""
    url = postgresql.database()
    observations = Observations(url)
    with observations.alone("s3://bucket/a"):
        connection, [(_, port)] = _owners(url)
        until(lambda: all(timer.startswith(KEEPALIVE) for timer in _timers(port)))  # what was sent is acknowledged
        left = [int(timer.removeprefix(KEEPALIVE), 16) / os.sysconf("SC_CLK_TCK") for timer in _timers(port)]
        assert len(left) == 2
        assert max(left) <= LONG_HELD["tcp_keepalives_idle"]
    connection.close()
    observations.close()
