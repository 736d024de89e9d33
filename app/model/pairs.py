"""Pairs: yields that were reported, beside what had been said of them before they were known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.model.linear import CropModel, Yields
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """One crop's n pairs, float64, in tons where nothing else is said.

    ``tons``: reported. ``predicted``, ``low`` and ``high``: as answered, never below 0; the bounds are NaN where there
    was no interval. ``level``: the probability that it promised. ``baseline``: the mean yield in training of the
    version that spoke: what it would have said of every row, had it known no weather. All of shape (n,).

    ``on_reported``, shape (n,): what the same version answers on the weather as it was reported; NaN where it cannot be
    asked, since a feature is missing. ``by_weather``, shape (n, features): what each feature adds to that beyond what
    was forecast, weight · (reported - forecast) along the line. Where an answer is held at 0 they do not add up to
    ``on_reported - predicted``: what is left is the bound's, and counts as the weather's.

    The error of a pair is ``tons - predicted``, as everywhere in this room: below 0 where it was predicted too high. It
    is exactly ``tons - on_reported``, which the version would have erred by had it known the weather, and
    ``on_reported - predicted``, the difference of two answers of the same version.
    """

    tons: Array
    predicted: Array
    low: Array
    high: Array
    level: Array
    baseline: Array
    on_reported: Array
    by_weather: Array

    @classmethod
    def arrival(cls, tons: Array, crop: CropModel, yields: Yields) -> Self:
        """Pair yields with what the version would have answered on the weather that was reported with them.

        ``tons``: shape (n,). ``yields``: those of the version that was live, of the same n rows.
        """
        middle, margin = yields.tons[crop.crop], yields.margins[crop.crop]
        nothing = np.full(len(tons), np.nan)
        low, high = (nothing, nothing) if margin is None else (_held(middle - margin), _held(middle + margin))
        predicted = _held(middle)
        level, baseline = _each(yields.level, tons), _each(crop.mean, tons)
        return cls(tons, predicted, low, high, level, baseline, predicted, np.zeros((len(tons), len(FEATURE_NAMES))))

    @classmethod
    def forecast(
        cls,
        tons: Array,
        said: tuple[Array, Array, Array],
        level: Array | float,
        crop: CropModel,
        forecast: Sequence[Array],
        reported: Sequence[Array],
        places: NDArray[np.intp] | None,
    ) -> Self:
        """Pair yields with what was answered on a forecast of the weather.

        Args:
            tons: as reported, shape (n,).
            said: predicted, low and high as answered, shape (n,) each; the bounds NaN where there were none.
            level: promised, shape (n,) or one for all.
            crop: the version's, that has answered.
            forecast: the weather it was asked on, an array of shape (n,) a feature; NaN where it was not given.
            reported: the weather as it came to be, alike.
            places: of the regions in the crop's effects, `LinearModel.places`.
        """
        before, after = _whole(crop, forecast), _whole(crop, reported)
        on_reported = _held(np.asarray(crop.middle(after, places)))
        weights = crop.weights if crop.effects is None or places is None else crop.effects.weights.tolist()
        parts = [weight * (later - sooner) for weight, later, sooner in zip(weights, after, before, strict=True)]
        return cls(tons, *said, _each(level, tons), _each(crop.mean, tons), on_reported, np.column_stack(parts))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.tons)

    def rows(self, kept: Any) -> Self:
        """Return those of a mask or of an array of places, in its order."""
        return type(self)(*(getattr(self, field.name)[kept] for field in fields(self)))


def _held(tons: Array) -> Array:
    """Return yields as they are answered, 0 where they are below it; what is not known stays NaN."""
    return np.maximum(tons, 0.0) + 0.0  # -0 becomes 0


def _each(value: Array | float, rows: Array) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), rows.shape)


def _whole(crop: CropModel, weather: Sequence[Array]) -> list[Array]:
    """Return weather in which a feature that the crop does not need has a value in every row, as `Spread.filled`."""
    known = zip(weather, crop.spread.constants, crop.spread.needed, strict=True)
    return [value if needed else np.where(np.isnan(value), constant, value) for value, constant, needed in known]
