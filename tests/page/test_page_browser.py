"""The page in a browser, in short: it asks and draws, a token is kept nowhere, and a hostile name is text."""

import re

import pytest

from tests.browsing import NARROW, WIDE, Start, Visit, VisitAt
from tests.running import Running

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
BAND = 'orchard-chart svg g[aria-label="interval"] path'
SLIDER = 'input[type="range"][aria-label^="Temperature"]'
TYPED = 'input[inputmode="decimal"][aria-label^="Temperature"]'
KEPT = """() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"""


def _token(running: Running) -> str:
    return running.write["Authorization"].removeprefix("Bearer ")


def test_a_slider_moves_the_yields_and_their_bands(visit: Visit) -> None:
    """By keyboard alone: the number in tons, the band of a curve and what a screen reader is told follow it."""
    visit.go()
    visit.judge((WIDE, NARROW))
    slider = visit.page.locator(SLIDER)
    counted = _counted(visit)
    tons, band, told = visit.text(".yield strong"), _band(visit), slider.get_attribute("aria-valuetext")
    slider.focus()
    for _ in range(4):
        visit.page.keyboard.press("PageUp")
    visit.page.wait_for_function("([tons]) => document.querySelector('.yield strong').innerText !== tons", arg=[tons])
    visit.settle()
    visit.page.wait_for_timeout(700)  # the address follows once nothing moves
    number = float(re.findall(r"[\d.]+", slider.get_attribute("aria-valuetext") or "")[0])
    assert number == float(visit.page.locator(TYPED).input_value())
    visit.page.wait_for_function("(now) => location.hash.includes(`temperature=${now}&`)", arg=number)
    assert _band(visit) != band
    assert slider.get_attribute("aria-valuetext") != told
    assert _counted(visit) == counted
    expected = visit.page.request.post(visit.url + "predict", data=_asked(visit)).json()["yields"]["mango"]["tons"]
    assert float(visit.text(".yield strong").removesuffix(" t")) == pytest.approx(expected, abs=0.06)


def _counted(visit: Visit) -> int:
    """Return of how many regions the service has counted the weather that was asked about."""
    asked: int = visit.page.request.get(visit.url + "models/live/drift").json()["asked"]
    return asked


def _band(visit: Visit) -> str | None:
    """Return the band of the second curve, which is by rainfall and lies elsewhere at another temperature."""
    return visit.page.locator(BAND).nth(1).get_attribute("d")


def _asked(visit: Visit) -> dict[str, float]:
    """Return the weather that the address holds."""
    pairs = re.findall(r"(temperature|rainfall|humidity)=([-\d.]+)", visit.page.url)
    return {name: float(value) for name, value in pairs}


def test_a_token_is_kept_in_the_page_alone(visit: Visit, served: Running) -> None:
    """A wrong one is said to be wrong; a right one names who writes, and is in no storage, cookie or address."""
    visit.allowed.add(401)
    visit.go()
    assert visit.page.locator("orchard-chart").first.locator("circle").count() == 1  # of what is asked about
    visit.page.get_by_role("button", name="Reading only").click()
    dialog = visit.page.locator("#token-dialog")
    dialog.get_by_label("Token", exact=True).fill("wrong")
    dialog.get_by_role("button", name="Use it").click()
    dialog.get_by_text("the token is wrong").wait_for()
    visit.judge()
    dialog.get_by_label("Token", exact=True).fill(_token(served))
    dialog.get_by_role("button", name="Use it").click()
    visit.page.locator(".who summary", has_text="Writing").wait_for()
    assert not dialog.is_visible()
    visit.settle()
    visit.page.locator(
        'orchard-chart g[aria-label="dot"] circle'
    ).first.wait_for()  # reported yields, beside the curves
    assert _token(served) not in visit.page.evaluate(KEPT)
    assert _token(served) not in visit.page.content()
    visit.page.reload()
    visit.page.get_by_role("button", name="Reading only").wait_for()


@pytest.mark.long
def test_a_hostile_name_is_drawn_as_text(start: Start, visit_at: VisitAt) -> None:
    """A region of that name, in the field, in warnings and from the address, runs nothing and makes no element."""
    running = start()
    row = {"region": HOSTILE, "temperature": 73, "rainfall": 67, "humidity": 43, "yields": {"mango": 57}}
    rows = [row, row | {"temperature": 91, "rainfall": 88}, row | {"humidity": 58, "rainfall": 134}]
    body = {"observations": rows, "activate": "always", "note": HOSTILE}
    assert running.client.post("/retrain", json=body, headers=running.write).status_code == 200
    due = row | {"season": HOSTILE}
    del due["yields"]
    told = running.client.post("/forecasts", json=due, params={"note": HOSTILE}, headers=running.write)
    assert told.status_code == 201, told.text
    visit = visit_at(running)
    visit.go(f"#/ask?region={HOSTILE.replace(' ', '%20').replace('=', '%3D')}&temperature=140")
    assert visit.page.get_by_role("textbox", name="Region").input_value() == HOSTILE
    visit.page.locator(".chip summary").click()
    assert HOSTILE in visit.text(".chip .more")  # the note, by which the version was made live
    visit.page.get_by_role("button", name="Reading only").click()
    dialog = visit.page.locator("#token-dialog")
    dialog.get_by_label("Token", exact=True).fill(_token(running))
    dialog.get_by_role("button", name="Use it").click()
    visit.page.locator(".who summary", has_text="Writing").wait_for()
    for view in ("versions", "model", "teach", "record", "watch"):
        visit.go(f"#/{view}")
        visit.settle()
        assert view == "watch" or HOSTILE in visit.text(), view  # its note, its region or its season
        assert visit.page.locator('img[src="x"], script:not([src])').count() == 0
