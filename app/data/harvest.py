"""What a training learns from: the moments of the rows that come with it, and where they are few the rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.data.tables import NO_YIELD, Mask, Table, named_or_none, some_rows
from app.errors import InvalidInput
from app.model.cells import MANY_REGIONS, Cells
from app.model.folds import FoldedMoments, assign_folds, forget_names
from app.model.names import Names

HELD_ROWS = 200_000
"""A file of more rows is learned in passing: its moments are kept, its rows are not."""
MERGED_PARTS = 64
"""Parts whose moments are held before they are merged."""


class Source(Protocol):
    """Where rows are read from, part by part."""

    def parts(self) -> Iterator[Table]:
        """Yield the rows in order, part by part.

        Raises:
            MalformedInput, InvalidInput: they cannot be used.
        """

    def digest(self) -> str:
        """Return what tells the content from another one."""

    def state(self) -> object:
        """Return what is another one when the content may have changed; None where nothing is there."""


Look = Callable[[Table, int], None]
"""Called with each part and the number of rows before it."""


@dataclass(frozen=True, eq=False, slots=True)
class Harvest:
    """``moments`` by crop, each over the rows that report it; ``rows`` with a yield, ``unreported`` without.

    ``digest``: the sha256 of the content. ``table``: the rows; None of a file with more than 200 000. ``cells``: by
    crop, as ``moments``; of such a file by season alone.
    """

    moments: dict[str, FoldedMoments]
    rows: int
    unreported: int
    digest: str
    table: Table | None
    cells: dict[str, Cells]
    elsewhere: str = ""
    """Where the rows were learned, if not here: "Spark"."""

    @classmethod
    def of(cls, source: Table | Source, look: Look | None = None) -> "Harvest":
        """Take it in, whole or part by part.

        Raises:
            MalformedInput, InvalidInput: the file cannot be used, or the numbers are too large to be squared.
        """
        try:
            if not isinstance(source, Table):
                return _in_parts(source, look)
            if look is not None:
                look(source, 0)
            return cls(moments_of(source), len(source), source.unreported, source.digest, source, cells_of(source))
        finally:
            forget_names()

    @property
    def left_out(self) -> list[str]:
        """Sentences about rows that were sent and are not learned."""
        sent = self.rows + self.unreported
        said = [f"{self.unreported} of {sent} rows report no yield and are left out"] if self.unreported else []
        if any(MANY_REGIONS in cells.regions for cells in self.cells.values()):
            said.append(
                f"of rows that were learned on {self.elsewhere} the regions are not told apart: their seasons are"
                if self.elsewhere
                else f"of a file of more than {HELD_ROWS} rows the regions are not told apart: its seasons are"
            )
        return said


def _in_parts(source: Source, look: Look | None) -> Harvest:
    with ThreadPoolExecutor(1, "digest") as thread:
        before = source.state()
        digest = thread.submit(source.digest)
        sums = Sums()
        for part in source.parts():
            if look is not None:
                look(part, sums.sent)
            sums.add(part)
        if not sums.rows:
            raise InvalidInput(NO_YIELD)
        of_source = digest.result()
    if before != source.state():
        raise InvalidInput(f"{source} was changed while it was read")
    table = _joined(sums.held)
    told = of_source if table is None else table.digest
    cells = cells_of(table) if table is not None else sums.cells()
    return Harvest(sums.moments(), sums.rows, sums.unreported, told, table, cells)


class Sums:
    """What has been learned of the parts so far."""

    def __init__(self) -> None:
        self._parts: dict[str, list[FoldedMoments]] = {}
        self._cells: dict[str, list[Cells]] = {}
        self.rows = 0
        self.unreported = 0
        self.held: list[Table] = []

    @property
    def sent(self) -> int:
        """How many rows there were."""
        return self.rows + self.unreported

    def add(self, part: Table) -> None:
        """Learn some more rows.

        Raises:
            InvalidInput: the numbers are too large to be squared.
        """
        learned = moments_of(part)
        self.join(learned, _season_cells(part, learned), len(part), part.unreported)
        self.held = [*self.held, part] if self.rows <= HELD_ROWS else []

    def join(
        self,
        learned: Mapping[str, FoldedMoments],
        cells: Iterable[tuple[str, Cells]],
        rows: int,
        unreported: int,
    ) -> None:
        """Take in what has been learned of other rows, by crop; ``cells``: the same by season."""
        for crop, moments in learned.items():
            parts = self._parts.setdefault(crop, [])
            parts.append(moments)
            if len(parts) > MERGED_PARTS:
                self._parts[crop] = [FoldedMoments.merge(parts).trimmed()]
        for crop, of_crop in cells:
            known = self._cells.setdefault(crop, [])
            known.append(of_crop)
            if len(known) > MERGED_PARTS:
                self._cells[crop] = [Cells.merge(known)]
        self.rows += rows
        self.unreported += unreported

    def moments(self) -> dict[str, FoldedMoments]:
        """Return the moments by crop."""
        return {crop: FoldedMoments.merge(parts).trimmed() for crop, parts in self._parts.items()}

    def cells(self) -> dict[str, Cells]:
        """Return the cells by season, by crop."""
        return {crop: Cells.merge(parts) for crop, parts in self._cells.items()}


def _joined(parts: list[Table]) -> Table | None:
    if len(parts) < 2:  # noqa: PLR2004 - nothing to join
        return parts[0] if parts else None
    return Table(
        [region for part in parts for region in part.regions],
        [season for part in parts for season in part.seasons],
        np.concatenate([part.weather for part in parts]),
        parts[0].crops,
        np.concatenate([part.yields for part in parts]),
        sum(part.unreported for part in parts),
        named_or_none(_column(parts, "forecasts")),
        named_or_none(_column(parts, "harvested")),
        np.concatenate([before + part.number(slice(None)) for before, part in zip(_before(parts), parts, strict=True)]),
    )


def _column(parts: list[Table], name: str) -> Iterator[str | None]:
    """Yield the texts of a column that a part may lack."""
    for part in parts:
        yield from getattr(part, name) or (None,) * len(part)


def _before(parts: list[Table]) -> Iterator[int]:
    """Yield how many rows were sent before each part."""
    sent = 0
    for part in parts:
        yield sent
        sent += len(part) + part.unreported


def moments_of(table: Table) -> dict[str, FoldedMoments]:
    """Return the moments of a table's rows by crop, each over the rows that report it.

    Crops nobody reports are absent.

    Raises:
        InvalidInput: the numbers are too large to be squared.
    """
    fold = assign_folds(table.regions, table.weather)
    learned: dict[str, FoldedMoments] = {}
    for mask, numbers in _crops_by_rows(table).items():
        rows = None if mask is None else np.flatnonzero(np.frombuffer(mask, dtype=np.bool_))
        of_rows = fold if rows is None else fold[rows]
        try:
            moments = FoldedMoments.of(
                some_rows(table.weather, rows), some_rows(table.yields[:, numbers], rows), of_rows
            )
        except OverflowError as error:
            crops = " and ".join(table.crops[number] for number in numbers)
            raise InvalidInput(f"the yields of {crops} cannot be fitted: {error}") from error
        learned |= zip((table.crops[number] for number in numbers), moments, strict=True)
    return {crop: learned[crop] for crop in table.crops if crop in learned}


def cells_of(table: Table) -> dict[str, Cells]:
    """Return a table's rows by crop, put together by region and season; crops nobody reports are absent.

    Raises:
        InvalidInput: the numbers are too large to be squared.
    """
    regions, seasons = Names.of(table.regions), Names.of(table.seasons)
    cells = {}
    for number, crop in enumerate(table.crops):
        tons = table.yields[:, number]
        of = np.flatnonzero(~np.isnan(tons))
        if not len(of):
            continue
        named = Names(regions.names, regions.codes[of]), Names(seasons.names, seasons.codes[of])
        try:
            cells[crop] = Cells.of(*named, np.column_stack([table.weather[of], tons[of]]))
        except OverflowError as error:
            raise InvalidInput(f"the yields of {crop} cannot be fitted: {error}") from error
    return cells


def single_cells(table: Table) -> dict[str, Cells]:
    """Return a table's rows by crop, each as a cell of its own, also those of one region and season."""
    regions, seasons = Names.of(table.regions), Names.of(table.seasons)
    cells = {}
    for number, crop in enumerate(table.crops):
        tons = table.yields[:, number]
        of = np.flatnonzero(~np.isnan(tons))
        if len(of):
            named = Names(regions.names, regions.codes[of]), Names(seasons.names, seasons.codes[of])
            cells[crop] = Cells.single(*named, np.column_stack([table.weather[of], tons[of]]))
    return cells


