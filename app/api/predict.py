"""POST /predict: one region, several, columns, or CSV; the answer has the shape of the question."""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from app.api import problems
from app.api.negotiation import CSV, JSON, answer_type, body_type, json_or_csv
from app.api.schemas import (
    PREDICT_REQUEST,
    OnePrediction,
    PredictionColumns,
    RegionWeather,
    SeveralPredictions,
    SeveralRegions,
    WeatherColumns,
)
from app.api.security import read_body
from app.api.services import Used
from app.data.tables import parse_regions, safe_cell
from app.errors import TooLarge
from app.model.cautions import cautions
from app.model.linear import LinearModel, Yields
from app.model.moments import Array
from app.model.weather import NAMES
from app.serving.live import Served

router = APIRouter(tags=["predict"])

Level = Annotated[float, Query(ge=0.5, le=0.999, description="The share of harvests that an interval should cover.")]
Explain = Annotated[bool, Query(description="Add each crop's baseline and the weather's contributions to it, in tons.")]
Version = Annotated[str | None, Query(description="Predict with this version; without it, with the live one.")]

_BODY = json_or_csv("PredictRequest", required=True)


@router.post(
    "/predict",
    summary="Predict yields from weather",
    response_model=OnePrediction | SeveralPredictions | PredictionColumns,
    responses=problems.documented(400, 404, 406, 413, 415, 422, 503),
    openapi_extra=_BODY,
)
async def predict(
    request: Request, used: Used, level: Level = 0.95, explain: Explain = False, version: Version = None
) -> Response:
    """Predict each crop's yield in tons, with a prediction interval and a warning wherever it deserves less trust."""
    sent = body_type(request, (JSON, CSV))
    wanted = answer_type(request, (sent, *({JSON, CSV} - {sent})))
    body = await read_body(request, used.settings.max_body_bytes)
    served = used.live.current if version is None else used.live.version(version)
    question = _read_csv(body, used) if sent == CSV else _read_json(body, used)
    used.asked.note_columns(question.weather)
    answer = _Answer(question, served, level, explain)
    if wanted == CSV:
        content, media_type = answer.csv(), f"{CSV}; charset=utf-8"
    else:
        content, media_type = to_json(answer.json()), JSON
    return Response(content, headers={"X-Model-Version": served.version}, media_type=media_type)


class _Question:
    """Regions as columns, and the shape that they came in."""

    def __init__(
        self,
        shape: Literal["one", "several", "columns"],
        regions: Sequence[str | None] | None,
        weather: Sequence[Array],
        header: Sequence[str] | None = None,
    ) -> None:
        self.shape = shape
        self.weather = weather
        self.has_regions = regions is not None
        self.regions = regions if regions is not None else (None,) * len(weather[0])
        named = regions is not None and any(regions)
        self.header = header or ([*(["region"] if named else []), *NAMES])


def _read_json(body: bytes, used: Used) -> _Question:
    try:
        asked = PREDICT_REQUEST.validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error.errors(include_url=False, include_context=True)) from error
    if isinstance(asked, WeatherColumns):
        _check_rows(len(asked.temperature), used)
        return _Question("columns", asked.region, [np.array(getattr(asked, name)) for name in NAMES])
    rows: list[RegionWeather] = asked.regions if isinstance(asked, SeveralRegions) else [asked]
    _check_rows(len(rows), used)
    columns = [np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in NAMES]
    regions = [row.region for row in rows]
    return _Question("several" if isinstance(asked, SeveralRegions) else "one", regions, columns)


def _check_rows(rows: int, used: Used) -> None:
    if rows > used.settings.max_rows:
        raise TooLarge(f"{rows} regions: the limit is {used.settings.max_rows}")


def _read_csv(body: bytes, used: Used) -> _Question:
    table, header = parse_regions(body, used.settings.max_rows)
    return _Question("several", table.regions, list(table.weather.T), header)


