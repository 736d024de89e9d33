"""What is counted: in buckets, by labels, in one process and added up over those that share a folder."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.serving import tally as tallies
from app.serving.tally import ALIVE_S, BOUNDS_S, FOLDER, Durations, Key, Tally, Totals
from app.store.objects import Objects

EXPRESS: Key = ("requests", ("/predict", "POST", "200"))
SECONDS = st.sampled_from(BOUNDS_S) | st.floats(0.0, 1e4)


def _assert_same(found: Totals, wanted: Totals) -> None:
    """Counts and buckets to the last one, seconds to rounding."""
    assert found.counts == wanted.counts
    buckets, seconds = (
        [{key: getattr(part, name) for key, part in totals.durations.items()} for totals in (found, wanted)]
        for name in ("buckets", "seconds")
    )
    assert buckets[0] == buckets[1]
    assert seconds[0] == pytest.approx(seconds[1])


def _answer(tally: Tally, seconds: Sequence[float]) -> None:
    """Leave the times of answers as the express lane does, and have them counted."""
    tally.pending.extend(seconds)
    tally.set_aside()
    tally.publish({})


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (0.001, 1), (1.0, 10), (1.1, 11), (600.0, 16), (600.1, 17), (1e9, 17)],
)
def test_a_bound_belongs_to_its_bucket(seconds: float, bucket: int) -> None:
    """A bucket holds what takes up to its bound, the bound included; what takes longer than all is in the last one."""
    tally = Tally(EXPRESS)
    tally.took("retrain", seconds=seconds)
    found = tally.totals({}).durations["retrain", ()]
    assert (found.buckets.index(1), sum(found.buckets), found.seconds) == (bucket, 1, seconds)


@given(st.lists(st.tuples(SECONDS, st.sampled_from([1.0, -1.0])), min_size=1))
@example([(0.0, -1.0)])
def test_the_express_lane_is_counted_like_any_other(answers: list[tuple[float, float]]) -> None:
    """The same buckets and seconds; the sign says what was extrapolated, that of a zero too."""
    express, other = Tally(EXPRESS), Tally(EXPRESS)
    express.set_aside(["mango"])
    _answer(express, [sign * seconds for seconds, sign in answers])
    for seconds, sign in answers:
        other.took("requests", *EXPRESS[1], seconds=seconds)
        other.predicted(["mango"], 1, int(sign < 0))
    _assert_same(express.totals({}), other.totals({}))


def test_counts_are_by_metric_and_labels() -> None:
    """Each metric and each of its labels has a count of its own, by one or by as many as are said."""
    tally = Tally(EXPRESS)
    tally.add("retrains", "accepted")
    tally.add("retrains", "accepted")
    tally.add("retrains", "failed")
    tally.add("observations_stored", by=15)
    tally.predicted(["mango", "orange"], 3, 1)
    assert tally.totals({}).counts == {
        ("retrains", ("accepted",)): 2,
        ("retrains", ("failed",)): 1,
        ("observations_stored", ()): 15,
        ("predictions", ("mango",)): 3,
        ("extrapolated_predictions", ("mango",)): 1,
        ("predictions", ("orange",)): 3,
        ("extrapolated_predictions", ("orange",)): 1,
    }


def test_answers_belong_to_the_crops_of_their_time() -> None:
    """What is pending when another version is served was predicted by the one before."""
    tally = Tally(EXPRESS)
    leave = tally.pending.append
    tally.set_aside(["mango"])
    leave(0.1)
    leave(-0.1)
    tally.set_aside(["corn"])
    leave(0.1)
    tally.set_aside()
    tally.publish({})
    counts = tally.totals({}).counts
    assert {crop: counts["predictions", (crop,)] for crop in ("mango", "corn")} == {"mango": 2, "corn": 1}
    assert {crop: counts["extrapolated_predictions", (crop,)] for crop in ("mango", "corn")} == {"mango": 1, "corn": 0}


def test_an_answer_is_counted_once() -> None:
    """Not before it is set aside, and not again when it is published again."""
    tally = Tally(EXPRESS)
    tally.pending.append(0.1)
    tally.publish({})
    assert tally.totals({}) == Totals(gauges=[{}])
    for _ in range(2):
        tally.set_aside()
        tally.publish({})
        assert sum(tally.totals({}).durations[EXPRESS].buckets) == 1


def test_totals_stay_as_they_were() -> None:
    """What was returned does not grow with what is counted later."""
    tally = Tally(EXPRESS)
    tally.took("retrain", seconds=1.0)
    tally.add("retrains", "accepted")
    before = tally.totals({})
    tally.took("retrain", seconds=1.0)
    tally.add("retrains", "accepted")
    assert (before.durations["retrain", ()].seconds, before.counts["retrains", ("accepted",)]) == (1.0, 1.0)


def test_histograms_of_other_bounds_do_not_add() -> None:
    """Counts of buckets that are not the same ones are an error, not a sum."""
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Durations().add([1, 2], 1.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["accepted", "failed"]), st.integers(0, 100), SECONDS), max_size=12
    )
)
@settings(max_examples=20)
def test_workers_add_up(events: list[tuple[int, str, int, float]]) -> None:
    """However the events are spread over three workers, each answers with what one alone would have counted."""
    alone = Tally(EXPRESS)
    with tempfile.TemporaryDirectory() as folder:
        workers = [Tally(EXPRESS, Objects(Path(folder))) for _ in range(3)]
        for number, decision, by, seconds in events:
            for tally in (workers[number], alone):
                tally.add("retrains", decision, by=by)
                tally.took("requests", "/retrain", "POST", decision, seconds=seconds)
                _answer(tally, [seconds])
        for worker in workers:
            worker.publish({})
        for worker in workers:
            _assert_same(worker.totals({}), alone.totals({}))


def test_others_are_as_they_were_last_published(tmp_path: Path) -> None:
    """One's own counts and figures are those of now; another's those it has shared, the newest alone."""
    mine, other = (Tally(EXPRESS, Objects(tmp_path)) for _ in range(2))
    mine.publish({"size": 1.0})
    other.add("retrains", "failed")
    other.publish({"size": 2.0})
    other.publish({"size": 3.0})
    other.add("retrains", "failed")
    mine.add("retrains", "failed")
    found = mine.totals({"size": 4.0})
    assert found.counts == {("retrains", ("failed",)): 2}
    assert found.gauges == [{"size": 4.0}, {"size": 3.0}]
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


@pytest.mark.parametrize(("age_s", "lives"), [(0.0, True), (ALIVE_S - 0.1, True), (ALIVE_S, False), (1e6, False)])
def test_counts_outlive_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, lives: bool
) -> None:
    """What a worker that is gone has counted stays, so that no counter falls; its figures do not."""
    mine, other = (Tally(EXPRESS, Objects(tmp_path)) for _ in range(2))
    other.add("retrains", "failed")
    monkeypatch.setattr(tallies, "time", SimpleNamespace(time=lambda: 1_000.0))
    other.publish({"size": 2.0})
    monkeypatch.setattr(tallies, "time", SimpleNamespace(time=lambda: 1_000.0 + age_s))
    found = mine.totals({"size": 1.0})
    assert found.counts == {("retrains", ("failed",)): 1}
    assert found.gauges == [{"size": 1.0}, {"size": 2.0}][: 1 + lives]


def test_one_that_has_ended_is_no_longer_among_the_living(tmp_path: Path) -> None:
    """At once, however recently it has written: the file that it held is let go of when it ends."""
    mine, other, third = (Tally(EXPRESS, Objects(tmp_path)) for _ in range(3))
    for number, tally in enumerate((mine, other, third)):
        tally.add("retrains", "failed")
        tally.publish({"size": float(number)})
    assert len(mine.totals({}).gauges) == 3
    del other, tally
    found = mine.totals({"size": 0.0})
    assert found.gauges == [{"size": 0.0}, {"size": 2.0}]
    assert found.counts == {("retrains", ("failed",)): 3}
    assert len(third.totals({}).gauges) == 2


def test_what_counts_by_itself_is_added_up_over_all(tmp_path: Path) -> None:
    """Each process's newest value, also of one that has ended: the sum never falls."""
    mine, other = (Tally(EXPRESS, Objects(tmp_path)) for _ in range(2))
    for seconds in (1.0, 3.0):
        other.reached("process_cpu_seconds", value=seconds)
        other.publish({})
    mine.reached("process_cpu_seconds", value=0.5)
    assert mine.totals({}).counts == {("process_cpu_seconds", ()): 3.5}
    del other
    assert mine.totals({}).counts == {("process_cpu_seconds", ()): 3.5}
