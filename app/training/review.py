"""What a training's report adds to the gate's verdict: suspicious observations, and what activating would change."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.data.region_means import RegionMean
from app.data.tables import Table
from app.model.linear import LinearModel, clipped
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES
from app.training.asked import Asked
from app.training.report import Change, Changes, CoefficientChanges, RegionChanges, SuspiciousYield

SUSPICIOUS = 6.0
"""Standard errors of prediction beyond which an observation is listed."""
MOST_LISTED = 1_000
"""Suspicious observations, and regions in a dry run, that a report lists."""


def suspicious(table: Table, asked: Sequence[Asked], first_row: int = 0) -> list[SuspiciousYield]:
    """Return the observations that lie more than 6 standard errors of prediction off the live model.

    ``asked``: what it says of the table's rows. ``first_row``: how many rows were sent before the table's.
    """
    found = [
        SuspiciousYield(
            row=first_row + int(table.number(row)),
            region=table.regions[row],
            crop=crop.crop,
            tons=float(crop.tons[row]),
            predicted=float(crop.predicted[row]),
            standard_errors=abs(float(crop.away[row])),
        )
        for crop in asked
        for row in np.flatnonzero(np.abs(np.nan_to_num(crop.away)) > SUSPICIOUS).tolist()
    ]
    return sorted(found, key=lambda item: (item.row, item.crop))[:MOST_LISTED]


def region_means(table: Table) -> dict[str | None, RegionMean]:
    """Return the mean weather of each region's rows; unnamed ones count as one region."""
    rows: dict[str | None, list[int]] = {}
    for row, region in enumerate(table.regions):
        rows.setdefault(region, []).append(row)
    return {region: RegionMean(len(of), table.weather[of].mean(axis=0)) for region, of in rows.items()}


def changes(old: LinearModel | None, new: LinearModel, regions: Mapping[str | None, Array]) -> Changes:
    """Return what would change: coefficients, and the prediction for each region's average weather, shape (3,)."""
    before = {crop.crop: crop for crop in old.crops} if old is not None else {}
    after = {crop.crop: crop for crop in new.crops}
    crops = list(dict.fromkeys([*after, *before]))
    nothing = (None,) * len(FEATURE_NAMES)
    coefficients = {}
    for crop in crops:
        first, second = before.get(crop), after.get(crop)
        weights = zip(
            FEATURE_NAMES, first.weights if first else nothing, second.weights if second else nothing, strict=True
        )
        coefficients[crop] = CoefficientChanges(
            intercept=_change(first.intercept if first else None, second.intercept if second else None),
            weights={name: _change(*pair) for name, *pair in weights},
        )
    rows = []
    for region, average in list(regions.items())[:MOST_LISTED]:
        weather = average.tolist()
        first_tons, second_tons = (_shown(model, region, weather) for model in (old, new))
        yields = {crop: _change(first_tons.get(crop), second_tons.get(crop)) for crop in crops}
        told = {name: None if math.isnan(value) else value for name, value in zip(FEATURE_NAMES, weather, strict=True)}
        rows.append(RegionChanges(region=region, **told, yields=yields))
    return Changes(coefficients=coefficients, regions=rows)


def _shown(model: LinearModel | None, region: str | None, weather: Sequence[float]) -> dict[str, float]:
    """Return what a model predicts for a region, by crop; nothing without a model, or without what a crop needs."""
    if model is None:
        return {}
    places = model.places([region])
    place = None if places is None else int(places[0])
    missing = [name for name, value in zip(FEATURE_NAMES, weather, strict=True) if math.isnan(value)]
    unasked = {crop for name in missing for crop in model.needed_by.get(name, ())}
    return {
        crop.crop: float(clipped(np.array([crop.middle(crop.spread.filled(weather), place)]))[0])
        for crop in model.crops
        if crop.crop not in unasked
    }


def _change(old: float | None, new: float | None) -> Change:
    return Change(old=old, new=new)
