"""What deploy/README.md tells operators to run, run: the unit of systemd, backup, restore, upgrade, tokens."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.settings import PREFIX, Settings
from tests.pages import dead_links, sections
from tests.postgresql import Cluster
from tests.running import (
    DEADLINE_S,
    HARVEST,
    ROOT,
    Running,
    await_answer,
    copy_store,
    environment,
    lasting_port,
    serving,
    start,
)

pytestmark = pytest.mark.long
PAGE = "deploy/README.md"
UNIT = ROOT / "deploy" / "orchard.service"
PROGRAM = "/opt/orchard/.venv/bin/orchard"
DATABASE, RESTORED = "postgresql://orchard@db.example.com/orchard", "orchard_restored"
"""As the page has them."""
A = {"region": "A", "temperature": 73, "rainfall": 67, "humidity": 43}


class _Machine:
    """A folder in the place of a machine: its /var, its /opt, and programs that need rights or a container engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "var/lib/orchard"
        programs = folder / "bin"
        for path in (programs, folder / "var/lib", folder / "var/backups"):
            path.mkdir(parents=True)
        for name, line in {
            "orchard": f'exec {sys.executable} -m app "$@"',
            "python": f'exec {sys.executable} "$@"',
            "runuser": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
            "chown": "exit 0",
            "docker": 'exec sh -ec "${@: -1}"',  # what the container would run comes last
        }.items():
            (programs / name).write_text(f"#!/usr/bin/env bash\nset -e\n{line}\n")
            (programs / name).chmod(0o755)

    def run(self, block: str, before: str = "", **settings: str) -> str:
        """Run a block and return what it prints."""
        text = before + block
        for program in (f"{PROGRAM}", "/opt/orchard-next/.venv/bin/orchard", "/opt/orchard/.venv/bin/python"):
            text = text.replace(program, f"{self.folder}/bin/{Path(program).name}")
        text = text.replace("/var/", f"{self.folder}/var/")
        path = f"{self.folder / 'bin'}:{environment(self.store)['PATH']}"
        environ = environment(self.store, PATH=path, PYTHONPATH=str(ROOT), **settings)
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout


def _blocks(heading: str) -> list[str]:
    """Return the blocks of a section that are to be run."""
    return [block.text for block in sections(PAGE)[heading] if block.kind == "sh"]


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    """Return a machine with nothing on it."""
    return _Machine(tmp_path / "machine")


@contextmanager
def _reporting(running: Running) -> Iterator[None]:
    """Within the block harvests are reported, one after another, as if nobody made a copy."""
    is_over = threading.Event()

    def report() -> None:
        season = 2100
        while not is_over.is_set():
            season += 1
            rows = [row | {"season": str(season)} for row in HARVEST["observations"]]
            answer = running.client.post(
                "/retrain", json={"observations": rows, "activate": "always"}, headers=running.write
            )
            assert answer.status_code == 200, answer.text

    thread = threading.Thread(target=report)
    first = running.version()
    thread.start()
    try:
        while running.version() == first:
            time.sleep(0.01)
        yield
    finally:
        is_over.set()
        thread.join()


def _rows(running: Running) -> list[dict[str, Any]]:
    answer = running.client.get("/observations", params={"limit": 10_000}, headers=running.write)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["observations"]
    return rows


def _is_whole(running: Running) -> None:
    """Check that a service is ready with nothing to complain of, and predicts, lists and learns."""
    ready = running.client.get("/health/ready").json()
    assert (ready["status"], ready["details"]) == ("ready", [])
    assert running.client.post("/predict", json=A).status_code == 200
    assert _rows(running)
    retrained = running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
    assert retrained.status_code == 200, retrained.text
    assert int(retrained.json()["version"]) > int(ready["model_version"])


