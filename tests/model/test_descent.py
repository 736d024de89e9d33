"""Gradient descent against reference values, closed forms and what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.harvest import moments_of
from app.data.tables import Table
from app.errors import Diverged
from app.model.descent import TutorialRecipe, descend, follow_tutorial, largest_stable_rate
from app.model.fit import Fit, least_squares
from app.model.moments import Array, Moments
from app.model.progress import Step
from tests.reference import FEATURE_NAMES, REFERENCE, digits, nist

STEP = 1 / 1.9864788511233438
"""1/L on the tutorial's rows."""


@pytest.fixture
def crops(tutorial: Table) -> dict[str, Moments]:
    """Return the moments of the tutorial's crops."""
    return {crop: part.total for crop, part in moments_of(tutorial).items()}


def test_the_tutorials_coefficients(crops: dict[str, Moments]) -> None:
    """Intercepts, weights and the loss agree with the 50-digit reference to 1e-9."""
    fit = descend(crops)
    for crop, line in fit.crops.items():
        exact = REFERENCE["tutorial"][crop]
        assert line.intercept == pytest.approx(float(exact["intercept"]), rel=1e-9)
        assert line.weights.tolist() == pytest.approx([float(exact[name]) for name in FEATURE_NAMES], rel=1e-9)
    assert fit.loss == pytest.approx(0.909445984918890, rel=1e-9)
    assert fit.converged
    assert fit.relative_gap <= 1e-10
    assert len(fit.losses) == fit.epochs < 200


@pytest.mark.parametrize("problem", ["Norris", pytest.param("Wampler1", marks=pytest.mark.long)])
def test_nist_problems_to_eight_digits(problem: str) -> None:
    """The same descent gives at least 8 of the certified digits, with one feature and with five."""
    rows, certified = nist(problem)
    line = descend({"y": Moments.of(rows)}).crops["y"]
    found = [line.intercept, *line.weights.tolist()]
    assert min(map(digits, found, certified)) >= 8


WAMPLER_5 = """7590001 -20479994 20480063 -20479636 25231365 -20476094 20489331 -20460392 18417449 -20413570 20591111
-20302844 18651453 -20077766 21059195 -19666384 26348481 -18971402 22480719 -17866340 10958421"""
"""NIST's yields at 0 to 20 of a polynomial of degree 5 whose coefficients are all 1, with noise 10 000 times as large
as what the coefficients explain."""


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="this processor has no longer floats")
@pytest.mark.parametrize("in_folds", [False, True])
@pytest.mark.parametrize("recipe", ["closed form", pytest.param("descent", marks=pytest.mark.long)])
def test_wampler_5_to_seven_digits(recipe: str, in_folds: bool) -> None:
    """Descent and the closed form give 7 of the certified digits, also of rows that were merged from folds."""
    x = np.arange(21.0)
    rows = np.column_stack([*(x**power for power in range(1, 6)), list(map(float, WAMPLER_5.split()))])
    parts = [rows[fold::5] for fold in range(5)] if in_folds else [rows]
    moments = Moments.merge(map(Moments.of, parts), 6)
    line = least_squares(moments) if recipe == "closed form" else descend({"y": moments}).crops["y"]
    assert min(digits(found, 1.0) for found in (line.intercept, *line.weights.tolist())) >= 7


def test_plain_descent_takes_86_epochs(crops: dict[str, Moments]) -> None:
    """With step 1/L and no momentum the gap falls below 1e-10 in epoch 86, and not before."""
    gaps = [descend(crops, epochs=epochs, learning_rate=STEP).relative_gap for epochs in (85, 86)]
    assert gaps[0] > 1e-10 >= gaps[1]


def test_a_rate_beyond_the_stable_one_is_named() -> None:
    """Beyond 2/L descent diverges, with an error that names the rate and the largest stable one."""
    rows, _ = nist("Norris")
    with pytest.raises(Diverged, match=r"learning rate 2.5: the largest stable one on these rows is 2.0000e\+00"):
        descend({"y": Moments.of(rows)}, learning_rate=2.5)


def test_too_few_epochs_are_not_converged(crops: dict[str, Moments]) -> None:
    """Ended early, the fit says so, and by how much."""
    fit = descend(crops, epochs=5)
    assert (fit.epochs, fit.converged) == (5, False)
    assert fit.relative_gap > 1e-3


def test_progress_is_told_every_epoch(crops: dict[str, Moments]) -> None:
    """Each epoch is reported with its loss, which ends at the least-squares loss."""
    told: list[Step] = []
    fit = descend(crops, progress=told.append)
    assert [step.epoch for step in told] == list(range(1, fit.epochs + 1))
    assert told[-1].loss == pytest.approx(fit.least_squares_loss, rel=1e-12)


def test_a_constant_column_gets_weight_zero(tutorial: Table) -> None:
    """A constant column is no information: its weight is 0, the others are those of the fit without it."""
    features = np.column_stack([tutorial.weather[:, :2], np.full(15, 7.0)])
    tons = tutorial.yields[:, :1]
    fit = descend({"y": Moments.of(np.column_stack([features, tons]))}).crops["y"]
    smaller = least_squares(Moments.of(np.column_stack([features[:, :2], tons])))
    assert fit.weights[2] == 0.0
    np.testing.assert_allclose(fit.weights[:2], smaller.weights, rtol=1e-9)
    assert fit.rank == 2


