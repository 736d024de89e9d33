"""What all tests share: the tutorial's rows and a throw-away model store."""

from pathlib import Path

import pytest

from app.data.tables import Table, parse_observations
from app.settings import Settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def tutorial() -> Table:
    """Return the tutorial's 15 regions."""
    return parse_observations((ROOT / "app" / "data" / "tutorial.csv").read_bytes())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose model store is a folder that does not exist yet."""
    return Settings(model_store=tmp_path / "store")
