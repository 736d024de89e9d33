"""Rows beside what is predicted of them: by a crop's own line, and by one that was fitted without them.

A row is held out as the crop's error was (`app.model.held_out`), with the same lines: the root mean square of what the
rows differ by is that error.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from app.model.cells import Cells
from app.model.design import leverages
from app.model.fit import CropFit, least_squares
from app.model.folds import FoldedMoments
from app.model.held_out import season_lines
from app.model.linear import CropModel
from app.model.moments import Array
from app.model.scores import fold_lines
from app.model.student import t_quantile
from app.model.worth import By


class Predicted(NamedTuple):
    """What is predicted of n rows, tons, not clipped, each of shape (n,).

    ``fitted``: by the crop's common line. ``out_of_fold``: by the line fitted without what the row is held out with;
    ``low`` and ``high``: the interval of that prediction, as that line's rows alone have it. These three are NaN where
    the line cannot be known. ``leverage``: the row's, among all that the crop was fitted on.
    """

    fitted: Array
    out_of_fold: Array
    low: Array
    high: Array
    leverage: Array


class Residuals:
    """One crop's lines: its own, and those fitted without a part of its rows."""

    def __init__(self, crop: CropModel, lines: Sequence[CropFit], seasons: Mapping[str, int] | None) -> None:
        """``seasons``: by season, the number of the line that predicts it; None where lines are numbered by fold."""
        self._crop = crop
        self._lines = lines
        self._seasons = seasons

    @classmethod
    def of(cls, crop: CropModel, moments: FoldedMoments, by: By | None, cells: Cells | None) -> Self:
        """Fit the lines anew; ``by``: what is held out, by fold where the card is from before that was told.

        ``cells``: all rows of the crop by region and season, None where they are not known; seasons are held out by
        them.
        """
        if by == "season":
            found = season_lines(cells) if cells is not None else {}
            return cls(crop, list(found.values()), {season: number for number, season in enumerate(found)})
        if by == "nothing":
            return cls(crop, [least_squares(moments.total)] * len(moments.folds), None)
        return cls(crop, fold_lines(moments), None)

    def predicted(
        self, weather: Array, fold: NDArray[np.uint8], seasons: Sequence[str | None], level: float
    ) -> Predicted:
        """Predict n rows: ``weather``, shape (n, features), NaN where a row has no value; ``fold``: of shape (n,)."""
        known = np.where(self._crop.spread.absent, 0.0, weather)
        columns = list(known.T)
        middle, margin = np.full((2, len(known)), np.nan)
        numbers = self._numbers(fold, seasons)
        for number in np.unique(numbers[numbers >= 0]).tolist():
            of = numbers == number
            middle[of], margin[of] = _by_line(self._lines[number], known[of], level)
        fitted = np.asarray(self._crop.tons(columns))
        leverage = np.asarray(self._crop.spread.leverage(columns))
        return Predicted(fitted, middle, middle - margin, middle + margin, leverage)

    def _numbers(self, fold: NDArray[np.uint8], seasons: Sequence[str | None]) -> NDArray[np.intp]:
        if self._seasons is None:
            return fold.astype(np.intp)
        return np.array([self._seasons.get(season or "", -1) for season in seasons], dtype=np.intp)


def _by_line(line: CropFit, weather: Array, level: float) -> tuple[Array, Array]:
    """Return the prediction of rows that a line was fitted without, and half the width of its interval, tons.

    A line is fitted on more rows than a row has columns: it has a degree of freedom at least.
    """
    degrees = line.moments.count - line.rank - 1
    deviation = math.sqrt(line.loss * line.moments.count / degrees)
    margin = t_quantile(level, degrees) * deviation * np.sqrt(1.0 + leverages(weather, line.moments))
    return line.intercept + weather @ line.weights, margin
