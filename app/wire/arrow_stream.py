"""Arrow IPC streams: a table of regions to columns of weather, and predictions to a table."""

import contextlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput, MalformedInput, TooLarge, UnknownMediaType
from app.model.moments import Array
from app.model.names import Names
from app.model.weather import FEATURE_NAMES, Needs
from app.wire.parts import Parts
from app.wire.questions import PLAIN, BodyOptions, Question

try:
    import pyarrow as pa
    import pyarrow.compute as pc

    from app.data.arrow import Columns, check_schema, days_as_text, schema_of_texts
except ModuleNotFoundError as error:
    raise UnknownMediaType("this installation does not read Arrow: pyarrow is not installed") from error


MOST_HEADER = 64 * 1024
"""Bytes of a message's header, many times as many as a few columns need."""
MOST_MESSAGES = 10_000
"""Messages of a stream: each takes some 50 µs, however few rows it has."""
FEW_MESSAGES = 100
"""Messages of a stream that is looked through in the serving process."""


def rows_if_plain(body: bytes) -> int | None:
    """Return how many rows a stream has that is read without a copy: a few batches and no dictionaries; else None.

    Raises:
        MalformedInput, InvalidInput: as `read`, of the messages' headers.
    """
    rows = 0
    with _arrow():
        for number, (kind, header) in enumerate(_messages(body)):
            if number > FEW_MESSAGES or kind == "dictionary":
                return None
            rows += header.number(0, "<q") if kind == "record batch" else 0
    return rows


def read(body: bytes, max_rows: int, options: BodyOptions = PLAIN) -> Question:
    """Read a stream of record batches with region (optional) and the weather columns, of any number type.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `read_with`.
    """
    return read_with(body, max_rows, options, ())[0]


def read_with(
    body: bytes, max_rows: int, options: BodyOptions, texts: Sequence[str], days: Sequence[str] = ()
) -> tuple[Question, dict[str, Names]]:
    """Read a stream as `read` does that may have more columns: ``texts``, and among them ``days``, texts or dates.

    Return the question, and each of these columns.

    Raises:
        MalformedInput: not an Arrow stream, or NaN or infinity in a number.
        InvalidInput: a column is missing, doubled, unknown or of another type; a value is null or out of bounds; or a
            message is of a kind that is not read, such as a compressed one.
        TooLarge: more than ``max_rows`` rows.
    """
    options.check_of_rows()
    with _arrow():
        for _ in _messages(body):
            """Every header is looked at before anything is read: what a message may unfold to stands there."""
        table = _table(body, max_rows, options.needs, texts, days)
        if not table.num_rows:
            raise InvalidInput("the table has columns and no rows")
        columns = Columns(table)
        weather = columns.weather(options.units)
        regions = columns.names("region") if "region" in table.column_names else None
        more = {name: columns.names(name) for name in texts}
        columns.raise_faults()
        return Question("columns", regions, weather, table.column_names, units=options.units), more


@contextlib.contextmanager
def _arrow() -> Iterator[None]:
    """Turn what Arrow finds wrong into our error."""
    try:
        yield
    except MemoryError:
        raise
    except UnicodeDecodeError as error:  # of a column's name, which pyarrow does not check
        raise MalformedInput("the body is not an Arrow stream: a name in it is not UTF-8") from error
    except (pa.ArrowException, OSError, struct.error) as error:
        raise MalformedInput(f"the body is not an Arrow stream: {str(error)[:200]}") from error


def _messages(body: bytes) -> Iterator[tuple[str, "_Flat"]]:
    """Yield each message's type and header, if it is of a kind that is read.

    Raises:
        InvalidInput: one is not.
    """
    for number, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        if number >= MOST_MESSAGES:
            raise InvalidInput(f"the stream has more than {MOST_MESSAGES} batches: put more rows in each")
        if message.metadata.size > MOST_HEADER:
            raise InvalidInput(f"a message's header has {message.metadata.size} bytes: the limit is {MOST_HEADER}")
        content = _Flat.root(message.metadata.to_pybytes())
        if message.metadata_version != pa.ipc.MetadataVersion.V5:
            raise InvalidInput("Arrow streams of a format before 1.0 are not read: write it with metadata version V5")
        header = content.table(2)
        if message.type != "schema":
            _check_batch(content, header.table(1) if message.type == "dictionary" else header)
        if message.type == "dictionary" and header.number(2, "<?"):
            raise InvalidInput("dictionaries that grow by deltas are not read: write each dictionary whole")
        yield message.type, header


