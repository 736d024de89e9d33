"""Answers as tables and lines of facts: every cell, in the digits in which it is shown."""

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.cli import grids
from app.cli.console import Screen
from app.cli.grids import SHOWN_REGIONS, Difference, Grid
from app.model.weather import FEATURE_NAMES
from app.store.card import Card, CropScores, FitCard, OutOfFold, RmsePair
from app.store.line import LogLine
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.report import Change, Changes, CoefficientChanges, RegionChanges
from app.wire.schemas import (
    CropResidual,
    CropResiduals,
    CropYield,
    HeldOutError,
    LogPage,
    ObservationEntry,
    OnePrediction,
    ResidualEntry,
    ResidualPage,
    VersionEntry,
    VersionPage,
)
from tests.conftest import ROOT

WHEN = datetime(2026, 9, 1, 7, 5, 3, 999_999, UTC)
RISE = Change(old=1.23456, new=-2.0)


def _cells(grid: Grid) -> list[list[str]]:
    """Return the headers, and then the rows."""
    return [
        [str(column.header) for column in grid.columns],
        *map(list, zip(*(map(str, column.cells) for column in grid.columns), strict=True)),
    ]


@pytest.fixture(scope="module")
def card() -> Card:
    """Return the card of a model of mango and orange."""
    return Registry(Objects(ROOT / "tests" / "stores" / "0.1.0" / "sqlite")).read("1").card


def _with(card: Card, crop: str, **changed: Any) -> Card:
    """Return the card with something else said of a crop."""
    part = card.crops[crop].model_copy(update=changed)
    return card.model_copy(update={"crops": card.crops | {crop: part}})


def _answer(region: str | None = None, **yields: CropYield) -> OnePrediction:
    return OnePrediction(region=region, yields=yields, extrapolated=False, warnings=[], model_version="3")


@pytest.mark.parametrize(
    ("crop", "cells"),
    [
        (CropYield(tons=1234.567, low=0.0, high=2e6), ["1234.57", "0.00 to 2000000.00"]),
        (CropYield(tons=0.004, low=None, high=None), ["0.00", "-"]),
        (
            CropYield(tons=1.5, low=1.0, high=2.0, baseline=76.0, contributions={"rainfall": -0.125, "humidity": 2.0}),
            ["1.50", "1.00 to 2.00"],
        ),
    ],
)
def test_a_prediction(crop: CropYield, cells: list[str]) -> None:
    """Tons with two digits, and no interval where there is none; nothing that was not asked for."""
    assert _cells(grids.prediction(_answer(mango=crop), 0.95)) == [["", "tons", "95% interval"], ["mango", *cells]]
    assert (grids.explanation(_answer(mango=crop)) is None) == (crop.baseline is None)


def test_contributions_that_not_all_crops_have() -> None:
    """Each stands in its own column, with its sign, whichever crop comes first."""
    plain = CropYield(tons=1.0, low=None, high=None, baseline=2.0, contributions={"rainfall": -1.0})
    regional = plain.model_copy(update={"contributions": {"rainfall": 0.5, "region": -1.5}})
    for yields in ({"pear": plain, "mango": regional}, {"mango": regional, "pear": plain}):
        grid = grids.explanation(_answer("A", **yields))
        assert grid is not None
        header, *rows = _cells(grid)
        assert header == ["", "baseline", "rainfall", "region"]
        assert sorted(rows) == [["mango", "2.00", "+0.50", "-1.50"], ["pear", "2.00", "-1.00", "-"]]


@pytest.mark.parametrize(("level", "shown"), [(0.5, "50%"), (0.999, "99.9%"), (0.99999, "100%"), (0.9995, "99.95%")])
def test_the_level_in_the_header(level: float, shown: str) -> None:
    """In percent, with four digits."""
    grid = grids.prediction(_answer(mango=CropYield(tons=1.0, low=0.0, high=2.0)), level)
    assert _cells(grid)[0][2] == f"{shown} interval"


