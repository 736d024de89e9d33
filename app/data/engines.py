"""Where rows are learned that are no single file: here, from a folder, storage or a database, or on a Spark cluster."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from app.data.folder import PACKED, QUERY, REMOTE, WILD, Folder
from app.data.provenance import SOURCE_LENGTH
from app.data.query import DRIVERS, Query
from app.data.spark import SCHEME, Spark, address
from app.data.table_file import TableFile
from app.data.tables import AS_IT_IS, Reading
from app.errors import InvalidInput

Elsewhere = Folder | Query | Spark


def source_of(
    data: str | None, query: str | None = None, engine: str | None = None, reading: Reading = AS_IT_IS
) -> TableFile | Elsewhere:
    """Return what is asked for; nothing is opened yet.

    ``data``: a file, a folder, a glob, or the URL of storage or a database. ``query``: in SQL, to a database or an
    engine. ``engine``: the URL of Spark Connect.

    Raises:
        InvalidInput: these do not go together, or a URL is none that is known.
    """
    for option, value in (("--data", data), ("--query", query), ("--engine", engine)):
        if value is not None and not value.strip():
            raise InvalidInput(f"{option} is empty: leave it out, or say what is meant")
    if engine is not None:
        return _on_spark(data, query, engine, reading)
    if data is None:
        raise InvalidInput(
            "--query: say what is asked: --data postgresql://… for a database, --engine sc://… for Spark"
        )
    scheme = _scheme(data)
    if scheme in DRIVERS:
        if query is None:
            raise InvalidInput(f"{redacted(data)} is a database: say which rows by {QUERY}")
        return Query(data, query, redacted(data), reading)
    if query is not None:
        raise InvalidInput(
            f"--query is asked of a database (--data postgresql://…) or of an engine (--engine sc://…), not of "
            f"{redacted(data)}"
        )
    if scheme in REMOTE:
        return Folder(data, redacted(data), reading)
    if scheme:
        known = ", ".join(f"{name}://" for name in (*REMOTE[:3], *DRIVERS))
        raise InvalidInput(f"{scheme}:// is not read here: write a path, or one of {known}")
    return TableFile(Path(data), reading) if _is_one(data) else Folder(data, data, reading)


def _is_one(place: str) -> bool:
    """Say whether a path is that of one file, which need not be there; one that is packed is read as those of folders.

    Raises:
        InvalidInput: nobody may look there, or no path is so long.
    """
    path = Path(place)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise InvalidInput(f"{place[:SOURCE_LENGTH]} cannot be read: {error.strerror}") from error
    if is_file:
        return not place.lower().endswith(PACKED)
    return not is_folder and not any(sign in place for sign in WILD)


def _on_spark(data: str | None, query: str | None, engine: str, reading: Reading) -> Spark:
    address(engine)
    if (data is None) == (query is None):
        given = "both are given" if data else "neither is given"
        raise InvalidInput(f"--engine reads either a path (--data) or a --query: {given}")
    if data is not None and _scheme(data) in DRIVERS:
        raise InvalidInput(f"--engine: Spark reads a table by --query; {redacted(data)} is read here, without --engine")
    return Spark(engine, redacted(engine), query, data, reading)


def name_of(source: TableFile | Elsewhere) -> str:
    """Return what is told of where rows come from: nothing that is secret, and as much as fits."""
    if isinstance(source, TableFile):
        return source.path.name
    name = str(source)
    if isinstance(source, Spark) and source.path is not None:
        name += f", {redacted(source.path)}"
    sql = getattr(source, "sql", None)
    if sql is not None:  # its text may hold what is nobody's business
        name += f", query {hashlib.sha256(sql.encode()).hexdigest()[:12]}"
    return name[:SOURCE_LENGTH]


def redacted(place: str) -> str:
    """Return a path, or a URL without passwords, tokens and options.

    Raises:
        InvalidInput: a URL is written so that what is secret in it cannot be told from the rest.
    """
    scheme = _scheme(place)
    if not scheme:
        return place
    try:
        parts = urlsplit(place.partition(";")[0] if place.startswith(SCHEME) else place)
        is_cut_wrong = "@" in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        is_cut_wrong = True
    if is_cut_wrong:
        raise InvalidInput(f"{scheme}://…: write a /, @, ? or # in a password as %2F, %40, %3F or %23")
    user, is_there, host = parts.netloc.rpartition("@")
    keeps = is_there and scheme not in REMOTE[:1]
    # What stands before @ is a user and a password, in s3:// a key and its secret.
    return f"{scheme}://{user.partition(':')[0] + '@' if keeps else ''}{host}{parts.path.rstrip('/')}"


def _scheme(place: str) -> str:
    """Return a URL's scheme, without the driver that may stand behind it; nothing for a path."""
    scheme, separator, _ = place.partition("://")
    return scheme.partition("+")[0].lower() if separator else ""
