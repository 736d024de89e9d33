"""Columns of Arrow as validated arrays and names, with errors that name the row and the column."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.data.columns import Header
from app.data.naming import OUTCOME_COLUMNS, TEXT_COLUMNS, name_problem
from app.data.tables import (
    AS_IT_IS,
    OUTCOME_PROBLEMS,
    NameCheck,
    Reading,
    Table,
    crops_of,
    missing_weather,
    named_or_none,
    within,
)
from app.errors import FieldError, MalformedInput
from app.faults import MAX_ERRORS, Faults
from app.model.moments import Array
from app.model.names import Names
from app.model.units import STORED, Units
from app.model.weather import ALL, FEATURE_NAMES, NONE, REGION_LENGTH, YIELD, Feature, Needs


def check_schema(schema: pa.Schema, *, texts: Sequence[str], numbers: Sequence[str], needs: Needs) -> None:
    """Check that there is each column once, of a fitting type, and no other.

    ``needs``: the features that must be there; of the other columns none must.

    Raises:
        InvalidInput: a column is missing, doubled, unknown, or of another type.
    """
    faults = Faults()
    for fault in missing_weather(Header(tuple(schema.names), tuple(schema.names)), needs):
        faults.add(fault)
    for name, count in Counter(schema.names).items():
        if count > 1:
            faults.add(FieldError((name,), f"the column {name!r} appears twice", "doubled"))
        elif name not in (*texts, *numbers):
            faults.add(FieldError((name[:REGION_LENGTH],), f"unknown column {name[:REGION_LENGTH]!r}", "unknown"))
        elif name in texts and not _is_text(schema.field(name).type):
            faults.add(FieldError((name,), f"{name} is {schema.field(name).type}, not text", "not_a_string"))
        elif name in numbers and not _is_number(schema.field(name).type):
            faults.add(FieldError((name,), f"{name} is {schema.field(name).type}, not a number", "not_a_number"))
    faults.raise_if_any()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    )


Column = Any
"""An array of Arrow, in one piece or several; pyarrow tells no types."""


def _as_read(rows: pa.Table | pa.RecordBatch, texts: Sequence[str]) -> pa.Table | pa.RecordBatch:
    """Return rows whose types are those that are read: what warehouses have is made texts and numbers.

    Raises:
        MalformedInput: a text that is to be a number is none.
    """
    for place, field in enumerate(rows.schema):
        column = rows.column(place)
        kept = _as_text(column, field.name) if field.name in texts else _as_number(column, field.name)
        if kept is not column:
            rows = rows.set_column(place, field.name, kept)
    return rows


def _as_text(column: Column, name: str) -> Column:
    """Return seasons that are whole numbers, as years are stored, as texts."""
    kind = column.type
    if _is_numeric_text(kind):
        return column.cast(kind.storage_type)
    if name == "season" and (pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)):
        return column.cast(pa.string())
    return column


def _as_number(column: Column, name: str) -> Column:
    """Return decimals as floats, and numbers that came as a dictionary one by one."""
    if pa.types.is_dictionary(column.type) and not _is_text(column.type):
        column = column.cast(column.type.value_type)
    if _is_numeric_text(column.type):
        column = column.cast(column.type.storage_type)
        try:
            return column.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise MalformedInput(f"{name}: {error}") from error
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _is_numeric_text(kind: pa.DataType) -> bool:
    """Say whether it is PostgreSQL's numeric, which its driver hands over as texts."""
    return isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric" and _is_text(kind.storage_type)