def test_a_copy_of_a_store_at_work_is_whole(machine: _Machine, trained: Path) -> None:
    """The copy of a store that is being written to passes the check, and a service starts on it and goes on."""
    copy_store(trained, machine.store)
    backup, check = _blocks("SQLite")
    with serving(machine.store) as running, _reporting(running):
        machine.run(backup)
    assert "damaged" not in machine.run(check)
    (copy,) = (machine.folder / "var/backups/orchard").iterdir()
    assert copy.stat().st_mode & 0o777 == 0o700
    with serving(copy) as restored:
        _is_whole(restored)


def test_a_dump_is_restored(machine: _Machine, postgresql: Cluster) -> None:
    """With PostgreSQL: dump and folders, made while harvests are reported, are checked and served together."""
    url = postgresql.database()
    name = url.rpartition("/")[2]
    backup, restore = (
        block.replace(DATABASE, url.replace("+psycopg", "")).replace(RESTORED, f"{name}_restored")
        for block in _blocks("PostgreSQL")
    )
    path = f'PATH="{postgresql.programs}:$PATH"\n'
    with serving(machine.store, ORCHARD_DATABASE_URL=url) as running:
        with _reporting(running):
            machine.run(backup, path)
        machine.run(restore, path)
        kept = _rows(running)
    with serving(machine.folder / "var/lib/orchard-restored", ORCHARD_DATABASE_URL=f"{url}_restored") as restored:
        found = _rows(restored)
        assert len(found) > 15  # the first model's, and those that were reported
        assert found == kept[: len(found)]
        _is_whole(restored)


def test_a_damaged_copy_is_told(machine: _Machine, trained: Path) -> None:
    """The check of a copy fails where a version in it is not what was written."""
    copy_store(trained, machine.store)
    backup, check = _blocks("SQLite")
    with serving(machine.store):
        machine.run(backup)
    (copy,) = (machine.folder / "var/backups/orchard").iterdir()
    version = copy / "versions" / "1.safetensors"
    version.chmod(0o600)
    content = bytearray(version.read_bytes())
    content[-1] ^= 1
    version.write_bytes(content)
    with pytest.raises(AssertionError, match="damaged"):
        machine.run(check)


def test_a_volume_is_copied_and_filled(machine: _Machine, trained: Path) -> None:
    """The one file that a container sends out fills another volume, where all is whole; the first one is left clean."""
    copy_store(trained, machine.store)
    backup, restore = _blocks("A container's volume")
    with serving(machine.store) as running, _reporting(running):
        machine.run(backup)
    assert not (machine.store / "copy").exists()
    other = machine.folder / "other"
    copy_store(trained, other)
    (other / "token").write_text("this-is-not-the-token-of-the-copy\n")
    machine.run(restore, ORCHARD_MODEL_STORE=str(other))
    assert (other / "token").read_text() == (machine.store / "token").read_text()
    with serving(other) as restored:
        _is_whole(restored)


def test_an_upgrade_is_rehearsed(machine: _Machine, trained: Path) -> None:
    """The rehearsal serves the copy beside the service, predicts the same and retrains, and is gone afterwards."""
    copy_store(trained, machine.store)
    (backup, _), (rehearsal,) = _blocks("SQLite"), _blocks("Upgrade, rehearsed first")
    with serving(machine.store) as running:
        machine.run(backup)
        ports = {"8000": str(running.client.base_url.port), "8001": str(lasting_port())}
        printed = machine.run(re.sub(r"\b800[01]\b", lambda found: ports[found[0]], rehearsal))
    lines = [line for line in printed.splitlines() if line.startswith('{"model_version"')]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert '"dry_run":true' in printed
    assert not (machine.folder / "var/lib/orchard-rehearsal").exists()


def test_tokens_are_exchanged(machine: _Machine, trained: Path) -> None:
    """The new token counts at once, beside the old one until that is removed."""
    copy_store(trained, machine.store)
    add, remove = _blocks("Tokens")
    with serving(machine.store) as running:
        name, _, token = machine.run(add).strip().rpartition("\n")[2].partition(" ")
        assert name == "anna"
        new = {"Authorization": f"Bearer {token}"}
        statuses = [_status(running, headers) for headers in (new, running.write)]
        assert statuses == [200, 200]
        machine.run(remove)
        statuses = [_status(running, headers) for headers in (new, running.write)]
        assert statuses == [200, 401]


