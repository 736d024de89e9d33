"""GET /metrics: Prometheus text, over all workers."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from app.api.openapi.parts import documented
from app.api.services import Services, ServicesDep
from app.errors import NotReady
from app.model.lean import newest
from app.model.linear import LinearModel
from app.model.record import INNER, OUTER
from app.serving.drift import drift
from app.serving.tally import BOUNDS_S, Count, Duration, Durations, Key, Totals
from app.wire.schemas import ScoredGroup

router = APIRouter(tags=["health"])


@dataclass(frozen=True, slots=True)
class Counted:
    """A metric of the tally: its name here, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...]


COUNTS: dict[Count, Counted] = {
    "predictions": Counted("orchard_predictions", "Predictions, a region's crop each.", ("crop",)),
    "extrapolated_predictions": Counted(
        "orchard_extrapolated_predictions", "Those for weather outside the training range.", ("crop",)
    ),
    "retrains": Counted("orchard_retrains", "Retrains by what came of them.", ("decision",)),
    "observations_stored": Counted("orchard_observations_stored", "Observations stored since the start, rows.", ()),
    "forecasts_stored": Counted("orchard_forecasts_stored", "Forecasts stored since the start, rows.", ()),
    "process_cpu_seconds": Counted(
        "process_cpu_seconds", "User and system time of the serving processes, those that have ended included.", ()
    ),
}
DECISIONS = ("accepted", "rejected", "dry_run", "failed")
REQUESTS = Counted("orchard_requests", "Requests by route template, method and status.", ("route", "method", "status"))
DURATIONS: dict[Duration, Counted] = {
    "requests": Counted(
        "orchard_request_seconds", "How long requests took, until the last byte was handed over.", REQUESTS.labels
    ),
    "retrain": Counted("orchard_retrain_seconds", "How long retrains took.", ()),
}
MAIN_ROUTES = (
    ("/predict", "POST"),
    ("/retrain", "POST"),
    ("/observations", "POST"),
    ("/observations", "GET"),
    ("/models/{version}/activate", "POST"),
    ("/v2/models/{model}/infer", "POST"),
)
FROM_ZERO: dict[str, list[tuple[str, ...]]] = {
    "retrains": [(decision,) for decision in DECISIONS],
    "requests": [(*route, status) for route in MAIN_ROUTES for status in ("500", "503")],
}
"""Labels that are counted from 0 on: of what has never been counted, Prometheus would not see the first one."""
CPU, LISTENERS = "process_cpu_seconds_total", "orchard_listeners"
PROCESS_GAUGES = {
    "process_resident_memory_bytes": "Resident memory of the serving processes, together.",
    "process_virtual_memory_bytes": "Virtual memory of the serving processes, together.",
    "process_open_fds": "Open files and sockets of the serving processes, together.",
    "process_start_time_seconds": "When the first of the serving processes was started, Unix time.",
    LISTENERS: "Clients that listen to events.",
}


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses=documented() | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesDep) -> Response:
    """Return counts, durations, the live version and the input drift in Prometheus' text format, over all workers.

    Of other workers, as they were half a second ago at most.
    """
    await publish(services)
    services.latest.ask(services)
    return Response(await asyncio.to_thread(_text, services), media_type=CONTENT_TYPE_LATEST)


async def publish(services: Services) -> None:
    """Count and sum up what requests have left, and share it with the other workers."""
    services.tally.set_aside()
    figures = _process_figures()
    if CPU in figures:
        services.tally.reached("process_cpu_seconds", value=figures[CPU])
    await asyncio.to_thread(services.tally.publish, _gauges(figures, services))
    await asyncio.to_thread(services.asked_weather.begin_merge())


def _text(services: Services) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Now(services))
    return generate_latest(registry)


