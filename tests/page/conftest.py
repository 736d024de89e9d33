"""A browser for each file of tests, services, and visits that are judged at a test's end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import Start, Visit, VisitAt, chromium, require_browser, visiting
from tests.running import Running, copy_store, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a service for tests that change nothing."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("page") / "store")) as running:
        yield running


# One a file, and not one for all: playwright's event loop stays in this thread, where other tests begin their own.
@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Return a browser."""
    require_browser()
    with chromium() as running:
        yield running


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a service on a copy of the trained store; it runs until nobody visits it any more."""
    with ExitStack() as stack:
        yield lambda prepare=None, **settings: stack.enter_context(
            serving(_prepared(copy_store(trained, tmp_path / "store"), prepare), **settings)
        )


def _prepared(store: Path, prepare: Callable[[Path], object] | None) -> Path:
    if prepare is not None:
        prepare(store)
    return store


@pytest.fixture
def visit_at(browser: "Browser", start: Start) -> Iterator[VisitAt]:
    """Return what begins a visit at a service; in the end nothing must have been wrong with any."""
    assert start is not None  # services are stopped after those who visit them have left
    visits: list[Visit] = []

    def begin(running: Running, path: str = "/") -> Visit:
        visits.append(visiting(browser, running, path))
        return visits[-1]

    yield begin
    for visit in visits:
        visit.page.context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


@pytest.fixture
def visit(visit_at: VisitAt, served: Running) -> Visit:
    """Return a visit at the service that changes nothing."""
    return visit_at(served)
