"""A fitted model as it is served: yields, prediction intervals, leverage and contributions.

Every formula is written once and works on one region (plain floats) and on many (float64 arrays) alike, operation by
operation in the same order, so that both give the same bits.
"""

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.model.design import design, leverages, whitener
from app.model.effects import Effects, Place
from app.model.folds import FoldedMoments
from app.model.moments import Array, Moments
from app.model.names import Names
from app.model.record import Record
from app.model.student import t_quantile
from app.model.weather import FEATURE_NAMES

Number = TypeVar("Number", float, Array)

RESOLUTION = 5e-4
"""Yields are taken to be told to three digits: half a unit of the third one, as a share of the mean yield."""
EXACT = 1e-9
"""A residual deviation below this share of the mean yield is what rounding leaves: the line passes through its rows."""
LEVERAGE_SLACK = 1e-9
"""Relative: the outermost training row itself is inside, whatever the last bit of its leverage."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the training rows of one or more crops spread over the features.

    ``rows``: how many. ``center``, ``minimum``, ``maximum``, ``deviations`` (standard, divisor
    n): per feature, in its unit. ``whitener``: T with |T(x -
    x̄)|² = (x - x̄)ᵀ S⁻¹ (x - x̄). ``largest_leverage``: the largest of the training rows. ``rank``: the directions
    they span. Of a feature that is absent from the rows all values are inside (-inf to +inf), and its center is 0.
    """

    rows: int
    center: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    deviations: tuple[float, ...]
    whitener: tuple[tuple[float, ...], ...]
    largest_leverage: float
    rank: int

    @classmethod
    def of(cls, folded: FoldedMoments) -> Self:
        """Take it from a crop's moments and the frontier of its rows."""
        total = folded.total
        rank = design(total).rank
        return cls(
            total.count,
            tuple(total.mean[:-1].tolist()),
            tuple(np.where(total.absent, -np.inf, total.minimum)[:-1].tolist()),
            tuple(np.where(total.absent, np.inf, total.maximum)[:-1].tolist()),
            tuple(np.where(total.constant, 0.0, total.deviations)[:-1].tolist()),
            tuple(map(tuple, whitener(total).tolist())),
            float(leverages(folded.frontier, total).max()),
            rank,
        )

    @property
    def absent(self) -> tuple[bool, ...]:
        """Which features are absent from the rows."""
        return tuple(math.isinf(low) for low in self.minimum)

    @property
    def needed(self) -> tuple[bool, ...]:
        """Which features a prediction cannot be made without: those that the rows have different values of."""
        return tuple(
            low < high and not absent for low, high, absent in zip(self.minimum, self.maximum, self.absent, strict=True)
        )

    def filled(self, weather: Sequence[Number]) -> Sequence[Number]:
        """Return the weather with a value for each feature that has none (NaN, of many regions in all of them).

        It is the one of all the rows, and 0 of a feature that is absent from them.
        """
        if not any(map(_is_nothing, weather)):
            return weather
        pairs = zip(weather, self.constants, strict=True)
        return [_constant(value, known) if _is_nothing(value) else value for value, known in pairs]

    @property
    def constants(self) -> tuple[float, ...]:
        """The value that all rows have of each feature that is not needed; 0 of one that is absent.

        Not the center, which may be beside it by its last digit.
        """
        return tuple(0.0 if absent else low for low, absent in zip(self.minimum, self.absent, strict=True))

    def leverage(self, weather: Sequence[Number]) -> Number:
        """Return h(x) = 1/n + (x - x̄)ᵀ S⁻¹ (x - x̄).

        ``weather`` holds one float or one array, shape (n,), per feature.
        """
        away = [value - middle for value, middle in zip(weather, self.center, strict=True)]
        squares = [along * along for along in (_product(row, away) for row in self.whitener)]
        # added from the left: the order is part of the result
        return 1.0 / self.rows + functools.reduce(operator.add, squares)


