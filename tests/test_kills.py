"""Whatever process of a service is killed, nothing is lost, doubled or changed, and nothing is left behind."""

import subprocess
import sys

import pytest

from tests.running import ROOT


@pytest.mark.long
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_nothing_is_lost_when_processes_are_killed(kills: int) -> None:
    """All of them, the main one alone, a worker, a trainer or a helper; see kills.py for what is looked at."""
    done = subprocess.run(
        # On a busy machine a trainer may take its time to see that it is alone.
        [sys.executable, "-m", "tests.kills", "--kills", str(kills), "--gone", "15"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 * kills,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{kills} kills: 0 lost, 0 doubled, 0 changed")
