"""What tests of stored rows share: an empty database, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.data.observations import Observations
from tests.postgresql import Cluster


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that holds nothing yet."""
    if request.param == "SQLite":
        return f"sqlite:///{tmp_path / 'observations.db'}"
    server: Cluster = request.getfixturevalue("postgresql")
    return server.database()


@pytest.fixture
def observations(url: str) -> Iterator[Observations]:
    """Return a table that does not exist yet."""
    table = Observations(url)
    yield table
    table.close()
