"""New yields against the past of their own region: rows that cannot be right, rows that stand beside others' yields.

What all rows of a season share is taken out: a bad season is no mistake. Checks need few assumptions, since real noise
has heavy tails: a row speaks against its batch only where even those would not reach, or where a slip explains it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.data.harvest import HELD_ROWS
from app.data.tables import Table
from app.model.chi_square import chi_square_quantile
from app.model.moments import Array
from app.model.names import Names
from app.model.rounding import rounded
from app.model.scores import CONFIDENCE
from app.model.slips import FACTORS, TWICE, WAY_OUT
from app.model.student import t_quantile
from app.training.asked import Asked

LEAST = 6.0
"""Standard errors that a row must be away for being called impossible, at least."""
TAILS = 4.0
"""Noise may have the tails of Student's t with so many degrees of freedom."""
SLIPPED = 5.0
"""Standard errors from which on a row may be a slip, at least: where undoing one leaves it within UNDONE."""
SLIP_CHANCE = 0.02
"""Honest rows lie beyond what is taken for a slip in this share of all batches, half of them on the other side."""
UNDONE = 2.0
OF_A_ROW = (2.2046, 10.0, 100.0, 1_000.0, 2_204.6, 0.1, 0.01, 0.001)
"""The slips that a single row is examined for. Half a yield is none: hail does that."""
FEW = 5
"""A season with fewer rows in the batch does not tell what they share."""


class _Rows(NamedTuple):
    """One crop's rows, shape (n,): their numbers and regions, tons, and what was predicted; ``error``: of one, tons."""

    number: NDArray[np.intp]
    region: Sequence[str | None]
    tons: Array
    predicted: Array
    error: Array
    degrees: float
    by_region: bool

    def away(self, tons: Array) -> Array:
        """Return by how many standard errors yields would be off."""
        return np.asarray((tons - self.predicted) / self.error)


class PastCheck:
    """Collects the rows of a batch, part by part, and says what speaks against them."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, Table, Asked]]] = {}
        self._held = 0

    def add(self, table: Table, asked: Iterable[Asked], first_row: int) -> None:
        """Look at some rows; of a file that is learned in passing, at the first ones."""
        if self._held + len(table) > HELD_ROWS:
            return
        self._held += len(table)
        for crop in asked:
            self._parts.setdefault(crop.crop, []).append((first_row, table, crop))

    def sentences(self) -> list[str]:
        """Return a sentence for each cause."""
        return [sentence for crop, parts in self._parts.items() for sentence in _about(crop, _rows(parts))]


def _rows(parts: list[tuple[int, Table, Asked]]) -> _Rows:
    """Put a crop's reported rows together, what their season shares taken out of what was predicted."""
    reported = [np.flatnonzero(~np.isnan(asked.tons)) for _, _, asked in parts]
    numbers = [first + table.number(of) for of, (first, table, _) in zip(reported, parts, strict=True)]
    columns = [
        np.concatenate([column[of] for of, column in zip(reported, columns, strict=True)])
        for columns in zip(
            *((asked.tons, asked.predicted, asked.error, asked.own_error) for *_, asked in parts), strict=True
        )
    ]
    tons, predicted, error, own_error = columns
    pairs = list(zip(reported, parts, strict=True))
    regions = [table.regions[row] for of, (_, table, _) in pairs for row in of.tolist()]
    seasons = Names.of(table.seasons[row] for of, (_, table, _) in pairs for row in of.tolist())
    first = parts[0][2]
    if first.by_season:
        predicted, error = _without_season(seasons, tons, predicted, error, own_error)
    return _Rows(np.concatenate(numbers), regions, tons, predicted, error, first.degrees, first.by_region)


