"""What the live version had said of the yields that come with a training: in its report and on the card."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.data.tables import Table
from app.settings import Settings
from app.store.card import Card
from app.training.order import Order
from tests.years import TEST, World, harvest_of

REGIONS = 24


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a small store, trained on a year."""
    found = World(Settings(model_store=tmp_path / "store"), REGIONS)
    found.learn(harvest_of(2019, REGIONS, alike=0.0))
    yield found
    found.close()


def _errors(world: World, table: Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    model = world.registry.read(world.live).model
    return np.asarray(table.yields[:, 0] - np.maximum(0, model.yields(list(table.weather.T), 0.95).tons["corn"]))


def test_a_report_says_what_was_predicted(world: World) -> None:
    """By the version that was live before, of the rows that came; the card says the same."""
    table = harvest_of(2020, REGIONS, beyond=30.0)
    errors = _errors(world, table)
    outcome = world.learn(table)
    corn = outcome.report.as_predicted["corn"]
    assert outcome.report.as_predicted["soy"].n == int(np.sum(~np.isnan(table.yields[:, 1])))
    assert (corn.n, corn.seasons) == (REGIONS, 1)
    assert corn.bias.tons == pytest.approx(errors.mean(), rel=1e-12)
    assert corn.rmse.tons == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
    assert corn.mae == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    (said,) = [reason for reason in outcome.report.reasons if reason.startswith("corn: the live version was ")]
    assert corn.bias.low is not None
    assert corn.bias.low > 0
    assert f"t too low on {REGIONS} yields (" in said
    assert said in outcome.report.reasons[1:]
    assert world.registry.read("2").card.as_predicted == outcome.report.as_predicted


def test_it_informs_and_decides_nothing(world: World) -> None:
    """The gate's verdict is what the gate has said alone; what it refuses has the figures as well."""
    honest = world.learn(harvest_of(2020, REGIONS, alike=0.0), activate="if_better").report
    assert honest.decision == "accepted"
    assert "corn" in honest.as_predicted
    refused = world.learn(harvest_of(2021, REGIONS, beyond=400.0), activate="if_better").report
    assert refused.decision == "rejected"
    assert "the live version was" not in refused.reasons[0]
    assert any("the live version was" in reason for reason in refused.reasons)
    assert refused.as_predicted["corn"].bias.tons > 300


def test_nothing_is_told_where_nothing_was_predicted(world: World) -> None:
    """Of a first training, of rows that stand for all before, and of rows that the live version has learned."""
    first = world.registry.read("1").card
    assert first.as_predicted == {}
    assert "as_predicted" not in first.model_dump_json()
    table = harvest_of(2020, REGIONS)
    alone = world.job.run(Order(TEST, table, alone=True, activate="always")).report
    assert alone.as_predicted == {}
    assert "as_predicted" not in alone.model_dump_json()
    again = world.learn(replace(table, yields=table.yields + 0.001))
    assert again.report.as_predicted == {}
    assert world.job.run(Order(TEST)).report.as_predicted == {}


def test_a_card_from_before_it_was_told_can_be_read(world: World) -> None:
    """It has none."""
    world.learn(harvest_of(2020, REGIONS))
    card = world.registry.read("2").card
    stored = card.model_dump_json(exclude={"as_predicted"})
    assert Card.model_validate_json(stored).as_predicted == {}
    assert Card.model_validate_json(card.model_dump_json()) == card
