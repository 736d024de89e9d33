"""What the service counts: requests, predictions, retrains. Worker processes add theirs up through files in one folder.

The express lane only leaves each answer's time in an array; it is counted in the background, or when somebody looks.
"""

import bisect
import os
import secrets
import threading
import time
import weakref
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson

from app.model.moments import Array
from app.store.objects import Objects

FOLDER, SUFFIX = "tally", ".json"
LIVING = "living"
"""The folder of files that each process holds for as long as it lives."""
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)
"""Upper bounds of a histogram's buckets, seconds; above the last one there is one more."""
ALIVE_S = 10.0
"""A process that has written nothing for so long hangs: like those of one that has ended, its counts stay, its figures
do not."""

Count = Literal[
    "predictions",
    "extrapolated_predictions",
    "retrains",
    "observations_stored",
    "forecasts_stored",
    "process_cpu_seconds",
]
Duration = Literal["requests", "retrain"]
Key = tuple[str, tuple[str, ...]]
"""A metric's name, and the values of its labels."""


@dataclass(slots=True)
class Durations:
    """A histogram: how many in each bucket, and how long in all, seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    seconds: float = 0.0

    def add(self, buckets: Sequence[int], seconds: float) -> None:
        """Add others."""
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, buckets, strict=True)]
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts and durations by metric and labels, over all processes, and the figures of those that live."""

    counts: dict[Key, float] = field(default_factory=dict)
    durations: dict[Key, Durations] = field(default_factory=dict)
    gauges: list[Mapping[str, float]] = field(default_factory=list)

    def take_in(self, counts: Mapping[Key, float], durations: Mapping[Key, Durations]) -> None:
        """Add what one process has counted."""
        for key, count in counts.items():
            self.counts[key] = self.counts.get(key, 0.0) + count
        for key, found in durations.items():
            self.durations.setdefault(key, Durations()).add(found.buckets, found.seconds)


class Tally:
    """The counts of one process, and, where ``shared`` is a folder, of those that share theirs.

    ``express`` is the metric, with its labels, under which the express lane's answers are counted.
    """

    def __init__(self, express: Key, shared: Objects | None = None) -> None:
        self.pending = array("d")
        """Seconds that each answer of the express lane took, negative for an extrapolated one.

        It stays the same array: the lane holds its ``append``. (`AskedWeather` exchanges its own, which nobody holds.)
        """
        self._express = express
        self._shared = shared
        self._number = secrets.randbelow(2**53)
        self._is_held = False
        self._crops: tuple[str, ...] = ()
        self._taken: list[tuple[tuple[str, ...], array[float]]] = []
        self._counts: dict[Key, float] = {}
        self._durations: dict[Key, Durations] = {}
        self._lock = threading.Lock()

    def add(self, metric: Count, *labels: str, by: float = 1.0) -> None:
        """Count something."""
        with self._lock:
            self._counts[metric, labels] = self._counts.get((metric, labels), 0.0) + by

    def reached(self, metric: Count, *labels: str, value: float) -> None:
        """Record how far something has come that counts by itself."""
        with self._lock:
            self._counts[metric, labels] = value

    def took(self, metric: Duration, *labels: str, seconds: float) -> None:
        """Record how long something took."""
        with self._lock:
            durations = self._durations.setdefault((metric, labels), Durations())
            durations.buckets[bisect.bisect_left(BOUNDS_S, seconds)] += 1
            durations.seconds += seconds

    def predicted(self, crops: Sequence[str], regions: int, extrapolated: int) -> None:
        """Count predictions, a region's crop each."""
        for crop in crops:
            self.add("predictions", crop, by=regions)
            self.add("extrapolated_predictions", crop, by=extrapolated)

    def set_aside(self, crops: Sequence[str] | None = None) -> None:
        """Set aside what is pending, in the thread that leaves it there; what comes later is of ``crops``, if given."""
        if self.pending:
            self._taken.append((self._crops, self.pending[:]))
            del self.pending[:]
        if crops is not None:
            self._crops = tuple(crops)

    def publish(self, gauges: Mapping[str, float]) -> None:
        """Count what was set aside, in any thread, and share it all, with this process's figures."""
        while self._taken:
            crops, taken = self._taken.pop()
            signed = np.frombuffer(taken)
            self._count(np.abs(signed))
            self.predicted(crops, len(signed), int(np.signbit(signed).sum()))
        if self._shared is not None:
            self._hold(self._shared)
            self._shared.replace(f"{FOLDER}/{self._number}{SUFFIX}", self._packed(gauges))

    def _hold(self, shared: Objects) -> None:
        """Let the others see that this process lives: a file that it holds is let go of by the system when it ends."""
        if not self._is_held:
            weakref.finalize(self, os.close, shared.hold(f"{LIVING}/{self._number}"))
            self._is_held = True

    def _count(self, seconds: Array) -> None:
        metric, labels = self._express
        buckets = np.bincount(np.searchsorted(BOUNDS_S, seconds), minlength=len(BOUNDS_S) + 1).tolist()
        with self._lock:
            self._durations.setdefault((metric, labels), Durations()).add(buckets, float(seconds.sum()))

    def _packed(self, gauges: Mapping[str, float]) -> bytes:
        with self._lock:
            content: dict[str, Any] = {
                "counts": [(*key, count) for key, count in self._counts.items()],
                "durations": [(*key, found.buckets, found.seconds) for key, found in self._durations.items()],
            }
        return orjson.dumps(content | {"gauges": gauges, "seen": time.time()})

    def totals(self, gauges: Mapping[str, float]) -> Totals:
        """Return what all processes have counted; of others what they had shared within the last moments."""
        totals = Totals(gauges=[gauges])
        with self._lock:
            totals.take_in(self._counts, self._durations)
        if self._shared is not None:
            for number in self._shared.numbers(FOLDER, SUFFIX):
                if number != self._number:
                    content = orjson.loads(self._shared.read(f"{FOLDER}/{number}{SUFFIX}"))
                    _take_in(totals, content, lives=self._shared.is_held(f"{LIVING}/{number}"))
        return totals


def _take_in(totals: Totals, content: dict[str, Any], *, lives: bool) -> None:
    counts = {(metric, tuple(labels)): count for metric, labels, count in content["counts"]}
    durations = {
        (metric, tuple(labels)): Durations(buckets, seconds)
        for metric, labels, buckets, seconds in content["durations"]
    }
    totals.take_in(counts, durations)
    if lives and time.time() - content["seen"] < ALIVE_S:
        totals.gauges.append(content["gauges"])
