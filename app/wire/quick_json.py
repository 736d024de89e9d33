"""Large bodies of JSON to arrays without an object a number, for what is valid.

All else is left to the schemas, which name the fault: None is returned. Needs pysimdjson for columns and pyarrow for
rows of objects (extra `arrow`); without them the schemas read everything.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.data.tables import within
from app.model.moments import Array
from app.model.names import Names
from app.model.weather import FEATURE_NAMES, REGION_LENGTH
from app.wire.questions import PLAIN, BodyOptions, Question, Regions

ROWS = "regions"
MOST_FIELDS = len(FEATURE_NAMES) + 1
"""Of a region; and lists of a body of columns."""


def question(body: bytes, max_rows: int, options: BodyOptions = PLAIN) -> Question | None:
    """Return the regions that a body asks about, as columns or as rows of objects."""
    if not body.lstrip(b" \t\r\n").startswith(b"{"):
        return None
    # Parsers hold many times as much as a body that is nothing but brackets and commas: such are not even begun with.
    as_rows, lists, objects = b'"regions"' in body[:100], body.count(b"["), body.count(b"{")
    if body.count(b",") > MOST_FIELDS * (max_rows + 1) or lists > (1 if as_rows else MOST_FIELDS):
        return None
    if objects > (max_rows + 1 if as_rows else 1):
        return None
    found = _rows(body) if as_rows else _columns(body)
    if found is None or not 0 < len(found) <= max_rows:
        return None
    return _stored(found, options)


def _stored(found: Question, options: BodyOptions) -> Question | None:
    """Return regions with their weather as it is stored, or None where a value cannot be."""
    units = options.units
    for feature, column in zip(units.features, found.weather, strict=True):
        is_absent = feature.name not in found.header and feature.name not in options.needs
        if not (is_absent or feature.admits(column).all()):
            return None
    if not units.named:
        return found
    regions = found.regions if found.has_regions else None
    return Question(found.shape, regions, within(units.stored(found.weather)), found.header, units=units)


def _columns(body: bytes) -> Question | None:
    try:
        import simdjson  # noqa: PLC0415 - 7 MB, and few ask about so many
    except ModuleNotFoundError:
        return None
    try:
        asked: Any = simdjson.Parser().parse(body)
        names = list(asked.keys())
        # Nested lists would be taken for one; texts with brackets are left to the schemas, too.
        if len(set(names)) < len(names) or set(names) - {*FEATURE_NAMES, "region"} or body.count(b"[") != len(names):
            return None
        given = {name: np.frombuffer(asked[name].as_buffer(of_type="d")) for name in names if name != "region"}
        regions = asked["region"].as_list() if "region" in names else None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):  # RuntimeError: depth, and whole numbers
        return None
    lengths = {len(column) for column in (*given.values(), *([] if regions is None else [regions]))}
    if not given or len(lengths) > 1:
        return None
    absent = np.full(lengths.pop(), np.nan)
    weather = [given.get(name, absent) for name in FEATURE_NAMES]
    if regions is not None and not _are_names(regions):
        return None
    return Question("columns", regions, weather)


def _are_names(regions: Sequence[object]) -> bool:
    return all(name is None or (type(name) is str and len(name) <= REGION_LENGTH) for name in regions)


def _rows(body: bytes) -> Question | None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - as above
        import pyarrow.json  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    of_row = pa.struct([*((name, pa.float64()) for name in FEATURE_NAMES), ("region", pa.string())])
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(body),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(body) + 1),
            pyarrow.json.ParseOptions(pa.schema([(ROWS, pa.list_(of_row))]), unexpected_field_behavior="error"),
        )
        if table.num_rows != 1:
            return None
        rows = table.column(0).chunk(0).values
        columns = [rows.field(place) for place in range(len(FEATURE_NAMES))]
        pairs = zip(FEATURE_NAMES, columns, strict=True)
        if rows.null_count or any(column.null_count and f'"{name}"'.encode() in body for name, column in pairs):
            return None
        regions = _names(rows.field(len(FEATURE_NAMES)))
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if regions is None:
        return None
    return Question("several", regions, [_array(column.to_numpy(zero_copy_only=False)) for column in columns])


def _names(column: "object") -> Regions | None:
    """Return regions, each name kept once; None where one is too long."""
    coded = column.dictionary_encode()  # type: ignore[attr-defined]
    names = coded.dictionary.to_pylist()
    if not _are_names(names):
        return None
    if not names:
        return (None,) * len(coded)
    codes = coded.indices.fill_null(-1).to_numpy().astype(np.int32)
    return Names(tuple(names), codes)


def _array(column: Array) -> Array:
    return np.ascontiguousarray(column, dtype=np.float64)
