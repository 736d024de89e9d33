"""What request code works with, made once per process and handed in by FastAPI."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from app.api.concurrency import Concurrency
from app.api.helper import Helper
from app.api.hosts import Hosts
from app.api.latest import Latest
from app.api.pool import Pool, Result
from app.api.tokens import Tokens, WrongTokens
from app.errors import HelperFailed
from app.model.linear import LinearModel
from app.serving.condition import Condition
from app.serving.database import DatabaseWatch
from app.serving.drift import AskedWeather, Usage
from app.serving.listeners import Listeners
from app.serving.live import Live, Served
from app.serving.news import News
from app.serving.tally import Tally
from app.settings import Settings
from app.store.registry import Registry
from app.training.process import Trainer
from app.wire.parts import take

if TYPE_CHECKING:
    from app.data.observations import Observations

READING_S = 300.0
"""How long all rows of a version may be read, seconds: a million take half a minute."""
ANSWERED_S = 3.0
"""How long requests that were broken off at the end may take to be told so, seconds."""


@dataclass(frozen=True)
class Services:
    """The parts of a running service."""

    settings: Settings
    tokens: Tokens
    wrong_tokens: WrongTokens
    concurrency: Concurrency
    registry: Registry
    live: Live
    asked_weather: AskedWeather
    tally: Tally
    trainer: Trainer
    helper: Helper
    upload_helper: Helper
    """Works on large bodies that go to the database: where that is slow, questions are answered all the same."""
    condition: Condition = field(default_factory=Condition)
    database_calls: Pool = field(default_factory=lambda: Pool("database", threads=8, most=32, patience_s=10.0))

    store_calls: Pool = field(default_factory=lambda: Pool("model store", threads=8, most=1_000, patience_s=30.0))
    """What reads the model store: in object storage each look takes its time, and nothing else waits for it."""

    @cached_property
    def reading_helper(self) -> Helper:
        """Reads the rows of large versions: neither predictions nor uploads wait for that."""
        return Helper(patience_s=READING_S, reads_store=True)

    @cached_property
    def latest(self) -> Latest:
        """What forecasts scored lately."""
        return Latest()

    @cached_property
    def hosts(self) -> Hosts:
        """The names by which the service may be asked for."""
        return Hosts(self.settings)

    @cached_property
    def news(self) -> News:
        """What is new in the store."""
        return News(self.registry, self.live, self.asked_weather)

    @cached_property
    def listeners(self) -> Listeners:
        """Those who are told of it."""
        return Listeners(self.settings.max_listeners)

    @cached_property
    def database(self) -> DatabaseWatch:
        """Whether the database answers."""
        return DatabaseWatch(self.settings.database)

    @cached_property
    def observations(self) -> "Observations":
        """The observation table; SQLAlchemy is imported when it is first needed, so that a start is quick."""
        from app.data.observations import Observations  # noqa: PLC0415

        return Observations(self.settings.database)

    async def in_database(self, work: Callable[..., Result], *more: object) -> Result:
        """Return what ``work(*more)`` returns, which waits for the database.

        Raises:
            Overloaded: too many wait already.
            OrchardError: whatever the work raises.
        """
        return await self.database_calls.run(work, *more)

    async def read_apart(
        self, work: Callable[..., tuple[bytes, None]], *more: object, asker: Request | None, failed: str
    ) -> bytes:
        """Return what ``work`` writes of many rows: of nothing, the registry, the database and ``more``.

        Raises:
            HelperFailed: the process that reads them did not do it, which ``failed`` says.
            OrchardError: whatever the work raises.
        """
        where = self.registry, self.settings.database
        try:
            file, _ = await self.reading_helper.call(work, b"", *where, *more, asker=asker)
        except HelperFailed as error:
            raise HelperFailed(failed) from error
        return take(file)

    async def served(self, version: str | None) -> Served:
        """Return a version, None: the live one; one that is not in memory is read in a thread of those for the store.

        Raises:
            NotReady: no version is live.
            NotFound, StoreDamaged: there is no such version, or its file is damaged.
            Overloaded: too many wait already.
        """
        if version is None:
            return self.live.current
        held = self.live.held(version)
        return held if held is not None else await self.in_store(self.live.version, version)

    async def in_store(self, work: Callable[..., Result], *more: object) -> Result:
        """Return what ``work(*more)`` returns, which waits for the model store.

        Raises:
            Overloaded: too many wait already.
            OrchardError: whatever the work raises.
        """
        return await self.store_calls.run(work, *more)

    def note(self, model: LinearModel, usage: Usage) -> None:
        """Record the usage of a model, for drift and metrics."""
        self.asked_weather.note_many(usage)
        self.tally.predicted([crop.crop for crop in model.crops], usage.regions, usage.extrapolated)

    async def close(self) -> None:
        """End the processes that train and that answer large questions, and close the database."""
        self.latest.stop()
        since = self.concurrency.stopping_since
        spent = time.monotonic() - since - self.settings.drain_s if since is not None else 0.0
        await self.trainer.close(max(1.0, self.settings.grace_s - spent))
        # The retrain that was broken off has its answer only once its store is settled.
        await self.concurrency.answered(ANSWERED_S)
        await self.helper.close()
        await self.upload_helper.close()
        if "reading_helper" in self.__dict__:
            await self.reading_helper.close()
        self.database_calls.close()
        self.store_calls.close()
        if "observations" in self.__dict__:
            self.observations.close()


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
