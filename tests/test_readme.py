"""Every command and example in README.md works, in its order on a fresh service, and answers what is shown below it."""

import json
import os
import re
import shlex
import shutil
import signal
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
from tests.pages import dead_links
from tests.running import ROOT, Running, environment, serving

ELSEWHERE = ("scripts/serve", "docker ", "scripts/test")
"""What no test can run: it would run the tests, or needs a container engine."""
PROBLEM = re.compile(r'"status": ?[45]')
"""In an answer that should have been a good one, pretty-printed or not."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
UNSURE = re.compile(r"\b[0-9a-f]{32}\b|(-?\d+\.\d{9,})")
"""In an answer that is shown as text: an id, or a number with more digits than any processor agrees on."""
STREAMS = "curl -sN "
"""What it asks has no end."""


SHOWN = {"json", "csv", "text"}
"""What an answer is shown as."""


class Block(NamedTuple):
    """A block of code, and the one below it."""

    kind: str
    text: str
    shown_kind: str
    shown: str


def _blocks() -> Iterator[Block]:
    """Yield what can be run, with what directly follows it; an answer follows nothing else."""
    text = (ROOT / "README.md").read_text()
    found = list(BLOCK.finditer(text))
    for block, after in zip(found, [*found[1:], None], strict=True):
        kind, code = block.groups()
        follows = after is not None and not text[block.end() : after.start()].strip()
        runs = kind in {"sh", "python", "js"} and not any(word in code for word in ELSEWHERE)
        shown_kind, shown = after.groups() if after is not None and follows and after[1] in SHOWN else ("", "")
        assert runs or not shown, shown
        assert after is None or follows or after[1] not in {"json", "csv"}, after[2]
        if runs:
            yield Block(kind, code, shown_kind, shown)


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
    environ = environment(folder / "model_store", PYTHONPATH=f"{ROOT}:{folder}", PYTHONWARNINGS="ignore")
    if STREAMS in block.text:
        return _beginning(command, folder, environ, block.shown.count("\n"))
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (block.text, done.stderr)
    return done.stdout


def _beginning(command: list[str], folder: Path, environ: dict[str, str], lines: int) -> str:
    """Return as many lines of a stream; a comment would come where no line does."""
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as reading:
        assert reading.stdout is not None
        try:
            return "".join(reading.stdout.readline() for _ in range(lines))
        finally:
            os.killpg(reading.pid, signal.SIGKILL)


def prepare(folder: Path) -> None:
    """Make what the README speaks of: the examples, a table of one's own, and the client under its installed name."""
    (folder / "model_store").mkdir()
    shutil.copytree(ROOT / "deploy" / "examples", folder / "deploy" / "examples")
    corn = "".join(f"{60 + row},{40 + 7 * row % 50},{50 + row % 9},{100 + 3 * row}\n" for row in range(20))
    (folder / "harvests.csv").write_text(f"temperature,rainfall,humidity,corn\n{corn}")
    (folder / "orchard_client.py").write_text("from app.client import *\n")


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


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_everything_in_the_readme_works(tmp_path: Path) -> None:
    """Commands, Python and JavaScript, one after another; answers are those printed below them."""
    blocks = list(_blocks())
    kinds = [block.kind for block in blocks]
    assert (kinds.count("js"), kinds.count("python")) == (1, 3)
    assert kinds.count("sh") > 12
    assert {block.shown_kind for block in blocks} >= {"json", "text"}
    prepare(tmp_path)
    with serving(tmp_path / "model_store") as running:
        for block in blocks:
            printed = run(block, running, tmp_path)
            if block.shown_kind == "json":
                _close(json.loads(block.shown), json.loads(printed))
            elif block.shown_kind == "csv":
                _close_tables(block.shown, printed)
            elif block.shown_kind == "text":
                _close_texts(block.shown, printed)
            else:
                assert not PROBLEM.search(printed), printed
    assert (tmp_path / "backup" / "versions" / "1.safetensors").is_file()


def _close_tables(shown: str, found: str) -> None:
    table, answer = ([line.split(",") for line in part.split()] for part in (shown, found))
    assert table[0] == answer[0]
    for line, other in zip(table[1:], answer[1:], strict=True):
        for cell, given in zip(line, other, strict=True):
            assert cell == given or float(given) == pytest.approx(float(cell), rel=1e-9), (cell, given)


def _close_texts(shown: str, found: str) -> None:
    """Compare two answers as text: long numbers to 1e-9, ids not at all, else word by word, wherever lines break."""
    assert UNSURE.sub("…", found).split() == UNSURE.sub("…", shown).split()
    numbers, others = ([float(each[1]) for each in UNSURE.finditer(text) if each[1]] for text in (shown, found))
    assert others == pytest.approx(numbers, rel=1e-9)


def test_each_kind_of_data_is_one_line(tmp_path: Path) -> None:
    """The lines of the table of kinds work, and what is named as coming back is in their answers."""
    prepare(tmp_path)
    part = (ROOT / "README.md").read_text().partition("\n## Your data, as it is\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 8
    with serving(tmp_path / "model_store") as running:
        for _, cell, told in rows:
            command = cell.strip("`")
            assert shlex.split(command)[0] == "curl"
            printed = run(Block("sh", command, "", ""), running, tmp_path)
            kept = [shlex.split(command)[place + 1] for place, word in enumerate(shlex.split(command)) if word == "-o"]
            answer = (tmp_path / kept[0]).read_bytes() if kept else printed.encode()
            assert not PROBLEM.search(printed), printed
            named = [name for name in re.findall(r"`([^`]+)`", told) if not re.match(r"format=|csv$|geojson$", name)]
            assert all(name.encode() in answer for name in named), (command, named, printed)
            assert named or b"mango_tons" in answer, command


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """Files of the project, and headings in them."""
    assert dead_links("README.md") == []
    assert dead_links("BENCHMARKS.md") == []


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
    assert named - {("GET", path) for path in ("/", "/openapi.json", "/docs")} == calls


def test_all_statuses_and_metrics_are_in_the_readme() -> None:
    """The table of errors has each status that an error is given, the one of metrics each count and duration."""
    statuses = set(map(int, re.findall(r"\d+", " ".join(_first_cells("When something is wrong")))))
    assert statuses == {kind.status for kind in KINDS.values()} - {500} | {405}
    metrics = " ".join(_first_cells("Logs and metrics"))
    missing = [found.name for found in (*COUNTS.values(), *DURATIONS.values()) if found.name not in metrics]
    assert missing == []
