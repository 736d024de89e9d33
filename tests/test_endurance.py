"""Memory after much work, against memory after a little."""

import os
from pathlib import Path

import pytest

from tests.running import HARVEST, Running, children, copy_store, predict_often, serving

pytestmark = pytest.mark.measured


def _retrain(running: Running, count: int) -> None:
    for _ in range(count):
        answer = running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
        assert answer.status_code == 200


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
def test_memory_stays(trained: Path, tmp_path: Path) -> None:
    """After 200 000 predictions and 200 retrains it is within 10% of that after 10 000 and 10; the trainer's too."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        predict_often(running, 10_000)
        _retrain(running, 10)
        processes = [running.process.pid, *children(running.process.pid, "app.training")]
        assert len(processes) == 2
        before = [_resident(process) for process in processes]
        for _ in range(10):
            predict_often(running, 19_000)
            _retrain(running, 19)
        assert [running.process.pid, *children(running.process.pid, "app.training")] == processes
        after = [_resident(process) for process in processes]
        assert running.version() == "201"
    for name, early, late in zip(("server", "trainer"), before, after, strict=True):
        print(f"{name}: {early / 1e6:.1f} MB, then {late / 1e6:.1f} MB, {late / early:.3f}")
    assert all(late < 1.1 * early for early, late in zip(before, after, strict=True)), (before, after)
