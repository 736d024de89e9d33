"""A trained store, made once, and servers on copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.data.tables import Table
from app.settings import Settings
from app.training.job import Job
from app.training.order import Order
from tests.running import Running, copy_store, serving


@pytest.fixture(scope="session")
def trained(tutorial: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose live version 1 is the tutorial's; not to be written to."""
    store = tmp_path_factory.mktemp("trained") / "store"
    job = Job(Settings(model_store=store))
    job.run(Order("tutorial.csv", "test", tutorial, alone=True))
    job.close()
    return store


@pytest.fixture(scope="session")
def reading(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server for tests that change nothing."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("reading") / "store")) as running:
        yield running


@pytest.fixture(scope="module")
def writing(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server, one a file, for tests that write."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("writing") / "store")) as running:
        yield running
