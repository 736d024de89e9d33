"""Teaching in a browser: a table is dropped, looked at, learned from and taken back; a version is chosen."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browsing import NARROW, WIDE, Start, Visit, VisitAt
from tests.running import HARVEST, Running, until

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
SLOW = """(fails) => {
  const whole = Blob.prototype.arrayBuffer;
  const held = new Promise((done) => { globalThis.release = done });
  Blob.prototype.arrayBuffer = async function () {
    if (this.name === fails) throw new DOMException("no file", "NotFoundError");
    if (this.name === "first.csv") await held;
    return whole.call(this);
  };
}"""
"""Has one file fail when it is read, as a folder does, and the first one wait for `release()`."""
COMMA = 'region,year,temperature,rainfall,humidity,"mango, ripe",orange\n' + "".join(
    f"{region},2025,{row}\n"
    for region, row in [("K", "73,67,43,56.5,70.2"), ("L", "91,88,64,81.3,100.4"), ("M", "87,134,58,118.7,134")]
)
LISTED = re.compile(r"/models\?")
MORE: list[dict[str, Any]] = [
    {"region": "N", "temperature": 69, "rainfall": 96, "humidity": 70, "yields": {"mango": 103, "orange": 119}},
    {"region": "O", "temperature": 102, "rainfall": 43, "humidity": 37, "yields": {"mango": 22, "orange": 37}},
    {"region": "P", "temperature": 74, "rainfall": 66, "humidity": 43, "yields": {"mango": 57, "orange": 69}},
]
RETRAINS = re.compile(r"/retrain\?")
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
    visit.sign_in(running)
    return visit


def _drop(visit: Visit, text: str, name: str = "harvest.csv") -> None:
    dropped = visit.page.evaluate_handle(DROPPED, [text, name])
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
    page.locator("#confirm").get_by_label("Why").fill("it was last year's")
    teaching.judge()
    page.locator("#confirm").get_by_role("button", name="and withdraw").click()
    page.get_by_text("Version 1 is live again.").wait_for()
    assert (_versions(running), running.version()) == (["2", "1"], "1")
    after = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    assert len(after) == len(batches) + 1
    assert [batch["withdrawn"] is None for batch in after] == [False] + [True] * len(batches)
    assert running.client.get("/models/log").json()["log"][0]["why"] == "it was last year's"
    teaching.judge()


def test_all_that_was_learned_is_taken_back(teaching: Visit, running: Running) -> None:
    """Also of more batches than the page shows: none that the undone version has learned stays in training."""
    count = 104
    for number in range(count):
        row = MORE[number % 3] | {"region": f"R{number}", "temperature": MORE[number % 3]["temperature"] + number / 100}
        assert (
            running.client.post("/observations", json={"observations": [row]}, headers=running.write).status_code == 201
        )
    page = teaching.page
    _drop(teaching, TABLE)
    page.get_by_label("Note").fill(NOTE)
    page.get_by_role("button", name="Retrain", exact=True).click()
    page.get_by_text("version 2 is live").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.locator("#confirm").get_by_role("button", name=f"withdraw {count + 1} batches").click()
    page.get_by_text(f"{count + 1} batches withdrawn").wait_for(timeout=30_000)
    after = running.client.get("/observations/batches", params={"limit": 1_000}, headers=running.write).json()[
        "batches"
    ]
    assert [batch["withdrawn"] is None for batch in after] == [False] * (count + 1) + [True] * (len(after) - count - 1)


@pytest.mark.parametrize("fails", ["first.csv", "second.csv"])
def test_files_that_cannot_be_read_or_take_long(teaching: Visit, fails: str) -> None:
    """A folder is refused in words; of two tables the one that was dropped last is taken, whichever is read first."""
    page = teaching.page
    page.evaluate(SLOW, fails)
    _drop(teaching, FAULTY, "first.csv")
    _drop(teaching, TABLE, "second.csv")
    if fails == "second.csv":
        page.locator(".drop [role=alert]", has_text="second.csv cannot be read (no file)").wait_for()
        page.evaluate("() => release()")
        teaching.judge((WIDE, NARROW))
        _drop(teaching, TABLE, "third.csv")
    name = "second.csv" if fails == "first.csv" else "third.csv"
    page.get_by_role("heading", name=name).wait_for()
    page.evaluate("() => release()")
    page.get_by_text("It would be accepted.").wait_for()
    assert page.get_by_role("heading", name=name).count() == 1


def test_columns_with_a_comma_in_their_name(teaching: Visit) -> None:
    """Where crops are chosen it is said that these cannot be, and nothing else is asked for in their place."""
    teaching.allowed.add(400)
    teaching.allowed.add(422)
    _drop(teaching, COMMA)
    page = teaching.page
    page.get_by_text("cannot be chosen here").wait_for()
    page.get_by_text("It would be accepted.").wait_for()
    assert page.get_by_label("mango, ripe").is_disabled()
    assert not page.get_by_label("mango, ripe").is_checked()
    assert page.get_by_label("orange").is_checked()
    teaching.judge((WIDE, NARROW))


def test_one_retrain_at_a_time(teaching: Visit, running: Running) -> None:
    """Until it is known what has come of one, none can be begun on what is in use, and it stays in sight."""
    page = teaching.page
    held: list[Route] = []
    other = page.get_by_role("button", name="Retrain on what is in use")
    _drop(teaching, TABLE)
    page.get_by_text("It would be accepted.").wait_for()
    page.route(RETRAINS, lambda route: held.append(route))  # noqa: PLW0108 - the signature of a builtin is not known
    page.get_by_role("button", name="Retrain", exact=True).click()
    page.locator(".under-way").wait_for()
    assert other.is_disabled()

    def is_held() -> bool:
        page.wait_for_timeout(20)  # in which the browser's calls are handed over
        return bool(held)

    until(is_held)
    held[0].continue_()
    page.get_by_text("version 2 is live").wait_for()
    assert running.version() == "2"
    assert other.is_enabled()


def test_a_question_that_was_cancelled(teaching: Visit, running: Running) -> None:
    """Nothing of what was typed into it is filed with the next one, whose field has the focus."""
    page = teaching.page
    why = page.locator("#confirm").get_by_label("Why")
    page.get_by_role("button", name="Withdraw the batch").click()
    why.fill("because of something else")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#confirm form").wait_for(state="detached")
    page.get_by_role("button", name="Withdraw the batch").click()
    why.wait_for()
    assert why.input_value() == ""
    assert why.evaluate("(field) => field === document.activeElement")
    page.get_by_role("button", name="Withdraw it").click()
    page.get_by_text("not in training").wait_for()
    (batch,) = running.client.get("/observations/batches", headers=running.write).json()["batches"]
    assert (batch["withdrawn"] is None, batch["withdrawn_why"]) == (False, "")


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


def test_a_version_that_was_only_stored(teaching: Visit, running: Running) -> None:
    """It is in the list when that is opened again, although nothing else goes live; older ones are added once."""
    page = teaching.page
    teaching.go("#/versions")
    page.get_by_label("Compare version 1").wait_for()
    teaching.go("#/teach")
    body = HARVEST | {"activate": "never"}
    assert running.client.post("/retrain", json=body, headers=running.write).status_code == 200
    teaching.go("#/versions")
    page.get_by_label("Compare version 2").wait_for()


def test_older_versions_are_added_once(visit: Visit) -> None:
    """However quickly somebody clicks."""
    asked: list[str] = []
    visit.page.route(LISTED, lambda route: _older(route, asked))
    visit.go("#/versions")
    visit.page.get_by_role("button", name="Older versions").evaluate("(button) => (button.click(), button.click())")
    visit.page.get_by_label("Compare version 0").wait_for()
    visit.settle()
    assert visit.page.locator("tr[data-version]").count() == 2
    assert len(asked) == 1


def _older(route: "Route", asked: list[str]) -> None:
    """Answer that there is an older version than the one there is, 0."""
    if "before=" in route.request.url:
        asked.append(route.request.url)
        answer = route.fetch(url=route.request.url.partition("?")[0]).json()
        entry = answer["versions"][0] | {"version": "0", "live": False}
        route.fulfill(json=answer | {"versions": [entry], "next": None})
    else:
        route.fulfill(json=route.fetch().json() | {"next": "1"})


def test_a_crop_with_a_name_that_objects_inherit(teaching: Visit, running: Running) -> None:
    """A version has "constructor" and another one has not: it is in the list and the comparison, of the one only."""
    sent: Any = HARVEST["observations"]
    rows = [row | {"yields": row["yields"] | {"constructor": row["yields"]["mango"] / 2}} for row in (*sent, *MORE)]
    body = {"observations": rows, "activate": "never"}
    answer = running.client.post("/retrain", json=body, headers=running.write)
    assert answer.status_code == 200, answer.text
    teaching.go("#/versions?compare=1,2")
    page = teaching.page
    page.get_by_role("heading", name="Version 2 against version 1").wait_for()
    page.get_by_text("Only in one of them: constructor (version 2).").wait_for()
    page.get_by_role("columnheader", name="constructor RMSE, t").wait_for()
    teaching.judge((WIDE, NARROW))


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
