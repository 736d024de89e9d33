"""Hostile bodies and headers that can be made of any size, for whoever measures what they cost."""

import gzip
import json
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

Made = Callable[[int], bytes]
"""A body of about so many bytes."""
ROW = b'{"temperature":73,"rainfall":67,"humidity":43}'
TABLE = b"region,temperature,rainfall,humidity\n"
FEATURE_NAMES = ("temperature", "rainfall", "humidity")


def _fields(form: str, size: int) -> bytes:
    return ",".join(form % number for number in range(size // len(form % 1_000))).encode()


JSON: dict[str, Made] = {
    "lists, deep": lambda size: b"[" * size,
    "lists, deep and closed": lambda size: b'{"regions":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    "objects, deep": lambda size: b'{"a":' * (size // 5),
    "objects, half deep": lambda size: b'{"a":{"b":' * 60 + b'"' + b"x" * size + b'"' + b"}" * 120,
    "digits": lambda size: ROW.replace(b"73", b"7" * size),
    "digits behind the point": lambda size: ROW.replace(b"73", b"0." + b"7" * size),
    "an exponent of zeros": lambda size: ROW.replace(b"73", b"1e" + b"0" * size + b"1"),
    "a long text": lambda size: ROW.replace(b"73", b'"' + b"x" * size + b'"'),
    "a text of escapes": lambda size: b'{"region":"' + b"\\u0041" * (size // 6) + b'"}',
    "a text that is open": lambda size: b'{"region":"' + b'\\"' * (size // 2),
    "nothing but spaces": lambda size: b" " * size,
    "spaces in between": lambda size: ROW.replace(b":", b":" + b" " * (size // 3)),
    "unknown fields": lambda size: b"{" + _fields('"%x":1', size) + b"}",
    "unknown fields with colons": lambda size: b"{" + _fields('":%x":1', size) + b"}",
    "one field again and again": lambda size: b'{"x":1' + b',"x":1' * (size // 6) + b"}",
    "a field twice, behind many": lambda size: b'{"regions":[' + (ROW + b",") * (size // 46) + b'{"x":1,"x":2}]}',
    "a field twice, in a long name": lambda size: b'{"%b":1,"%b":2}' % ((b"x" * (size // 2),) * 2),
    "names that end like texts": lambda size: b'{"regions":[{' + _fields('"%x\\"":1', size) + b"}]}",
    "empty regions": lambda size: b'{"regions":[' + b"{}," * (size // 3) + b"{}]}",
    "regions": lambda size: b'{"regions":[' + (ROW + b",") * (size // 46) + ROW + b"]}",
    "regions, the last one wrong": lambda size: b'{"regions":[' + (ROW + b",") * (size // 46) + b'{"wind":1}]}',
    "empty lists": lambda size: b"[" + b"[]," * (size // 3) + b"[]]",
    "texts for numbers": lambda size: b'{"temperature":[' + b'"",' * (size // 3) + b"1]}",
    "nulls in a column": lambda size: b'{"temperature":[' + b"null," * (size // 5) + b"1]}",
    "columns of one length each": lambda size: b'{"temperature":[' + b"1," * (size // 2) + b'1],"rainfall":[1]}',
}
GEO_ROW = b'{"type":"Feature","properties":{"temperature":73,"rainfall":67,"humidity":43}}'


def _feature(member: bytes) -> bytes:
    return GEO_ROW[:-1] + b"," + member + b"}"


def _outline(positions: bytes) -> bytes:
    return _feature(b'"geometry":{"type":"LineString","coordinates":' + positions + b"}")


def _days(entries: bytes, values: bytes) -> bytes:
    columns = b"".join(
        b',"%b":[%b]' % (name, values)
        for name in (b"temperature_2m_mean", b"precipitation_sum", b"relative_humidity_2m_mean")
    )
    return b'{"latitude":1,"longitude":2,"daily_units":{},"daily":{"time":[%b]%b}}' % (entries, columns)


GEOJSON: dict[str, Made] = {
    "positions": lambda size: _outline(b"[" + b"[5.6,51.9]," * (size // 11) + b"[1,2]]"),
    "positions, the last one wrong": lambda size: _outline(b"[" + b"[5.6,51.9]," * (size // 11) + b'["x"]]'),
    "positions, open": lambda size: _outline(b"[" + b"[5.6,51.9]," * (size // 11))[:-2],
    "positions of nothing": lambda size: _outline(b"[" + b"[]," * (size // 3) + b"[]]"),
    "rings of nothing": lambda size: _outline(b"[[" + b"[]," * (size // 3) + b"[[1,2]]]]"),
    "deep positions": lambda size: _outline(b"[" * (size // 2) + b"]" * (size // 2)),
    "coordinates again and again": lambda size: _feature(b'"x":[' + b'{"coordinates":[[1]]},' * (size // 22) + b"0]"),
    "coordinates that are open": lambda size: _outline(b'[[[["coordinates":' * (size // 18)),
    "spaces in positions": lambda size: _outline(b"[[1," + b" " * size + b"2],[3,4]]"),
    "spaces behind": lambda size: GEO_ROW[:-2] + b" " * size + b"}}",
    "spaces everywhere": lambda size: GEO_ROW.replace(b",", b" " * (size // 6) + b","),
    "features": lambda size: (
        b'{"type":"FeatureCollection","features":[' + (GEO_ROW + b",") * (size // 80) + GEO_ROW + b"]}"
    ),
    "features of nothing": lambda size: b'{"type":"FeatureCollection","features":[' + b"{}," * (size // 3) + b"{}]}",
    "properties": lambda size: GEO_ROW[:-2] + b"," + _fields('"%x":1', size) + b"}}",
    "unread members": lambda size: _feature(_fields('"%x":1', size)),
    "unread lists": lambda size: _feature(b'"x":[' + b"[]," * (size // 3) + b"[]]"),
    "an unread text": lambda size: _feature(b'"x":"' + b"\\u0022" * (size // 6) + b'"'),
    "NaN, unread": lambda size: _feature(b'"x":[' + b"NaN," * (size // 4) + b"0]"),
    "a long id": lambda size: _feature(b'"id":"' + b"x" * size + b'"'),
    "a long number": lambda size: _feature(b'"id":' + b"7" * size),
    "predictions that are there": lambda size: GEO_ROW[:-2] + b',"mango_tons":[' + b"1," * (size // 2) + b"1]}}",
}
DAYS: dict[str, Made] = {
    "days": lambda size: _days(b'"2026-04-01",' * (size // 13) + b'"2026-04-01"', b"1"),
    "values": lambda size: _days(b'"2026-04-01"', b"1," * (size // 6) + b"1"),
    "texts for values": lambda size: _days(b'"2026-04-01"', b'"",' * (size // 9) + b"1"),
    "places": lambda size: b"[" + b'{"daily":{}},' * (size // 13) + b'{"daily":{}}]',
    "parameters": lambda size: (
        b'{"type":"Feature","properties":{"parameter":{"T2M":{' + _fields('"%x":1', size) + b"}}}}"
    ),
    "features": lambda size: (
        b'{"type":"FeatureCollection","features":[' + b'{"properties":{"parameter":{}}},' * (size // 31) + b"{}]}"
    ),
}
CSV: dict[str, Made] = {
    "commas": lambda size: b"," * size,
    "columns": lambda size: _fields("c%x", size) + b"\n1\n",
    "one column again and again": lambda size: b"humidity," * (size // 9) + b"x\n1\n",
    "lines": lambda size: TABLE + b"\n" * size,
    "carriage returns": lambda size: TABLE + b"\r" * size,
    "quotes": lambda size: TABLE + b'"' * size,
    "a quote that is open": lambda size: TABLE + b'"' + b"x\n" * (size // 2),
    "a long cell": lambda size: TABLE + b"x" * size + b",73,67,43\n",
    "a long number": lambda size: TABLE + b"a," + b"7" * size + b",67,43\n",
    "rows": lambda size: TABLE + b"a,73,67,43\n" * (size // 11),
    "faults": lambda size: TABLE + b"a,x,,1e999\n" * (size // 11),
    "rows of many cells": lambda size: TABLE + (b"1," * 500 + b"\n") * (size // 1_001),
    "spaces": lambda size: TABLE + b"a, " + b" " * size + b"73,67,43\n",
    "NULs": lambda size: TABLE + b"\0" * size,
}


def _tensors(data: bytes, shape: str = "[9,3]", more: bytes = b"") -> bytes:
    return b'{"inputs":[{"name":"input","shape":%b,"datatype":"FP64","data":[%b1]}]%b}' % (shape.encode(), data, more)


TENSORS: dict[str, Made] = {
    "numbers": lambda size: _tensors(b"1," * (size // 2)),
    "nulls": lambda size: _tensors(b"null," * (size // 5)),
    "lists": lambda size: _tensors(b"[1,2,3]," * (size // 8)),
    "lists of nothing": lambda size: _tensors(b"[]," * (size // 3)),
    "deep lists": lambda size: _tensors(b"[" * (size // 2) + b"]" * (size // 2) + b","),
    "a long shape": lambda size: _tensors(b"", "[" + "1," * (size // 2) + "3]"),
    "tensors": lambda size: b'{"inputs":[' + b'{"name":"input"},' * (size // 17) + b"{}]}",
    "outputs": lambda size: _tensors(b"1,2,", "[1,3]", b',"outputs":[' + b'{"name":"mango"},' * (size // 17) + b"{}]"),
    "unknown outputs": lambda size: _tensors(b"1,2,", "[1,3]", b',"outputs":[{"name":"' + b"x" * size + b'"}]'),
    "unknown fields": lambda size: _tensors(b"1,2,", "[1,3]", b"," + _fields('"%x":1', size)),
    "a long id": lambda size: _tensors(b"1,2,", "[1,3]", b',"id":"' + b"x" * size + b'"'),
}


def stream(table: pa.Table, rows: int = 10**9, **options: object) -> bytes:
    """Return a stream of batches of so many rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return bytes(sink.getvalue())


def weather(rows: int, region: object = None) -> pa.Table:
    """Return so many rows, with a column of regions or without."""
    numbers = {name: np.full(rows, 55, dtype=np.int8) for name in FEATURE_NAMES}
    return pa.table(numbers if region is None else {"region": region} | numbers)


def hidden_compression(rows: int) -> bytes:
    """Return compressed zeros as Arrow 0.17 wrote them: the codec in the batch's own metadata, no field for it."""
    batch = pa.RecordBatch.from_pydict({name: np.zeros(rows) for name in FEATURE_NAMES})
    sink = pa.BufferOutputStream()
    old = pa.ipc.IpcWriteOptions(compression="zstd", metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_stream(sink, batch.schema, options=old) as writer:
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})
    content = bytearray(sink.getvalue())
    (length,) = struct.unpack_from("<i", content, 4)  # of the schema's header, whose body is empty
    start = 8 + length + 8
    message = start + struct.unpack_from("<I", content, start)[0]
    (place,) = struct.unpack_from("<H", content, message - struct.unpack_from("<i", content, message)[0] + 4 + 2 * 2)
    header = message + place + struct.unpack_from("<I", content, message + place)[0]
    struct.pack_into("<H", content, header - struct.unpack_from("<i", content, header)[0] + 4 + 2 * 3, 0)
    return bytes(content)


def annotated() -> bytes:
    """Return a batch with metadata of its own."""
    batch = weather(2).to_batches()[0]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={"a": "b"})
    return bytes(sink.getvalue())


def _runs(dictionaries: list[list[str]]) -> pa.Table:
    """Return a row for each dictionary."""
    names = pa.chunked_array(
        [pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(names)) for names in dictionaries]
    )
    return weather(len(names), names)


def deltas(size: int) -> bytes:
    """Return a dictionary that grows with each row."""
    names = [f"{number:09}" for number in range(size // 1_000)]
    return stream(_runs([names[: count + 1] for count in range(len(names))]), 1, emit_dictionary_deltas=True)


def replaced(size: int) -> bytes:
    """Return a dictionary for each row."""
    return stream(_runs([[f"{number:09}"] for number in range(size // 1_000)]), 1)


def shared(size: int) -> bytes:
    """Return a large dictionary, and as many bytes of batches of one row that use it."""
    names = pa.array([f"{number:09}" for number in range(size // 26)])
    codes = pa.array(np.zeros(size // 1_000, dtype=np.int32))
    return stream(weather(len(codes), pa.DictionaryArray.from_arrays(codes, names)), 1)


def one_name(size: int) -> bytes:
    """Return one long name for all rows."""
    names = pa.DictionaryArray.from_arrays(np.zeros(size // 8, dtype=np.int8), ["x" * (size // 2)])
    return stream(weather(size // 8, names))


def _metadata(size: int) -> bytes:
    return stream(weather(1).replace_schema_metadata({"x": "x" * size}))


ARROW: dict[str, Made] = {
    "batches of one row": lambda size: stream(weather(size // 500), 1),
    "columns": lambda size: stream(pa.table({f"c{number}": [1] for number in range(size // 400)})),
    "a struct of columns": lambda size: stream(
        pa.table({"temperature": [{f"c{number}": 1 for number in range(size // 400)}]})
    ),
    "a long name": lambda size: stream(pa.table({"x" * size: [1]})),
    "metadata": _metadata,
    "rows": lambda size: stream(weather(size // 3)),
    "nulls": lambda size: stream(pa.table(dict.fromkeys(FEATURE_NAMES, pa.nulls(size)))),
    "names": lambda size: stream(weather(size // 16, [f"{number:09}" for number in range(size // 16)])),
    "compressed": lambda size: stream(weather(size * 100), compression="zstd"),
    "compressed in secret": lambda size: hidden_compression(size * 100),
}
CODED: dict[str, Made] = {
    "a dictionary that grows": deltas,
    "a dictionary for each row": replaced,
    "a dictionary for many batches": shared,
    "one long name": one_name,
}
FOLDED: dict[str, Made] = {
    "spaces": lambda size: gzip.compress(b" " * size * 500, 1),
    "members": lambda size: gzip.compress(b"{}") * (size // 22),
    "cut off": lambda size: gzip.compress(np.random.default_rng(1).bytes(size), 1)[:-9],
    "no gzip": lambda size: b"x" * size,
}


def binary(size: int, crops: Sequence[str] = ("mango",)) -> tuple[bytes, int]:
    """Return tensors as bytes that ask for all there is of some crops, and how many of the bytes are JSON."""
    rows = size // 3
    outputs = [{"name": f"{crop}{end}"} for crop in crops for end in ("", "_low", "_high")]
    tensor = {"name": "input", "shape": [rows, 3], "datatype": "INT8", "parameters": {"binary_data_size": 3 * rows}}
    header = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return header + np.full((rows, 3), 55, dtype=np.int8).tobytes(), len(header)


HEADERS: dict[str, tuple[str, Callable[[int], str]]] = {
    "Accept, quotes": ("accept", lambda size: 'a/b;"' + ";" * size),
    "Accept, parts": ("accept", lambda size: "a/b," * (size // 4)),
    "Accept, weights": ("accept", lambda size: "a/b" + ";q=1" * (size // 4)),
    "Accept, backslashes": ("accept", lambda size: 'a/b;q="' + "\\" * size),
    "Content-Type, quotes": ("content-type", lambda size: 'a/b;"' + ";" * size),
    "Content-Type, slashes": ("content-type", lambda size: "/" * size),
    "Accept-Encoding, parts": ("accept-encoding", lambda size: "gzip;q=0," * (size // 9)),
    "Authorization": ("authorization", lambda size: "Bearer " + "x" * size),
    "Authorization, spaces": ("authorization", lambda size: "Bearer" + " " * size),
    "traceparent": ("traceparent", lambda size: f"00-{'1' * 32}-{'2' * 16}-01" + "-" * size),
    "X-Request-ID": ("x-request-id", lambda size: "x" * size),
    "Cookie, quotes": ("cookie", lambda size: 'a="' + '\\"' * (size // 2) + '"'),
    "Cookie, parts": ("cookie", lambda size: "a=b;" * (size // 4)),
    "Origin": ("origin", lambda size: "https://" + "x" * size),
    "Content-Encoding": ("content-encoding", lambda size: "gzip," * (size // 5)),
    "Idempotency-Key": ("idempotency-key", lambda size: "x" * size),
}
QUERIES: dict[str, Callable[[int], str]] = {
    "parameters": lambda size: "a&" * (size // 2),
    "one parameter again and again": lambda size: "level=0.9&" * (size // 10),
    "escapes": lambda size: "version=" + "%41" * (size // 3),
    "digits": lambda size: "level=0." + "9" * size,
    "a long version": lambda size: "version=" + "1" * size,
    "plus signs": lambda size: "version=" + "+" * size,
}
