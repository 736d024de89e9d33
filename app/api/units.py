"""The units that a query gives weather in, and the columns that it calls crops."""

from typing import Annotated, Any, get_args

from fastapi import Query
from pydantic import BeforeValidator, WithJsonSchema

from app.data.tables import check_crop_names
from app.errors import FieldError, InvalidInput
from app.model.units import RainfallUnit, TemperatureUnit, Units, unit_called


def _named(feature: str) -> BeforeValidator:
    """Return what reads UCUM's code and other names of a unit, too."""
    return BeforeValidator(lambda given: (unit_called(feature, given) or given) if isinstance(given, str) else given)


def _schema(units: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(get_args(units))})


TemperatureUnitQuery = Annotated[
    TemperatureUnit | None,
    _named("temperature"),
    Query(description="What `temperature` is in: without it °F, or what a table's header says."),
    _schema(TemperatureUnit),
]
RainfallUnitQuery = Annotated[
    RainfallUnit | None,
    _named("rainfall"),
    Query(description="What `rainfall` is in: without it mm, or what a table's header says."),
    _schema(RainfallUnit),
]


def units_asked(temperature_unit: TemperatureUnitQuery = None, rainfall_unit: RainfallUnitQuery = None) -> Units:
    """Return the units that a query names."""
    return Units(temperature_unit, rainfall_unit)


CropsQuery = Annotated[
    str | None,
    Query(
        description="The columns of a table that hold yields, with commas between them; without it, all that are "
        "neither weather nor region nor season."
    ),
    WithJsonSchema({"type": "string"}),
]


def crops_asked(crops: str | None) -> tuple[str, ...] | None:
    """Return the crops that a query names; None where there is no such query.

    Raises:
        InvalidInput: it names none, or a name is not one for a crop.
    """
    if crops is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in crops.split(",") if name.strip()))
    try:
        check_crop_names(names)
    except InvalidInput as error:
        raise _of_crops([fault.message for fault in error.errors]) from error
    if not names:
        raise _of_crops(["names no crop: write it as in crops=mango,orange"])
    return names


def _of_crops(messages: list[str]) -> InvalidInput:
    faults = [FieldError(("query", "crops"), message, "crop_name") for message in messages]
    return InvalidInput(f"query.crops: {messages[0]}", faults)