def _without_season(
    seasons: Names, tons: Array, predicted: Array, error: Array, own_error: Array
) -> tuple[Array, Array]:
    """Return what is predicted with the season known, as far as its rows tell it, and the error of that."""
    predicted, error = predicted.copy(), error.copy()
    order = np.argsort(seasons.codes, kind="stable")
    codes, first = np.unique(seasons.codes[order], return_index=True)
    for code, of in zip(codes.tolist(), np.split(order, first)[1:], strict=True):
        if code >= 0 and len(of) >= FEW:
            predicted[of] += np.median(tons[of] - predicted[of])
            error[of] = own_error[of]
    return predicted, error


def _about(crop: str, rows: _Rows) -> Iterator[str]:
    if not len(rows.tons):
        return
    away = np.abs(rows.away(rows.tons))
    slips = _slips(rows, away)
    for factor, of in slips.items():
        yield f"{crop}: {_told(rows, of)} {_looks(len(of))} {FACTORS[factor]}; {WAY_OUT}"
    explained = np.concatenate([np.zeros(0, dtype=np.intp), *slips.values()])
    impossible = np.setdiff1d(np.flatnonzero(away > _bound(len(away), rows.degrees)), explained)
    if len(impossible):
        farthest = float(away[impossible].max())
        up_to = "up to " if len(impossible) > 1 else ""
        yield f"{crop}: {_told(rows, impossible)} {up_to}{rounded(farthest)} standard errors from it; {WAY_OUT}"
    if rows.by_region and not slips and not len(impossible):
        yield from _mixed(crop, away)


def _looks(count: int) -> str:
    return "looks" if count == 1 else "look"


def _slips(rows: _Rows, away: Array) -> dict[float, NDArray[np.intp]]:
    """Return, by factor, the rows that are far off, and are not once their yields are divided by it."""
    left = np.stack([np.abs(rows.away(rows.tons / factor)) for factor in OF_A_ROW])
    best = np.argmin(left, axis=0)
    bound = max(SLIPPED, _heavy_tail(1.0 - SLIP_CHANCE / len(away)))
    slipped = (away > bound) & (left.min(axis=0) < UNDONE)
    found = {factor: np.flatnonzero(slipped & (best == number)) for number, factor in enumerate(OF_A_ROW)}
    return {factor: of for factor, of in found.items() if len(of)}


def _bound(count: int, degrees: float) -> float:
    """Return what honest rows stay below, all of so many, with a probability of 0.99: noise may have heavy tails.

    ``degrees``: of freedom, that the standard error has.
    """
    level = 1.0 - (1.0 - CONFIDENCE) / count
    return max(LEAST, _heavy_tail(level), t_quantile(level, max(1.0, degrees)))


def _heavy_tail(level: float) -> float:
    """Return how many deviations a row with heavy tails stays within, with this probability."""
    return t_quantile(level, TAILS) * math.sqrt((TAILS - 2.0) / TAILS)


def _mixed(crop: str, away: Array) -> Iterator[str]:
    """Say that regions are not like their own past, all in all."""
    count = len(away)
    error = math.sqrt(float(np.mean(away**2)))
    allowed = TWICE * math.sqrt(chi_square_quantile(CONFIDENCE, count) / count)
    if error > allowed:
        yield (
            f"{crop}: the yields of {count} row{'s' * (count != 1)} are not like the past of their own regions: they "
            f"are off by {rounded(error)} standard errors, and {rounded(allowed)} are allowed: check that each yield "
            "stands beside its region; correct them and send them again, or activate the version all the same if they "
            "are right"
        )


def _told(rows: _Rows, of: NDArray[np.intp]) -> str:
    """Name the first of some rows, counted from 1 as in a table, and say how many there are."""
    first = int(of[0])
    region = rows.region[first]
    place = f"row {int(rows.number[first]) + 1}" + (f" ({region})" if region else "")
    says = "its past and its season say" if rows.by_region else "the current model says"
    said = f"{place}: {rounded(float(rows.tons[first]))} tons, where {says} {rounded(float(rows.predicted[first]))}"
    return f"{said}," if len(of) == 1 else f"{len(of)} rows, the first is {said},"
