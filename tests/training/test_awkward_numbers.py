"""Numbers at the edge of what can be learned: each gets a sentence, and what can be learned of it is."""

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest

from app.data.provenance import Provenance
from app.data.tables import Table, parse_observations
from app.errors import InvalidInput
from app.model.linear import LinearModel
from app.model.moments import Array
from app.model.warning_texts import warnings_for, warnings_for_many
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from app.training.report import Report
from app.wire.schemas import ObservationsRequest
from app.wire.validation import parse

ROWS = 20
LEVEL = 0.95


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on an empty store."""
    job = Job(settings)
    yield job
    job.close()


def _table(draw: np.random.Generator, rows: int = ROWS, noise: float = 1.0, season: str = "2026") -> Table:
    """Return honest rows of one crop."""
    weather = np.column_stack([draw.uniform(60, 90, rows), draw.uniform(50, 130, rows), draw.uniform(40, 70, rows)])
    tons = 2 + weather @ [0.5, 0.25, 0.125] + noise * draw.normal(size=rows)
    return _of(weather, tons, season)


def _of(weather: Array, tons: Array, season: str = "2026") -> Table:
    names = tuple(f"region {number}" for number in range(len(tons)))
    return Table(names, (season,) * len(tons), weather, ("mango",), tons[:, None])


@pytest.fixture
def honest() -> Table:
    """Return honest rows."""
    return _table(np.random.default_rng(5))


def _run(job: Job, table: Table) -> Report:
    return job.run(Order(Provenance("test", "tester", ""), table)).report


def _model(settings: Settings) -> LinearModel:
    return Registry(Objects(settings.folder)).live()[1].model


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-105])
@pytest.mark.parametrize("name", ["rainfall", "yield"])
def test_values_too_small_to_tell_apart_are_refused(job: Job, honest: Table, name: str, size: float) -> None:
    """Rainfall or yields whose squares are nothing: an error that names the column, the range and what to do."""
    weather, tons = honest.weather.copy(), honest.yields[:, 0].copy()
    if name == "yield":
        tons *= size
    else:
        weather[:, 1] *= size
    with pytest.raises(InvalidInput, match=rf"mango: the values of {name}, .* cannot be told apart: .* check the unit"):
        _run(job, _of(weather, tons))


def test_a_difference_that_is_rounding_is_refused(job: Job, honest: Table) -> None:
    """Temperatures that differ in their last bits only are no weather to learn from."""
    weather = honest.weather.copy()
    weather[:, 0] = np.nextafter(70.0, np.where(np.arange(ROWS) % 2, 100.0, 70.0))
    with pytest.raises(InvalidInput, match=r"the values of temperature, 70 to 70\.00000000000001 °F, cannot be told"):
        _run(job, _of(weather, honest.yields[:, 0]))


@pytest.mark.parametrize("size", [1e-90, 1.0, 1e90])
def test_small_and_large_yields_are_learned(job: Job, honest: Table, size: float) -> None:
    """Whatever the unit, the line is the same."""
    report = _run(job, _of(honest.weather, honest.yields[:, 0] * size))
    assert report.decision == "accepted"


def test_a_narrow_range_is_told_with_its_digits(job: Job, settings: Settings, honest: Table) -> None:
    """A range of 1e-7 °F at 139 is not told as 139 to 139."""
    weather = honest.weather.copy()
    weather[:, 0] = 139 + 1e-7 * np.arange(ROWS) / (ROWS - 1)
    assert _run(job, _of(weather, honest.yields[:, 0])).decision == "accepted"
    sentence = warnings_for(_model(settings), [139.5, 90.0, 55.0], LEVEL)[0]
    assert sentence == "temperature 139.5 °F is outside the training range, 139 to 139.0000001 °F"


def test_a_constant_feature_is_left_out_in_words(job: Job, settings: Settings, honest: Table) -> None:
    """The first model is accepted without it, says so, and flags any other value of it."""
    weather = honest.weather.copy()
    weather[:, 2] = 50.0
    report = _run(job, _of(weather, honest.yields[:, 0]))
    assert (report.decision, report.activated) == ("accepted", True)
    assert report.left_out == [
        "mango: humidity is 50 % in all 20 rows and is left out: the crop's line says nothing of any other value"
    ]
    model = _model(settings)
    assert model.crops[0].weights[2] == 0.0
    assert warnings_for(model, [75.0, 90.0, 60.0], LEVEL) == [
        "humidity 60 % was 50 % in all rows of training: its effect is not known"
    ]
    columns = [np.array([value]) for value in (75.0, 90.0, 60.0)]
    assert model.yields(columns, LEVEL).extrapolated.tolist() == [True]


def test_a_feature_that_begins_to_vary_is_learned(job: Job, settings: Settings, honest: Table) -> None:
    """The next rows have other values of it: they are accepted, and nothing is left out."""
    weather = honest.weather.copy()
    weather[:, 2] = 50.0
    tons = 2 + weather @ [0.5, 0.25, 0.125] + np.random.default_rng(6).normal(size=ROWS)
    _run(job, _of(weather, tons))
    report = _run(job, _table(np.random.default_rng(7), season="2027"))
    assert (report.decision, report.left_out) == ("accepted", [])
    assert _model(settings).crops[0].weights[2] != 0.0


@pytest.mark.parametrize("tons", ["on a line", "equal"])
def test_a_perfect_fit_says_so_and_is_no_trap(job: Job, settings: Settings, honest: Table, tons: str) -> None:
    """An interval without width is told; rows that are off by their rounding are neither refused nor suspicious."""
    exact = np.full(ROWS, 7.0) if tons == "equal" else 2 + honest.weather @ [0.5, 0.25, 0.125]
    assert _run(job, _of(honest.weather, exact)).decision == "accepted"
    model, weather = _model(settings), [75.0, 90.0, 55.0]
    sentence = (
        "mango: the line passes through all 20 rows of training, so that its intervals have no width: they do not say "
        "how far to trust it"
    )
    assert warnings_for(model, weather, LEVEL) == [sentence]
    columns = [np.array([value, value]) for value in weather]
    assert warnings_for_many(model, columns, model.yields(columns, LEVEL)) == [[sentence]] * 2
    rounded = np.array([float(f"{value:.3g}") for value in exact[:5] * 1.0001])
    report = _run(job, _of(honest.weather[:5], rounded, "2027"))
    assert (report.decision, report.suspicious) == ("accepted", [])


def test_after_a_perfect_fit_a_wrong_row_is_refused(job: Job, honest: Table) -> None:
    """The floor is that of rounding: what is off by a tenth is refused, and listed."""
    exact = 2 + honest.weather @ [0.5, 0.25, 0.125]
    _run(job, _of(honest.weather, exact))
    report = _run(job, _of(honest.weather[:5], exact[:5] * [1.1, 1, 1, 1, 1], "2027"))
    assert report.decision == "rejected"
    assert [found.row for found in report.suspicious] == [0]


def test_yields_of_nothing_at_all_are_learned(job: Job, honest: Table) -> None:
    """A crop that failed everywhere: a line at 0, told as one without a width, and the next row is compared with it."""
    assert _run(job, _of(honest.weather, np.zeros(ROWS))).decision == "accepted"
    assert _run(job, _of(honest.weather[:3], np.array([0.0, 0.0, 5.0]), "2027")).decision == "rejected"


def test_too_many_crops_are_refused_in_json() -> None:
    """101 crops in a row are refused in words of ours, which name the place."""
    row = {"temperature": 73, "rainfall": 67, "humidity": 43, "yields": {f"crop {number}": 1 for number in range(101)}}
    with pytest.raises(InvalidInput, match=r"observations\.0\.yields: has more than 100 crops"):
        parse(ObservationsRequest, json.dumps({"observations": [row]}).encode(), max_rows=10)


def test_too_many_crops_are_refused_in_a_table() -> None:
    """A table of 101 crops is refused, and says how many there are."""
    crops = ",".join(f"crop {number}" for number in range(101))
    content = io.StringIO()
    content.write(f"temperature,rainfall,humidity,{crops}\n73,67,43{',1' * 101}\n")
    with pytest.raises(InvalidInput, match="101 crops: at most 100"):
        parse_observations(content.getvalue().encode())
