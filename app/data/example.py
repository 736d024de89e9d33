"""The example that a first model is trained on: its table, and what tells a version that has learned nothing else."""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from app import PACKAGE
from app.data.tables import parse_observations

NAME = "tutorial.csv"


def path() -> Path:
    """Return the file that holds it."""
    return Path(str(files(f"{PACKAGE}.data").joinpath(NAME)))


def is_learned(data_digest: str) -> bool:
    """Say whether a version has learned these rows and no others; ``data_digest``: that of its card."""
    return data_digest == _digest_and_rows()[0]


def words() -> str:
    """Return what its rows are."""
    return f"{_digest_and_rows()[1]} invented regions"


def told(source: str, data_digest: str) -> str:
    """Return a version's source, with a word that it is an example, where its rows are those and no others.

    ``data_digest``: that of the version's card.
    """
    return f"{source} (example data: {words()})" if is_learned(data_digest) else source


@cache
def _digest_and_rows() -> tuple[str, int]:
    table = parse_observations(path().read_bytes())
    return hashlib.sha256(table.digest.encode()).hexdigest(), len(table)