class _Answer:
    """A question's predictions, in whichever shape they are wanted."""

    def __init__(self, question: _Question, served: Served, level: float, explain: bool) -> None:
        self._question = question
        self._served = served
        self._model: LinearModel = served.model
        self._yields: Yields = self._model.yields(question.weather, level)
        self._level = level
        self._explain = explain

    def json(self) -> dict[str, Any]:
        """Return the answer in the shape of the question; a CSV question is answered as several regions."""
        if self._question.shape == "columns":
            return self._columns()
        predictions = self._rows()
        version = {"model_version": self._served.version}
        if self._question.shape == "one":
            return version | predictions[0]
        return version | {"predictions": predictions}

    def _warnings(self) -> list[list[str]]:
        """Return each region's warnings; most regions have none, and only those that might are looked at one by one."""
        doubtful = self._yields.extrapolated.copy()
        for crop, middle in self._yields.tons.items():
            width = self._yields.margins[crop]
            doubtful |= np.ones_like(doubtful) if width is None else (middle - width < 0) | (middle < 0)
        warnings: list[list[str]] = [[] for _ in doubtful]
        for row in np.flatnonzero(doubtful).tolist():
            weather = [float(column[row]) for column in self._question.weather]
            warnings[row] = cautions(self._model, weather, self._level)
        return warnings

    def _crop_columns(self) -> dict[str, dict[str, Any]]:
        rows = len(self._question.regions)
        columns: dict[str, dict[str, Any]] = {}
        for crop in self._model.crops:
            tons, margin = self._yields.tons[crop.crop], self._yields.margins[crop.crop]
            unknown = [None] * rows
            columns[crop.crop] = {
                "tons": _clipped(tons),
                "low": unknown if margin is None else _clipped(tons - margin),
                "high": unknown if margin is None else _clipped(tons + margin),
            }
            if self._explain:
                parts = [part.tolist() for part in crop.contributions(self._question.weather)]
                columns[crop.crop] |= {
                    "baseline": crop.baseline,
                    "contributions": dict(zip(NAMES, parts, strict=True)),
                }
        return columns

    def _columns(self) -> dict[str, Any]:
        return {
            "model_version": self._served.version,
            "region": list(self._question.regions) if self._question.has_regions else None,
            "yields": self._crop_columns(),
            "extrapolated": self._yields.extrapolated.tolist(),
            "warnings": self._warnings(),
        }

    def _rows(self) -> list[dict[str, Any]]:
        columns = self._crop_columns()
        extrapolated = self._yields.extrapolated.tolist()
        warnings = self._warnings()
        return [
            {
                "region": region,
                "yields": {crop: _row(values, row) for crop, values in columns.items()},
                "extrapolated": extrapolated[row],
                "warnings": warnings[row],
            }
            for row, region in enumerate(self._question.regions)
        ]

    def csv(self) -> bytes:
        """Return the question's columns, then each crop's, then extrapolated and model_version."""
        question = self._question
        sent: dict[str, list[Any]] = {"region": [safe_cell(region or "") for region in question.regions]}
        sent |= {name: column.tolist() for name, column in zip(NAMES, question.weather, strict=True)}
        header = list(question.header)
        columns = [sent[name] for name in header]
        for crop, values in self._crop_columns().items():
            header += [f"{crop}_tons", f"{crop}_low", f"{crop}_high"]
            columns += [values["tons"], values["low"], values["high"]]
        columns.append(["true" if outside else "false" for outside in self._yields.extrapolated.tolist()])
        columns.append([self._served.version] * len(question.regions))
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([*map(safe_cell, header), "extrapolated", "model_version"])
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue().encode()


def _row(values: dict[str, Any], row: int) -> dict[str, Any]:
    cells = {name: values[name][row] for name in ("tons", "low", "high")}
    if "baseline" in values:
        cells["baseline"] = values["baseline"]
        cells["contributions"] = {name: part[row] for name, part in values["contributions"].items()}
    return cells


def _clipped(tons: Array) -> list[float]:
    """Tons cannot be negative."""
    clipped: list[float] = np.where(tons > 0.0, tons, 0.0).tolist()
    return clipped
