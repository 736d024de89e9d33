"""Whatever a write is doing when it is killed, nothing acknowledged is lost and no broken version is served."""

import os
import subprocess
import sys

import pytest

from tests.running import ROOT


@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param(words, least, marks=pytest.mark.long)
        for words, least in ((["--steps"], 80), (["--random", "200"], 200))
    ],
    ids=["at each step", "at random moments"],
)
def test_nothing_is_lost_in_a_crash(options: list[str], least: int) -> None:
    """Retrains, trainings, activations and uploads are killed with SIGKILL; see crashes.py for what is looked at."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crashes", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    crashes, _, rest = done.stdout.splitlines()[-1].partition(" ")
    assert int(crashes) >= least
    assert rest == "crashes, nothing lost"
