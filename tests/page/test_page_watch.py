"""Watching in a browser: what two looks at /metrics and the drift say, in numbers, charts and words."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browsing import NARROW, WIDE, Start, Visit, VisitAt
from tests.running import predict_often

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.long

TEXT = """# HELP orchard_predictions_total Predictions, a region's crop each.
# TYPE orchard_predictions_total counter
orchard_predictions_total{crop="mango"} %(mango)d.0
orchard_extrapolated_predictions_total{crop="mango"} %(outside)d.0
orchard_retrains_total{decision="rejected"} %(rejected)d.0
orchard_requests_total{method="POST",route="/predict",status="200"} %(good)d.0
orchard_requests_total{method="POST",route="/predict",status="503"} %(bad)d.0
orchard_requests_total{method="GET",route="/health/ready",status="503"} 1e+06
orchard_request_seconds_bucket{le="0.1",method="POST",route="/predict",status="200"} %(fast)d.0
orchard_request_seconds_bucket{le="0.5",method="POST",route="/predict",status="200"} %(good)d.0
orchard_request_seconds_bucket{le="+Inf",method="POST",route="/predict",status="200"} %(good)d.0
process_start_time_seconds %(started)d
process_resident_memory_bytes 8.4e+07
process_open_fds 33.0
orchard_workers 1.0
orchard_listeners 0.0
orchard_database_up 1.0
orchard_live_version 1.0
"""
AT_FIRST = {"mango": 100, "outside": 40, "rejected": 2, "good": 90, "bad": 9, "fast": 90, "started": 1_795_000_000}
LOOK = "() => document.dispatchEvent(new Event('visibilitychange'))"
"""What has the view look at once, as when the page is seen again."""
DRIFTED = {
    "model_version": "1",
    "hours": 24,
    "asked": 12,
    "features": {
        "temperature": {
            "asked_mean": 131.4,
            "training_mean": 84.5,
            "shift": 3.8,
            "asked_deviation": 0.0,
            "training_deviation": 12.2,
        }
    },
    "distance": 3.9,
    "different": True,
    "reasons": ["the mean weather asked about is not that of training"],
}


def _evaluated(visit: Visit, module: str, expression: str) -> Any:
    """Return the value of an expression with a module's exports as ``m``."""
    return visit.page.evaluate(
        f"async (path) => {{ const m = await import(path); return {expression}; }}", _path(visit, module)
    )


def _path(visit: Visit, module: str) -> str:
    return visit.url + visit.module(module)


def _card(visit: Visit, heading: str) -> str:
    return visit.page.locator(
        "section.card", has=visit.page.get_by_role("heading", name=heading, exact=True)
    ).inner_text()


def test_prometheus_text_is_read(visit: Visit) -> None:
    """Labels with what is escaped in them, braces and numbers; infinite values; timestamps; what is no sample."""
    visit.go("#/watch")
    hostile = 'a{crop="x\\\\y \\"z\\"\\n} 7",level="0.95"} 3.5 1700000000000'
    text = f'# HELP a 1\n{hostile}\na 2\nb -Inf\nc +Inf\nd{{le="+Inf"}} 1e+06\nno sample\ne{{}} 4\n'
    samples = "([name, all]) => [name, all.map((one) => [one.labels, String(one.value)])]"
    found = _evaluated(visit, "watch/prometheus.js", f"[...m.parse({json.dumps(text)})].map({samples})")
    assert found == [
        ["a", [[{"crop": 'x\\y "z"\n} 7', "level": "0.95"}, "3.5"], [{}, "2"]]],
        ["b", [[{}, "-Infinity"]]],
        ["c", [[{}, "Infinity"]]],
        ["d", [[{"le": "+Inf"}, "1000000"]]],
        ["e", [[{}, "4"]]],
    ]


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.99, [0, 100, 100, 100], 0.1 + 0.4 * 0.99),
        (0.5, [50, 100, 100, 100], 0.1),
        (0.99, [0, 0, 0, 5], 1.0),  # beyond the last bound: it is at least that
        (0.99, [0, 0, 0, 0], None),
    ],
)
def test_quantiles(visit: Visit, share: float, counts: list[int], expected: float | None) -> None:
    """As Prometheus takes them: evenly within a bucket, the last bound where it is beyond it, nothing of nothing."""
    visit.go("#/watch")
    buckets = f"[0.1, 0.5, 1, Infinity].map((bound, place) => [bound, {counts}[place]])"
    found = _evaluated(visit, "watch/prometheus.js", f"m.quantile({share}, {buckets})")
    assert found == (expected if expected is None else pytest.approx(expected))


