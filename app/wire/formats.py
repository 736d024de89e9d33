"""The formats of POST /predict, one row each: how a body is read, how an answer is written.

A question in any of them is answered in any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from app.data.tables import Reading, asked_of
from app.model.linear import LinearModel
from app.serving.drift import Usage
from app.wire import csv_body, geojson, json_body
from app.wire.answers import Answer
from app.wire.media_types import ARROW, CSV, GEOJSON, JSON, XLSX
from app.wire.parts import MOST_HERE, Parts
from app.wire.questions import PLAIN, BodyOptions, Question


@dataclass(frozen=True, slots=True)
class Format:
    """``content_type``: of an answer. ``read``: of a body, the most regions that it may have, and the query."""

    content_type: str
    read: Callable[[bytes, int, BodyOptions], Question]
    write: Callable[[Answer], bytes | Parts]


def _read_workbook(body: bytes, max_rows: int, options: BodyOptions) -> Question:
    from app.data.workbook import sheet_of  # noqa: PLC0415 - few send one

    options.check_of_rows()
    return csv_body.question_of(asked_of(sheet_of(body, max_rows), Reading(units=options.units, needs=options.needs)))


def _read_arrow(body: bytes, max_rows: int, options: BodyOptions) -> Question:
    from app.wire import arrow_stream  # noqa: PLC0415 - pyarrow takes 50 MB, and few ask in Arrow

    return arrow_stream.read(body, max_rows, options)


def _write_arrow(answer: Answer) -> Parts:
    from app.wire import arrow_stream  # noqa: PLC0415 - as above

    return arrow_stream.write(answer.table(), len(answer.question))


FORMATS = {
    JSON: Format(JSON, json_body.read, json_body.write),
    CSV: Format(f"{CSV}; charset=utf-8", csv_body.read, csv_body.write),
    GEOJSON: Format(GEOJSON, geojson.read, geojson.write),
    ARROW: Format(ARROW, _read_arrow, _write_arrow),
}
"""By content type; the first is the default."""
READ: dict[str, Callable[[bytes, int, BodyOptions], Question]] = {
    **{media_type: known.read for media_type, known in FORMATS.items()},
    XLSX: _read_workbook,
}
"""How bodies are read; a workbook is answered as CSV."""


def answered_in(sent: str) -> tuple[str, ...]:
    """Return the content types that a question may be answered in, the first where nobody asks for another one."""
    first = CSV if sent == XLSX else sent
    return first, *(other for other in FORMATS if other != first)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How a question is to be read and answered: its content type and the answer's, the version, and the query."""

    sent: str
    wanted: str
    max_rows: int
    version: str
    model: LinearModel
    level: float
    explain: bool
    body: BodyOptions = PLAIN
    warnings: bool = False
    """Tables have a column of warnings."""


def reply(body: bytes, options: PredictOptions) -> tuple[bytes | Parts, Usage]:
    """Read a question and return its answer, and what is recorded of it.

    Raises:
        InputError: the question cannot be answered.
    """
    asked = replace(options.body, needs=options.model.needed_by)
    question = READ[options.sent](body, options.max_rows, asked)
    answer = Answer(
        question, options.version, options.model, options.level, explain=options.explain, warnings=options.warnings
    )
    return FORMATS[options.wanted].write(answer), answer.usage()


def reply_here(body: bytes, options: PredictOptions) -> tuple[bytes | Parts, Usage] | None:
    """Do as `reply`, or return None where Arrow has more in it than a few plain columns, whose reading copies nothing.

    Dictionaries, many batches and many predictions are worked on in the helper process, where they cannot take this
    process's memory.
    """
    if options.sent == ARROW:
        from app.wire.arrow_stream import rows_if_plain  # noqa: PLC0415 - as above

        rows = rows_if_plain(body)
        if rows is None or rows * len(options.model.crops) > MOST_HERE:
            return None
    return reply(body, options)
