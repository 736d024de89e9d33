"""Arrow IPC streams: a table of regions to columns of weather, and predictions to a table."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from app.api.large import Parts
from app.errors import InvalidInput, MalformedInput, TooLarge, UnknownMediaType
from app.model.labels import Labels
from app.model.moments import Array
from app.model.weather import NAMES, WEATHER

try:
    import pyarrow as pa

    from app.data.arrow import Reading, check_schema
except ModuleNotFoundError as error:
    raise UnknownMediaType("this installation does not read Arrow: pyarrow is not installed") from error


def read_regions(body: bytes, max_rows: int) -> tuple[Labels | None, list[Array], list[str]]:
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
    try:
        return _columns(table)
    except UnicodeDecodeError as error:  # of a column's name, or of a dictionary's entry, which pyarrow does not check
        raise MalformedInput("the body is not an Arrow stream: a name in it is not UTF-8") from error


def _columns(table: pa.Table) -> tuple[Labels | None, list[Array], list[str]]:
    check_schema(table.schema, texts=["region"], numbers=NAMES, optional=["region"])
    if not table.num_rows:
        raise InvalidInput("the table has columns and no rows")
    reading = Reading(table)
    weather = [reading.numbers(feature.name, feature) for feature in WEATHER]
    regions = reading.labels("region") if "region" in table.column_names else None
    reading.raise_faults()
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
    except (pa.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
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


def write(columns: Mapping[str, Array | Sequence[str | None] | str | None], rows: int) -> Parts:
    """Return a stream of one record batch, whose columns are not copied.

    A plain text stands for a column of that text in every row, None for numbers that are not known.
    """
    batch = pa.RecordBatch.from_pydict({name: _array(column, rows) for name, column in columns.items()})
    parts = Parts()
    with pa.PythonFile(parts, "w") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return parts


def _array(column: Array | Sequence[str | None] | str | None, rows: int) -> pa.Array:
    if column is None:
        return pa.nulls(rows, pa.float64())
    if isinstance(column, str):
        return pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int8), [column])
    if isinstance(column, Labels):
        codes = pa.array(column.codes, mask=column.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.names, pa.string())).cast(pa.string())
    return pa.array(column, None if isinstance(column, np.ndarray) else pa.string())
