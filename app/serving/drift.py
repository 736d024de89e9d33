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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from app.model.design import RANK_TOLERANCE
from app.model.fisher import f_tail
from app.model.folds import hashes
from app.model.linear import Spread
from app.model.moments import Array, Moments
from app.model.rounding import rounded
from app.model.weather import FEATURE_NAMES
from app.store.objects import Objects

FOLDER, SUFFIX = "asked", ".safetensors"
HOUR_S = 3_600
HOURS = 24
"""What was asked about this long ago is forgotten, hours."""
MOST_SEEN = 512
"""Different weathers that are remembered of an hour: a test needs no more."""
LOOKED_AT = 4_096
"""Weathers that are compared with each other at a time, of half a second's."""
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


Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """What was asked about: ``moments``, of 3 columns, of all of it.

    ``seen``: hashes of the different weathers, as far as they are remembered. ``grid``: the regions of the largest
    request that another process has worked on, of which only moments are known.
    """

    moments: Moments
    seen: Hashes
    grid: int

    @classmethod
    def merge(cls, parts: Iterable["Asked"], most: int | None = None) -> "Asked":
        """Merge several, with ``most`` hashes at most."""
        present = list(parts)
        seen = [np.empty(0, np.uint64), *(part.seen for part in present)]
        return cls(
            Moments.merge([part.moments for part in present], len(FEATURE_NAMES)),
            np.unique(np.concatenate(seen))[:most],
            max((part.grid for part in present), default=0),
        )

    @classmethod
    def of(cls, weather: Array | Moments) -> "Asked":
        """Take it from rows, shape (n, 3), or from their moments."""
        if isinstance(weather, Moments):
            return cls(weather, np.empty(0, np.uint64), weather.count)
        return cls(Moments.of(weather), np.unique(hashes(weather[:LOOKED_AT]))[:MOST_SEEN], 0)

    @property
    def different(self) -> int:
        """How many different weathers there are, at least."""
        return len(self.seen) + self.grid


