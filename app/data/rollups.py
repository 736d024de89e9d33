"""Roll-ups: what runs of batches add up to, so that a training reads a few of them, however many batches there are.

They form a tree: node (level, number) holds the batches in use with sequences in [number · F^level, (number + 1) ·
F^level), F being 8, merged from its eight children; those of level 1 from the batches. A run is rolled up once it
lies well below the newest sequence. Where a batch is withdrawn, restored, or its record found, the nodes above it are
erased in the same transaction. Nothing is ever subtracted, and no node holds what the batches do not: one that is
missing or damaged is passed over, for those below it, and made anew.
"""

import hashlib
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import sqlalchemy as sql
from safetensors import SafetensorError
from sqlalchemy.engine import Connection

from app.data import stored
from app.data.batch_blobs import checked_cells, checked_moments, checked_record
from app.data.learned import Learned
from app.data.merged import Merged, Run
from app.data.packed import packed_moments, unpacked_moments
from app.data.ranges import Range, Ranges
from app.data.region_means import RegionMeans
from app.data.stored import BATCHES, OBSERVATIONS, ROLLUPS, checksum
from app.errors import StoreDamaged
from app.model.moments import Moments
from app.model.weather import FEATURE_NAMES

FAN_OUT = 8
"""Children of a node. Batches that are not rolled up yet cost a training most: more children, more of these."""
MARGIN = 8
"""So many of the newest sequences are not rolled up: a batch of theirs might still be on its way."""
HELD = 256
"""Parts that are held before they are merged, where runs are not rolled up."""
AT_A_TIME = 512
"""Nodes, or sequences of batches, that are asked for in one query."""
ANEW = "withdraw one of its batches and restore it, and the next training makes it anew"
LARGEST = 2**62
"""No sequence comes near to it."""

Content = TypeVar("Content")

logger = logging.getLogger("orchard.data")


class Node(NamedTuple):
    """A node's place in the tree."""

    level: int
    number: int

    @property
    def span(self) -> Range:
        """Its sequences, from the first to the last."""
        size = FAN_OUT**self.level
        return self.number * size, (self.number + 1) * size - 1

    @property
    def children(self) -> list["Node"]:
        """The nodes below it, none of a node of level 1."""
        if self.level == 1:
            return []
        return [Node(self.level - 1, self.number * FAN_OUT + child) for child in range(FAN_OUT)]

    def __str__(self) -> str:
        first, last = self.span
        return f"the roll-up of batches {first} to {last} (level {self.level})"


class Part(NamedTuple):
    """What some batches add up to; ``is_old``: whether a version has learned them, all of them or none."""

    is_old: bool
    merged: Merged


@dataclass(frozen=True, eq=False, slots=True)
class InUse:
    """All batches in use, as few ``parts``, in the order in which they were stored.

    ``new``: the sequences of those that the version has not learned; ``damaged``: nodes that were passed over.
    """

    parts: list[Part]
    new: Ranges
    damaged: list[Node]

    def merged(self, *, old: bool) -> list[Merged]:
        """Return the parts that the version has learned, or the others."""
        return [part.merged for part in self.parts if part.is_old is old]

    @property
    def run(self) -> Run:
        """What all the batches are."""
        return Run.merge(part.merged.run for part in self.parts)


class _Damaged(Exception):
    """A node's content is not what was written."""

    def __init__(self, node: Node) -> None:
        super().__init__(str(node))
        self.node = node


