"""GET /metrics: Prometheus text."""

from collections.abc import Iterator

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from app.api.services import Services, Used
from app.errors import NotReady
from app.serving.drift import drift

router = APIRouter(tags=["health"])


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(used: Used) -> Response:
    """Return the live version and the input drift, over all workers, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Served(used))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Served(Collector):
    """What is true at this moment; read when it is asked for."""

    def __init__(self, used: Services) -> None:
        self._used = used

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        try:
            served = self._used.live.current
        except NotReady:
            yield GaugeMetricFamily("orchard_live_version", "The number of the live version; 0 for none.", 0.0)
            return
        yield GaugeMetricFamily(
            "orchard_live_version", "The number of the live version; 0 for none.", float(served.version)
        )
        found = drift(self._used.asked.moments(), served.model.widest_spread)
        yield GaugeMetricFamily(
            "orchard_asked_regions", "Regions asked about since the start, as far as drift knows.", float(found.asked)
        )
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
