"""Each region against its own past: honest seasons pass, whatever their level and their tails; slips are named."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from app.data.provenance import Provenance
from app.data.tables import Table
from app.model.fisher import f_quantile
from app.model.linear import CropModel, LinearModel
from app.model.moments import Array
from app.model.scores import _honest_bound, _noise_bound
from app.model.student import t_quantile
from app.settings import Settings
from app.training.asked import Asked
from app.training.job import Job
from app.training.order import Order
from app.training.past import PastCheck
from tests.panels import learned

REGIONS, SEASONS = 30, 8
NOISE = 20.0
"""Tons, of some 400."""
OFFSETS = np.random.default_rng(5).normal(0.0, 60.0, REGIONS)
OTHER = 1 / math.sqrt(2.0)
"""Makes the deviation of Student's t with 4 degrees of freedom 1."""


def _panel(
    draw: np.random.Generator, seasons: Sequence[int], noise: Array | float = NOISE, level: float = 1.0
) -> Table:
    region, season = np.divmod(np.arange(REGIONS * len(seasons)), len(seasons))
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(region), 3))
    tons = 400.0 + (weather - [70.0, 900.0, 55.0]) @ [3.0, 0.06, 1.5] + OFFSETS[region]
    tons += draw.normal(0.0, 30.0, len(seasons))[season]
    tons = level * tons + (draw.normal(0.0, noise, len(region)) if isinstance(noise, float) else noise)
    names = tuple(f"region {number}" for number in region)
    return Table(names, tuple(str(2_000 + seasons[of]) for of in season), weather, ("corn",), tons[:, None])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LinearModel:
    """Return a model of regions that differ, in seasons that differ."""
    table = _panel(np.random.default_rng(1), range(SEASONS))
    model = learned(table, tmp_path_factory.mktemp("past") / "store").model
    (crop,) = model.crops
    assert crop.effects is not None
    assert crop.effects.by_region > 0
    return model


def _season(seed: int = 2, noise: Array | float = NOISE, level: float = 1.0) -> Table:
    return _panel(np.random.default_rng(seed), [SEASONS], noise, level)


def _told(model: LinearModel, *parts: Table) -> list[str]:
    check = PastCheck()
    first_row = 0
    for part in parts:
        check.add(part, Asked.of(part, model), first_row)
        first_row += len(part)
    return list(check.sentences())


def _times(table: Table, factor: float, *rows: int) -> Table:
    yields = table.yields.copy()
    yields[list(rows), 0] *= factor
    return replace(table, yields=yields)


def test_honest_rows_pass(model: LinearModel) -> None:
    """Nearly always, also where noise has heavy tails: 1 season in 100 may be refused."""
    refused = 0
    for seed in range(300):
        heavy = NOISE * OTHER * np.random.default_rng([seed, 1]).standard_t(4, REGIONS)
        assert _told(model, _season(seed)) == []
        refused += bool(_told(model, _season(seed, heavy)))
    assert refused <= 6


@pytest.mark.parametrize(
    ("factor", "looks"),
    [
        (1_000.0, "looks like kilograms"),
        (2_204.6, "looks like pounds"),
        (2.2046, "looks as pounds are to kilograms"),
        (10.0, "looks ten times too large"),
        (0.01, "looks a hundred times too small"),
        (0.001, "looks like thousands of tons"),
    ],
)
def test_a_row_in_another_unit_is_named(model: LinearModel, factor: float, looks: str) -> None:
    """With its number, its region, what it says, what was expected, and what to do."""
    season = _season()
    (sentence,) = _told(model, _times(season, factor, 7))
    assert sentence.startswith("corn: row 8 (region 7): ")
    assert " tons, where its past and its season say " in sentence
    assert sentence.endswith(
        f", {looks}; correct them and send them again, or activate the version all the same if they are right"
    )
    said = float(sentence.partition(" season say ")[2].partition(",")[0])
    assert said == pytest.approx(float(season.yields[7, 0]), abs=4 * NOISE)


def test_many_rows_with_one_cause_are_one_sentence(model: LinearModel) -> None:
    """Which names the first; another cause has another."""
    season = _times(_times(_season(), 1_000.0, 3, 12, 21), 2.2046, 5)
    pounds, kilograms = _told(model, season)
    assert pounds.startswith("corn: row 6 (region 5): ")
    assert kilograms.startswith("corn: 3 rows, the first is row 4 (region 3): ")
    assert ", look like kilograms; " in kilograms


def test_a_bad_season_is_no_mistake(model: LinearModel) -> None:
    """What all regions share is taken out: 30% less, or a third more."""
    for level in (0.7, 4 / 3):
        for seed in range(20):
            assert _told(model, _season(seed, level=level)) == []


