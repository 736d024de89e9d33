"""How the page's libraries get into a checkout: nothing but what the sums say, whole or not at all, and not twice."""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.page import FILES, LICENCES, sums, wanted
from tests.running import DEADLINE_S, ROOT

NPM = """#!/bin/sh
echo "$@" >> "{root}/calls"
cp -r "{root}/registry" node_modules
"""
"""An npm that needs no network."""
TOOLS = ("bash", "cat", "cp", "dirname", "grep", "sha256sum")
"""What that and scripts/setup call; an npm that the machine has is not found."""
HANGS = 'echo $$ > "{root}/pid"; kill -STOP $$\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with an npm of its own, what that npm installs, and the sums of it."""
    root = tmp_path / "checkout"
    for name in ("scripts/page.py", "scripts/setup", "package.json", "package-lock.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for source in itertools.chain(*FILES.values()):
        _write(root / "registry" / source, f"the text of {source}")
    locked = json.loads((ROOT / "package.json").read_text())["dependencies"]
    for name, version in locked.items():
        package = {"name": name, "version": version, "license": "ISC"}
        _write(root / "registry" / name / "package.json", json.dumps(package))
        _write(root / "registry" / name / "LICENSE.md", f"whoever has {name}, may")
    _npm(root)
    for tool in TOOLS:
        (root / "bin" / tool).symlink_to(str(shutil.which(tool)))
    (root / "app" / "page").mkdir(parents=True)
    assert _page(root, "--sums").returncode == 0
    assert len((root / "calls").read_text().splitlines()) == 1
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _npm(root: Path, more: str = "") -> None:
    npm = root / "bin" / "npm"
    _write(npm, (NPM + more).replace("{root}", str(root)))
    npm.chmod(0o755)


def _environment(root: Path) -> dict[str, str]:
    """Return an environment with the checkout's npm or with none, and without a package index."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return found | {"PATH": str(root / "bin"), "PIP_NO_INDEX": "1"}


def _command(root: Path, *words: str) -> list[str]:
    return [sys.executable, "-IS", str(root / "scripts" / "page.py"), *words]


def _page(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(root, *words), env=_environment(root), cwd="/", capture_output=True, text=True, check=False
    )


def _vendor(root: Path) -> dict[str, str]:
    vendor = root / "app" / "page" / "vendor"
    return {str(path.relative_to(vendor)): path.read_text() for path in vendor.rglob("*") if path.is_file()}


def test_the_files_are_there_with_their_licences(checkout: Path) -> None:
    """Each file as npm installed it; the licence of each package, with its name and version; nothing left behind."""
    found = _vendor(checkout)
    licences = found.pop(LICENCES)
    assert found == {target: "\n".join(f"the text of {source}" for source in FILES[target]) for target in FILES}
    for name, version in json.loads((ROOT / "package.json").read_text())["dependencies"].items():
        assert f"{name} {version} (ISC)\n\nwhoever has {name}, may" in licences
    assert not list(checkout.glob(".page-*"))
    assert "--ignore-scripts" in (checkout / "calls").read_text()


def test_a_second_run_does_nothing(checkout: Path) -> None:
    """No npm is called where the files are as they must be, and none is touched; a lost one is brought again."""
    before = {path: path.stat().st_mtime_ns for path in (checkout / "app").rglob("*")}
    done = _page(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path: path.stat().st_mtime_ns for path in (checkout / "app").rglob("*")} == before
    assert len((checkout / "calls").read_text().splitlines()) == 1
    (checkout / "app" / "page" / "vendor" / "d3.min.js").unlink()
    assert _page(checkout).returncode == 0
    assert len((checkout / "calls").read_text().splitlines()) == 2
    assert set(_vendor(checkout)) == {*FILES, LICENCES}


def test_a_differing_file_is_refused(checkout: Path) -> None:
    """It is named with both sums; what was there stays, and where nothing was there, nothing is."""
    before = _vendor(checkout)
    (checkout / "app" / "page" / "vendor" / "pico.min.css").write_text("touched")
    (checkout / "registry" / FILES["plot.umd.min.js"][0]).write_text("another text")
    done = _page(checkout)
    assert done.returncode == 1
    assert "app/page/vendor/plot.umd.min.js" in done.stderr
    for text in ("another text", before["plot.umd.min.js"]):
        assert hashlib.sha256(text.encode()).hexdigest() in done.stderr
    assert _vendor(checkout) == before | {"pico.min.css": "touched"}
    shutil.rmtree(checkout / "app" / "page" / "vendor")
    assert _page(checkout).returncode == 1
    assert _vendor(checkout) == {}
    assert not list(checkout.glob(".page-*"))


@pytest.mark.parametrize("prefix", ["npm error", "npm ERR!"])
@pytest.mark.parametrize(("code", "ends"), [("EINTEGRITY", 1), ("EUSAGE", 1), ("ENOTFOUND", 3)])
def test_what_npm_says_is_told(checkout: Path, prefix: str, code: str, ends: int) -> None:
    """A package that is not the locked one is refused; one that cannot be reached is missing, and all else goes on."""
    shutil.rmtree(checkout / "app" / "page" / "vendor")
    _npm(checkout, f"echo '{prefix} code {code}' >&2\nexit 1\n")
    done = _page(checkout)
    assert done.returncode == ends
    assert f"code {code}" in done.stderr
    assert prefix not in done.stderr
    assert _vendor(checkout) == {}


def test_the_set_up_goes_on_without_npm_and_network(checkout: Path) -> None:
    """It says what is missing and how to have it; a file that is refused ends it."""
    (checkout / "bin" / "npm").unlink()
    shutil.rmtree(checkout / "app" / "page" / "vendor")
    done = _set_up(checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "went on\n"
    missing, how = done.stderr.splitlines()
    assert "the page at / lacks its libraries (there is no npm, and pip says: No matching distribution found" in missing
    assert "scripts/page.py" in how
    _npm(checkout)
    (checkout / "registry" / FILES["plot.umd.min.js"][0]).write_text("another text")
    done = _set_up(checkout)
    assert (done.returncode, done.stdout) == (1, "")


def _set_up(root: Path) -> subprocess.CompletedProcess[str]:
    """Source scripts/setup where the environment is made already."""
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    _write(python, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    made = "cat requirements.lock pyproject.toml | sha256sum >.venv/orchard-test"
    script = f'{made}\nsource scripts/setup test\necho "went on"'
    words = ["bash", "-c", script]
    return subprocess.run(words, cwd=root, env=_environment(root), capture_output=True, text=True, check=False)


def test_a_kill_leaves_no_half(checkout: Path) -> None:
    """Whoever is killed at work leaves no file; the next one takes over at once, and leaves nothing else."""
    shutil.rmtree(checkout / "app" / "page" / "vendor")
    _npm(checkout, HANGS)
    with subprocess.Popen(_command(checkout), env=_environment(checkout), cwd="/") as killed:
        deadline = time.monotonic() + DEADLINE_S
        while not (checkout / "pid").exists() or not (checkout / "pid").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.kill()
    assert _vendor(checkout) == {}
    assert list(checkout.glob(".page-*"))
    os.kill(int((checkout / "pid").read_text()), signal.SIGKILL)
    _npm(checkout)
    assert _page(checkout).returncode == 0
    assert set(_vendor(checkout)) == {*FILES, LICENCES}
    assert not list(checkout.glob(".page-*"))


def test_the_sums_name_the_files() -> None:
    """The committed sums name each file that is brought, in order, and no other; and all that is there now is so."""
    page = ROOT / "app" / "page"
    assert list(wanted(page)) == sorted(f"vendor/{target}" for target in (*FILES, LICENCES))
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in wanted(page).values())
    assert sums(page) in ({}, wanted(page))


def test_the_lock_is_package_jsons() -> None:
    """Each version is exact and is the one that is locked; each package has its sum, and none names a registry."""
    package, lock = (json.loads((ROOT / name).read_text()) for name in ("package.json", "package-lock.json"))
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""][kind] == package[kind]
        for name, version in package[kind].items():
            assert lock["packages"][f"node_modules/{name}"]["version"] == version
    installed = {path: entry for path, entry in lock["packages"].items() if path}
    assert [path for path, entry in installed.items() if not entry["integrity"].startswith("sha512-")] == []
    assert [path for path, entry in installed.items() if "resolved" in entry] == []


@pytest.mark.skipif(not (ROOT / "app" / "page" / "vendor").exists(), reason="scripts/page.py could not bring the files")
def test_what_the_files_import_is_there() -> None:
    """Every import of a module is of a file beside it: the page asks for nothing that is not there."""
    page = ROOT / "app" / "page"
    modules = {path: path.read_text() for path in page.rglob("*.js") if path.parent != page / "vendor"}
    imports = [
        (path, name)
        for path, text in modules.items()
        for name in re.findall(r'(?:from|import)[ (]?"([\w./@-]+)"', text)
    ]
    assert len(imports) > len(modules)
    assert [(path, name) for path, name in imports if (path.parent / name).resolve() not in modules] == []
