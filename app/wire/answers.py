"""What is answered: a question's predictions in any of the formats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.api.helper import MOST_HERE
from app.api.large import Parts
from app.api.negotiation import ARROW, CSV
from app.data.tables import safe_cell
from app.model.linear import LinearModel, Yields
from app.model.moments import Array
from app.model.warning_texts import warnings_for_many
from app.model.weather import FEATURE_NAMES
from app.serving.drift import Usage
from app.wire.questions import Question, Regions, read

ENDS = ("tons", "low", "high")
"""What is said of a crop: the prediction, and both ends of its interval."""


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


def reply(body: bytes, options: PredictOptions) -> tuple[bytes | Parts, Usage]:
    """Read a question and return its answer, and what is taken down of it.

    Raises:
        InputError: the question cannot be answered.
    """
    question = read(body, options.sent, options.max_rows)
    answer = Answer(question, options.version, options.model, options.level, explain=options.explain)
    return answer.write(options.wanted), answer.usage()


def reply_here(body: bytes, options: PredictOptions) -> tuple[bytes | Parts, Usage] | None:
    """Do as `reply`, or return None where Arrow has more in it than a few plain columns, whose reading copies nothing.

    Dictionaries, many batches and many predictions are worked on aside, where they cannot take this process's memory.
    """
    if options.sent == ARROW:
        from app.wire.arrow_stream import rows_if_plain  # noqa: PLC0415 - pyarrow takes 50 MB, and few ask in Arrow

        rows = rows_if_plain(body)
        if rows is None or rows * len(options.model.crops) > MOST_HERE:
            return None
    return reply(body, options)


def reply_aside(body: bytes, options: PredictOptions) -> tuple[bytes | Parts, Usage]:
    """Do as `reply`; of the weather only the moments are taken down, which are little enough to cross to the server."""
    content, usage = reply(body, options)
    return content, usage.shrunk()


class Answer:
    """A question's predictions, in whichever shape they are wanted."""

    def __init__(self, question: Question, version: str, model: LinearModel, level: float, *, explain: bool) -> None:
        self._question = question
        self._version = version
        self._model = model
        self._yields: Yields = model.yields(question.weather, level)
        self._explain = explain

    def usage(self) -> Usage:
        """Return what is taken down of it."""
        return Usage(self._question.weather, len(self._question), int(np.count_nonzero(self._yields.extrapolated)))

    def write(self, media_type: str) -> bytes | Parts:
        """Return it in a format."""
        if media_type == CSV:
            return self._csv()
        return self._arrow() if media_type == ARROW else self._json()

    def _json(self) -> bytes:
        """Return it in the shape of the question: of a CSV one as several regions, of an Arrow one as columns."""
        if self._question.shape == "columns":
            return to_bytes(self._columns())
        predictions = self._rows()
        version = {"model_version": self._version}
        if self._question.shape == "one":
            return to_bytes(version | predictions[0])
        return to_bytes(version | {"predictions": predictions})

    def _warnings(self) -> list[list[str]]:
        return warnings_for_many(self._model, self._question.weather, self._yields)

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """Which regions are outside the training range, shape (n,)."""
        return self._yields.extrapolated

    def tons(self) -> dict[str, dict[str, Array | None]]:
        """Return each crop's tons, low and high, shape (n,), clipped: tons cannot be negative."""
        return {crop: {end: self.column(crop, end) for end in ENDS} for crop in self._yields.tons}

    def column(self, crop: str, end: str) -> Array | None:
        """Return one crop's tons, low or high, shape (n,); None without an interval."""
        tons, margin = self._yields.tons[crop], self._yields.margins[crop]
        if end == "tons":
            return _clipped(tons)
        if margin is None:
            return None
        return _clipped(tons - margin if end == "low" else tons + margin)

    def _explanations(self) -> dict[str, dict[str, Any]]:
        if not self._explain:
            return {crop.crop: {} for crop in self._model.crops}
        return {
            crop.crop: {
                "baseline": crop.baseline,
                "contributions": dict(zip(FEATURE_NAMES, crop.contributions(self._question.weather), strict=True)),
            }
            for crop in self._model.crops
        }

    def _columns(self) -> dict[str, Any]:
        unknown = [None] * len(self._question)
        explanations = self._explanations()
        return {
            "model_version": self._version,
            "region": list(self._question.regions) if self._question.has_regions else None,
            "yields": {
                crop: {name: unknown if column is None else column for name, column in columns.items()}
                | explanations[crop]
                for crop, columns in self.tons().items()
            },
            "extrapolated": self._yields.extrapolated,
            "warnings": self._warnings(),
        }

    def _rows(self) -> list[dict[str, Any]]:
        crops = list(self._model.crops)
        names = [crop.crop for crop in crops]
        explanations = self._explanations()
        tons = self.tons()
        cells = [self._cells(tons[name], explanations[name]) for name in names]
        rows = zip(*cells, strict=True)
        told = zip(self._question.regions, rows, self._yields.extrapolated.tolist(), self._warnings(), strict=True)
        return [
            {
                "region": region,
                "yields": dict(zip(names, row, strict=True)),
                "extrapolated": extrapolated,
                "warnings": warnings,
            }
            for region, row, extrapolated, warnings in told
        ]

    def _cells(self, columns: dict[str, Array | None], explanation: dict[str, Any]) -> list[dict[str, Any]]:
        """Return one crop's object for each region."""
        lists = (_listed(column, len(self._question)) for column in columns.values())
        cells: list[dict[str, Any]] = [
            {"tons": tons, "low": low, "high": high} for tons, low, high in zip(*lists, strict=True)
        ]
        if explanation:
            parts = zip(*(column.tolist() for column in explanation["contributions"].values()), strict=True)
            for cell, part in zip(cells, parts, strict=True):
                cell["baseline"] = explanation["baseline"]
                cell["contributions"] = dict(zip(FEATURE_NAMES, part, strict=True))
        return cells

    def _table(self) -> dict[str, Any]:
        """Return the question's columns, then each crop's, then extrapolated and model_version."""
        question = self._question
        sent: dict[str, Any] = {"region": question.regions, **dict(zip(FEATURE_NAMES, question.weather, strict=True))}
        table = {name: sent[name] for name in question.header}
        for crop, columns in self.tons().items():
            table |= {f"{crop}_{name}": column for name, column in columns.items()}
        return table | {"extrapolated": self._yields.extrapolated, "model_version": self._version}

    def _csv(self) -> bytes:
        rows = len(self._question)
        columns = self._table()
        cells = [_texts(columns[name], rows) for name in columns]
        lines = [",".join(map(_quoted, map(safe_cell, columns))), *map(",".join, zip(*cells, strict=True)), ""]
        return "\r\n".join(lines).encode()

    def _arrow(self) -> Parts:
        from app.wire.arrow_stream import write  # noqa: PLC0415 - pyarrow takes 50 MB, and few ask in Arrow

        return write(self._table(), len(self._question))


def to_bytes(answer: dict[str, Any]) -> bytes:
    """Return an answer as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _listed(column: Array | None, rows: int) -> list[float] | list[None]:
    return [None] * rows if column is None else column.tolist()


def _texts(column: Array | Regions | str | None, rows: int) -> list[str]:
    """Return a column's cells of CSV."""
    if column is None:
        return [""] * rows
    if isinstance(column, str):
        return [column] * rows
    if isinstance(column, np.ndarray):
        # A JSON list of numbers or booleans, without its brackets: several times as quick as one cell after another.
        return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    return [_quoted(safe_cell(text)) if text else "" for text in column]


def _quoted(cell: str) -> str:
    """Return a cell that RFC 4180 reads back as one."""
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in ',"\r\n') else cell


def _clipped(tons: Array) -> Array:
    if tons.min() > 0.0:
        return tons
    tons = np.maximum(tons, 0.0)
    tons += 0.0  # -0 becomes 0
    return tons