def _process_figures() -> dict[str, float]:
    """Return what prometheus-client knows of this process, by its name."""
    families = ProcessCollector(registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def _gauges(figures: Mapping[str, float], services: Services) -> dict[str, float]:
    """Return those that are added up over the processes that live."""
    known = {name: value for name, value in figures.items() if name in PROCESS_GAUGES}
    return known | {LISTENERS: float(len(services.listeners))}


class _Now(Collector):
    """What is true at this moment; read when it is asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        totals = self._services.tally.totals(_gauges(_process_figures(), self._services))
        reached = 0.0 if self._services.database.fault else 1.0
        yield GaugeMetricFamily("orchard_database_up", "1 if the observations' database answers, 0 if not.", reached)
        unseen = "Seconds since the activation log was last looked at with success, by this process."
        yield GaugeMetricFamily("orchard_follow_seconds", unseen, self._services.live.unseen_s)
        yield from _counts(totals)
        yield from _durations(totals)
        yield from _processes(totals)
        yield from _forecasts(self._services.latest.groups)
        yield from self._served()

    def _served(self) -> Iterator[Metric]:
        live_version = "The number of the live version; 0 for none."
        try:
            served = self._services.live.current
        except NotReady:
            yield GaugeMetricFamily("orchard_live_version", live_version, 0.0)
            return
        yield GaugeMetricFamily("orchard_live_version", live_version, float(served.version))
        found = drift(self._services.asked_weather.lately(), served.model.widest_spread)
        yield GaugeMetricFamily("orchard_asked_regions", "Regions asked about in the last day.", float(found.asked))
        shift = GaugeMetricFamily(
            "orchard_drift_shift",
            "Mean of a feature asked about less that of training, in training's standard deviations.",
            labels=["feature"],
        )
        for name, feature in found.features.items():
            if feature.shift is not None:
                shift.add_metric([name], feature.shift)
        yield shift
        distance = "Mahalanobis distance of the mean weather asked about from that of training."
        yield GaugeMetricFamily("orchard_drift_distance", distance, found.distance or 0.0)
        yield from _record(served.model)
        different = "1 where the weather asked about is not that of training by a test of 1 in 100, else 0."
        yield GaugeMetricFamily("orchard_drift_different", different, float(bool(found.reasons)))


def _record(model: LinearModel) -> Iterator[Metric]:
    """Yield how well intervals held, of crops of which yields were reported after they could be predicted."""
    crops = [(crop, crop.record) for crop in model.crops if crop.record is not None]
    rows = GaugeMetricFamily("orchard_record_rows", "Yields reported after they could be predicted.", labels=["crop"])
    held = GaugeMetricFamily(
        "orchard_record_inside",
        "Those that lay inside the interval that the rows of training alone would give.",
        labels=["crop", "level"],
    )
    wider = GaugeMetricFamily(
        "orchard_record_widening", "How many times as wide intervals are made, at least 1.", labels=["crop", "level"]
    )
    season = GaugeMetricFamily(
        "orchard_record_season",
        "Of the last seasons, the mean of (reported - predicted) / its standard error.",
        labels=["crop", "season"],
    )
    for crop, record in crops:
        rows.add_metric([crop.crop], float(record.rows))
        for level in (INNER, OUTER):
            held.add_metric([crop.crop, f"{level:g}"], float(record.inside(level, crop.degrees)))
            wider.add_metric([crop.crop, f"{level:g}"], crop.widening(level))
        for name, mean in newest(record.sketch):
            season.add_metric([crop.crop, name], mean)
    yield from (rows, held, wider, season)


def _forecasts(groups: Sequence[ScoredGroup]) -> Iterator[Metric]:
    """Yield what forecasts were worth whose harvest has been reported."""
    coverage = GaugeMetricFamily(
        "orchard_forecast_coverage",
        "The share of harvests within the interval that was forecast, as was found lately.",
        labels=["crop"],
    )
    bias = GaugeMetricFamily(
        "orchard_forecast_bias_tons",
        "Mean harvest less what was forecast of it, tons: below 0 where forecasts were too high.",
        labels=["crop"],
    )
    below = GaugeMetricFamily(
        "orchard_forecast_below_promise",
        "1 where fewer harvests lay within the interval that was forecast than it promises, by more than chance.",
        labels=["crop"],
    )
    for group in groups:
        if group.coverage is not None:
            coverage.add_metric([group.crop], group.coverage.inside / group.coverage.of)
            below.add_metric([group.crop], float(group.below_promise))
        if group.bias is not None:
            bias.add_metric([group.crop], group.bias.tons)
    yield from (coverage, below, bias)


def _counts(totals: Totals) -> Iterator[Metric]:
    for metric, counted in COUNTS.items():
        found = {labels: count for (name, labels), count in totals.counts.items() if name == metric}
        yield _counter(counted, dict.fromkeys(FROM_ZERO.get(metric, ()), 0.0) | found)
    requests = {labels: sum(found.buckets) for labels, found in _of(totals, "requests").items()}
    yield _counter(REQUESTS, dict.fromkeys(FROM_ZERO["requests"], 0.0) | requests)


def _counter(counted: Counted, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(counted.name, counted.help, labels=counted.labels)
    for labels, value in sorted((values or ({} if counted.labels else {(): 0.0})).items()):
        family.add_metric(labels, value)
    return family


def _durations(totals: Totals) -> Iterator[Metric]:
    for metric, counted in DURATIONS.items():
        family = HistogramMetricFamily(counted.name, counted.help, labels=counted.labels)
        for labels, found in sorted(_of(totals, metric).items()):
            bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
            buckets = list(zip(bounds, accumulate(map(float, found.buckets)), strict=True))
            family.add_metric(labels, buckets, found.seconds)
        yield family


def _of(totals: Totals, metric: str) -> dict[tuple[str, ...], Durations]:
    return {labels: found for (name, labels), found in totals.durations.items() if name == metric}


def _processes(totals: Totals) -> Iterator[Metric]:
    yield GaugeMetricFamily("orchard_workers", "Serving processes.", float(len(totals.gauges)))
    for name, meaning in PROCESS_GAUGES.items():
        values = [gauges[name] for gauges in totals.gauges if name in gauges]
        if values:
            value = min(values) if name == "process_start_time_seconds" else sum(values)
            yield GaugeMetricFamily(name, meaning, value)


EXPRESS: Key = ("requests", ("/predict", "POST", "200"))
"""Under what the express lane's answers are counted."""