def test_what_happened_between_two_looks(visit: Visit) -> None:
    """Shares, slowness, failures of an interval; words for one without requests; counters that begin again."""
    said = dict(AT_FIRST)
    visit.page.route("**/metrics", lambda route: _fulfil(route, said))
    visit.go("#/watch")
    visit.page.get_by_text("the next one is in 5 s").wait_for()
    _look(visit, said, {"mango": 10, "outside": 5, "good": 95, "bad": 5, "fast": 0, "rejected": 1})
    visit.page.locator("strong", has_text="50%").wait_for()
    assert "mango 50%" in _card(visit, "Outside training")
    assert "5.0% of requests" in _card(visit, "Failures")  # 5 of 100; a million of health are not among them
    assert "99 of 100 within 500 ms" in _card(visit, "Slow predictions")
    assert "100 requests" in _card(visit, "Requests")
    told = visit.text("main [role=status]")
    for alert in (
        "More than 1 in 100 requests",
        "more than a quarter of a second",
        "A harvest was rejected",
        "More than 1 in 5",
    ):
        assert alert in told
    visit.judge((WIDE, NARROW))
    _look(visit, said, {})
    visit.page.get_by_text("no requests in this interval").wait_for()
    assert "no predictions in this interval" in _card(visit, "Slow predictions")
    said.update(dict.fromkeys(AT_FIRST, 0) | {"good": 7, "fast": 7, "mango": 7, "started": 1_795_000_100})
    visit.page.evaluate(LOOK)
    visit.page.get_by_text("was started anew").wait_for()
    assert "107 requests" in _card(visit, "Requests")
    assert "accepted\n0" in _card(visit, "Retrains")
    visit.judge((WIDE, NARROW))


def _fulfil(route: "Route", said: dict[str, int]) -> None:
    route.fulfill(content_type="text/plain; version=0.0.4", body=TEXT % said)


def _look(visit: Visit, said: dict[str, int], more: dict[str, int]) -> None:
    """Have the counters grow, and the view look."""
    for name, value in more.items():
        said[name] += value
    visit.page.evaluate(LOOK)


def test_nobody_looks_while_it_is_not_open(visit: Visit) -> None:
    """The view asks while it is open, and never after it was left."""
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url) if "metrics" in request.url else None)
    visit.go("#/watch")
    visit.page.get_by_role("heading", name="Processes").wait_for()
    assert len(asked) == 1
    visit.go("#/ask")
    visit.page.evaluate(LOOK)
    visit.settle()
    assert len(asked) == 1
    visit.go("#/watch")
    visit.page.get_by_role("heading", name="By call").wait_for()
    assert len(asked) == 2


def test_answers_that_are_somebody_else_s(visit: Visit) -> None:
    """A proxy's page in place of an answer is told, and does not stop the view from looking."""
    visit.page.route("**/drift", lambda route: route.fulfill(content_type="text/html", body="<h1>Sign in</h1>"))
    visit.go("#/watch")
    visit.page.locator("main .problem").wait_for()
    visit.page.unroute("**/drift")
    visit.page.evaluate(LOOK)
    visit.page.get_by_role("heading", name="Processes").wait_for()
    assert visit.page.locator("main .problem").count() == 0
    visit.faults[:] = [fault for fault in visit.faults if "JSON" not in fault]  # the console has it for developers


def test_crops_with_names_that_objects_inherit(visit: Visit) -> None:
    """Their counts are numbers from the first look on."""
    visit.go("#/watch")
    texts = [
        "".join(
            f'orchard_{kind}_total{{crop="{crop}"}} {value}\n'
            for kind in ("predictions", "extrapolated_predictions")
            for crop in ("constructor", "__proto__")
        )
        for value in (10, 30)
    ]
    first = f"m.read({json.dumps('process_start_time_seconds 1')}, new Date(0))"
    reads = [f"m.read({json.dumps(text)}, new Date({place + 1}))" for place, text in enumerate(texts)]
    intervals = f"[m.between({first}, {reads[0]}), m.between({reads[0]}, {reads[1]})]"
    found = _evaluated(visit, "watch/series.js", f"Object.entries(m.together({intervals}).predictions)")
    assert found == [["constructor", 30], ["__proto__", 30]]


def test_weather_that_has_drifted(visit: Visit) -> None:
    """Told in words and in training's deviations, with the line at 3; and that chance would not show it."""
    visit.page.route("**/drift", lambda route: route.fulfill(json=DRIFTED))
    visit.go("#/watch")
    visit.page.get_by_text("The weather is another one.").wait_for()
    assert "3.9, beyond the line at 3" in _card(visit, "Weather asked about")
    assert "is not that of training" in visit.text("main [role=status]")
    visit.page.locator("details.numbers summary", has_text="How far it is").click()
    row = visit.page.locator("tr", has_text="temperature").inner_text()
    assert "131.4" in row
    assert "+3.80" in row
    visit.judge((WIDE, NARROW))


def test_it_is_the_service_s_own(start: Start, visit_at: VisitAt) -> None:
    """Numbers of a real service: so many requests as were made, and its weather beside that of training."""
    running = start()
    visit = visit_at(running)
    visit.go("#/watch")
    visit.page.get_by_role("heading", name="Processes").wait_for()
    predict_often(running, 300)
    visit.page.evaluate(LOOK)
    visit.page.locator("td", has_text="POST /predict").wait_for()
    assert "300 requests" in _card(visit, "Requests")
    assert "mango 0%" in _card(visit, "Outside training")
    visit.page.get_by_text("300 regions in the last 24 hours").wait_for()
    assert visit.page.locator('orchard-chart g[aria-label="dot"]').count() > 0
    for name in ("API documentation", "Metrics", "OpenAPI document", "Grafana dashboard"):
        href = visit.page.get_by_role("link", name=name, exact=True).last.get_attribute("href") or ""
        assert running.client.get(href).status_code == 200
