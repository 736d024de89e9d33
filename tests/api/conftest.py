"""Servers on copies of a trained store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, copy_store, serving


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
