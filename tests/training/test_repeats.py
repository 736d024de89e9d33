"""Rows that are there already: seasons sent again, rows sent twice, harvests with other numbers; and what is none."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.data.harvest import cells_of
from app.data.observations import Observations
from app.data.provenance import Provenance
from app.data.tables import Table
from app.model.cells import Cells
from app.model.names import Names
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from app.training.repeats import sentences
from app.training.report import Report

REGIONS = ("Adair", "Adams", "Boone", "Cass")
LEAVE_OUT = "leave them out, or train on what is stored"
WITHDRAW = "withdraw the batch that is wrong and send the right one, or ask for it with activate=always"
RIGHT_ONE = "send the right one alone, or ask for it with activate=always"
ONCE = "send each row once, or ask for it with activate=always if they are different harvests"
SAME = "with the same region, season and numbers"


def _season(
    name: str | None = "2019", crops: tuple[str, ...] = ("corn",), regions: tuple[str | None, ...] = REGIONS
) -> Table:
    """Return a row for each region, of numbers that no other season has, if it is named."""
    draw = np.random.default_rng(int(name or 0))
    weather = draw.normal([70.0, 900.0, 55.0], [4.0, 150.0, 5.0], (len(regions), 3))
    tons = 10 + weather @ [[1.0, 0.5], [0.1, 0.05], [0.5, 1.0]] + draw.normal(0, 3, (len(regions), 2))
    return Table(regions, (name,) * len(regions), weather, crops, tons[:, : len(crops)])


def _twice(*tables: Table) -> Table:
    """Return their rows, one after the other."""
    return Table(
        [region for table in tables for region in table.regions],
        [season for table in tables for season in table.seasons],
        np.concatenate([table.weather for table in tables]),
        tables[0].crops,
        np.concatenate([table.yields for table in tables]),
    )


def _other(table: Table, row: int, tons: float) -> Table:
    """Return it with another yield of the first crop in one row."""
    yields = table.yields.copy()
    yields[row, 0] = tons
    return replace(table, yields=yields)


def _warmer(table: Table) -> Table:
    """Return it one degree warmer."""
    return replace(table, weather=table.weather + np.array([1.0, 0.0, 0.0]))


def _stored(*batches: Table) -> dict[str, list[Cells]]:
    """Return their cells, as they are stored."""
    cells: dict[str, list[Cells]] = {}
    for batch in batches:
        for crop, those in cells_of(batch).items():
            cells.setdefault(crop, []).append(those)
    return cells


def _said(batch: Table, *stored: Table) -> list[str]:
    return list(sentences(batch, _stored(*stored)))


def test_another_season_is_new() -> None:
    """Other seasons of the same regions, and other regions of the same season."""
    assert _said(_season("2019")) == []
    assert _said(_season("2019"), _season("2018"), _season("2017")) == []
    assert _said(_season("2019"), _season("2019", regions=("Clay", "Dallas"))) == []


@pytest.mark.parametrize(("season", "told"), [("2019", "2019"), (None, "no season")])
def test_an_old_season_again_is_told(season: str | None, told: str) -> None:
    """Bit for bit what is stored, in any of the batches, with a season or without, in any order, beside new rows."""
    old = _season(season)
    expected = f"4 of 4 rows are stored already, {SAME}, the first is row 1 (Adair, {told}): {LEAVE_OUT}"
    assert _said(old, old) == [expected]
    turned = replace(old, regions=REGIONS[::-1], weather=old.weather[::-1], yields=old.yields[::-1])
    assert _said(turned, _season("2018"), old) == [expected.replace("Adair", "Cass")]
    grown = _twice(_season("2020"), old)
    assert _said(grown, old) == [expected.replace("4 of 4", "4 of 8").replace("row 1", "row 5")]


def test_one_row_is_told_in_the_singular() -> None:
    """So that it reads well."""
    batch = _season("2019", regions=("Adair",))
    assert _said(batch, batch) == [
        f"1 of 1 row is stored already, {SAME}, it is row 1 (Adair, 2019): leave it out, or train on what is stored"
    ]
    (said,) = _said(_other(batch, 0, 120.0), _other(batch, 0, 118.0))
    assert said == (
        "1 row reports a region and season that are stored with other numbers, it is row 1 (Adair, 2019; corn 120 tons,"
        f" stored 118 tons): {WITHDRAW}"
    )


@pytest.mark.parametrize(("season", "told"), [("2019", "2019"), (None, "no season")])
def test_every_row_twice_is_told(season: str | None, told: str) -> None:
    """In the batch itself, whatever is stored; and rows that are stored, too, are told as that."""
    batch = _twice(_season(season), _season(season))
    expected = f"4 of 8 rows repeat an earlier row of the batch, {SAME}, the first is row 5 (Adair, {told}, as row 1)"
    assert _said(batch) == _said(batch, _season("2018")) == [f"{expected}: {ONCE}"]
    assert _said(batch, _season(season)) == [
        f"8 of 8 rows are stored already, {SAME}, the first is row 1 (Adair, {told}): {LEAVE_OUT}"
    ]


def test_other_numbers_for_what_is_stored_are_told() -> None:
    """Another yield, or other weather; the rest of the batch is as it was, and told as that."""
    old = _other(_season(), 1, 118.0)
    stored, again = _said(_other(old, 1, 120.0), old)
    assert stored.startswith("3 of 4 rows are stored already")
    assert again == (
        "1 row reports a region and season that are stored with other numbers, it is row 2 (Adams, 2019; "
        f"corn 120 tons, stored 118 tons): {WITHDRAW}"
    )
    even = replace(old, weather=np.full((4, 3), 70.0))
    (said,) = _said(_warmer(even), even)
    assert said == (
        "4 rows report a region and season that are stored with other numbers, the first is row 1 (Adair, 2019; "
        f"corn, temperature 71 °F, stored 70 °F): {WITHDRAW}"
    )


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (118.0000000001, 118.0, "corn 118.0000000001 tons, stored 118 tons"),
        (12_345_678.0, 1e9, "corn 12,345,700 tons, stored 1,000,000,000 tons"),
    ],
)
def test_numbers_look_different_if_they_are(first: float, second: float, told: str) -> None:
    """As many digits as it takes, and no exponents."""
    batch = _season(regions=("Adair",))
    (said,) = _said(_other(batch, 0, first), _other(batch, 0, second))
    assert told in said


def test_other_numbers_in_the_batch_are_told() -> None:
    """A region and season twice, of which none is stored."""
    batch = _twice(_other(_season(), 2, 118.0), _other(_season(), 2, 120.0))
    same, other = _said(batch)
    assert same.startswith("3 of 8 rows repeat an earlier row of the batch")
    assert other == (
        "1 row reports a region and season again that an earlier row of the batch reports with other numbers, it is "
        f"row 7 (Boone, 2019; corn 120 tons, row 3 118 tons): {RIGHT_ONE}"
    )


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_several_rows_of_a_region_and_season_may_be_usual(in_one_batch: bool) -> None:
    """Where they are stored so, as of farms, other numbers are no conflict; the same ones are told as ever."""
    farms = _season(), replace(_season("2018"), seasons=("2019",) * 4)
    stored = [_twice(*farms)] if in_one_batch else [*farms]
    more = replace(_season("2017"), seasons=("2019",) * 4)
    assert _said(more, *stored) == []
    later = _twice(_season("2020"), replace(_season("2021"), seasons=("2020",) * 4))
    assert _said(later, *stored) == []
    assert len(_said(later)) == len(_said(more, farms[0])) == 1
    assert len(_said(_twice(later, later), *stored)) == 1


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [4, 1, 6, 3, 0, 5, 2, 7]])
def test_several_rows_of_a_region_and_season_are_known_together(order: list[int]) -> None:
    """Their mean is stored: all of them again, in whatever order, are told; one of them is not seen."""
    stored = _twice(_season(), replace(_season("2018"), seasons=("2019",) * 4))
    again = replace(
        stored,
        regions=[stored.regions[row] for row in order],
        weather=stored.weather[order],
        yields=stored.yields[order],
    )
    (said,) = _said(again, stored, _season("2020"))
    assert said.startswith(f"8 of 8 rows are stored already, {SAME}")
    assert _said(_season(), stored) == []


def test_crops_are_looked_at_one_by_one() -> None:
    """A crop that comes later is new; with one that is stored it is told, by name; so is one in two columns."""
    both = _season("2019", ("corn", "soybean"))
    corn, soybean = (
        replace(both, crops=(crop,), yields=both.yields[:, [column]]) for column, crop in enumerate(both.crops)
    )
    assert _said(soybean, corn) == []
    assert _said(both, corn) == [
        f"4 of 4 rows are stored already, {SAME}, the first is row 1 (Adair, 2019; corn): {LEAVE_OUT}"
    ]
    gaps = both.yields.copy()
    gaps[:, 1] = np.nan
    rest = np.where(np.isnan(gaps), both.yields, np.nan)
    assert _said(_twice(replace(both, yields=gaps), replace(both, yields=rest))) == []
    assert _said(replace(both, yields=rest), replace(both, yields=gaps)) == []


def test_a_row_is_told_as_what_is_worse() -> None:
    """One crop as stored and another with other numbers is one row with other numbers."""
    both = _season("2019", ("corn", "soybean"), regions=("Adair",))
    (said,) = _said(_other(both, 0, 120.0), _other(both, 0, 118.0))
    assert said.startswith("1 row reports a region and season that are stored with other numbers")


def test_without_a_season_other_numbers_are_new() -> None:
    """They may be of another season; even if a second crop has the same yield again."""
    both = _season(None, ("corn", "soybean"))
    assert _said(_other(both, 0, 120.0).rows(np.arange(4) == 0), _other(both, 0, 118.0)) == []
    assert _said(replace(_season("2019"), seasons=(None,) * 4), _season("2019")) == []


def test_without_a_region_nothing_is_known_again() -> None:
    """Also beside rows that name theirs."""
    nameless = _season("2019", regions=(None,) * 4)
    assert _said(_twice(nameless, nameless), nameless) == []
    mixed = _season("2019", regions=("Adair", None, None, "Cass"))
    (said,) = _said(mixed, mixed)
    assert said.startswith("2 of 4 rows are stored already")


def test_names_may_be_coded() -> None:
    """As Arrow sends them, in an order of its own, with names that no row has."""
    old = _season()
    codes = np.array([3, 1, 2, 0], dtype=np.int32)
    coded = replace(old, regions=Names(("Cass", "Adams", "Boone", "Adair", "Clay"), codes))
    assert _said(coded, old) == _said(old, coded) == _said(old, old)


PANEL = tuple(f"county {number}" for number in range(20))


@pytest.fixture
def job(settings: Settings) -> Iterator[Job]:
    """Return trainings on a store that has learned a season."""
    job = Job(settings)
    job.run(Order(Provenance("2018", "test", ""), _season("2018", regions=PANEL)))
    yield job
    job.close()


def _run(job: Job, table: Table, **options: object) -> Report:
    return job.run(Order(Provenance("test", "tester", ""), table, **options)).report  # type: ignore[arg-type]


def _withdrawn(settings: Settings) -> list[str | None]:
    """Return why each batch is withdrawn, None if it is in use, first one first."""
    observations = Observations(settings.database)
    with observations.reading() as transaction:
        batches = sorted(transaction.all(), key=lambda batch: batch.created)
    observations.close()
    return [batch.withdrawn_why if batch.withdrawn is not None else None for batch in batches]


AGAIN = f"20 of 20 rows are stored already, {SAME}, the first is row 1 (county 0, 2018): {LEAVE_OUT}"


def test_the_gate_refuses_an_old_season_again(job: Job, settings: Settings) -> None:
    """A dry run says it; a retrain refuses it, and withdraws the batch; always overrides it, and the log says so."""
    old, registry = _season("2018", regions=PANEL), Registry(Objects(settings.folder))
    dry = _run(job, old, dry_run=True)
    assert (dry.decision, dry.reasons[0]) == ("rejected", AGAIN)
    assert _withdrawn(settings) == [None]
    report = _run(job, old)
    assert (report.decision, report.activated, report.reasons[0]) == ("rejected", False, AGAIN)
    assert _withdrawn(settings) == [None, f"its training was rejected: {AGAIN}"]
    assert registry.live()[0].version == "1"
    assert _run(job, _season("2019", regions=PANEL)).decision == "accepted"
    report = _run(job, old, activate="always")
    assert (report.decision, report.activated, report.reasons[0]) == ("rejected", True, AGAIN)
    assert registry.live()[0].why == f"(activated although the gate rejects it: {AGAIN})"
    assert _withdrawn(settings)[2:] == [None, None]


def test_the_gate_refuses_other_numbers_and_takes_them_for_the_wrong_ones(job: Job, settings: Settings) -> None:
    """What it says to do works: the wrong batch is withdrawn, and the right one accepted."""
    old = _season("2018", regions=PANEL)
    right = _warmer(old)
    report = _run(job, right)
    assert report.decision == "rejected"
    assert report.reasons[0].startswith("20 rows report a region and season that are stored with other numbers")
    assert _run(job, _season("2019", regions=PANEL)).decision == "accepted"
    observations = Observations(settings.database)
    with observations.transaction() as transaction:
        wrong = next(batch for batch in transaction.active() if batch.source == "2018")
        transaction.withdraw(wrong.id, "test", "wrong weather")
    observations.close()
    assert _run(job, right).decision == "accepted"


def test_batches_that_no_version_has_learned_are_in_use(job: Job) -> None:
    """Rows that are stored, and not yet live, are there already, too."""
    later = _season("2019", regions=PANEL)
    assert _run(job, later, activate="never").decision == "accepted"
    assert _run(job, later).reasons[0] == AGAIN.replace("2018", "2019")


def test_rows_that_stand_for_all_before_are_not_compared(job: Job) -> None:
    """`orchard train` replaces what is stored: nothing would count twice, not even other numbers."""
    old = _season("2018", regions=PANEL)
    for table in (_twice(old, _season("2019", regions=PANEL)), _warmer(old)):
        assert _run(job, table, alone=True).decision == "accepted"


def test_a_first_batch_with_every_row_twice_is_refused(settings: Settings) -> None:
    """Where nothing is stored, the batch itself is looked at."""
    job, season = Job(settings), _season("2018", regions=PANEL)
    report = _run(job, _twice(season, season))
    job.close()
    assert report.decision == "rejected"
    assert report.reasons[0].startswith("20 of 40 rows repeat an earlier row of the batch")