class AskedWeather:
    """The weather asked about in this process, and, where ``shared`` is a folder, in those that share it."""

    def __init__(self, shared: Objects | None = None, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock
        self._pending = array("d")
        self._pending_columns: list[Sequence[Array]] = []
        self._pending_moments: list[Moments] = []
        self._hours: dict[int, Asked] = {}
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
        parts = [*map(Asked.of, moments), *(Asked.of(np.column_stack(list(weather))) for weather in columns)]
        if rows:
            parts.append(Asked.of(np.frombuffer(rows).reshape(-1, len(FEATURE_NAMES))))
        if not parts:
            return
        with self._merging:
            hour = self._hour()
            known = [self._hours[hour]] if hour in self._hours else []
            self._hours = dict(self._recent(self._hours)) | {hour: Asked.merge([*known, *parts], MOST_SEEN)}
            if self._shared is not None:
                self._shared.replace(f"{FOLDER}/{os.getpid()}{SUFFIX}", _pack(self._hours))

    def _hour(self) -> int:
        return int(self._clock() // HOUR_S)

    def _recent(self, hours: Mapping[int, Asked]) -> Iterator[tuple[int, Asked]]:
        first = self._hour() - HOURS
        return ((hour, asked) for hour, asked in hours.items() if hour > first)

    def lately(self) -> Asked:
        """Return what was asked about in the last day, in all processes that share theirs."""
        known = [self._hours]
        if self._shared is not None:
            others = (number for number in self._shared.numbers(FOLDER, SUFFIX) if number != os.getpid())
            known += [_unpack(self._shared.read(f"{FOLDER}/{number}{SUFFIX}")) for number in others]
        return Asked.merge(asked for hours in known for _, asked in self._recent(hours))


def drift(lately: Asked, training: Spread) -> Drift:
    """Compare what was asked about with the rows of training.

    A feature's shift is the difference of the means in training's standard deviations; the distance is
    √((m - x̄)ᵀ Σ⁻¹ (m - x̄)) with Σ = S / n (Mahalanobis 1936). Both are None where nothing was asked. A feature that is
    absent from training, or that some were asked without, is not compared. The means are
    called different by Hotelling's T² (Hotelling 1931), a spread that is wider than training's by an F test of the two
    variances. Questions are repeated, by dashboards every minute: they count for as many rows as there are different
    ones, and for no more than training has.
    """
    asked, rows = lately.moments, min(lately.different, training.rows)
    if not asked.count:
        return Drift(0, {}, None, [])
    away = asked.mean - np.array(training.center)
    told = ~asked.absent & ~np.array(training.absent)
    features = {
        name: FeatureDrift(
            float(mean), center, float(difference / deviation) if deviation else None, float(spread), deviation
        )
        for name, mean, center, difference, spread, deviation, is_told in zip(
            FEATURE_NAMES, asked.mean, training.center, away, asked.deviations, training.deviations, told, strict=True
        )
        if is_told
    }
    away[~told] = 0.0
    standard, rank = _standard(training, told)
    distance = float(np.linalg.norm(standard @ away))
    reasons = [
        *_other_mean(asked, rows, (training.rows, rank), standard, standard @ away),
        *_wider(rows, training.rows, features),
    ]
    return Drift(asked.count, features, distance, reasons)


def _standard(training: Spread, told: NDArray[np.bool_]) -> tuple[Array, int]:
    """Return what takes weather to coordinates of covariance 1 in training, and their number.

    ``told``: the features that are known of both, shape (3,). Of the others nothing is said: the covariance is that of
    these alone.
    """
    standard = math.sqrt(training.rows) * np.array(training.whitener)
    if not any(needed and not known for needed, known in zip(training.needed, told, strict=True)):
        return standard, training.rank
    root = np.linalg.pinv(standard)
    directions, sizes, _ = np.linalg.svd(root[told])
    rank = int(np.sum(sizes > RANK_TOLERANCE * sizes.max(initial=0.0)))
    marginal = np.zeros((rank, len(told)))
    marginal[:, told] = directions[:, :rank].T / sizes[:rank, None]
    return marginal, rank


def _other_mean(asked: Moments, rows: int, training: tuple[int, int], standard: Array, away: Array) -> Iterator[str]:
    """``training``: how many rows it has, and the directions that they span."""
    known, rank = training
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


def _wider(rows: int, known: int, features: Mapping[str, FeatureDrift]) -> Iterator[str]:
    """Say which features spread more widely; those who ask about few places are not told that these are few."""
    for name, feature in features.items():
        if rows < 2 or known < 2 or not feature.training_deviation:  # noqa: PLR2004 - one row has no spread
            continue
        ratio = (feature.asked_deviation**2 * rows / (rows - 1)) / (feature.training_deviation**2 * known / (known - 1))
        chance = len(features) * f_tail(ratio, rows - 1, known - 1)
        if chance < LEVEL:
            yield (
                f"{name} asked about spreads {rounded(math.sqrt(ratio))} times as widely as in training "
                f"(probability by chance {chance:.2g})"
            )


def _pack(hours: Mapping[int, Asked]) -> bytes:
    arrays = {
        "hour": np.array(list(hours), dtype=np.int64),
        "count": np.array([asked.moments.count for asked in hours.values()], dtype=np.float64),
        "grid": np.array([asked.grid for asked in hours.values()], dtype=np.int64),
        "hashes": np.array([len(asked.seen) for asked in hours.values()], dtype=np.int64),
        "seen": np.concatenate([asked.seen for asked in hours.values()]),
        **{name: np.stack([getattr(asked.moments, name) for asked in hours.values()]) for name in _PARTS},
    }
    return safetensors.numpy.save(arrays)


_PARTS = ("mean", "factor", "minimum", "maximum")


def _unpack(content: bytes) -> dict[int, Asked]:
    """Return what `_pack` has packed; nothing of what is damaged, or was written by an earlier version."""
    try:
        arrays = safetensors.numpy.load(content)
        numbers = (arrays[name].tolist() for name in ("hour", "count", "grid"))
        seen = np.split(arrays["seen"], np.cumsum(arrays["hashes"])[:-1])
        parts = (arrays[name] for name in _PARTS)
    except (SafetensorError, KeyError):
        return {}
    rows = zip(*numbers, seen, *parts, strict=True)
    return {hour: Asked(Moments(int(count), *each), those, grid) for hour, count, grid, those, *each in rows}