class Rollups:
    """The roll-ups of a database, within a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._damaged: dict[Node, None] = {}

    def in_use(self, learned: Learned) -> InUse:
        """Read what all batches in use add up to, apart what a version has ``learned`` and what not.

        Raises:
            StoreDamaged: a batch is not what was written.
        """
        ranges = learned.ranges.also(self.sequences(learned.ids))
        while True:
            try:
                return self._in_use(ranges)
            except _Damaged as error:
                self._pass_over(error.node)

    def alone(self, sequence: int | None, learned: Learned) -> InUse:
        """Read one batch, as if it were the only one in use; None: none is.

        Raises:
            StoreDamaged: the batch is not what was written.
        """
        if sequence is None:
            return InUse([], Ranges(), [])
        old = learned.ranges.also(self.sequences(learned.ids))
        (row,) = self._rows([(sequence, sequence)])
        _check(row)
        merged = _leaf(row, in_use=True)
        is_old = _is_old(merged.run, old)
        return InUse([Part(is_old, merged)], Ranges(() if is_old else merged.run.ranges), [])

    def sequences(self, ids: Iterable[str]) -> list[int]:
        """Return the sequences of the batches of these ids that are in this database."""
        query = sql.select(BATCHES.c.sequence)
        parts = (query.where(BATCHES.c.id.in_(some)) for some in _some(sorted(ids)))
        return [sequence for part in parts for sequence in self._connection.execute(part).scalars()]

    def region_means(self, only: Iterable[Range] | None = None) -> RegionMeans:
        """Return the mean weather of each region's rows, of all batches in use.

        ``only``: of the batches with these sequences alone, in use or not.
        """
        if only is not None:
            return self._region_means(only, in_use=False)
        nodes, leaves = self._split(lambda _: True)
        parts = []
        for node, row in self._contents(nodes):
            try:
                parts.append(_checked(node, row.regions, row.regions_sha256, RegionMeans.from_bytes))
            except _Damaged as error:
                self._pass_over(error.node)
                return self.region_means()
        return RegionMeans.merge([*parts, self._region_means(leaves)])

    def due(self) -> list[Node]:
        """Return the nodes that a training reads, or has to make for that, and that are missing; children first."""
        wanted = _cover(_end(self._newest()))
        there = self._runs(wanted)
        return [needed for node in wanted if node not in there for needed in self._missing(node)]

    def _missing(self, node: Node) -> Iterator[Node]:
        there = self._runs(node.children)
        for child in node.children:
            if child not in there:
                yield from self._missing(child)
        yield node

    def make(self, nodes: Iterable[Node]) -> None:
        """Make nodes, children before parents. What cannot be made is left: a batch, or a child, is not as written.

        The transaction writes: what it reads of the batches nobody changes until it ends.
        """
        stored.hold(self._connection, stored.TRAINING_LOCK)
        for node in nodes:
            try:
                made = self._made(node)
            except (StoreDamaged, _Damaged) as error:
                logger.warning("%s is not made: %s", node, error)
                continue
            if made is not None:
                self.erase([node])
                self._connection.execute(sql.insert(ROLLUPS).values(**_packed(node, *made)))

    def erase(self, nodes: Iterable[Node]) -> None:
        """Erase nodes, to be made anew."""
        for node in nodes:
            self._connection.execute(sql.delete(ROLLUPS).where(_is(node)))

    def erase_above(self, sequence: int) -> None:
        """Erase the nodes that hold a batch, which is changed."""
        above = (Node(level, sequence // FAN_OUT**level) for level in _levels())
        self._connection.execute(sql.delete(ROLLUPS).where(sql.or_(*map(_is, above))))

    def faults(self) -> Iterator[str]:
        """Yield a sentence for each node that is damaged, or is not what the batches add up to."""
        query = sql.select(ROLLUPS.c.level, ROLLUPS.c.number).order_by(ROLLUPS.c.level, ROLLUPS.c.number)
        for level, number in self._connection.execute(query).all():
            node = Node(level, number)
            try:
                found = self._whole(node)
            except _Damaged:
                found = None
            if found is None:
                yield f"{node} is damaged in the database: it is passed over; {ANEW}"
                continue
            try:
                made = self._made(node)
            except (StoreDamaged, _Damaged):
                continue  # of which is told
            if made is not None and not _is_like(found, made[0]):
                yield f"{node} is not what its batches add up to: {ANEW}"

    def _newest(self) -> int:
        return int(self._connection.execute(sql.select(sql.func.max(BATCHES.c.sequence))).scalar() or 0)

    def _split(self, is_one: Callable[[Run], bool]) -> tuple[dict[Node, Run], Ranges]:
        """Return the highest nodes that are there and ``is_one`` side, and the sequences that are in none of them."""
        newest = self._newest()
        end = _end(newest)
        wanted = _cover(end)
        nodes: dict[Node, Run] = {}
        leaves = [(end, newest)]
        while wanted:
            there = self._runs(wanted)
            below: list[Node] = []
            for node in wanted:
                if node in there and is_one(there[node]):
                    nodes[node] = there[node]
                elif node.level == 1:
                    leaves.append(node.span)
                else:
                    below += node.children
            wanted = below
        return nodes, Ranges((first, last) for first, last in leaves if first <= last)

    def _in_use(self, old: Ranges) -> InUse:
        def is_one(run: Run) -> bool:
            return _is_old(run, old) or not any(old.touch(*part) for part in run.ranges)

        nodes, leaves = self._split(is_one)
        parts = _Parts()
        new: list[Range] = []
        for is_old, merged in _in_order(self._nodes(nodes), self._leaves(leaves), old):
            parts.add(is_old, merged)
            if not is_old:
                new += merged.run.ranges
        return InUse(parts.all(), Ranges(new), list(self._damaged))

    def _nodes(self, nodes: dict[Node, Run]) -> Iterator[tuple[int, Merged]]:
        """Yield nodes in order, by their first sequence."""
        empty = [(node.span[0], Merged(run)) for node, run in nodes.items() if not run.count]
        full = (
            (node.span[0], _unpacked(node, nodes[node], row))
            for node, row in self._contents(node for node, run in nodes.items() if run.count)
        )
        yield from sorted([*empty, *full], key=lambda each: each[0])

    def _contents(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, Any]]:
        for some in _some(list(nodes)):
            for row in self._connection.execute(sql.select(ROLLUPS).where(_among(some))):
                yield Node(row.level, row.number), row

    def _runs(self, nodes: Sequence[Node]) -> dict[Node, Run]:
        """Return what is said of these nodes, as far as they are there."""
        columns = [ROLLUPS.c[name] for name in (*stored.CHECKED_ROLLUP, "checksum")]
        found = {}
        for some in _some([node for node in nodes if node not in self._damaged]):
            for row in self._connection.execute(sql.select(*columns).where(_among(some))):
                node = Node(row.level, row.number)
                try:
                    found[node] = _run(node, row)
                except _Damaged:
                    self._pass_over(node)
        return found

    def _pass_over(self, node: Node) -> None:
        logger.warning("%s is damaged in the database: it is passed over, and made anew", node)
        self._damaged[node] = None

    def _leaves(self, ranges: Iterable[Range]) -> Iterator[tuple[int, Merged]]:
        """Yield the batches in these ranges in order, by their sequence.

        Raises:
            StoreDamaged: one is not what was written.
        """
        for row in self._rows(ranges):
            _check(row)
            yield row.sequence, _leaf(row)

    def _rows(self, ranges: Iterable[Range]) -> Iterator[Any]:
        query = sql.select(BATCHES).order_by(BATCHES.c.sequence)
        for first, last in ranges:
            for start in range(first, last + 1, AT_A_TIME):
                end = min(last, start + AT_A_TIME - 1)
                yield from self._connection.execute(query.where(BATCHES.c.sequence.between(start, end)))

    def _made(self, node: Node) -> tuple[Merged, RegionMeans] | None:
        """Return what a node is to hold; None where a batch is not vouched for, or a child is missing."""
        if node.level > 1:
            children = [self._whole(child) for child in node.children]
            present = [child for child in children if child is not None]
            if len(present) < FAN_OUT:
                return None
            return Merged.merge([child for child, _ in present]), RegionMeans.merge(means for _, means in present)
        rows = list(self._rows([node.span]))
        if any(row.checksum is None for row in rows):
            return None  # of version 0.1.0, which may withdraw it and erase no node
        leaves = [merged for _, merged in self._leaves([node.span])]
        return Merged.merge(leaves), self._region_means([node.span])

    def _whole(self, node: Node) -> tuple[Merged, RegionMeans] | None:
        """Return what a node holds, None where it is not there.

        Raises:
            _Damaged: it is not what was written.
        """
        row = self._connection.execute(sql.select(ROLLUPS).where(_is(node))).first()
        if row is None:
            return None
        regions = _checked(node, row.regions, row.regions_sha256, RegionMeans.from_bytes)
        return _unpacked(node, _run(node, row), row), regions

    def _region_means(self, ranges: Iterable[Range], *, in_use: bool = True) -> RegionMeans:
        columns = [OBSERVATIONS.c[name] for name in FEATURE_NAMES]
        query = (
            sql.select(
                OBSERVATIONS.c.region, sql.func.count(), *map(sql.func.count, columns), *map(sql.func.avg, columns)
            )
            .join(BATCHES, OBSERVATIONS.c.batch == BATCHES.c.sequence)
            .where(BATCHES.c.withdrawn.is_(None) if in_use else sql.true())
            .group_by(OBSERVATIONS.c.region)
            .order_by(OBSERVATIONS.c.region)
        )
        parts = (query.where(OBSERVATIONS.c.batch.between(first, last)) for first, last in ranges)
        return RegionMeans.merge([RegionMeans.of(self._connection.execute(part).all()) for part in parts])


class _Parts:
    """Parts as they come: merged by the way, side by side, where they are many."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._most = HELD

    def add(self, is_old: bool, merged: Merged) -> None:
        if self._parts and not merged.run.count:
            is_old = self._parts[-1].is_old  # withdrawn batches are on neither side: they need not part two that are
        self._parts.append(Part(is_old, merged))
        if len(self._parts) > self._most:
            self._merge()
            self._most = max(HELD, 2 * len(self._parts))  # where the sides take turns little is merged at a time

    def all(self) -> list[Part]:
        return self._parts

    def _merge(self) -> None:
        groups: list[tuple[bool, list[Merged]]] = []
        for part in self._parts:
            if not groups or groups[-1][0] is not part.is_old:
                groups.append((part.is_old, []))
            groups[-1][1].append(part.merged)
        self._parts = [Part(is_old, Merged.merge(group)) for is_old, group in groups]


