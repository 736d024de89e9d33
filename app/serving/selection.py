"""Of many rows, those that stand out and some evenly spread over all: what a chart can draw."""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from app.model.moments import Array

Kept = TypeVar("Kept")


class Selection(Generic[Kept]):
    """Takes rows one part after another, and never holds more than twice ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._largest: list[tuple[float, int, Kept]] = []
        self._spread: list[tuple[int, Kept]] = []
        self.every = 1
        """Those spread over all are the first row of every so many."""
        self.total = 0
        """Rows that were taken in."""

    @property
    def largest(self) -> int:
        """How many of the rows that stand out the most are kept."""
        return self._most // 2

    def add(self, sizes: Array, keep: Callable[[int], Kept]) -> None:
        """Take in n rows by their ``sizes``, shape (n,); ``keep`` is asked for what is kept of one of them."""
        bound = self._largest[-1][0] if len(self._largest) == self.largest else -np.inf
        above = np.flatnonzero(sizes > bound)
        found = above[np.argsort(-sizes[above], kind="stable")[: self.largest]].tolist()
        new = [(float(sizes[row]), -self.total - row, keep(row)) for row in found]
        self._largest = sorted([*self._largest, *new], key=lambda each: each[:2], reverse=True)[: self.largest]
        self._spread += [
            (self.total + row, keep(row)) for row in range(-self.total % self.every, len(sizes), self.every)
        ]
        self.total += len(sizes)
        self._thin(self._most)

    def _thin(self, most: int) -> None:
        while len(self._spread) > most:
            self._spread = self._spread[::2]
            self.every *= 2

    def rows(self) -> list[Kept]:
        """Return all rows where they are not more than ``most``, else those chosen, in the order they were taken in."""
        if self.total <= self._most:
            return [row for _, row in self._spread]
        self._thin(self._most - self.largest)
        chosen = {-place: row for _, place, row in self._largest} | dict(self._spread)
        return [chosen[place] for place in sorted(chosen)]
