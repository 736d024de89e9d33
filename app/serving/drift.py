"""The weather that has been asked about in the last day, against the weather of training.

Requests leave their weather in an array, which costs them nothing; it becomes moments in the background, hour by hour,
so that what is too long ago can be forgotten. Worker processes share theirs through files in one folder, so that each
can answer for all.
"""

import math
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from app.model.fisher import f_tail
from app.model.linear import Spread
from app.model.moments import Array, Moments
from app.model.rounding import rounded
from app.model.weather import FEATURE_NAMES
from app.store.objects import Objects

FOLDER, SUFFIX = "asked", ".safetensors"
HOUR_S = 3_600
HOURS = 24
"""What was asked about this long ago is forgotten, hours."""
LEVEL = 0.01
"""The weather is called different where chance alone would show as much in this share of all cases."""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """A feature's mean and standard deviation (divisor n) among the regions asked about and in training, in its unit.

    ``shift``: the difference of the means in training's deviations, None where training has none.
    """

    asked_mean: float
    training_mean: float
    shift: float | None
    asked_deviation: float
    training_deviation: float


@dataclass(frozen=True, slots=True)
class Drift:
    """``asked``: regions in the last day. ``distance``: the Mahalanobis distance of the two mean weathers.

    ``reasons``: a sentence for each way in which the weather asked about is different, none where it is not.
    """

    asked: int
    features: dict[str, FeatureDrift]
    distance: float | None
    reasons: list[str]


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

    def __init__(self, shared: Objects | None = None, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock
        self._pending = array("d")
        self._pending_columns: list[Sequence[Array]] = []
        self._pending_moments: list[Moments] = []
        self._hours: dict[int, Moments] = {}
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
        if not parts:
            return
        with self._merging:
            hour = self._hour()
            known = [self._hours[hour]] if hour in self._hours else []
            self._hours = dict(self._recent(self._hours)) | {hour: Moments.merge([*known, *parts], len(FEATURE_NAMES))}
            if self._shared is not None:
                self._shared.replace(f"{FOLDER}/{os.getpid()}{SUFFIX}", _pack(self._hours))

    def _hour(self) -> int:
        return int(self._clock() // HOUR_S)

    def _recent(self, hours: Mapping[int, Moments]) -> Iterator[tuple[int, Moments]]:
        first = self._hour() - HOURS
        return ((hour, moments) for hour, moments in hours.items() if hour > first)

    def moments(self) -> Moments:
        """Return the moments, of 3 columns, of the weather asked about lately in all processes that share theirs."""
        known = [self._hours]
        if self._shared is not None:
            others = (number for number in self._shared.numbers(FOLDER, SUFFIX) if number != os.getpid())
            known += [_unpack(self._shared.read(f"{FOLDER}/{number}{SUFFIX}")) for number in others]
        recent = [moments for hours in known for _, moments in self._recent(hours)]
        return Moments.merge(recent, len(FEATURE_NAMES))


def drift(asked: Moments, training: Spread) -> Drift:
    """Compare what was asked about with the rows of training.

    A feature's shift is the difference of the means in training's standard deviations; the distance is
    √((m - x̄)ᵀ Σ⁻¹ (m - x̄)) with Σ = S / n (Mahalanobis 1936). Both are None where nothing was asked. The means are
    called different by Hotelling's T² (Hotelling 1931), a feature's spread by an F test of the two variances. Questions
    are repeated, by dashboards every minute: they count for no more rows than training has.
    """
    if not asked.count:
        return Drift(0, {}, None, [])
    away = asked.mean - np.array(training.center)
    features = {
        name: FeatureDrift(
            float(mean), center, float(difference / deviation) if deviation else None, float(spread), deviation
        )
        for name, mean, center, difference, spread, deviation in zip(
            FEATURE_NAMES, asked.mean, training.center, away, asked.deviations, training.deviations, strict=True
        )
    }
    standard = math.sqrt(training.rows) * np.array(training.whitener)  # to coordinates of covariance 1 in training
    distance = float(np.linalg.norm(standard @ away))
    reasons = [*_other_mean(asked, training, standard, standard @ away), *_other_spreads(asked, training, features)]
    return Drift(asked.count, features, distance, reasons)


def _other_mean(asked: Moments, training: Spread, standard: Array, away: Array) -> Iterator[str]:
    rows, known, rank = min(asked.count, training.rows), training.rows, training.rank
    degrees = rows + known - rank - 1
    if degrees < 1 or not rank:
        return
    scaled = asked.factor @ standard.T
    pooled = (rows / asked.count * scaled.T @ scaled + known * np.eye(len(away))) / (rows + known - 2)
    squared = rows * known / (rows + known) * float(away @ np.linalg.solve(pooled, away))
    chance = f_tail(squared * degrees / (rank * (rows + known - 2)), rank, degrees)
    if chance < LEVEL:
        yield (
            f"the mean weather asked about is not that of training (Hotelling's T² {rounded(squared)}, probability by "
            f"chance {chance:.2g})"
        )


def _other_spreads(asked: Moments, training: Spread, features: Mapping[str, FeatureDrift]) -> Iterator[str]:
    rows, known = min(asked.count, training.rows), training.rows
    for name, feature in features.items():
        if rows < 2 or known < 2 or not feature.training_deviation:  # noqa: PLR2004 - one row has no spread
            continue
        ratio = (feature.asked_deviation**2 * rows / (rows - 1)) / (feature.training_deviation**2 * known / (known - 1))
        above = f_tail(ratio, rows - 1, known - 1)
        chance = 2.0 * len(features) * min(above, 1.0 - above)
        if chance < LEVEL:
            yield (
                f"{name} asked about spreads {rounded(math.sqrt(ratio))} times as widely as in training "
                f"(probability by chance {chance:.2g})"
            )


def _pack(hours: Mapping[int, Moments]) -> bytes:
    arrays = {
        "hour": np.array(list(hours), dtype=np.int64),
        "count": np.array([moments.count for moments in hours.values()], dtype=np.float64),
        **{name: np.stack([getattr(moments, name) for moments in hours.values()]) for name in _PARTS},
    }
    return safetensors.numpy.save(arrays)


_PARTS = ("mean", "factor", "minimum", "maximum")


def _unpack(content: bytes) -> dict[int, Moments]:
    try:
        arrays = safetensors.numpy.load(content)
    except SafetensorError:
        return {}
    rows = zip(arrays["hour"].tolist(), arrays["count"].tolist(), *(arrays[name] for name in _PARTS), strict=True)
    return {hour: Moments(int(count), *parts) for hour, count, *parts in rows}
