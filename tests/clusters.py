"""What stands for a warehouse in tests: object storage by moto, Sail in place of Spark, and a real Spark."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SPARK_HOME = "ORCHARD_TESTS_SPARK_HOME"
"""Where pyspark 4.3.0 is installed, in a Python of its own: it and Spark's client cannot be in one."""
NEEDED = "ORCHARD_TESTS_NEED_SPARK"


# Where the main module has no file, as in a worker of pytest-xdist, PySpark believes that its own doctests are run.
vars(sys.modules["__main__"]).setdefault("__file__", __file__)


@contextmanager
def s3() -> Iterator[str]:
    """Run a stand-in for S3, and return its address; what reads the environment finds it until the end of the block."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - half a second, by those who need it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield told["AWS_ENDPOINT_URL"]
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()


@contextmanager
def sail() -> Iterator[str]:
    """Run Sail in this process, and return the URL of its Spark Connect."""
    from pysail.spark import SparkConnectServer  # noqa: PLC0415 - by those who need it

    with warnings.catch_warnings():
        # PySpark says of itself that it does not fully support pandas 3, whose frames nobody here uses.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        import pyspark.sql.connect.session  # noqa: F401, PLC0415

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    try:
        yield f"sc://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def sail_process(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run Sail in a process that may be ended at any time; ``folder``: of its log."""
    port = _free_port()
    command = [sys.executable, "-m", "pysail", "spark", "server", "--ip", "127.0.0.1", "--port", str(port)]
    with (folder / "spark.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_for(port, [process], folder)
            yield f"sc://127.0.0.1:{port}", process
        finally:
            process.kill()


@dataclass(frozen=True)
class Spark:
    """A standalone master with two workers, and Spark Connect: ``url``."""

    url: str


def spark_home() -> Path | None:
    """Return the folder of a pyspark with its JVM side, None where it is not installed."""
    home = os.environ.get(SPARK_HOME)
    return Path(home) if home and shutil.which("java") else None


@contextmanager
def spark(home: Path, folder: Path) -> Iterator[Spark]:
    """Run a cluster in ``folder`` until the end of the block; ``home``: of pyspark, whose Python executors run."""
    master, connect = _free_port(), _free_port()
    python = home.parents[3] / "bin" / "python"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPARK"))},
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": str(python),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    run = str(home / "bin" / "spark-class")
    classes = "org.apache.spark.deploy"
    where = f"spark://127.0.0.1:{master}"
    local = ("--host", "127.0.0.1", "--webui-port", "0")
    worker = [run, f"{classes}.worker.Worker", *("--cores", "1", "--memory", "1g"), *local]
    commands: list[Sequence[str]] = [
        [run, f"{classes}.master.Master", "--port", str(master), *local],
        [*worker, where],
        [*worker, where],
        [
            str(home / "bin" / "spark-submit"),
            *("--master", where, "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            *("--conf", f"spark.connect.grpc.binding.port={connect}", "--conf", "spark.ui.enabled=false"),
            *("--conf", "spark.driver.memory=1g", "--conf", "spark.executor.memory=1g"),
            *("--conf", f"spark.sql.warehouse.dir={folder / 'warehouse'}"),
            "spark-internal",
        ],
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "spark.log").open("wb") as log:
            for command in commands:
                running.append(
                    subprocess.Popen(
                        command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
                    )
                )
                if len(running) == 1:
                    _wait_for(master, running, folder)
            _wait_for(connect, running, folder)
        yield Spark(f"sc://127.0.0.1:{connect}")
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int, running: list[subprocess.Popen[bytes]], folder: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(process.poll() is not None for process in running):
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.stderr.write((folder / "spark.log").read_text()[-4_000:])
    raise AssertionError(f"nothing listens on port {port}")
