"""The house as ARCHITECTURE.md draws it: imports go one way, torch stays in its room, every room is described."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.map import arrows_up, circles, modules

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "app").rglob("*.py"))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_one_way() -> None:
    """A module imports only from its own room and the floors below; so do the files inside the two largest rooms."""
    found = modules(ROOT)
    assert arrows_up(found) == []
    assert circles(found) == []


def test_the_client_needs_little() -> None:
    """The client imports where there are pydantic and httpx, and no numpy, torch, FastAPI or Starlette."""
    code = """
import sys
for name in ("numpy", "torch", "fastapi", "starlette", "sqlalchemy", "safetensors", "uvicorn", "orjson", "typer"):
    sys.modules[name] = None
from app.client import AsyncOrchard, Orchard
Orchard("http://127.0.0.1:1").close()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_tests_that_answer_threats_exist() -> None:
    """Each row of the threat table names a test, and each test named there is one."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = [line for line in text.partition("## Threats")[2].splitlines() if line.startswith("| ")][1:]
    defined = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))))
    assert len(rows) > 20
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= defined, named - defined


NAMED = re.compile(r"`((?:app|scripts|tests|model_store)/[\w/.]+|\w+\.(?:md|py|toml|yaml))`")
"""A file or folder that ARCHITECTURE.md names by its path."""
COUNTED = re.compile(r"`(?:app|scripts)(?:/\w+)+(?:\.\w+)?`|`README\.md`|the file that")


def test_what_is_to_be_touched_exists() -> None:
    """Each row of "To add something" names files that exist, and counts them; so does every other path on the page."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    part = text.partition("## To add something")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 12
    for _, files, count in (row for row in rows if len(row) == 3):
        assert len(set(COUNTED.findall(files))) == int(count), files
    missing = [path for path in NAMED.findall(text) if not (ROOT / path).exists()]
    assert missing == []


def test_every_decision_is_whole() -> None:
    """Decisions are numbered without a gap; each has its context, what was decided, its cost and what was not done."""
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## Decisions")[2].partition("\n## ")[0]
    decisions = re.split(r"\n#### ", text)[1:]
    assert [int(decision.partition(".")[0]) for decision in decisions] == list(range(1, len(decisions) + 1))
    for decision in decisions:
        labels = re.findall(r"^\* \*\*(.+?)\.\*\*", decision, re.MULTILINE)
        assert labels == ["Context", "Decision", "Cost", "Instead of"], decision


def test_torch_is_imported_in_two_places() -> None:
    """Only the descent and the training process name torch."""
    found = [_module(path) for path in FILES if any(name.split(".")[0] == "torch" for name in _imports(path))]
    assert found == ["app.model.descent", "app.training.__main__"]


def test_the_serving_process_imports_neither_torch_nor_the_database() -> None:
    """Importing the whole application loads no torch, SciPy, mpmath, SQLAlchemy, typer or obstore."""
    code = "import app.main, sys; app.main.create_app(); print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("torch", "scipy", "sklearn", "mpmath", "sqlalchemy", "typer", "obstore"):
        assert f"'{name}'" not in done.stdout
    assert "'numpy'" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_modules_and_classes_are_described(path: Path) -> None:
    """Every module and public class has a docstring."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert [node.name for node in classes if not ast.get_docstring(node)] == []


def test_every_room_is_on_the_map() -> None:
    """ARCHITECTURE.md names every file of app/."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    missing = [path.name for path in FILES if path.name != "__init__.py" and path.name not in text]
    assert missing == []
