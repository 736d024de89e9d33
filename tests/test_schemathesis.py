"""The service does what its OpenAPI document says, in thousands of examples that schemathesis makes from it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, Running, copy_store, serving

TOKEN = "a-token-for-schemathesis"
# Each case comes from an address of its own, which the hooks make up.
SETTINGS = {"ORCHARD_TOKEN": TOKEN, "ORCHARD_TRUSTED_PROXIES": "127.0.0.1"}
FEW = 50
"""Below so many examples an operation chains of calls are tried too: with more the store would grow and grow."""
CASES = 5_000
"""So many are made in all by the long tests, at least."""


def _run(running: Running, folder: Path, examples: int, *, token: str | None, seed: int = 1) -> int:
    """Check everything that schemathesis can check; return how many cases it made."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(f'[auth.openapi.HTTPBearer]\nbearer = "{token}"\n' if token else "")
    document = folder / "openapi.json"
    document.write_bytes(running.client.get("/openapi.json", headers=running.write).content)
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            f"--config-file={configuration}",
            "run",
            str(document),
            f"--url={running.client.base_url}",
            "--checks=all",
            f"--max-examples={examples}",
            f"--seed={seed}",
            "--phases=examples,coverage,fuzzing" + (",stateful" if examples < FEW else ""),
            "--generation-database=none",
            "--continue-on-failure",
            "--request-timeout=60",  # the first retrain on a busy machine
            "--exclude-path=/events",  # its answer has no end: tests/api/test_events_http.py
            "--no-color",
        ],
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    count = re.search(r"(\d+) generated", done.stdout)
    assert count is not None
    return int(count[1])


@pytest.mark.long
@pytest.mark.parametrize("examples", [5, 200], ids=["few", "many"])
def test_the_document_is_true(trained: Path, tmp_path: Path, examples: int) -> None:
    """With the token and without it: no check fails; only documented statuses, types, shapes and headers occur."""
    made = 0
    for number, token in enumerate((TOKEN, None)):
        with serving(copy_store(trained, tmp_path / f"store {number}"), **SETTINGS) as running:
            made += _run(running, tmp_path, examples, token=token)
    print(f"{made} cases")
    assert made >= CASES or examples < FEW


@pytest.mark.long
def test_the_document_is_true_where_reading_is_closed(trained: Path, tmp_path: Path) -> None:
    """With ORCHARD_READ_TOKEN the document asks for a token everywhere but for health."""
    settings = SETTINGS | {"ORCHARD_READ_TOKEN": "a-token-for-reading-only"}
    with serving(copy_store(trained, tmp_path / "store"), **settings) as running:
        assert _run(running, tmp_path, 2, token=TOKEN) > 100
