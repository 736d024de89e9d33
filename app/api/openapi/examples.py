"""Examples for the document: each can be sent as it is. A test does."""

from typing import Any

from app.wire.media_types import CSV, JSON

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
    JSON: {"one region": PLACE, "several regions": {"regions": [PLACE, OTHER]}, "columns": COLUMNS},
    CSV: {"a table": WEATHER_TABLE},
}
RETRAIN: Examples = {
    JSON: {
        "a harvest": {"observations": HARVEST, "note": "harvest 2026"},
        "what would change": {"observations": HARVEST, "dry_run": True},
        "on what is stored": {"activate": "if_better"},
    },
    CSV: {"a table": HARVEST_TABLE},
}
OBSERVATIONS: Examples = {
    JSON: {"a harvest": {"observations": HARVEST, "note": "harvest 2026"}},
    CSV: {"a table": HARVEST_TABLE},
}
ACTIVATE: Examples = {JSON: {"a reason": {"note": "back to the first version"}}}
INFER: Examples = {JSON: {"one tensor": TENSORS, "a tensor for each feature": NAMED_TENSORS}}
INDEX: Examples = {JSON: {"all versions": {}, "what can be asked": {"ready": True}}}