def _status(running: Running, headers: dict[str, str]) -> int:
    return running.client.get("/observations", headers=headers).status_code


def test_prometheus_reads_with_the_read_token(trained: Path, tmp_path: Path) -> None:
    """The configuration shown sends what a service whose reading is closed wants."""
    (block,) = (block for block in sections(PAGE)["Tokens"] if block.kind == "yaml")
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    token = "a-token-for-reading-alone"
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_READ_TOKEN=token) as running:
        header = {"Authorization": f"{job['authorization']['type']} {token}"}
        assert running.client.get("/metrics").status_code == 401
        assert running.client.get("/metrics", headers=header).status_code == 200


def test_whether_torch_brings_cuda_is_shown(machine: _Machine) -> None:
    """The line that tells a build with CUDA from one without runs, and prints one or the other."""
    (line,) = _blocks("On a machine with systemd and nginx")
    assert re.fullmatch(r"None|\d+\.\d+", machine.run(line).strip())


def _unit() -> ConfigParser:
    """Return the unit; of what stands there several times, the last."""
    found = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNIT)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("words", [["verify"], ["security", "--offline=true", "--threshold=20"]], ids=" ".join)
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, words: list[str]) -> None:
    """It is valid, and exposed to 2.0 of 10 at most, by systemd's own measure."""
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
    command = ["systemd-analyze", *words, str(tmp_path / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unknown" not in done.stderr


def test_the_unit_serves_and_stops(trained: Path, tmp_path: Path) -> None:
    """What it starts, with its settings and those of the page, answers; its signal ends it within its time, with 0."""
    service = _unit()["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    assert service["User"] == "orchard"
    name, _, folder = service["Environment"].partition("=")
    assert (name, folder) == ("ORCHARD_MODEL_STORE", service["WorkingDirectory"])
    assert folder == f"/var/lib/{service['StateDirectory']}"
    store, port = copy_store(trained, tmp_path / "store"), lasting_port()
    settings = _settings("On a machine with systemd and nginx") | {"ORCHARD_PORT": str(port)}
    environ = {name: value for name, value in environment(store, **settings).items() if name != "ORCHARD_DRAIN_S"}
    with (tmp_path / "log").open("w") as output:
        process = start(tuple(words), environ, output, output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        await_answer(client, process)
        assert client.get("/health/ready", headers={"Host": settings["ORCHARD_HOSTS"]}).status_code == 200
    process.send_signal(getattr(signal, service["KillSignal"]))
    assert process.wait(float(service["TimeoutStopSec"])) == 0
    assert "unknown setting" not in (tmp_path / "log").read_text()


def test_the_unit_waits_longer_than_the_service_takes() -> None:
    """It kills only what has outlasted its own time to finish."""
    settings = Settings()
    assert float(_unit()["Service"]["TimeoutStopSec"]) > settings.drain_s + settings.grace_s + 5


def _settings(heading: str) -> dict[str, str]:
    """Return the settings that a section shows, and those that it shows as comments if they have a value."""
    (block,) = (block for block in sections(PAGE)[heading] if block.kind == "ini")
    return dict(re.findall(r"^(ORCHARD_\w+)=(.+)$", block.text, re.MULTILINE))


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*.*")), ids=lambda path: path.name)
def test_every_setting_named_is_one(path: Path) -> None:
    """No file here names a setting that does not exist."""
    named = set(re.findall(r"\bORCHARD_[A-Z_]+\b", path.read_text()))
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert named - known == set()


def test_every_link_leads_somewhere() -> None:
    """Files and headings that the page links to exist."""
    assert dead_links(PAGE) == []
