"""What schemathesis is told of Orchard beyond its OpenAPI document; see test_schemathesis.py.

Of rules that JSON Schema cannot express, valid examples are made to keep them: what the model needs is given, columns
have one length, rows the same features, crop names can be printed, regions and seasons are in their composed form,
or whole numbers without a decimal point (to JSON Schema 7.0 is an integer, too), query and body do not contradict each
other, tables are CSV, Arrow and workbooks, weather is in the units that the document has its bounds in,
tensors have their shape, days are days, and of GeoJSON a name is one. Invalid examples
are left as they are.
"""

import io
import itertools
import json
import unicodedata
from typing import Any

import pyarrow as pa
import schemathesis
from schemathesis import Case, HookContext

from app.api.openapi.examples import OPEN_METEO, POWER
from app.data.naming import ID_LENGTH
from app.model.weather import REGION_LENGTH
from app.wire.media_types import XLSX
from tests.workbooks import workbook_of

WEATHER = {"temperature": 73.0, "rainfall": 67.0, "humidity": 43.0}
SEASON = {"season_start", "season_end", "region"}
ROWS_OF: dict[str, dict[str, str]] = {"/predict": {}, "/forecasts": {"region": "A", "season": "2027"}}
"""What rows hold beside the weather; of all other calls, a yield."""
NAMES = {"region", "season", "forecast", "id"}
UNITS = {"temperature_unit": "fahrenheit", "rainfall_unit": "mm"}
IN_UNIT = {"celsius": 23.0, "kelvin": 296.0}
TABLES = ("text/csv", XLSX)
COUNT = itertools.count()


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Keep the rules, and come from an address of its own: after ten wrong tokens each has to wait."""
    del context, kwargs
    number = next(COUNT)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    row: dict[str, Any] = WEATHER | ROWS_OF.get(case.path, {"plum": 55.5})
    if case.path == "/predict" and case.method == "GET":
        case.query = _link(case.query or {})
        return
    _name_what_there_is(case)
    _as_stored(case)
    if case.path == "/predict":
        _ask_of_a_season(case)
    if case.media_type == "application/geo+json":
        learned = {"yields": {"plum": row.pop("plum")}} if "plum" in row else {}
        case.body = _feature(row | learned)
        return
    if case.media_type == XLSX:
        case.body = workbook_of([list(row), list(row.values())])
    elif case.media_type == "text/csv":
        case.body = _csv(row)
    elif case.media_type == "application/vnd.apache.arrow.stream":
        case.body = _arrow(row)
    elif case.path.endswith("/infer"):
        case.body = _tensors() if case.media_type == "application/json" else json.dumps(_tensors()).encode()
    elif isinstance(case.body, dict):
        body = _of_one_length(_with_weather(case.path, case.body)) | _of_few_crops(case.body)
        case.body = _with_plain_codes(body)
        # What a body says its query must not contradict.
        case.query = {name: value for name, value in (case.query or {}).items() if name not in body}


def _name_what_there_is(case: "Case[Any]") -> None:
    """Ask for residuals of a crop that the versions have, and for scores by keys that there are."""
    known = {"crop": "mango"} if case.path.endswith("/residuals") else {"by": "crop,season"}
    case.query = {
        name: known.get(name, value) if case.path.endswith(("/residuals", "/scores")) else value
        for name, value in (case.query or {}).items()
    }


def _link(query: dict[str, Any]) -> dict[str, Any]:
    """Return the query of a link that asks about weather within the bounds, of a crop that there is."""
    temperature = IN_UNIT.get(query.get("temperature_unit", ""), WEATHER["temperature"])
    named = {"crop": "mango"} if "crop" in query or query.get("format") == "value" else {}
    return query | WEATHER | {"temperature": temperature} | named


def _as_stored(case: "Case[Any]") -> None:
    """Say nothing of units but what bodies are in, whose bounds the document has; of days, which have theirs, nothing.

    Crops are named of tables only.
    """
    are_days = isinstance(case.body, dict) and ("daily" in case.body or "parameters" in case.body)
    query = {
        name: value
        for name, value in (case.query or {}).items()
        if name not in UNITS or (value == UNITS[name] and not are_days)
    }
    if "crops" in query:
        query |= {"crops": "plum"}
    if case.media_type not in TABLES:
        query.pop("crops", None)
    case.query = query


def _ask_of_a_season(case: "Case[Any]") -> None:
    """Ask about days that the body has, or, where it has none, about no season."""
    body = case.body
    if isinstance(body, dict) and "daily" in body:
        case.body = OPEN_METEO
    elif isinstance(body, dict) and "parameters" in body and case.media_type == "application/json":
        case.body = POWER
    else:
        case.query = {name: value for name, value in (case.query or {}).items() if name not in SEASON}
        return
    case.query = {
        name: value for name, value in (case.query or {}).items() if name not in {"season_start", "season_end"}
    }


def _feature(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": properties}


def _csv(row: dict[str, Any]) -> str:
    return ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"


def _arrow(row: dict[str, Any]) -> bytes:
    table = pa.table({name: [value] for name, value in row.items()})
    content = io.BytesIO()
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table)
    return content.getvalue()


def _tensors() -> dict[str, Any]:
    tensor = {"name": "input", "shape": [1, 3], "datatype": "FP64", "data": list(WEATHER.values())}
    return {"id": "mine", "inputs": [tensor]}


def _with_weather(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return a question with all that the tutorial's model needs; any other body as it is."""
    if path not in ROWS_OF:
        return body
    body = {name: value for name, value in body.items() if name not in WEATHER or value is not None}
    if isinstance(body.get("regions"), list):
        return body | {"regions": [WEATHER | row | _composed(row) for row in body["regions"]]}
    are_lists = any(isinstance(body.get(name), list) for name in WEATHER)
    return {name: [value] if are_lists else value for name, value in WEATHER.items()} | body


