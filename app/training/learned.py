"""Which batches a version has learned, as its card tells, in the database at hand."""

from collections.abc import Callable, Mapping, Sequence

from app.data.learned import Learned
from app.store.card import Card

IdsAt = Callable[[Sequence[int]], Mapping[int, str]]
"""Returns the ids of the batches with some sequences in a database, as far as there are any."""


def learned_by(card: Card, ids_at: IdsAt) -> Learned:
    """Return what a version has learned of a database; that may be another one than it was trained on."""
    told = card.stored
    if told is None:
        return Learned.of(card.batches)
    here = ids_at([sequence for sequence, _ in told.marks])
    return Learned.of(card.batches, told.count, told.ranges, told.marks, here)
