"""Rows that stay on a Spark cluster: its executors learn them where they are, and send back some kilobytes a part.

Through Spark Connect. The code travels as a zip; executors need NumPy, pyarrow, and the client's version of Python.
"""

import hashlib
import re
import socket
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import PACKAGE
from app.data.harvest import Harvest
from app.data.redaction import without_secrets
from app.data.tables import AS_IT_IS, NO_YIELD, Reading
from app.errors import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from app.data.parts import Learned

SCHEME, PORT = "sc://", 15_002
WAIT_S = 5.0
"""Longer than that nobody waits for the first sign of a server."""
FEW_TRIES = 2
"""Before it is known that Spark Connect is what answers, and when all is over."""
TRIES = 6
"""While it learns, which is about a minute: by itself the client would wait ten for a server that is gone."""
SENT = ("__init__.py", "errors.py", "faults.py", "model/*.py", "data/*.py")
"""The files of this package that executors are sent."""
RESULT = "sums binary, rows long, unreported long, faults string"
"""`app.data.parts.RESULT`, as Spark writes it."""
MERGERS = 4
"""Parts are merged into so many before they are sent back: of ten thousand partitions each has kilobytes a crop."""

_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
"""How a path begins that says in which file system it is: s3://…, and of Databricks dbfs:/…"""
Told = Callable[[str], None]
"""Called with how far it is, in words."""


@dataclass
class Spark:
    """What ``sql`` returns, or the files below ``path``, learned by the Spark behind ``remote``, sc://host:port."""

    remote: str = field(repr=False)
    shown: str
    sql: str | None = field(default=None, repr=False)
    path: str | None = field(default=None, repr=False)
    reading: Reading = field(default=AS_IT_IS)

    def __str__(self) -> str:
        return self.shown

    def learned(self, told: Told) -> tuple[Harvest, dict[str, int]]:
        """Let the rows be learned, and return it; and how many numbers look as if in another unit, by feature.

        Raises:
            MalformedInput, InvalidInput: the query, a column or a value is wrong; of values all are looked at before.
            StoreUnavailable: the cluster does not answer, or cannot run what it is sent.
        """
        from app.data.parts import Learned  # noqa: PLC0415 - imports pyarrow

        so_far = Learned()
        with self._session() as session:
            session.registerProgressHandler(partial(_tell, told))
            so_far.join(self._records(session))
        so_far.found.raise_if_any()
        return self._harvest(so_far), dict(so_far.mistaken)

    def _harvest(self, learned: "Learned") -> Harvest:
        sums = learned.sums
        if not sums.rows:
            raise InvalidInput(NO_YIELD)
        # Nobody knows whether a table has changed since it was read: it is never the one that is stored.
        digest = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
        return Harvest(sums.moments(), sums.rows, sums.unreported, digest, None, sums.cells(), elsewhere="Spark")

    def _records(self, session: Any) -> Any:
        from app.data.parts import check_columns, learned, put_together, used  # noqa: PLC0415 - imports pyarrow

        try:
            rows = self.rows(session)
            kept = used(rows.columns, self.reading)
            rows = rows.select(*(f"`{name.replace('`', '``')}`" for name in kept))
            check_columns(_arrow_schema(rows), self.reading)
            parts = rows.mapInArrow(partial(learned, reading=self.reading), RESULT)
            return parts.repartition(MERGERS).mapInArrow(put_together, RESULT).toArrow()
        except _failures() as error:
            raise self._in_words(error) from error

    def rows(self, session: Any) -> Any:
        """Return the rows that are asked for, as Spark has them; nothing of them is computed yet."""
        if self.sql is not None:
            # Between brackets nothing but a query is understood: by itself a command would be carried out.
            return session.sql("\n".join(("SELECT * FROM (", self.sql.strip().rstrip(";"), ")")))
        path = str(self.path) if _URI.match(str(self.path)) else str(Path(str(self.path)).absolute())
        if path.lower().endswith((".csv", ".csv.gz")):
            return session.read.csv(path, header=True, inferSchema=True)
        return session.read.parquet(path)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Open a session, with what executors need in it."""
        with _without_its_warnings():
            try:
                from pyspark.sql import SparkSession  # noqa: PLC0415 - not everywhere installed
            except ImportError as error:
                raise InvalidInput("--engine needs Spark's client: install orchard-service[spark]") from error
            _check_answers(self.remote, self.shown)
            try:
                session = SparkSession.builder.remote(self.remote).create()
            except _failures() as error:
                raise self._in_words(error) from error
            try:
                _try(session, FEW_TRIES)
                self._prepare(session)
                _try(session, TRIES)
                yield session
            finally:
                _try(session, FEW_TRIES)
                session.stop()

    def _prepare(self, session: Any) -> None:
        try:
            session.conf.get("spark.sql.session.timeZone")  # is it Spark Connect that answers?
            # The default, 10 000 rows, is a tenth of what is learned at a time.
            session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "131072")
            with tempfile.TemporaryDirectory(prefix="orchard-") as folder:
                _send_code(session, Path(folder))
        except _failures() as error:
            raise self._in_words(error) from error

    def _in_words(self, error: Exception) -> InvalidInput | StoreUnavailable:
        """Say what has failed in a line: what comes from a cluster is a page of Java."""
        from pyspark.errors import AnalysisException, ParseException  # noqa: PLC0415 - not everywhere installed

        said = str(getattr(error, "details", lambda: error)())  # of gRPC its words without their numbers
        if isinstance(error, AnalysisException | ParseException):
            return InvalidInput(f"Spark: {without_secrets(said, self.remote, self.path)}")
        if "PYTHON_VERSION_MISMATCH" in said:
            return StoreUnavailable(
                f"{self.shown}: its executors run another version of Python than this one: they must be alike"
            )
        missing = said.partition("No module named ")[2].partition("\n")[0].strip("' .")
        if missing:
            return StoreUnavailable(f"{self.shown}: the Python of its executors has no {missing}: install it there")
        return StoreUnavailable(f"{self.shown} has failed: {without_secrets(said, self.remote, self.path)}")


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """Keep from people what Spark's client warns of: what becomes of it is told as an error, or is no matter here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        warnings.filterwarnings("ignore", r"\[RETRIES_EXCEEDED\]")
        yield


