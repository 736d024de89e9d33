"""What must be said beside a prediction.

Weather that training has not seen, likely unit mistakes, yields below zero.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.model.figures import figure
from app.model.linear import LEVERAGE_SLACK, LinearModel, Spread
from app.model.weather import NAMES, WEATHER


@dataclass(frozen=True, slots=True)
class _Slip:
    """What a feature is easily given as by mistake, and how to convert it to the right unit."""

    given: str
    convert: Callable[[float], float]


SLIPS = {
    "temperature": _Slip("in °C", lambda celsius: celsius * 9.0 / 5.0 + 32.0),
    "rainfall": _Slip("in inches", lambda inches: inches * 25.4),
    "humidity": _Slip("a share of 1", lambda share: share * 100.0),
}
_UNITS = {feature.name: feature.unit for feature in WEATHER}


def cautions(model: LinearModel, weather: Sequence[float], level: float) -> list[str]:
    """Return all the sentences about one region, whose intervals are of ``level``."""
    leverage = {spread: spread.leverage(weather) for spread in model.spreads}
    tons = {crop.crop: crop.tons(weather) for crop in model.crops}
    margins = {crop.crop: crop.margin(leverage[crop.spread], level, math.sqrt) for crop in model.crops}
    lows = {crop: None if margin is None else tons[crop] - margin for crop, margin in margins.items()}
    return [*weather_cautions(model, weather), *yield_cautions(model, tons, lows)]


def weather_cautions(model: LinearModel, weather: Sequence[float]) -> list[str]:
    """Say, a sentence each, where a region's ``weather`` lies outside what the crops' training rows have shown."""
    sentences = []
    for spread in model.spreads:
        about = _crops(model, spread)
        outside = False
        for name, value, low, high in zip(NAMES, weather, spread.minimum, spread.maximum, strict=True):
            if not low <= value <= high:
                outside = True
                sentences.append(about + _range_sentence(name, value, low, high))
        leverage = spread.leverage(weather)
        if not outside and leverage > spread.largest_leverage * (1.0 + LEVERAGE_SLACK):
            sentences.append(
                f"{about}this combination of weather lies farther out than any in training "
                f"(leverage {leverage:.3g}, in training at most {spread.largest_leverage:.3g})"
            )
    return sentences


def _crops(model: LinearModel, spread: Spread) -> str:
    if len(model.spreads) == 1:
        return ""
    return ", ".join(crop.crop for crop in model.crops if crop.spread == spread) + ": "


def _range_sentence(name: str, value: float, low: float, high: float) -> str:
    unit = _UNITS[name]
    sentence = f"{name} {value:g} {unit} is outside the training range, {low:g} to {high:g} {unit}"
    slip = SLIPS[name]
    converted = slip.convert(value)
    if low <= converted <= high:
        sentence += f"; if it is {slip.given}, that is {converted:g} {unit}"
    return sentence


def yield_cautions(model: LinearModel, tons: Mapping[str, float], lows: Mapping[str, float | None]) -> list[str]:
    """Say, a sentence each, where a crop's prediction or its lower bound is below zero, or has no interval."""
    sentences = []
    for crop in model.crops:
        low = lows[crop.crop]
        if low is None:
            sentences.append(
                f"{crop.crop} has no interval: {crop.spread.rows} rows leave no degrees of freedom "
                f"for {crop.spread.rank + 1} coefficients"
            )
        if tons[crop.crop] < 0:
            sentences.append(f"{crop.crop}: {figure(tons[crop.crop])} tons is below 0 and is reported as 0")
        elif low is not None and low < 0:
            sentences.append(f"{crop.crop}: the lower bound {figure(low)} tons is below 0 and is reported as 0")
    return sentences
