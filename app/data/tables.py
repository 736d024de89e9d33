"""Tables of weather and yields as people send them: CSV text to validated columns, with errors that name the cell.

Knows nothing of HTTP or of where the text came from.
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.data.columns import Header, is_no_crop
from app.data.dialect import PLAIN, Dialect, as_utf8, separator_of, text_of
from app.data.naming import (
    MAX_CROPS,
    OUTCOME_COLUMNS,
    TEXT_COLUMNS,
    crop_name_problem,
    day_problem,
    id_problem,
    name_problem,
)
from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge
from app.faults import Faults
from app.model.moments import Array
from app.model.names import Names
from app.model.units import STORED, UNITS, Units
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
)

Mask = NDArray[np.bool_]
NameCheck = Callable[[str], str | None]
"""Says what is wrong with a text, None for nothing."""

OUTCOME_PROBLEMS: dict[str, NameCheck] = dict(zip(OUTCOME_COLUMNS, (id_problem, day_problem), strict=True))
"""By the column of what an observation may say besides: what is wrong with a text in it."""
NO_YIELD = "no crop column holds a number: every yield is empty"
NO_ROWS = "the table has a header and no rows"
NO_LINE_BREAK = NO_ROWS + ": it has no line breaks in it (curl needs --data-binary, since -d removes them)"
NUMBER_CHARACTERS = frozenset("0123456789+-.eE")
NO_VALUE = ("", "NA", "N/A", "n/a", "NaN", "-", ".")
"""What tables have in a cell without a number: read as none, where there need not be one."""
_NO_NUMBER = "a point"
"""What a cell is read as whose point would separate thousands."""
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[,.'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d+)?")


class Start(NamedTuple):
    """Where a part of a table begins in the whole: rows and lines before its own, the header's line not counted."""

    row: int
    line: int


BEGINNING = Start(0, 0)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is to be read.

    ``units``: of its weather, where its header does not say. ``crops``: the columns that hold yields; None: all that
    are nothing else. ``needs``: the features that must be there, of a table to predict for.
    """

    units: Units = STORED
    crops: tuple[str, ...] | None = None
    needs: Needs = field(default_factory=lambda: ALL)


AS_IT_IS = Reading()


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
    forecasts: Sequence[str | None] | None = None
    """The id of the forecast that each row is the outcome of; None where no row says."""
    harvested: Sequence[str | None] | None = None
    """The day of each harvest, YYYY-MM-DD; None where no row says."""
    numbers: NDArray[np.intp] | None = None
    """Where each row was in what was sent, from 0, shape (n,); None: where it is here."""

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
        if not unreported.any():
            return self
        kept = self.rows(~unreported)
        return replace(kept, unreported=self.unreported + int(unreported.sum()))

    def number(self, rows: Any) -> Any:
        """Return where rows (one, several or a mask) were in what was sent, counted from 0."""
        return (np.arange(len(self)) if self.numbers is None else self.numbers)[rows]

    def rows(self, kept: Mask) -> "Table":
        """Return some of the rows."""
        return replace(
            self,
            regions=_names_of(self.regions, kept),
            seasons=_names_of(self.seasons, kept),
            forecasts=named_or_none(self.forecasts and _names_of(self.forecasts, kept)),
            harvested=named_or_none(self.harvested and _names_of(self.harvested, kept)),
            weather=some_rows(self.weather, np.flatnonzero(kept)),
            yields=some_rows(self.yields, np.flatnonzero(kept)),
            numbers=self.number(kept),
        )

    @property
    def digest(self) -> str:
        """The sha256 of the content, hexadecimal: the same for the same rows in the same order."""
        content = hashlib.sha256(repr((tuple(self.regions), tuple(self.seasons), self.crops)).encode())
        content.update(np.ascontiguousarray(self.weather).tobytes())
        content.update(np.ascontiguousarray(self.yields).tobytes())
        if self.forecasts is not None or self.harvested is not None:  # without them it is what it was before they were
            said = [None if column is None else tuple(column) for column in (self.forecasts, self.harvested)]
            content.update(repr(said).encode())
        return content.hexdigest()


def some_rows(columns: Array, rows: NDArray[np.intp] | None) -> Array:
    """Return some rows of an array of columns, shape (n, k), by their numbers; None: all of them."""
    # Columns of a table lie one behind the other: along them NumPy takes rows several times as fast as across.
    return columns if rows is None else np.take(columns.T, rows, axis=1).T


def _names_of(names: Sequence[str | None], kept: Mask) -> Sequence[str | None]:
    """Return some rows' names; of those that are coded the codes, without a step of Python for each row."""
    if isinstance(names, Names):
        return Names(names.names, names.codes[kept])
    return tuple(names[row] for row in np.flatnonzero(kept).tolist())


