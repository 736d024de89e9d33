"""What if, where it is easily wrong: addresses one after the other, what is being typed, and answers that fail."""

import pytest

from tests.browsing import Visit
from tests.running import Running

pytestmark = pytest.mark.long

TEMPERATURE, RAINFALL = (f'input[inputmode="decimal"][aria-label^="{name}"]' for name in ("Temperature", "Rainfall"))
PREDICT = "**/predict?*"
CLOSED = """for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("closed", "SecurityError"); } });
}"""


def _tons(visit: Visit) -> float:
    return float(visit.text(".yield strong").removesuffix(" t"))


def _predicted(running: Running, **weather: float) -> float:
    tons: float = running.client.post("/predict", json=weather).json()["yields"]["mango"]["tons"]
    return tons


def test_each_address_is_asked(visit: Visit, served: Running) -> None:
    """A whole weather in the address is answered, also where another one was shown before; back goes back."""
    for weather in ({"temperature": 95.0, "rainfall": 80.0}, {"temperature": 70.0, "rainfall": 120.0}):
        visit.go("#/ask?humidity=60&" + "&".join(f"{name}={value}" for name, value in weather.items()))
        visit.page.wait_for_timeout(300)
        assert _tons(visit) == pytest.approx(_predicted(served, **weather, humidity=60), abs=0.06)
    visit.page.go_back()
    visit.settle()
    visit.page.wait_for_timeout(300)
    assert _tons(visit) == pytest.approx(_predicted(served, temperature=95, rainfall=80, humidity=60), abs=0.06)


def test_what_is_typed_stays(visit: Visit, served: Running) -> None:
    """Answers that arrive meanwhile do not write over it, and its digits are kept."""
    visit.go("#/ask?temperature=80&rainfall=80&humidity=60")
    visit.page.locator(TEMPERATURE).fill("75")
    visit.page.keyboard.press("Tab")
    visit.page.locator(RAINFALL).press("ControlOrMeta+a")
    visit.page.keyboard.type("67.45", delay=200)
    assert visit.page.locator(RAINFALL).input_value() == "67.45"
    visit.page.keyboard.press("Tab")
    visit.settle()
    visit.page.wait_for_timeout(700)
    assert visit.page.locator(RAINFALL).input_value() == "67.45"
    assert _tons(visit) == pytest.approx(_predicted(served, temperature=75, rainfall=67.45, humidity=60), abs=0.06)
    region = visit.page.get_by_role("textbox", name="Region")
    region.press_sequentially("North", delay=200)
    assert region.input_value() == "North"


def test_another_server_s_answer_is_survived(visit: Visit) -> None:
    """A proxy's page in place of the service's answers is told, and the page goes on by itself once they are back."""
    visit.allowed.update({502})
    visit.go()
    visit.page.route("**/health/ready", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    visit.page.locator(".banner.bad").wait_for()
    visit.page.unroute("**/health/ready")
    visit.page.locator(".banner.bad").wait_for(state="detached")


def test_the_map_is_asked_for_again(visit: Visit) -> None:
    """Where the map alone cannot be had, that is said in its place, and a button asks again."""
    visit.allowed.add(503)
    body = '{"status": 503, "code": "overloaded", "detail": "too many requests", "title": "Overloaded"}'
    visit.page.route(
        PREDICT,
        lambda route: route.continue_() if "explain" in route.request.url else route.fulfill(status=503, body=body),
    )
    visit.go()
    failed = visit.page.locator(".below .problem")
    failed.wait_for()
    assert "too many requests" in failed.inner_text()
    visit.page.unroute(PREDICT)
    failed.get_by_role("button", name="Try again").click()
    visit.page.locator('.below orchard-chart[name^="mango"] svg').first.wait_for()


def test_a_wrong_token_leaves_the_right_one(visit: Visit, served: Running) -> None:
    """Who mistypes a second token still has the first; one that cannot be sent is refused in words."""
    visit.allowed.add(401)
    visit.go()
    visit.page.get_by_role("button", name="Reading only").click()
    dialog = visit.page.locator("#token-dialog")
    field = dialog.get_by_label("Token", exact=True)
    field.fill("schlüssel")
    dialog.get_by_role("button", name="Use it").click()
    dialog.get_by_text("This is no token").wait_for()
    field.fill(served.write["Authorization"].removeprefix("Bearer "))
    dialog.get_by_role("button", name="Use it").click()
    visit.page.locator(".who summary").wait_for()
    dialog.wait_for(state="hidden")  # it closes after the page knows who reads: opened before, it would be closed again
    visit.page.evaluate("() => document.querySelector('#token-dialog').showModal()")
    field.fill("another-token-that-is-wrong")
    dialog.get_by_role("button", name="Use it").click()
    dialog.get_by_text("the token is wrong").wait_for()
    visit.page.keyboard.press("Escape")
    visit.go("#/teach")
    visit.page.locator(".batches li").first.wait_for()


def test_storage_may_be_closed(visit: Visit) -> None:
    """A browser that lets the page store nothing shows it all the same."""
    visit.page.add_init_script(CLOSED)
    visit.go()
    assert _tons(visit) > 0
    visit.page.locator(".tools select").first.select_option("°C")
    visit.page.locator("main", has_text="°C").wait_for()


def test_numbers_as_they_are_written(visit: Visit, served: Running) -> None:
    """A decimal comma is one; what is no weather is told at its field and not asked; an address is taken as it is."""
    visit.go("#/ask?temperature=80&rainfall=80&humidity=60")
    visit.page.locator(TEMPERATURE).fill("72,5")
    visit.page.keyboard.press("Tab")
    visit.page.wait_for_timeout(700)
    expected = _predicted(served, temperature=72.5, rainfall=80, humidity=60)
    assert _tons(visit) == pytest.approx(expected, abs=0.06)
    visit.page.locator(RAINFALL).fill("40000")
    visit.page.keyboard.press("Tab")
    visit.page.get_by_text("is not between 0 and 30000 mm").wait_for()
    assert visit.page.locator(RAINFALL).get_attribute("aria-invalid") == "true"
    assert _tons(visit) == pytest.approx(expected, abs=0.06)
    visit.judge()
    visit.go("#/ask?temperature=24&rainfall=67&humidity=43&region=B")
    visit.page.get_by_text("if it is in °C").wait_for()
    assert visit.page.locator(TEMPERATURE).input_value() == "24"
    assert _tons(visit) == pytest.approx(_predicted(served, temperature=24, rainfall=67, humidity=43), abs=0.06)
