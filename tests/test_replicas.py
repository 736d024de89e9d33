"""Two replicas under load while one retrains, and the store goes away: `tests.replicas`."""

from pathlib import Path

import pytest

from tests.bucket import standin
from tests.postgresql import Cluster
from tests.replicas import tried

pytestmark = pytest.mark.measured


@pytest.mark.long
def test_replicas_under_load(postgresql: Cluster, tmp_path: Path) -> None:
    """No prediction fails, each answer is one version's alone, and the other replica follows all of them."""
    with standin() as server:
        seen = tried(server, postgresql.database(), tmp_path, retrains=3, away_s=1.0, interval_s=0.3)
    assert seen.failed == []
    assert seen.mixed == []
    assert set(seen.yields) == {str(number) for number in range(1, 6)}
    assert len(seen.behind_s) == 4
    assert seen.told
    assert seen.predictions > 500
