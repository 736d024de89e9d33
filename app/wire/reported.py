"""Bodies with observations made into a table, beside what the query says; and what is done with them."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import to_json

from app.data.harvest import Harvest
from app.data.naming import OUTCOME_COLUMNS, SHOWN, TEXT_COLUMNS, name_problem
from app.data.provenance import Once, Provenance
from app.data.quick_csv import parse_observations
from app.data.tables import AS_IT_IS, Reading, Table, check_crop_names, named_or_none, observations_of
from app.errors import FieldError, InvalidInput
from app.faults import Faults
from app.model.units import Units
from app.model.weather import FEATURE_NAMES, LEAST
from app.training.order import Order
from app.wire import features, records
from app.wire.features import REPORTED_FEATURES, ReportedProperties
from app.wire.media_types import CSV, GEOJSON, JSON, XLSX
from app.wire.schemas import ObservationsRequest, ReportedSeason, RetrainRequest
from app.wire.strict_json import Place, parse_json
from app.wire.validation import gaps, of_model

if TYPE_CHECKING:
    from app.data.observations import Observations


REPORTED = (JSON, CSV, GEOJSON, XLSX)
"""The content types of bodies with observations."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a body is to be read: its content type, the most rows that it may have, and what the query says beside it.

    ``reading``: what the query says of weather and crops.
    """

    media_type: str
    max_rows: int
    query: Mapping[str, Any]
    reading: Reading = AS_IT_IS


@dataclass(frozen=True, slots=True)
class Stored:
    """The note under which a batch is stored, and whether it is by this very call."""

    note: str
    new: bool


def read_order(content: bytes, order: Order, sent: Sent) -> tuple[bytes, Order]:
    """Return the table of a retrain's body, packed, b"" without one, and the order with what query and body say.

    Raises:
        InputError: the body is malformed, invalid or too large, or says something else than the query.
    """
    table, options = _read(content, RetrainRequest, sent)
    note = options.pop("note", order.provenance.note)
    packed = b"" if table is None else pickle.dumps(table)
    return packed, replace(order, provenance=replace(order.provenance, note=note), **options)


def store(
    content: bytes, sent: Sent, provenance: Provenance, once: Once | None, observations: "Observations"
) -> tuple[bytes, Stored]:
    """Store a body's observations as a batch; return the answer as JSON, and how it was stored.

    Raises:
        InputError: as `read_order`.
        KeyReused, StoreUnavailable, Unconfirmed: as `app.wire.records.store`.
    """
    table, options = _read(content, ObservationsRequest, sent)
    assert table is not None  # noqa: S101 - the request must have rows
    note = options.get("note", provenance.note)
    answer, new = records.store(observations, Harvest.of(table), replace(provenance, note=note), once)
    return answer, Stored(note, new=new)


def store_at(
    content: bytes, sent: Sent, provenance: Provenance, once: Once | None, database: str
) -> tuple[bytes, Stored]:
    """Do as `store`, in a process that has no connection yet."""
    from app.data.observations import Observations  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    with closing(Observations(database)) as observations:
        return store(content, sent, provenance, once, observations)


def _read(
    content: bytes, model: type[RetrainRequest | ObservationsRequest], sent: Sent
) -> tuple[Table | None, dict[str, Any]]:
    """Return a body's table, and what it and the query say besides."""
    if sent.media_type == CSV:
        return parse_observations(content, sent.max_rows, sent.reading), dict(sent.query)
    if sent.media_type == XLSX:
        return _table_of_workbook(content, sent), dict(sent.query)
    if sent.reading.crops is not None:
        message = "goes with a table, whose columns it names: leave it out"
        raise InvalidInput(f"query.crops: {message}", [FieldError(("query", "crops"), message, "not_here")])
    if sent.media_type == GEOJSON:
        return _table_of_features(content, sent.max_rows, sent.reading.units), dict(sent.query)
    body = parse_json(content or b"{}", sent.max_rows)
    features.refuse(body)
    asked = of_model(model, body, sent.reading.units)
    options = _agreed(sent.query, asked)
    return table_of(asked.observations) if asked.observations else None, options


