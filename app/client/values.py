"""What callers hand over, made into what JSON can hold: numbers and arrays of NumPy, columns of pandas, decimals.

Knows none of these libraries: it goes by what their objects can do. What is wrong with plain values is left to the
service, whose answer says where.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsFloat

from pydantic import BaseModel

Number = float | SupportsFloat
"""Whatever `float` takes, but no text."""

_PLAIN = frozenset({str, int, float, bool, type(None)})


def number(name: str, value: Any) -> Any:
    """Return one number.

    Raises:
        ValueError: it is several, or cannot be a number.
    """
    found = plain(name, value)
    if isinstance(found, list | tuple | Mapping):
        raise _unfit(name, f"{len(found)} values are given for one region: predict_columns takes several")
    return found


def column(name: str, values: Any) -> list[Any]:
    """Return a column's values.

    Raises:
        ValueError: it is no column, or one of them cannot be a number or a name.
    """
    is_listed = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    found = plain(name, values if hasattr(values, "tolist") or not is_listed else list(values))
    if not isinstance(found, list):
        raise _unfit(name, f"{_kind(values)} is no column: give a list or an array, as long as the others")
    return found


def rows(name: str, given: Any) -> list[Any]:
    """Return a list of rows, each a mapping or a model.

    Raises:
        ValueError: it is none, or a value cannot be held by JSON.
    """
    if isinstance(given, str | bytes | Mapping | BaseModel) or not isinstance(given, Iterable):
        raise _unfit(name, f"{_kind(given)} is no list of rows: give a list of mappings")
    return [_row(name, place, row) for place, row in enumerate(given)]


def _row(name: str, place: int, row: Any) -> Any:
    if not isinstance(row, Mapping | BaseModel):
        remedy = "give a list of mappings; of a DataFrame, its to_dict('records')"
        raise _unfit(f"{name}[{place}]", f"{_kind(row)} is no row: {remedy}")
    return plain(f"{name}[{place}]", row)


def plain(at: str, value: Any) -> Any:
    """Return a value, or what is in a list or a mapping, as JSON can hold it; ``at``: what it is called.

    Raises:
        ValueError: it is neither a number nor a text, and holds none.
    """
    if isinstance(value, str | int | float | BaseModel) or value is None:
        return value
    if isinstance(value, list | tuple | Mapping):
        return _plain_parts(at, value)
    if hasattr(value, "tolist"):
        return plain(at, value.tolist())
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _unfit(at, f"{_kind(value)} is neither a number nor a text, nor a list of them") from error


def _plain_parts(at: str, value: Sequence[Any] | Mapping[str, Any]) -> Any:
    parts = value.values() if isinstance(value, Mapping) else value
    if set(map(type, parts)) <= _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {name: plain(f"{at}.{name}", item) for name, item in value.items()}
    return [plain(f"{at}[{place}]", item) for place, item in enumerate(value)]


def _unfit(at: str, why: str) -> ValueError:
    return ValueError(f"{at}: {why}")


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"