def _in_order(
    nodes: Iterator[tuple[int, Merged]], leaves: Iterator[tuple[int, Merged]], old: Ranges
) -> Iterator[tuple[bool, Merged]]:
    """Yield nodes and batches by their sequence, with whether they are old; a withdrawn batch counts as old."""
    for _, merged in heapq.merge(nodes, leaves, key=lambda each: each[0]):
        yield _is_old(merged.run, old), merged


def _is_old(run: Run, old: Ranges) -> bool:
    return all(old.hold(*part) for part in run.ranges)


def _check(row: Any) -> None:
    stored.check(row.checksum, [getattr(row, name) for name in stored.CHECKED_ENTRY], f"batch {row.id}")


def _leaf(row: Any, *, in_use: bool = False) -> Merged:
    """Return a batch as a run of one, with ``in_use`` also a withdrawn one as if it were not."""
    if row.withdrawn is not None and not in_use:
        return Merged(Run(first=row.sequence, last=row.sequence))
    record = checked_record(row)
    run = Run(
        count=1,
        rows=row.rows,
        no_cells=row.rows if row.cells is None else 0,
        first=row.sequence,
        last=row.sequence,
        ranges=((row.sequence, row.sequence),),
        unasked=() if record is not None else (row.id,),
    )
    return Merged(run.with_digest(row.digest), checked_moments(row), checked_cells(row), record or {})


