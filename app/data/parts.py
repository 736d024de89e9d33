"""What parts of a table say, wherever their rows are: what they add up to, and their faults, which are returned.

Imports numpy and pyarrow, and of Orchard what needs no more than these: it travels to the executors of a cluster, where
an exception would end the whole and arrive as a page of Java.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from app.data.arrow import observations_of
from app.data.columns import Header
from app.data.harvest import Sums
from app.data.naming import OUTCOME_COLUMNS, TEXT_COLUMNS
from app.data.tables import AS_IT_IS, Reading, Table, check_repeats_of_weather, crops_of
from app.errors import FieldError, InputError, InvalidInput, MalformedInput
from app.faults import MAX_ERRORS, Faults
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.names import packed_names, unpacked_names
from app.model.weather import FEATURE_NAMES, WEATHER

PART_ROWS = 131_072
"""Rows that are learned at a time: a part's columns stay in the cache."""
EXAMPLES = 10
"""Faults of a kind that are told one by one; the rest is counted."""
SHOWN = 40
"""Characters of a text that are told."""
RESULT = pa.schema([("sums", pa.binary()), ("rows", pa.int64()), ("unreported", pa.int64()), ("faults", pa.string())])
"""One row of it is all that a part says: some kilobytes a crop. ``faults``: JSON, with what `Learned.mistaken` has."""


class _Kinds(Faults):
    """Faults of a batch's rows, the first of each kind, which is a column and a code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[str, str], tuple[int, list[FieldError]]] = {}

    def add_many(self, listed: Iterable[FieldError], count: int, *, malformed: bool = False) -> None:
        """Add some of one kind."""
        first = list(islice(listed, EXAMPLES))
        if first:
            self.found[str(first[0].loc[-1]), first[0].code] = (count, first)
        super().add_many(first, count, malformed=malformed)


@dataclass
class Found:
    """Faults that were found so far. They are bounded: by column and code how many, and the first as sentences.

    ``whole``: those of no row (a column that is missing), as `FieldError.as_dict` has them, by their message.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    whole: dict[str, dict[str, Any]] = field(default_factory=dict)
    malformed: bool = False

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.counts or self.whole)

    def add(self, error: InputError, where: str = "") -> None:
        """Take in what is wrong with a whole; ``where``: what it is, if that is not said."""
        self.malformed |= isinstance(error, MalformedInput)
        faults = error.errors or (FieldError((), error.detail, "invalid"),)
        for fault in faults[: MAX_ERRORS - len(self.whole)]:
            message = f"{where}: {fault.message}" if where else fault.message
            self.whole.setdefault(message, fault.as_dict() | {"message": message})

    def add_rows(self, kinds: _Kinds, batch: pa.RecordBatch | pa.Table, *, malformed: bool) -> None:
        """Take in faults of a batch's rows, whose places are named by region and season."""
        self.malformed |= malformed
        header = Header.of(batch.schema.names)
        for kind, (count, first) in kinds.found.items():
            self.counts[kind] += count
            known = self.examples.setdefault(kind, [])
            known += [_sentence(fault, batch, header) for fault in first[: EXAMPLES - len(known)]]

    def merge(self, other: "Found") -> None:
        """Take in those of other rows."""
        self.malformed |= other.malformed
        self.counts.update(other.counts)
        for kind, first in other.examples.items():
            known = self.examples.setdefault(kind, [])
            known += first[: EXAMPLES - len(known)]
        for message, fault in other.whole.items():
            if len(self.whole) < MAX_ERRORS:
                self.whole.setdefault(message, fault)

    def raise_if_any(self) -> None:
        """Raise what was found.

        Raises:
            MalformedInput: a number is not finite, or something cannot be read.
            InvalidInput: all can be read, and something is wrong.
        """
        if not self:
            return
        of_wholes = [FieldError(tuple(fault["loc"]), fault["message"], fault["code"]) for fault in self.whole.values()]
        kinds = [[FieldError((kind[0],), text, kind[1]) for text in first] for kind, first in self.examples.items()]
        of_rows = [fault for fault in chain.from_iterable(zip_longest(*kinds)) if fault is not None]
        errors = [*of_wholes, *of_rows]
        least = "at least " if len(of_wholes) >= MAX_ERRORS else ""
        more = f" (and {least}{len(of_wholes) - 1} more)" if len(of_wholes) > 1 else ""
        told = errors[0].message + more if of_wholes else self._counted()
        raise (MalformedInput if self.malformed else InvalidInput)(told, errors[:MAX_ERRORS])

    def _counted(self) -> str:
        """Say how many values are wrong, column by column; one alone is told as it is."""
        total = self.counts.total()
        if total == 1:
            ((column, _), (text,)) = next(iter(self.examples.items()))
            return f"{column}: {text}"
        kinds = [
            f"{count:,} of {column} ({code.replace('_', ' ')})" for (column, code), count in self.counts.most_common()
        ]
        return f"{total:,} values cannot be learned: {', '.join(kinds)}; nothing is learned of any row"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        kinds = [[*kind, count, self.examples.get(kind, [])] for kind, count in self.counts.items()]
        return {"malformed": self.malformed, "kinds": kinds, "whole": self.whole}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Found":
        """Return what `as_dict` has described."""
        kinds = {(column, code): (count, first) for column, code, count, first in described["kinds"]}
        counts = Counter({kind: count for kind, (count, _) in kinds.items()})
        examples = {kind: list(first) for kind, (_, first) in kinds.items()}
        return cls(counts, examples, dict(described["whole"]), described["malformed"])