@pytest.mark.parametrize(
    ("region", "title"),
    [
        (None, "Yields, by version 3, tons"),
        ("K", "K, by version 3, tons"),
        ("\x1b[2J", r"'\x1b[2J, by version 3, tons'"),
    ],
)
def test_whose_prediction_it_is(region: str | None, title: str) -> None:
    """The title names region and version, and does nothing to the terminal."""
    assert grids.prediction(_answer(region), 0.95).title == title


def test_names_do_nothing_but_show() -> None:
    """In titles, columns and cells what controls a terminal is escaped, and brackets are brackets."""
    grid = Grid("\x1b[1m", title="a\rb")
    grid.add_column("[bold]x[/bold]")
    grid.add_row("\x9b2J", ":smile:")
    shown = io.StringIO()
    Screen(file=shown, width=60, markup=False, emoji=False).print(grid)
    wanted = (r"'\x1b[1m'", r"'a\rb'", "[bold]x[/bold]", r"'\x9b2J'", ":smile:")
    assert [part for part in wanted if part not in shown.getvalue()] == []
    assert set("\x1b\r\x9b").isdisjoint(shown.getvalue())


def test_predictions_beside_targets() -> None:
    """A row a region, a pair a crop: predictions with two digits, targets as they were given."""
    grid = grids.beside_targets(["mango", "orange"], np.array([[56.0, 70.5]]), np.array([[57.049, 70.0]]))
    header = ["mango predicted", "mango target", "orange predicted", "orange target"]
    assert _cells(grid) == [header, ["57.05", "56", "70.00", "70.5"]]
    assert _cells(grids.beside_targets(["mango"], np.empty((0, 1)), np.empty((0, 1))))[1:] == []


@pytest.mark.parametrize(("converged", "said"), [(True, "86 (converged)"), (False, "86 (NOT converged)")])
def test_how_fitting_went(converged: bool, said: str) -> None:
    """Losses with as many digits as tell them apart, and whether it has converged."""
    fit = FitCard(epochs=86, converged=converged, loss=0.90944598491888, least_squares_loss=1e7, relative_gap=1.2345e-9)
    assert grids.fitting(fit) == [
        f"epochs              {said}",
        "loss                0.909445984919 tons² (mean squared error over all elements)",
        "least-squares loss  10000000 tons²",
        "relative gap        1.23e-09",
    ]


def test_facts_about_a_fit(card: Card) -> None:
    """Rows and recipe first; then what was left out, and which weights the rows do not determine."""
    assert grids.fit_lines(card) == [
        "rows                15",
        "recipe              descent",
        *grids.fitting(card.fit),
    ]
    poor = _with(card, "mango", constant_features=["humidity"], collinear_features=["temperature", "rainfall"])
    poor = poor.model_copy(update={"left_out": ["2 of 17 rows report no yield and are left out"]})
    assert grids.fit_lines(poor)[6:] == [
        "left out            2 of 17 rows report no yield and are left out",
        "constant            humidity, in the rows of mango: weight 0",
        "collinear           temperature, rainfall, in the rows of mango: minimum-norm weights",
    ]


def test_coefficients(card: Card) -> None:
    """With nine digits, standard errors with two and units; an error that is not known is not shown."""
    assert _cells(grids.coefficients(_with(card, "orange", standard_errors=None))) == [
        ["", "mango", "orange", "unit"],
        ["intercept", "2.20813642 ± 3.4", "-5.04415589", "tons"],
        ["temperature", "-0.421544665 ± 0.028", "-0.247345469", "tons per °F"],
        ["rainfall", "0.842337912 ± 0.014", "0.790900547", "tons per mm"],
        ["humidity", "0.684908927 ± 0.036", "0.922156045", "tons per %"],
    ]


