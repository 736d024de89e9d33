"""A client in TypeScript, typed by the document: what README sends can be sent, answers and errors are told apart."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT, Running

SOURCES = ROOT / "tests" / "typescript"


UNREACHED = re.compile("ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|ECONNRESET")
"""What npm says where the machine does not reach the registry of its packages."""


def _installed(folder: Path) -> None:
    """Install what package.json names, or skip where it cannot be had."""
    words = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode and (found := UNREACHED.search(done.stderr)):
        pytest.skip(f"npm's packages cannot be had here: {found[0]}")
    assert done.returncode == 0, done.stderr


def _node(folder: Path, *words: str) -> str:
    """Run a program of Node.js to its end, and return what it prints."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout + done.stderr)
    return done.stdout


@pytest.mark.long
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_program_in_typescript(writing: Running, tmp_path: Path) -> None:
    """openapi-typescript makes types of the document, tsc finds a program right by them, and it runs.

    So are the examples in TypeScript that README.md shows.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    _installed(tmp_path)
    (tmp_path / "openapi.json").write_text(writing.client.get("/openapi.json").text)
    _node(tmp_path, "npx", "openapi-typescript", "openapi.json", "--output", "orchard.d.ts")
    shown = re.findall(r"```ts\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    programs = {"use": (SOURCES / "use.ts").read_text()} | {f"readme{n}": text for n, text in enumerate(shown)}
    url, token = str(writing.client.base_url).rstrip("/"), writing.write["Authorization"].split()[1]
    for name, text in programs.items():
        (tmp_path / f"{name}.ts").write_text(text.replace("http://localhost:8000", url).replace("TOKEN", token))
    options = json.loads((SOURCES / "tsconfig.json").read_text())
    (tmp_path / "tsconfig.json").write_text(json.dumps(options | {"files": [f"{name}.ts" for name in programs]}))
    _node(tmp_path, "npx", "tsc", "--project", ".")
    printed = {name: _node(tmp_path, "node", f"{name}.js") for name in programs}
    expected = writing.client.post("/predict", json={"temperature": 73, "rainfall": 67, "humidity": 43}).json()
    assert printed["use"].splitlines() == [
        f"one {expected['yields']['mango']['tons']:.4f} null 0",
        printed["use"].splitlines()[1],
        "columns true",
        "report true",
        "problem invalid temperature",
        "none undefined",
    ]
    assert re.fullmatch(r"several -?\d+\.\d{4}", printed["use"].splitlines()[1])
    assert all(printed.values())
