"""What must be said beside a prediction.

Weather that training has not seen, likely unit mistakes, yields below zero.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.model.linear import LEVERAGE_SLACK, LinearModel, Spread, Yields
from app.model.moments import Array
from app.model.rounding import rounded, told_apart
from app.model.units import STORED, Units
from app.model.weather import Feature


def warnings_for(model: LinearModel, weather: Sequence[float], level: float, region: str | None = None) -> list[str]:
    """Return all the sentences about one region, whose intervals are of ``level``."""
    filled = {spread: spread.filled(weather) for spread in model.spreads}
    leverage = {spread: spread.leverage(values) for spread, values in filled.items()}
    place = model.index.get(region or "", len(model.regions)) if model.has_effects else None
    found = {
        crop.crop: crop.predicted(filled[crop.spread], math.sqrt(1.0 + leverage[crop.spread]), place, level)
        for crop in model.crops
    }
    tons = {crop: float(middle) for crop, (middle, _) in found.items()}
    lows = {crop: None if margin is None else float(middle - margin) for crop, (middle, margin) in found.items()}
    about_weather = weather_warnings(model, weather, list(leverage.values()))
    about_region = region_warnings(model, region, place)
    return [*about_weather, *about_region, *yield_warnings(model, tons, lows), *record_warnings(model, level)]


def record_warnings(model: LinearModel, level: float) -> list[str]:
    """Say, a sentence a crop, whose intervals of ``level`` are wider than their rows would have them, and why."""
    said = [
        crop.record.warning(crop.crop, level, crop.degrees)
        for crop in model.crops
        if crop.record is not None and crop.widening(level) > 1.0
    ]
    return [sentence for sentence in said if sentence is not None]


def warnings_for_many(
    model: LinearModel, weather: Sequence[Array], yields: Yields, units: Units = STORED
) -> list[list[str]]:
    """Return the sentences about each of n regions, as `warnings_for` does: ``weather`` holds one array per feature.

    ``units``: those that the sentences are in. Most regions have none: only those that have are looked at one by one.
    """
    lows = {crop: None if margin is None else yields.tons[crop] - margin for crop, margin in yields.margins.items()}
    below = np.zeros_like(yields.extrapolated)
    for crop, low in lows.items():
        below |= np.ones_like(below) if low is None else (low < 0) | (yields.tons[crop] < 0)
    below |= any(crop.is_exact for crop in model.crops)
    nothing: list[str] = []
    sentences = [nothing] * len(below)
    outside = np.flatnonzero(yields.extrapolated)
    columns = [column[outside].tolist() for column in (*weather, *yields.leverages.values())]
    for row, *values in zip(outside.tolist(), *columns, strict=True):
        sentences[row] = weather_warnings(model, values[: len(weather)], values[len(weather) :], units)
    if yields.places is not None and any(yields.regions):
        for row in np.flatnonzero(model.not_learned[yields.places]).tolist():
            sentences[row] = sentences[row] + region_warnings(model, yields.regions[row], int(yields.places[row]))
    for row in np.flatnonzero(below).tolist():
        tons = {crop: float(middle[row]) for crop, middle in yields.tons.items()}
        low_here = {crop: None if low is None else float(low[row]) for crop, low in lows.items()}
        sentences[row] = sentences[row] + yield_warnings(model, tons, low_here)
    always = record_warnings(model, yields.level)
    return [some + always if some else always for some in sentences] if always else sentences


def weather_warnings(
    model: LinearModel, weather: Sequence[float], leverages: Sequence[float], units: Units = STORED
) -> list[str]:
    """Say, a sentence each, where a region's ``weather`` lies outside what the crops' training rows have shown.

    ``leverages``: one per spread of the model. What is so for several crops is said once, with all their names.
    """
    if len(model.spreads) == 1:  # mostly: then all that is said is of all crops
        return _outside(model.spreads[0], weather, leverages[0], units)
    crops: dict[str, list[str]] = {}
    for spread, leverage in zip(model.spreads, leverages, strict=True):
        for sentence in _outside(spread, weather, leverage, units):
            crops.setdefault(sentence, []).extend(crop.crop for crop in model.crops if crop.spread == spread)
    order = [crop.crop for crop in model.crops]
    return [_about(model, sorted(those, key=order.index)) + sentence for sentence, those in crops.items()]


def _outside(spread: Spread, weather: Sequence[float], leverage: float, units: Units) -> list[str]:
    """Say, a sentence each, where weather lies outside what the rows of one spread have shown.

    What is not given (NaN) lies nowhere.
    """
    outside = [
        _range_sentence(feature, *_given(units, feature, value, low, high))
        for feature, value, low, high in zip(units.features, weather, spread.minimum, spread.maximum, strict=True)
        if not low <= value <= high and not math.isnan(value)
    ]
    if not outside and leverage > spread.largest_leverage * (1.0 + LEVERAGE_SLACK):
        outside.append(
            "this combination of weather lies farther out than any in training "
            f"(leverage {leverage:.3g}, in training at most {spread.largest_leverage:.3g})"
        )
    return outside


def _about(model: LinearModel, crops: Sequence[str]) -> str:
    """Return the beginning of a sentence about some crops; nothing where it is about all."""
    return ", ".join(crops) + ": " if len(crops) < len(model.crops) else ""


def region_warnings(model: LinearModel, region: str | None, place: int | None) -> list[str]:
    """Say that a region is not known, where regions differ; a region without a name is none that could be known."""
    if not region or place is None:
        return []
    crops = [
        crop.crop
        for crop in model.crops
        if crop.effects is not None and crop.effects.by_region and not crop.effects.rows[place]
    ]
    if not crops:
        return []
    return [f"{_about(model, crops)}no season of {region} has been learned: what regions differ by is in the interval"]


def _given(units: Units, feature: Feature, *stored: float) -> tuple[float, ...]:
    """Return numbers in the unit of who asks."""
    return tuple(map(units.of(feature.name).shown, stored)) if feature.name in units.named else stored


def _range_sentence(feature: Feature, value: float, low: float, high: float) -> str:
    unit, mistake = feature.unit, feature.mistake
    given, least, most = told_apart(value, low, high)
    sentence = (
        f"{feature.name} {given} {unit} was {least} {unit} in all rows of training: its effect is not known"
        if low == high
        else f"{feature.name} {given} {unit} is outside the training range, {least} to {most} {unit}"
    )
    if mistake is not None and low <= (converted := mistake.convert(value)) <= high:
        sentence += f"; if it is {mistake.given}, that is {converted:g} {unit}"
    return sentence


def yield_warnings(model: LinearModel, tons: Mapping[str, float], lows: Mapping[str, float | None]) -> list[str]:
    """Say, a sentence each, where a crop's prediction or bound is below zero, or its interval says nothing."""
    sentences = []
    for crop in model.crops:
        low = lows[crop.crop]
        if low is None:
            sentences.append(
                f"{crop.crop} has no interval: {crop.spread.rows} rows leave no degrees of freedom "
                f"for {crop.spread.rank + 1} coefficients"
            )
        if crop.is_exact:
            sentences.append(
                f"{crop.crop}: the line passes through all {crop.spread.rows} rows of training, so that its intervals "
                "have no width: they do not say how far to trust it"
            )
        if tons[crop.crop] < 0:
            sentences.append(f"{crop.crop}: {rounded(tons[crop.crop])} tons is below 0 and is reported as 0")
        elif low is not None and low < 0:
            sentences.append(f"{crop.crop}: the lower bound {rounded(low)} tons is below 0 and is reported as 0")
    return sentences
