"""The README's tables of metrics, alerts and terms name what there is, without a service that runs."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.api.concurrency import Concurrency
from app.api.helper import Helper
from app.api.metrics import EXPRESS, metrics
from app.api.services import Services
from app.api.tokens import Tokens, WrongTokens
from app.model.glossary import GLOSSARY
from app.serving.drift import AskedWeather
from app.serving.live import Live
from app.serving.tally import Tally
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry
from app.training.process import Trainer
from tests.conftest import ROOT
from tests.running import copy_store

GOLDEN = ROOT / "tests" / "stores" / "0.1.0" / "sqlite"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return the parts of a service that has been asked about the weather, none of which runs."""
    settings = Settings(model_store=copy_store(GOLDEN, tmp_path / "store"))
    live = Live(registry := Registry(open_store(settings)))
    live.follow()
    asked = AskedWeather()
    asked.note((75.0, 80.0, 55.0))
    made = Services(
        settings,
        Tokens(settings),
        WrongTokens(),
        Concurrency(1, 1.0),
        registry,
        live,
        asked,
        Tally(EXPRESS),
        Trainer(settings),
        Helper(),
        Helper(),
    )
    yield made
    asyncio.run(made.close())


def test_the_readme_names_all_metrics_and_no_other(services: Services) -> None:
    """Each as Prometheus calls it: counters with `_total`, histograms by what their series have in common."""
    exported = re.findall(r"^# TYPE (orchard_\w+) ", bytes(asyncio.run(metrics(services)).body).decode(), re.MULTILINE)
    named = re.findall(r"^\| (`orchard_.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(named))) == sorted(exported)


def test_the_readme_explains_all_alerts_and_no_other() -> None:
    """Each with its severity."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    shown = re.findall(r"^\| `(Orchard\w+)` \| (\w+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in rules)


def test_the_readme_has_the_glossary() -> None:
    """Each term in the words that the command prints, in its order."""
    part = (ROOT / "README.md").read_text().partition("\n## Glossary\n")[2].partition("\n## ")[0]
    rows = [tuple(line.strip("| ").split(" | ")) for line in part.splitlines() if line.startswith("| ")][1:]
    assert rows == list(GLOSSARY.items())
