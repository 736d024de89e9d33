"""What batches add up to: the moments, cells and records of those in use, merged, and what they are."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Self, TypeVar

from app.data.ranges import Range
from app.model.cells import Cells
from app.model.folds import FoldedMoments
from app.model.seasons import MOST_SEASONS
from app.model.sketch import Sketch

DIGEST_BITS = 256
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Run:
    """What is said of batches that were stored one after the other, of which some may be withdrawn.

    ``count``: how many are in use, with so many ``rows``, of which ``no_cells`` are of batches without cells.
    ``digest``: the sum of the sha256 of their content, modulo 2^256: the same in whatever order they are added up.
    ``first`` and ``last``: sequences of the first and the last batch, in use or not; 0 if there is none. ``ranges``:
    those of the batches in use; between two of them are withdrawn ones. ``unasked``: the ids of those without a record.
    ``many_seasons``: the crops whose record has so many seasons that they are none.
    """

    count: int = 0
    rows: int = 0
    no_cells: int = 0
    digest: int = 0
    first: int = 0
    last: int = 0
    ranges: tuple[Range, ...] = ()
    unasked: tuple[str, ...] = ()
    many_seasons: tuple[str, ...] = ()

    @classmethod
    def merge(cls, runs: Iterable[Self]) -> Self:
        """Put together runs of which each begins behind the one before it."""
        present = [run for run in runs if run.last]
        if not present:
            return cls()
        return cls(
            sum(run.count for run in present),
            sum(run.rows for run in present),
            sum(run.no_cells for run in present),
            sum(run.digest for run in present) % 2**DIGEST_BITS,
            present[0].first,
            present[-1].last,
            tuple(_joined(present)),
            tuple(batch for run in present for batch in run.unasked),
            tuple(dict.fromkeys(crop for run in present for crop in run.many_seasons)),
        )

    def with_digest(self, digest: str | None) -> Self:
        """Return it with the content of one more batch in its digest; None: of none."""
        added = 0 if digest is None else int.from_bytes(hashlib.sha256(digest.encode()).digest(), "big")
        return replace(self, digest=(self.digest + added) % 2**DIGEST_BITS)

    @property
    def data_digest(self) -> str:
        """The digest as text."""
        return f"{self.digest:0{DIGEST_BITS // 4}x}"

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self) | {"digest": self.data_digest}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` returned.

        Raises:
            ValueError, TypeError, KeyError: it is not that.
        """
        told = json.loads(text)
        told["digest"] = int(told["digest"], 16)
        told["ranges"] = tuple((int(first), int(last)) for first, last in told["ranges"])
        return cls(**(told | {name: tuple(told[name]) for name in ("unasked", "many_seasons")}))


def _joined(runs: Sequence[Run]) -> Iterator[Range]:
    """Yield the ranges of all runs; two are one where no withdrawn batch lies between them."""
    open_: Range | None = None
    end = 0
    for run in runs:
        for first, last in run.ranges:
            if open_ is not None and open_[1] == end and first == run.first:
                open_ = open_[0], last
            else:
                if open_ is not None:
                    yield open_
                open_ = first, last
        end = run.last
    if open_ is not None:
        yield open_


@dataclass(frozen=True, eq=False, slots=True)
class Merged:
    """What is learned of a ``run`` of batches: of those in use, by crop."""

    run: Run
    moments: dict[str, FoldedMoments] = field(default_factory=dict)
    cells: dict[str, Cells] = field(default_factory=dict)
    record: dict[str, Sketch] = field(default_factory=dict)

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """Merge what is learned of runs of which each begins behind the one before it.

        Of the frontiers the outermost rows are kept, as of a file that is read in parts.
        """
        run = Run.merge(part.run for part in parts)
        moments = {crop: FoldedMoments.merge(of).trimmed() for crop, of in by_crop(part.moments for part in parts)}
        cells = {crop: Cells.merge(of) for crop, of in by_crop(part.cells for part in parts)}
        record, many = {}, dict.fromkeys(run.many_seasons)
        for crop, sketches in by_crop(part.record for part in parts):
            record[crop] = Sketch.merge(sketches)
            if len({season for sketch in sketches for season in sketch.seasons}) > MOST_SEASONS:
                many[crop] = None
        return cls(replace(run, many_seasons=tuple(many)), moments, cells, record)


def by_crop(parts: Iterable[dict[str, Part]]) -> Iterator[tuple[str, list[Part]]]:
    """Yield each crop, in the order in which they first appear, with what all parts say of it."""
    crops: dict[str, list[Part]] = {}
    for part in parts:
        for crop, of in part.items():
            crops.setdefault(crop, []).append(of)
    yield from crops.items()