def named_or_none(column: Iterable[str | None] | None) -> tuple[str | None, ...] | None:
    """Return a column of texts, None where no row has one."""
    if isinstance(column, Names) and not (column.codes >= 0).any():
        return None  # mostly
    found = tuple(column or ())
    return found if any(found) else None


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """A table of regions to predict for.

    ``table``: without crops, weather as it is stored. ``columns``: all columns as they were sent, by name and in
    order, numbers in the units of the sender. ``units``: those; ``dialect``: how the table was written.
    """

    table: Table
    columns: dict[str, Array | Sequence[str | None]]
    units: Units = STORED
    dialect: Dialect = field(default=PLAIN)


def parse_observations(content: bytes, max_rows: int | None = None, reading: Reading = AS_IT_IS) -> Table:
    """Parse CSV with region, season, forecast and harvested (optional), weather, and one column per crop.

    An empty cell of a crop: it is not reported.

    There is a column of weather at least; of the others none needs to be there.

    Raises:
        MalformedInput: not text, not CSV, empty, or infinity in a number.
        InvalidInput: a column doubled or badly named; text in a number; a value out of bounds; no crop, or no weather.
        TooLarge: more than ``max_rows`` rows.
    """
    return observations_of(Sheet.of_csv(content, max_rows), reading)


def observations_of(sheet: "Sheet", reading: Reading) -> Table:
    """Return a whole sheet's rows as `parse_observations` does."""
    table = part_of(sheet, reading)
    if not len(table):
        raise InvalidInput(NO_YIELD)
    if reading.crops is None:
        check_repeats_of_weather(table)
    return table


def parse_part(
    content: bytes, start: Start = BEGINNING, max_rows: int | None = None, reading: Reading = AS_IT_IS
) -> Table:
    """Parse as `parse_observations` does a part of a table, header and all, whose rows stand at ``start`` of the whole.

    Rows without any yield are left out, even if that is all of them.
    """
    return part_of(Sheet.of_csv(content, max_rows, start), reading)


def part_of(sheet: "Sheet", reading: Reading) -> Table:
    """Return a part's rows as `parse_part` does."""
    crops = crops_of(sheet.header, reading)
    weather = _weather(sheet, reading.units.also(sheet.header.units), NONE)
    yields = np.column_stack([sheet.numbers(crop, YIELD, optional=True) for crop in crops])
    regions, seasons = (sheet.names(name, name_problem) for name in TEXT_COLUMNS)
    outcome = {name: sheet.names(name, problem) for name, problem in OUTCOME_PROBLEMS.items()}
    sheet.faults.raise_if_any()
    said = named_or_none(outcome["forecast"]), named_or_none(outcome["harvested"])
    return Table(regions, seasons, weather, crops, yields, forecasts=said[0], harvested=said[1]).reporting()


def crops_of(header: Header, reading: Reading = AS_IT_IS) -> tuple[str, ...]:
    """Return the columns that hold yields: those that were named, or all that are nothing else.

    Raises:
        InvalidInput: there is no such column, its name is not one for a crop, or it is that of a time or the weather.
    """
    if reading.crops is not None:
        faults = header.missing(dict.fromkeys(reading.crops, ()))
        if faults:
            raise InvalidInput(faults[0].message, faults)
        check_crop_names(reading.crops)
        return reading.crops
    crops = tuple(header.others)
    if not crops:
        raise InvalidInput(
            "no crop column: besides region, season and the weather there must be one column per crop; the table has "
            + header.listed()
        )
    _check_are_crops(crops)
    check_crop_names(crops)
    return crops


