"""Tables of weather and yields as people send them: CSV text to validated columns, with errors that name the cell.

Knows nothing of HTTP or of where the text came from.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.data.naming import MAX_CROPS, TEXT_COLUMNS, crop_name_problem, name_problem
from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge
from app.faults import Faults
from app.model.moments import Array
from app.model.weather import (
    ALL,
    FEATURE_NAMES,
    LEAST,
    NONE,
    REGION_LENGTH,
    WEATHER,
    YIELD,
    Feature,
    Needs,
    why_needed,
)

Mask = NDArray[np.bool_]
NameCheck = Callable[[str], str | None]
"""Says what is wrong with a text, None for nothing."""

NO_YIELD = "no crop column holds a number: every yield is empty"
NUMBER_CHARACTERS = frozenset("0123456789+-.eE")


class Start(NamedTuple):
    """Where a part of a table begins in the whole: rows and lines before its own, the header's line not counted."""

    row: int
    line: int


BEGINNING = Start(0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """n observations or regions.

    ``regions`` and ``seasons``: None where unnamed. ``weather``: shape (n, 3), in the order and units of WEATHER; NaN
    in all rows of a column that is absent. ``yields``: shape (n, crops), tons, NaN where a crop is not reported.
    """

    regions: Sequence[str | None]
    seasons: Sequence[str | None]
    weather: Array
    crops: tuple[str, ...]
    yields: Array
    unreported: int = 0
    """How many rows were sent that report no yield; they are not here."""

    def __len__(self) -> int:
        return len(self.weather)

    @property
    def absent(self) -> tuple[str, ...]:
        """The features that there is no column of."""
        return tuple(
            name for name, first in zip(FEATURE_NAMES, self.weather[:1].T, strict=True) if np.isnan(first).any()
        )

    def reporting(self) -> "Table":
        """Return the rows that report a yield."""
        unreported: Mask = np.logical_and.reduce(np.isnan(self.yields), axis=1)
        return (
            replace(self.rows(~unreported), unreported=self.unreported + int(unreported.sum()))
            if unreported.any()
            else self
        )

    def rows(self, kept: Mask) -> "Table":
        """Return some of the rows."""
        numbers = np.flatnonzero(kept).tolist()
        return replace(
            self,
            regions=tuple(self.regions[row] for row in numbers),
            seasons=tuple(self.seasons[row] for row in numbers),
            weather=self.weather[kept],
            yields=self.yields[kept],
        )

    @property
    def digest(self) -> str:
        """The sha256 of the content, hexadecimal: the same for the same rows in the same order."""
        content = hashlib.sha256(repr((tuple(self.regions), tuple(self.seasons), self.crops)).encode())
        content.update(np.ascontiguousarray(self.weather).tobytes())
        content.update(np.ascontiguousarray(self.yields).tobytes())
        return content.hexdigest()


def parse_observations(content: bytes, max_rows: int | None = None) -> Table:
    """Parse CSV with region and season (optional), weather, and one column per crop (empty: not reported).

    There is a column of weather at least; of the others none needs to be there.

    Raises:
        MalformedInput: not UTF-8, not CSV, empty, or NaN or infinity in a number.
        InvalidInput: a column doubled or badly named; text in a number; a value out of bounds; no crop, or no weather.
        TooLarge: more than ``max_rows`` rows.
    """
    table = parse_part(content, max_rows=max_rows)
    if not len(table):
        raise InvalidInput(NO_YIELD)
    return table


def parse_part(content: bytes, start: Start = BEGINNING, max_rows: int | None = None) -> Table:
    """Parse as `parse_observations` does a part of a table, header and all, whose rows stand at ``start`` of the whole.

    Rows without any yield are left out, even if that is all of them.
    """
    sheet = _Sheet(content, max_rows, start)
    crops = crops_of(sheet.header)
    weather = _weather(sheet, NONE)
    yields = np.column_stack([sheet.numbers(crop, YIELD, optional=True) for crop in crops])
    regions, seasons = (sheet.names(name, name_problem) for name in TEXT_COLUMNS)
    sheet.faults.raise_if_any()
    return Table(regions, seasons, weather, crops, yields).reporting()


def crops_of(header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold yields.

    Raises:
        InvalidInput: there is no such column, or its name is not one for a crop.
    """
    crops = tuple(name for name in header if name not in (*TEXT_COLUMNS, *FEATURE_NAMES))
    if not crops:
        raise InvalidInput("no crop column: besides region, season and the weather there must be one column per crop")
    check_crop_names(crops)
    return crops


def parse_regions(content: bytes, max_rows: int | None = None, needs: Needs = ALL) -> tuple[Table, tuple[str, ...]]:
    """Parse CSV to predict for: region (optional) and the weather columns; other columns are refused by name.

    ``needs``: the features that must be there.

    Returns:
        The regions (without crops), and the names of the columns in the order they came in.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `parse_observations`.
    """
    sheet = _Sheet(content, max_rows)
    for name in sheet.header:
        if name not in ("region", *FEATURE_NAMES):
            sheet.faults.add(FieldError((name,), f"unknown column {name!r}", "unknown"))
    weather = _weather(sheet, needs)
    regions = sheet.names("region", _echoed)
    sheet.faults.raise_if_any()
    nothing = (None,) * len(regions)
    return Table(regions, nothing, weather, (), np.empty((len(regions), 0))), tuple(sheet.header)


def check_crop_names(crops: Iterable[str]) -> None:
    """Check that each name can be a column and a key.

    Raises:
        InvalidInput: a name is empty, too long, unprintable, or means something else.
    """
    names, faults = list(crops), Faults()
    for name in names:
        if problem := crop_name_problem(name):
            faults.add(FieldError((name[:REGION_LENGTH],), problem, "crop_name"))
    if len(names) > MAX_CROPS:
        faults.add(FieldError((), f"{len(names)} crops: at most {MAX_CROPS}", "too_many_crops"))
    faults.raise_if_any()


_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a formula begins (OWASP, "CSV injection"), or a name that has been kept from being one."""


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe in front, which `read_cell` takes off.

    A text that begins with apostrophes and would be taken for such a one gets another, so that every text comes back.
    """
    return "'" + text if _FORMULA.match(text) else text


def read_cell(cell: str) -> str:
    """Return the text that `safe_cell` has made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _echoed(_name: str) -> None:
    """Find nothing wrong with a name that only comes back to its sender."""


def _name_fault(name: str, problem_of: NameCheck) -> tuple[str, str] | None:
    """Return a stable word for what is wrong with a name, and a sentence."""
    if len(name) > REGION_LENGTH:
        return "too_long", f"{len(name)} characters, at most {REGION_LENGTH}"
    problem = problem_of(name)
    return ("invalid", problem) if problem else None


def missing_weather(header: Sequence[str], needs: Needs) -> Iterator[FieldError]:
    """Yield what is missing of the features that a table must have; of a table to learn from at least one."""
    for name, crops in needs.items():
        if name not in header:
            message = f"the column {name!r} is missing{why_needed(crops)}"
            yield FieldError((name,), message, "missing")
    if not needs and not set(FEATURE_NAMES) & set(header):
        yield FieldError((), f"no column of weather: {LEAST}", "missing")


def _weather(sheet: "_Sheet", needs: Needs) -> Array:
    for fault in missing_weather(sheet.header, needs):
        sheet.faults.add(fault)
    sheet.faults.raise_if_any()
    absent = np.full(len(sheet.rows), np.nan)
    columns = (
        sheet.numbers(feature.name, feature, optional=False) if feature.name in sheet.header else absent
        for feature in WEATHER
    )
    return np.column_stack(list(columns))


class _Sheet:
    """A CSV text cut into cells, which collects the faults of them all before it raises."""

    def __init__(self, content: bytes, max_rows: int | None, start: Start = BEGINNING) -> None:
        self._start = start
        lines = list(_records(content, max_rows, start.line))
        if not lines:
            raise MalformedInput("the table is empty: its first line must name the columns")
        self.header = [read_cell(name.strip()) for name in lines[0][1]]
        self._lines = [number for number, _ in lines[1:]]
        self.rows = [cells for _, cells in lines[1:]]
        self.faults = Faults()
        self._check_shape()

    def _check_shape(self) -> None:
        for name, count in Counter(self.header).items():
            if count > 1:
                self.faults.add(FieldError((name,), f"the column {name!r} appears twice", "doubled"))
        if not self.rows:
            self.faults.add(FieldError((), "the table has a header and no rows", "no_rows"))
        for row, cells in enumerate(self.rows):
            if len(cells) != len(self.header):
                message = f"{self._where(row)} has {len(cells)} cells, the header {len(self.header)}"
                self.faults.add(FieldError((self._start.row + row,), message, "cells"))
        self.faults.raise_if_any()

    def _place(self, row: int, name: str) -> tuple[int, str]:
        return self._start.row + row, name

    def _where(self, row: int) -> str:
        return f"row {self._start.row + row + 1} (line {self._lines[row]})"

    def _cells(self, name: str) -> list[str]:
        column = self.header.index(name)
        return [cells[column].strip() for cells in self.rows]

    def names(self, name: str, problem_of: NameCheck) -> tuple[str | None, ...]:
        """Return a column of names, None where a cell is empty or the column is absent."""
        if name not in self.header:
            return (None,) * len(self.rows)
        cells = [read_cell(cell) for cell in self._cells(name)]
        wrong = {cell: found for cell in set(cells) if (found := _name_fault(cell, problem_of))}
        for row, cell in enumerate(cells) if wrong else ():
            if cell in wrong:
                code, problem = wrong[cell]
                self.faults.add(
                    FieldError(self._place(row, name), f"{self._where(row)}, column {name}: {problem}", code)
                )
        return tuple(cell or None for cell in cells)

    def numbers(self, name: str, bounds: Feature, *, optional: bool) -> Array:
        """Return a column of numbers within ``bounds``, shape (n,); empty cells are NaN where ``optional``."""
        cells = self._cells(name)
        if NUMBER_CHARACTERS.issuperset("".join(cells)):
            try:
                values = np.array([float(cell) if cell else np.nan for cell in cells])
            except ValueError:
                pass
            else:
                with np.errstate(invalid="ignore"):
                    good = bounds.admits(values)
                if (good | np.isnan(values) if optional else good).all():
                    return values
        return np.array([self._number(row, name, cell, bounds, optional) for row, cell in enumerate(cells)])

    def _number(self, row: int, name: str, cell: str, bounds: Feature, optional: bool) -> float:
        if not cell and optional:
            return np.nan
        where = f"{self._where(row)}, column {name}"
        shown = cell if len(cell) <= 40 else cell[:40] + "…"  # noqa: PLR2004 - enough to recognise the cell by
        try:
            value = float(cell)
        except ValueError:
            problem = f"{shown!r} is not a number" if cell else "the cell is empty"
            code = "not_a_number" if cell else "missing"
            self.faults.add(FieldError(self._place(row, name), f"{where}: {problem}", code))
            return np.nan
        if not np.isfinite(value):
            self.faults.add(
                FieldError(self._place(row, name), f"{where}: {shown} is not finite", "not_finite"), malformed=True
            )
        elif not NUMBER_CHARACTERS.issuperset(cell):
            self.faults.add(
                FieldError(self._place(row, name), f"{where}: {shown!r} is not a plain decimal number", "not_a_number")
            )
        elif broken := bounds.problem(value):
            self.faults.add(FieldError(self._place(row, name), f"{where}: {broken}", "out_of_bounds"))
        return value


def _records(content: bytes, max_rows: int | None, first_line: int) -> Iterable[tuple[int, list[str]]]:
    """Yield (line number, cells) for every line that is not blank; ``first_line`` are before these."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start) + 1
        raise MalformedInput(f"the table is not UTF-8: line {line} cannot be read") from error
    if "\0" in text:
        raise MalformedInput("the table has a NUL byte, as no CSV has")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    count = 0
    try:
        for cells in reader:
            if not (cells and cells[0].strip()) and not any(cell.strip() for cell in cells):
                continue
            if max_rows is not None and count > max_rows:
                raise TooLarge(f"more than {max_rows} rows, which is the limit")
            count += 1
            yield first_line + reader.line_num, cells
    except csv.Error as error:
        raise MalformedInput(f"the table is not CSV: line {first_line + reader.line_num}: {error}") from error
