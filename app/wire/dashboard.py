"""A dashboard for Grafana: what `/metrics` counts, and the versions. Knows no HTTP.

Its data sources are variables of the dashboard: unlike those that an import asks for (`__inputs`), they are also found
where Grafana reads it from a file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

UID = "orchard"
"""Never changed: links lead to it, and whoever imports it again replaces the one that is there."""
GRAFANA = "11.0.0"
"""The oldest Grafana that reads it, whose schema it is written in."""
SCHEMA = 39
PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
INFINITY: Json = {"type": "yesoreyeram-infinity-datasource", "uid": "${infinity}"}
WIDTH = 24
"""Columns of Grafana's grid."""
HEIGHT, LOW, LINE = 8, 4, 1
"""Rows of the grid that a graph, a number and a heading take."""
JOB = 'job="$job"'


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph or a number: what it shows, by queries and their names in the legend.

    ``unit``: as Grafana names it. ``width``: columns of the grid. ``steps``: colours from values on.
    """

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = WIDTH // 3
    kind: str = "timeseries"
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),)
    extra: Json = field(default_factory=dict)
    """More of Grafana's options for each value."""

    def written(self) -> Json:
        """Return it as Grafana has it, without its place."""
        targets = [
            {"datasource": PROMETHEUS, "expr": expr, "legendFormat": legend, "refId": chr(ord("A") + number)}
            for number, (expr, legend) in enumerate(self.queries)
        ]
        steps = [{"color": color, "value": value} for value, color in self.steps]
        thresholds = {"mode": "absolute", "steps": steps}
        return {
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": PROMETHEUS,
            "targets": targets,
            "fieldConfig": {"defaults": {"unit": self.unit, "thresholds": thresholds, **self.extra}, "overrides": []},
            "options": _OPTIONS[self.kind],
        }