def _check_are_crops(names: Sequence[str]) -> None:
    """Check that no column is taken for a crop's that nobody has called one.

    Raises:
        InvalidInput: a name is that of a time, a place or the weather.
    """
    doubtful = [name for name in names if is_no_crop(name)]
    if not doubtful:
        return
    crops = [name for name in names if name not in doubtful]
    found = f"; crops found: {', '.join(crops)}" if crops else ""
    way_out = f"leave it out, or name those that are crops: crops={','.join(crops) or 'mango,orange'}"
    faults = [
        FieldError(
            (name[:REGION_LENGTH],), f"the column {name!r} does not look like a crop's: {way_out}{found}", "crop"
        )
        for name in doubtful
    ]
    raise InvalidInput(faults[0].message, faults)


FEW = 6
"""Rows from which on a column that follows from another one does so by no chance."""
SAME = 1e-12


def check_repeats_of_weather(table: Table) -> None:
    """Check that no crop's column is one of the weather's again, in another unit or not.

    Raises:
        InvalidInput: one is, in all its rows.
    """
    for number, crop in enumerate(table.crops):
        yields = table.yields[:, number]
        there = ~np.isnan(yields)
        if there.sum() < FEW:
            continue
        for feature, column in zip(WEATHER, table.weather.T, strict=True):
            if _follows(yields[there], column[there]) and _is_of_unit(yields[there], column[there], feature.name):
                message = (
                    f"the column {crop!r} repeats {feature.name}: leave it out, or name the crops if it is one: "
                    f"crops={crop}"
                )
                raise InvalidInput(message, [FieldError((crop,), message, "crop")])


def _follows(yields: Array, column: Array) -> bool:
    one, other = yields - yields.mean(), column - column.mean()
    spread = float(one @ one) * float(other @ other)
    return bool(spread > 0.0 and float(one @ other) ** 2 > (1.0 - SAME) * spread)


def _is_of_unit(yields: Array, column: Array, feature: str) -> bool:
    """Say whether numbers are those of a feature in some unit."""
    return any(np.allclose(yields, unit.given(column), rtol=1e-9, atol=1e-9) for unit in UNITS[feature].values())


def parse_regions(content: bytes, max_rows: int | None = None, reading: Reading = AS_IT_IS) -> Asked:
    """Parse CSV to predict for: region (optional) and the weather columns; all others are passed through.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `parse_observations`.
    """
    return asked_of(Sheet.of_csv(content, max_rows), reading)


def asked_of(sheet: "Sheet", reading: Reading) -> Asked:
    """Return a sheet's regions as `parse_regions` does.

    Raises:
        MalformedInput, InvalidInput: as there.
    """
    header = sheet.header
    check_region_is_named(header)
    units = reading.units.also(header.units)
    weather = _weather(sheet, units, reading.needs)
    regions = sheet.names("region", _echoed)
    sheet.faults.raise_if_any()
    nothing = (None,) * len(regions)
    table = Table(regions, nothing, weather, (), np.empty((len(regions), 0)))
    return asked(table, header, units, sheet.dialect, sheet.texts)


def asked(
    table: Table, header: Header, units: Units, dialect: Dialect, texts: Callable[[str], Sequence[str | None]]
) -> Asked:
    """Return regions with all columns that came with them; ``texts``: those of a column that is passed through."""
    given: dict[str, Array | Sequence[str | None]] = {
        **dict(zip(FEATURE_NAMES, units.given(list(table.weather.T)), strict=True)),
        "region": table.regions,
    }
    columns = {
        sent: given[name] if name in given else texts(name)
        for sent, name in zip(header.sent, header.names, strict=True)
    }
    return Asked(table, columns, units, dialect)