def test_scores(card: Card) -> None:
    """With four digits and units, and a dash for what cannot be said."""
    unknown = OutOfFold(rmse=12345.6, mean_absolute_error=None, r_squared=None)
    poor = _with(card, "orange", residual_sd=None, r_squared=None, condition_number=None, out_of_fold=unknown)
    known = poor.crops["mango"].out_of_fold.model_copy(update={"by": "season"})
    poor = _with(poor, "mango", out_of_fold=known)
    assert _cells(grids.scores(poor)) == [
        ["", "mango", "orange", "unit"],
        ["rows", "15", "15", ""],
        ["degrees of freedom", "11", "11", ""],
        ["residual sd", "1.181", "-", "tons"],
        ["R²", "0.9991", "-", ""],
        ["held out at a time", "a season", "-", ""],
        ["out-of-fold RMSE", "1.33", "12,350", "tons"],
        ["out-of-fold MAE", "1.21", "-", "tons"],
        ["out-of-fold R²", "0.9985", "-", ""],
        ["largest leverage", "0.3519", "0.3519", ""],
        ["condition number", "2.649", "-", ""],
    ]


def test_scores_of_what_has_not_converged(card: Card) -> None:
    """What is computed out of fold is not the recipe's, and says so."""
    unfinished = card.model_copy(update={"fit": card.fit.model_copy(update={"converged": False})})
    named = [row[0] for row in _cells(grids.scores(unfinished)) if row[0].startswith("out-of-fold")]
    assert named == [f"out-of-fold {score} of least squares" for score in ("RMSE", "MAE", "R²")]


def test_what_the_gate_compared() -> None:
    """New rows before old ones, the candidate before the current version, a dash for what cannot be said.

    On old rows like is compared with like, where that is known of all crops; else it is said what is not.
    """
    new, old = RmsePair(candidate_rmse=2.5, current_rmse=56_789.0), RmsePair(candidate_rmse=1.0, current_rmse=0.75)
    nothing = RmsePair(candidate_rmse=None, current_rmse=None)
    judged = {"mango": CropScores(new=new, old=old), "rye": CropScores(new=new, old=nothing)}
    rye = ["rye", "2.5", "56,790", "-", "-"]
    assert _cells(grids.gate(judged, {"mango": 1.25})) == [
        ["", "new rows", "current", "old rows", "current, held out"],
        ["mango", "2.5", "56,790", "1", "1.25"],
        rye,
    ]
    assert _cells(grids.gate(judged, {"rye": 1.25})) == [
        ["", "new rows", "current", "old rows", "current (has seen these rows)"],
        ["mango", "2.5", "56,790", "1", "0.75"],
        rye,
    ]


def _changes(regions: int) -> Changes:
    """Return what would change for mango and for rye, which is new."""
    born = Change(old=None, new=3.0)
    coefficients = {
        "mango": CoefficientChanges(intercept=RISE, weights=dict.fromkeys(FEATURE_NAMES, RISE)),
        "rye": CoefficientChanges(intercept=born, weights=dict.fromkeys(FEATURE_NAMES, born)),
    }
    weather = {"temperature": 70.0, "rainfall": 80.0, "humidity": 50.0}
    names = [None, *(f"R{number}" for number in range(1, regions))]
    yields = {"mango": Change(old=123456.0, new=None), "rye": born}
    return Changes(
        coefficients=coefficients, regions=[RegionChanges(region=name, **weather, yields=yields) for name in names]
    )


def test_what_would_change() -> None:
    """From the live version to the candidate, with four digits; a dash for a crop that one of them lacks."""
    coefficients, regions = map(_cells, grids.changes(_changes(2)))
    assert coefficients == [
        ["", "mango", "rye"],
        *([name, "1.235 → -2", "- → 3"] for name in ("intercept", *FEATURE_NAMES)),
    ]
    assert regions == [
        ["region", "mango", "rye"],
        ["-", "1.235e+05 → -", "- → 3"],
        ["R1", "1.235e+05 → -", "- → 3"],
    ]


@pytest.mark.parametrize(("count", "more"), [(SHOWN_REGIONS, ""), (SHOWN_REGIONS + 3, " (and 3 more)")])
def test_of_many_regions_some_are_shown(count: int, more: str) -> None:
    """The first ones, and how many more there are."""
    _, regions = grids.changes(_changes(count))
    assert len(_cells(regions)) - 1 == SHOWN_REGIONS
    assert regions.title == f"Predictions for each region's average weather, live → candidate, tons{more}"