def _season_cells(table: Table, learned: dict[str, FoldedMoments]) -> Iterator[tuple[str, Cells]]:
    """Yield each crop's rows, put together by season alone; ``learned``: their moments."""
    regions, seasons = Names.of(table.regions), Names.of(table.seasons)
    if not seasons.names:
        told = (MANY_REGIONS,) if regions.names else ()
        for crop, moments in learned.items():
            yield crop, Cells.of_moments([moments.total], told, (), np.array([-1], dtype=np.int32))
        return
    for mask, numbers in _crops_by_rows(table).items():
        rows = None if mask is None else np.flatnonzero(np.frombuffer(mask, dtype=np.bool_))
        columns = np.column_stack([some_rows(table.weather, rows), some_rows(table.yields[:, numbers], rows)])
        of_rows = seasons.codes if rows is None else seasons.codes[rows]
        found = Cells.by_season(regions.names, Names(seasons.names, of_rows), columns)
        yield from zip((table.crops[number] for number in numbers), found, strict=True)


def _crops_by_rows(table: Table) -> dict[bytes | None, list[int]]:
    """Put together the crops that the same rows report: a mask of the rows' bytes, None for all of them."""
    groups: dict[bytes | None, list[int]] = {}
    for number in range(len(table.crops)):
        reported: Mask = np.logical_not(np.isnan(table.yields[:, number]))
        if reported.any():
            groups.setdefault(None if reported.all() else reported.tobytes(), []).append(number)
    return groups
