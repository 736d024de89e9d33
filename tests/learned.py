"""Which batches a version has learned, of what the service tells."""

from typing import Any

from app.data.learned import Learned


def learned(card: dict[str, Any], entries: list[dict[str, Any]]) -> list[str]:
    """Return the ids of those of the ``entries`` of batches that a version's card tells it has learned."""
    told = card.get("stored", {})
    here = {entry["sequence"]: entry["batch"] for entry in entries}
    marks = [tuple(mark) for mark in told.get("marks", [])]
    found = Learned.of(card["batches"], told.get("count", 0), told.get("ranges", []), marks, here)
    return [entry["batch"] for entry in entries if found.has(entry["sequence"], entry["batch"])]
