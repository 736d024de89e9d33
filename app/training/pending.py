"""What a training still has to do once its rows are committed: make its version live.

Written in the same transaction as the rows, erased when the version is live. Between the two the process may die, the
disk may be full, or the answer to COMMIT may be lost; so the next training or start on this store settles
what it finds: if nothing has been made live meanwhile, the version is, as its caller asked;
otherwise the training is taken back, as if it had not been. See ARCHITECTURE.md, "The end of a transaction".
"""

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from app.data.observations import ORCHARD, Observations, Transaction
from app.errors import NotFound, OrchardError, RetrainRunning, StoreDamaged
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Overtaken, Published, Registry
from app.training.lock import alone

logger = logging.getLogger("orchard.training")


class Pending(BaseModel):
    """A version that is to be made live.

    ``sha256``: of its file. ``after``: the log's last line when it was judged. ``added``, ``replaced``: the batches
    that were stored or taken up for it, and those that were withdrawn for it. ``key``: under which its answer is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    sha256: str
    after: int
    who: str
    note: str
    added: list[str]
    replaced: list[str]
    key: str | None

    def write(self, transaction: Transaction) -> None:
        """Write it down."""
        transaction.begin_training(self.sha256, self.model_dump_json())

    def activate(self, registry: Registry, observations: Observations) -> None:
        """Make the version live, and erase this.

        Raises:
            Overtaken: another one was made live since this one was judged.
            StoreUnavailable, StoreDamaged, NotFound: the version is not live.
            Unconfirmed: it may be, or become so.
        """
        registry.activate_after(self.after, Published(self.version, self.sha256), self.who, self.note)
        self.erase(observations)

    def erase(self, observations: Observations) -> None:
        """Erase what is done. If that fails, the next look sees that it is done."""
        try:
            with observations.transaction() as transaction:
                transaction.end_training(self.sha256)
        except OrchardError as error:
            logger.warning("version %s is live, and still noted as under way: %s", self.version, error.detail)

    def undo(self, registry: Registry, observations: Observations, note: str) -> None:
        """Take the training back: its rows are kept, withdrawn from training; its answer is forgotten.

        Raises:
            StoreUnavailable, Unconfirmed: it stays as it is.
        """
        with observations.transaction() as transaction:
            for batch in self.added:
                transaction.withdraw(batch, ORCHARD, note)
            for batch in self.replaced:
                transaction.restore(batch, ORCHARD, note)
            if self.key:
                transaction.forget_answer(self.key)
            transaction.end_training(self.sha256)
        registry.discard(self.version)


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found under way, and whether it was carried through or taken back."""

    version: str
    is_live: bool

    def __str__(self) -> str:
        if self.is_live:
            return f"version {self.version} was committed and is now live"
        return f"version {self.version} was committed, another one was made live before it: it was taken back"


def settle(registry: Registry, observations: Observations) -> list[Settled]:
    """Carry through or take back what earlier trainings have left, also one that is just being completed elsewhere.

    Those of other stores on the same database are left to them.

    Raises:
        StoreUnavailable, StoreDamaged: it cannot be settled now, and stays.
    """
    with observations.transaction() as transaction:
        transaction.hold_training()  # one may be just being committed
        found = ours(transaction.trainings(), registry)
    return [_settled(pending, registry, observations) for pending in found]


def ours(bodies: Iterable[str], registry: Registry) -> list[Pending]:
    """Return those of the trainings that a database has under way that are of this store.

    Raises:
        StoreDamaged: one is not what was written.
    """
    found = [_read(body) for body in bodies]
    return [pending for pending in found if registry.is_file(pending.version, pending.sha256)]


def _read(body: str) -> Pending:
    try:
        return Pending.model_validate_json(body, extra="ignore")
    except ValidationError as error:
        raise StoreDamaged("what is left to do for a version is damaged in the database") from error


def _settled(pending: Pending, registry: Registry, observations: Observations) -> Settled:
    last = registry.last_number()  # before the lines are looked at: others may be making it live
    if _was_activated(pending, registry):
        pending.erase(observations)
        return _told(pending, is_live=True)
    if last <= pending.after:
        with contextlib.suppress(Overtaken):
            pending.activate(registry, observations)
            return _told(pending, is_live=True)
    pending.undo(registry, observations, "another version was made live before that of its training")
    return _told(pending, is_live=False)


def _was_activated(pending: Pending, registry: Registry) -> bool:
    number = pending.after
    while registry.has_line(number + 1):
        number += 1
        try:
            line = registry.line(number)
        except (NotFound, StoreDamaged):
            continue
        if (line.version, line.sha256) == (pending.version, pending.sha256):
            return True
    return False


def _told(pending: Pending, *, is_live: bool) -> Settled:
    settled = Settled(pending.version, is_live)
    logger.warning("a training was interrupted: %s", settled)
    return settled


def settle_store(settings: Settings) -> list[Settled]:
    """Settle what is under way on a store, unless a training is at work there, which does it itself.

    Raises:
        StoreUnavailable, StoreDamaged, Unconfirmed: as `settle`.
    """
    observations = Observations(settings.database)
    try:
        with alone(settings, observations):
            return settle(Registry(open_store(settings)), observations)
    except RetrainRunning:
        return []
    finally:
        observations.close()
