"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, started and stopped here."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.running import lasting_port

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, None where it is not installed."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    return next((folder.parent for folder in sorted(DEBIAN.glob("*/bin/pg_ctl"), reverse=True)), None)


@dataclass(frozen=True)
class Cluster:
    """A running server."""

    programs: Path
    data: Path
    port: int

    def database(self) -> str:
        """Make a database and return its SQLAlchemy URL."""
        name = f"orchard_{uuid.uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def fill(self, url: str, statements: str) -> None:
        """Execute the statements of a dump in a database."""
        import psycopg  # noqa: PLC0415 - it is there where PostgreSQL is tested

        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
            connection.execute(statements.encode())

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it as if its machine had gone."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.programs / program), *words]
        done = subprocess.run(command, cwd=self.data, stdout=subprocess.DEVNULL, check=False, user=_user())
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    return USER if os.geteuid() == 0 else None


@contextmanager
def cluster(found: Path) -> Iterator[Cluster]:
    """Run a server until the end of the block."""
    port = lasting_port()
    data = Path(tempfile.mkdtemp(prefix="orchard-postgresql-"))
    if _user() is not None:
        os.chown(data, pwd.getpwnam(USER).pw_uid, -1)
    running = Cluster(found, data, port)
    try:
        subprocess.run(
            [found / "initdb", "-D", data, "-A", "trust", "-U", USER, "-N", "-E", "UTF8"],
            cwd=data,
            stdout=subprocess.DEVNULL,
            check=True,
            user=_user(),
        )
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(data)
