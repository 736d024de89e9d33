"""Scores of what was said of yields before they were known: as forecasts were given, or when yields arrived.

Both bases are pairs with keys; what is done with them is the same. They are read part by part: what is held does not
grow with how many there are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.serving.groups import KEYS, Basis, Key, Scores
from app.store.registry import Registry

if TYPE_CHECKING:
    from app.data.observations import Observations


def scores(registry: Registry, observations: "Observations", basis: Basis, by: Sequence[Key]) -> Scores:
    """Read all pairs of a basis, and add them up by these keys.

    Raises:
        InvalidInput: there are too many groups.
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    from app.serving import arrived, foretold  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    found = Scores(basis, tuple(name for name in KEYS if name in by))
    read = foretold.read if basis == "forecast" else arrived.read
    read(found, registry, observations)
    return found
