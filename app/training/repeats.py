"""Whether rows are there already: stored rows sent again, a row twice in its batch, a harvest with other numbers.

Learned once more, rows would count twice, and no error would tell: what has been learned fits. Crops are looked at one
by one, since those of a region and season may be reported one after the other. Rows that name no region cannot be
known again, and are not looked at; nor are those of batches without cells.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from app.data.tables import Table
from app.model.cells import Cells, centred
from app.model.moments import Array
from app.model.names import Names
from app.model.rounding import told_apart
from app.model.weather import WEATHER

Codes = NDArray[np.int64]
NONE, UNKNOWN = -1, -2
"""The number of no name, and of a name that the batch does not have."""
ROUNDING = 1e-12
"""By how much, relatively, the mean of the same rows in another order differs at most."""
NOTHING = -1e9
"""Stands for weather that a row has no value of: below all that weather can be, and the same as itself."""
ASKED_FOR = "ask for it with activate=always"


class _Kind(IntEnum):
    """What a row's report of a crop is; a row is what the largest of its reports is."""

    NEW = 0
    SAME_IN_BATCH = 1
    SAME_STORED = 2
    DIFFERENT = 3
    """With other numbers than an earlier one, which says nothing: seasons without a name, or with several rows each."""
    OTHER_IN_BATCH = 4
    OTHER_STORED = 5


Parts = Mapping[str, Sequence[Cells]]
"""By crop, cells of disjoint sets of rows."""


def several_stored(table: Table, stored: Parts) -> NDArray[np.bool_]:
    """Say of which rows of a batch the region and season have several stored rows, of which cells tell only the mean.

    Whether such a row is among them has to be looked up: shape (n,).
    """
    places = _Places(table)
    found = np.zeros(len(table), dtype=np.bool_)
    for part in itertools.chain.from_iterable(stored.values()):
        key = places.of_cells(part)
        found |= np.isin(places.of_rows, key[(key >= 0) & (part.count > 1)])
    return found


def sentences(table: Table, stored: Parts, alike: Parts | None = None) -> Iterator[str]:
    """Say, a sentence each, which rows of a batch are stored already, or come twice, with the same or other numbers.

    ``stored``: all cells of the batches in use; those of one row hold that row. ``alike``: rows of theirs that have
    been looked up, since they have the region, season and weather of a row of the batch.
    """
    places = _Places(table)
    if not places.any_named:
        return
    kinds = np.full((len(table), len(table.crops)), _Kind.NEW, dtype=np.int8)
    crops = []
    are_usual = False
    for number, crop in enumerate(table.crops):
        parts = stored.get(crop, ())
        reports = _Reports.of(table, number, places, [*parts, *(alike or {}).get(crop, ())])
        several = len(reports.row) > 0 and _several_are_usual(parts, places)
        sent = reports.row >= 0
        kinds[reports.row[sent], number] = reports.kinds(are_usual=several)[sent]
        crops.append(reports)
        are_usual = are_usual or several
    largest = kinds.max(axis=1, initial=_Kind.NEW)
    # Where several farms report, two of one weather may well agree; most of a batch does not by chance.
    least = len(table) / 2 if are_usual else 1
    for kind in (_Kind.SAME_STORED, _Kind.SAME_IN_BATCH, _Kind.OTHER_STORED, _Kind.OTHER_IN_BATCH):
        rows = np.flatnonzero(largest == kind)
        if len(rows) >= least:
            of = np.flatnonzero(kinds[rows[0]] == kind)
            yield _sentence(kind, table, rows, of, crops[of[0]])


class _Places:
    """The regions and seasons that a batch names, as numbers; both together as one, ``of_rows``, shape (n,).

    It is negative for a row, or a cell, without a region.
    """

    def __init__(self, table: Table) -> None:
        self._regions, region = _numbered(table.regions)
        self._seasons, season = _numbered(table.seasons)
        self.of_rows = self._together(region, season)

    @property
    def any_named(self) -> bool:
        """Whether any row names its region."""
        return bool(self._regions)

    @functools.cached_property
    def have_several(self) -> bool:
        """Whether most of the batch's regions and seasons have several rows, more than one repetition would make."""
        _, rows = np.unique(self.of_rows[self.of_rows >= 0], return_counts=True)
        return bool(np.mean(rows > 2) > 0.5)  # noqa: PLR2004 - with every row twice they would have two

    def of_cells(self, cells: Cells) -> Codes:
        """Return the numbers of stored cells, shape (m,); negative also where the batch has no such row."""
        season = _looked_up(cells.seasons, self._seasons)[cells.season]
        if (season == UNKNOWN).all():  # as of most batches, of which each is of its own season
            return season
        return self._together(_looked_up(cells.regions, self._regions)[cells.region], season)

    def name_season(self, of: Codes) -> NDArray[np.bool_]:
        """Say of such numbers whether the season is named."""
        return of % (len(self._seasons) + 1) > 0

    def _together(self, region: Codes, season: Codes) -> Codes:
        known = (region >= 0) & (season != UNKNOWN)
        return np.where(known, region * (len(self._seasons) + 1) + season + 1, NONE)