def test_yields_that_stand_beside_other_regions(model: LinearModel) -> None:
    """Shifted by a row: mostly no row alone is impossible; all in all they are refused all the same."""
    sentences = []
    for seed in range(20):
        season = _season(seed)
        sentences += _told(model, replace(season, yields=np.roll(season.yields, 1, axis=0)))
    assert len(sentences) == 20
    together = "corn: the yields of 30 rows are not like the past of their own regions: they are off by "
    mixed = [sentence for sentence in sentences if sentence.startswith(together)]
    assert len(mixed) > 10
    assert all("check that each yield stands beside its region" in sentence for sentence in mixed)


def test_hail_is_no_slip(model: LinearModel) -> None:
    """Half a yield may be what was harvested: it is at most told as what it is, far off."""
    for row in range(REGIONS):
        told = _told(model, _times(_season(row), 0.5, row))
        assert all(" standard errors from it; " in sentence and "look" not in sentence for sentence in told)


def test_a_row_that_nothing_explains_is_told(model: LinearModel) -> None:
    """By how far off it is; a bad row does not make its season's others look wrong."""
    season = _season()
    season.yields[4, 0] += 15.0 * NOISE
    (sentence,) = _told(model, season)
    assert sentence.startswith("corn: row 5 (region 4): ")
    away = float(sentence.partition(" standard errors")[0].rpartition(" ")[2].partition(" standard errors from it")[0])
    assert away == pytest.approx(15.0, abs=4.0)
    season.yields[4, 0] = 1e140
    (sentence,) = _told(model, season)
    assert len(sentence) < 250


