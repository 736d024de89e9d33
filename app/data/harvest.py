"""What a training learns from: the moments of the rows that come with it, and where they are few the rows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from app.data.table_file import TableFile
from app.data.tables import NO_YIELD, Mask, Table, named_or_none, some_rows
from app.errors import InvalidInput
from app.model.cells import MANY_REGIONS, Cells
from app.model.folds import FoldedMoments, assign_folds, forget_names
from app.model.names import Names

HELD_ROWS = 200_000
"""A file of more rows is learned in passing: its moments are kept, its rows are not."""
MERGED_PARTS = 64
"""Parts whose moments are held before they are merged."""

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

    @classmethod
    def of(cls, source: Table | TableFile, look: Look | None = None) -> "Harvest":
        """Take it in, whole or part by part.

        Raises:
            MalformedInput, InvalidInput: the file cannot be used, or the numbers are too large to be squared.
        """
        try:
            if isinstance(source, TableFile):
                return _of_file(source, look)
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
            said.append(f"of a file of more than {HELD_ROWS} rows the regions are not told apart: its seasons are")
        return said


def _of_file(file: TableFile, look: Look | None) -> Harvest:
    with ThreadPoolExecutor(1, "digest") as thread:
        before = file.path.stat() if file.path.exists() else None
        digest = thread.submit(file.digest)
        sums = _Sums()
        for part in file.parts():
            if look is not None:
                look(part, sums.sent)
            sums.add(part)
        if not sums.rows:
            raise InvalidInput(NO_YIELD)
        of_file = digest.result()
    after = file.path.stat()
    if before is None or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise InvalidInput(f"{file.path} was changed while it was read")
    table = _joined(sums.held)
    told = of_file if table is None else table.digest
    cells = cells_of(table) if table is not None else sums.cells()
    return Harvest(sums.moments(), sums.rows, sums.unreported, told, table, cells)


class _Sums:
    """What has been learned of the parts so far."""

    def __init__(self) -> None:
        self._parts: dict[str, list[FoldedMoments]] = {}
        self._cells: dict[str, list[Cells]] = {}
        self.rows = 0
        self.unreported = 0
        self.held: list[Table] = []

    @property
    def sent(self) -> int:
        return self.rows + self.unreported

    def add(self, part: Table) -> None:
        learned = moments_of(part)
        for crop, moments in learned.items():
            parts = self._parts.setdefault(crop, [])
            parts.append(moments)
            if len(parts) > MERGED_PARTS:
                self._parts[crop] = [FoldedMoments.merge(parts).trimmed()]
        for crop, cells in _season_cells(part, learned):
            known = self._cells.setdefault(crop, [])
            known.append(cells)
            if len(known) > MERGED_PARTS:
                self._cells[crop] = [Cells.merge(known)]
        self.rows += len(part)
        self.unreported += part.unreported
        self.held = [*self.held, part] if self.rows <= HELD_ROWS else []

    def moments(self) -> dict[str, FoldedMoments]:
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
