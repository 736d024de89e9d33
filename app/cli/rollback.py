"""What going back to an earlier version leaves in training, and taking it out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.cli.local import Local
    from app.client import Orchard
    from app.data.learned import Learned
    from app.wire.schemas import BatchEntry, BatchWithdrawn

PAGE = 100


@dataclass(frozen=True, slots=True)
class Left:
    """``later``: batches in use that later versions have learned and this one has not, newest first.

    ``gone``: how many that it has learned are withdrawn.
    """

    version: str
    later: list["BatchEntry"]
    gone: int

    def sentences(self) -> Iterator[str]:
        """Say what the next retrain will learn again, and what it will not."""
        if count := len(self.later):
            yield (
                f"{_batches(count)} that version {self.version} has not learned stay{'s' * (count == 1)} in training: "
                f"the next retrain learns from {'it' if count == 1 else 'them'} again, unless you take "
                f"{'it' if count == 1 else 'them'} out: `orchard activate {self.version} --withdraw-later`"
            )
        if self.gone:
            yield (
                f"{_batches(self.gone)} that version {self.version} has learned {'is' if self.gone == 1 else 'are'} "
                "withdrawn: `orchard observations batches` lists them, `orchard observations restore` takes one back"
            )


def _batches(count: int) -> str:
    return f"{count} batch{'es' * (count != 1)}"


def taken_out(count: int) -> str:
    """Say what the next retrain does not learn."""
    if not count:
        return "no batch to withdraw: no later version has learned any that is in use"
    return f"{_batches(count)} withdrawn: the next retrain does not learn from {'it' if count == 1 else 'them'}"


def left(orchard: "Orchard | Local", version: str) -> Left:
    """Look at what going back to a version leaves; nothing is changed."""
    stored = list(_stored(orchard))
    here = {batch.sequence: batch.batch for batch in stored}
    learned = _learned(orchard, version, here)
    unknown = [batch for batch in stored if batch.withdrawn is None and not _has(learned, batch)]
    gone = sum(batch.withdrawn is not None and _has(learned, batch) for batch in stored)
    taught: set[str] = set()
    for later in _learned_later(orchard, version, here) if unknown else ():
        taught |= {batch.batch for batch in unknown if _has(later, batch)}
        if len(taught) == len(unknown):
            break
    return Left(version, [batch for batch in unknown if batch.batch in taught], gone)


def withdraw(orchard: "Orchard | Local", found: Left, note: str) -> Iterator["BatchWithdrawn"]:
    """Take the later batches out of training, newest first. What fails between two can be repeated."""
    for batch in found.later:
        yield orchard.withdraw(batch.batch, note=note or f"learned after version {found.version}, which is live again")


def _stored(orchard: "Orchard | Local") -> Iterator["BatchEntry"]:
    before: str | None = None
    while True:
        page = orchard.batches(limit=PAGE, before=before)
        yield from page.batches
        if (before := page.next) is None:
            return


def _learned(orchard: "Orchard | Local", version: str, here: dict[int, str]) -> "Learned":
    """``here``: the ids of all stored batches by their sequence."""
    from app.training.learned import learned_by

    return learned_by(orchard.card(version), lambda _: here)


def _has(learned: "Learned", batch: "BatchEntry") -> bool:
    return learned.has(batch.sequence, batch.batch)


def _learned_later(orchard: "Orchard | Local", version: str, here: dict[int, str]) -> Iterator["Learned"]:
    """Yield what later versions that were accepted, or are live, have learned, newest first."""
    before: str | None = None
    while True:
        page = orchard.models(limit=PAGE, before=before)
        for entry in page.versions:
            if int(entry.version) <= int(version):
                return
            if not entry.damaged and (entry.live or entry.decision == "accepted"):
                yield _learned(orchard, entry.version, here)
        if (before := page.next) is None:
            return