def _packed(node: Node, merged: Merged, regions: RegionMeans) -> dict[str, Any]:
    """Return the columns of a node."""
    moments, means = packed_moments(merged.moments), regions.to_bytes()
    values: dict[str, Any] = {"level": node.level, "number": node.number, "run": merged.run.to_json()}
    values |= {"moments": moments, "moments_sha256": hashlib.sha256(moments).hexdigest()}
    values |= stored.packed_cells(merged.cells) | stored.packed_record(merged.record)
    values |= {"regions": means, "regions_sha256": hashlib.sha256(means).hexdigest()}
    return values | {"checksum": checksum([values[name] for name in stored.CHECKED_ROLLUP])}


def _run(node: Node, row: Any) -> Run:
    """Return what is said of a node."""
    try:
        stored.check(row.checksum, [getattr(row, name) for name in stored.CHECKED_ROLLUP], str(node))
        return Run.from_json(row.run)
    except (StoreDamaged, ValueError, TypeError, KeyError) as error:
        raise _Damaged(node) from error


def _unpacked(node: Node, run: Run, row: Any) -> Merged:
    """Return what a node holds."""
    moments = _checked(node, row.moments, row.moments_sha256, unpacked_moments)
    has_cells = row.cells is not None or row.cells_sha256 is not None
    cells = _checked(node, row.cells, row.cells_sha256, stored.unpacked_cells) if has_cells else {}
    if run.count and not moments:
        raise _Damaged(node)
    return Merged(run, moments, cells, _checked(node, row.record, row.record_sha256, stored.unpacked_record))


