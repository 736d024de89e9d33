"""compose.yaml, read without a container engine: what it mounts and watches is what the image and the service have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.running import HARVEST, ROOT, copy_store, serving

ELSEWHERE = {"up"}
"""What Prometheus itself adds."""


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


def test_prometheus_watches_what_there_is(compose: dict[str, Any], trained: Path, tmp_path: Path) -> None:
    """Its configuration is mounted where it looks, scrapes the service, and alerts on metrics that exist."""
    prometheus = compose["services"]["prometheus"]
    targets = {entry["target"]: entry["source"] for entry in prometheus["configs"]}
    path = next(word.partition("=")[2] for word in prometheus["command"] if word.startswith("--config.file="))
    configuration = yaml.safe_load(compose["configs"][targets[path]]["content"])
    assert configuration["scrape_configs"][0]["static_configs"][0]["targets"] == ["orchard:8000"]
    rules = f"{Path(path).parent}/{configuration['rule_files'][0]}"
    alerts = yaml.safe_load(compose["configs"][targets[rules]]["content"])["groups"][0]["rules"]
    assert len(alerts) > 5
    with serving(copy_store(trained, tmp_path / "store")) as running:
        running.client.post("/predict?level=0.8", json={"temperature": 75, "rainfall": 80, "humidity": 55})
        running.client.post("/retrain", json=HARVEST, headers=running.write)
        text = running.client.get("/metrics").text
    known = set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE)) | ELSEWHERE
    for alert in alerts:
        named = set(re.findall(r"\b(?:up|orchard_\w+)\b(?=[{\[ )])", alert["expr"]))
        assert named, alert
        assert named <= known, named - known
