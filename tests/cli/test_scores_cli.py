"""`orchard scores`: on the store alone and through a service, with the same answers; the client's call."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Orchard
from app.settings import Settings
from tests.running import copy_store, orchard, serving
from tests.years import World, harvest_of, weather_of

REGIONS = 12


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a year that was foretold and harvested, and one that a training has set aside."""
    folder = tmp_path_factory.mktemp("scored") / "store"
    world = World(Settings(model_store=folder), REGIONS)
    world.learn(harvest_of(2019, REGIONS))
    world.foretell("2020", weather_of(2019, REGIONS), due_in=120)
    world.learn(harvest_of(2020, REGIONS))
    world.foretell("2021", weather_of(2020, REGIONS), due_in=120)
    assert world.learn(harvest_of(2021, REGIONS, beyond=500.0), activate="if_better").report.decision == "rejected"
    world.close()
    return folder


@pytest.fixture(params=["the store", "a service"])
def settings(request: pytest.FixtureRequest, scored: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return where the command is to work."""
    store = copy_store(scored, tmp_path / "store")
    if request.param == "the store":
        yield {}
        return
    with serving(store) as running:
        yield running.settings


def test_scores_are_shown(settings: dict[str, str], tmp_path: Path) -> None:
    """A table, what it comes to in sentences, and what a training has set aside by itself."""

    def run(*words: str, code: int = 0) -> str:
        done = orchard(tmp_path / "store", *words, **settings, COLUMNS="160")
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    page = json.loads(run("scores", "--by", "season", "--json"))
    assert [(group["season"], group["set_aside"]) for group in page["scores"]] == [
        ("2020", False),
        ("2020", False),
        ("2021", True),
        ("2021", True),
    ]
    shown = " ".join(run("scores", "--by", "season").split())
    for group in page["scores"]:
        aside = ", set aside by a training" if group["set_aside"] else ""
        assert f"{group['crop']}, {group['season']}{aside}: {group['verdict']}" in shown
        assert f"{group['bias']['tons']:.2f} ({group['bias']['low']:.2f} to {group['bias']['high']:.2f})" in shown
    assert "corn, set aside" in shown
    assert "t too low" in shown
    arrival = json.loads(run("scores", "--basis", "arrival", "--json"))
    assert arrival["basis"] == "arrival"
    assert "region" in json.loads(run("scores", "--by", "region", "--json"))["scores"][0]
    assert "there is no 'year' to group by" in run("scores", "--by", "year", code=2)


def test_the_client_reads_scores(scored: Path, tmp_path: Path) -> None:
    """As they are answered."""
    with serving(copy_store(scored, tmp_path / "store")) as running, Orchard(running.url) as client:
        page = client.scores(basis="arrival", by=["version", "season"])
        assert (page.basis, page.by) == ("arrival", ["version", "season"])
        assert page.scores[0].bias is not None
        assert (page.scores[0].version, page.scores[0].n) == ("1", REGIONS)


def test_where_nothing_was_predicted_it_is_said(trained: Path) -> None:
    """Not an empty table."""
    assert orchard(trained, "scores").stdout == "no yield has been reported of what was predicted\n"
