"""compose.yaml, read without a container engine: what it mounts and watches is what the image and the service have."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from app.wire.dashboard import INFINITY, dashboard
from app.wire.schemas import VersionEntry, VersionPage
from tests.running import HARVEST, ROOT, Running, copy_store, serving, until

DEPLOY = ROOT / "deploy"
Labels = dict[str, set[str]]
"""The labels of each metric."""
ADDED = {"job", "instance", "namespace"}
"""Labels that Prometheus itself adds; its operator the last one, and where there is none it is empty for all alike."""


@pytest.fixture(scope="module")
def reading(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that is only asked."""
    with serving(copy_store(trained, tmp_path_factory.mktemp("reading") / "store")) as running:
        yield running


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Return the file, read."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return content


def test_the_service_runs_as_the_image_was_made_to(compose: dict[str, Any]) -> None:
    """Its volume is the image's, its port the one exposed, here alone and limited; its stop waits as SIGTERM does."""
    orchard, dockerfile = compose["services"]["orchard"], (ROOT / "Dockerfile").read_text()
    (name, folder) = orchard["volumes"][0].split(":")
    assert name in compose["volumes"]
    assert f"VOLUME {folder}\n" in dockerfile
    (published,) = orchard["ports"]
    address, _, port = published.split(":")
    assert f"EXPOSE {port}\n" in dockerfile
    assert address == "127.0.0.1"
    assert orchard["read_only"] is True
    assert {"mem_limit", "pids_limit"} <= set(orchard)
    assert int(orchard["stop_grace_period"].removesuffix("s")) > 1 + 8


def _handed(compose: dict[str, Any], service: str) -> dict[str, Path]:
    """Return the files that a service is handed, by where it finds them."""
    return {
        entry["target"]: ROOT / compose["configs"][entry["source"]]["file"]
        for entry in compose["services"][service]["configs"]
    }


