"""Every command and example in README.md works, in its order on a fresh service, and answers what is shown below it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.api.metrics import COUNTS, DURATIONS
from app.main import create_app
from app.settings import PREFIX, Settings
from app.wire.problems import KINDS
from tests.running import ROOT, Running, environment, serving

HARVEST = """region,season,temperature,rainfall,humidity,mango,orange
K,2026,73,67,43,56.5,70.2
L,2026,91,88,64,81.3,100.4
M,2026,87,134,58,118.7,134
"""
ELSEWHERE = ("scripts/serve", "docker ", "scripts/test")
"""What no test can run: it would run the tests, or needs a container engine."""
PROBLEM = re.compile(r'"status": ?[45]')
"""In an answer that should have been a good one, pretty-printed or not."""


class Block(NamedTuple):
    """A block of code, and the one below it."""

    kind: str
    text: str
    shown_kind: str
    shown: str


def _blocks() -> Iterator[Block]:
    found = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for (kind, text), (shown_kind, shown) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind in {"sh", "python", "js"} and not any(word in text for word in ELSEWHERE):
            yield Block(kind, text, shown_kind, shown)


def run(block: Block, running: Running, folder: Path) -> str:
    """Run a block against a service and return what it prints."""
    address = f"{running.client.base_url.host}:{running.client.base_url.port}"
    text = block.text.replace("localhost:8000", address)
    programs = {"orchard": f"{sys.executable} -m app", "python": sys.executable}
    text = re.sub(r"\.venv/bin/(orchard|python)", lambda found: programs[found[1]], text)
    if block.kind == "sh":
        command = ["bash", "-euo", "pipefail", "-c", text]
    else:
        script = folder / ("script.py" if block.kind == "python" else "script.mjs")
        script.write_text(text)
        command = [sys.executable if block.kind == "python" else "node", str(script)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder / "model_store", PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (block.text, done.stderr)
    return done.stdout


def prepare(folder: Path) -> None:
    """Make the files that the README speaks of, except harvest.csv."""
    (folder / "model_store").mkdir()
    corn = "".join(f"{60 + row},{40 + 7 * row % 50},{50 + row % 9},{100 + 3 * row}\n" for row in range(20))
    (folder / "harvests.csv").write_text(f"temperature,rainfall,humidity,corn\n{corn}")
    (folder / "regions.csv").write_text("region,temperature,rainfall,humidity\nA,73,67,43\n")


def _close(shown: object, found: object, path: str = "") -> None:
    """Compare two answers: numbers to 1e-9, ids not at all, everything else exactly."""
    if path.endswith((".request_id", ".batch", ".relative_gap")):
        assert type(shown) is type(found)
    elif isinstance(shown, dict):
        assert isinstance(found, dict)
        assert list(shown) == list(found)
        for name, value in shown.items():
            _close(value, found[name], f"{path}.{name}")
    elif isinstance(shown, list):
        assert isinstance(found, list)
        assert len(shown) == len(found)
        for one, other in zip(shown, found, strict=True):
            _close(one, other, path)
    elif isinstance(shown, float):
        assert found == pytest.approx(shown, rel=1e-9), path
    else:
        assert found == shown, path


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_everything_in_the_readme_works(tmp_path: Path) -> None:
    """Commands, Python and JavaScript, one after another; answers are those printed below them."""
    blocks = list(_blocks())
    kinds = [block.kind for block in blocks]
    assert (kinds.count("js"), kinds.count("python")) == (1, 3)
    assert kinds.count("sh") > 12
    prepare(tmp_path)
    with serving(tmp_path / "model_store") as running:
        for number, block in enumerate(blocks):
            # Those who read it report a harvest once: each block has a season of its own.
            (tmp_path / "harvest.csv").write_text(HARVEST.replace("2026", str(2027 + number)))
            printed = run(block, running, tmp_path)
            if block.shown_kind == "json":
                _close(json.loads(block.shown), json.loads(printed))
            elif block.shown_kind == "csv":
                _close_tables(block.shown, printed)
            else:
                assert not PROBLEM.search(printed), printed
    assert (tmp_path / "backup" / "versions" / "1.safetensors").is_file()


def _close_tables(shown: str, found: str) -> None:
    table, answer = ([line.split(",") for line in part.split()] for part in (shown, found))
    assert table[0] == answer[0]
    for line, other in zip(table[1:], answer[1:], strict=True):
        for cell, given in zip(line, other, strict=True):
            assert cell == given or float(given) == pytest.approx(float(cell), rel=1e-9), (cell, given)


def _first_cells(heading: str) -> list[str]:
    """Return what stands in the first column of the table below a heading."""
    below = (ROOT / "README.md").read_text().partition(f"### {heading}\n")[2].partition("\n### ")[0]
    return [line.split("|")[1].strip() for line in below.splitlines() if line.startswith("| ")][1:]


def test_all_settings_are_in_the_readme() -> None:
    """The table names each variable, and no other."""
    named = re.findall(r"`(\w+)`", " ".join(_first_cells("Settings")))
    assert sorted(named) == sorted(PREFIX + name.upper() for name in Settings.model_fields)


def test_all_calls_are_in_the_readme() -> None:
    """The table names each call of the document, and no other; those of the Open Inference Protocol together."""
    paths = create_app(Settings()).openapi()["paths"]
    calls = {(method.upper(), path) for path, methods in paths.items() for method in methods if path[:3] != "/v2"}
    named = set[tuple[str, str]]()
    for cell in _first_cells("All calls"):
        method = cell.strip("`").partition(" ")[0]
        named |= {(method, path) for path in re.findall(r"(/[^`\s]*)", cell) if not path.startswith("/v2")}
    assert named - {("GET", "/openapi.json"), ("GET", "/docs")} == calls


def test_all_statuses_and_metrics_are_in_the_readme() -> None:
    """The table of errors has each status that an error is given, the one of metrics each count and duration."""
    statuses = set(map(int, re.findall(r"\d+", " ".join(_first_cells("When something is wrong")))))
    assert statuses == {kind.status for kind in KINDS.values()} - {500} | {405}
    metrics = " ".join(_first_cells("Logs and metrics"))
    missing = [found.name for found in (*COUNTS.values(), *DURATIONS.values()) if found.name not in metrics]
    assert missing == []