_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
}
_FROM_ZERO: Json = {"min": 0}
_SHARE: Json = {"min": 0, "max": 1}
_STEPS: Json = {"custom": {"lineInterpolation": "stepAfter"}}
_STACKED: Json = {"min": 0, "custom": {"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}}}


_ASKED = 'orchard_requests_total{job="$job", route!~".*/health/.*"'
"""Requests but those of health, which is 503 on purpose when the service starts and stops."""


def _all(selector: str, more: str = "") -> str:
    return f"sum(rate({selector}{more}}}[$__rate_interval]))"


def _ratio(part: str, whole: str) -> str:
    return f"{part} / {whole}"


def _rate(metric: str, by: str, window: str = "$__rate_interval") -> str:
    return f"sum by ({by}) (rate({metric}{{{JOB}}}[{window}]))"


def _increase(metric: str, by: str, window: str = "1h") -> str:
    summed = f"sum by ({by})" if by else "sum"
    return f"{summed} (increase({metric}{{{JOB}}}[{window}]))"


def _quantile(quantile: float, metric: str, by: str = "le", window: str = "$__rate_interval") -> str:
    return f"histogram_quantile({quantile:g}, {_rate(f'{metric}_bucket', by, window=window)})"


_NOW = (
    Panel(
        "Live version",
        "The number of the version that answers; 0 for none.",
        [(f"max(orchard_live_version{{{JOB}}})", "version")],
        kind="stat",
        width=4,
        steps=((None, "red"), (1, "green")),
    ),
    Panel(
        "Database",
        "Whether the observations' database answers.",
        [(f"min(orchard_database_up{{{JOB}}})", "database")],
        kind="stat",
        width=4,
        steps=((None, "red"), (1, "green")),
        extra={"mappings": [{"type": "value", "options": {"0": {"text": "silent"}, "1": {"text": "answers"}}}]},
    ),
    Panel(
        "Workers",
        "Serving processes, by server.",
        [(f"orchard_workers{{{JOB}}}", "{{instance}}")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Listeners",
        "Clients that listen to /events.",
        [(f"sum(orchard_listeners{{{JOB}}})", "listeners")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Regions asked about",
        "In the last day.",
        [(f"max(orchard_asked_regions{{{JOB}}})", "regions")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Weather asked about",
        "Whether that of the last day is that of training, by a test.",
        [(f"max(orchard_drift_different{{{JOB}}})", "weather")],
        kind="stat",
        width=4,
        steps=((None, "green"), (1, "orange")),
        extra={
            "mappings": [{"type": "value", "options": {"0": {"text": "as in training"}, "1": {"text": "different"}}}]
        },
    ),
)
_REQUESTS = (
    Panel(
        "Requests",
        "Answers a second by route and status. 499: the client left before its answer.",
        [(_rate("orchard_requests_total", "route, method, status"), "{{method}} {{route}} {{status}}")],
        unit="reqps",
        extra=_FROM_ZERO,
    ),
    Panel(
        "How long requests take",
        "99 of 100 are answered within this time, by route.",
        [(_quantile(0.99, "orchard_request_seconds", "le, route"), "{{route}}")],
        unit="s",
        extra=_FROM_ZERO,
    ),
    Panel(
        "Share of failures",
        "Of all requests but those of health, those that were answered 5xx.",
        [(_ratio(_all(_ASKED, ', status=~"5.."'), _all(_ASKED)), "5xx")],
        unit="percentunit",
        extra=_SHARE,
    ),
)
_PREDICTIONS = (
    Panel(
        "Predictions",
        "A region's crop each, a second.",
        [(_rate("orchard_predictions_total", "crop"), "{{crop}}")],
        extra=_FROM_ZERO,
    ),
    Panel(
        "Share extrapolated",
        "Predictions for weather outside the training range.",
        [
            (
                _ratio(
                    _rate("orchard_extrapolated_predictions_total", "crop"), _rate("orchard_predictions_total", "crop")
                ),
                "{{crop}}",
            )
        ],
        unit="percentunit",
        extra=_SHARE,
    ),
    Panel(
        "Drift",
        "How far the mean weather asked about in the last day is from that of training, in its standard deviations: "
        "by feature, and in all (Mahalanobis distance).",
        [
            (f"max by (feature) (orchard_drift_shift{{{JOB}}})", "{{feature}}"),
            (f"max(orchard_drift_distance{{{JOB}}})", "distance"),
        ],
    ),
)
_LEARNING = (
    Panel(
        "Retrains",
        "In an hour, by what came of them.",
        [(_increase("orchard_retrains_total", "decision"), "{{decision}}")],
        extra=_STACKED,
    ),
    Panel(
        "How long retrains take",
        "Half of them, and 99 of 100, in an hour.",
        [
            (_quantile(0.5, "orchard_retrain_seconds", window="1h"), "half"),
            (_quantile(0.99, "orchard_retrain_seconds", window="1h"), "99 of 100"),
        ],
        unit="s",
        extra=_FROM_ZERO,
    ),
    Panel(
        "Observations and forecasts stored",
        "Rows in an hour.",
        [
            (_increase("orchard_observations_stored_total", ""), "observations"),
            (_increase("orchard_forecasts_stored_total", ""), "forecasts"),
        ],
        extra=_STACKED,
    ),
)
_RECORD = (
    Panel(
        "Yields reported",
        "After they could be predicted.",
        [(f"max by (crop) (orchard_record_rows{{{JOB}}})", "{{crop}}")],
        width=6,
        extra=_FROM_ZERO,
    ),
    Panel(
        "Share in the interval",
        "That the rows of training alone would give: it should be the level.",
        [
            (
                _ratio(
                    f"max by (crop, level) (orchard_record_inside{{{JOB}}})",
                    f"on (crop) group_left () max by (crop) (orchard_record_rows{{{JOB}}})",
                ),
                "{{crop}}, {{level}}",
            )
        ],
        unit="percentunit",
        width=6,
        extra=_SHARE,
    ),
    Panel(
        "Widening",
        "How many times as wide intervals are made because they held less often than they promise.",
        [(f"max by (crop, level) (orchard_record_widening{{{JOB}}})", "{{crop}}, {{level}}")],
        width=6,
        extra=_STEPS,
    ),
    Panel(
        "Seasons",
        "Mean of (reported - predicted) / its standard error: several seasons on one side of 0 are a new level.",
        [(f"max by (crop, season) (orchard_record_season{{{JOB}}})", "{{crop}}, {{season}}")],
        width=6,
        kind="stat",
    ),
)
_FORECASTS = (
    Panel(
        "Harvests in the interval forecast",
        "The share of those reported so far: it should be the level that was asked for.",
        [(f"max by (crop) (orchard_forecast_coverage{{{JOB}}})", "{{crop}}")],
        unit="percentunit",
        width=9,
        extra=_SHARE,
    ),
    Panel(
        "Promise",
        "Whether forecasts held less often than they promise by more than chance.",
        [(f"max by (crop) (orchard_forecast_below_promise{{{JOB}}})", "{{crop}}")],
        kind="stat",
        width=6,
        steps=((None, "green"), (1, "orange")),
        extra={"mappings": [{"type": "value", "options": {"0": {"text": "as promised"}, "1": {"text": "below"}}}]},
    ),
    Panel(
        "Harvest less forecast",
        "The mean, tons: below 0 where forecasts were too high.",
        [(f"max by (crop) (orchard_forecast_bias_tons{{{JOB}}})", "{{crop}}")],
        width=9,
    ),
)
_REPLICAS = (
    Panel(
        "Version by server",
        "The version that each answers with: lines apart for over a minute are servers that disagree.",
        [(f"orchard_live_version{{{JOB}}}", "{{instance}}")],
        width=WIDTH // 2,
        extra=_FROM_ZERO | _STEPS,
    ),
    Panel(
        "Since the log was looked at",
        "By server: how long ago it could last look whether a newer version is live.",
        [(f"orchard_follow_seconds{{{JOB}}}", "{{instance}}")],
        unit="s",
        width=WIDTH // 2,
        extra=_FROM_ZERO,
    ),
)
_PROCESSES = (
    Panel(
        "Memory",
        "Resident memory of the serving processes together, by server.",
        [(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}")],
        unit="bytes",
        extra=_FROM_ZERO,
    ),
    Panel(
        "CPU",
        "Cores that the serving processes keep busy, by server.",
        [(_rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
        extra=_FROM_ZERO,
    ),
    Panel(
        "Open files",
        "Files and sockets, by server.",
        [(f"process_open_fds{{{JOB}}}", "{{instance}}")],
        extra=_FROM_ZERO,
    ),
)
_ROWS = (
    ("Now", _NOW),
    ("Requests", _REQUESTS),
    ("Predictions", _PREDICTIONS),
    ("Learning", _LEARNING),
    ("How well intervals held", _RECORD),
    ("What forecasts were worth", _FORECASTS),
    ("Replicas", _REPLICAS),
    ("Processes", _PROCESSES),
)
_VERSION_COLUMNS = (
    ("version", "string"),
    ("live", "boolean"),
    ("created", "timestamp"),
    ("decision", "string"),
    ("rows", "number"),
    ("recipe", "string"),
    ("source", "string"),
    ("note", "string"),
)


def _versions() -> Json:
    """Return the table of versions: what the service itself answers, by the Infinity data source."""
    target = {
        "datasource": INFINITY,
        "refId": "A",
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": "table",
        "url": "/models?limit=100",
        "url_options": {"method": "GET", "data": ""},
        "root_selector": "versions",
        "columns": [{"selector": name, "text": name, "type": kind} for name, kind in _VERSION_COLUMNS],
        "filters": [],
    }
    return {
        "type": "table",
        "title": "Versions",
        "description": "The newest hundred; by the Infinity data source, whose base URL is that of Orchard.",
        "datasource": INFINITY,
        "targets": [target],
        "fieldConfig": {"defaults": {"custom": {"align": "auto", "filterable": True}}, "overrides": []},
        "options": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
    }


def _panels() -> list[Json]:
    """Return headings and panels, each in its place, numbered from 1."""
    placed: list[Json] = []
    y = 0
    for title, panels in _ROWS:
        placed.append({"type": "row", "title": title, "collapsed": False, "panels": [], **_place(0, y, WIDTH, LINE)})
        x, height = 0, LOW if panels is _NOW else HEIGHT
        for panel in panels:
            placed.append(panel.written() | _place(x, y + LINE, panel.width, height))
            x += panel.width
        y += LINE + height
    placed.append(_versions() | _place(0, y, WIDTH, HEIGHT))
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _place(x: int, y: int, width: int, height: int) -> Json:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _source(name: str, label: str, plugin: str) -> Json:
    """Return a variable that names a data source; Grafana takes the first one of its kind."""
    return {
        "type": "datasource",
        "name": name,
        "label": label,
        "query": plugin,
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "current": {},
        "options": [],
        "multi": False,
        "includeAll": False,
    }


def _job() -> Json:
    """Return the variable that names the job by which Prometheus asks Orchard."""
    query = "label_values(orchard_workers, job)"
    return {
        "type": "query",
        "name": "job",
        "label": "Job",
        "datasource": PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": "job"},
        "refresh": 1,
        "sort": 1,
        "hide": 0,
        "current": {},
        "options": [],
        "multi": False,
        "includeAll": False,
    }


def dashboard() -> Json:
    """Return the dashboard, as Grafana imports it."""
    kinds = sorted({panel["type"] for panel in _panels()} - {"row"})
    requires = [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": GRAFANA},
        {"type": "datasource", "id": PROMETHEUS["type"], "name": "Prometheus", "version": "1.0.0"},
        {"type": "datasource", "id": INFINITY["type"], "name": "Infinity", "version": "3.0.0"},
        *({"type": "panel", "id": kind, "name": kind.title(), "version": ""} for kind in kinds),
    ]
    activations = {
        "name": "A version went live",
        "datasource": PROMETHEUS,
        "enable": True,
        "iconColor": "purple",
        "expr": f"changes(orchard_live_version{{{JOB}}}[1m]) > 0",
        "titleFormat": "A version went live",
    }
    return {
        "__inputs": [],
        "__elements": {},
        "__requires": requires,
        "uid": UID,
        "title": "Orchard",
        "description": "Crop yields: what is asked, how it is answered, what is learned.",
        "tags": ["orchard"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [activations]},
        "templating": {
            "list": [
                _source("prometheus", "Prometheus", PROMETHEUS["type"]),
                _source("infinity", "Infinity", INFINITY["type"]),
                _job(),
            ]
        },
        "links": [],
        "panels": _panels(),
    }


def text() -> str:
    """Return it as a file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
