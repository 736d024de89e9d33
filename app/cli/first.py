"""What the first start on a store trains, so that it serves something: never what would change what is stored."""

from dataclasses import dataclass
from pathlib import Path

from app.cli.options import CONFLICT, DONE, REJECTED, WRONG
from app.data.integrity import PREFIX
from app.errors import OrchardError
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry

NOTE = "first model"


@dataclass(frozen=True, slots=True)
class Plan:
    """``words``: the command that trains, None for none; ``accepted``: its exit codes with which it goes on.

    ``why``: what is to be said where nothing is trained.
    """

    words: tuple[str, ...] | None
    accepted: frozenset[int] = frozenset({DONE, CONFLICT})  # another process is training it
    why: str = ""


NOTHING = Plan(None)
TUTORIAL = Plan(("train", "--note", NOTE))
STORED = Plan(
    ("retrain", "--note", f"{NOTE}, of what is stored"),
    frozenset({DONE, CONFLICT, REJECTED, WRONG}),
)
"""Where too few rows are stored, or the gate refuses them, the service starts without a model, and takes more."""


def plan(settings: Settings) -> Plan:
    """Say what is to be trained before the service starts.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    registry = Registry(open_store(settings))
    if registry.last_number() > 0:
        return NOTHING
    try:
        in_use, stored = _batches(settings)
    except OrchardError as error:
        return Plan(None, why=f"no model is live, and none is trained: {error.detail}")
    if in_use:
        return STORED
    if versions := registry.versions():
        return Plan(None, why=f"no version is live: `orchard activate {versions[0]}` makes the newest one live")
    if stored:
        return Plan(None, why=f"no model is live, and none is trained: all {stored} stored batches are withdrawn")
    return TUTORIAL


def _batches(settings: Settings) -> tuple[int, int]:
    """Return how many batches are in use, and how many there are."""
    url = settings.database
    if url.startswith(PREFIX) and not Path(url.removeprefix(PREFIX)).is_file():
        return 0, 0
    from app.data.observations import Observations  # SQLAlchemy is imported where there is a database

    observations = Observations(url)
    try:
        with observations.reading() as transaction:
            batches = transaction.all()
    finally:
        observations.close()
    return sum(batch.withdrawn is None for batch in batches), len(batches)