def test_a_page_of_versions() -> None:
    """What is known of each; of a damaged one its number and that it is damaged. A short form has whole words."""
    good = VersionEntry(
        version="2",
        live=True,
        damaged=False,
        created=WHEN,
        recipe="descent",
        rows=1_500,
        crops=["mango", "orange"],
        decision="accepted",
        loss=0.90944,
        source="POST /retrain",
        note="",
        parent="1",
        out_of_fold={"mango": HeldOutError(rmse=1.3299, by="region"), "orange": HeldOutError(rmse=1.5, by=None)},
    )
    unknown = dict.fromkeys(("created", "recipe", "rows", "crops", "decision", "loss", "source", "note"))
    bad = VersionEntry.model_validate({"version": "1", "live": False, "damaged": True} | unknown)
    zero = good.model_copy(update={"live": False, "rows": 0, "loss": 0.0})
    page = VersionPage(live="2", versions=[good, zero, bad], next=None)
    grid = grids.all_of_versions(page)
    assert _cells(grid)[0] == [
        *("version", "live", "created (UTC)", "recipe", "rows"),
        *("crops", "loss, tons²", "decision", "source", "note", "after", "out-of-fold RMSE, tons (by)"),
    ]
    time, source, errors = "2026-09-01 07:05:03", "POST /retrain", "mango 1.33 (region); orange 1.5 (-)"
    assert _cells(grid)[1:] == [
        ["2", "live", time, "descent", "1500", "mango, orange", "0.9094", "accepted", source, "", "1", errors],
        ["2", "", time, "descent", "0", "mango, orange", "0", "accepted", source, "", "1", errors],
        ["1", *[""] * 6, "damaged", "", "", "", ""],
    ]
    page.versions.append(good.model_copy(update={"decision": "rejected"}))
    short = _cells(grids.versions(page))
    assert short == [
        ["version", "state", "created", "rows", "crops", "source"],
        ["2", "live", "2026-09-01", "1500", "mango, orange", source],
        ["2", "accepted", "2026-09-01", "0", "mango, orange", source],
        ["1", "damaged", *[""] * 4],
        ["2", "live, rejected", "2026-09-01", "1500", "mango, orange", source],
    ]
    assert {column.overflow for column in grid.columns} == {"fold"}


def test_residuals_by_how_far_off() -> None:
    """The yields that lie farthest off, in the error of their crop, counted from 1; unknown ones last."""

    def row(number: int, **yields: CropResidual) -> ResidualEntry:
        weather = {"temperature": 70.0, "rainfall": 80.0, "humidity": None}
        return ResidualEntry(
            batch="b", row=number, region=None, season="2026", **weather, yields=yields, withdrawn=False
        )

    def of(tons: float, out_of_fold: float | None) -> CropResidual:
        ends = (None, None) if out_of_fold is None else (out_of_fold - 2, out_of_fold + 2)
        return CropResidual(tons=tons, fitted=50.0, out_of_fold=out_of_fold, low=ends[0], high=ends[1], leverage=0.125)

    page = ResidualPage(
        model_version="1",
        level=0.95,
        crops={"fig": CropResiduals(rows=2, rmse=1.0, by="region"), "kiwi": CropResiduals(rows=2, rmse=4.0, by=None)},
        total=2,
        shown=2,
        selected_by=None,
        not_stored=0,
        reason=None,
        residuals=[row(0, fig=of(52, 50), kiwi=of(56, 50)), row(1, fig=of(47, 50), kiwi=of(50, None))],
    )
    assert _cells(grids.residuals(page, 9)) == [
        ["row", "region", "season", "crop", "tons", "predicted", "interval", "off", "leverage"],
        ["2", "", "2026", "fig", "47", "50.00", "48.00 to 52.00", "-3.00", "0.12"],
        ["1", "", "2026", "fig", "52", "50.00", "48.00 to 52.00", "+2.00", "0.12"],
        ["1", "", "2026", "kiwi", "56", "50.00", "48.00 to 52.00", "+6.00", "0.12"],
        ["2", "", "2026", "kiwi", "50", "-", "-", "-", "0.12"],
    ]
    assert len(_cells(grids.residuals(page, 2))) == 3
    assert _cells(grids.held_out(page))[1:] == [
        ["fig", "2", "1", "a fifth of the regions"],
        ["kiwi", "2", "4", "-"],
    ]