def _tell(told: Told, stages: Any = (), **_others: Any) -> None:
    """Say how far Spark is: what it calls tasks are parts of the table."""
    tasks = sum(stage.num_tasks for stage in stages or ())
    if tasks:
        told(f"part {sum(stage.num_completed_tasks for stage in stages)} of {tasks}")


def address(remote: str) -> tuple[str, int]:
    """Return host and port of a server of Spark Connect.

    Raises:
        InvalidInput: it is not the URL of one.
    """
    place = remote.removeprefix(SCHEME).partition("/")[0]
    host, _, port = place.rpartition(":") if ":" in place and not place.endswith("]") else (place, "", str(PORT))
    if not remote.startswith(SCHEME) or not host or not port.isdigit():
        raise InvalidInput(f"--engine is not the URL of Spark Connect: write {SCHEME}host:{PORT}")
    return host.strip("[]"), int(port)


def _check_answers(remote: str, shown: str) -> None:
    """Look whether anybody is there: the client itself would try for ten minutes."""
    try:
        socket.create_connection(address(remote), WAIT_S).close()
    except OSError as error:
        raise StoreUnavailable(f"Spark at {shown} does not answer: {error.strerror or error}") from error


def _try(session: Any, tries: int) -> None:
    """Say how often the client tries again where nobody answers."""
    from pyspark.sql.connect.client.retries import DefaultPolicy  # noqa: PLC0415 - not everywhere installed

    session.client.set_retry_policies([DefaultPolicy(max_retries=tries)])


def _send_code(session: Any, folder: Path) -> None:
    """Send what executors import; one that has it installed, and takes nothing, is left with that."""
    from pyspark.errors import UnsupportedOperationException  # noqa: PLC0415 - not everywhere installed

    path = folder / f"{PACKAGE}.zip"
    root = Path(__file__).parent.parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for pattern in SENT for file in root.glob(pattern)):
            archive.write(file, f"{PACKAGE}/{file.relative_to(root)}")
    try:
        session.addArtifacts(str(path), pyfile=True)
    except UnsupportedOperationException:
        """Sail has no such call: its servers run in a Python where this package is installed."""


def _arrow_schema(rows: Any) -> Any:
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415 - not everywhere installed

    return to_arrow_schema(rows.schema)


def _failures() -> tuple[type[Exception], ...]:
    import grpc  # noqa: PLC0415 - comes with Spark's client
    from pyspark.errors import PySparkException  # noqa: PLC0415 - not everywhere installed

    return PySparkException, grpc.RpcError