def test_parts_of_a_file_are_one_batch(model: LinearModel) -> None:
    """Rows are numbered through, and what a season shares is that of all its rows."""
    whole = _times(_season(level=0.7), 1_000.0, 3, 17)
    of = np.arange(REGIONS)
    assert _told(model, *(whole.rows(of // 4 == part) for part in range(8))) == _told(model, whole)
    assert _told(model, whole)[0].startswith("corn: 2 rows, the first is row 4 (region 3): ")
    assert _told(model, *(_season(level=0.7).rows(of // 4 == part) for part in range(8))) == []


def test_several_seasons_are_each_taken_out(model: LinearModel) -> None:
    """In whatever order their rows come; one that does not say which it is has the season in its error."""
    good, bad = _season(1), replace(_season(2, level=0.7), seasons=("2020",) * REGIONS)
    both = Table(
        (*good.regions, *bad.regions),
        (*good.seasons, *bad.seasons),
        np.concatenate([good.weather, bad.weather]),
        good.crops,
        np.concatenate([good.yields, bad.yields]),
    )
    order = np.random.default_rng(1).permutation(2 * REGIONS)
    mixed = Table(
        tuple(both.regions[row] for row in order),
        tuple(both.seasons[row] for row in order),
        both.weather[order],
        both.crops,
        both.yields[order],
    )
    assert _told(model, both) == _told(model, mixed) == []
    seasonless = replace(good, seasons=(None,) * REGIONS)
    assert _told(model, seasonless) == []
    (sentence,) = _told(model, _times(seasonless, 1_000.0, 0))
    assert "row 1 (region 0)" in sentence


def test_rows_without_a_region(model: LinearModel) -> None:
    """They may be anywhere that regions are: less is seen, kilograms are."""
    nameless = replace(_season(), regions=(None,) * REGIONS)
    assert _told(model, nameless) == []
    assert _told(model, replace(nameless, yields=np.roll(nameless.yields, 1, axis=0))) == []
    (sentence,) = _told(model, _times(nameless, 1_000.0, 9))
    assert sentence.startswith("corn: row 10: ")


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_rows_do_not_tell_what_they_share(model: LinearModel, rows: int) -> None:
    """Their season may be a bad one; in kilograms they are not."""
    for seed in range(20):
        few = _season(seed, level=0.9).rows(np.arange(REGIONS) < rows)
        assert _told(model, few) == []
    (sentence,) = _told(model, _times(few, 1_000.0, *range(rows)))
    assert "like kilograms" in sentence


def test_rows_that_report_nothing_of_a_crop(model: LinearModel) -> None:
    """They are none of it, and keep their numbers."""
    season = _season()
    season.yields[:5, 0] = np.nan
    assert _told(model, season) == []
    (sentence,) = _told(model, _times(season, 1_000.0, 6))
    assert sentence.startswith("corn: row 7 (region 6): ")
    season.yields[:, 0] = np.nan
    assert _told(model, season) == []
    assert _told(model) == []
    assert _told(model, replace(season, crops=("oats",))) == []


def test_without_effects_rows_are_held_against_the_line(model: LinearModel) -> None:
    """The common one: no region has a past, and a season is not taken out."""
    common = model.common
    for seed in range(100):
        assert _told(common, _season(seed)) == []
    season = _season()
    assert _told(common, replace(season, yields=np.roll(season.yields, 1, axis=0))) == []
    (sentence,) = _told(common, _times(season, 1_000.0, 7))
    assert sentence.startswith("corn: row 8 (region 7): ")
    assert ", where the current model says " in sentence
    assert sentence.partition("; ")[0].endswith("looks like kilograms")


def test_only_the_first_rows_of_a_large_file_are_held(model: LinearModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind as many as are stored is not looked at."""
    monkeypatch.setattr("app.training.past.HELD_ROWS", 2 * REGIONS)
    season = _season()
    assert _told(model, season, season, _times(season, 1_000.0, 7)) == []
    assert len(_told(model, season, _times(season, 1_000.0, 7))) == 1


def test_many_seasons_take_no_time(model: LinearModel) -> None:
    """Of a season a row each, or five: what is looked at are its own rows."""
    rows = 100_000
    draw = np.random.default_rng(1)
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (rows, 3))
    tons = model.crops[0].expected(list(weather.T), np.zeros(rows, dtype=np.intp))[0] + draw.normal(0, NOISE, rows)
    seasons = tuple(str(row // 5) for row in range(rows))
    assert _told(model, Table(("region 0",) * rows, seasons, weather, ("corn",), tons[:, None])) == []


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("numerator", [1, 2, 7, 500, 200_000])
@pytest.mark.parametrize("denominator", [1, 2, 8, 240, 100_000])
def test_the_quantiles_of_f(probability: float, numerator: int, denominator: int) -> None:
    """Are SciPy's."""
    expected = stats.f.ppf(probability, numerator, denominator)
    assert f_quantile(probability, numerator, denominator) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("degrees", [1.0, 1.3, 2.0, 4.0, 7.5, 240.0])
@pytest.mark.parametrize("rows", [1, 84, 200_000])
def test_the_quantiles_of_t_for_many_rows(degrees: float, rows: int) -> None:
    """Farther out than intervals go: what one of so many rows reaches by chance."""
    beyond = 0.01 / rows
    assert t_quantile(1.0 - beyond, degrees) == pytest.approx(stats.t.isf(beyond / 2.0, degrees), rel=1e-6)


def _bound(crop: CropModel, rows: int, **parts: Any) -> float:
    assert crop.effects is not None
    return _honest_bound(replace(crop, effects=replace(crop.effects, **parts)), NOISE, rows)


@pytest.mark.parametrize("rows", [1, 10, 84, 3_000])
def test_a_season_counts_as_what_its_rows_share(model: LinearModel, rows: int) -> None:
    """All its deviation in common they are as one row; with nothing in common they are as many as they are."""
    (crop,) = model.crops
    degrees = 29.0
    none = _bound(crop, rows, by_season=0.0, degrees=(degrees, degrees))
    assert none == pytest.approx(NOISE * math.sqrt(stats.f.ppf(0.99, rows, degrees)), rel=1e-8)
    all_of_it = _bound(crop, rows, by_season=1e12, degrees=(degrees, degrees))
    assert all_of_it == pytest.approx(NOISE * math.sqrt(stats.f.ppf(0.99, 1, degrees)), rel=1e-8)
    assert none <= _bound(crop, rows, degrees=(degrees, degrees)) <= all_of_it * (1 + 1e-12)
    sure = _bound(crop, rows, by_season=0.0, degrees=(1e7, 1e7))
    assert sure == pytest.approx(_noise_bound(crop, NOISE, rows), rel=1e-3)
    plain = replace(crop, effects=None)
    expected = NOISE * math.sqrt(stats.f.ppf(0.99, rows, plain.degrees_of_freedom))
    assert _honest_bound(plain, NOISE, rows) == pytest.approx(expected, rel=1e-8)


def test_honest_seasons_stay_below_the_bound(model: LinearModel) -> None:
    """In 99 of 100 cases, their error measured where the components are those of the noise."""
    (crop,) = model.crops
    assert crop.effects is not None
    parts = crop.effects
    draw = np.random.default_rng(3)
    many = 4_000
    shared = draw.normal(0, math.sqrt(parts.by_season), (many, 1))
    own = draw.normal(0, math.sqrt(parts.noise + parts.by_region), (many, REGIONS))
    errors = np.sqrt(np.mean((shared + own) ** 2, axis=1))
    recorded = math.sqrt(parts.noise + parts.by_region + parts.by_season)
    assert np.mean(errors < _honest_bound(crop, recorded, REGIONS)) > 0.985


def test_a_training_tells_it(settings: Settings) -> None:
    """Yields that stand beside others' regions refuse their batch."""
    learned(_panel(np.random.default_rng(1), range(SEASONS)), settings.folder)
    job = Job(settings)
    season = _season()
    shifted = replace(season, yields=np.roll(season.yields, 1, axis=0))
    report = job.run(Order(Provenance("test", "test"), shifted)).report
    assert report.decision == "rejected"
    assert report.reasons[0].startswith("corn: the yields of 30 rows are not like the past of their own regions")
    assert job.run(Order(Provenance("test", "test"), season)).report.decision == "accepted"
    job.close()
