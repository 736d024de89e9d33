"""Examples for the document: each can be sent as it is. A test does."""

from typing import Any

from app.wire.media_types import CSV, GEOJSON, JSON

PLACE = {"region": "A", "temperature": 73, "rainfall": 67, "humidity": 43}
OTHER = {"region": "B", "temperature": 91, "rainfall": 88, "humidity": 64}
COLUMNS = {"temperature": [73, 91], "rainfall": [67, 88], "humidity": [43, 64], "region": ["A", "B"]}
WEATHER_TABLE = "region,temperature,rainfall,humidity\nA,73,67,43\nB,91,88,64\n"
HARVEST = [
    {
        "region": "K",
        "season": "2026",
        "temperature": 73,
        "rainfall": 67,
        "humidity": 43,
        "yields": {"mango": 56, "orange": 70},
    },
    {"region": "L", "season": "2026", "temperature": 91, "rainfall": 88, "humidity": 64, "yields": {"mango": 81}},
]
HARVEST_TABLE = "region,season,temperature,rainfall,humidity,mango,orange\nK,2026,73,67,43,56,70\nL,2026,91,88,64,81,\n"
FIELDS: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "A",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[5.67, 51.98], [5.69, 51.98], [5.69, 52.0], [5.67, 51.98]]],
            },
            "properties": {"temperature": 73, "rainfall": 67, "humidity": 43},
        },
        {
            "type": "Feature",
            "geometry": None,
            "properties": {"region": "B", "temperature": 91, "rainfall": 88, "humidity": 64},
        },
    ],
}
HARVESTED_FIELDS: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [5.67, 51.98]},
            "properties": HARVEST[0],
        }
    ],
}
OPEN_METEO: dict[str, Any] = {
    "latitude": 52.52,
    "longitude": 13.42,
    "generationtime_ms": 0.12,
    "utc_offset_seconds": 7200,
    "timezone": "Europe/Berlin",
    "timezone_abbreviation": "GMT+2",
    "elevation": 38.0,
    "daily_units": {
        "time": "iso8601",
        "temperature_2m_mean": "°C",
        "precipitation_sum": "mm",
        "relative_humidity_2m_mean": "%",
    },
    "daily": {
        "time": ["2026-04-01", "2026-04-02", "2026-04-03"],
        "temperature_2m_mean": [21.4, 23.0, 24.2],
        "precipitation_sum": [0.0, 61.3, 5.9],
        "relative_humidity_2m_mean": [48, 61, 50],
    },
}
POWER: dict[str, Any] = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [-54.4, -25.5, 245.6]},
    "properties": {
        "parameter": {
            "T2M": {"20260401": 21.4, "20260402": 23.0, "20260403": 24.2},
            "PRECTOTCORR": {"20260401": 0.0, "20260402": 61.3, "20260403": 5.9},
            "RH2M": {"20260401": 48.2, "20260402": 61.0, "20260403": 50.1},
        }
    },
    "header": {
        "title": "NASA/POWER Source Native Resolution Daily Data",
        "api": {"version": "v2.9.7", "name": "POWER Daily API"},
        "sources": ["MERRA2"],
        "fill_value": -999.0,
        "time_standard": "LST",
        "start": "20260401",
        "end": "20260403",
    },
    "messages": [],
    "parameters": {
        "T2M": {"units": "C", "longname": "Temperature at 2 Meters"},
        "PRECTOTCORR": {"units": "mm/day", "longname": "Precipitation Corrected"},
        "RH2M": {"units": "%", "longname": "Relative Humidity at 2 Meters"},
    },
    "times": {"data": 1.1, "process": 0.02},
}
TENSORS = {
    "id": "42",
    "inputs": [{"name": "input", "shape": [2, 3], "datatype": "FP64", "data": [73, 67, 43, 91, 88, 64]}],
    "outputs": [{"name": "mango"}, {"name": "mango_low"}, {"name": "mango_high"}, {"name": "extrapolated"}],
}
NAMED_TENSORS = {
    "inputs": [
        {"name": "temperature", "shape": [2], "datatype": "INT32", "data": [73, 91]},
        {"name": "rainfall", "shape": [2], "datatype": "INT32", "data": [67, 88]},
        {"name": "humidity", "shape": [2], "datatype": "INT32", "data": [43, 64]},
    ]
}

Examples = dict[str, dict[str, Any]]
"""By content type: by what it shows, a body."""

PREDICT: Examples = {
    JSON: {
        "one region": PLACE,
        "several regions": {"regions": [PLACE, OTHER]},
        "columns": COLUMNS,
        "an answer of Open-Meteo": OPEN_METEO,
        "an answer of NASA POWER": POWER,
    },
    CSV: {"a table": WEATHER_TABLE},
    GEOJSON: {"a map's regions": FIELDS, "an answer of NASA POWER": POWER},
}
RETRAIN: Examples = {
    JSON: {
        "a harvest": {"observations": HARVEST, "note": "harvest 2026"},
        "what would change": {"observations": HARVEST, "dry_run": True},
        "on what is stored": {"activate": "if_better"},
    },
    CSV: {"a table": HARVEST_TABLE},
    GEOJSON: {"a map's harvest": HARVESTED_FIELDS},
}
OBSERVATIONS: Examples = {
    JSON: {"a harvest": {"observations": HARVEST, "note": "harvest 2026"}},
    CSV: {"a table": HARVEST_TABLE},
    GEOJSON: {"a map's harvest": HARVESTED_FIELDS},
}
_EXPECTED = {"region": "A", "season": "2027", "due": "2027-09-30", "temperature": 73, "rainfall": 67, "humidity": 43}
FORECAST: Examples = {
    JSON: {
        "one region": _EXPECTED,
        "several regions": {"regions": [_EXPECTED, _EXPECTED | {"region": "B", "id": "B in spring 2027"}]},
        "columns": COLUMNS | {"season": ["2027", "2027"]},
    },
    CSV: {"a table": "region,season,due,temperature,rainfall,humidity\nA,2027,2027-09-30,73,67,43\nB,2027,,91,88,64\n"},
    GEOJSON: {
        "a map's regions": {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [16.8, 48.2]},
            "properties": _EXPECTED,
        }
    },
}
ACTIVATE: Examples = {JSON: {"a reason": {"note": "back to the first version"}}}
INFER: Examples = {JSON: {"one tensor": TENSORS, "a tensor for each feature": NAMED_TENSORS}}
INDEX: Examples = {JSON: {"all versions": {}, "what can be asked": {"ready": True}}}
