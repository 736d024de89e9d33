"""What forecasts scored lately: told beside other answers, none of which waits for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request

from app.data.integrity import has_forecasts
from app.errors import OrchardError
from app.serving.groups import Basis, Key
from app.wire import scores
from app.wire.schemas import ScoredGroup, ScorePage

if TYPE_CHECKING:
    from app.api.services import Services

logger = logging.getLogger("orchard")

EVERY_S = 5.0
"""How often it is looked whether something has come, at most, seconds."""
TIMES = 20.0
"""And not before so many times as long as the last look took have passed: of a million forecasts it takes a minute."""


class Latest:
    """The scores of all forecasts by crop, of one process: computed when somebody asks, for those who ask next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.groups: list[ScoredGroup] = []
        """As they are known now; none before the first look has ended."""
        self._clock = clock
        self._next = 0.0
        self._state: object = None
        self._told = ""
        self._look: asyncio.Task[None] | None = None

    def ask(self, services: "Services") -> list[ScoredGroup]:
        """Return what is known, and begin to look anew where that is due; on the event loop."""
        if not self.is_looking and self._clock() >= self._next:
            self._next = self._clock() + EVERY_S
            self._look = asyncio.create_task(self._find(services))
        return self.groups

    @property
    def is_looking(self) -> bool:
        """Whether a look has begun, and not ended."""
        return self._look is not None and not self._look.done()

    async def ended(self) -> None:
        """Wait until a look that has begun has ended."""
        if self._look is not None:
            await asyncio.wait((self._look,))

    def stop(self) -> None:
        """Give up a look that has begun."""
        if self._look is not None:
            self._look.cancel()

    @property
    def below_promise(self) -> list[str]:
        """What there is to say of crops whose intervals have held less than they promise."""
        return [f"{group.crop}: {group.verdict}" for group in self.groups if group.below_promise]

    async def _find(self, services: "Services") -> None:
        since = self._clock()
        try:
            if not await asyncio.to_thread(has_forecasts, services.settings.database):
                self.groups, self._state = [], None
                return
            state = await services.in_database(scores.state, services.observations)
            if state == self._state:
                return
            page = ScorePage.model_validate_json(await written(services, "forecast", ()))
            self.groups = [group for group in page.scores if not group.set_aside]
            self._state = state
        except OrchardError as error:
            if self._told != error.detail:
                logger.warning("forecasts could not be scored for the metrics: %s", error.detail)
            self._told = error.detail
        finally:
            self._next = max(self._next, self._clock() + TIMES * (self._clock() - since))


async def written(services: "Services", basis: Basis, by: Sequence[Key], asker: Request | None = None) -> bytes:
    """Return scores as JSON: few rows are scored in a thread, many in the process that reads.

    Raises:
        InvalidInput: there are too many groups.
        HelperFailed, Overloaded, StoreDamaged, StoreTooNew, StoreUnavailable: they cannot be computed.
    """
    few = await services.in_database(scores.written_if_few, services.registry, services.observations, basis, by)
    if few is not None:
        return few
    failed = "the scores were not computed: the process that reads the rows died, or took too long; ask by fewer keys"
    return await services.read_apart(scores.written_at, basis, by, asker=asker, failed=failed)
