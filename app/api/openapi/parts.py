"""What the document says of bodies, headers, tags and the names of operations."""

from collections.abc import Mapping
from typing import Any

from fastapi.routing import APIRoute

from app.api.openapi.examples import Examples
from app.wire.media_types import ARROW, BINARY, GEOJSON, JSON, PROBLEM, XLSX
from app.wire.problems import KINDS

TAGS = [
    {
        "name": "predict",
        "description": "Yields from weather, each with an interval and, where it needs one, a warning.",
    },
    {"name": "retrain", "description": "Learn from harvests: one transaction, with a gate that a worse model fails."},
    {"name": "observations", "description": "What regions reported, in batches that can be withdrawn."},
    {
        "name": "forecasts",
        "description": "Yields foretold and kept as they were, until the harvest shows what they were worth.",
    },
    {"name": "models", "description": "Versions, the log of which was made live, and the way back."},
    {"name": "health", "description": "Whether the service can be asked, and what it counts."},
    {"name": "inference", "description": "The Open Inference Protocol (V2), as standard clients speak it."},
]
_ANSWERED = {"type": {"enum": ["FeatureCollection", "Feature"]}, "model_version": {"type": "string"}}
_FORMATS: dict[str, dict[str, Any]] = {
    ARROW: {"format": "binary"},
    BINARY: {"format": "binary"},
    XLSX: {"format": "binary"},
    GEOJSON: {"type": "object", "required": list(_ANSWERED), "properties": _ANSWERED},
}
MODEL_VERSION = {"X-Model-Version": {"description": "The version that answered.", "schema": {"type": "string"}}}

ALSO_WITHOUT: dict[str, Any] = {"security": [{}]}
"""Added to what the document says of a call that takes a token: it takes none, too."""
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is what the tag in If-None-Match names."}}


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's operation: generated clients call their functions by it."""
    tag = str(route.tags[0]) if route.tags else ""
    return route.name if route.name == tag else f"{tag}_{route.name}"


def body(
    schema: str, examples: Examples, *others: str, required: bool = True, schemas: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what the document says of a body: JSON of a named schema, or of ``others``, with examples of each.

    ``schemas``: those of the others that have one, by content type.
    """
    types: dict[str, Any] = contents(JSON, *others)
    for media_type, name in {JSON: schema, **(schemas or {})}.items():
        types[media_type]["schema"] = {"$ref": f"#/components/schemas/{name}"}
    for media_type, shown in examples.items():
        types[media_type]["examples"] = {
            name.replace(" ", "_"): {"summary": name, "value": value} for name, value in shown.items()
        }
    return {"requestBody": {"required": required, "content": types}}


def contents(*types: str) -> dict[str, Any]:
    """Return what the document says of bodies that are not JSON."""
    return {media_type: {"schema": {"type": "string"} | _FORMATS.get(media_type, {})} for media_type in types}


BAD_REQUEST, INVALID = 400, 422
ANYWHERE = (401, 414, 421, 422, 429, 431, 503)
"""What any call can end in: no token, too much around its body, another host, an unknown query, overload."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation that can end in these statuses, besides those that any can end in."""
    titles: dict[int, str] = {}
    for kind in KINDS.values():
        titles.setdefault(kind.status, kind.title)
    schema = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": titles[status], "content": schema} for status in {*statuses, *ANYWHERE}}


def documented_inference(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation of the Open Inference Protocol, whose errors have their own form."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceError"}}}
    described = documented(*statuses, BAD_REQUEST)
    return {status: entry | {"content": content} for status, entry in described.items() if status != INVALID}
