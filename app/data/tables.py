"""Tables of weather and yields as people send them: CSV text to validated columns, with errors that name the cell.

Knows nothing of HTTP or of where the text came from.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge
from app.model.moments import Array
from app.model.weather import NAMES, REGION_LENGTH, WEATHER, YIELD, Feature

Mask = NDArray[np.bool_]

LABELS = ("region", "season")
MAX_CROPS = 100
MAX_ERRORS = 100
"""Faults that are listed one by one; the rest is counted."""
RESERVED_ENDINGS = ("_tons", "_low", "_high")
NUMBER_CHARACTERS = frozenset("0123456789+-.eE")


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """n observations or regions.

    ``regions`` and ``seasons``: None where unnamed. ``weather``: shape (n, 3), in the order and units of WEATHER.
    ``yields``: shape (n, crops), tons, NaN where a crop is not reported.
    """

    regions: tuple[str | None, ...]
    seasons: tuple[str | None, ...]
    weather: Array
    crops: tuple[str, ...]
    yields: Array
    left_out: tuple[str, ...] = field(default=())
    """Sentences about rows that were sent and are not here."""

    def __len__(self) -> int:
        return len(self.weather)

    @property
    def digest(self) -> str:
        """The sha256 of the content, hexadecimal: the same for the same rows in the same order."""
        content = hashlib.sha256(repr((self.regions, self.seasons, self.crops)).encode())
        content.update(np.ascontiguousarray(self.weather).tobytes())
        content.update(np.ascontiguousarray(self.yields).tobytes())
        return content.hexdigest()


def read_table(path: Path, max_rows: int | None = None) -> Table:
    """Read observations from a CSV file.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `parse_observations`; an unreadable file is MalformedInput.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MalformedInput(f"{path} cannot be read: {error.strerror}") from error
    return parse_observations(content, max_rows)


def parse_observations(content: bytes, max_rows: int | None = None) -> Table:
    """Parse CSV with region and season (optional), the weather columns, and one column per crop (empty: not reported).

    Raises:
        MalformedInput: not UTF-8, not CSV, empty, or NaN or infinity in a number.
        InvalidInput: a column missing, doubled or badly named; text in a number; a value out of bounds; no crop column.
        TooLarge: more than ``max_rows`` rows.
    """
    sheet = _Sheet(content, max_rows)
    crops = tuple(name for name in sheet.header if name not in (*LABELS, *NAMES))
    if not crops:
        raise InvalidInput("no crop column: besides region, season and the weather there must be one column per crop")
    check_crop_names(crops)
    weather = _weather(sheet)
    yields = np.column_stack([sheet.numbers(crop, YIELD, optional=True) for crop in crops])
    sheet.raise_faults()
    reported: Mask = np.logical_not(np.isnan(yields).all(axis=1))
    if not reported.any():
        raise InvalidInput("no crop column holds a number: every yield is empty")
    missing = int(np.sum(~reported))
    table = Table(
        _kept(sheet.labels("region"), reported),
        _kept(sheet.labels("season"), reported),
        weather[reported],
        crops,
        yields[reported],
        (f"{missing} of {len(reported)} rows report no yield and are left out",) if missing else (),
    )
    sheet.raise_faults()
    return table


def parse_regions(content: bytes, max_rows: int | None = None) -> tuple[Table, tuple[str, ...]]:
    """Parse CSV to predict for: region (optional) and the weather columns; other columns are refused by name.

    Returns:
        The regions (without crops), and the names of the columns in the order they came in.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `parse_observations`.
    """
    sheet = _Sheet(content, max_rows)
    for name in sheet.header:
        if name not in ("region", *NAMES):
            sheet.fault(FieldError((name,), f"unknown column {name!r}", "unknown"))
    weather = _weather(sheet)
    regions = sheet.labels("region")
    sheet.raise_faults()
    nothing = (None,) * len(regions)
    return Table(regions, nothing, weather, (), np.empty((len(regions), 0))), tuple(sheet.header)


def check_crop_names(crops: Iterable[str]) -> None:
    """Check that each name can be a column and a key.

    Raises:
        InvalidInput: a name is empty, too long, unprintable, or means something else.
    """
    names = list(crops)
    errors = [
        FieldError((name[:REGION_LENGTH],), problem, "crop_name")
        for name in names
        if (problem := crop_name_problem(name))
    ]
    if len(names) > MAX_CROPS:
        errors.append(FieldError((), f"{len(names)} crops: at most {MAX_CROPS}", "too_many_crops"))
    if errors:
        raise InvalidInput(errors[0].message, errors[:MAX_ERRORS])


