"""The container: what its Dockerfile and .dockerignore promise, read without a container engine."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app import __version__
from tests.dockerfile import ROOT, STAGES, TARGETS, all_of, environment, lineage

SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", re.IGNORECASE)


def _ignored(path: str) -> bool:
    """Say what .dockerignore says of a path: the last pattern that fits it or a folder above it decides."""
    above = [path, *(str(parent) for parent in Path(path).parents)]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        names = [Path(name).name for name in above] if "**/" in line else above
        if pattern and not pattern.startswith("#") and any(fnmatch(name, pattern) for name in names):
            ignored = not line.startswith("!")
    return ignored


def test_the_last_target_is_the_whole_and_serve_is_another() -> None:
    """A build without --target makes the image that can do everything."""
    assert list(STAGES)[-1] == "whole"
    assert "serve" in STAGES


def test_only_the_whole_has_torch() -> None:
    """Both environments are installed by the lock, and only the whole's with the training extra."""
    copied = {target: re.findall(r"--from=(\S+) /opt/orchard ", " ".join(all_of(target, "COPY"))) for target in TARGETS}
    assert copied == {"serve": ["serve-environment"], "whole": ["environment"]}
    installs = {
        name: next(rest for word, rest in STAGES[name].instructions if word == "RUN" and " install " in rest)
        for name in ("serve-environment", "environment")
    }
    assert installs["serve-environment"].endswith('--constraint requirements.lock ".[objects,postgres]"')
    assert installs["environment"].endswith(
        '--constraint requirements.lock ".[train,arrow,excel,postgres,objects,adbc]"'
    )


@pytest.mark.parametrize("target", TARGETS)
def test_it_builds_on_the_slim_image(target: str) -> None:
    """Nothing of the build stages is in it but what is copied."""
    assert lineage(target)[0].base == "python:3.11-slim"
    assert not all_of(target, "ADD")
    assert all(rest.startswith("--from=") for rest in all_of(target, "COPY"))


@pytest.mark.parametrize("target", TARGETS)
def test_it_does_not_run_as_root(target: str) -> None:
    """The user is a number other than 0, and the model store in the image is that user's."""
    user = all_of(target, "USER")[-1]
    uid, gid = user.split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert f"--from=environment --chown={user} /first /var/lib/orchard" in all_of(target, "COPY")


@pytest.mark.parametrize("target", TARGETS)
def test_the_one_volume_is_the_model_store(target: str) -> None:
    """The volume is declared after the first model was copied into it: some builders drop what comes later."""
    assert all_of(target, "VOLUME") == [environment(target)["ORCHARD_MODEL_STORE"]]
    assert STAGES[target].instructions[-1] == ("VOLUME", "/var/lib/orchard")


@pytest.mark.parametrize("target", TARGETS)
def test_sigterm_reaches_the_server(target: str) -> None:
    """Entry point and command are lists: a shell in between would keep the signal to itself."""
    assert [json.loads(rest) for rest in all_of(target, "ENTRYPOINT")] == [["orchard"]]
    assert [json.loads(rest) for rest in all_of(target, "CMD")] == [["serve"]]


def test_sigterm_ends_it_while_the_first_model_is_trained(tmp_path: Path) -> None:
    """Process 1 of a container gets only the signals that it handles, so it does from the start, and ends with 0."""
    lock = tmp_path / "retrain.lock"
    environment = os.environ | {"ORCHARD_MODEL_STORE": str(tmp_path)}
    command = [sys.executable, "-m", "app", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as server:
        deadline = time.monotonic() + 60
        while not lock.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        server.terminate()
        assert server.wait(60) == 0
    assert lock.exists()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
@pytest.mark.parametrize("target", TARGETS)
def test_readiness_is_the_health_check(target: str, status: int, healthy: bool) -> None:
    """Python asks /health/ready on the port that is set, past any proxy, and its exit code is the answer."""
    (check,) = all_of(target, "HEALTHCHECK")
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "python"
    with _answering({"/health/ready": status}) as port:
        environment = os.environ | {"ORCHARD_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        done = subprocess.run([sys.executable, *arguments], env=environment, check=False, timeout=30)
    assert (done.returncode == 0) is healthy


@contextmanager
def _answering(statuses: dict[str, int]) -> Iterator[int]:
    """Serve a status for each path, 404 for others, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.get(self.path, 404))
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("target", TARGETS)
def test_it_listens_outside_and_writes_no_bytecode(target: str) -> None:
    """The environment fits a container: any address, output at once, nothing written beside the sources."""
    expected = {
        "ORCHARD_HOST": "0.0.0.0",  # noqa: S104 - of the container
        "TMPDIR": "/dev/shm",  # noqa: S108 - writable with a read-only root
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    assert expected.items() <= environment(target).items()


@pytest.mark.parametrize("target", TARGETS)
def test_the_labels_agree_with_the_project(target: str) -> None:
    """Description and licence are those of pyproject.toml, the version is the package's, as the project's is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', all_of(target, "LABEL")[0]))
    expected = {"version": __version__, "description": project["description"], "licenses": project["license"]}
    assert expected.items() <= labels.items()


def test_no_secret_is_in_the_image() -> None:
    """No stage sets or takes a secret; the token is made at a volume's first start."""
    named = [rest for stage in STAGES.values() for word, rest in stage.instructions if word in {"ENV", "ARG"}]
    assert named
    assert not [rest for rest in named if SECRET.search(rest)]


def test_the_pages_libraries_come_from_a_stage_of_their_own() -> None:
    """They are in `source` before either image installs from it; Node.js is in none of the stages that follow."""
    words = [f"{word} {rest}" for word, rest in STAGES["source"].instructions]
    whole = words.index("COPY app app")
    assert words.index("COPY --from=page /src/app/page/vendor app/page/vendor") > whole
    assert STAGES["page"].instructions[-1][1].endswith("python scripts/page.py")
    assert {STAGES[name].base for name in ("serve-environment", "environment")} == {"source"}
    taken = [rest for stage in STAGES.values() for _, rest in stage.instructions if "--from=page" in rest]
    assert taken == ["--from=page /src/app/page/vendor app/page/vendor"]


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "model_store/token",
        "model_store/versions/1.safetensors",
        "token",
        ".env",
        "node_modules/d3/LICENSE",
        "app/page/vendor/d3.min.js",
        "app/__pycache__/cli.cpython-311.pyc",
        "app/model/__pycache__/moments.cpython-311.pyc",
        "tests/conftest.py",
    ],
)
def test_the_build_does_not_see(path: str) -> None:
    """History, environments, what has been learned, tokens and bytecode stay out of the build."""
    assert _ignored(path)


def test_the_build_sees_what_it_copies() -> None:
    """What the first two stages copy from outside exists and is let through."""
    copies = {name: [rest for word, rest in STAGES[name].instructions if word == "COPY"] for name in ("page", "source")}
    copied = {
        name: [path for rest in lines if not rest.startswith("--from=") for path in rest.split()[:-1]]
        for name, lines in copies.items()
    }
    assert copied == {
        "page": ["package.json", "package-lock.json", "scripts/page.py", "app/page/vendor.sha256"],
        "source": ["pyproject.toml", "requirements.lock", "README.md", "LICENSE", "app", "scripts/wheels.py"],
    }
    assert [path for paths in copied.values() for path in paths if _ignored(path) or not (ROOT / path).exists()] == []
    assert not _ignored("app/data/tutorial.csv")