def test_collinear_columns_get_the_minimum_norm_solution(tutorial: Table) -> None:
    """Of all optimal weights on standardised features, descent finds the shortest, and says that the rank is 2."""
    features = np.column_stack([tutorial.weather[:, :2], 3 * tutorial.weather[:, 0] - 8])
    tons = tutorial.yields[:, 0]
    fit = descend({"y": Moments.of(np.column_stack([features, tons]))})
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    shortest = np.linalg.pinv(scaled) @ (tons - tons.mean()) / features.std(axis=0)
    np.testing.assert_allclose(fit.crops["y"].weights, shortest, rtol=1e-9)
    assert (fit.crops["y"].rank, fit.crops["y"].full_rank, fit.converged) == (2, False, True)


def test_constant_yields_are_fitted_at_once(tutorial: Table) -> None:
    """Yields that are all the same give weights 0 and their value as the intercept."""
    fit = descend({"y": Moments.of(np.column_stack([tutorial.weather, np.full(15, 5.0)]))})
    assert fit.crops["y"].weights.tolist() == [0.0, 0.0, 0.0]
    assert (fit.crops["y"].intercept, fit.loss, fit.converged) == (5.0, 0.0, True)


def _problem(seed: int, count: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(seed)
    weather = draw.uniform([50, 100, 30], [105, 1500, 95], (count, 3))
    return weather, weather @ [-0.5, 0.02, 0.7] + 20 + draw.normal(0, 3, count)


def _predict(fit: Fit, weather: Array) -> Array:
    line = fit.crops["y"]
    return np.asarray(weather @ line.weights + line.intercept)


def _fit(weather: Array, tons: Array) -> Fit:
    return descend({"y": Moments.of(np.column_stack([weather, tons]))})


@given(st.integers(0, 10**6), st.integers(8, 40))
@settings(max_examples=20)
def test_units_do_not_matter(seed: int, count: int) -> None:
    """A model fitted on °C and inches predicts what the one fitted on °F and mm does."""
    weather, tons = _problem(seed, count)
    metric = (weather - [32, 0, 0]) * [5 / 9, 1 / 25.4, 1]
    np.testing.assert_allclose(_predict(_fit(metric, tons), metric), _predict(_fit(weather, tons), weather), rtol=1e-9)


@given(st.integers(0, 10**6), st.integers(8, 40), st.integers(2, 4))
@settings(max_examples=20)
def test_order_and_copies_of_rows_do_not_matter(seed: int, count: int, copies: int) -> None:
    """Shuffled rows, and rows that are all there several times, give the same line."""
    weather, tons = _problem(seed, count)
    order = np.random.default_rng(seed).permutation(np.tile(np.arange(count), copies))
    line, other = (fit.crops["y"] for fit in (_fit(weather, tons), _fit(weather[order], tons[order])))
    np.testing.assert_allclose(other.weights, line.weights, rtol=1e-9)
    assert other.intercept == pytest.approx(line.intercept, rel=1e-9)


def test_the_loss_cannot_be_lowered(crops: dict[str, Moments]) -> None:
    """Finite differences: a step in any coefficient, up or down, raises the loss."""
    for line in descend(crops).crops.values():
        best = line.moments.squared_error(line.weights, line.intercept)
        for step in (*(1e-4 * np.eye(3)), *(-1e-4 * np.eye(3))):
            assert line.moments.squared_error(line.weights + step, line.intercept) > best
        for shift in (-1e-3, 1e-3):
            assert line.moments.squared_error(line.weights, line.intercept + shift) > best


def _tutorial(table: Table, crops: dict[str, Moments], **options: float) -> tuple[Fit, Array]:
    return follow_tutorial(table.weather, table.yields, crops, TutorialRecipe(**options))  # type: ignore[arg-type]


def test_the_tutorials_recipe_ends_where_it_does(tutorial: Table, crops: dict[str, Moments]) -> None:
    """Over 20 seeds its final losses lie between 58.6 and 4232, far above the least-squares loss, and it says so."""
    fits = [_tutorial(tutorial, crops, seed=seed)[0] for seed in range(20)]
    losses = [fit.loss for fit in fits]
    assert min(losses) >= 58.6
    assert max(losses) <= 4_232
    assert 200 < float(np.median(losses)) < 1_200
    assert not any(fit.converged for fit in fits)
    assert all(fit.epochs == 50 for fit in fits)


def test_a_seed_reproduces_to_the_bit(tutorial: Table, crops: dict[str, Moments]) -> None:
    """The same seed gives the same weights, another one others."""
    first, again, other = (_tutorial(tutorial, crops, seed=seed)[0] for seed in (3, 3, 4))
    assert first.crops["mango"].weights.tobytes() == again.crops["mango"].weights.tobytes()
    assert first.losses == again.losses != other.losses


def test_the_tutorials_last_loss_is_that_of_its_predictions(tutorial: Table, crops: dict[str, Moments]) -> None:
    """The loss from the moments is that of the float32 predictions."""
    fit, predictions = _tutorial(tutorial, crops, seed=1)
    assert fit.loss == pytest.approx(float(np.mean((predictions - tutorial.yields) ** 2)), rel=1e-4)
    assert fit.losses[-1] == pytest.approx(fit.loss, rel=1e-4)


@pytest.mark.parametrize("rate", [1.2e-4, 1e-3, 1.0])
def test_the_tutorials_recipe_diverges(tutorial: Table, crops: dict[str, Moments], rate: float) -> None:
    """From 1.2e-4 on it diverges: an error that names the rate and the largest stable one."""
    with pytest.raises(Diverged, match=rf"learning rate {rate:g}: the largest stable one on these rows is 1.1155e-04"):
        _tutorial(tutorial, crops, seed=0, learning_rate=rate)


def test_the_largest_stable_rate(tutorial: Table) -> None:
    """On the tutorial's rows it is 1.1155e-4."""
    assert largest_stable_rate(tutorial.weather, 2) == pytest.approx(0.00011155126217755503, rel=1e-9)
