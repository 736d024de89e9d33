"""Whether a column of weather came in another unit: most values are outside the range, and near it if converted."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from app.model.linear import Spread
from app.model.moments import Array
from app.model.slips import WAY_OUT
from app.model.weather import WEATHER, Feature

MOST = 0.5
"""More than this share of the rows must be wrong alike."""
SLACK = 0.5
"""By how much of its width the range is wider for converted values: a season may differ from those before."""


class UnitCheck:
    """Looks at parts of a table and counts; ``spread``: of the live model's training rows, None for a first model."""

    def __init__(self, spread: Spread | None) -> None:
        self._spread = spread
        self._rows = 0
        self._found: Counter[str] = Counter()

    def add(self, weather: Array) -> None:
        """Look at some more rows, shape (n, 3); of most parts the extremes tell that nothing is outside.

        Nothing is said of a column that is absent, and of one that is absent from training only what is possible.
        """
        self._rows += len(weather)
        if not len(weather):
            return
        known = np.flatnonzero(~np.isnan(weather[0])).tolist()
        if self._is_inside(weather, known):
            return
        for number in known:
            self._found[WEATHER[number].name] += self._count(WEATHER[number], weather[:, number], number)
        if self._spread is not None:
            for first, second in itertools.combinations(filter(self._has_range, known), 2):
                self._found[_pair(first, second)] += self._exchanged(weather, first, second)

    def counted(self, rows: int, mistaken: Mapping[str, int]) -> None:
        """Take in rows that were looked at elsewhere, for what is possible at all; ``mistaken``: by feature."""
        self._rows += rows
        self._found.update(mistaken)

    def sentences(self) -> Iterator[str]:
        """Say, a sentence each, what most of the rows look like."""
        for number, feature in enumerate(WEATHER):
            if self._is_most(feature.name) and feature.mistake is not None:
                yield (
                    f"{feature.name}: {self._of_all(feature.name)} {self._outside(feature, number)} if they are "
                    f"{feature.mistake.given}: {WAY_OUT}"
                )
        if self._spread is not None:
            for first, second in itertools.combinations(range(len(WEATHER)), 2):
                is_explained = self._is_most(WEATHER[first].name) or self._is_most(WEATHER[second].name)
                if self._is_most(_pair(first, second)) and not is_explained:
                    yield (
                        f"{_pair(first, second)} look exchanged: {self._of_all(_pair(first, second))} lie far outside "
                        f"the training range, and in it or near it the other way round: {WAY_OUT}"
                    )

    def _is_inside(self, weather: Array, known: list[int]) -> bool:
        smallest, largest = weather.min(axis=0), weather.max(axis=0)
        return all(
            smallest[number] >= self._least(WEATHER[number])
            if not self._has_range(number)
            else self._inside(smallest[number], number) and self._inside(largest[number], number)
            for number in known
        )

    def _has_range(self, number: int) -> bool:
        """Say whether the live model has learned of a feature."""
        return self._spread is not None and not self._spread.absent[number]

    @staticmethod
    def _least(feature: Feature) -> float:
        return -np.inf if feature.plausible is None else feature.plausible

    def _is_most(self, what: str) -> bool:
        return self._found[what] > MOST * self._rows

    def _of_all(self, what: str) -> str:
        return f"{self._found[what]} of {self._rows} row{'s' * (self._rows != 1)}"

    def _outside(self, feature: Feature, number: int) -> str:
        if self._spread is None or not self._has_range(number):
            return f"lie below the {feature.plausible:g} {feature.unit} that a season has at least, and above it"
        low, high = self._spread.minimum[number], self._spread.maximum[number]
        return f"lie outside the training range, {low:g} to {high:g} {feature.unit}, and in it or near it"

    def _count(self, feature: Feature, values: Array, number: int) -> int:
        """Return how many values are outside what is known, and inside if converted."""
        if not self._has_range(number):
            return feature.mistaken(values)
        if feature.mistake is None:
            return 0
        converted = feature.mistake.convert(values)
        return int(np.sum(~self._inside(values, number) & self._inside(converted, number, SLACK)))

    def _exchanged(self, weather: Array, first: int, second: int) -> int:
        one, other = weather[:, first], weather[:, second]
        # Ranges of different features overlap: a value just outside its own is no sign of an exchange.
        as_sent = self._inside(one, first, SLACK) & self._inside(other, second, SLACK)
        return int(np.sum(~as_sent & self._inside(other, first, SLACK) & self._inside(one, second, SLACK)))

    def _inside(self, values: Any, number: int, slack: float = 0.0) -> Any:
        """Say of a number, or of each of an array, whether it is in the training range, or near it."""
        assert self._spread is not None  # noqa: S101 - asked only where there is one
        low, high = self._spread.minimum[number], self._spread.maximum[number]
        beyond = slack * (high - low)
        return (values >= low - beyond) & (values <= high + beyond)


def _pair(first: int, second: int) -> str:
    return f"{WEATHER[first].name} and {WEATHER[second].name}"
