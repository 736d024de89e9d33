"""What pydantic finds wrong with a value, in our words: where it is, what it is, and the bound it breaks."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from app.errors import FieldError, InvalidInput, MalformedInput, OrchardError
from app.model.weather import WEATHER, YIELD


def invalid(faults: Iterable[ErrorDetails] | Iterable[Mapping[str, Any]]) -> OrchardError:
    """Turn pydantic's errors into ours.

    Malformed where the bytes are at fault or a number is not finite, else invalid.
    """
    listed = [_field_error(fault) for fault in faults]
    first = listed[0]
    more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
    malformed = any(fault.code in ("not_json", "not_finite") for fault in listed)
    kind = MalformedInput if malformed else InvalidInput
    place = ".".join(map(str, first.loc))
    return kind(f"{place}: {first.message}{more}" if place else first.message + more, listed)


SHAPES = frozenset({"one", "several", "columns"})
"""Tags of the union of request shapes, which pydantic adds to the location and a client never sent."""
_SHOWN = 40
"""Characters of a rejected value that a message repeats: enough to recognise it by."""


def _field_error(fault: Mapping[str, Any]) -> FieldError:
    loc = tuple(part for part in fault["loc"] if part not in SHAPES)
    kind = fault["type"]
    code, message = _WORDS.get(kind, (kind, "{msg}"))
    context = fault.get("ctx") or {}
    words = {**context, "msg": fault["msg"], "input": _shown(fault.get("input")), "unit": _unit(loc)}
    text = message.format_map(words).rstrip()
    return FieldError(loc, text, code)


_WORDS = {
    "json_invalid": ("not_json", "the body is not JSON: {error}"),
    "finite_number": ("not_finite", "{input} is not finite"),
    "missing": ("missing", "is missing"),
    "extra_forbidden": ("unknown", "is unknown here"),
    "greater_than_equal": ("out_of_bounds", "{input} is below {ge:g} {unit}"),
    "less_than_equal": ("out_of_bounds", "{input} is above {le:g} {unit}"),
    "float_type": ("not_a_number", "{input} is not a number"),
    "float_parsing": ("not_a_number", "{input} is not a number"),
    "string_type": ("not_a_string", "{input} is not a string"),
    "string_too_long": ("too_long", "is longer than {max_length} characters"),
    "model_attributes_type": ("not_an_object", "is not an object"),
    "model_type": ("not_an_object", "is not an object"),
    "list_type": ("not_a_list", "is not a list"),
    "too_short": ("too_short", "has {actual_length} entries, at least {min_length} are needed"),
    "value_error": ("invalid", "{error}"),
}


def _unit(loc: tuple[str | int, ...]) -> str:
    """The unit of the field at ``loc``, or nothing."""
    units = {feature.name: feature.unit for feature in WEATHER} | {"yields": YIELD.unit}
    return next((units[part] for part in loc if isinstance(part, str) and part in units), "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
