"""Erases forecasts that have become old without an outcome, beside the work: ORCHARD_FORECAST_DAYS."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.data.observations import Observations

INTERVAL_S = 3_600.0
"""How long after a look the next one is taken, seconds; the first one at the start."""
AT_A_TIME = 2_000
"""Forecasts that are looked at in one transaction: writers wait for it some tens of milliseconds."""
LOOKED_AT = 100_000
"""Forecasts that one look goes through; the next one goes on behind them."""


class Retention:
    """Where the looks at one database have come to. Those with an outcome stay, even if it was withdrawn."""

    def __init__(self, days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._kept = timedelta(days=days)
        self._now = now
        self._after: str | None = None

    def look(self, observations: "Observations", at_a_time: int = AT_A_TIME, most: int = LOOKED_AT) -> int:
        """Look at ``most`` old forecasts, erase those without an outcome, and return how many these were.

        Raises:
            StoreUnavailable: the database cannot be written; what was erased so far is erased.
            Unconfirmed: it is not known whether the last ones were.
        """
        before, erased = self._now() - self._kept, 0
        for _ in range(0, most, at_a_time):
            with observations.transaction() as transaction:
                gone, after = transaction.forecasts.forget(before, self._after, at_a_time)
            self._after = after
            erased += gone
            if after is None:
                break
        return erased
