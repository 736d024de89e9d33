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
        self.make_live(registry)
        try:  # what is done is erased; if that fails, the next look sees that it is done
            with observations.transaction() as transaction:
                transaction.end_training(self.sha256)
        except OrchardError as error:
            logger.warning("version %s is live, and still noted as under way: %s", self.version, error.detail)

    def make_live(self, registry: Registry) -> None:
        """Write the line of the log, if it is not there.

        Raises:
            Overtaken, StoreUnavailable, StoreDamaged, NotFound, Unconfirmed: as `activate`.
        """
        registry.activate_after(self.after, Published(self.version, self.sha256), self.who, self.note)

    def was_made_live(self, registry: Registry) -> bool:
        """Say whether a line of the log makes its version live, also if it is no longer the last one.

        Raises:
            StoreUnavailable: the log cannot be read.
        """
        number = self.after
        while registry.has_line(number + 1):
            number += 1
            try:
                line = registry.line(number)
            except (NotFound, StoreDamaged):
                continue
            if (line.version, line.sha256) == (self.version, self.sha256):
                return True
        return False

    def undo(self, registry: Registry, observations: Observations, note: str) -> bool:
        """Take the training back, unless somebody else has settled it; return whether it was taken back here.

        Raises:
            StoreUnavailable, Unconfirmed: it stays as it is.
        """
        with observations.transaction() as transaction:
            if not transaction.end_training(self.sha256):
                return False
            self.take_back(transaction, note)
        registry.discard(self.version)
        return True

    def take_back(self, transaction: Transaction, note: str) -> None:
        """Keep its rows, withdrawn from training, and forget its answer: once, or a later call's would be, too."""
        for batch in self.added:
            transaction.withdraw(batch, ORCHARD, note)
        for batch in self.replaced:
            transaction.restore(batch, ORCHARD, note)
        if self.key:
            transaction.forget_answer(self.key)


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
    """Settle one, or see how somebody else has, meanwhile.

    Its note is erased in the same transaction: who waits for that, to do the same, or to take it back because its line
    could not be written, sees that it is done.
    """
    with observations.transaction() as transaction:
        is_ours = transaction.end_training(pending.sha256)
        is_live = _made_live(pending, registry) if is_ours else pending.was_made_live(registry)
        if is_ours and not is_live:
            pending.take_back(transaction, "another version was made live before that of its training")
    if is_ours and not is_live:
        registry.discard(pending.version)
    settled = Settled(pending.version, is_live)
    logger.warning("a training was interrupted: %s", settled)
    return settled


def _made_live(pending: Pending, registry: Registry) -> bool:
    """Make a version live, if it is not, and if the log still ends with the line that it was judged against."""
    last = registry.last_number()  # before the lines are looked at: others may be making it live
    if pending.was_made_live(registry):
        return True
    if last != pending.after:
        return False
    try:
        pending.make_live(registry)
    except Overtaken:
        return False
    return True


def settle_store(settings: Settings) -> list[Settled]:
    """Settle what is under way on a store.

    Raises:
        RetrainRunning: a training is at work there, which does it itself, and what has come of it is not known here.
        StoreUnavailable, StoreDamaged, Unconfirmed: as `settle`.
    """
    observations = Observations(settings.database)
    try:
        with alone(settings, observations):
            return settle(Registry(open_store(settings)), observations)
    finally:
        observations.close()


def settle_at_start(settings: Settings) -> None:
    """Settle what is under way on a store, if anything is: a service that starts keeps nobody from training there.

    Raises:
        StoreUnavailable, StoreDamaged, Unconfirmed: as `settle`.
    """
    observations = Observations(settings.database)
    try:
        with observations.reading() as transaction:
            if not transaction.trainings():
                return
    finally:
        observations.close()
    with contextlib.suppress(RetrainRunning):
        settle_store(settings)
