"""The profile `cluster` of compose.yaml, read without a container engine; its proxy and its bucket are tried."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import make_url

from app.settings import PREFIX, Settings
from tests.dockerfile import STAGES, environment
from tests.nginx import AROUND, path_of_programs
from tests.routes import calls
from tests.running import ROOT, lasting_port, until

PROFILE = "cluster"
REPLICAS = ("serve-1", "serve-2", "write")
Json = dict[str, Any]
FIELDS = {
    *("build", "cap_drop", "command", "configs", "depends_on", "entrypoint", "environment", "healthcheck", "image"),
    *("mem_limit", "pids_limit", "ports", "profiles", "read_only", "restart", "security_opt", "stop_grace_period"),
    "volumes",
}
"""Those of a service that this file uses, of the ones that Compose knows: another one is a slip of the pen."""
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


@pytest.fixture(scope="module")
def compose() -> Json:
    """Return the file, read."""
    content: Json = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def cluster(compose: Json) -> dict[str, Json]:
    """Return the profile's services."""
    return {name: each for name, each in compose["services"].items() if each.get("profiles") == [PROFILE]}


def _variables(service: Json) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def test_without_the_profile_nothing_of_it_starts(compose: Json, cluster: dict[str, Json]) -> None:
    """What starts by default is what it was, and needs nothing of the profile, no variable either."""
    default = set(compose["services"]) - set(cluster)
    assert default == {"orchard", "prometheus", "grafana"}
    for name in default:
        assert "profiles" not in compose["services"][name]
        assert set(compose["services"][name].get("depends_on", ())) <= default
    assert ":?" not in (ROOT / "compose.yaml").read_text()


def test_the_services_are_as_compose_knows_them(compose: Json, cluster: dict[str, Json]) -> None:
    """Their fields are ones that there are; what they wait for, mount and are handed exists; images are pinned."""
    assert set(cluster) == {*REPLICAS, "proxy", "postgresql", "s3", "bucket"}
    for name, service in cluster.items():
        assert set(service) <= FIELDS, name
        assert {"mem_limit", "pids_limit", "image"} <= set(service), name
        waited = service.get("depends_on", [])
        assert set(waited) <= set(cluster), name
        if isinstance(waited, dict):
            assert {each["condition"] for each in waited.values()} <= CONDITIONS
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
        for config in service.get("configs", []):
            assert (ROOT / compose["configs"][config["source"]]["file"]).is_file()
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), name
    assert "healthcheck" in cluster["postgresql"]


def test_only_the_proxy_is_reached_and_from_this_machine(cluster: dict[str, Json]) -> None:
    """Its port is published on 127.0.0.1, none of the others is: their passwords stand in the file."""
    assert {name: service["ports"] for name, service in cluster.items() if "ports" in service} == {
        "proxy": ["127.0.0.1:8080:8080"]
    }


def test_replicas_are_the_images_and_have_no_rights(cluster: dict[str, Json]) -> None:
    """Two serve and one writes, each from its target, on a root that is read only, and are left time to end."""
    targets = {"orchard-serve": "serve", "orchard": "whole"}
    for name in REPLICAS:
        service = cluster[name]
        built = service["build"] if isinstance(service["build"], dict) else {"context": service["build"]}
        assert built.get("target", list(STAGES)[-1]) == targets[service["image"]]
        assert service["read_only"] is True
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        settings = Settings(**_values(service))
        assert int(service["stop_grace_period"].removesuffix("s")) > settings.drain_s + settings.grace_s
    assert [cluster[name]["image"] for name in REPLICAS] == ["orchard-serve", "orchard-serve", "orchard"]


def _values(service: Json) -> dict[str, Any]:
    """Return a service's settings by their names in `Settings`; a variable of the shell counts as not set."""
    found = {name: value for name, value in _variables(service).items() if name.startswith(PREFIX)}
    return {name.removeprefix(PREFIX).lower(): value for name, value in found.items() if not value.startswith("${")}


def test_settings_are_settings_and_lead_to_the_stores(compose: Json, cluster: dict[str, Json]) -> None:
    """Each variable is one that the service knows; database, bucket and keys are those of the services beside it."""
    for name in REPLICAS:
        found = _variables(cluster[name])
        named = {variable.removeprefix(PREFIX).lower() for variable in found if variable.startswith(PREFIX)}
        assert named <= set(Settings.model_fields)
        url, made = make_url(found["ORCHARD_DATABASE_URL"]), _variables(cluster["postgresql"])
        assert url.host in cluster
        assert (url.username, url.password, url.database) == (
            made["POSTGRES_USER"],
            made["POSTGRES_PASSWORD"],
            made["POSTGRES_DB"],
        )
        bucket = _variables(cluster["bucket"])
        host = httpx.URL(found["AWS_ENDPOINT_URL"]).host
        assert host in cluster
        assert bucket["BUCKET"] == f"{found['AWS_ENDPOINT_URL']}/{httpx.URL(found['ORCHARD_MODEL_STORE']).host}"
        assert bucket["KEYS"] == f"{found['AWS_ACCESS_KEY_ID']}:{found['AWS_SECRET_ACCESS_KEY']}"
        assert f"-s3.port={httpx.URL(found['AWS_ENDPOINT_URL']).port}" in cluster[host]["command"]
        identities = yaml.safe_load((ROOT / compose["configs"]["cluster_s3"]["file"]).read_text())["identities"]
        assert bucket["KEYS"] in [f"{key['accessKey']}:{key['secretKey']}" for key in identities[0]["credentials"]]