def _numbered(names: Sequence[str | None]) -> tuple[dict[str, int], Codes]:
    """Return a number for each different name, and each row's, shape (n,)."""
    coded = Names.of(names)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, coded.names)))}
    return numbers, _looked_up(coded.names, numbers)[coded.codes]


def _looked_up(names: Sequence[str], numbers: Mapping[str, int]) -> Codes:
    """Return the number of each name, and at the end that of none, which is at -1 then."""
    found = map(numbers.get, names, itertools.repeat(UNKNOWN))
    return np.fromiter(itertools.chain(found, [NONE]), np.int64, len(names) + 1)


@dataclass(frozen=True, eq=False, slots=True)
class _Reports:
    """A crop's m reports for regions and seasons that have several: stored ones, and after them those of the batch.

    ``row``: its row in the batch, -1 of a stored one, shape (m,). ``numbers``: weather and tons, shape (m, 4); the mean
    of a stored cell. ``same``: where the first one with the same region, season and numbers is, or the cell that holds
    it; ``first``: the first with the same region and season; itself, if none came before. ``dated``: whether the season
    is named.
    """

    row: NDArray[np.intp]
    numbers: Array
    same: NDArray[np.intp]
    first: NDArray[np.intp]
    dated: NDArray[np.bool_]

    @classmethod
    def of(cls, table: Table, number: int, places: _Places, parts: Sequence[Cells]) -> "_Reports":
        """Put those of one crop of a batch, by its ``number``, behind those that are stored."""
        tons = table.yields[:, number]
        sent = np.flatnonzero((places.of_rows >= 0) & ~np.isnan(tons))
        keys, means, counts = _stored(places, parts)
        key = np.concatenate([keys, places.of_rows[sent]])
        row = np.concatenate([np.full(len(keys), NONE, dtype=np.intp), sent])
        _, place, reported = np.unique(key, return_inverse=True, return_counts=True)
        several = np.flatnonzero(reported[place] > 1)  # none, mostly
        key, row = key[several], row[several]
        known = several[row < 0]
        sent = row[row >= 0]
        weather = np.nan_to_num(table.weather[sent], nan=NOTHING)
        numbers = np.concatenate([means[known], np.column_stack([weather, tons[sent]])])
        count = np.concatenate([counts[known], np.ones(len(sent))])
        # A mean of several rows is no row, and so the same as none: NaN is not the same as itself.
        same = _first_alike(key, *np.where(count == 1, numbers.T, np.nan))
        _find_cells_again(same, key, numbers, count, len(known))
        return cls(row, numbers, same, _first_alike(key), places.name_season(key))

    def kinds(self, *, are_usual: bool) -> NDArray[np.int8]:
        """Return what each is, shape (m,); ``are_usual``: several rows a region and season are nothing special."""
        place = np.arange(len(self.row))
        is_same = self.same < place
        is_other = ~is_same & (self.first < place)
        same = np.where(self.row[self.same] < 0, _Kind.SAME_STORED, _Kind.SAME_IN_BATCH)
        other = np.where(self.row[self.first] < 0, _Kind.OTHER_STORED, _Kind.OTHER_IN_BATCH)
        is_doubtful = is_other & self.dated & (self.row >= 0)
        if are_usual:
            is_doubtful[:] = False
        other = np.where(is_doubtful, other, _Kind.DIFFERENT)
        return np.select([is_same, is_other], [same, other], _Kind.NEW).astype(np.int8)

    def place(self, row: int) -> int:
        """Return where that of a row of the batch is."""
        return int(np.flatnonzero(self.row == row)[0])


def _stored(places: _Places, parts: Sequence[Cells]) -> tuple[Codes, Array, Array]:
    """Return the stored cells of regions and seasons that the batch has.

    Their numbers, shape (m,), means, shape (m, 4), and counts, shape (m,).
    """
    keys, means, counts = [np.empty(0, np.int64)], [np.empty((0, len(WEATHER) + 1))], [np.empty(0)]
    for part in parts:
        key = places.of_cells(part)
        of = np.flatnonzero(key >= 0)
        if len(of):
            keys.append(key[of])
            means.append(np.where(part.lacking > 0, NOTHING, part.mean[of]))
            counts.append(part.count[of])
    return np.concatenate(keys), np.concatenate(means), np.concatenate(counts)