def _checked(node: Node, packed: bytes | None, sha256: str | None, unpack: Callable[[bytes], Content]) -> Content:
    if packed is None or hashlib.sha256(packed).hexdigest() != sha256:
        raise _Damaged(node)
    try:
        return unpack(packed)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _Damaged(node) from error


def _is_like(found: tuple[Merged, RegionMeans], made: Merged) -> bool:
    """Say whether a node holds what it is to hold, but for rounding."""
    merged, _ = found
    if merged.run != made.run or merged.moments.keys() != made.moments.keys():
        return False
    return all(_is_alike(of.total, made.moments[crop].total) for crop, of in merged.moments.items())


def _is_alike(one: Moments, other: Moments) -> bool:
    size = float(np.max(np.abs(one.factor), initial=0.0))
    return (
        one.count == other.count
        and np.allclose(one.mean, other.mean, rtol=1e-9)
        and np.allclose(one.factor, other.factor, rtol=1e-9, atol=1e-9 * size)
    )


def _end(newest: int) -> int:
    """Return the first sequence that is not rolled up."""
    return max(0, newest - MARGIN + 1) // FAN_OUT * FAN_OUT


def _cover(end: int) -> list[Node]:
    """Return the fewest nodes that hold the sequences below ``end``, a multiple of their number of children."""
    nodes, start = [], 0
    for level in reversed(list(_levels(end))):
        size = FAN_OUT**level
        while start + size <= end:
            nodes.append(Node(level, start // size))
            start += size
    return nodes


def _levels(end: int = LARGEST) -> Iterator[int]:
    """Yield the levels of nodes of up to ``end`` sequences."""
    level = 1
    while FAN_OUT**level <= end:
        yield level
        level += 1


def _is(node: Node) -> sql.ColumnElement[bool]:
    return (ROLLUPS.c.level == node.level) & (ROLLUPS.c.number == node.number)


def _among(nodes: Sequence[Node]) -> sql.ColumnElement[bool]:
    """Select nodes, level by level."""
    levels: dict[int, list[int]] = {}
    for node in nodes:
        levels.setdefault(node.level, []).append(node.number)
    return sql.or_(*((ROLLUPS.c.level == level) & ROLLUPS.c.number.in_(of) for level, of in levels.items()))


def _some(things: Sequence[Any]) -> Iterator[Any]:
    """Yield as many as one query asks for, again and again."""
    for start in range(0, len(things), AT_A_TIME):
        yield things[start : start + AT_A_TIME]