def _is_nothing(value: Any) -> bool:
    """Say whether a number, or the first one of an array, is NaN."""
    first = value if not isinstance(value, np.ndarray) else value[0] if len(value) else 0.0
    return bool(first != first)  # noqa: PLR0124 - NaN is not the same as itself


def _constant(like: Any, value: float) -> Any:
    return np.full_like(like, value) if isinstance(like, np.ndarray) else value


def clipped(tons: Array) -> Array:
    """Return yields, 0 where they are below it: tons cannot be negative. An array without such is returned as it is."""
    if tons.min() > 0.0:
        return tons
    tons = np.maximum(tons, 0.0)
    tons += 0.0  # -0 becomes 0
    return tons


@dataclass(frozen=True)
class CropModel:
    """One crop's common line, of all rows alike, and what its regions and seasons have of their own, if that is seen.

    ``weights`` in tons per unit, ``intercept`` in tons, ``squared_error`` in tons² over its training rows.

    ``mean``: the mean yield in training, tons. ``effects``: predictions are theirs, where there are any. ``record``:
    how well intervals held; where they did not, they are wider.
    """

    crop: str
    intercept: float
    weights: tuple[float, ...]
    mean: float
    squared_error: float
    spread: Spread
    effects: Effects | None = None
    record: Record | None = None

    @classmethod
    def of(
        cls,
        crop: str,
        weights: Array,
        intercept: float,
        moments: Moments,
        spread: Spread,
        effects: Effects | None,
        record: Record | None,
    ) -> Self:
        """Build it from a fit's numbers and the moments of the rows it was fitted on."""
        error = moments.squared_error(weights, intercept)
        line = (float(intercept), tuple(weights.tolist()))
        return cls(crop, *line, float(moments.mean[-1]), error, spread, effects, record)

    @cached_property
    def degrees_of_freedom(self) -> int:
        """Rows less coefficients that they determine: n - rank - 1."""
        return self.spread.rows - self.spread.rank - 1

    @cached_property
    def residual_sd(self) -> float | None:
        """The residual deviation √(squared error / degrees of freedom), tons; None without degrees of freedom."""
        if self.degrees_of_freedom < 1:
            return None
        return math.sqrt(self.squared_error / self.degrees_of_freedom)

    @cached_property
    def is_exact(self) -> bool:
        """Whether the line passes through all its rows, so that its intervals have no width."""
        return self.residual_sd is not None and self.residual_sd <= EXACT * abs(self.mean)

    @cached_property
    def resolution(self) -> float:
        """How far off the line an honest yield lies by being rounded alone, tons."""
        return RESOLUTION * abs(self.mean)

    @cached_property
    def noise(self) -> float:
        """The deviation that honest yields have from the line at least, tons; 0 where nothing can be said of it."""
        return max(self.residual_sd, self.resolution) if self.residual_sd is not None else 0.0

    def tons(self, weather: Sequence[Number]) -> Number:
        """Return intercept + Σ weight · value, not clipped: ``weather`` holds one float or one array per feature."""
        total: Number = self.intercept + self.weights[0] * weather[0]
        for weight, value in zip(self.weights[1:], weather[1:], strict=True):
            total = total + weight * value
        return total

    def widening(self, level: float) -> float:
        """Return how many times as wide as its rows alone would have it an interval is, at least 1: the record says."""
        if self.record is None or self.degrees < 1.0:
            return 1.0
        return _widening(self.record, level, self.degrees)

    @property
    def degrees(self) -> float:
        """The degrees of freedom of its intervals, where effects are known those of known regions."""
        return self.effects.degrees[0] if self.effects is not None else float(self.degrees_of_freedom)

    def scale(self, level: float) -> float | None:
        """Return the half width of an interval over √(1 + h): t(level, n - p) · s · widening, tons.

        None without degrees of freedom.
        """
        if self.residual_sd is None:
            return None
        return t_quantile(level, self.degrees_of_freedom) * self.residual_sd * self.widening(level)

    def margin(self, width: Number, level: float) -> Number | None:
        """Return half the width of the prediction interval of the common line, tons.

        ``width`` is √(1 + h), of the leverage h. None without degrees of freedom.
        """
        scale = self.scale(level)
        return None if scale is None else scale * width

    def predicted(self, weather: Sequence[Any], width: Any, place: Place | None, level: float) -> tuple[Any, Any]:
        """Return the prediction and half the width of its interval, tons, not clipped; None without degrees of freedom.

        ``width``: √(1 + h), of the weather's leverage h among the training rows. ``place``: that of the region in the
        effects, `LinearModel.places`.
        """
        if self.effects is None or place is None:
            return self.tons(weather), self.margin(width, level)
        return self.effects.tons(weather, place), self.scales(level)[place] * self.effects.width(weather, place)

    def scales(self, level: float) -> Array:
        """Return the half width of an interval over the effects' width, by place, tons, shape (regions + 1,)."""
        assert self.effects is not None  # noqa: S101 - asked where there are
        return self.effects.scale(level) * self.widening(level)

    def middle(self, weather: Sequence[Any], place: Place | None) -> Any:
        """Return the prediction alone, tons, not clipped."""
        if self.effects is None or place is None:
            return self.tons(weather)
        return self.effects.tons(weather, place)

    @property
    def floor(self) -> float:
        """How many times as large as those of its intervals the standard errors are that yields are held against.

        At least 1: they are not below what rounding a yield to three digits makes. Infinite where the line is exact.
        """
        own = math.sqrt(self.effects.noise) if self.effects is not None else self.residual_sd
        return max(1.0, self.resolution / own) if own and not self.is_exact else math.inf

    def expected(self, weather: Sequence[Array], places: NDArray[np.intp] | None) -> tuple[Array, Array]:
        """Return the predictions for n regions and their standard errors, tons, shape (n,).

        They are at least what rounding a yield to three digits makes (`floor`); `noise` is not 0.
        """
        if self.effects is None or places is None:
            return self.tons(weather), self.noise * np.sqrt(1.0 + self.spread.leverage(weather))
        least = max(math.sqrt(self.effects.noise), self.resolution)
        return self.effects.tons(weather, places), least * self.effects.width(weather, places)

    def shared(self, weather: Sequence[Array], places: NDArray[np.intp] | None) -> Array:
        """Return what share of each prediction's variance all regions of a season have in common, shape (n,).

        That is the season's own deviation, and how far the line itself may be off.
        """
        if self.effects is None or places is None:
            leverage: Array = self.spread.leverage(weather)
            return leverage / (1.0 + leverage)
        line = self.effects.leverage(weather, np.full_like(places, self.effects.unseen))
        share: Array = (self.effects.by_season / self.effects.noise + line) / self.effects.width(weather, places) ** 2
        return np.minimum(1.0, share)

    @property
    def deviations(self) -> tuple[float, float]:
        """How far regions and seasons lie from the line, standard deviations, tons; 0 where nothing is seen of it."""
        if self.effects is None:
            return 0.0, 0.0
        return math.sqrt(self.effects.by_region), math.sqrt(self.effects.by_season)

    def contributions(self, weather: Sequence[Any], place: Place | None = None) -> dict[str, Any]:
        """Return weight · (value - its training mean) by feature, and what the region adds, tons.

        Added to ``baseline`` they are the prediction. A feature that is absent from training contributes nothing.
        """
        weights = self.weights if self.effects is None else self.effects.weights.tolist()
        weather = self.spread.filled(weather)
        columns = zip(FEATURE_NAMES, weights, weather, self.spread.center, self.spread.absent, strict=True)
        parts = {name: weight * (value - middle) for name, weight, value, middle, absent in columns if not absent}
        if self.effects is not None and self.effects.by_region:
            parts["region"] = self.effects.offset[place]
        return parts

    @cached_property
    def standard_errors(self) -> tuple[float, ...] | None:
        """Standard errors of the intercept and of each weight, s · √((XᵀX)⁻¹ⱼⱼ) with a column of ones in X.

        In the coefficients' units; None without degrees of freedom, or where the rows do not determine every weight.
        That of a feature that is absent from them is 0, as its weight is.
        """
        if self.residual_sd is None or self.spread.rank < len(self.weights) - sum(self.spread.absent):
            return None
        inverse_root = np.array(self.spread.whitener)
        center = inverse_root @ np.array(self.spread.center)
        variances = [1.0 / self.spread.rows + center @ center, *np.sum(inverse_root**2, axis=0)]
        return tuple(self.residual_sd * math.sqrt(variance) for variance in variances)

    @cached_property
    def baseline(self) -> float:
        """The prediction at the mean weather of training, tons: the mean yield, for a least-squares fit.

        Where regions have effects, that of a region never seen.
        """
        if self.effects is None:
            return self.tons(self.spread.center)
        return float(self.effects.tons(self.spread.center, self.effects.unseen))


