"""Seasons that rows are of, as numbers: what is added up by season, and merged."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from app.model.names import Names

MOST_SEASONS = 500
"""With more seasons than these their names are not seasons, as in `app.model.components`: of rows that each have one of
their own nothing is said by season, and a version's card would outgrow its file's header."""

Seasons = tuple[str | None, ...]
"""Different ones; None: that of the rows without one."""


def numbered(names: Names) -> tuple[Seasons, NDArray[np.integer]]:
    """Return the seasons of n rows, in the order in which they first appear, and each row's as a number into them.

    Some names may have no row: those of a part of a table are the whole table's. Where there are too many, all rows
    are without one.
    """
    present, first, place = np.unique(names.codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return _bounded(tuple(names.names[code] if code >= 0 else None for code in present[order].tolist()), number[place])


def together(parts: Iterable[Seasons]) -> tuple[Seasons, NDArray[np.integer]]:
    """Return the seasons of all parts, each once, and of each part's each season, one after the other, its number."""
    numbers: dict[str | None, int] = {}
    given = [numbers.setdefault(name, len(numbers)) for part in parts for name in part]
    return _bounded(tuple(numbers), np.array(given, dtype=np.intp))


def _bounded(seasons: Seasons, place: NDArray[np.integer]) -> tuple[Seasons, NDArray[np.integer]]:
    return (seasons, place) if len(seasons) <= MOST_SEASONS else ((None,), np.zeros_like(place))