class Columns:
    """Takes columns out of rows that stand at ``first_row`` of what was sent, and collects the faults of them all."""

    def __init__(self, rows: pa.RecordBatch | pa.Table, first_row: int = 0, faults: Faults | None = None) -> None:
        """``faults``: where they are collected, each call about one column and one kind of them."""
        self._rows = rows
        self._first = first_row
        self._faults = Faults() if faults is None else faults

    def numbers(self, name: str, bounds: Feature, *, optional: bool = False) -> Array:
        """Return a column within ``bounds`` as float64, shape (n,); NaN for nulls, which must be ``optional``."""
        column = self._rows.column(name)
        values: Array = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        good = bounds.admits(values)
        if optional and column.null_count:
            good |= _nulls(column)
        if not good.all():
            bad, empty = np.flatnonzero(~good), _nulls(column)[~good]
            finite = np.isfinite(values[bad])
            self._number_faults(bad[empty], name, "missing", lambda _: "the value is null")
            self._number_faults(
                bad[finite & ~empty],
                name,
                "out_of_bounds",
                lambda row: bounds.problem(float(values[row])) or "out of bounds",
            )
            self._number_faults(bad[~finite & ~empty], name, "not_finite", lambda row: f"{values[row]:g} is not finite")
        return values

    def _number_faults(self, bad: NDArray[np.intp], name: str, code: str, problem_of: Callable[[int], str]) -> None:
        """Take in the rows that have a fault of one kind."""
        if not len(bad):
            return
        listed = (
            FieldError(
                (self._first + row, name), f"row {self._first + row + 1}, column {name}: {problem_of(row)}", code
            )
            for row in bad[:MAX_ERRORS].tolist()
        )
        self._faults.add_many(listed, len(bad), malformed=code == "not_finite")

    def weather(self, units: Units = STORED) -> list[Array]:
        """Return the column of each feature as it is stored, shape (n,); NaN in all rows where there is no such column.

        ``units``: those that the columns are in.
        """
        given = [
            self.numbers(feature.name, feature)
            if feature.name in self._rows.schema.names
            else np.full(len(self._rows), np.nan)
            for feature in units.features
        ]
        return within(units.stored(given)) if units.named else given

    def names(self, name: str) -> Names:
        """Return a column of names; none where it is null, or there is no such column."""
        if name not in self._rows.schema.names:
            return Names((), np.full(len(self._rows), -1, dtype=np.int32))
        column = self._rows.column(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        # What is coded already stays so: a few bytes for each row could stand for megabytes.
        coded = column if pa.types.is_dictionary(column.type) else column.cast(pa.large_string()).dictionary_encode()
        names = _texts(coded.dictionary, name)
        codes = np.asarray(
            pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False), dtype=np.int32
        )
        lengths = np.array([*map(len, names), 0])  # the last for none, -1
        long = np.flatnonzero(lengths[codes] > REGION_LENGTH)
        listed = (
            FieldError(
                (self._first + row, name),
                f"row {self._first + row + 1}, column {name}: "
                f"{lengths[codes[row]]} characters, at most {REGION_LENGTH}",
                "too_long",
            )
            for row in long[:MAX_ERRORS].tolist()
        )
        self._faults.add_many(listed, len(long))
        return Names(names, codes)

    def check_names(self, column: str, names: Names, problem_of: NameCheck) -> None:
        """Take in what is wrong with the names of a column."""
        wrong = {code: problem for code, label in enumerate(names.names) if (problem := problem_of(label))}
        rows = np.flatnonzero(np.isin(names.codes, list(wrong))) if wrong else np.empty(0, np.intp)
        listed = (
            FieldError(
                (self._first + row, column),
                f"row {self._first + row + 1}, column {column}: {wrong[names.codes[row]]}",
                "invalid",
            )
            for row in rows[:MAX_ERRORS].tolist()
        )
        self._faults.add_many(listed, len(rows))

    def raise_faults(self) -> None:
        """Raise what was found, first row first.

        Raises:
            MalformedInput: a number is not finite.
            InvalidInput: a value is null, too long or out of bounds.
        """
        self._faults.sort_by_row()
        self._faults.raise_if_any()


def _texts(dictionary: pa.Array, name: str) -> list[str]:
    """Return the different texts of a column; a null is an empty one.

    Raises:
        MalformedInput: they are not in UTF-8: what has written them need not have looked.
    """
    try:
        return [text or "" for text in dictionary.cast(pa.large_string()).to_pylist()]
    except UnicodeDecodeError as error:
        message = f"{name} holds a text that is not UTF-8: {error.object[:REGION_LENGTH]!r}"
        raise MalformedInput(message, [FieldError((name,), message, "encoding")]) from error