def _sentence(fault: FieldError, batch: pa.RecordBatch | pa.Table, header: Header) -> str:
    """Say what is wrong, and where: a row has no number in a table that many machines read."""
    row, column = int(fault.loc[0]), str(fault.loc[1])
    named = {name: _value(batch, header, row, name) for name in (*TEXT_COLUMNS, column)}
    place = [f"{name} {_shown(named[name])}" for name in TEXT_COLUMNS if named[name] is not None]
    problem = fault.message.partition(": ")[2]
    value = f"{_shown(named[column])}: " if column in (*TEXT_COLUMNS, *OUTCOME_COLUMNS) else ""
    return f"{', '.join(place) or 'a row without region and season'}: {value}{problem}"


def _value(batch: pa.RecordBatch | pa.Table, header: Header, row: int, name: str) -> Any:
    if name not in header.names:
        return None
    value = batch.column(header.names.index(name))[row]
    if not value.is_valid:
        return None
    try:
        return value.value.as_py() if isinstance(value, pa.ExtensionScalar) else value.as_py()
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def tables(
    batches: Iterable[pa.RecordBatch | pa.Table], reading: Reading, found: Found, where: str = ""
) -> Iterator[Table]:
    """Yield batches as validated tables; those with a fault are left out, and what is wrong is added to ``found``.

    ``where``: what the batches are of, if that is to be told with what is wrong with their columns.
    """
    is_first = reading.crops is None
    for batch in batches:
        kinds = _Kinds()
        try:
            table = observations_of(batch, reading=reading, faults=kinds)
            if is_first and len(table):
                check_repeats_of_weather(table)
                is_first = False
        except InputError as error:
            if not kinds.found:
                found.add(error, where)
                return  # the others have the same columns
            found.add_rows(kinds, batch, malformed=isinstance(error, MalformedInput))
        else:
            yield table


def check_columns(schema: pa.Schema, reading: Reading = AS_IT_IS) -> None:
    """Check columns before a row is read.

    Raises:
        InvalidInput: one is missing, doubled, of another type, or no crop's.
    """
    observations_of(schema.empty_table(), reading=reading)


def used(names: Iterable[str], reading: Reading = AS_IT_IS) -> list[str]:
    """Return the columns that are learned from, of all that there are.

    Raises:
        InvalidInput: there is no crop among them.
    """
    header = Header.of(list(names))
    known = {*TEXT_COLUMNS, *OUTCOME_COLUMNS, *FEATURE_NAMES, *crops_of(header, reading)}
    return [sent for sent, name in zip(header.sent, header.names, strict=True) if name in known]


