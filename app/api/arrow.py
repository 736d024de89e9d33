"""Arrow IPC streams: a table of regions to columns of weather, and predictions to a table."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from app.data.tables import MAX_ERRORS, number_problem
from app.errors import FieldError, InvalidInput, MalformedInput, TooLarge, UnknownMediaType
from app.model.moments import Array
from app.model.weather import NAMES, REGION_LENGTH, WEATHER, Feature

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ModuleNotFoundError as error:
    raise UnknownMediaType("this installation does not read Arrow: pyarrow is not installed") from error


def read_regions(body: bytes, max_rows: int) -> tuple[list[str | None] | None, list[Array], list[str]]:
    """Read a stream of record batches with region (optional) and the weather columns, of any number type.

    Returns:
        The regions, None without such a column; a float64 array, shape (n,), per feature; the columns' names in the
        order they came in.

    Raises:
        MalformedInput: not an Arrow stream, or NaN or infinity in a number.
        InvalidInput: a column is missing, doubled, unknown or of another type; a value is null or out of bounds.
        TooLarge: more than ``max_rows`` rows.
    """
    table = _table(body, max_rows)
    _check_columns(table.schema)
    if not table.num_rows:
        raise InvalidInput("the table has columns and no rows")
    faults: list[FieldError] = []
    weather = [_numbers(table.column(feature.name), feature, faults) for feature in WEATHER]
    regions = _labels(table.column("region"), faults) if "region" in table.column_names else None
    if faults:
        faults.sort(key=lambda fault: fault.loc[0])
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        kind = MalformedInput if any(fault.code == "not_finite" for fault in faults) else InvalidInput
        raise kind(faults[0].message + more, faults[:MAX_ERRORS])
    return regions, weather, table.column_names


def _table(body: bytes, max_rows: int) -> pa.Table:
    batches = []
    rows = 0
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(body, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
            for batch in reader:
                rows += batch.num_rows
                if rows > max_rows:
                    raise TooLarge(f"more than {max_rows} rows, which is the limit")
                batch.validate(full=True)  # the buffers come from outside
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, struct.error) as error:
        raise MalformedInput(f"the body is not an Arrow stream: {str(error)[:200]}") from error


def _refuse_compressed(body: bytes) -> None:
    """Compressed buffers could unfold to a thousand times the body's limit."""
    messages = pa.ipc.MessageReader.open_stream(body)
    for message in messages:
        header = _Flat.root(message.metadata.to_pybytes()).table(2)
        batch = header.table(1) if message.type == "dictionary" else header
        if message.type != "schema" and batch.has(3):
            raise InvalidInput("compressed Arrow buffers are not read: write the stream without compression")


class _Flat:
    """A table in a FlatBuffer, as far as looking for one field needs it (flatbuffers.dev, "Internals").

    Arrow's Message.fbs numbers the fields: in Message the header is 2, in DictionaryBatch the data 1, in RecordBatch
    the compression 3.
    """

    def __init__(self, content: bytes, start: int) -> None:
        self._content = content
        self._start = start

    @classmethod
    def root(cls, content: bytes) -> "_Flat":
        return cls(content, struct.unpack_from("<I", content, 0)[0])

    def _field(self, number: int) -> int:
        fields = self._start - struct.unpack_from("<i", self._content, self._start)[0]
        (size,) = struct.unpack_from("<H", self._content, fields)
        place = 4 + 2 * number
        return int(struct.unpack_from("<H", self._content, fields + place)[0]) if place < size else 0

    def has(self, number: int) -> bool:
        return self._field(number) != 0

    def table(self, number: int) -> "_Flat":
        place = self._start + self._field(number)
        return _Flat(self._content, place + struct.unpack_from("<I", self._content, place)[0])


def _check_columns(schema: pa.Schema) -> None:
    faults = [
        FieldError((name,), f"the column {name!r} is missing", "missing") for name in NAMES if name not in schema.names
    ]
    for name in dict.fromkeys(schema.names):
        if schema.names.count(name) > 1:
            faults.append(FieldError((name,), f"the column {name!r} appears twice", "doubled"))
        elif name not in ("region", *NAMES):
            faults.append(FieldError((name[:REGION_LENGTH],), f"unknown column {name[:REGION_LENGTH]!r}", "unknown"))
        elif name == "region" and not _is_text(schema.field(name).type):
            faults.append(FieldError((name,), f"region is {schema.field(name).type}, not text", "not_a_string"))
        elif name in NAMES and not _is_number(schema.field(name).type):
            faults.append(FieldError((name,), f"{name} is {schema.field(name).type}, not a number", "not_a_number"))
    if faults:
        raise InvalidInput(faults[0].message, faults[:MAX_ERRORS])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    )


def _numbers(column: pa.ChunkedArray, feature: Feature, faults: list[FieldError]) -> Array:
    values: Array = np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
    good = (values >= feature.low) & (values <= feature.high)
    if column.null_count or not good.all():
        faults += _number_faults(column, values, ~good, feature)
    return values


def _number_faults(column: pa.ChunkedArray, values: Array, bad: Any, feature: Feature) -> Iterator[FieldError]:
    empty = column.is_null().to_numpy()
    for row in np.flatnonzero(bad).tolist():
        where = f"row {row + 1}, column {feature.name}: "
        if empty[row]:
            yield FieldError((row, feature.name), where + "the value is null", "missing")
        elif broken := number_problem(float(values[row]), feature) if np.isfinite(values[row]) else None:
            yield FieldError((row, feature.name), where + broken, "out_of_bounds")
        else:
            yield FieldError((row, feature.name), f"{where}{values[row]:g} is not finite", "not_finite")


def _labels(column: pa.ChunkedArray, faults: list[FieldError]) -> list[str | None]:
    text = column.cast(pa.large_string())
    longest = pc.max(pc.utf8_length(text)).as_py() or 0
    labels: list[str | None] = text.to_pylist()
    if longest > REGION_LENGTH:
        faults += [
            FieldError(
                (row, "region"),
                f"row {row + 1}, column region: {len(label)} characters, at most {REGION_LENGTH}",
                "too_long",
            )
            for row, label in enumerate(labels)
            if label is not None and len(label) > REGION_LENGTH
        ]
    return labels


def write(columns: Mapping[str, Array | Sequence[str | None] | str | None], rows: int) -> memoryview:
    """Return a stream of one record batch.

    A plain text stands for a column of that text in every row, None for numbers that are not known.
    """
    batch = pa.RecordBatch.from_pydict({name: _array(column, rows) for name, column in columns.items()})
    size = pa.MockOutputStream()
    _write(batch, size)
    content = pa.allocate_buffer(size.size())  # of the right size, so that nothing is copied while it grows
    _write(batch, pa.FixedSizeBufferWriter(content))
    return memoryview(content)


def _write(batch: pa.RecordBatch, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _array(column: Array | Sequence[str | None] | str | None, rows: int) -> pa.Array:
    if column is None:
        return pa.nulls(rows, pa.float64())
    if isinstance(column, str):
        return pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int8), [column])
    return pa.array(column, None if isinstance(column, np.ndarray) else pa.string())
