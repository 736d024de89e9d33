"""What pydantic finds wrong with a value, in our words: where it is, what it is, and the bound it breaks."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from app.data.naming import NAME_PATTERN, OUTCOME_COLUMNS, TEXT_COLUMNS, name_problem, note_problem
from app.errors import FieldError, InvalidInput, OrchardError
from app.faults import MAX_ERRORS, Faults
from app.model.units import STORED, Units
from app.model.weather import FEATURE_NAMES, NONE, REGION_LENGTH, WEATHER, YIELD, Needs, why_needed
from app.wire import given
from app.wire.schemas import LEVELS
from app.wire.strict_json import MOST_FIELDS, check_fields, parse_json

Valid = TypeVar("Valid")
Body = TypeVar("Body", bound=BaseModel)


@cache
def _adapter(model: type[Body]) -> TypeAdapter[Body]:
    return TypeAdapter(model)


def parse(model: type[Body], content: bytes, max_rows: int) -> Body:
    """Validate a JSON body; an empty one is an empty object.

    Raises:
        MalformedInput: not JSON, or a number that is not finite.
        InvalidInput: well-formed and invalid.
        TooLarge: more than ``max_rows`` rows.
    """
    return of_model(model, parse_json(content or b"{}", max_rows))


def of_model(model: type[Body], body: Any, units: Units = STORED) -> Body:
    """Validate a parsed body.

    Raises:
        MalformedInput, InvalidInput: as `validated`.
    """
    adapter: TypeAdapter[Body] = _adapter(model)
    rows = next((name for name in given.ROWS if name in model.model_fields), None)
    return validated(adapter, given.as_stored(checked_object(body, rows), units), units=units)


def checked_object(body: Any, rows: str | None = None) -> Any:
    """Return a body that is an object; ``rows``: the field that its rows stand in, for who sends them without it.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(body, dict):
        return body
    noun = next((noun for kind, noun in _NOUNS if isinstance(body, kind)), "null")
    instead = f'{{"{rows}": […]}}' if rows else "an object, {…}"
    message = f"the body is {noun}: send {instead}"
    raise InvalidInput(message, [FieldError((), message, "not_an_object")])


_NOUNS = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (list, "a list"))


def validated(
    adapter: TypeAdapter[Valid],
    body: Any,
    needs: Needs = NONE,
    most_fields: int = MOST_FIELDS,
    units: Units = STORED,
) -> Valid:
    """Validate a parsed body.

    ``needs``: by the name of a field, who cannot do without it, which is said where it is missing.

    A list is checked up to its first bad entry; to find more faults, ``body`` is cut behind it, in place, and validated
    again. ``most_fields``: of one object. ``units``: those that weather was given in, before `given.as_stored`.

    Raises:
        MalformedInput: a number is not finite.
        InvalidInput: it is invalid. The faults of further entries are listed too, until there are enough.
    """
    check_fields(body, most_fields)
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        found = _details(adapter, error)
    raise invalid([*found, *_further(adapter, body, found)], needs, units)


def _further(adapter: TypeAdapter[Any], body: Any, known: list[ErrorDetails]) -> Iterator[Mapping[str, Any]]:
    """Yield the faults behind those already known: cut lists behind their faulty entries, and look again."""
    cut = Counter[str]()
    count, places = len(known), _places(known, body)
    while places and count < MAX_ERRORS:
        for name, index in places.items():
            body[name] = body[name][index + 1 :]
            cut[name] += index + 1
        known = _faults(adapter, body)
        places = _places(known, body)
        for fault in known:
            if (place := _place(fault)) is not None and place[0] in places:
                yield {**fault, "loc": (place[0], cut[place[0]] + place[1], *fault["loc"][2:])}
                count += 1


def _faults(adapter: TypeAdapter[Any], body: Any) -> list[ErrorDetails]:
    try:
        adapter.validate_python(body)
    except ValidationError as error:
        return _details(adapter, error)
    return []


def _details(adapter: TypeAdapter[Any], error: ValidationError) -> list[ErrorDetails]:
    """Return the faults, without the tag of a union of shapes that begins each location: a client never sent it."""
    found = error.errors(include_url=False)
    schema: Any = adapter.core_schema
    if schema["type"] == "definitions":
        schema = schema["schema"]
    if schema["type"] != "tagged-union":
        return found
    return [{**fault, "loc": fault["loc"][1:]} for fault in found]


def _places(faults: list[ErrorDetails], body: Any) -> dict[str, int]:
    """Return, by the name of each list of the body, the entry at which its validation stopped."""
    places = [place for fault in faults if (place := _place(fault)) is not None]
    return {name: index for name, index in places if isinstance(body.get(name), list)}


