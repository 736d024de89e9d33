"""`orchard train` where the rows are: a folder, a database, Spark Connect; what is told, stored, and never stored."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from app.cli.commands import CLI
from scripts.bench.panel import harvests, write_folder
from tests import clusters
from tests.postgresql import Cluster

pytestmark = pytest.mark.filterwarnings(
    # PySpark says of itself that it does not fully support pandas 3, whose frames nobody here uses.
    "ignore:PySpark does not yet fully support pandas:FutureWarning"
)
SECRET = "hidden-word"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store that does not exist yet, which commands use."""
    monkeypatch.setenv("ORCHARD_MODEL_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("ORCHARD_URL", raising=False)
    return tmp_path / "store"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two files."""
    found = tmp_path_factory.mktemp("rows") / "good"
    write_folder(found, 600, 2)
    return found


@pytest.fixture(scope="module")
def sail() -> Iterator[str]:
    """Run Sail, which speaks Spark Connect."""
    with clusters.sail() as url:
        yield url


def _train(*words: str) -> Result:
    return CliRunner().invoke(CLI, ["train", *words])


def _everything(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file())


def _sources(text: str) -> list[str]:
    return [batch["source"] for batch in json.loads(text)["batches"]]


def _assert_nothing_is_written(store: Path) -> None:
    """See that there is no version, no line of the log, and no batch."""
    assert not [path for name in ("versions", "log") for path in (store / name).glob("*")]
    listed = CliRunner().invoke(CLI, ["observations", "batches", "--json"])
    assert _sources(listed.stdout) == []


def test_a_folder_is_learned_file_by_file(store: Path, folder: Path) -> None:
    """With details it says how far reading is; the version is live, and the second time nothing new is stored."""
    first = _train("--data", str(folder), "--details")
    assert first.exit_code == 0, first.stderr
    assert "reading file 2 of 2: part-00001.parquet" in first.stdout
    assert "version 1 (live)" in first.stdout
    assert _train("--data", str(folder / "*.parquet")).exit_code == 0
    listed = CliRunner().invoke(CLI, ["observations", "batches", "--json"])
    assert _sources(listed.stdout) == [str(folder)]
    assert store.exists()


def test_a_database_is_learned_and_its_password_is_nowhere(store: Path, postgresql: Cluster) -> None:
    """A query is learned; neither what is printed nor what is stored has the password or the query's text."""
    import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415 - by those who need it

    url = postgresql.database().replace("+psycopg", "")
    with driver.connect(url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("harvests", harvests(300, 1).to_reader(), mode="create")
        connection.commit()
    secret = url.replace("postgres@", f"postgres:{SECRET}@")
    done = _train("--data", secret, "--query", f"SELECT *, '{SECRET}' AS note FROM harvests", "--crops", "mango,orange")  # noqa: S608 - a query of a test
    assert done.exit_code == 0, done.stderr
    wrong = _train("--data", secret.replace("/orchard", "/none"), "--query", "SELECT 1")
    assert wrong.exit_code == 4
    assert "does not answer" in wrong.stderr
    assert SECRET not in done.stdout + done.stderr + wrong.stdout + wrong.stderr
    assert SECRET.encode() not in _everything(store)
    assert url.encode() in _everything(store)


def test_spark_learns_and_the_version_is_live(store: Path, folder: Path, sail: str) -> None:
    """Rows that Spark has learned make a version like any other."""
    done = _train("--data", f"{folder}/*.parquet", "--engine", f"{sail}/;user_id={SECRET}", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["activated"]
    assert any("learned on Spark" in said for said in report["left_out"])
    assert SECRET.encode() not in _everything(store)


@pytest.mark.parametrize("way", ["folder", "spark"])
def test_faults_are_named_and_nothing_is_written(
    way: str, store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Faults are exit code 2, counted and named; there is no version, no batch and no line of the log after it."""
    rows = harvests(50, 3)
    rows = rows.set_column(2, "temperature", pa.array([999.0] * 50))
    (tmp_path / "bad").mkdir()
    parquet.write_table(rows, tmp_path / "bad" / "a.parquet")
    engine = ["--engine", request.getfixturevalue("sail")] if way == "spark" else []
    done = _train("--data", str(tmp_path / "bad" / ("*.parquet" if engine else "")), *engine)
    assert done.exit_code == 2
    assert "orchard: 50 values cannot be learned: 50 of temperature (out of bounds); nothing is learned" in done.stderr
    assert done.stderr.count("999 is above 140 °F") == 10
    _assert_nothing_is_written(store)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--query", "SELECT 1"), 2, "--query: say what is asked"),
        (("--data", "postgresql://u:hidden-word@h/d"), 2, "postgresql://u@h/d is a database"),
        (("--engine", "sc://h"), 2, "neither is given"),
        (("a.csv", "--engine", "sc://127.0.0.1:9"), 4, "Spark at sc://127.0.0.1:9 does not answer"),
        (("s3://k:hidden-word@b/p", "--data", "x.csv"), 2, "s3://b/p and --data x.csv: give one table"),
        (("--data", "/no/where/*.parquet"), 2, "/no/where/*.parquet cannot be read"),
    ],
)
def test_what_is_wrong_is_told(store: Path, words: tuple[str, ...], code: int, says: str) -> None:
    """Each wrong combination, and what is not there, in words and by its exit code; no secret is printed."""
    done = _train(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert SECRET not in done.stderr
    _assert_nothing_is_written(store)
