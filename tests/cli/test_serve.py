"""`orchard serve`: what it refuses before it begins, whom it waits for, and what it leaves behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.cli.serve import unknown_settings
from app.data.reach import check_url, silence
from app.errors import InvalidInput
from app.serving.database import DatabaseWatch
from tests.postgresql import Cluster
from tests.running import (
    DEADLINE_S,
    HARVEST,
    ROOT,
    Running,
    await_taken,
    children,
    connections,
    copy_store,
    environment,
    orchard,
    serving,
    until,
)

COLUMNS = {"temperature": [75.0] * 20_000, "rainfall": [80.0] * 20_000, "humidity": [55.0] * 20_000}


@contextmanager
def _listening() -> Iterator[int]:
    """Hold a port that somebody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def _lives(process: int) -> bool:
    """Say whether a process is at work; one that has ended may wait for its parent to take notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _all_children(process: int) -> list[int]:
    """Return the ids of a process's children, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_all_children(child)]
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(store: Path, port: int, log: Path, **settings: str) -> subprocess.Popen[bytes]:
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment(store, **settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    """Exit code 4 and one line, before a first model is trained."""
    with _listening() as port:
        done = orchard(tmp_path / "store", "serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"orchard: 127.0.0.1:{port} is in use\n"
    assert not (tmp_path / "store").exists()


def test_an_address_of_others_is_refused(tmp_path: Path) -> None:
    """An address that this machine does not have, and a name that is none."""
    done = orchard(tmp_path / "store", "serve", "--host", "192.0.2.1", "--port", "0")
    assert (done.returncode, done.stderr) == (
        4,
        "orchard: 192.0.2.1:0 cannot be listened on: this machine has no such address\n",
    )
    done = orchard(tmp_path / "store", "serve", "--host", "no name", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("orchard: ORCHARD_HOST: 'no name' is no address to listen on: ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_it_listens_on_all_addresses_of_its_name(trained: Path, tmp_path: Path, host: str) -> None:
    """A name may have two; port 0 is one free port, and the log says which."""
    log = tmp_path / "log"
    store = copy_store(trained, tmp_path / "store")
    server = _start(store, 0, log, ORCHARD_HOST=host, ORCHARD_LOG_FORMAT="json")
    try:
        until(lambda: "startup complete" in log.read_text())
        lines = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        ports = {line.split(" (")[0].rpartition(":")[2] for line in lines if line.startswith("listening on http://")}
        (port,) = ports
        assert httpx.get(f"http://{host}:{port}/health/ready").status_code == 200
    finally:
        server.terminate()
        assert server.wait(DEADLINE_S) == 0


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_fails_says_so(trained: Path, tmp_path: Path, workers: str) -> None:
    """With several workers too the exit code is that of what is not available: the token file holds none."""
    store = copy_store(trained, tmp_path / "store")
    (store / "token").write_text("# nobody\n")
    done = orchard(store, "serve", "--port", "0", ORCHARD_WORKERS=workers)
    assert done.returncode == 4
    assert "token file holds no token" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TOKEN", "a", "has fewer than 16 characters and could be guessed"),
        ("READ_TOKEN", "fifteen letters", "has fewer than 16 characters and could be guessed"),
        ("TOKEN", "a token with an ä in it", "has characters that no request's header can carry"),
        ("CORS_ORIGINS", "localhost:3000/", "'localhost:3000/' is not an origin"),
        ("CORS_ORIGINS", "https://farm.example/app", "did you mean https://farm.example?"),
        ("HOSTS", "http://farm.example", "is not a host name"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "'10.0.0.1/8' is not an IP address or network"),
        ("TRUSTED_PROXIES", "*", "'*' is not an IP address or network"),
        ("ROOT_PATH", "orchard/", "'orchard/' is not a path prefix: did you mean /orchard?"),
        ("ROOT_PATH", "/a/../b", "'/a/../b' is not a path prefix such as /orchard"),
        ("ROOT_PATH", "/a b", "'/a b' is not a path prefix such as /orchard"),
        ("ROOT_PATH", "https://farm.example/orchard", "'https://farm.example/orchard' is not a path prefix such as"),
        ("ROOT_PATH", "/", "'/' is not a path prefix such as /orchard"),
        ("ROOT_PATH", "/models/orchard", "'/models/orchard' begins like this service's own paths"),
        ("KEEP_ALIVE_S", "0", "Input should be greater than 0"),
        ("DATABASE_URL", "foo", "this is not the URL of a database"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/d", "this is not the URL of a database"),
        ("DATABASE_URL", "oracel://u:hunter2@h/d", "there is no such kind of database: 'oracel'"),
        (
            "DATABASE_URL",
            "postgresql+psycopg2://u:hunter2@h/d",
            "write postgresql+psycopg://…, and install orchard-service[postgres]",
        ),
        ("MODEL_STORE", "https://farm.example/models", "of the scheme s3, gs, az, and not of 'https'"),
        ("MODEL_STORE", "s3://key:hunter2@bucket", "keys and endpoints belong into the environment"),
        ("MODEL_STORE", "S3://bucket/", "did you mean s3://bucket?"),
        ("TOKEN_FILE", "/nowhere/token", "/nowhere/token cannot be read: No such file or directory"),
        ("DATABASE_URL", "mysql+pymysql://u:hunter2@h/d", "the driver 'pymysql' is not installed"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    """Exit code 2, before anything is made, and no secret is repeated."""
    done = orchard(tmp_path / "store", "serve", "--port", "0", **{f"ORCHARD_{name}": value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"orchard: ORCHARD_{name}: ")
    assert message in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_missing_driver_is_named() -> None:
    """Where psycopg is not installed, the message says what to install."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from app.data.reach import check_url\n"
        "from app.errors import InvalidInput\n"
        "try: check_url('postgresql://u:hunter2@h/d')\n"
        "except InvalidInput as error: print(error.detail)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "the driver 'psycopg' is not installed: install orchard-service[postgres]\n"
    check_url("postgresql+psycopg://u:p@h/d")
    check_url("sqlite:////tmp/observations.db")
    with pytest.raises(InvalidInput, match="asynchronous"):
        check_url("postgresql+asyncpg://u:p@h/d")


def test_a_misspelt_setting_is_warned_of(trained: Path, tmp_path: Path) -> None:
    """With the nearest name, once; what `serve` itself hands to its workers is none, and an empty one is not set."""
    store = copy_store(trained, tmp_path / "store")
    wrong = {"ORCHARD_WORKER": "4", "ORCHARD_FOO": "1", "ORCHARD_TOKEN": "", "ORCHARD_DATABASE_URL": ""}
    with serving(store, "--workers", "2", ORCHARD_LOG_FORMAT="json", **wrong) as running:
        assert running.client.post("/models/1/activate", headers=running.write).status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "store.log").read_text().splitlines()]
    warned = [line["event"] for line in lines if line["level"] == "warning"]
    assert warned == [
        "there is no setting ORCHARD_FOO",
        "there is no setting ORCHARD_WORKER: did you mean ORCHARD_WORKERS?",
    ]


def test_known_settings_are_no_surprise() -> None:
    """Names are known in either case; others' variables are nobody's business here."""
    environment = {"orchard_port": "1", "ORCHARD_SHARED_FOLDER": "x", "ORCHARDS": "1", "PATH": "x"}
    assert list(unknown_settings(environment)) == []


def test_an_empty_token_is_none(trained: Path, tmp_path: Path) -> None:
    """The command line sends none, and says that one is needed, rather than half a header."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        settings = {"ORCHARD_URL": str(running.client.base_url), "ORCHARD_TOKEN": ""}
        assert orchard(tmp_path, "models", **settings).returncode == 0
        refused = orchard(tmp_path, "activate", "1", **settings)
        assert refused.returncode == 2
        assert "this call needs the header Authorization" in refused.stderr


def _answer(connection: socket.socket) -> bytes:
    """Return a whole answer: its head and its body may come apart."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(4_096)
    return received


@pytest.mark.long
def test_idle_connections_are_kept(trained: Path, tmp_path: Path) -> None:
    """By default far longer than five seconds; ORCHARD_KEEP_ALIVE_S says for how long."""
    ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    store = copy_store(trained, tmp_path / "store")
    for settings, closes in (({}, False), ({"ORCHARD_KEEP_ALIVE_S": "1"}, True)):
        with (
            serving(store, **settings) as running,
            socket.create_connection((running.client.base_url.host, running.client.base_url.port or 0)) as connection,
        ):
            connection.settimeout(7)
            connection.sendall(ask)
            assert _answer(connection).startswith(b"HTTP/1.1 200 OK")
            if closes:
                assert connection.recv(4_096) == b""
                continue
            with pytest.raises(TimeoutError):
                connection.recv(4_096)
            connection.sendall(ask)
            assert _answer(connection).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_outlives_the_main_process(trained: Path, tmp_path: Path, workers: str) -> None:
    """After kill -9 workers, trainers and helpers are gone, busy or not, the port is free, and a start cleans up."""
    store, port, temporary = copy_store(trained, tmp_path / "store"), _free_port(), tmp_path / "tmp"
    for folder in ("orchard-somebody-elses", "orchard-"):
        (temporary / folder).mkdir(parents=True)
    settings = {"ORCHARD_WORKERS": workers, "TMPDIR": str(temporary)}
    server = _start(store, port, tmp_path / "log", **settings)
    until(lambda: _answers(port))
    write = {"Authorization": f"Bearer {(store / 'token').read_text().strip()}"}
    url = f"http://127.0.0.1:{port}"
    assert httpx.post(f"{url}/retrain", json={"dry_run": True}, headers=write, timeout=30).status_code == 200
    assert httpx.post(f"{url}/predict", json=COLUMNS, timeout=30).status_code == 200
    (trainer,) = children(server.pid, "app.training")
    found = _all_children(server.pid)
    assert len(found) >= 2 + 2 * (workers == "2")
    os.kill(trainer, signal.SIGSTOP)  # it is at work, and does not look whether anybody listens
    with ThreadPoolExecutor(1) as threads, httpx.Client(base_url=url) as client:
        running = Running(server, client, store, write)
        before = connections(running)
        busy = threads.submit(httpx.post, f"{url}/retrain", json=HARVEST, headers=write, timeout=30)
        await_taken(running, before)
        server.kill()
        server.wait()
        assert isinstance(busy.exception(), httpx.TransportError)
    until(lambda: not any(map(_lives, found)), 10)
    with socket.create_server(("127.0.0.1", port)):
        """The port is free."""
    left = {path.name for path in temporary.glob("orchard-*")}
    assert len(left) == 2 + (workers == "2")
    with serving(store, **settings) as one, serving(store, **settings) as other:
        folders = {path.name for path in temporary.glob("orchard-*")}
        assert len(folders) == 2 + 2 * (workers == "2")
        assert len(folders & left) == 2
        assert one.version() == other.version() == "1"
    assert {path.name for path in temporary.glob("orchard-*")} == {"orchard-somebody-elses", "orchard-"}


def test_a_process_ends_with_its_parent_where_the_kernel_does_not_help() -> None:
    """Then a thread looks; and a process whose parent had ended before it could ask ends at once."""
    child = (
        "import os, sys, time; from app import parent\n"
        "parent._asked_of_the_kernel = lambda: False\n"
        "parent.end_with_parent(os.getppid() if sys.argv[1] == 'lives' else 0 or 2**22)\n"
        "print('lives', flush=True); time.sleep(60)"
    )
    middle = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}, 'lives'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", middle], cwd=ROOT, capture_output=True, text=True, check=True)
    until(lambda: not _lives(int(done.stdout)), 20)
    late = subprocess.run([sys.executable, "-c", child, "gone"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (late.returncode, late.stdout) == (1, "")


@pytest.mark.long
def test_a_database_that_is_out_of_reach_is_told(postgresql: Cluster, trained: Path, tmp_path: Path) -> None:
    """At the start and later, in the details of readiness and as a gauge, without place or password; and its return."""
    url = postgresql.database().replace("postgres@", "postgres:hunter2@")
    store = copy_store(trained, tmp_path / "store")
    postgresql.stop()
    try:
        with serving(store, ORCHARD_DATABASE_URL=url) as running:

            def details() -> str:
                return " ".join(running.client.get("/health/ready").json()["details"])

            until(details)
            assert details() == (
                "the observations' database does not answer: predictions go on, uploads and retrains fail"
            )
            assert "\norchard_database_up 0.0\n" in running.client.get("/metrics").text
            assert running.client.get("/health/ready").status_code == 200
            postgresql.start()
            until(lambda: not details())
            assert "\norchard_database_up 1.0\n" in running.client.get("/metrics").text
            postgresql.stop()
            until(details)
    finally:
        postgresql.start()
    log = (tmp_path / "store.log").read_text()
    assert log.count("does not answer: ") == 2
    assert log.count("answers again") == 1
    assert "hunter2" not in log


@pytest.mark.long
def test_a_silent_database_holds_up_nobody(trained: Path, tmp_path: Path) -> None:
    """One that takes connections and says nothing: the service starts, answers, and tells of it."""
    with _listening() as port:
        url = f"postgresql+psycopg://user:hunter2@127.0.0.1:{port}/orchard"
        with serving(copy_store(trained, tmp_path / "store"), ORCHARD_DATABASE_URL=url) as running:
            until(lambda: running.client.get("/health/ready").json()["details"])
            assert running.client.get("/metrics").status_code == 200
    assert "hunter2" not in (tmp_path / "store.log").read_text()


def test_a_watch_outlives_whatever_it_meets(tmp_path: Path) -> None:
    """A file that is none is a fault, one not there yet is none; an unknown error is a fault and not the end."""
    assert silence(f"sqlite:///{tmp_path / 'none.db'}") is None
    (tmp_path / "odd ?#%.db").write_bytes(b"no database" * 1_000)
    assert silence(f"sqlite:///{tmp_path / 'odd ?#%.db'}") == "file is not a database"
    asked: list[str] = []

    def broken(url: str) -> str | None:
        asked.append(url)
        raise RuntimeError

    watch = DatabaseWatch("url", broken)
    assert watch.fault == ""
    watch.start()
    until(lambda: watch.fault, 20)
    watch.stop()
    assert asked == ["url"]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize(("open_to_all", "typed"), [(True, []), (False, ["wrong", "right"]), (False, [None])])
def test_the_page_asks_for_the_token(tmp_path: Path, open_to_all: bool, typed: list[str | None]) -> None:
    """Where reading is closed it asks until the token is right or nobody answers, and uses it for the calls, too."""
    from app.api.openapi.page import START  # noqa: PLC0415 - needed here alone

    script = tmp_path / "start.js"
    script.write_text(
        f"const typed = {json.dumps(typed)}; const log = [];\n"
        "globalThis.window = { prompt: () => typed.shift(), location: { href: 'http://x/orchard/docs#/predict' } };\n"
        "globalThis.fetch = async (url, options = {}) => {\n"
        f"  const isRight = {json.dumps(open_to_all)} || options.headers?.Authorization === 'Bearer right';\n"
        "  return { status: isRight ? 200 : 401, json: async () => ({ openapi: '3.1.0' }) };\n"
        "};\n"
        "globalThis.SwaggerUIBundle = (options) => {\n"
        "  log.push(options.spec.openapi, options.spec.servers[0].url); setTimeout(options.onComplete);\n"
        "  return { preauthorizeApiKey: (name, token) => log.push(name, token) };\n"
        "};\n"
        f"{START}\nsetTimeout(() => console.log(JSON.stringify(log)), 200);\n"
    )
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    drawn = ["3.1.0", "/orchard"]  # calls go to where the page is, below whatever prefix
    shown = drawn if open_to_all else [*drawn, "HTTPBearer", "right"] if typed[-1] else []
    assert json.loads(done.stdout) == shown
