"""Going back to a version: what stays in training, and how to take it out."""

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.running import copy_store, orchard, serving

HARVEST = """region,season,temperature,rainfall,humidity,mango,orange
K,2026,73,67,43,56,70
L,2026,91,88,64,81,100
M,2026,87,134,58,119,133
"""


class Place:
    """Where commands work."""

    def __init__(self, store: Path, settings: dict[str, str]) -> None:
        self.store = store
        self._settings = settings

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command and return what it prints."""
        done = orchard(self.store, *words, **self._settings)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run a command with --json."""
        return json.loads(self(*words, "--json"))

    def batches(self) -> dict[str, str | None]:
        """Return why each batch is withdrawn, newest first."""
        return {batch["batch"]: batch["withdrawn_why"] for batch in self.json("observations", "batches")["batches"]}


@pytest.fixture(params=["local", "service"])
def place(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a store, or a service, with version 1 of the example."""
    store = copy_store(trained, tmp_path / "store")
    with nullcontext() if request.param == "local" else serving(store) as running:
        yield Place(store, {} if running is None else running.settings)


@pytest.fixture
def learned(place: Place, tmp_path: Path) -> list[str]:
    """Return the batches of versions 2 and 3, and of one that nobody has learned, in that order."""
    batches = []
    for season in ("2026", "2027", "2028"):
        table = tmp_path / "harvest.csv"
        table.write_text(HARVEST.replace("2026", season))
        words = ("observations", "add") if season == "2028" else ("retrain",)
        batches.append(place.json(*words, str(table))["batch"])
    return batches


def test_what_stays_in_training_is_said(place: Place, learned: list[str]) -> None:
    """What later versions have learned, not what waits for its first training; and nothing is taken out."""
    before = place.batches()
    said = place("activate", "1")
    assert re.match(
        r"version 1 is live \(line \d+ of the log\)\n2 batches that version 1 has not learned stay in ", said
    )
    assert "the next retrain learns from them again" in said
    assert "`orchard activate 1 --withdraw-later`" in said
    assert place.batches() == before
    assert "1 batch that version 2 has not learned stays in training" in place("activate", "2")
    assert place("activate", "3").count("\n") == 1
    assert learned[0] in before


@pytest.mark.long
def test_what_is_learned_later_is_withdrawn(place: Place, learned: list[str]) -> None:
    """Newest first, each named, with a reason; the next retrain learns what version 1 and the waiting batch have."""
    lines = place("activate", "1", "--withdraw-later").splitlines()
    assert lines[1:] == [
        f"batch {learned[1]}: 3 rows withdrawn",
        f"batch {learned[0]}: 3 rows withdrawn",
        "2 batches withdrawn: the next retrain does not learn from them",
    ]
    why = "learned after version 1, which is live again"
    assert [place.batches()[batch] for batch in learned] == [why, why, None]
    assert place.json("retrain", "--dry-run")["rows"]["total"] == 18
    again = place("activate", "1", "--withdraw-later").splitlines()
    assert again[1:] == ["no batch to withdraw: no later version has learned any that is in use"]
    said = place("activate", "3")
    assert "2 batches that version 3 has learned are withdrawn: `orchard observations batches` lists them" in said


def test_as_json_and_with_a_note(place: Place, learned: list[str]) -> None:
    """The log's line as ever; what was withdrawn is beside it where that was asked for."""
    line = place.json("activate", "2")
    answer = place.json("activate", "2", "--withdraw-later", "--note", "hail")
    assert set(answer) - set(line) == {"withdrawn"}
    assert [batch["batch"] for batch in answer["withdrawn"]] == [learned[1]]
    assert place.batches()[learned[1]] == "hail"
    assert answer["why"] == "hail"


def test_an_unknown_version_changes_nothing(place: Place, learned: list[str]) -> None:
    """Nothing is withdrawn for a version that is not there."""
    place("activate", "99", "--withdraw-later", code=2)
    assert [place.batches()[batch] for batch in learned] == [None] * 3


def test_a_lost_database_holds_up_no_rollback(trained: Path, tmp_path: Path) -> None:
    """The version is live; what cannot be looked at is not spoken of, and with --withdraw-later nothing is done."""
    store = copy_store(trained, tmp_path / "store")
    settings = {"ORCHARD_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    assert orchard(store, "activate", "1", "--withdraw-later", **settings).returncode == 4
    done = orchard(store, "activate", "1", **settings)
    assert (done.returncode, done.stdout) == (0, "version 1 is live (line 2 of the log)\n")