def check_region_is_named(header: Header) -> None:
    """Check that no column is passed through that is meant for the region, whose name a prediction may depend on.

    Raises:
        InvalidInput: one may be.
    """
    near = header.meant_for("region") if "region" not in header.names else None
    if near is not None:
        message = f"unknown column {near!r}: did you mean 'region'?"
        raise InvalidInput(message, [FieldError((near,), message, "unknown")])


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


def missing_weather(header: Header, needs: Needs) -> Iterator[FieldError]:
    """Yield what is missing of the features that a table must have; of a table to learn from at least one."""
    yield from header.missing(needs)
    if not needs and not set(FEATURE_NAMES) & set(header.names):
        yield FieldError((), f"no column of weather: {LEAST}; the table has {header.listed()}", "missing")


def _weather(sheet: "Sheet", units: Units, needs: Needs) -> Array:
    """Return the columns of weather as they are stored, shape (n, 3); NaN in all rows where there is no such column."""
    for fault in missing_weather(sheet.header, needs):
        sheet.faults.add(fault)
    sheet.faults.raise_if_any()
    absent = np.full(len(sheet.rows), np.nan)
    given = [
        sheet.numbers(feature.name, feature, optional=False) if feature.name in sheet.header.names else absent
        for feature in units.features
    ]
    return np.column_stack(within(units.stored(given)) if units.named else given)


def within(weather: Sequence[Array]) -> list[Array]:
    """Return converted columns of weather without what rounding has put beyond a bound."""
    return [np.clip(column, feature.low, feature.high) for feature, column in zip(WEATHER, weather, strict=True)]


