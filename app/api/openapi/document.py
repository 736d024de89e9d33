"""The OpenAPI document: FastAPI's own, and the bodies that the routes read from the bytes themselves."""

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json

from app.api.address import Addressed
from app.wire.features import (
    ForecastFeature,
    ForecastFeatures,
    ReportedFeature,
    ReportedFeatures,
    WeatherFeature,
    WeatherFeatures,
)
from app.wire.open_meteo import OpenMeteoPlace
from app.wire.power import PowerCollection, PowerFeature
from app.wire.problems import Problem
from app.wire.protocol import IndexRequest, InferenceError, InferRequest
from app.wire.schemas import (
    ActivateRequest,
    ForecastColumns,
    ForecastRegion,
    ObservationsRequest,
    RegionWeather,
    RetrainRequest,
    SeveralForecasts,
    SeveralRegions,
    WeatherColumns,
)

if TYPE_CHECKING:
    from app.api.doors import Doors

FRAMEWORKS = ("HTTPValidationError", "ValidationError")
"""What FastAPI says that its own errors look like; here they are problems."""
REFERENCE = "#/components/schemas/{model}"
POWER = (PowerFeature, PowerCollection)
SHAPES = {
    "PredictRequest": (RegionWeather, SeveralRegions, WeatherColumns, OpenMeteoPlace, *POWER),
    "GeoJSONRequest": (WeatherFeature, WeatherFeatures, *POWER),
    "ForecastRequest": (ForecastRegion, SeveralForecasts, ForecastColumns),
    "ForecastGeoJSON": (ForecastFeature, ForecastFeatures),
    "ReportedGeoJSON": (ReportedFeature, ReportedFeatures),
}
"""Bodies that have one of several shapes. (A list of Open-Meteo's places is told in words: generated clients choose
between shapes by their class, and a list has none.)"""
DESCRIPTION = (
    "A query holds only names that its call lists here, each once: anything else is refused with a 422 that names what "
    "is known (a 400 under `/v2`). What a query and a JSON body can both say counts wherever it is said; where they "
    "disagree, that is a 422 too. Only `/health`, `/v2/health` and this page take any query."
)


class DocumentedAPI(FastAPI):
    """A FastAPI application whose document describes every body and problem, and that answers to plain addresses."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, description=DESCRIPTION, redirect_slashes=False)
        self.add_middleware(Addressed)

    doors: "Doors | None" = None
    """The connections that it is asked on, while it runs under a server whose protocol is `app.api.door.Door`."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        document = super().openapi()
        schemas: dict[str, Any] = document["components"]["schemas"]
        if "PredictRequest" not in schemas:
            shapes = dict.fromkeys(model for models in SHAPES.values() for model in models)
            bodies = (*shapes, RetrainRequest, ObservationsRequest, ActivateRequest, InferRequest, IndexRequest)
            _, added = models_json_schema(
                [(model, "validation") for model in (*bodies, Problem, InferenceError)], ref_template=REFERENCE
            )
            schemas |= {name: _with_optional(schema) for name, schema in added["$defs"].items()}
            _let_lack(schemas)
            schemas |= {name: {"anyOf": list(map(_reference, models))} for name, models in SHAPES.items()}
            _drop_invalid(document["paths"])
            for name in FRAMEWORKS:
                schemas.pop(name, None)
        return document


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _let_lack(schemas: dict[str, Any]) -> None:
    """Let a question lack a feature: whether the model needs it stands in no document."""
    for model in (RegionWeather, WeatherColumns):
        schema = schemas[model.__name__]
        del schema["required"]
        schema["description"] += "\n\nA feature that no crop of the model needs may be left out."


def _with_optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent with a description in place of each default.

    Generators of typed clients take a field with a default for one that is always there, and would ask for it.
    """
    properties = {name: _described(field) for name, field in schema.get("properties", {}).items()}
    return schema | ({"properties": properties} if properties else {})


def _described(field: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in field.items() if name != "default"}
    default = field.get("default")
    if (not default and default is not False) or isinstance(default, dict):
        return rest
    told = f"If left out: `{to_json(default).decode()}`."
    return rest | {"description": f"{rest['description']} {told}" if "description" in rest else told}


def _drop_invalid(paths: dict[str, Any]) -> None:
    """Take away what FastAPI promises of its own: the Open Inference Protocol has no 422."""
    for operations in paths.values():
        for operation in operations.values():
            if "inference" in operation["tags"]:
                operation["responses"].pop("422", None)
