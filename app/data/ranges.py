"""Sets of sequences as ranges: those of a million batches are a few, where few were withdrawn."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""From its first number to its last, both included."""


class Ranges:
    """A set of whole numbers as ranges, in ascending order; ranges that overlap or adjoin are made one."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        joined: list[list[int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1][1] = max(joined[-1][1], last)
            else:
                joined.append([first, last])
        self._firsts = [first for first, _ in joined]
        self._lasts = [last for _, last in joined]

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __contains__(self, number: int) -> bool:
        return self.hold(number, number)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def hold(self, first: int, last: int) -> bool:
        """Say whether all numbers from ``first`` to ``last`` are in the set."""
        at = bisect_right(self._firsts, first) - 1
        return at >= 0 and last <= self._lasts[at]

    def touch(self, first: int, last: int) -> bool:
        """Say whether any number from ``first`` to ``last`` is in the set."""
        at = bisect_left(self._lasts, first)
        return at < len(self._firsts) and self._firsts[at] <= last

    def up_to(self, last: int) -> "Ranges":
        """Return those of the numbers that are not above ``last``."""
        return Ranges((first, min(end, last)) for first, end in self if first <= last)

    def also(self, numbers: Iterable[int]) -> "Ranges":
        """Return the set with more numbers."""
        return Ranges([*self, *((number, number) for number in numbers)])