def _place(fault: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the list and the entry in it that a fault is of, None if it is of none."""
    match fault["loc"]:
        case [str(name), int(index), *_]:
            return name, index
    return None


def invalid(faults: Sequence[Mapping[str, Any]], needs: Needs = NONE, units: Units = STORED) -> OrchardError:
    """Turn pydantic's errors into ours.

    Malformed where a number is not finite, else invalid.
    """
    found = Faults()
    malformed = any(fault["type"] == "finite_number" for fault in faults)
    listed = (_field_error(fault, needs, units) for fault in faults[:MAX_ERRORS])
    found.add_many(listed, len(faults), malformed=malformed)
    error = found.error(placed=True)
    assert error is not None  # noqa: S101 - pydantic has found some
    return error


def gaps(of: str, rows: Sequence[BaseModel]) -> Iterator[FieldError]:
    """Yield where one of the rows in the list ``of`` a body lacks a feature that others have."""
    there = [frozenset(row.model_fields_set & set(FEATURE_NAMES)) for row in rows]
    some = frozenset().union(*there)
    for number, names in enumerate(there):
        for name in sorted(some - names):
            told = "is missing, and other rows have it: give it in all of them, or in none"
            yield FieldError((of, number, name), told, "missing")


FIELDS = (*FEATURE_NAMES, *TEXT_COLUMNS, *OUTCOME_COLUMNS, *given.ROWS, "yields", "note", "activate", "dry_run")
"""What bodies have, for who has written it otherwise."""
_SHOWN = 40
"""Characters of a rejected value that a message repeats: enough to recognise it by."""


def _field_error(fault: Mapping[str, Any], needs: Needs, units: Units) -> FieldError:
    loc = tuple(map(_cut, fault["loc"]))
    kind, context = fault["type"], fault.get("ctx") or {}
    if kind == "too_long" and context["field_type"] == "Dictionary":  # the only one with a bound
        kind = "too_many_crops"
    code, message = _WORDS.get(kind, (kind, "{msg}"))
    shown = repr if loc[:1] in _AROUND else _as_json
    words = {
        **context,
        "msg": fault["msg"],
        "input": _short(shown(fault.get("input"))),
        "unit": _unit(loc),
    } | _in_units(loc, fault, units)
    if kind == "string_pattern_mismatch":
        words["problem"] = _mismatch(fault["input"], words["pattern"])
    text = message.format_map(words).rstrip()
    if loc == ("query", "level") and code == "out_of_bounds":
        text += _meant(fault["input"])
    if kind == "extra_forbidden":
        near = get_close_matches(str(loc[-1]).casefold(), FIELDS, 1)
        text += f": did you mean {near[0]!r}?" if near and near[0] != loc[-1] else ""
    if kind == "missing":
        text += why_needed(needs.get(str(loc[-1]), ()))
    return FieldError(loc, text, code)


_WORDS = {
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
    "dict_type": ("not_an_object", "is not an object"),
    "list_type": ("not_a_list", "is not a list"),
    "literal_error": ("invalid", "{input} is not {expected}"),
    "too_long": ("too_long", "has more than {max_length} entries, which is the limit"),
    "too_many_crops": ("too_many_crops", "has more than {max_length} crops: send some of them in another row"),
    "too_short": ("too_short", "has {actual_length} entries, at least {min_length} are needed"),
    "string_pattern_mismatch": ("invalid", "{problem}"),
    "value_error": ("invalid", "{error}"),
}


def _in_units(loc: Sequence[str | int], fault: Mapping[str, Any], units: Units) -> dict[str, Any]:
    """Return the words about a number that are other ones in the units it was given in."""
    name = next((part for part in loc if part in units.named), None)
    if name is None:
        return {}
    feature = units.features[FEATURE_NAMES.index(str(name))]
    words = {"ge": feature.low, "le": feature.high, "unit": feature.unit}
    value = fault.get("input")
    if type(value) is not float or not math.isfinite(value):
        return words
    shown = given.shown(units, feature.name, value)
    return words | {"input": _short(_as_json(int(shown) if shown.is_integer() else shown))}


def _mismatch(text: str, pattern: str) -> str:
    problem = name_problem(text) if pattern == NAME_PATTERN else note_problem(text)
    return problem or "has characters that a text cannot have"


def _cut(part: str | int) -> str | int:
    return part if isinstance(part, int) or len(part) <= REGION_LENGTH else part[:REGION_LENGTH] + "…"


def _unit(loc: tuple[str | int, ...]) -> str:
    """The unit of the field at ``loc``, or nothing."""
    units = {feature.name: feature.unit for feature in WEATHER} | {"yields": YIELD.unit}
    return next((units[part] for part in loc if isinstance(part, str) and part in units), "")


_AROUND = {("query",), ("path",), ("header",)}
"""What stands around a body is text and is quoted as such; a body's values are shown as JSON has them."""


def _as_json(value: Any) -> str:
    """Return a value as it is written in JSON; of signs that cannot be seen, their escapes."""
    if isinstance(value, float) and math.isinf(value):
        return f"{'-' if value < 0 else ''}Infinity, or a number too large for 64 bits,"
    text = to_json(value, inf_nan_mode="constants").decode()[: _SHOWN + 1]
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN or text.endswith(" bits,") else text[:_SHOWN] + "…"


def _meant(level: str) -> str:
    """Return the share that somebody means who gives a level in percent, where that is one."""
    share = float(f"{float(level) / 100:.12g}")
    return f": did you mean {share:g}?" if LEVELS[0] <= share <= LEVELS[1] else ""
