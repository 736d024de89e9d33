"""Rows of a database as a query returns them: a stream of Arrow, by the ADBC driver of the database.

Tested with PostgreSQL. Snowflake's and BigQuery's drivers are called as their documentation says, and untested here.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from app.data.redaction import without_secrets
from app.data.table_file import ahead
from app.data.tables import AS_IT_IS, Reading, Table
from app.errors import InvalidInput, StoreUnavailable

POSTGRESQL = "postgresql"
DRIVERS = {
    POSTGRESQL: ("adbc_driver_postgresql", "orchard-service[adbc]"),
    "snowflake": ("adbc_driver_snowflake", "adbc-driver-snowflake"),
    "bigquery": ("adbc_driver_bigquery", "adbc-driver-bigquery"),
}
"""By the URL's scheme: the module, and what is installed for it."""


@dataclass
class Query:
    """What ``sql`` returns from the database at ``url``; ``shown``: where that is, without secrets."""

    url: str = field(repr=False)
    sql: str = field(repr=False)
    shown: str
    reading: Reading = field(default=AS_IT_IS)
    at: str = ""

    def __str__(self) -> str:
        return self.shown

    def parts(self) -> Iterator[Table]:
        """Yield the rows as they come, each part read while the one before is worked on.

        Raises:
            MalformedInput, InvalidInput: the query, a column or a value is wrong; of values all are looked at before.
            StoreUnavailable: the database does not answer.
        """
        from app.data.parts import Found, check_columns, in_parts, tables, used  # noqa: PLC0415 - imports pyarrow

        found, read = Found(), 0
        with self._rows() as (rows, stop):
            kept = used(rows.schema.names, self.reading)
            check_columns(_of(rows.schema, kept), self.reading)
            batches = (batch.select(kept) for batch in self._batches(rows))
            for part in ahead(tables(in_parts(batches), self.reading, found), stop):
                self.at = f"row {read + 1:,} of the query"
                read += len(part) + part.unreported
                if not found:
                    yield part
        found.raise_if_any()

    def digest(self) -> str:
        """Return another one at each call: nobody knows whether a table has changed since it was read."""
        return hashlib.sha256(uuid.uuid4().bytes).hexdigest()

    def state(self) -> None:
        """Return nothing: a query sees one state of the database."""

    @contextmanager
    def _rows(self) -> Iterator[tuple[Any, Callable[[], None]]]:
        """Ask, and return a reader of record batches, and what ends the query."""
        scheme = self.url.partition("://")[0].partition("+")[0].lower()
        driver = _driver(scheme)
        with closing(self._connected(driver, scheme)) as connection, closing(connection.cursor()) as cursor:

            def ask() -> Any:
                if scheme == POSTGRESQL:
                    cursor.execute("SET TRANSACTION READ ONLY")  # a training reads, whatever the query says
                # A driver puts it between brackets, before whose second one a comment must end.
                cursor.execute(self.sql.strip().rstrip(";") + "\n")
                return cursor.fetch_record_batch()

            def stop() -> None:
                with suppress(driver.Error):  # it has ended by itself
                    cursor.adbc_cancel()

            try:
                rows = _beside(ask, stop)
            except driver.Error as error:
                raise InvalidInput(f"the query: {without_secrets(error, self.url)}") from error
            with closing(rows):
                yield rows, stop

    def _connected(self, driver: Any, scheme: str) -> Any:
        try:
            return driver.connect(**_arguments(self.url, scheme))
        except driver.Error as error:
            raise StoreUnavailable(f"{self.shown} does not answer: {without_secrets(error, self.url)}") from error

    def _batches(self, rows: Any) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed

        try:
            yield from rows
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(f"the query ended before its last row: {without_secrets(error, self.url)}") from error


def _beside(ask: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Ask in a thread: in the main one a driver takes Ctrl-C for itself, and says that the query has failed."""
    with ThreadPoolExecutor(1, "asking") as thread:
        try:
            return thread.submit(ask).result()
        except KeyboardInterrupt:
            stop()
            raise


def _of(schema: Any, names: list[str]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - not everywhere installed

    return pa.schema([schema.field(name) for name in names])


def _driver(scheme: str) -> Any:
    module, package = DRIVERS[scheme]
    try:
        return import_module(f"{module}.dbapi")
    except ModuleNotFoundError as error:
        raise InvalidInput(f"reading {scheme}:// needs its ADBC driver: install {package}") from error


def _arguments(url: str, scheme: str) -> dict[str, Any]:
    """Return what a driver's ``connect`` is called with."""
    _, _, rest = url.partition("://")
    if scheme == "snowflake":
        return {"uri": rest}
    if scheme == "bigquery":
        project, _, dataset = rest.partition("?")[0].strip("/").partition("/")
        options = {"adbc.bigquery.sql.project_id": project}
        return {"db_kwargs": options | ({"adbc.bigquery.sql.dataset_id": dataset} if dataset else {})}
    return {"uri": f"{scheme}://{rest}"}
