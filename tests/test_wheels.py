"""The wheels made of `app/`: names of their own beside a user's `app`, a client that needs little, and its types."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from app import PACKAGE, __version__
from scripts.page import FILES, LICENCES
from scripts.wheels import CLIENT, SERVICE, Files, client_files, closure, renamed, service_files
from tests.running import (
    DEADLINE_S,
    HARVEST,
    ROOT,
    await_answer,
    children,
    copy_store,
    environment,
    lasting_port,
    serving,
)

PROJECTS = {"orchard_service": ROOT, "orchard_client": ROOT / "deploy" / "client"}
"""What is built, by the name that it is imported by."""
MOST_MODULES, MOST_LINES, MOST_BYTES = 30, 3_500, 200_000
"""What the client's wheel may come to: there is room for a third more."""
CLIENTS_NEEDS = {"httpx", "pydantic", "pydantic_core"}
"""pydantic brings pydantic_core along."""


def test_the_clients_wheel_holds_little() -> None:
    """What the client imports is a few modules with nothing but httpx, pydantic and Python's own behind them."""
    modules = closure(ROOT, "app.client")
    assert {"app.client", "app.client.orchard", "app.wire.schemas", "app.errors"} <= set(modules)
    assert len(modules) <= MOST_MODULES
    assert sum(len(path.read_text().splitlines()) for path in modules.values()) <= MOST_LINES
    imported = {name for path in modules.values() for name in _foreign(ast.parse(path.read_text()))}
    assert imported - sys.stdlib_module_names == CLIENTS_NEEDS


def _foreign(tree: ast.AST) -> Iterator[str]:
    """Yield the packages that a module imports, without ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] != PACKAGE:
            yield node.module.partition(".")[0]


def test_both_projects_ask_for_the_same_libraries() -> None:
    """What the client needs is what the service needs of the same libraries, for the same Python."""
    service, client = (tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in PROJECTS.values())
    assert {re.split(r"[<>=]", need)[0] for need in client["dependencies"]} == CLIENTS_NEEDS - {"pydantic_core"}
    assert set(client["dependencies"]) <= set(service["dependencies"])
    assert client["requires-python"] == service["requires-python"]


@pytest.mark.parametrize("files", [service_files, client_files])
def test_nothing_in_a_wheel_imports_app(files: Callable[[], Files]) -> None:
    """Every module is valid under its new name; what it imports of ours is in the wheel."""
    made = files()
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in made}
    tops = {path.partition("/")[0] for path in made}
    assert len(tops) == 1
    assert f"{tops.copy().pop()}/py.typed" in made
    for path, content in made.items():
        if not path.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(content)):
            assert not (isinstance(node, ast.Import) and "app" in {alias.name.split(".")[0] for alias in node.names})
            if isinstance(node, ast.ImportFrom) and node.module:
                top = node.module.partition(".")[0]
                assert top != "app", path
                assert top not in tops or node.module in modules, (path, node.module)


def test_the_pages_libraries_are_in_the_services_wheel_alone(tmp_path: Path) -> None:
    """What lies in `vendor`, with its licences, goes along where it is there; the client has nothing of the page."""
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "LICENSE", tmp_path)
    assert not [path for path in service_files(tmp_path) if "/vendor/" in path]
    names = {*FILES, LICENCES}
    for name in names:
        file = tmp_path / "app" / "page" / "vendor" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    made = {path: content for path, content in service_files(tmp_path).items() if "/vendor/" in path}
    assert made == {f"orchard_service/page/vendor/{name}": name.encode() for name in names}
    assert not [path for path in client_files(tmp_path) if "/page/" in path]


def test_no_text_names_a_module_of_app() -> None:
    """A string such as "app.main:create_app" would be wrong in a wheel: they are made of `app.PACKAGE`."""
    modules = {path.replace("/", ".").removesuffix(".py") for path in service_files()}
    modules |= {name.removesuffix(".__init__") for name in modules}
    modules = {name.replace("orchard_service", "app", 1) for name in modules} - {"app"}
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = node.value.partition(":")[0]
                assert named not in modules, (path, node.lineno, node.value)
                assert named.rpartition(".")[0] not in modules, (path, node.lineno, node.value)


def test_only_import_statements_are_rewritten() -> None:
    """Texts, comments, names and attributes that look alike stay; so does everything else, to the byte."""
    text = '''"""from app.client import Orchard"""
from app import PACKAGE, memory  # from app import
from app.client.errors import Problem
from app.clients import other

def ü(app):
    """Of `app.client`."""; from app.errors import (
        FieldError,
    )
    return app.client, "app.main:create_app", from_app
'''
    service = (
        text.replace("\nfrom app import", "\nfrom orchard_service import")
        .replace("\nfrom app.client", "\nfrom orchard_service.client")
        .replace("; from app.errors", "; from orchard_service.errors")
    )
    assert renamed(text, SERVICE) == service
    client = (
        text.replace("\nfrom app import", "\nfrom orchard_client._common import")
        .replace("\nfrom app.client.errors", "\nfrom orchard_client.errors")
        .replace("\nfrom app.clients", "\nfrom orchard_client._common.clients")
        .replace("; from app.errors", "; from orchard_client._common.errors")
    )
    assert renamed(text, CLIENT) == client


@pytest.mark.parametrize(
    "line",
    [
        "import app",
        "import os, app.client",
        "from . import errors",
        "from app . client import Orchard",
        "from app import client",
        "from app \\\n    import memory",
    ],
)
def test_what_cannot_be_renamed_is_refused(line: str) -> None:
    """A build ends in words where an import would be missed."""
    with pytest.raises(ValueError, match=r"^line 2: write `from app"):
        renamed(f"import sys\n{line}\n", CLIENT)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build both wheels as pip does, and return where they are, by the name that they are imported by."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS.values():
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(project))
    return {name: next(folder.glob(f"{name}-*.whl")) for name in PROJECTS}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a user's project, with a package `app` as FastAPI's users have it."""
    package = tmp_path / "project" / "app"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('WHOSE = "theirs"\n')
    (package / "settings.py").write_text('URL = "theirs"\n')
    return package.parent


