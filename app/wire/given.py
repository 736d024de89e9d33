"""Weather in the units of who gives it, in parsed JSON, made what is stored: °F and mm."""

from typing import Any

from app.model.units import UNITS, Units
from app.model.weather import FEATURE_NAMES, WEATHER

ROWS = ("regions", "observations")
"""Fields of a body that hold rows."""
LARGEST = 1e300
"""A number beyond it is left as it is: it is out of bounds in any unit."""
_BOUNDS = {feature.name: (feature.low, feature.high) for feature in WEATHER}


def as_stored(body: Any, units: Units) -> Any:
    """Return a parsed body with its weather in the units that are stored; what is no number stays what it is.

    Rows of objects, columns and one region are told apart by their fields, as the schemas do.
    """
    if not units.named or not isinstance(body, dict):
        return body
    changed = {name: _row_or_column(units, name, value) for name, value in body.items()}
    for name in ROWS:
        if isinstance(body.get(name), list):
            changed[name] = [_row(units, row) for row in body[name]]
    return changed


def _row(units: Units, row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    return {name: _number(units, name, value) for name, value in row.items()}


def _row_or_column(units: Units, name: str, value: Any) -> Any:
    if isinstance(value, list) and name in units.named:
        return [_number(units, name, one) for one in value]
    return _number(units, name, value)


def _number(units: Units, name: str, value: Any) -> Any:
    if name not in units.named or type(value) not in (int, float) or not -LARGEST < value < LARGEST:
        return value
    stored = float(units.of(name).stored(float(value)))
    low, high = _BOUNDS[name]
    feature = units.features[FEATURE_NAMES.index(name)]
    # Rounding may put a bound itself beyond the bound.
    return min(max(stored, low), high) if feature.low <= value <= feature.high else stored


def shown(units: Units, name: str, value: float) -> float:
    """Return a number as it was given."""
    return float(UNITS[name][units.named[name]].shown(value)) if name in units.named else value
