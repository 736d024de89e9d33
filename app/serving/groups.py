"""Pairs of what was said and what came of it, added up by group, part by part: the same whatever they are of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np

from app.errors import FieldError, InvalidInput
from app.model.names import Names
from app.model.pairs import Pairs
from app.model.scored import Scored
from app.model.sums import Sums

Basis = Literal["forecast", "arrival"]
Key = Literal["version", "crop", "season", "region", "lead", "extrapolated"]
KEYS: tuple[Key, ...] = get_args(Key)
MOST_GROUPS = 50_000
"""Groups of an answer: of more, half a gigabyte would be held."""
Value = str | bool | None


class Group(NamedTuple):
    """What the pairs of a group have in common: ``values`` of the keys asked for, in their order.

    ``set_aside``: whether their yields are of batches that a training has brought and not been made live with. Those
    are what the model fits worst, and are never among the others.
    """

    crop: str
    set_aside: bool
    values: tuple[Value, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Keyed:
    """One crop's n pairs, with what they are grouped by: ``keys``, one value a pair, or one for all of them.

    ``seasons``: of n pairs. ``ambiguous``: which had other outcomes to choose from, shape (n,).
    """

    crop: str
    set_aside: bool
    keys: dict[Key, Sequence[Value] | Value]
    seasons: Names
    pairs: Pairs
    ambiguous: Sequence[bool] | None = None


@dataclass(slots=True)
class LeftOut:
    """Pairs that are not counted. ``learned``: the version had learned the yield's batch.

    ``known``: the forecast was stored after the yield. ``unreadable``: the version, or what was stored, cannot be read.
    """

    learned: int = 0
    known: int = 0
    unreadable: int = 0


@dataclass(slots=True)
class Scores:
    """What pairs add up to by group, as they come."""

    basis: Basis
    by: tuple[Key, ...]
    sums: dict[Group, Sums] = field(default_factory=dict)
    ambiguous: dict[Group, int] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def add(self, keyed: Keyed) -> None:
        """Count pairs in.

        Raises:
            InvalidInput: there are too many groups.
        """
        count = len(keyed.pairs)
        if not count:
            return
        columns = [self._column(keyed, name, count) for name in self.by]
        numbers: dict[tuple[Value, ...], int] = {}
        rows = zip(*columns, strict=True) if columns else iter([()] * count)
        place = np.fromiter((numbers.setdefault(row, len(numbers)) for row in rows), np.intp, count)
        groups = [Group(keyed.crop, keyed.set_aside, values) for values in numbers]
        self._take(groups, Sums.by(place, len(groups), keyed.seasons, keyed.pairs))
        if keyed.ambiguous is not None:
            counts = np.bincount(place, np.asarray(keyed.ambiguous, dtype=np.float64), len(groups))
            for group, ambiguous in zip(groups, counts.tolist(), strict=True):
                self.ambiguous[group] = self.ambiguous.get(group, 0) + round(ambiguous)

    def add_sums(self, keyed: dict[Key, Value], *, set_aside: bool, crop: str, sums: Sums) -> None:
        """Count in what pairs add up to that are not known one by one."""
        self._take([Group(crop, set_aside, tuple(keyed.get(name) for name in self.by))], [sums])

    def _take(self, groups: Sequence[Group], parts: Sequence[Sums]) -> None:
        for group, sums in zip(groups, parts, strict=True):
            known = self.sums.get(group)
            self.sums[group] = sums if known is None else Sums.merge((known, sums))
        if len(self.sums) > MOST_GROUPS:
            message = f"these make more than {MOST_GROUPS} groups: ask for fewer of them, such as by=season"
            raise InvalidInput(f"query.by: {message}", [FieldError(("query", "by"), message, "too_many")])

    @staticmethod
    def _column(keyed: Keyed, name: Key, count: int) -> Sequence[Value]:
        value: Sequence[Value] | Value = keyed.crop if name == "crop" else keyed.keys.get(name)
        return [value] * count if value is None or isinstance(value, str | bool) else value

    def scored(self) -> Iterator[tuple[Group, Scored]]:
        """Yield the groups in order, and their figures."""
        for group in sorted(self.sums, key=_order):
            yield group, Scored.of(self.sums[group])


def _order(group: Group) -> tuple[object, ...]:
    return group.set_aside, group.crop, *((value is None, _sortable(value)) for value in group.values)


def _sortable(value: Value) -> tuple[float, str]:
    """Sort numbers as numbers: versions, years, and leads by their days."""
    text = "" if value is None else str(value).removeprefix(">")
    number = text.partition("-")[0]
    return (float(number), text) if number.isascii() and number.isdigit() else (float("inf"), text)