class Sheet:
    """A table cut into cells, which collects the faults of them all before it raises."""

    def __init__(
        self, lines: Iterable[tuple[int, list[str]]], start: Start = BEGINNING, dialect: Dialect = PLAIN
    ) -> None:
        """``lines``: each with its number, the header first.

        Raises:
            MalformedInput, InvalidInput: there is no header, or a row has more or fewer cells.
        """
        self._start = start
        found = list(lines)
        if not found:
            raise MalformedInput("the table is empty: its first line must name the columns")
        self.header = Header.of([read_cell(name.strip()) for name in found[0][1]])
        self._lines = [number for number, _ in found[1:]]
        self.rows = [cells for _, cells in found[1:]]
        self.faults = Faults()
        self._check_shape()
        self.dialect = replace(dialect, decimal_comma=self._has_decimal_commas(dialect))

    @classmethod
    def of_csv(cls, content: bytes, max_rows: int | None = None, start: Start = BEGINNING) -> "Sheet":
        """Cut a text into cells.

        Raises:
            MalformedInput, InvalidInput, TooLarge: as `parse_observations`.
        """
        text = text_of(as_utf8(content), start.line)
        if text.strip() and not any(end in text for end in "\r\n"):
            raise InvalidInput(NO_LINE_BREAK, [FieldError((), NO_LINE_BREAK, "no_rows")])
        separator, begin = separator_of(text)
        return cls(_records(text[begin:], separator, max_rows, start.line + bool(begin)), start, Dialect(separator))

    def _check_shape(self) -> None:
        if not self.rows:
            self.faults.add(FieldError((), NO_ROWS, "no_rows"))
        for row, cells in enumerate(self.rows):
            if len(cells) != len(self.header.sent):
                message = f"{self._where(row)} has {len(cells)} cells, the header {len(self.header.sent)}"
                if len(cells) > len(self.header.sent) and self._may_have_decimal_commas(cells):
                    message += "; if decimals have a comma, write them with a point, or separate cells by semicolons"
                self.faults.add(FieldError((self._start.row + row,), message, "cells"))
        self.faults.raise_if_any()

    def _may_have_decimal_commas(self, cells: Sequence[str]) -> bool:
        return sum(cell.strip().isdigit() for cell in cells) > 1

    def _has_decimal_commas(self, dialect: Dialect) -> bool:
        """Say whether numbers are written 73,5: only where commas do not separate cells."""
        if dialect.separator == ",":
            return False
        numbers = [
            column for column, name in enumerate(self.header.names) if name not in (*TEXT_COLUMNS, *OUTCOME_COLUMNS)
        ]
        return any(
            "," in cells[column] and NUMBER_CHARACTERS.issuperset(cells[column].strip().replace(",", ""))
            for column in numbers
            for cells in self.rows
        )

    def _place(self, row: int, name: str) -> tuple[int, str]:
        return self._start.row + row, name

    def _where(self, row: int) -> str:
        return f"row {self._start.row + row + 1} (line {self._lines[row]})"

    def _cells(self, name: str) -> list[str]:
        column = self.header.names.index(name)
        return [cells[column].strip() for cells in self.rows]

    def texts(self, name: str) -> tuple[str | None, ...]:
        """Return a column that is passed through, as it is; None where a cell is empty."""
        return tuple(read_cell(cell) or None for cell in self._cells(name))

    def names(self, name: str, problem_of: NameCheck) -> tuple[str | None, ...]:
        """Return a column of names, None where a cell is empty or the column is absent."""
        if name not in self.header.names:
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
        """Return a column of numbers within ``bounds``, shape (n,); NaN in cells without one, where ``optional``."""
        cells = self._cells(name)
        plain = [self._plain(cell, optional) for cell in cells]
        if NUMBER_CHARACTERS.issuperset("".join(plain)):
            try:
                values = np.array([float(cell) if cell else np.nan for cell in plain])
            except ValueError:
                pass
            else:
                with np.errstate(invalid="ignore"):
                    good = bounds.admits(values)
                if (good | np.isnan(values) if optional else good).all():
                    return values
        return np.array([self._number(row, name, cell, bounds, optional) for row, cell in enumerate(cells)])

    def _plain(self, cell: str, optional: bool) -> str:
        """Return a cell's number with a decimal point; nothing where there may be, and is, no value."""
        if optional and cell in NO_VALUE:
            return ""
        if not self.dialect.decimal_comma:
            return cell
        return _NO_NUMBER if "." in cell else cell.replace(",", ".")

    def _number(self, row: int, name: str, cell: str, bounds: Feature, optional: bool) -> float:
        plain = self._plain(cell, optional)
        if not plain and optional:
            return np.nan
        where = f"{self._where(row)}, column {name}"
        try:
            value = float(plain)
        except ValueError:
            code = "missing" if cell in NO_VALUE else "not_a_number"
            self.faults.add(FieldError(self._place(row, name), f"{where}: {self._no_number(cell)}", code))
            return np.nan
        shown = _shown(cell)
        if not np.isfinite(value):
            self.faults.add(
                FieldError(self._place(row, name), f"{where}: {shown} is not finite", "not_finite"), malformed=True
            )
        elif not NUMBER_CHARACTERS.issuperset(plain):
            self.faults.add(
                FieldError(self._place(row, name), f"{where}: {shown!r} is not a plain decimal number", "not_a_number")
            )
        elif broken := bounds.problem(value):
            self.faults.add(FieldError(self._place(row, name), f"{where}: {broken}", "out_of_bounds"))
        return value

    def _no_number(self, cell: str) -> str:
        """Say why a cell is not a number, and how to write it."""
        if not cell:
            return "the cell is empty"
        shown = _shown(cell)
        if cell in NO_VALUE:
            return f"{shown!r} stands for no value, and every row needs one"
        if _THOUSANDS.fullmatch(cell):
            return f"{shown!r} is not a number: thousands separators are not read, leave them out"
        if self.dialect.decimal_comma and "." in cell:
            return f"{shown!r} is not a number: other decimals of this table have a comma, and points are not left out"
        if "," in cell and NUMBER_CHARACTERS.issuperset(cell.replace(",", "")):
            return f"{shown!r} is not a number: write decimals with a point, or separate cells by semicolons"
        return f"{shown!r} is not a number"


def _shown(cell: str) -> str:
    return cell if len(cell) <= 40 else cell[:40] + "…"  # noqa: PLR2004 - enough to recognise the cell by


def _records(text: str, separator: str, max_rows: int | None, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) for every line that is not blank; ``first_line`` are before these."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
