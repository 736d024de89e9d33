"""The OpenAPI document: FastAPI's own, and the bodies that the routes read from the bytes themselves."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.api.problems import Problem
from app.api.schemas import (
    ActivateRequest,
    ObservationsRequest,
    RegionWeather,
    RetrainRequest,
    SeveralRegions,
    WeatherColumns,
)

REFERENCE = "#/components/schemas/{model}"
PREDICT_SHAPES = (RegionWeather, SeveralRegions, WeatherColumns)


class DocumentedAPI(FastAPI):
    """A FastAPI application whose document describes every body and problem."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        document = super().openapi()
        schemas: dict[str, Any] = document["components"]["schemas"]
        if "PredictRequest" not in schemas:
            bodies = (*PREDICT_SHAPES, RetrainRequest, ObservationsRequest, ActivateRequest)
            _, added = models_json_schema(
                [(model, "validation") for model in (*bodies, Problem)], ref_template=REFERENCE
            )
            schemas |= added["$defs"]
            schemas["PredictRequest"] = {
                "anyOf": [{"$ref": REFERENCE.format(model=model.__name__)} for model in PREDICT_SHAPES]
            }
        return document