def test_a_page_of_the_log() -> None:
    """A line a row, its time to the second, and who and why as they were given."""
    line = LogLine(number=4, action="activate", version="2", sha256="0", who="anna", why="one\ntwo", when=WHEN)
    assert _cells(grids.log(LogPage(log=[line], next=None))) == [
        ["line", "version", "when (UTC)", "who", "why"],
        ["4", "2", "2026-09-01 07:05:03", "anna", r"'one\ntwo'"],
    ]


def _observation(batch: str, row: int, withdrawn: bool, **yields: float) -> ObservationEntry:
    return ObservationEntry(
        batch=batch,
        row=row,
        region="K" if row else None,
        season="2026" if row else None,
        temperature=73.25,
        rainfall=67.0,
        humidity=1 / 3,
        yields=yields,
        withdrawn=withdrawn,
    )


def test_observations_are_shown_by_batch() -> None:
    """A table each, rows from 1, with a column for each crop that any of them reports, in the order of their first."""
    entries = [
        _observation("a", 0, False, mango=56.5),
        _observation("a", 1, False, orange=0.0, mango=1e7),
        _observation("b", 0, True, rye=3.0),
    ]
    first, second = grids.observations(entries)
    assert (first.title, second.title) == ("Batch a", "Batch b, withdrawn")
    assert _cells(first) == [
        ["row", "region", "season", "temperature", "rainfall", "humidity", "mango", "orange"],
        ["1", "", "", "73.25", "67", "0.333333", "56.5", ""],
        ["2", "K", "2026", "73.25", "67", "0.333333", "1e+07", "0"],
    ]
    assert [row[-1] for row in _cells(second)] == ["rye", "3"]
    assert list(grids.observations([])) == []


def test_a_card_does_not_differ_from_itself(card: Card) -> None:
    """What is the same is not listed."""
    assert grids.differences(card, card) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"intercept": 3.5}, [("mango: intercept, tons", 3.5)]),
        ({"rows": 16}, [("mango: rows", 16)]),
        ({"residual_sd": None}, [("mango: residual sd, tons", None)]),
        (
            {"weights": {"temperature": 1.0, "rainfall": 2.0, "humidity": 3.0}},
            [
                ("mango: temperature, tons per °F", 1.0),
                ("mango: rainfall, tons per mm", 2.0),
                ("mango: humidity, tons per %", 3.0),
            ],
        ),
    ],
)
def test_what_differs(card: Card, changed: dict[str, Any], found: list[tuple[str, float | None]]) -> None:
    """Each number that is another one, by crop and with its unit."""
    differences = grids.differences(card, _with(card, "mango", **changed))
    assert [(difference.name, difference.second) for difference in differences] == found


def test_a_crop_that_one_version_lacks(card: Card) -> None:
    """All its numbers differ, and none has changed; those of the first version come first."""
    mango, rye = card.crops["mango"], card.crops["orange"]
    other = card.model_copy(update={"crops": {"rye": rye, "mango": mango}})
    found = grids.differences(card, other)
    assert list(dict.fromkeys(difference.name.partition(":")[0] for difference in found)) == ["orange", "rye"]
    assert {difference.change for difference in found} == {None}
    assert [difference.second is None for difference in found] == [True] * 7 + [False] * 7


@pytest.mark.parametrize(
    ("first", "second", "cells"),
    [
        (15.0, 18.0, ["15", "18", "+3"]),
        (0.909445984919, 0.831040561870, ["0.909445985", "0.831040562", "-0.07841"]),
        (None, 1.0, ["-", "1", ""]),
        (1e12, None, ["1e+12", "-", ""]),
    ],
)
def test_differences_side_by_side(first: float | None, second: float | None, cells: list[str]) -> None:
    """Both numbers with nine digits, the change with its sign and four; a dash where a version has none."""
    assert _cells(grids.difference("1", "2", [Difference("rows", first, second)])) == [
        ["", "version 1", "version 2", "change"],
        ["rows", *cells],
    ]
