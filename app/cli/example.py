"""The example that a first start trains: what tells it, and what to say of it."""

from importlib.resources import files
from pathlib import Path

from app import PACKAGE
from app.store.card import Card

NAME, REGIONS = "tutorial.csv", 15
HINT = f"an example, trained on {REGIONS} invented regions: `orchard train YOUR.csv` trains on your own"


def table() -> Path:
    """Return the example's table."""
    return Path(str(files(f"{PACKAGE}.data").joinpath(NAME)))


def is_example(card: Card) -> bool:
    """Say whether a version was trained on the example alone."""
    return card.source.startswith(NAME) and card.rows.total == REGIONS