@functools.lru_cache(maxsize=64)
def _widening(record: Record, level: float, degrees: float) -> float:
    """Remember what takes a search: records are compared as the objects that they are."""
    return record.factor(level, degrees)


def _product(row: Sequence[float], values: Sequence[Number]) -> Number:
    return functools.reduce(operator.add, [weight * value for weight, value in zip(row, values, strict=True)])


@dataclass(frozen=True)
class LinearModel:
    """All crops' lines over the same ``features``, in order.

    ``regions``: those that the crops' effects are of, in their order.
    """

    features: tuple[str, ...]
    crops: tuple[CropModel, ...]
    regions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        features: Sequence[str],
        lines: Mapping[str, tuple[Array, float]],
        moments: Mapping[str, FoldedMoments],
        effects: Mapping[str, Effects] = {},
        regions: Sequence[str] = (),
        records: Mapping[str, Record] = {},
    ) -> Self:
        """Build it from each crop's (weights, intercept) and moments, and effects and record of crops that have any.

        Crops reported by the same rows share their spread.
        """
        found: list[tuple[FoldedMoments, Spread]] = []
        crops = []
        for crop, (weights, intercept) in lines.items():
            folded = moments[crop]
            spread = next((spread for other, spread in found if folded.spreads_as(other)), None)
            if spread is None:
                spread = Spread.of(folded)
                found.append((folded, spread))
            more = effects.get(crop), records.get(crop)
            crops.append(CropModel.of(crop, weights, intercept, folded.total, spread, *more))
        return cls(tuple(features), tuple(crops), tuple(regions))

    def __reduce__(self) -> tuple[type["LinearModel"], tuple[Any, ...]]:
        """Cross to another process without what is computed from it."""
        return type(self), (self.features, self.crops, self.regions)

    def asked(self, *, effects: bool, exact: bool) -> "LinearModel":
        """Return what is asked for: with or without effects, and with intervals as the record or as rows alone say."""
        model = self.plain if exact else self
        return model if effects else model.common

    @cached_property
    def common(self) -> "LinearModel":
        """The same without effects: each crop's common line."""
        if not self.has_effects:
            return self
        # The record of a crop with effects is of predictions with them.
        crops = (crop if crop.effects is None else replace(crop, effects=None, record=None) for crop in self.crops)
        return type(self)(self.features, tuple(crops))

    @cached_property
    def plain(self) -> "LinearModel":
        """The same without a record: intervals as wide as the rows of training alone would have them."""
        if all(crop.record is None for crop in self.crops):
            return self
        return type(self)(self.features, tuple(replace(crop, record=None) for crop in self.crops), self.regions)

    def of_crop(self, name: str) -> "LinearModel":
        """Return the model of one of its crops."""
        return type(self)(self.features, tuple(crop for crop in self.crops if crop.crop == name), self.regions)

    @cached_property
    def has_effects(self) -> bool:
        """Whether any crop has."""
        return any(crop.effects is not None for crop in self.crops)

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each region that training knows."""
        return {region: place for place, region in enumerate(self.regions)}

    @cached_property
    def not_learned(self) -> NDArray[np.bool_]:
        """Which places no row of some crop is known of, though its regions differ, shape (regions + 1,)."""
        found = np.zeros(len(self.regions) + 1, dtype=np.bool_)
        for crop in self.crops:
            if crop.effects is not None and crop.effects.by_region:
                found |= crop.effects.rows == 0
        return found

    def places(self, regions: Sequence[str | None]) -> NDArray[np.intp] | None:
        """Return the places of regions in the crops' effects, shape (n,); None where no crop has any."""
        if not self.has_effects:
            return None
        find, unseen = self.index.get, len(self.regions)
        if isinstance(regions, Names):
            table = np.array([*(find(name, unseen) for name in regions.names), unseen], dtype=np.intp)
            return table[regions.codes]
        return np.fromiter((find(region or "", unseen) for region in regions), np.intp, len(regions))

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """The different spreads of its crops' training rows: one, when every row reports every crop."""
        return tuple(dict.fromkeys(crop.spread for crop in self.crops))

    @cached_property
    def needed_by(self) -> dict[str, tuple[str, ...]]:
        """Which crops cannot be predicted without a feature, by its name; none of a feature that none needs."""
        needing = (
            tuple(crop.crop for crop in self.crops if crop.spread.needed[number])
            for number in range(len(FEATURE_NAMES))
        )
        return {name: crops for name, crops in zip(FEATURE_NAMES, needing, strict=True) if crops}

    @cached_property
    def widest_spread(self) -> Spread:
        """The spread of the crop that the most rows report, of those that know the most features.

        It is what weather asked about is compared with.
        """
        return max(self.spreads, key=lambda spread: (-sum(spread.absent), spread.rows))

    def prepare(self, level: float) -> None:
        """Compute what all intervals of ``level`` need, so that the first prediction does not wait for it."""
        for crop in self.crops:
            crop.scale(level) if crop.effects is None else crop.scales(level)

    def yields(self, weather: Sequence[Array], level: float, regions: Sequence[str | None] = ()) -> "Yields":
        """Predict for n regions: ``weather`` holds one array, shape (n,), per feature; ``regions`` their names.

        A feature that no crop needs may be NaN for all of them.
        """
        filled = {spread: spread.filled(weather) for spread in self.spreads}
        leverage = {spread: spread.leverage(values) for spread, values in filled.items()}
        outside = np.zeros(len(weather[0]), dtype=np.bool_)
        for spread, values in leverage.items():
            outside |= values > spread.largest_leverage * (1.0 + LEVERAGE_SLACK)
            for value, low, high in zip(filled[spread], spread.minimum, spread.maximum, strict=True):
                if value.min() < low or value.max() > high:  # of most grids no value is
                    outside |= (value < low) | (value > high)
        places = self.places(regions or (None,) * len(outside)) if self.has_effects else None
        widths = {spread: np.sqrt(1.0 + values) for spread, values in leverage.items()}
        found = {
            crop.crop: crop.predicted(filled[crop.spread], widths[crop.spread], places, level) for crop in self.crops
        }
        tons = {crop: middle for crop, (middle, _) in found.items()}
        margins = {crop: margin for crop, (_, margin) in found.items()}
        return Yields(leverage, tons, margins, outside, level, regions, places)


@dataclass(frozen=True, eq=False, slots=True)
class Yields:
    """Predictions for n regions by crop, in tons, not clipped.

    ``leverages``, ``tons`` and the interval's half width ``margins``, shape (n,).

    A margin is None where a crop has no degrees of freedom. ``extrapolated``: shape (n,), outside what training has
    seen. ``level``: of the intervals. ``places``: of the ``regions`` in the crops' effects, shape (n,), None without
    effects.
    """

    leverages: dict[Spread, Array]
    tons: dict[str, Array]
    margins: dict[str, Array | None]
    extrapolated: np.ndarray[tuple[int], np.dtype[np.bool_]]
    level: float
    regions: Sequence[str | None]
    places: NDArray[np.intp] | None