def _of_one_length(body: dict[str, Any]) -> dict[str, Any]:
    columns = {
        name: values for name, values in body.items() if name in {*WEATHER, *NAMES, "due"} and values is not None
    }
    if not columns or not all(isinstance(values, list) for values in columns.values()):
        return body
    rows = min(map(len, columns.values())) or 1
    return body | {
        name: _composed_column(name, (values or [WEATHER.get(name)])[:rows]) for name, values in columns.items()
    }


def _composed_column(name: str, values: list[Any]) -> list[Any]:
    return [_composed({name: value}).get(name, value) for value in values]


def _with_plain_codes(value: Any, name: str = "") -> Any:
    """Return a body whose regions, seasons and ids are no floats."""
    if isinstance(value, dict):
        return {inner: _with_plain_codes(each, inner) for inner, each in value.items()}
    if isinstance(value, list):
        return [_with_plain_codes(each, name) for each in value]
    return int(value) if name in NAMES and isinstance(value, float) else value


def _of_few_crops(body: dict[str, Any]) -> dict[str, Any]:
    """Rename crops: each of thousands of random names would be fitted again in every retrain from then on."""
    observations = body.get("observations")
    if not observations:
        return {}
    return {
        "observations": [
            WEATHER
            | row
            | _composed(row)
            | {"yields": {f"crop {n}": tons for n, tons in enumerate(row["yields"].values())}}
            for row in observations
        ]
    }


def _composed(row: dict[str, Any]) -> dict[str, str]:
    """Return a row's names in the form in which look-alikes are the same."""
    names = {name: row[name] for name in NAMES if isinstance(row.get(name), str)}
    longest = {"forecast": ID_LENGTH, "id": ID_LENGTH}
    return {
        name: unicodedata.normalize("NFC", text)[: longest.get(name, REGION_LENGTH)].strip()
        for name, text in names.items()
    }