@pytest.fixture(scope="module")
def exported(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Return the labels of each metric that a service exports which was asked and taught, and has a record.

    And a forecast of which the harvest was reported.
    """
    with serving(copy_store(recorded, tmp_path_factory.mktemp("exported") / "store")) as running:
        running.client.post("/predict?level=0.8", json={"temperature": 75, "rainfall": 80, "humidity": 55})
        running.client.post("/retrain", json=HARVEST, headers=running.write)
        row = {"region": "K", "season": "2027", "temperature": 75, "rainfall": 80, "humidity": 55}
        running.client.post("/forecasts", json=row, headers=running.write)
        harvest = {"observations": [row | {"yields": {"mango": 70}}]}
        running.client.post("/observations", json=harvest, headers=running.write)
        until(lambda: "orchard_forecast_bias_tons{" in running.client.get("/metrics").text)
        text = running.client.get("/metrics").text
    families = text_string_to_metric_families(text)
    found = {"up": set(ADDED)}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, set(ADDED)).update(sample.labels)
    return found


def _assert_known(expr: str, exported: Labels) -> None:
    """Check that an expression names metrics that are exported, and labels that all of them have."""
    plain = re.sub(r'"[^"]*"', '""', expr)
    named = [name for name in re.findall(r"\b[a-z]\w+\b(?=[{\[ )]|$)", plain) if "_" in name or name == "up"]
    named = [name for name in named if name not in {"histogram_quantile", "group_left", "label_values"}]
    assert named, expr
    assert set(named) <= set(exported), (expr, set(named) - set(exported))
    for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", plain):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= exported[metric], expr
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", plain):
        for metric in named:
            missing = set(re.findall(r"\w+", labels)) - exported[metric]
            # What is divided by crop and level is, on the other side, by crop alone.
            assert not missing or (missing == {"level"} and metric == "orchard_record_rows"), (expr, metric, missing)


@pytest.mark.long
def test_prometheus_watches_what_there_is(compose: dict[str, Any], exported: Labels) -> None:
    """Its configuration is mounted where it looks, scrapes the service, and alerts on metrics that exist."""
    prometheus, files = compose["services"]["prometheus"], _handed(compose, "prometheus")
    path = next(word.partition("=")[2] for word in prometheus["command"] if word.startswith("--config.file="))
    configuration = yaml.safe_load(files[path].read_text())
    assert configuration["scrape_configs"][0]["static_configs"][0]["targets"] == ["orchard:8000"]
    rules = f"{Path(path).parent}/{configuration['rule_files'][0]}"
    alerts = yaml.safe_load(files[rules].read_text())["groups"][0]["rules"]
    assert len(alerts) > 5
    for alert in alerts:
        _assert_known(alert["expr"], exported)


def test_an_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    """Each has a severity, a summary of one line and a description; commands and paths that these name exist."""
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning"}
        summary, description = (alert["annotations"][name] for name in ("summary", "description"))
        assert "\n" not in summary
        assert len(description) > 80
        for label in re.findall(r"\$labels\.(\w+)", summary + description):
            aggregated = re.search(r"\bby \(([^)]*)\)", alert["expr"])
            assert aggregated is None or label in aggregated[1], (alert["alert"], label)
        settings = re.findall(r"ORCHARD_(\w+)", description)
        assert {name.lower() for name in settings} <= set(Settings.model_fields)
        for command in re.findall(r"`orchard (\w+)", description):
            assert f"orchard {command}" in (ROOT / "README.md").read_text()


def test_where_reading_is_closed_it_is_said_how_prometheus_reads(compose: dict[str, Any]) -> None:
    """Without their comment signs the lines are a configuration that sends the token, from the file handed in."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    opened = re.sub(r"^( *)# ((?: *)(?:authorization:|type:|credentials_file:).*)$", r"\1\2", text, flags=re.MULTILINE)
    (scraped,) = yaml.safe_load(opened)["scrape_configs"]
    assert scraped["authorization"] == {"type": "Bearer", "credentials_file": "/run/secrets/orchard_read_token"}
    assert "secrets" not in compose
    opened = re.sub(
        r"^# (secrets:|  orchard_read_token:.*)$", r"\1", (ROOT / "compose.yaml").read_text(), flags=re.MULTILINE
    )
    assert list(yaml.safe_load(opened)["secrets"]) == ["orchard_read_token"]


def test_grafana_is_handed_what_it_needs(compose: dict[str, Any]) -> None:
    """Here alone, of one version, limited; data sources that are asked where they are; a dashboard that is found."""
    grafana, files = compose["services"]["grafana"], _handed(compose, "grafana")
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", grafana["image"])
    assert grafana["ports"] == ["127.0.0.1:3000:3000"]
    assert {"mem_limit", "pids_limit"} <= set(grafana)
    (name, folder) = grafana["volumes"][0].split(":")
    assert name in compose["volumes"]
    assert folder == "/var/lib/grafana"
    sources = yaml.safe_load(files["/etc/grafana/provisioning/datasources/orchard.yml"].read_text())["datasources"]
    addresses = {source["type"]: source["url"] for source in sources}
    assert addresses == {"prometheus": "http://prometheus:9090", INFINITY["type"]: "http://orchard:8000"}
    assert grafana["environment"]["GF_PLUGINS_PREINSTALL"].partition("@")[0] == INFINITY["type"]
    assert compose["services"]["orchard"]["environment"]["ORCHARD_HOSTS"] == "orchard"
    (provider,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/orchard.yml"].read_text())["providers"]
    found = f"{provider['options']['path']}/orchard.json"
    assert files[found] == DEPLOY / "grafana" / "orchard.json"
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == found


def test_the_dashboard_is_that_of_the_service(reading: Running) -> None:
    """The file is what the service answers, to the byte: `curl localhost:8000/grafana.json` writes it anew."""
    answer = reading.client.get("/grafana.json")
    assert answer.headers["content-type"] == "application/json"
    assert (DEPLOY / "grafana" / "orchard.json").read_bytes() == answer.content
    assert (answer.json()["uid"], answer.json()["title"]) == ("orchard", "Orchard")


def test_the_dashboard_asks_for_what_there_is(exported: Labels) -> None:
    """Its queries name metrics and labels that exist, and all metrics of the README have a place on it."""
    found = dashboard()
    exprs = [target["expr"] for panel in found["panels"] for target in panel.get("targets", ()) if "expr" in target]
    exprs += [annotation["expr"] for annotation in found["annotations"]["list"]]
    for expr in exprs:
        _assert_known(expr.replace("$__rate_interval", "5m"), exported)
    table = (ROOT / "README.md").read_text().partition("\n| metric | labels")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    for name in re.findall(r"`(\w+)`", " ".join(rows)):
        assert re.search(rf"\b{name}(_bucket)?\b", " ".join(exprs)), name
    job = next(variable for variable in found["templating"]["list"] if variable["name"] == "job")
    assert re.fullmatch(r"label_values\((\w+), job\)", job["definition"])[1] in exported  # type: ignore[index]
    legends = [
        (target["expr"], label)
        for panel in found["panels"]
        for target in panel.get("targets", ())
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
    ]
    assert len(legends) > 10
    for expr, label in legends:
        assert label == "instance" or re.search(rf"\bby \([^)]*\b{label}\b", expr), expr


def test_the_dashboard_is_one_that_grafana_can_place() -> None:
    """Numbers are unique, no panel lies on another, all in the grid; data sources are variables that it has."""
    found = dashboard()
    numbers = [panel["id"] for panel in found["panels"]]
    assert sorted(set(numbers)) == numbers
    taken = set[tuple[int, int]]()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    variables = {variable["name"]: variable["query"] for variable in found["templating"]["list"][:2]}
    asked = [panel["datasource"] for panel in found["panels"] if "datasource" in panel]
    for source in asked + [target["datasource"] for panel in found["panels"] for target in panel.get("targets", ())]:
        assert variables[source["uid"].strip("${}")] == source["type"]


def test_the_table_of_versions_shows_what_the_service_answers() -> None:
    """Its columns are fields of a version, under the name that the list has, in a page that may be asked for."""
    table = next(panel for panel in dashboard()["panels"] if panel["type"] == "table")
    (target,) = table["targets"]
    path, _, limit = target["url"].partition("?limit=")
    assert path == "/models"
    assert 1 <= int(limit) <= 1_000
    assert target["root_selector"] in VersionPage.model_fields
    assert {column["selector"] for column in target["columns"]} <= set(VersionEntry.model_fields)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["check", "config", "prometheus.yml"], id="check config"),
        pytest.param(["check", "rules", "alerts.yml"], id="check rules"),
        pytest.param(["test", "rules", "alerts.test.yml"], id="test rules", marks=pytest.mark.long),
    ],
)
def test_promtool_finds_nothing_wrong(words: list[str]) -> None:
    """The configuration, the rules, and what they tell of a service that rejects, fails or is down."""
    done = subprocess.run(["promtool", *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong_with_what_is_exported(reading: Running, tmp_path: Path) -> None:
    """Neither with the metrics, nor with what the dashboard asks of them."""
    reading.client.post("/predict", json={"temperature": 75, "rainfall": 80, "humidity": 55})
    text = reading.client.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    exprs = [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()) if "expr" in target
    ]
    rules = [
        {"record": f"asked:{number}", "expr": expr.replace("$__rate_interval", "5m")}
        for number, expr in enumerate(exprs)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
