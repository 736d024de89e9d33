"""Teaching in a browser: a table is dropped, looked at, learned from and taken back; a version is chosen."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browsing import NARROW, WIDE, Start, Visit, VisitAt
from tests.running import HARVEST, Running

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.long

HEAD = "region,temperature,rainfall,humidity,mango,orange\n"
TABLE = HEAD + "K,73,67,43,56.5,70.2\nL,91,88,64,81.3,100.4\nM,87,134,58,118.7,134\n"
FAULTY = HEAD + "K,73,67,43,56.5,70.2\n<b>L</b>,91,many,64,81.3,100.4\nM,87,134,158,118.7,134\n"
DROPPED = """([text, name]) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([text], name, { type: "text/csv" }));
  return dropped;
}"""
RESIDUALS = re.compile(r"/models/1/residuals")
NOTE = "harvest <i>2026</i>"


@pytest.fixture
def running(start: Start) -> Running:
    """Return a service that may be taught."""
    return start()


@pytest.fixture
def teaching(running: Running, visit_at: VisitAt) -> Visit:
    """Return a visit by who may write."""
    visit = visit_at(running)
    visit.go("#/teach")
    visit.page.get_by_role("button", name="Reading only").click()
    dialog = visit.page.locator("#token-dialog")
    dialog.get_by_label("Token", exact=True).fill(running.write["Authorization"].removeprefix("Bearer "))
    dialog.get_by_role("button", name="Use it").click()
    visit.page.locator(".who summary", has_text="Writing").wait_for()
    return visit


def _drop(visit: Visit, text: str) -> None:
    dropped = visit.page.evaluate_handle(DROPPED, [text, "harvest.csv"])
    visit.page.locator(".drop").dispatch_event("drop", {"dataTransfer": dropped})


def _versions(running: Running) -> list[str]:
    return [entry["version"] for entry in running.client.get("/models").json()["versions"]]


def test_a_harvest_is_learned_and_taken_back(teaching: Visit, running: Running) -> None:
    """Dropped, tried without a trace, learned, live; then undone, and its batch withdrawn."""
    page = teaching.page
    _drop(teaching, TABLE)
    page.get_by_text("It would be accepted.").wait_for()
    assert (_versions(running), running.version()) == (["1"], "1")  # nothing was done yet
    batches = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    teaching.judge((WIDE, NARROW))
    page.get_by_label("Note").fill(NOTE)
    page.get_by_role("button", name="Retrain", exact=True).click()
    page.get_by_text("version 2 is live").wait_for()
    assert (_versions(running), running.version()) == (["2", "1"], "2")
    page.get_by_role("button", name="Undo").wait_for()
    teaching.judge((WIDE, NARROW))
    assert NOTE in teaching.text()
    page.get_by_role("button", name="Undo").click()
    page.locator("#teach-confirm").get_by_label("Why").fill("it was last year's")
    teaching.judge()
    page.locator("#teach-confirm").get_by_role("button", name="and withdraw").click()
    page.get_by_text("Version 1 is live again.").wait_for()
    assert (_versions(running), running.version()) == (["2", "1"], "1")
    after = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    assert len(after) == len(batches) + 1
    assert [batch["withdrawn"] is None for batch in after] == [False] + [True] * len(batches)
    assert running.client.get("/models/log").json()["log"][0]["why"] == "it was last year's"
    teaching.judge()


def test_a_table_with_faults(teaching: Visit, running: Running) -> None:
    """Each is told with its row and column, before anything is done; the mended table is taken."""
    teaching.allowed |= {400, 422}
    _drop(teaching, FAULTY)
    told = teaching.page.locator('[aria-labelledby="teach-review"]')
    told.get_by_text("rainfall").first.wait_for()
    teaching.settle()
    for word in ("rainfall", "humidity", "100"):
        assert word in told.inner_text()
    assert told.get_by_role("button", name="Retrain", exact=True).count() == 0
    teaching.judge((WIDE, NARROW))
    assert _versions(running) == ["1"]
    teaching.page.get_by_role("button", name="Another table").click()
    _drop(teaching, TABLE)
    teaching.page.get_by_text("It would be accepted.").wait_for()


def test_an_installation_that_only_predicts(visit: Visit) -> None:
    """In place of the table it is said why, and what can be done."""
    visit.page.route("**/access", _serves_only)
    visit.go("#/teach")
    visit.page.get_by_text("This service predicts, and does not learn").wait_for()
    assert visit.page.locator(".drop").count() == 0
    visit.judge((WIDE, NARROW))


def _serves_only(route: "Route") -> None:
    route.fulfill(json=route.fetch().json() | {"retrain": False})


def test_versions_are_compared_and_one_is_chosen(teaching: Visit, running: Running) -> None:
    """Two are ticked and told apart, also after a reload; one is made live, with a reason that the log keeps."""
    body = HARVEST | {"activate": "never"}
    assert running.client.post("/retrain", json=body, headers=running.write).status_code == 200
    page = teaching.page
    teaching.go("#/versions")
    for version in ("1", "2"):
        page.get_by_label(f"Compare version {version}").check()
    page.get_by_role("heading", name="Version 2 against version 1").wait_for()
    teaching.judge((WIDE, NARROW))
    assert "compare=" in page.url
    page.get_by_role("button", name="Make version 2 live").click()
    dialog = page.locator("#activate-dialog")
    dialog.get_by_role("textbox").fill(NOTE)
    teaching.judge((WIDE, NARROW))
    dialog.get_by_role("button", name="Make version 2 live").click()
    page.get_by_text("Version 2 is live now.").wait_for()
    assert running.version() == "2"
    page.locator(".timeline", has_text=NOTE).wait_for()
    teaching.judge()
    page.reload()
    page.get_by_role("heading", name="Version 2 against version 1").wait_for()


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({}, "Predicted against reported"),
        ({"selected_by": "the largest residuals and a sample", "shown": 15, "total": 250_000}, "Too many to draw"),
        (
            {"residuals": [], "shown": 0, "reason": "these rows were learned from a file and not stored"},
            "learned from a file",
        ),
    ],
    ids=["all points", "too many points", "moments only"],
)
def test_rows_of_a_version(teaching: Visit, patch: dict[str, Any], said: str) -> None:
    """Drawn where they are stored; a part of them where they are too many; a sentence where there are none."""
    teaching.page.route(RESIDUALS, lambda route: _patched(route, patch))
    teaching.go("#/model/1")
    teaching.page.locator("main").get_by_text(said).first.wait_for()
    teaching.judge((WIDE, NARROW))


def _patched(route: "Route", patch: dict[str, Any]) -> None:
    answer = route.fetch().json()
    assert patch.keys() <= answer.keys(), json.dumps(sorted(answer))
    route.fulfill(json=answer | patch)


def test_a_version_that_is_not_there(visit: Visit) -> None:
    """The service's words, and another try."""
    visit.allowed.add(404)
    visit.go("#/model/99")
    visit.page.locator(".problem[role=alert]").wait_for()
    visit.judge((WIDE, NARROW))
