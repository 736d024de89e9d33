"""What all tests share: the tutorial's rows, a store trained on them, and settings for an empty one."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from app.data.provenance import Provenance
from app.data.tables import Table, parse_observations
from app.settings import Settings
from app.training.order import Order
from tests.postgresql import Cluster, cluster, programs

ROOT = Path(__file__).parent.parent

# A busy machine may take its time for an example, and servers are the same for all examples.
hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole services: they take longest, and short ones fill the gaps at the end."""
    items.sort(key=lambda item: item.path.parent != ROOT / "tests")


@pytest.fixture(scope="session")
def tutorial() -> Table:
    """Return the tutorial's 15 regions."""
    return parse_observations((ROOT / "app" / "data" / "tutorial.csv").read_bytes())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """Return a PostgreSQL server."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    with cluster(found) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose model store is a folder that does not exist yet."""
    return Settings(model_store=tmp_path / "store")


@pytest.fixture(scope="session")
def trained(tutorial: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose live version 1 is the tutorial's; not to be written to."""
    from app.training.job import Job  # noqa: PLC0415 - imports torch, which what only hands out tests has no need of

    store = tmp_path_factory.mktemp("trained") / "store"
    job = Job(Settings(model_store=store))
    job.run(Order(Provenance("tutorial.csv", "test"), tutorial, alone=True))
    job.close()
    return store


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose live version 1 knows regions A to I of `tests.panels`; not to be written to."""
    from tests.panels import learned, with_effects  # noqa: PLC0415 - as above

    store = tmp_path_factory.mktemp("panel") / "store"
    learned(with_effects(), store)
    return store


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose live version 2 has a record, of `tests.panels.surprised`; not to be written to."""
    from tests.panels import surprised  # noqa: PLC0415 - as above

    store = tmp_path_factory.mktemp("recorded") / "store"
    surprised(store)
    return store
