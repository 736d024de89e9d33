"""A crop's error on rows that were held out: by regions where there are enough of them, else by seasons, else by rows.

What is held out says what the error is of: of a region that was never seen, of a season to come, of another row like
these. Where nothing can be held out it is the error in sample, which is too small, and called what it is.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.model.cells import MANY_REGIONS, Cells
from app.model.fit import CropFit, least_squares
from app.model.folds import FoldedMoments
from app.model.moments import Array, Moments, triangle
from app.model.scores import out_of_fold
from app.model.worth import By

Mask = NDArray[np.bool_]
LEAST_REGIONS, LEAST_FOLDS = 5, 3
"""Regions, and folds that have any of them, that it takes to hold out regions."""
LEAST_SEASONS = 3


class HeldOut(NamedTuple):
    """A root mean squared error, tons, over so many ``rows``, and what it was held out ``by``."""

    rows: int
    tons: float
    by: By


def held_out(moments: FoldedMoments, cells: Cells | None) -> HeldOut:
    """Return a crop's error; ``cells``: all its rows by region and season, None where they are not known so."""
    folds = sum(part.count > 0 for part in moments.folds)
    by = _by(folds, cells)
    if by == "season" and cells is not None:
        found = _by_season(cells, moments.total)
        if found is not None:
            return found
        by = "nothing"
    if by == "nothing":
        total = moments.total
        return HeldOut(total.count, math.sqrt(least_squares(total).least_squares_loss), by)
    score = out_of_fold(moments, moments)
    assert score is not None  # noqa: S101 - a crop that was fitted has rows
    return HeldOut(score.rows, score.tons, by)


def _by(folds: int, cells: Cells | None) -> By:
    if cells is None or MANY_REGIONS in cells.regions:
        return "region" if folds >= LEAST_FOLDS else "nothing"
    named = cells.region >= 0
    regions = len(np.unique(cells.region[named]))
    unnamed = float(np.sum(cells.count[~named]) / np.sum(cells.count))
    if folds >= LEAST_FOLDS and regions >= LEAST_REGIONS:
        return "region"
    if folds >= LEAST_FOLDS and unnamed > 0.5:  # noqa: PLR2004 - most rows have folds of their own
        return "row"
    if (cells.season >= 0).all() and len(np.unique(cells.season)) >= LEAST_SEASONS:
        return "season"
    return "nothing"


def _by_season(cells: Cells, total: Moments) -> HeldOut | None:
    """Predict each season by the rows of the others; None where these are too few to fit.

    Of rows that share a cell only the sum of their scatter is known: each season gets the share of its rows.
    """
    scatter = triangle(np.concatenate(list(cells.within)))
    error = 0.0
    for season in np.unique(cells.season).tolist():
        of = cells.season == season
        share = _share_of_scatter(cells, of)
        fit = _fitted_without(cells, of, scatter * math.sqrt(1.0 - share))
        if fit is None:
            return None
        error += _moments(cells, of, scatter * math.sqrt(share)).squared_error(fit.weights, fit.intercept)
    return HeldOut(total.count, math.sqrt(error / total.count), "season")


def season_lines(cells: Cells) -> dict[str, CropFit]:
    """Return the lines by which seasons are predicted when each is held out, by season: those of `held_out`."""
    scatter = triangle(np.concatenate(list(cells.within)))
    lines = {}
    for season in np.unique(cells.season[cells.season >= 0]).tolist():
        of = cells.season == season
        fit = _fitted_without(cells, of, scatter * math.sqrt(1.0 - _share_of_scatter(cells, of)))
        if fit is not None:
            lines[cells.seasons[season]] = fit
    return lines


def _share_of_scatter(cells: Cells, of: Mask) -> float:
    """Return what share of the rows' scatter within cells is taken to be that of some of the cells."""
    inside = cells.count - 1.0
    return float(np.sum(inside[of]) / np.sum(inside)) if np.sum(inside) else 0.0


def _fitted_without(cells: Cells, of: Mask, scatter: Array) -> CropFit | None:
    """Return the line of the other cells' rows, which scatter so within them; None where these are too few to fit."""
    others = _moments(cells, ~of, scatter)
    return least_squares(others) if others.count > others.columns else None


def _moments(cells: Cells, of: Mask, scatter: Array) -> Moments:
    count, mean = cells.count[of], cells.mean[of]
    middle = count @ mean / np.sum(count)
    factor = triangle(np.concatenate([np.sqrt(count)[:, None] * (mean - middle), scatter]))
    return Moments(int(np.sum(count)), middle, factor, mean.min(axis=0), mean.max(axis=0))
