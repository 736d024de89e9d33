"""Pods as deploy/kubernetes has them, started as processes with exactly their variables, on S3 and PostgreSQL."""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dockerfile import environment
from tests.postgresql import Cluster
from tests.rendered import container, pods, variables
from tests.running import DEADLINE_S, HARVEST, ROOT, lasting_port, until

pytestmark = pytest.mark.long

TARGETS = {"orchard-serve": "serve", "orchard-write": "whole", "orchard-train": "whole"}
A = {"temperature": 73, "rainfall": 67, "humidity": 43}
CLIENTS = 4
"""That ask one pod at once."""
MARGIN_S = 1.0
"""How long before it ends to answer a pod is asked no more: the slowest proxy has then heard that it ends."""


@dataclass(frozen=True)
class Place:
    """What a cluster gives to pods: Secrets, and a bucket with the right to use it."""

    folder: Path
    secrets: dict[str, dict[str, str]]
    bucket: dict[str, str]

    def environment(self, name: str, port: int) -> dict[str, str]:
        """Return a pod's variables, on top of its image's; what differs from a cluster is named here."""
        found = environment(TARGETS[name]) | variables(pods()[name], self.secrets)
        token = self.folder / "token"
        token.write_text(self.secrets["orchard"]["token"])
        token.chmod(0o440)
        here = {
            "PATH": os.environ["PATH"],  # where Python is
            "ORCHARD_HOST": "127.0.0.1",  # no other on this machine is to be let in
            "ORCHARD_PORT": str(port),  # the pods have an address each, here they share one
            "ORCHARD_TOKEN_FILE": str(token),  # the Secret's folder
        }
        assert set(here) <= set(found)
        return found | here | self.bucket

    @property
    def write(self) -> dict[str, str]:
        """The header that writes need."""
        return {"Authorization": f"Bearer {self.secrets['orchard']['token'].split()[-1]}"}


@pytest.fixture(scope="module")
def place(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return an empty database and an empty bucket of the example's name, on a stand-in for S3."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it takes seconds, which quick tests have no need of

    port = lasting_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    # What a workload identity gives to a pod, and where S3 is.
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    bucket = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", **keys}
    token = f"anna {secrets.token_urlsafe(32)}"
    try:
        store = variables(pods()["orchard-serve"], {"orchard": {"database-url": "", "token": ""}})[
            "ORCHARD_MODEL_STORE"
        ]
        made = httpx.put(f"{endpoint}/{store.removeprefix('s3://').partition('/')[0]}")
        assert made.status_code == 200, made.text
        yield Place(
            tmp_path_factory.mktemp("pods"),
            {"orchard": {"database-url": postgresql.database(), "token": token}},
            bucket,
        )
    finally:
        server.stop()


@dataclass
class Running:
    """A pod's process, with what probes and clients need."""

    name: str
    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def probed(self, probe: str) -> int:
        """Return what a probe of the manifest is answered."""
        asked = container(pods()[self.name])[probe]["httpGet"]
        return self.client.get(asked["path"]).status_code


@contextmanager
def _running(place: Place, name: str) -> Iterator[Running]:
    """Run a pod's container; what it is asked to do comes from the manifest, its program from the image."""
    port, log = lasting_port(), place.folder / f"{name}.log"
    command = [sys.executable, "-m", "app", *container(pods()[name])["args"]]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=place.environment(name, port), stdout=output, stderr=output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        try:
            yield Running(name, process, client, log)
        finally:
            process.kill()
            process.wait()


def _train(place: Place) -> None:
    """Do what the Job does."""
    spec = container(pods()["orchard-train"])
    command = [sys.executable, "-m", "app", *spec["args"]]
    environ = place.environment("orchard-train", 0)
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class Load:
    """Clients that ask a pod until they are told to stop: half of them by one connection, the others by many."""

    running: Running
    is_over: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def ask(self, number: int) -> None:
        """Ask, one question after the other."""
        kept = httpx.Client(base_url=self.running.client.base_url, timeout=DEADLINE_S)
        while not self.is_over.is_set():
            client = kept if number % 2 else httpx.Client(base_url=self.running.client.base_url, timeout=DEADLINE_S)
            try:
                status = client.post("/predict", json=A).status_code
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                self.answered += 1
                if status != 200:
                    self.failures.append(str(status))
            if client is not kept:
                client.close()
        kept.close()


def test_pods_live_and_are_not_ready_until_a_model_is_trained_and_end_under_load_without_a_failure(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """All by the manifests: variables, arguments, probes, and how long each may take to end.

    Pods that wait for a model only look for one: who serves needs no right to write to the bucket.
    """
    caplog.set_level("INFO")  # the bucket has a line for each request
    with _running(place, "orchard-serve") as serve, _running(place, "orchard-write") as write:
        both = (serve, write)
        for pod in both:
            until(lambda pod=pod: _is_started(pod))  # type: ignore[misc]
            assert pod.probed("livenessProbe") == 200
            assert pod.probed("readinessProbe") == 503
        assert re.search(r"(GET|HEAD) /", caplog.text)
        assert not re.search(r"(PUT|POST|DELETE) /", caplog.text)
        _train(place)
        assert re.search(r"PUT /", caplog.text)
        for pod in both:
            until(lambda pod=pod: pod.probed("readinessProbe") == 200)  # type: ignore[misc]
            assert pod.client.get("/health/ready").json()["model_version"] == "1"
        _end_under_load(place, both)
        for pod in both:
            lines = pod.log.read_text()
            assert "there is no setting" not in lines
            assert "can be read by" not in lines


def _is_started(pod: Running) -> bool:
    """Say whether the probe of the start is content."""
    assert pod.process.poll() is None, pod.log.read_text()
    try:
        return pod.probed("startupProbe") == 200
    except httpx.TransportError:
        return False


def _end_under_load(place: Place, both: tuple[Running, Running]) -> None:
    """Tell both to end while they are asked, and the writer is taught; see that nothing fails, and that they end."""
    loads = [Load(pod) for pod in both]
    drain_s = float(variables(pods()["orchard-serve"], place.secrets)["ORCHARD_DRAIN_S"])
    with ThreadPoolExecutor(2 * CLIENTS + 1) as clients:
        for load in loads:
            for number in range(CLIENTS):
                clients.submit(load.ask, number)
        until(lambda: all(load.answered > 100 for load in loads))
        taught = clients.submit(_teach, both[1], place)
        begun = time.monotonic()
        for pod in both:
            pod.process.send_signal(signal.SIGTERM)
        for pod in both:
            until(lambda pod=pod: pod.probed("readinessProbe") == 503, drain_s / 2)  # type: ignore[misc]
        until_then = [load.answered for load in loads]
        time.sleep(max(0.0, begun + drain_s - MARGIN_S - time.monotonic()))
        for load in loads:
            load.is_over.set()
    assert [load.failures for load in loads] == [[], []]
    assert all(load.answered > before + 100 for load, before in zip(loads, until_then, strict=True))
    assert taught.result() == 200
    for pod in both:
        grace_s = pods()[pod.name]["spec"]["terminationGracePeriodSeconds"]
        assert pod.process.wait(begun + grace_s - time.monotonic()) == 0, pod.log.read_text()


def _teach(pod: Running, place: Place) -> int:
    answer: Any = httpx.post(
        f"{pod.client.base_url}/retrain", json=HARVEST | {"activate": "always"}, headers=place.write, timeout=DEADLINE_S
    )
    return int(answer.status_code)