def _find_cells_again(same: NDArray[np.intp], key: Codes, numbers: Array, count: Array, known: int) -> None:
    """Note in ``same`` the rows of each region and season that together are a stored cell of as many, with its mean.

    The first ``known`` are stored. Rows are not known one by one there: those that were sent again come together.
    """
    means = np.flatnonzero(count[:known] > 1)
    if not len(means) or known == len(key):
        return
    keys, place = np.unique(key[known:], return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    mean, _ = centred(place, len(keys), np.ones(len(place)), numbers[known:])
    at = np.minimum(np.searchsorted(keys, key[means]), len(keys) - 1)
    alike = (keys[at] == key[means]) & (rows[at] == count[means])
    alike &= np.isclose(mean[at], numbers[means], rtol=ROUNDING, atol=0.0).all(axis=1)
    cell = np.full(len(keys), NONE, dtype=np.intp)
    cell[at[alike]] = means[alike]
    same[known:] = np.where(cell[place] >= 0, cell[place], same[known:])


def _first_alike(*columns: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return where the first of the rows that are like each is, itself if none before is; columns of shape (m,)."""
    order = np.lexsort(columns)  # stable: of rows that are alike the first stays so
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = np.logical_or.reduce([column[order[1:]] != column[order[:-1]] for column in columns])
    first = np.empty(len(order), dtype=np.intp)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    return first


def _several_are_usual(parts: Sequence[Cells], places: _Places) -> bool:
    """Say whether several rows of a region and season are usual, as where farms report.

    They are if any are stored, or if most regions and seasons of the batch have them.
    """
    if places.have_several:
        return True
    return any(map(_has_several, parts)) or (len(parts) > 1 and _has_several(Cells.merge(parts)))


def _has_several(cells: Cells) -> bool:
    return bool(((cells.region >= 0) & (cells.season >= 0) & (cells.count > 1)).any())


def _sentence(kind: _Kind, table: Table, rows: NDArray[np.intp], of: NDArray[np.intp], reports: _Reports) -> str:
    """Say how many ``rows`` are of this kind, which is the first, and what to do; ``of``: the first one's crops.

    In words rows count from 1, as in a table.
    """
    row, one = int(rows[0]), len(rows) == 1
    place = reports.place(row)
    earlier = int(reports.row[(reports.same if kind <= _Kind.SAME_STORED else reports.first)[place]])
    here, there = (int(table.number(number)) + 1 for number in (row, earlier))
    where = f"{'it' if one else 'the first'} is row {here} ({table.regions[row]}, {table.seasons[row] or 'no season'}"
    crops = ", ".join(table.crops[number] for number in of)
    some = f"; {crops}" if len(of) < np.sum(~np.isnan(table.yields[row])) else ""
    share = f"{len(rows)} of {len(table)} row{'s' * (len(table) != 1)}"
    count = f"{len(rows)} row{'s' * (not one)} report{'s' * one}"
    if kind == _Kind.SAME_STORED:
        return (
            f"{share} {'is' if one else 'are'} stored already, with the same region, season and numbers, "
            f"{where}{some}): leave {'it' if one else 'them'} out, or train on what is stored"
        )
    if kind == _Kind.SAME_IN_BATCH:
        return (
            f"{share} repeat{'s' * one} an earlier row of the batch, with the same region, season and numbers, "
            f"{where}{some}, as row {there}): send each row once, or {ASKED_FOR} if they are different harvests"
        )
    given, before = _apart(table.crops[of[0]], reports.numbers[place], reports.numbers[reports.first[place]])
    if kind == _Kind.OTHER_STORED:
        return (
            f"{count} a region and season that are stored with other numbers, {where}; {given}, stored {before}): "
            f"withdraw the batch that is wrong and send the right one, or {ASKED_FOR}"
        )
    return (
        f"{count} a region and season again that an earlier row of the batch reports with other numbers, "
        f"{where}; {given}, row {there} {before}): send the right one alone, or {ASKED_FOR}"
    )


def _apart(crop: str, numbers: Array, before: Array) -> tuple[str, str]:
    """Return the first number in which two reports of a crop differ, tons first, in words, and the earlier one."""
    names = [*(f"{crop}, {feature.name}" for feature in WEATHER), crop]
    units = [*(feature.unit for feature in WEATHER), "tons"]
    differ = np.flatnonzero(numbers != before)
    which = differ[-1] if differ[-1] == len(WEATHER) else differ[0]
    pair = float(numbers[which]), float(before[which])
    given, known = (
        f"{_plain(text)} {units[which]}" if number != NOTHING else "none"
        for number, text in zip(pair, told_apart(*pair), strict=True)
    )
    return f"{names[which]} {given}", known


def _plain(number: str) -> str:
    """Return a number without an exponent, as people write tons."""
    return f"{float(number):,.0f}" if "e+" in number else number
