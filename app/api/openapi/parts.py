"""What the document says of bodies, headers, tags and the names of operations."""

from typing import Any

from fastapi.routing import APIRoute

from app.api.negotiation import ARROW, BINARY, JSON
from app.api.openapi.examples import Examples

TAGS = [
    {
        "name": "predict",
        "description": "Yields from weather, each with an interval and, where it needs one, a warning.",
    },
    {"name": "retrain", "description": "Learn from harvests: one transaction, with a gate that a worse model fails."},
    {"name": "observations", "description": "What regions reported, in batches that can be withdrawn."},
    {"name": "models", "description": "Versions, the log of which was made live, and the way back."},
    {"name": "health", "description": "Whether the service can be asked, and what it counts."},
    {"name": "inference", "description": "The Open Inference Protocol (V2), as standard clients speak it."},
]
_FORMATS = {ARROW: {"format": "binary"}, BINARY: {"format": "binary"}}
MODEL_VERSION = {"X-Model-Version": {"description": "The version that answered.", "schema": {"type": "string"}}}


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's operation: generated clients call their functions by it."""
    tag = str(route.tags[0]) if route.tags else ""
    return route.name if route.name == tag else f"{tag}_{route.name}"


def body(schema: str, examples: Examples, *others: str, required: bool = True) -> dict[str, Any]:
    """Return what the document says of a body: JSON of a named schema, or of ``others``, with examples of each."""
    types: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}} | contents(*others)
    for media_type, shown in examples.items():
        types[media_type]["examples"] = {
            name.replace(" ", "_"): {"summary": name, "value": value} for name, value in shown.items()
        }
    return {"requestBody": {"required": required, "content": types}}


def contents(*types: str) -> dict[str, Any]:
    """Return what the document says of bodies that are not JSON."""
    return {media_type: {"schema": {"type": "string"} | _FORMATS.get(media_type, {})} for media_type in types}
