"""What is wrong with all new rows alike: yields in another unit, columns or crops exchanged, or simply far off.

A model that has learned such rows fits them well, and so does not notice. The model that is live has not learned them:
its error on them is compared with what its noise can make, and with what would be left if a slip were undone.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from app.model.linear import CropModel, LinearModel
from app.model.moments import Array, Moments
from app.model.rounding import new_rows, rounded
from app.model.weather import FEATURE_NAMES

TWICE = 2.0
"""Rows surprise where the live model's error on them is this many times what honest noise stays below."""
LIKELIER = math.log(4.0)
"""A slip is named where the rows are this much likelier with it, by the logarithm of the ratio."""
FACTORS = {
    1000.0: "like kilograms",
    2204.6: "like pounds",
    2.2046: "as pounds are to kilograms",
    1.1023: "like short tons",
    2.0: "twice too large",
    10.0: "ten times too large",
    100.0: "a hundred times too large",
    0.001: "like thousands of tons",
    0.01: "a hundred times too small",
    0.1: "ten times too small",
    0.5: "half as large as they should be",
    1 / 2.2046: "as kilograms are to pounds",
}
"""By how much yields are too large in a unit that is not tons, and what they look like."""
WAY_OUT = "correct them and send them again, or activate the version all the same if they are right"


class _Misfit(NamedTuple):
    """How far rows are off a line.

    ``squares``: their squared errors in units of their variance, by noise and by how far out they lie; one a row is
    what noise makes. ``unlikely``: the negative logarithm of their likelihood, less what is the same for all slips.
    """

    squares: float
    unlikely: float


class _Column(NamedTuple):
    """A crop and its new rows, of which some were ``sent`` now; ``bound``: what honest noise stays below, tons."""

    crop: CropModel
    rows: Moments
    sent: int | None
    bound: float
    misfit: _Misfit

    def surprises(self, misfit: _Misfit) -> bool:
        """Say whether rows that are so far off are farther off than twice what honest noise stays below."""
        return math.sqrt(misfit.squares / self.rows.count) * self.crop.noise > TWICE * self.bound

    def explains(self, misfit: _Misfit) -> bool:
        """Say whether a slip that leaves this is what has happened."""
        return self.misfit.unlikely - misfit.unlikely > LIKELIER and not self.surprises(misfit)


def slips(
    model: LinearModel,
    new: Mapping[str, Moments],
    bounds: Mapping[str, float],
    sent: Mapping[str, int] | None = None,
) -> list[str]:
    """Return a sentence for each crop whose ``new`` rows are not what the live ``model`` can have missed by noise.

    ``bounds``: by crop, the error that honest noise stays below, tons. ``sent``: how many of the rows came with this
    call, by crop; None where that is not known.
    """
    reported = []
    for crop in model.crops:
        rows = new.get(crop.crop)
        if rows is not None and rows.count and crop.noise and crop.crop in bounds and not lacked(crop, rows):
            came = None if sent is None else sent.get(crop.crop, 0)
            reported.append(_Column(crop, rows, came, bounds[crop.crop], _misfit(rows, crop)))
    doubtful = [crop for crop in reported if crop.surprises(crop.misfit)]
    if not doubtful:
        return []
    return [*_exchanged_crops(reported, doubtful)] or list(map(_sentence, doubtful))


def lacked(crop: CropModel, rows: Moments) -> list[str]:
    """Return the features that a crop's line needs and that are absent from the rows."""
    columns = zip(FEATURE_NAMES, crop.spread.needed, rows.absent.tolist(), strict=False)
    return [name for name, needed, absent in columns if needed and absent]


def as_known(crop: CropModel, rows: Moments) -> Moments:
    """Return the moments of rows for a crop's line: of a feature that they lack with the one value of its own rows.

    Its weight need not be 0: the tutorial's recipe begins with any.
    """
    if not rows.absent.any():
        return rows
    mean = np.where(rows.absent, [*crop.spread.constants, 0.0], rows.mean)
    return replace(rows, mean=mean)


def _misfit(rows: Moments, crop: CropModel, scale: float = 1.0, order: list[int] | None = None) -> _Misfit:
    """Return how far rows are off a crop's line.

    ``scale``: what their yields are divided by; ``order``: the columns that their features are taken from.
    """
    known = as_known(crop, rows)
    moments = known if order is None else known.of_columns([*order, len(order)])
    error = moments.squared_error(scale * np.array(crop.weights), scale * crop.intercept) / scale**2
    deviation = crop.noise * math.sqrt(1.0 + _mean_leverage(moments, crop))
    squares = error / deviation**2
    # Of the yields as they were sent: a larger unit spreads them, and so does weather far out.
    return _Misfit(squares, squares / 2.0 + rows.count * math.log(deviation * scale))


def _mean_leverage(rows: Moments, crop: CropModel) -> float:
    whitener: Array = np.array(crop.spread.whitener)
    away = whitener @ (rows.mean[:-1] - np.array(crop.spread.center))
    around = np.sum((rows.factor[:, :-1] @ whitener.T) ** 2) / rows.count
    return float(1.0 / crop.spread.rows + away @ away + around)


def _exchanged_crops(reported: list[_Column], doubtful: list[_Column]) -> Iterator[str]:
    for first, second in itertools.combinations(reported, 2):
        if first not in doubtful and second not in doubtful:
            continue
        if lacked(second.crop, first.rows) or lacked(first.crop, second.rows):
            continue
        one, other = _misfit(first.rows, second.crop), _misfit(second.rows, first.crop)
        gained = first.misfit.unlikely + second.misfit.unlikely - one.unlikely - other.unlikely
        if gained > LIKELIER and not second.surprises(one) and not first.surprises(other):
            yield f"{first.crop.crop} and {second.crop.crop} look exchanged: each column fits the other crop; {WAY_OUT}"


def _sentence(column: _Column) -> str:
    name, count = column.crop.crop, column.rows.count
    misfit, words = min([*_scaled(column), *_reordered(column)], key=lambda slip: slip[0].unlikely)
    if column.explains(misfit):
        return f"{name}: {words}; {WAY_OUT}"
    error = math.sqrt(column.misfit.squares / count) * column.crop.noise
    return (
        f"{name}: on {new_rows(count, column.sent)} the current model is off by {rounded(error)} tons: more than the "
        f"{rounded(TWICE * column.bound)} that are allowed; {WAY_OUT}"
    )


def _scaled(column: _Column) -> Iterator[tuple[_Misfit, str]]:
    count = column.rows.count
    yields = "its yield looks" if count == 1 else f"all {count} yields look"
    for factor, words in FACTORS.items():
        yield _misfit(column.rows, column.crop, scale=factor), f"{yields} {words}"


def _reordered(column: _Column) -> Iterator[tuple[_Misfit, str]]:
    columns = list(range(len(column.crop.weights)))
    for first, second in itertools.combinations(columns, 2):
        if column.rows.absent[[first, second]].any():
            continue
        order = columns.copy()
        order[first], order[second] = second, first
        words = f"{FEATURE_NAMES[first]} and {FEATURE_NAMES[second]} look exchanged"
        yield _misfit(column.rows, column.crop, order=order), words