def crop_name_problem(name: str) -> str | None:
    """Say what is wrong with a crop's name, or return None."""
    if not name or len(name) > REGION_LENGTH:
        return f"a crop's name has 1 to {REGION_LENGTH} characters, not {len(name)}"
    if not name.isprintable() or name != name.strip() or name[0] in "=+-@":
        return f"the crop name {name!r} has characters that a name cannot have"
    if name in (*LABELS, *NAMES) or name.endswith(RESERVED_ENDINGS):
        return f"the crop name {name!r} means something else: choose another"
    return None


def number_problem(value: float, feature: Feature) -> str | None:
    """Say which bound of ``feature`` a number breaks, with value, bound and unit, or return None."""
    if value < feature.low:
        return f"{value:g} is below {feature.low:g} {feature.unit}"
    if value > feature.high:
        return f"{value:g} is above {feature.high:g} {feature.unit}"
    return None


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula (OWASP, "CSV injection")."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _kept(labels: Sequence[str | None], keep: Mask) -> tuple[str | None, ...]:
    return tuple(label for label, kept in zip(labels, keep.tolist(), strict=True) if kept)


def _weather(sheet: "_Sheet") -> Array:
    for feature in WEATHER:
        if feature.name not in sheet.header:
            sheet.fault(FieldError((feature.name,), f"the column {feature.name!r} is missing", "missing"))
    sheet.raise_faults()
    return np.column_stack([sheet.numbers(feature.name, feature, optional=False) for feature in WEATHER])


class _Sheet:
    """A CSV text cut into cells, which collects the faults of them all before it raises."""

    def __init__(self, content: bytes, max_rows: int | None) -> None:
        lines = list(_records(content, max_rows))
        if not lines:
            raise MalformedInput("the table is empty: its first line must name the columns")
        self.header = [name.strip() for name in lines[0][1]]
        self._lines = [number for number, _ in lines[1:]]
        self.rows = [cells for _, cells in lines[1:]]
        self._faults: list[FieldError] = []
        self._fault_count = 0
        self._malformed = False
        self._check_shape()

    def _check_shape(self) -> None:
        for name in dict.fromkeys(self.header):
            if self.header.count(name) > 1:
                self.fault(FieldError((name,), f"the column {name!r} appears twice", "doubled"))
        if not self.rows:
            self.fault(FieldError((), "the table has a header and no rows", "no_rows"))
        for row, cells in enumerate(self.rows):
            if len(cells) != len(self.header):
                message = f"{self._where(row)} has {len(cells)} cells, the header {len(self.header)}"
                self.fault(FieldError((row,), message, "cells"))
        self.raise_faults()

    def _where(self, row: int) -> str:
        return f"row {row + 1} (line {self._lines[row]})"

    def fault(self, error: FieldError, *, malformed: bool = False) -> None:
        self._fault_count += 1
        self._malformed = self._malformed or malformed
        if len(self._faults) < MAX_ERRORS:
            self._faults.append(error)

    def raise_faults(self) -> None:
        if not self._faults:
            return
        more = f" (and {self._fault_count - 1} more)" if self._fault_count > 1 else ""
        kind = MalformedInput if self._malformed else InvalidInput
        raise kind(self._faults[0].message + more, self._faults)

    def _cells(self, name: str) -> list[str]:
        column = self.header.index(name)
        return [cells[column].strip() for cells in self.rows]

    def labels(self, name: str) -> tuple[str | None, ...]:
        """Return a column of names, None where a cell is empty or the column is absent."""
        if name not in self.header:
            return (None,) * len(self.rows)
        cells = self._cells(name)
        for row, cell in enumerate(cells):
            if len(cell) > REGION_LENGTH:
                message = f"{self._where(row)}, column {name}: {len(cell)} characters, at most {REGION_LENGTH}"
                self.fault(FieldError((row, name), message, "too_long"))
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
                    good = (values >= bounds.low) & (values <= bounds.high)
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
            self.fault(FieldError((row, name), f"{where}: {problem}", code))
            return np.nan
        if not np.isfinite(value):
            self.fault(FieldError((row, name), f"{where}: {shown} is not finite", "not_finite"), malformed=True)
        elif not NUMBER_CHARACTERS.issuperset(cell):
            self.fault(FieldError((row, name), f"{where}: {shown!r} is not a plain decimal number", "not_a_number"))
        elif broken := number_problem(value, bounds):
            self.fault(FieldError((row, name), f"{where}: {broken}", "out_of_bounds"))
        return value


def _records(content: bytes, max_rows: int | None) -> Iterable[tuple[int, list[str]]]:
    """Yield (line number, cells) for every line that is not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedInput(f"the table is not UTF-8: byte {error.start} cannot be read") from error
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
            yield reader.line_num, cells
    except csv.Error as error:
        raise MalformedInput(f"the table is not CSV: line {reader.line_num}: {error}") from error