def in_parts(batches: Iterable[pa.RecordBatch], rows: int = PART_ROWS) -> Iterator[pa.RecordBatch | pa.Table]:
    """Yield the same rows in batches of a size that is quickly learned, where they have the same columns."""
    waiting: list[pa.RecordBatch] = []
    for whole in batches:
        for batch in (whole.slice(start, rows) for start in range(0, len(whole), rows)):
            is_other = bool(waiting) and batch.schema != waiting[0].schema
            if waiting and (is_other or sum(map(len, waiting)) + len(batch) > rows):
                yield _joined(waiting)
                waiting = []
            waiting.append(batch)
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch | pa.Table:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks()


@dataclass
class Learned:
    """What has been learned of some rows: ``sums``, or nothing where there are faults.

    ``mistaken``: by feature, how many numbers look as if they were in another unit (`Feature.mistaken`).
    """

    sums: Sums = field(default_factory=Sums)
    found: Found = field(default_factory=Found)
    mistaken: Counter[str] = field(default_factory=Counter)

    def add(self, table: Table) -> None:
        """Learn some more rows."""
        try:
            self.sums.add(table)
        except InputError as error:
            self.found.add(error)
        self.sums.held = []
        for feature, column in zip(WEATHER, table.weather.T, strict=True):
            self.mistaken[feature.name] += feature.mistaken(column)

    def record(self) -> pa.RecordBatch:
        """Return it as a row of RESULT."""
        faults = json.dumps({**self.found.as_dict(), "mistaken": self.mistaken})
        row = [_packed(self.sums)], [self.sums.rows], [self.sums.unreported], [faults]
        return pa.record_batch([pa.array(column, kind) for column, kind in zip(row, RESULT.types, strict=True)], RESULT)

    def join(self, records: pa.RecordBatch | pa.Table) -> None:
        """Take in what has been learned of other rows."""
        for record in records.to_pylist():
            faults = json.loads(record["faults"])
            self.found.merge(Found.from_dict(faults))
            self.mistaken.update(faults["mistaken"])
            self.sums.join(*_unpacked(record["sums"]), record["rows"], record["unreported"])


def learned(batches: Iterable[pa.RecordBatch], reading: Reading = AS_IT_IS) -> Iterator[pa.RecordBatch]:
    """Learn batches, and yield what they say as one row of RESULT, whatever is wrong with them."""
    so_far = Learned()
    for table in tables(in_parts(batches), reading, so_far.found):
        if not so_far.found:
            so_far.add(table)
    yield so_far.record()


def put_together(records: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Merge what `learned` has yielded of many parts into one row of the same."""
    so_far = Learned()
    for batch in records:
        so_far.join(batch)
    yield so_far.record()


def _packed(sums: Sums) -> bytes:
    """Return moments and cells as NumPy's archive of arrays: executors have no other library for arrays."""
    moments, cells = sums.moments(), sums.cells()
    arrays: dict[str, Any] = {"crops": packed_names(list(moments))}
    for number, crop in enumerate(moments):
        arrays |= moments[crop].to_arrays(f"{number}/moments/") | cells[crop].to_arrays(f"{number}/cells/")
        arrays[f"{number}/regions"] = packed_names(list(cells[crop].regions))
        arrays[f"{number}/seasons"] = packed_names(list(cells[crop].seasons))
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def _unpacked(content: bytes) -> tuple[dict[str, FoldedMoments], list[tuple[str, Cells]]]:
    """Return moments and cells by crop."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    moments, cells = {}, []
    for number, crop in enumerate(unpacked_names(arrays["crops"])):
        regions, seasons = (tuple(unpacked_names(arrays[f"{number}/{name}"])) for name in ("regions", "seasons"))
        moments[crop] = FoldedMoments.from_arrays(f"{number}/moments/", arrays)
        cells.append((crop, Cells.from_arrays(f"{number}/cells/", arrays, regions, seasons)))
    return moments, cells