def _check_batch(message: "_Flat", batch: "_Flat") -> None:
    """Compressed buffers could unfold to a thousand times the body's limit."""
    if batch.has(3):
        raise InvalidInput("compressed Arrow buffers are not read: write the stream without compression")
    if message.has(4):  # where compression was named before there was a field for it
        raise InvalidInput("batches with metadata of their own are not read: leave it out, or give it to the schema")


def _table(body: bytes, max_rows: int, needs: Needs, texts: Sequence[str], days: Sequence[str]) -> pa.Table:
    batches = []
    rows = 0
    with pa.ipc.open_stream(body, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        schema = reader.schema
        for name in days:
            schema = schema_of_texts(schema, name)
        check_schema(schema, texts=["region", *texts], numbers=FEATURE_NAMES, needs=needs)
        for batch in reader:
            batch.validate()
            rows += batch.num_rows
            if rows > max_rows:
                raise TooLarge(f"more than {max_rows} rows, which is the limit")
            batches.append(batch)
        table = pa.Table.from_batches(batches, reader.schema)
    table = pa.table({name: _valid(table.column(name)) for name in table.column_names})
    for name in days:
        table = days_as_text(table, name)
    return table


def _valid(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column whose buffers, which come from outside, hold what they must."""
    if pa.types.is_dictionary(column.type):
        return _coded(column)
    column.validate(full=True)
    return column


def _coded(column: pa.ChunkedArray) -> pa.Array:
    """Return coded names with one dictionary, of the names that rows have.

    Batches share dictionaries: each is looked at once, not once a batch, or some kilobytes of batches would cost hours.
    """
    names, codes, known = [], [np.empty(0, dtype=np.int32)], 0
    for _, chunks in groupby(column.chunks, key=_place):
        run = list(chunks)
        dictionary = run[0].dictionary
        dictionary.validate(full=True)
        found = _codes(pa.concat_arrays([chunk.indices for chunk in run]), len(dictionary))
        used, places = np.unique(found, return_inverse=True)
        nulls = int(len(used) > 0 and used[0] < 0)
        names.append(dictionary.take(pa.array(used[nulls:])))
        codes.append(np.where(found < 0, -1, places + (known - nulls)).astype(np.int32))
        known += len(used) - nulls
    together = np.concatenate(codes)
    kinds = pa.concat_arrays(names) if names else pa.array([], column.type.value_type)
    return pa.DictionaryArray.from_arrays(pa.array(together, mask=together < 0), kinds)


def _place(chunk: pa.DictionaryArray) -> tuple[int, int, list[int]]:
    """Return where a chunk's dictionary is, by which it is known again."""
    dictionary = chunk.dictionary
    return len(dictionary), dictionary.offset, [buffer.address if buffer else 0 for buffer in dictionary.buffers()]


def _codes(indices: pa.Array, names: int) -> NDArray[np.int64]:
    """Return a dictionary's codes, -1 for nulls."""
    indices.validate(full=True)
    ends = pc.min_max(indices)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and (low < 0 or high >= names):
        raise MalformedInput(f"the body is not an Arrow stream: a region's code is not among its {names} names")
    return np.asarray(pc.fill_null(indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False))


class _Flat:
    """A table in a FlatBuffer, as far as looking for one field needs it (flatbuffers.dev, "Internals").

    Arrow's Message.fbs numbers the fields: in Message the header is 2 and the custom metadata 4, in DictionaryBatch the
    data 1 and isDelta 2, in RecordBatch the length 0 and the compression 3.
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

    def number(self, number: int, kind: str) -> int:
        place = self._field(number)
        return int(struct.unpack_from(kind, self._content, self._start + place)[0]) if place else 0

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
    if isinstance(column, Names):
        codes = pa.array(column.codes, mask=column.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.names, pa.string())).cast(pa.string())
    return pa.array(column, None if isinstance(column, np.ndarray) else pa.string())
