"""A bit that has changed on the disk is told, or it has no effect: it never changes what is shown or learned."""

import subprocess
import sys

import pytest

from tests.running import ROOT


@pytest.mark.long
@pytest.mark.parametrize("flips", [6, pytest.param(100, marks=pytest.mark.long)])
def test_a_flipped_bit_is_told(flips: int) -> None:
    """Bits of version files and of the database, and lines of the log; see flips.py for what is looked at."""
    options = ["--versions", str(flips), "--database", str(2 * flips if flips < 100 else flips)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.flips", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert kinds == ["version files", "database", "log"]
