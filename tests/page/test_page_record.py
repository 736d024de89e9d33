"""The record in a browser: what the service says of forecasts beside harvests, in its words, charts and tables."""

import datetime as dt
import json
import re
from typing import Any

import pytest

from tests.browsing import NARROW, WIDE, Start, Visit, VisitAt
from tests.running import Running

pytestmark = pytest.mark.long

SEASONS = ("2023", "2024", "2025")
HOSTILE = "<img src=x onerror=alert(1)>"
TOO_HIGH, ABOUT_RIGHT = -20.0, 0.5
"""Tons by which mango and orange were reported off what had been forecast: outside all intervals, and inside."""
DRIER = -2.0
"""Rain that came beside what was forecast, mm."""
DRAWN = 'orchard-chart[name="Coverage, mango"] g[aria-label="{}"] > *'


@pytest.fixture
def running(start: Start) -> Running:
    """Return a service of the test's own."""
    return start()


def _weather(place: int) -> dict[str, float]:
    return {"temperature": 76.0 + 2.0 * place, "rainfall": 70.0 + 6.0 * place, "humidity": 50.0 + place}


def _sent(running: Running, path: str, body: dict[str, Any]) -> Any:
    answer = running.client.post(path, json=body, headers=running.write)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def _forecast(running: Running, season: str, regions: int) -> list[dict[str, Any]]:
    rows = [{"region": f"R{place}", "season": season, **_weather(place)} for place in range(regions)]
    stored: list[dict[str, Any]] = _sent(running, "/forecasts?note=before+sowing", {"regions": rows})["predictions"]
    return stored


def _harvested(running: Running, forecasts: list[dict[str, Any]]) -> None:
    """Report what came of forecasts: drier by a little, mango far lower, orange nearly so."""
    rows = []
    for place, forecast in enumerate(forecasts):
        weather = _weather(place)
        off = {"mango": TOO_HIGH, "orange": ABOUT_RIGHT}
        yields = {crop: forecast["yields"][crop]["tons"] + tons for crop, tons in off.items()}
        named = {"region": forecast["region"], "season": forecast["season"]}
        rain = weather["rainfall"] + DRIER
        day = dt.datetime.now(dt.UTC).date().isoformat()
        rows.append(named | weather | {"rainfall": rain, "yields": yields, "harvested": day})
    _sent(running, "/observations", {"observations": rows})


@pytest.fixture
def recorded(running: Running) -> Running:
    """Return a service with the forecasts of three seasons and their harvests, and one that waits."""
    for season in SEASONS:
        _harvested(running, _forecast(running, season, 8))
    _sent(running, "/forecasts", {"region": HOSTILE, "season": "2027", **_weather(1)})
    return running


def _group(running: Running, crop: str, query: str = "") -> dict[str, Any]:
    groups = running.client.get(f"/scores{query}").json()["scores"]
    found: dict[str, Any] = next(group for group in groups if group["crop"] == crop)
    return found


def _said(running: Running, crop: str, query: str = "") -> list[str]:
    """Return the sentences of the service's verdict."""
    verdict: str = _group(running, crop, query)["verdict"]
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in verdict.split("; ")]


def _table(visit: Visit, title: str) -> list[list[str]]:
    """Return the rows of a chart's table, which is opened."""
    figure = visit.page.locator("figure", has=visit.page.locator(f'orchard-chart[name="{title}"]'))
    figure.locator("summary").click()
    figure.locator("table").wait_for()
    rows: list[list[str]] = figure.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    return rows


def test_nothing_there_yet(visit: Visit) -> None:
    """What the record is for, and the command that begins it; whichever way it is asked for."""
    visit.go("#/record")
    for wanted in ("No forecast has its harvest yet", "orchard forecast TABLE", "needs a token"):
        assert wanted in visit.text()
    visit.judge((WIDE, NARROW))
    visit.page.get_by_label("as it arrived").check()
    visit.page.get_by_text("No harvest was reported yet").wait_for()
    assert visit.page.locator("main figure").count() == 0
    visit.judge((WIDE, NARROW))


def test_the_verdict_and_what_is_behind_it(recorded: Running, visit_at: VisitAt) -> None:
    """The service's own words; a mark, its band, and the promise for each season; the same in tables."""
    visit = visit_at(recorded)
    visit.go("#/record")
    for crop in ("mango", "orange"):
        for sentence in _said(recorded, crop):
            assert sentence in visit.text(".verdicts")
    assert visit.page.locator(".verdict-of", has_text="below promise").count() == 1
    assert visit.page.locator(DRAWN.format("inside")).count() == len(SEASONS)
    assert visit.page.locator(DRAWN.format("below promise")).count() == 1
    assert visit.page.locator(DRAWN.format("promised")).count() == 1
    assert visit.page.locator(DRAWN.format("band of 95%")).count() == len(SEASONS) + 1
    coverage = _table(visit, "Coverage, mango")
    assert [(row[0], row[1], row[2], row[6], row[7]) for row in coverage] == [
        *((season, "0", "8", "95%", "no") for season in SEASONS),
        ("all together", "0", "24", "95%", "yes"),
    ]
    assert [row[0:4] for row in _table(visit, "Mean error, orange")] == [
        *([season, "8", "1", "0.5"] for season in SEASONS),
        ["all together", "24", "3", "0.5"],
    ]
    visit.judge((WIDE, NARROW))