def _pip(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _environment(folder: Path) -> Path:
    """Make an environment without anything in it; return its Python."""
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def _run(command: Sequence[str | Path], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHARD_", "PYTHON"))} | more
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_the_client_is_installed_beside_a_users_app(
    wheels: dict[str, Path], project: Path, trained: Path, tmp_path: Path
) -> None:
    """In an environment with the client and nothing else: it talks to a service, and its types arrive."""
    python = _environment(tmp_path / "venv")
    wheel, lock = wheels["orchard_client"], ROOT / "requirements.lock"
    _pip("--python", str(python), "install", "--no-compile", f"--constraint={lock}", str(wheel))
    with serving(copy_store(trained, tmp_path / "store")) as running:
        (project / "app" / "main.py").write_text(f"""
import sys
from pathlib import Path
import app
from app.settings import URL
from orchard_client import Orchard, Rejected
from orchard_client.errors import ClientError

with Orchard("{running.client.base_url}", "{running.write["Authorization"].split()[1]}") as orchard:
    print(app.WHOSE, URL, orchard.predict(temperature=73, rainfall=67, humidity=43).yields["mango"].tons)
    try:
        orchard.activate("99")
    except Rejected as error:
        print(isinstance(error, ClientError), error.status)
    print(orchard.retrain(dry_run=True, progress=lambda _: None).dry_run)
print(*sorted({{"numpy", "sqlalchemy", "fastapi", "uvicorn", "torch", "orchard_service"}} & set(sys.modules)))
""")
        done = _run([python, "-m", "app.main"], project)
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first.startswith("theirs theirs 57.32")
    assert others == ["True 404", "True", ""]
    (site,) = (tmp_path / "venv").rglob("site-packages")
    files = {path for path in site.glob("orchard_client*/**/*") if path.suffix != ".pyc" and path.is_file()}
    assert len(files) > len(closure(ROOT, "app.client"))
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    _check_types(python, project)


def _check_types(python: Path, project: Path) -> None:
    """What mypy, strict, makes of a program that uses the client as it is installed."""
    (project / "right.py").write_text("""
from orchard_client import AsyncOrchard, Orchard

o = Orchard()
reveal_type(o.predict(temperature=73, rainfall=67, humidity=43))
reveal_type(o.predict(temperature=73, rainfall=67, humidity=43).yields["mango"].tons)
reveal_type(o.retrain())


async def main() -> None:
    reveal_type(await AsyncOrchard().predict(temperature=73, rainfall=67, humidity=43))
""")
    (project / "wrong.py").write_text("""
from orchard_client import Orchard

Orchard().predict(temperatur=73, rainfall=67, humidity=43)
Orchard().predict(temperature=73, rainfall="67", humidity=43)
Orchard().predict(temperature=73, rainfall=67, region=5)
Orchard().predict(temperature=73, rainfall=67, humidity=43).tons
""")
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}"]
    right = _run([*mypy, "right.py"], project)
    assert right.returncode == 0, right.stdout + right.stderr
    revealed = re.findall(r'Revealed type is "([^"]+)"', right.stdout)
    assert [name.rpartition(".")[2] for name in revealed] == ["OnePrediction", "float", "Report", "OnePrediction"]
    wrong = _run([*mypy, "wrong.py"], project)
    lines = sorted({int(line) for line in re.findall(r"^wrong\.py:(\d+): error", wrong.stdout, re.MULTILINE)})
    assert lines == [4, 5, 6, 7], wrong.stdout


@pytest.mark.long
def test_the_service_is_installed_beside_a_users_app(
    wheels: dict[str, Path], project: Path, trained: Path, tmp_path: Path
) -> None:
    """From the wheel, in a folder with another `app`: its command, its processes, and a training on its own example."""
    python = _environment(tmp_path / "venv")
    _pip("--python", str(python), "install", "--no-deps", str(wheels["orchard_service"]))
    (site,) = (tmp_path / "venv").rglob("site-packages")
    # What it needs, from the environment of the tests: that of the command line would take minutes to fetch.
    (site / "needs.pth").write_text(str(Path(pytest.__file__).parent.parent))
    command, store = tmp_path / "venv" / "bin" / "orchard", copy_store(trained, tmp_path / "store")
    named = _run([command, "serve", "--help"], project, PYTHONPATH=".")
    assert (named.returncode, "--port" in named.stdout) == (0, True), named.stderr
    dry = _run([command, "train", "--json"], project, PYTHONPATH=".", ORCHARD_MODEL_STORE=str(tmp_path / "other"))
    assert json.loads(dry.stdout)["decision"] == "accepted", dry.stderr
    port, log = lasting_port(), tmp_path / "log"
    environ = environment(store, PYTHONPATH=".", ORCHARD_TRAINER_IDLE_S="600")
    with log.open("w") as output, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        words = [str(command), "serve", "--port", str(port)]
        process = subprocess.Popen(words, cwd=project, env=environ, stdout=output, stderr=subprocess.STDOUT)
        try:
            await_answer(client, process)
            token = {"Authorization": f"Bearer {(store / 'token').read_text().strip()}"}
            assert client.post("/retrain", json=HARVEST, headers=token).json()["decision"] == "accepted"
            assert len(children(process.pid, "orchard_service.training")) == 1
            table = "temperature,rainfall,humidity\n" + "73,67,43\n" * 50_000
            answer = client.post("/predict", content=table, headers={"Content-Type": "text/csv"})
            assert answer.text.count("\n") == 50_001
            assert len(children(process.pid, "orchard_service.api.helper")) == 1
            assert client.get("/openapi.json").json()["info"]["version"] == __version__
        finally:
            process.terminate()
            code = process.wait(DEADLINE_S)
    assert code == 0, log.read_text()
    assert "uvicorn" not in log.read_text().replace("uvicorn.error", ""), log.read_text()