def _nulls(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def observations_of(
    rows: pa.Table | pa.RecordBatch,
    first_row: int = 0,
    read_name: Callable[[str], str] = str,
    reading: Reading = AS_IT_IS,
    faults: Faults | None = None,
) -> Table:
    """Return columns of region, season (optional), weather (at least one) and yields as a table.

    ``first_row``: how many were sent before these. ``read_name``: makes a name of a cell's text. ``reading``: as
    `app.data.tables.parse_observations` takes it. ``faults``: where those of rows are collected before they are raised.

    Raises:
        MalformedInput, InvalidInput: a column or a value is wrong.
    """
    header = Header.of(rows.schema.names)
    crops = crops_of(header, reading)
    texts = (*TEXT_COLUMNS, *OUTCOME_COLUMNS)
    used = [name for name in header.names if name in (*texts, *FEATURE_NAMES, *crops)]
    rows = days_as_text(rows.rename_columns(list(header.names)).select(used), "harvested")
    rows = _as_read(rows, texts)
    check_schema(rows.schema, texts=texts, numbers=(*FEATURE_NAMES, *crops), needs=NONE)
    columns = Columns(rows, first_row, faults)
    weather = columns.weather(reading.units.also(header.units))
    yields = np.stack([columns.numbers(crop, YIELD, optional=True) for crop in crops])
    regions, seasons = (_stripped(columns.names(name), read_name) for name in TEXT_COLUMNS)
    for column, names in zip(TEXT_COLUMNS, (regions, seasons), strict=True):
        columns.check_names(column, names, name_problem)
    outcome = {name: _stripped(columns.names(name), read_name) for name in OUTCOME_COLUMNS}
    for name, problem_of in OUTCOME_PROBLEMS.items():
        columns.check_names(name, outcome[name], problem_of)
    columns.raise_faults()
    said = named_or_none(outcome["forecast"]), named_or_none(outcome["harvested"])
    return Table(
        regions, seasons, np.stack(weather).T, crops, yields.T, forecasts=said[0], harvested=said[1]
    ).reporting()


def _has_days(schema: pa.Schema, name: str) -> bool:
    return schema.names.count(name) == 1 and bool(pa.types.is_date(schema.field(name).type))


def schema_of_texts(schema: pa.Schema, name: str) -> pa.Schema:
    """Return a schema whose column of that name is one of texts, where it is there once, as days."""
    if not _has_days(schema, name):
        return schema
    return schema.set(schema.get_field_index(name), pa.field(name, pa.string()))


def days_as_text(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Table | pa.RecordBatch:
    """Return rows with a column of days as texts, YYYY-MM-DD, where there is one of that name."""
    if not _has_days(rows.schema, name):
        return rows
    days = rows.column(name).cast(pa.date32()).cast(pa.string())
    return rows.set_column(rows.schema.get_field_index(name), name, days)


def regions_of(
    rows: pa.Table | pa.RecordBatch,
    read_name: Callable[[str], str] = str,
    units: Units = STORED,
    needs: Needs = ALL,
) -> Table:
    """Return columns of region (optional) and weather as a table without crops.

    ``needs``: the features that must be there.

    Raises:
        MalformedInput, InvalidInput: a column or a value is wrong.
    """
    check_schema(rows.schema, texts=TEXT_COLUMNS[:1], numbers=FEATURE_NAMES, needs=needs)
    columns = Columns(rows)
    weather = columns.weather(units)
    regions = _stripped(columns.names("region"), read_name)
    columns.raise_faults()
    nothing = (None,) * len(regions)
    return Table(regions, nothing, np.stack(weather).T, (), np.empty((len(regions), 0)))


def _stripped(sent: Names, read: Callable[[str], str]) -> Names:
    """Return names without the space around them, each once; what is blank then is none."""
    places: dict[str, int] = {}
    names = [read(name.strip()) for name in sent.names]
    if len(set(names)) == len(names) and all(names):  # mostly
        return Names(names, sent.codes)
    codes = [places.setdefault(name, len(places)) if name else -1 for name in names]
    return Names(list(places), np.array([*codes, -1], dtype=np.int32)[sent.codes])  # the last for none, -1
