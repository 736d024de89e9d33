"""The weather that has been asked about since the start, against the weather of training.

Requests leave their weather in an array, which costs them nothing; it becomes moments in the background. Worker
processes share theirs through files in one folder, so that each can answer for all.
"""

import math
import os
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from app.model.linear import Spread
from app.model.moments import Array, Moments
from app.model.weather import FEATURE_NAMES
from app.store.objects import Objects

FOLDER, SUFFIX = "asked", ".safetensors"


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """A feature's mean among the regions asked about and in training, in its unit, and their distance in deviations."""

    asked_mean: float
    training_mean: float
    shift: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """``asked``: regions since the start. ``distance``: the Mahalanobis distance of the two mean weathers."""

    asked: int
    features: dict[str, FeatureDrift]
    distance: float | None


@dataclass(frozen=True, eq=False, slots=True)
class Usage:
    """What is recorded of a request about many regions: their weather, and how many were extrapolated.

    ``weather``: one array, shape (n,), per feature, or its moments, of 3 columns.
    """

    weather: Sequence[Array] | Moments
    regions: int
    extrapolated: int

    def __reduce__(self) -> tuple[type["Usage"], tuple[Moments, int, int]]:
        """Cross to another process as moments, so that little has to cross."""
        weather = self.weather
        moments = weather if isinstance(weather, Moments) else Moments.of(np.column_stack(list(weather)))
        return Usage, (moments, self.regions, self.extrapolated)


class AskedWeather:
    """The weather asked about in this process, and, where ``shared`` is a folder, in those that share it."""

    def __init__(self, shared: Objects | None = None) -> None:
        self._shared = shared
        self._pending = array("d")
        self._pending_columns: list[Sequence[Array]] = []
        self._pending_moments: list[Moments] = []
        self._merged = Moments.empty(len(FEATURE_NAMES))
        self._written = 0
        self._merging = threading.Lock()

    def note(self, weather: Sequence[float]) -> None:
        """Record one region's weather."""
        self._pending.extend(weather)

    def note_many(self, usage: Usage) -> None:
        """Record many regions' weather."""
        if isinstance(usage.weather, Moments):
            self._pending_moments.append(usage.weather)
        else:
            self._pending_columns.append(usage.weather)

    def begin_merge(self) -> Callable[[], None]:
        """Take what was noted, in the thread that notes, and return the work of settling it, for any other thread."""
        rows, self._pending = self._pending, array("d")
        columns, self._pending_columns = self._pending_columns, []
        moments, self._pending_moments = self._pending_moments, []
        return partial(self._merge, rows, columns, moments)

    def _merge(self, rows: "array[float]", columns: list[Sequence[Array]], moments: list[Moments]) -> None:
        parts = moments + [Moments.of(np.column_stack(list(weather))) for weather in columns]
        if rows:
            parts.append(Moments.of(np.frombuffer(rows).reshape(-1, len(FEATURE_NAMES))))
        with self._merging:
            if parts:
                self._merged = Moments.merge([self._merged, *parts], len(FEATURE_NAMES))
            if self._shared is not None and self._merged.count > self._written:
                self._shared.replace(f"{FOLDER}/{os.getpid()}{SUFFIX}", _pack(self._merged))
                self._written = self._merged.count

    def moments(self) -> Moments:
        """Return the moments, of 3 columns, of all the weather asked about in all processes that share theirs."""
        if self._shared is None:
            return self._merged
        others = (number for number in self._shared.numbers(FOLDER, SUFFIX) if number != os.getpid())
        theirs = [_unpack(self._shared.read(f"{FOLDER}/{number}{SUFFIX}")) for number in others]
        return Moments.merge([self._merged, *theirs], len(FEATURE_NAMES))


def drift(asked: Moments, training: Spread) -> Drift:
    """Compare what was asked about with the rows of training.

    A feature's shift is the difference of the means in training's standard deviations; the distance is
    √((m - x̄)ᵀ Σ⁻¹ (m - x̄)) with Σ = S / n (Mahalanobis 1936). Both are None where nothing was asked.
    """
    if not asked.count:
        return Drift(0, {}, None)
    away = asked.mean - np.array(training.center)
    features = {
        name: FeatureDrift(float(mean), center, float(difference / deviation) if deviation else None)
        for name, mean, center, difference, deviation in zip(
            FEATURE_NAMES, asked.mean, training.center, away, training.deviations, strict=True
        )
    }
    distance = math.sqrt(training.rows) * float(np.linalg.norm(np.array(training.whitener) @ away))
    return Drift(asked.count, features, distance)


def _pack(moments: Moments) -> bytes:
    arrays = {
        "count": np.array([moments.count], dtype=np.float64),
        "mean": moments.mean,
        "factor": np.ascontiguousarray(moments.factor),
        "minimum": moments.minimum,
        "maximum": moments.maximum,
    }
    return safetensors.numpy.save(arrays)


def _unpack(content: bytes) -> Moments:
    try:
        arrays = safetensors.numpy.load(content)
    except SafetensorError:
        return Moments.empty(len(FEATURE_NAMES))
    names = ("mean", "factor", "minimum", "maximum")
    return Moments(int(arrays["count"][0]), *(arrays[name] for name in names))
