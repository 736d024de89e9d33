"""Which of the stored batches a version has learned: by their sequence in the database, or by their id."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from app.data.ranges import Range, Ranges

Mark = tuple[int, str]
"""A batch by its sequence and its id: a database that has another one there is not the one that was learned from."""


@dataclass(frozen=True, eq=False, slots=True)
class Learned:
    """``count``: how many batches a version has learned, whether or not they are in this database.

    ``ids``: those that it names. ``ranges``: the sequences of others; all that is stored there was learned.
    """

    count: int
    ids: frozenset[str]
    ranges: Ranges

    @classmethod
    def of(
        cls,
        ids: Iterable[str],
        count: int = 0,
        ranges: Iterable[Range] = (),
        marks: Sequence[Mark] = (),
        here: Mapping[int, str] | None = None,
    ) -> Self:
        """Take what a card says: ``ids``, and besides ``count`` batches in ``ranges``, as far as they are here.

        ``marks``: some batches of the ranges, by which it is seen how much of this database was learned from: it may be
        another one, or an older copy in which the sequences behind were given once more. ``here``: what has these
        sequences in it. Batches are never erased and sequences given in order, so that up to a mark that is here all
        batches are the same.
        """
        named = frozenset(ids)
        same = (sequence for sequence, batch in marks if here is not None and here.get(sequence) == batch)
        return cls(len(named) + count, named, Ranges(ranges).up_to(max(same, default=0)))

    def has(self, sequence: int, batch: str) -> bool:
        """Say whether a batch was learned; ``sequence``: 0 where it is not known."""
        return batch in self.ids or sequence in self.ranges


NOTHING = Learned(0, frozenset(), Ranges())


def marked(last: int) -> list[int]:
    """Return sequences to be marked where all up to ``last`` is learned: the nearer to it, the denser.

    Of a copy that lacks the last n batches all but the n before these are known again, at least.
    """
    steps = [0, *(2**power for power in range(last.bit_length()))]
    return sorted({last - step for step in steps if last > step})