def test_the_parts_of_the_error_add_up(recorded: Running, visit_at: VisitAt) -> None:
    """The model's and the weather forecast's, as the service has them, and their sum, which is the bias."""
    visit = visit_at(recorded)
    visit.go("#/record")
    group = _group(recorded, "mango")
    parts = {row[0]: float(row[1].replace("−", "-")) for row in _table(visit, "Parts of the error, mango")}  # noqa: RUF001
    assert parts["the model"] == pytest.approx(group["model_error"], rel=1e-4)
    assert parts["the weather"] == pytest.approx(group["weather_error"], rel=1e-4)
    assert parts["together"] == pytest.approx(TOO_HIGH, rel=1e-4)
    assert parts["of the weather: rainfall"] == pytest.approx(group["weather_error"], rel=1e-3)


def test_the_address_says_what_is_judged(recorded: Running, visit_at: VisitAt) -> None:
    """Basis and groups are in it, both ways; without a token nothing is told apart by region."""
    visit = visit_at(recorded)
    visit.go("#/record?by=version")
    assert visit.page.get_by_label("Told apart by").input_value() == "version"
    assert [row[0] for row in _table(visit, "Coverage, mango")] == ["version 1", "all together"]
    assert "region" not in visit.page.get_by_label("Told apart by").inner_text()
    visit.page.get_by_label("as it arrived").check()
    visit.page.get_by_text(_said(recorded, "mango", "?basis=arrival")[0]).wait_for()
    assert visit.page.url.endswith("#/record?basis=arrival&by=version")
    visit.page.get_by_label("as forecast").check()
    visit.page.get_by_label("Told apart by").select_option("lead")
    visit.page.get_by_text("A yield counts once for each of its forecasts").wait_for()
    assert visit.page.url.endswith("#/record?by=lead")


def test_few_yields(running: Running, visit_at: VisitAt) -> None:
    """Points without bands, and no share is told of them, neither in words nor in the table."""
    _harvested(running, _forecast(running, "2025", 3))
    visit = visit_at(running)
    visit.go("#/record")
    assert "fewer than 8 yields nothing is certain" in visit.text(".verdicts")
    assert not re.search(r"\d%", visit.text(".verdicts"))
    visit.page.get_by_text("0 of 3 inside, promised 95%: too few for a share").wait_for()
    assert visit.page.locator(DRAWN.format("too few to tell")).count() == 2
    assert visit.page.locator(DRAWN.format("band of 95%")).count() == 0
    assert _table(visit, "Coverage, mango")[0] == ["2025", "0", "3", "–", "–", "–", "95%", "no"]  # noqa: RUF001
    visit.judge((WIDE, NARROW))


def test_what_waits_and_what_is_erased(recorded: Running, visit_at: VisitAt) -> None:
    """Without a token one sentence; with one what has no harvest, a hostile name as text, and a batch that goes."""
    visit = visit_at(recorded)
    visit.go("#/record")
    assert "Seeing single forecasts needs a token." in visit.text()
    assert visit.page.locator("[data-batch]").count() == 0
    visit.sign_in(recorded)
    waiting = visit.page.get_by_role("region", name="table: forecasts that wait for their harvest")
    assert waiting.locator("tbody tr").count() == 1
    assert HOSTILE in waiting.inner_text()
    visit.page.get_by_label("Told apart by").select_option("region")
    visit.settle()
    assert len(_table(visit, "Coverage, mango")) == 8 + 1
    visit.judge((WIDE, NARROW))
    batches = visit.page.locator("[data-batch]")
    assert batches.count() == len(SEASONS) + 1
    batches.nth(1).get_by_role("button").click()
    dialog = visit.page.locator("#confirm")
    visit.judge()
    dialog.get_by_role("button", name="Cancel").click()
    assert _group(recorded, "mango")["n"] == 24
    batches.nth(1).get_by_role("button").click()
    dialog.get_by_role("button", name="Erase them").click()
    visit.page.get_by_text("0 of 16 inside").wait_for()
    assert batches.count() == len(SEASONS)
    assert _group(recorded, "mango")["n"] == 16


def test_many_groups(visit: Visit) -> None:
    """Of more than can be drawn the newest are, which is said; the table has all; names stay apart, also long ones."""
    group = {
        "crop": "mango", "set_aside": False, "n": 9, "seasons": 1, "ambiguous": 2, "mae": 1.0, "width": 4.0,
        "bias": {"tons": 1.0, "low": 0.5, "high": 1.5}, "rmse": {"tons": 1.2, "low": 0.8, "high": 2.4},
        "coverage": {"inside": 8, "of": 9, "promised": 0.8, "low": 0.5, "high": 0.98}, "interval_score": 5.0,
        "skill": -0.2, "model_error": None, "weather_error": None, "weather_by_feature": None,
        "below_promise": False, "verdict": "the forecasts were late",
    }  # fmt: skip
    out = {"learned": 3, "known": 1, "unreadable": 0}
    seasons = [f"the season of a very long name {number}" for number in range(50)]

    def answer(by: list[str]) -> str:
        groups = [group | {"season": season} for season in seasons] if by else [group]
        return json.dumps({"basis": "forecast", "by": by, "scores": groups, "left_out": out})

    visit.page.route(re.compile(r"/scores\?basis=forecast$"), lambda route: route.fulfill(body=answer([])))
    visit.page.route(re.compile(r"/scores\?.*by=season"), lambda route: route.fulfill(body=answer(["season"])))
    visit.go("#/record")
    assert visit.page.locator(DRAWN.format("inside")).count() == 40 + 1
    assert "40 of 50 are drawn, the newest; the table has all." in visit.text()
    assert "no better than always saying the average yield" in visit.text()
    assert "3 yields that the version had learned before, 1 forecast stored after the yield was" in visit.text()
    assert len(_table(visit, "Coverage, mango")) == 50 + 1
    visit.judge((WIDE, NARROW))