def _table_of_workbook(content: bytes, sent: Sent) -> Table:
    from app.data.workbook import sheet_of  # noqa: PLC0415 - few send one

    return observations_of(sheet_of(content, sent.max_rows), sent.reading)


def _agreed(query: Mapping[str, Any], body: BaseModel) -> dict[str, Any]:
    """Return what a query and a body say together of what both can say.

    Raises:
        InvalidInput: they say different things.
    """
    in_body = {name: value for name, value in body if name in body.model_fields_set}
    faults = Faults()
    for name, value in query.items():
        if name in in_body and in_body[name] != value:
            told = f"the query says {_shown(value)}, the body {_shown(in_body[name])}: give one, or the same in both"
            faults.add(FieldError(("query", name), told, "contradiction"))
    faults.raise_if_any(placed=True)
    return {name: value for name, value in in_body.items() if name != "observations"} | dict(query)


def _shown(value: Any) -> str:
    text = to_json(value).decode()
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def table_of(observations: list[ReportedSeason]) -> Table:
    """Turn reported seasons into a table; a crop that one does not report is NaN there.

    Raises:
        InvalidInput: they name too many crops, or a region or a season is not in Unicode's composed form; or some
            lack a feature that others have, or all lack every one.
    """
    places: list[Place] = [("observations", row) for row in range(len(observations))]
    named = {column: _inside(places, column) for column in (*TEXT_COLUMNS, OUTCOME_COLUMNS[0])}
    return _table(observations, [row.region for row in observations], named)


def _table_of_features(content: bytes, max_rows: int, units: Units) -> Table:
    """Turn reported features into a table; their geometry is not kept."""
    body, plain = features.parsed(content, max_rows)
    found, places = features.rows_of(features.checked(REPORTED_FEATURES, body, plain, units))
    regions, named = features.regions_of(found, places)
    rows = [feature.properties for feature in found]
    inside = {name: _inside(places, "properties", name) for name in ("season", OUTCOME_COLUMNS[0])}
    return _table(rows, regions, {"region": named, **inside})


def _inside(places: Sequence[Place], *more: str) -> list[Place]:
    return [(*place, *more) for place in places]


def _table(
    observations: Sequence[ReportedSeason | ReportedProperties],
    named: Sequence[str | None],
    places: Mapping[str, Sequence[Place]],
) -> Table:
    """Return the table of rows whose regions are ``named``; ``places``: of its columns of texts, where each stands."""
    crops = tuple(dict.fromkeys(crop for row in observations for crop in row.yields))
    check_crop_names(crops)
    yields = [[row.yields.get(crop, np.nan) for crop in crops] for row in observations]
    weather = [(row.temperature, row.rainfall, row.humidity) for row in observations]
    regions = tuple(name or None for name in named)
    seasons = tuple(row.season or None for row in observations)
    faults = Faults()
    forecasts = tuple(row.forecast or None for row in observations)
    for column, names in zip((*TEXT_COLUMNS, OUTCOME_COLUMNS[0]), (regions, seasons, forecasts), strict=True):
        for fault in _name_faults(places[column], names):
            faults.add(fault)
    for fault in gaps("observations", observations):
        faults.add(fault)
    if not any(_features(row) for row in observations):
        faults.add(FieldError(("observations", 0), f"has no weather: {LEAST}", "missing"))
    faults.raise_if_any(placed=True)
    return Table(
        regions,
        seasons,
        np.array(weather, dtype=np.float64),
        crops,
        np.array(yields, dtype=np.float64),
        forecasts=named_or_none(forecasts),
        harvested=named_or_none(row.harvested or None for row in observations),
    )


def _features(row: ReportedSeason | ReportedProperties) -> set[str]:
    return row.model_fields_set & set(FEATURE_NAMES)


def _name_faults(places: Sequence[Place], names: Sequence[str | None]) -> Iterator[FieldError]:
    """Yield what no pattern can find."""
    wrong = {name: problem for name in set(names) if name and (problem := name_problem(name))}
    for row, name in enumerate(names) if wrong else ():
        if name in wrong:
            yield FieldError(places[row], wrong[name], "invalid")
