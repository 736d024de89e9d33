"""Rows of objects by a template: what JSON of the same objects is, to the last byte."""

from typing import Any

import numpy as np
import orjson
import pytest

from app.model.linear import CropModel, LinearModel, Spread
from app.model.names import Names
from app.model.weather import FEATURE_NAMES
from app.wire import row_template
from app.wire.answers import Answer
from app.wire.questions import Question, Regions

WHITENER = ((0.05, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 0.05))
SPREAD = Spread(20, (80.0, 100.0, 50.0), (60.0, 50.0, 30.0), (100.0, 150.0, 70.0), (8.0, 20.0, 9.0), WHITENER, 0.5, 3)
FEW = Spread(4, (80.0, 100.0, 50.0), (60.0, 50.0, 30.0), (100.0, 150.0, 70.0), (8.0, 20.0, 9.0), WHITENER, 0.9, 3)
LINE = (7.0, (0.5, 0.25, 0.125))
MODEL = LinearModel(
    FEATURE_NAMES,
    (CropModel('a "%d" crop', *LINE, 20.0, 24.0, SPREAD), CropModel("few", -200.0, (1.0, 1.0, 1.0), 20.0, 0.0, FEW)),
)
NAMED: list[Regions] = [(None,) * 3, ["A", None, 'B, "C" %b'], Names.of(["A", None, "A"]), ["", "", ""]]


@pytest.mark.parametrize("regions", NAMED, ids=["none", "some", "names", "empty"])
@pytest.mark.parametrize("explain", [False, True])
def test_they_are_those_objects(regions: Regions, explain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions with anything in their names, crops without an interval, warnings, more rows than fit at a time."""
    weather = [np.array([80.0, 30.0, 90.5]), np.array([100.0, 90.0, 0.1]), np.array([50.0, 40.0, 33.3])]
    answer = Answer(Question("several", regions, weather), "7", MODEL, 0.9, explain=explain)
    expected = b",".join(map(orjson.dumps, _objects(answer, regions)))
    assert row_template.rows(answer) == expected
    monkeypatch.setattr(row_template, "AT_A_TIME", 2)
    assert row_template.rows(answer) == expected


def _objects(answer: Answer, regions: Regions) -> list[dict[str, Any]]:
    explanations, warnings = answer.explanations(), answer.warnings()
    objects = []
    for row, region in enumerate(regions):
        yields: dict[str, Any] = {}
        for crop, columns in answer.tons().items():
            told: dict[str, Any] = {
                name: None if column is None else float(column[row]) for name, column in columns.items()
            }
            if explanation := explanations[crop]:
                parts = {name: float(part[row]) for name, part in explanation["contributions"].items()}
                told |= {"baseline": explanation["baseline"], "contributions": parts}
            yields[crop] = told
        whole = {"region": region, "yields": yields, "extrapolated": bool(answer.extrapolated[row])}
        objects.append(whole | {"warnings": warnings[row]})
    return objects
