"""The page's views and their states in a browser: accessible, no wider than the screen, and without an error."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.responses import Response

from app.api import page as served_page
from tests.browsing import NARROW, THEMES, VIEWS, WIDE, Start, Visit, VisitAt, violations
from tests.running import HARVEST, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.long

PREFIX = "/orchard"
FAULT = {
    "type": "about:blank",
    "title": "An error of the service",
    "status": 500,
    "detail": "something <b>is</b> wrong here",
    "code": "internal",
    "request_id": "0123456789ab-7",
}
MOST_BYTES = 200_000
SIZES = """() => Object.fromEntries(["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
  .filter((each) => each.initiatorType !== "fetch").map((each) => [each.name, each.encodedBodySize]))"""
READS = "a-token-for-reading"
SIGN = re.compile("[+−]")  # noqa: RUF001 - as the page writes numbers
BAND_HEIGHT = """() => document.querySelector('orchard-chart g[aria-label="interval"]').getBBox().height"""
SLIDER = 'input[type="range"][aria-label^="Temperature"]'


def test_each_view(visit: Visit) -> None:
    """In both themes, on a desk and on a phone, nothing is wrong with any; those of charts and tables opened, too."""
    for view in VIEWS:
        visit.go(f"#/{view}")
        assert visit.page.title().endswith("· Orchard")
        visit.judge((WIDE, NARROW))
        for summary in visit.page.locator("main details.numbers summary").all():
            summary.click()
        visit.judge((NARROW,), themes=("light",))


def test_its_size(visit: Visit) -> None:
    """Until the first answer is drawn a browser that has nothing yet fetches 200 KB of files at most, compressed."""
    visit.go("#/ask")
    sizes = visit.page.evaluate(SIZES)
    assert any(name.endswith("/plot.umd.min.js") for name in sizes)
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_what_the_head_opens(visit: Visit) -> None:
    """The state, its details over the page, and an address that leads nowhere."""
    visit.go("#/ask")
    visit.page.locator(".chip summary").click()
    visit.judge((WIDE, NARROW))
    visit.go("#/nowhere/at/all?x=%3Cb%3E")
    assert "There is no such view" in visit.text()
    visit.judge()


def test_keys_alone(visit: Visit) -> None:
    """The first key leads to the content, each view is reached by Tab and Enter, and what has the focus shows it."""
    visit.go("#/ask")
    page = visit.page
    page.keyboard.press("Tab")
    assert _focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "content"
    page.locator("body").evaluate("(body) => { document.activeElement.blur(); body.scrollIntoView(); }")
    page.reload()
    visit.settle()
    for _ in range(3 + len(VIEWS)):  # after the link to the content, the name and the state
        page.keyboard.press("Tab")
        if _focused(page) == "Watch":
            break
    assert _focused(page) == "Watch"
    style = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="How it runs").wait_for()


def _focused(page: "Page") -> str:
    text: str = page.evaluate("() => document.activeElement.innerText")
    return text.strip()


def test_the_address_holds_what_is_seen(visit: Visit) -> None:
    """What was moved, pinned and chosen is there again after a reload, and in the history."""
    visit.go("#/ask")
    page = visit.page
    page.get_by_role("button", name="Keep as A").click()
    page.get_by_label("50%").check()
    page.locator(SLIDER).focus()
    page.keyboard.press("PageUp")
    page.wait_for_function("() => /temperature=.*level=0.5.*a=/.test(location.hash)")
    visit.settle()
    before = visit.text(".answers"), page.url
    page.reload()
    visit.settle()
    page.locator(".against").first.wait_for()
    assert (visit.text(".answers"), page.url) == before
    visit.go("#/watch")
    page.go_back()
    visit.settle()
    page.locator(".against").first.wait_for()
    assert (visit.text(".answers"), page.url) == before


def test_waiting(visit: Visit) -> None:
    """While an answer is on its way its place is reserved, and said to be busy."""
    release = _hold(visit.page, "**/predict*")
    visit.page.goto(visit.url)
    visit.page.locator("main [aria-busy=true]", has_text="Loading the yields").wait_for()
    for theme in THEMES:
        _judge_now(visit, theme)
    release()
    visit.page.locator(".yield strong").first.wait_for()


def _hold(page: "Page", pattern: str) -> Callable[[], None]:
    """Keep calls waiting, and return what lets them go on."""
    held: list[Route] = []
    is_released = False

    def keep(route: "Route") -> None:
        if is_released:
            route.continue_()
        else:
            held.append(route)

    def release() -> None:
        nonlocal is_released
        is_released = True
        for route in held:
            route.continue_()

    page.route(pattern, keep)
    return release


def _judge_now(visit: Visit, theme: str) -> None:
    """Judge what is still on its way."""
    visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    assert violations(visit.page) == []


def test_an_error(visit: Visit) -> None:
    """The service's words as text, its code and the request's id, and another try, which works."""
    visit.allowed.add(500)
    kind = "application/problem+json"
    visit.page.route("**/predict*", lambda route: route.fulfill(status=500, content_type=kind, body=json.dumps(FAULT)))
    visit.go("#/ask")
    told = visit.page.locator(".problem[role=alert]").first
    told.wait_for()
    for part in (FAULT["detail"], FAULT["code"], FAULT["request_id"]):
        assert str(part) in told.inner_text()
    visit.judge((WIDE, NARROW))
    visit.page.unroute("**/predict*")
    told.get_by_role("button", name="Try again").click()
    visit.page.locator(".yield strong").first.wait_for()
    assert visit.page.locator(".problem").count() == 0


def test_an_error_in_another_view(visit: Visit) -> None:
    """Watch says that it cannot see, and sees again."""
    visit.allowed.add(500)
    kind = "application/problem+json"
    visit.page.route("**/metrics", lambda route: route.fulfill(status=500, content_type=kind, body=json.dumps(FAULT)))
    visit.go("#/watch")
    visit.page.locator(".problem[role=alert]").wait_for()
    visit.judge()
    visit.page.unroute("**/metrics")
    visit.page.get_by_role("button", name="Try again").click()
    visit.page.get_by_role("heading", name="Processes").wait_for()


def test_no_token(visit: Visit) -> None:
    """What needs a token is one sentence and a button, which opens the dialog; all else works."""
    visit.go("#/ask")
    visit.page.locator(".needed button").first.click()
    assert visit.page.locator("#token-dialog").is_visible()
    visit.judge((WIDE, NARROW))
    visit.page.keyboard.press("Escape")
    assert not visit.page.locator("#token-dialog").is_visible()


def _nothing_live(store: Path) -> None:
    """Leave a version that is not live, and no rows that one would be learned from."""
    for path in ("log/1.json", "observations.db"):
        (store / path).unlink()


def test_nothing_there_yet(start: Start, visit_at: VisitAt) -> None:
    """Without a model each view says what to do; once one is live it is shown, without a reload."""
    running = start(_nothing_live)
    visit = visit_at(running)
    visit.allowed.add(503)
    for view in VIEWS:
        visit.go(f"#/{view}")
        if view in {"ask", "model"}:
            assert "No model yet" in visit.text()
        visit.judge((WIDE, NARROW))
    visit.go("#/ask")
    assert running.client.post("/models/1/activate", headers=running.write).status_code == 200
    visit.page.locator(".yield strong").first.wait_for()


def test_reading_is_closed(start: Start, visit_at: VisitAt) -> None:
    """A form for the token and nothing else; with one that reads all is there but what writes."""
    running = start(ORCHARD_READ_TOKEN=READS)
    visit = visit_at(running)
    visit.allowed.add(401)
    for view in VIEWS:
        visit.go(f"#/{view}")
        visit.page.get_by_text("Reading needs a token here.").wait_for()
        assert visit.page.locator("main figure").count() == 0
    visit.judge((WIDE, NARROW))
    form = visit.page.locator("main form")
    form.get_by_label("Token", exact=True).fill("wrong")
    form.get_by_role("button", name="Use it").click()
    form.get_by_text("the token is wrong").wait_for()
    visit.judge()
    form.get_by_label("Token", exact=True).fill(READS)
    form.get_by_label("Keep it for this tab").check()
    form.get_by_role("button", name="Use it").click()
    visit.page.locator(".who summary", has_text="Reading").wait_for()
    visit.allowed.discard(401)
    for view in VIEWS:
        visit.go(f"#/{view}")
        assert visit.page.get_by_text("Reading needs a token here.").count() == 0
        visit.judge()
    kept = visit.page.evaluate(
        "() => [JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), document.cookie]"
    )
    assert [READS in where for where in kept] == [False, True, False]
    visit.page.reload()
    visit.page.locator(".who summary", has_text="Reading").wait_for()
    visit.page.locator(".who summary").click()
    visit.page.get_by_role("button", name="Forget the token").click()
    visit.page.get_by_text("Reading needs a token here.").wait_for()
    assert READS not in visit.page.evaluate("() => JSON.stringify({ ...sessionStorage })")


def test_another_version_goes_live(start: Start, visit_at: VisitAt) -> None:
    """Until what is seen is drawn by it, which of them drew it is said."""
    running = start()
    visit = visit_at(running)
    visit.go("#/ask")
    release = _hold(visit.page, "**/predict*")
    body = HARVEST | {"activate": "always"}
    assert running.client.post("/retrain", json=body, headers=running.write).status_code == 200
    visit.page.get_by_text("Drawn by version 1; version 2 is live.").wait_for()
    for theme in THEMES:
        _judge_now(visit, theme)
    release()
    visit.page.get_by_text("Drawn by version 1; version 2 is live.").wait_for(state="detached")


def test_the_service_is_gone(visit: Visit) -> None:
    """What was seen stays, with how old it is; once there are answers again, it goes on."""
    visit.go("#/watch")
    visit.go("#/ask")
    before = visit.text(".answers")
    visit.allowed.add(0)
    visit.page.context.set_offline(True)
    visit.page.get_by_text("No answer from the service since").wait_for()
    assert visit.text(".answers") == before
    assert "no answer" in visit.text(".chip")
    visit.judge((WIDE, NARROW))
    visit.go("#/watch")
    visit.judge()
    visit.go("#/versions")  # it has never been opened, and cannot be fetched now
    visit.page.get_by_text("could not be fetched").wait_for()
    visit.judge()
    assert [fault for fault in visit.faults if "dynamically imported" not in fault] == []
    visit.faults.clear()
    visit.page.context.set_offline(False)
    visit.page.get_by_text("No answer from the service since").wait_for(state="detached")
    visit.page.get_by_role("button", name="Try again").click()
    visit.page.get_by_role("heading", name="All of them, newest first").wait_for()


def test_behind_a_prefix(start: Start, visit_at: VisitAt) -> None:
    """All files, calls and links of all views stay below it."""
    running = start(ORCHARD_ROOT_PATH=PREFIX)
    visit = visit_at(running, f"{PREFIX}/")
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(httpx.URL(request.url).path))
    for view in VIEWS:
        visit.go(f"#/{view}")
        links = visit.page.locator("a").evaluate_all("(all) => all.map((link) => new URL(link.href).pathname)")
        assert all(path.startswith(f"{PREFIX}/") for path in links)
    assert len(asked) > 30
    assert all(path.startswith(f"{PREFIX}/") for path in asked)


def test_units(visit: Visit) -> None:
    """°C and inches are shown, typed and asked in, so that warnings speak them; the address has the service's own."""
    visit.go("#/ask?temperature=77&rainfall=101.6&humidity=55")
    asked, units = _asked(visit), visit.page.locator(".tools select")
    units.nth(0).select_option("°C")
    units.nth(1).select_option("in")
    typed = visit.page.locator('.feature input[inputmode="decimal"]')
    assert [typed.nth(place).input_value() for place in range(3)] == ["25", "4", "55"]
    assert "°C" in visit.text(".curves, main")
    typed.nth(0).fill("30")
    typed.nth(0).press("Tab")
    visit.page.wait_for_function("() => location.hash.includes('temperature=86&')")
    assert asked()["temperature"][0] == 30
    assert asked()["rainfall"][0] == pytest.approx(4)
    visit.go("#/ask?temperature=122&rainfall=101.6&humidity=55")
    visit.page.get_by_text("temperature 50 °C is outside the training range").wait_for()
    units.nth(0).select_option("°F")
    visit.page.get_by_text("temperature 122 °F is outside the training range").wait_for()
    units.nth(0).select_option("°C")
    visit.page.get_by_text("temperature 50 °C is outside the training range").wait_for()
    visit.judge()
    visit.page.reload()
    visit.settle()
    assert typed.nth(0).input_value() == "50"


def _asked(visit: Visit) -> Callable[[], dict[str, list[float]]]:
    """Return what tells the newest question of the sliders."""
    bodies: list[dict[str, list[float]]] = []

    def note(text: str | None) -> None:
        bodies.append(json.loads(text or "{}"))

    visit.page.on("request", lambda request: note(request.post_data) if "explain=true" in request.url else None)
    return lambda: bodies[-1]


def test_level_and_what_it_is_compared_with(visit: Visit) -> None:
    """A higher level has wider intervals; a pinned weather stays, and the difference is told until it is forgotten."""
    visit.go("#/ask")
    heights = []
    for level, asked in (("50%", "level=0.5"), ("99%", "level=0.99")):
        with visit.page.expect_response(re.compile(f"{asked}&explain")):
            visit.page.get_by_label(level).check()
        visit.settle()
        heights.append(visit.page.evaluate(BAND_HEIGHT))
    assert heights[1] > heights[0] > 0
    pinned = visit.text(".yield strong")
    visit.page.get_by_role("button", name="Keep as A").click()
    visit.page.locator(SLIDER).focus()
    visit.page.keyboard.press("PageUp")
    visit.page.locator(".against strong", has_text=SIGN).first.wait_for()
    assert pinned in visit.text(".against")
    assert visit.text(".yield strong") != pinned
    visit.judge()
    visit.page.get_by_role("button", name="Forget A").click()
    visit.page.locator(".against").first.wait_for(state="detached")


def test_a_phone_that_wants_little_motion_and_paper(visit: Visit) -> None:
    """Nothing moves by itself, and print leaves out what can only be clicked."""
    visit.go("#/ask")
    visit.page.emulate_media(media="print", color_scheme="light")
    for hidden in (".top nav", ".top .tools", ".share"):
        assert not visit.page.locator(hidden).first.is_visible()
    assert visit.page.locator(".yield strong").first.is_visible()
    visit.page.emulate_media(media="screen")
    moving = visit.page.evaluate("() => document.getAnimations().filter((each) => each.playState === 'running').length")
    assert moving == 0


def test_targets_are_large_enough(visit: Visit) -> None:
    """What is clicked in the head and beside the sliders is at least 44 px high, and 24 px elsewhere (WCAG 2.5.8)."""
    for view in VIEWS:
        visit.go(f"#/{view}")
        visit.page.set_viewport_size({"width": NARROW, "height": 900})
        visit.settle()
        for kind, least in (
            (".top :is(a, button, select, summary), .controls :is(button, input)", 44),
            ("main :is(button, summary, select)", 24),
        ):
            for element in visit.page.locator(kind).all():
                box = element.bounding_box() if element.is_visible() else None
                if box is not None and element.get_attribute("type") not in {"radio", "checkbox"}:
                    assert box["height"] >= least - 0.5, (view, element.evaluate("(each) => each.outerHTML"))


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Response]:
    """Return the page of an installation that has no libraries to draw with."""
    shutil.copytree(ROOT / "app" / "page", tmp_path / "page", ignore=shutil.ignore_patterns("vendor"))
    kept = (served_page._files, served_page._digest)  # noqa: SLF001 - what it finds once, it finds for ever
    for each in kept:
        each.cache_clear()
    monkeypatch.setattr(served_page, "_folder", lambda: tmp_path / "page")
    yield served_page.page()
    for each in kept:
        each.cache_clear()


def test_without_the_libraries(visit: Visit, missing: Response) -> None:
    """The page says what is missing and what to do, and leads to what works without them."""
    visit.go("#/ask")
    text = re.sub(r"page/[0-9a-f]+/", visit.module(""), bytes(missing.body).decode())
    headers = {name: missing.headers[name] for name in ("content-type", "content-security-policy")}
    visit.page.route(visit.url, lambda route: route.fulfill(body=text, headers=headers))
    visit.page.goto("about:blank")
    visit.page.goto(visit.url)
    assert "scripts/page.py" in visit.text()
    for width in (WIDE, NARROW):
        visit.page.set_viewport_size({"width": width, "height": 900})
        assert visit.overflow() == 0
        for theme in THEMES:
            _judge_now(visit, theme)
    for link in visit.page.locator("main a").all():
        assert visit.page.request.get(visit.url + (link.get_attribute("href") or "")).status == 200