def test_the_command_that_is_told_names_what_there_is(cluster: dict[str, Json]) -> None:
    """At the top of the file and in deploy/README.md: the profile, the proxy, the writer, the token."""
    for path in ("compose.yaml", "deploy/README.md"):
        told = re.findall(r"docker compose --profile (\w+) (?:up|run)([^\n]*)", (ROOT / path).read_text())
        assert {profile for profile, _ in told} == {PROFILE}
        assert [words.split()[-1] for _, words in told[:1]] == ["proxy"]
        assert set(told[1][1].split()) & set(cluster) == {"write"}
        assert "export ORCHARD_TOKEN=" in (ROOT / path).read_text()
    assert all(_variables(cluster[name])["ORCHARD_TOKEN"] == "${ORCHARD_TOKEN:-}" for name in REPLICAS)


@contextmanager
def _named(name: str, status: int = 200) -> Iterator[int]:
    """Serve this name, or only a status, on a free port, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - as they are called

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _proxy(compose: Json, folder: Path, upstreams: dict[str, int]) -> Iterator[httpx.Client]:
    """Run nginx with the profile's file, in which only addresses are others, and yield a client of it."""
    program = shutil.which("nginx", path=path_of_programs())
    assert program is not None
    port = lasting_port()
    text = (ROOT / compose["configs"]["cluster_nginx"]["file"]).read_text()
    listened = environment("serve")["ORCHARD_PORT"]
    addresses = {f"server {name}:{listened};": f"server 127.0.0.1:{there};" for name, there in upstreams.items()}
    for old, new in [("listen 8080;", f"listen 127.0.0.1:{port};"), *addresses.items()]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "orchard.conf").write_text(text)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "stderr.log").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            until(lambda: _answers(client))
            yield client
        finally:
            process.terminate()
            process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code > 0
    except httpx.TransportError:
        return False


needs_nginx = pytest.mark.skipif(
    shutil.which("nginx", path=path_of_programs()) is None, reason="nginx is not installed"
)


@pytest.mark.long
@needs_nginx
def test_the_proxy_leads_to_the_writer_what_changes_something(compose: Json, tmp_path: Path) -> None:
    """Every call of the service, in a real nginx: the file is valid, and decides as the Ingress of Kubernetes does."""
    with (
        _named("serve") as serve,
        _named("write") as write,
        _proxy(compose, tmp_path, {"serve-1": serve, "serve-2": serve, "write": write}) as client,
    ):
        led = {(method, path): client.request(method, path).text for method, path in calls()}
    assert led == {call: "write" if is_write else "serve" for call, is_write in calls().items()}


@pytest.mark.long
@needs_nginx
def test_a_replica_that_is_not_ready_costs_no_answer(compose: Json, tmp_path: Path) -> None:
    """A prediction that one replica cannot answer is asked of the other, whether it says so or does not answer."""
    gone = lasting_port()
    with _named("unready", 503) as unready, _named("serve") as serve:
        for number, broken in enumerate((unready, gone)):
            folder = tmp_path / str(number)
            folder.mkdir()
            with _proxy(compose, folder, {"serve-1": broken, "serve-2": serve, "write": gone}) as client:
                asked = [client.post("/predict", content=b"{}") for _ in range(6)]
                assert [(answer.status_code, answer.text) for answer in asked] == [(200, "serve")] * 6
                assert client.post("/retrain", content=b"{}").status_code == 502


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_bucket_is_made_once(cluster: dict[str, Json], caplog: pytest.LogCaptureFixture) -> None:
    """Its script makes it on a server that takes S3's signatures, and leaves one that is there as it is."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it takes seconds

    program, option, script = cluster["bucket"]["entrypoint"]
    port = lasting_port()
    variables = os.environ | _variables(cluster["bucket"])
    variables["BUCKET"] = variables["BUCKET"].replace("http://s3:8333", f"http://127.0.0.1:{port}")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    caplog.set_level("INFO")
    try:
        assert httpx.get(variables["BUCKET"]).status_code == 404
        for _ in range(2):
            command = [program, option, script.replace("$$", "$")]
            done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert httpx.get(variables["BUCKET"]).status_code == 200
        assert len(re.findall(r"PUT /orchard HTTP/1.1.* 200", caplog.text)) == caplog.text.count("PUT ") == 1
    finally:
        server.stop()
