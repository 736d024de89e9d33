"""The same rows by every way: a file, a folder, a glob, s3://, PostgreSQL by ADBC, Spark Connect; and their faults."""

# ruff: noqa: S608 - queries of tests are put together of folders that tests have made

import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, fs, parquet

from app.data import harvest, spark
from app.data.engines import Elsewhere, name_of, redacted, source_of
from app.data.folder import Folder
from app.data.harvest import Harvest
from app.data.spark import Spark
from app.data.table_file import TableFile
from app.data.tables import Reading
from app.errors import InputError, InvalidInput, MalformedInput, OrchardError, StoreUnavailable
from scripts.bench.panel import harvests, write, write_folder
from tests import clusters
from tests.postgresql import Cluster

pytestmark = pytest.mark.filterwarnings(
    # PySpark says of itself that it does not fully support pandas 3, whose frames nobody here uses.
    "ignore:PySpark does not yet fully support pandas:FutureWarning"
)
ROWS, FILES = 4_000, 4
BAD = {"temperature": 999.0, "mango": -1.0}


@dataclass(frozen=True)
class Places:
    """The same rows as a file and as a folder, and the rows with faults as a folder."""

    file: Path
    folder: Path
    faulty: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Write the rows."""
    found = Places(*(tmp_path_factory.mktemp("rows") / name for name in ("one.parquet", "good", "faulty")))
    write_folder(found.folder, ROWS, FILES)
    write_folder(found.faulty, ROWS, FILES)
    parts = [parquet.read_table(path) for path in sorted(found.folder.iterdir())]
    parquet.write_table(pa.concat_tables(parts), found.file)
    for number in (1, 2):
        rows = parts[number]
        for name, value in BAD.items():
            column = rows[name].to_pylist()
            column[7 : 7 + 12 * number] = [value] * 12 * number
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(column))
        parquet.write_table(rows, found.faulty / f"part-{number:05}.parquet")
    (found.folder / "_SUCCESS").touch()
    (found.folder / ".part-00000.parquet.crc").write_bytes(b"crc")
    (found.folder / "empty.parquet").touch()
    return found


@pytest.fixture(scope="module")
def s3(places: Places) -> Iterator[str]:
    """Put the folders into a bucket of a stand-in for S3."""
    with clusters.s3() as endpoint:
        storage = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
        storage.create_dir("rows")
        for folder in (places.folder, places.faulty):
            fs.copy_files(str(folder), f"rows/{folder.name}", destination_filesystem=storage)
        yield "s3://rows"


@pytest.fixture(scope="module")
def database(places: Places, postgresql: Cluster) -> str:
    """Put both into tables of a database, and return its URL, with a password that is not asked for."""
    import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415 - by those who need it

    url = postgresql.database().replace("+psycopg", "")
    with driver.connect(url) as connection, connection.cursor() as cursor:
        for folder in (places.folder, places.faulty):
            files = [path for path in sorted(folder.glob("part-*")) if path.stat().st_size]
            rows = pa.concat_tables([parquet.read_table(path) for path in files])
            cursor.adbc_ingest(folder.name, rows.to_reader(), mode="create")
        connection.commit()
    return url.replace("postgres@", "postgres:hidden-word@")


@pytest.fixture(scope="module")
def sail() -> Iterator[str]:
    """Run Sail, which speaks Spark Connect."""
    with clusters.sail() as url:
        yield url


WAYS = ("folder", "glob", "s3", "s3 glob", "postgresql", "sail, a path", "sail, a query")


def _asked(way: str, places: Places, request: pytest.FixtureRequest, *, faulty: bool = False) -> dict[str, Any]:
    """Return what `source_of` is called with."""
    folder = places.faulty if faulty else places.folder
    if way.startswith("s3"):
        url = request.getfixturevalue("s3")
        return {"data": f"{url}/{folder.name}" + ("/part-*.parquet" if way == "s3 glob" else "")}
    if way == "postgresql":
        return {"data": request.getfixturevalue("database"), "query": f"SELECT * FROM {folder.name}"}
    if way == "sail, a query":
        sql = f"SELECT * FROM parquet.`{folder}/part-*.parquet`"
        return {"data": None, "query": sql, "engine": request.getfixturevalue("sail")}
    if way == "sail, a path":
        return {"data": f"{folder}/part-*.parquet", "engine": request.getfixturevalue("sail")}
    return {"data": str(folder / "part-*.parquet") if way == "glob" else str(folder)}


def _learned(source: TableFile | Elsewhere) -> Harvest:
    return source.learned(lambda _: None)[0] if isinstance(source, Spark) else Harvest.of(source)


def _assert_same(found: Harvest, wanted: Harvest) -> None:
    assert (found.rows, found.unreported) == (wanted.rows, wanted.unreported)
    for crop, moments in wanted.moments.items():
        for mine, theirs in zip(found.moments[crop].folds, moments.folds, strict=True):
            assert mine.count == theirs.count
            np.testing.assert_allclose(mine.mean, theirs.mean, rtol=1e-12)
            np.testing.assert_allclose(mine.factor, theirs.factor, rtol=1e-12, atol=1e-12 * theirs.factor.max())
            np.testing.assert_array_equal([mine.minimum, mine.maximum], [theirs.minimum, theirs.maximum])


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_what_the_file_gives(way: str, places: Places, request: pytest.FixtureRequest) -> None:
    """Rows, those without a yield, and the moments of each crop and fold are those of the single file."""
    wanted = Harvest.of(TableFile(places.file))
    found = _learned(source_of(**_asked(way, places, request)))
    _assert_same(found, wanted)
    if way.startswith("sail"):
        assert "learned on Spark" in found.left_out[-1]
    else:  # so few rows are kept, in their order
        assert found.table is not None
        assert len(found.table) == found.rows


@pytest.mark.parametrize("way", WAYS)
def test_faults_are_counted_and_named(way: str, places: Places, request: pytest.FixtureRequest) -> None:
    """All faults of all parts are counted; ten of a kind are named by region, season, column and value."""
    with pytest.raises(InvalidInput) as raised:
        _learned(source_of(**_asked(way, places, request, faulty=True)))
    assert "72 values cannot be learned" in raised.value.detail
    assert "36 of temperature (out of bounds)" in raised.value.detail
    assert "36 of mango (out of bounds)" in raised.value.detail
    of_weather = [fault.message for fault in raised.value.errors if fault.loc == ("temperature",)]
    assert len(of_weather) == 10
    for message in of_weather:
        assert re.fullmatch(r"(region 'region \d+', )?season '20\d\d': 999 is above 140 °F", message), message


def test_rows_are_not_held_above_a_limit(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many rows the moments are kept, and a digest of the files' names, sizes and times."""
    monkeypatch.setattr(harvest, "HELD_ROWS", 1_000)
    first, again = (_learned(source_of(str(places.folder))) for _ in range(2))
    assert first.table is None
    assert first.digest == again.digest
    os.utime(places.folder / "part-00001.parquet")
    assert _learned(source_of(str(places.folder))).digest != first.digest


def test_a_query_is_never_stored_before(database: str) -> None:
    """Nobody knows whether a table has changed: the digest of a query is a new one."""
    source = source_of(database, "SELECT 1")
    assert not isinstance(source, Spark)
    assert source.digest() != source.digest()


def test_a_folder_that_changes_meanwhile(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was changed while it was read is not learned."""
    source = source_of(str(places.folder))
    assert isinstance(source, Folder)
    whole = source.parts

    def parts() -> Iterator[Any]:
        yield from whole()
        os.utime(places.folder / "part-00002.parquet")

    monkeypatch.setattr(source, "parts", parts)
    with pytest.raises(InvalidInput, match="was changed while it was read"):
        Harvest.of(source)


def test_folders_with_values_in_their_names(tmp_path: Path) -> None:
    """`season=2021` gives the rows below it a season; files may differ in types, and in the order of their columns."""
    for season in (2020, 2021):
        folder = tmp_path / f"season={season}"
        folder.mkdir()
        rows = harvests(50, season, seasons=False)
        if season == 2021:
            rows = rows.select(rows.schema.names[::-1]).set_column(0, "orange", rows["orange"].cast(pa.float32()))
        parquet.write_table(rows, folder / "a.parquet")
    found = _learned(source_of(str(tmp_path)))
    assert found.table is not None
    assert set(found.table.seasons) == {"2020", "2021"}
    assert found.table.crops == ("mango", "orange")


CSV = "temperature,rainfall,mango\n70,50,1\n71,55,2\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_of_folders_are_texts(tmp_path: Path, kind: str) -> None:
    """A region's code keeps its first 0, in CSV as in Parquet; what has no value has no name."""
    for region in ("01001", "K%C3%B6ln", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / f"Region={region}" / "season=2021"
        folder.mkdir(parents=True)
        if kind == "csv":
            (folder / "a.csv").write_text(CSV)
        else:
            parquet.write_table(csv.read_csv(pa.py_buffer(CSV.encode())), folder / "a.parquet")
    found = _learned(source_of(str(tmp_path))).table
    assert found is not None
    assert list(found.regions) == ["01001", "01001", "Köln", "Köln", None, None]
    assert set(found.seasons) == {"2021"}


def test_what_a_file_says_itself_is_not_said_by_its_folder(places: Places, tmp_path: Path) -> None:
    """A season that is a column as well is the column's."""
    rows = parquet.read_table(places.file).slice(0, 50)
    (tmp_path / "season=1999").mkdir()
    parquet.write_table(rows, tmp_path / "season=1999" / "a.parquet")
    found = _learned(source_of(str(tmp_path))).table
    assert found is not None
    assert "1999" not in found.seasons


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("crop=mango", "the folder crop=mango: of CSV only regions and seasons"),
        ("season=a%00b", "the folder season=a"),
    ],
)
def test_folders_of_csv_that_say_what_is_not_read(tmp_path: Path, folder: str, says: str) -> None:
    """Yields of two crops are not put into one column in silence."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.csv").write_text(CSV)
    with pytest.raises(InvalidInput, match=says):
        _learned(source_of(str(tmp_path)))


def test_a_file_of_other_types_is_named(places: Places, tmp_path: Path) -> None:
    """Of many files it is told which has a column that cannot be read, or one twice."""
    rows = parquet.read_table(places.file).slice(0, 20)
    parquet.write_table(rows, tmp_path / "a.parquet")
    for wrong, says in (
        (rows.set_column(2, "temperature", pa.array(["x"] * 20)), "temperature is string, not a number"),
        (rows.append_column("mango", rows["mango"]), "the column 'mango' appears twice"),
    ):
        parquet.write_table(wrong, tmp_path / "b.parquet")
        with pytest.raises(InvalidInput, match=f"/b.parquet: {says}"):
            _learned(source_of(str(tmp_path)))


def test_links(places: Places, tmp_path: Path) -> None:
    """A file that is there twice by a link, or in a loop of them, is not learned twice; one that is away is told."""
    parquet.write_table(parquet.read_table(places.file).slice(0, 20), tmp_path / "a.parquet")
    link = tmp_path / "b.parquet"
    for target, says in (
        (tmp_path / "a.parquet", "b.parquet is the same file as .*a.parquet"),
        (tmp_path, "a.parquet is the same file as"),
        (tmp_path / "none", "b.parquet is a link to nothing"),
    ):
        link.symlink_to(target)
        with pytest.raises(InputError, match=says):
            _learned(source_of(str(tmp_path)))
        link.unlink()
    link.symlink_to(places.file)
    assert _learned(source_of(str(tmp_path))).rows > 20


def test_a_part_without_yields_has_the_columns_of_others(tmp_path: Path) -> None:
    """Where no row is left, nothing is known of the weather that there is no column of."""
    (tmp_path / "a.csv").write_text("rainfall,mango\n50,1\n51,2\n")
    (tmp_path / "b.csv").write_text("rainfall,mango\n50,\n51,\n")
    found = _learned(source_of(str(tmp_path)))
    assert (found.rows, found.unreported) == (2, 2)


def test_faults_of_csv_are_not_said_to_be_all(tmp_path: Path) -> None:
    """More than can be listed are told as at least so many."""
    (tmp_path / "a.csv").write_text("rainfall,mango\n" + "-1,1\n" * 300)
    with pytest.raises(InvalidInput, match=r"\(and at least 99 more\)"):
        _learned(source_of(str(tmp_path)))


def test_a_packed_file_is_read_as_in_a_folder(tmp_path: Path) -> None:
    """`.csv.gz` is unpacked wherever it is."""
    with fs.LocalFileSystem().open_output_stream(str(tmp_path / "a.csv.gz")) as file:
        file.write(CSV.encode())
    assert _learned(source_of(str(tmp_path / "a.csv.gz"))).rows == 2


def test_files_with_other_columns(places: Places, tmp_path: Path) -> None:
    """A file that lacks a column, or has one more, is named."""
    rows = parquet.read_table(places.file).slice(0, 20)
    parquet.write_table(rows, tmp_path / "a.parquet")
    parquet.write_table(rows.drop_columns(["mango"]).append_column("plum", rows["mango"]), tmp_path / "b.parquet")
    with pytest.raises(InvalidInput) as raised:
        _learned(source_of(str(tmp_path)))
    assert "b.parquet lacks mango and has plum besides, compared with" in raised.value.detail


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_folder_of_csv(places: Places, tmp_path: Path, ending: str) -> None:
    """CSV is read as a single file of it is; what is wrong is named by file, row and line."""
    rows = parquet.read_table(places.file)
    wanted = Harvest.of(TableFile(places.file))
    for number in range(2):
        part = rows.slice(number * 2_000, 2_000)
        part = part.select([*part.schema.names[:5], *(("mango", "orange"), ("orange", "mango"))[number]])
        with fs.LocalFileSystem().open_output_stream(str(tmp_path / f"{number}.{ending}")) as file:
            csv.write_csv(part, file)
    found = _learned(source_of(str(tmp_path)))
    assert (found.rows, found.unreported) == (wanted.rows, wanted.unreported)
    for crop, moments in wanted.moments.items():
        np.testing.assert_allclose(found.moments[crop].total.mean, moments.total.mean, rtol=1e-12)
    if ending == "csv":
        path = tmp_path / "1.csv"
        path.write_text(path.read_text() + "Kent,2021,999,60,50,1,1\n")
        with pytest.raises(InvalidInput, match=r"1\.csv: row 2001 \(line 2002\), column temperature: 999 is above"):
            _learned(source_of(str(tmp_path)))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_what_a_folder_must_not_hold(places: Places, tmp_path: Path) -> None:
    """Nothing is passed over in silence but hidden and empty files; what cannot be read is named."""
    good = places.file.read_bytes()
    wrong = {
        "notes": ({"a.parquet": good, "notes.txt": b"hello"}, InvalidInput, "notes.txt is neither Parquet nor CSV"),
        "mixed": ({"a.parquet": good, "b.csv": b"x"}, InvalidInput, "holds Parquet and CSV"),
        "broken": ({"a.parquet": good, "b.parquet": good[:-20]}, MalformedInput, "b.parquet cannot be read"),
        "delta": ({"a.parquet": good, "_delta_log/0.json": b"{}"}, InvalidInput, "is of a Delta table"),
        "iceberg": (
            {"data/a.parquet": good, "metadata/v1.metadata.json": b"{}"},
            InvalidInput,
            "is of an Iceberg table",
        ),
        "hidden": ({"_a.parquet": good, ".b.parquet": good}, InvalidInput, "holds no Parquet file and no CSV"),
    }
    for name, (files, kind, says) in wrong.items():
        for file, content in files.items():
            _write(tmp_path / name / file, content)
        with pytest.raises(kind, match=says):
            _learned(source_of(str(tmp_path / name)))
    _write(tmp_path / "hive" / "000000_0", good)  # as Hive calls its files
    assert _learned(source_of(str(tmp_path / "hive"))).rows
    assert _learned(source_of(str(tmp_path / "*" / "000000_?"))).rows
    assert _learned(source_of(str(tmp_path / "**" / "000000_0"))).rows


def test_storage_with_names_that_urls_have_not(s3: str, places: Places) -> None:
    """Spaces and other alphabets are read as they are, in a URL of any case."""
    storage = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    fs.copy_files(str(places.folder), "rows/Köln und Bonn", destination_filesystem=storage)
    assert _learned(source_of(f"{s3.upper()[:2]}{s3[2:]}/Köln und Bonn")).rows


def test_secrets_in_a_url_of_storage_are_not_repeated() -> None:
    """Arrow repeats what it cannot parse."""
    with pytest.raises(MalformedInput, match="cannot be read") as raised:
        _learned(source_of("s3://key:hidden@bucket:x y/rows"))
    assert "hidden" not in raised.value.detail


def test_a_bucket_that_is_not_there(s3: str) -> None:
    """What is not there is told."""
    with pytest.raises(InputError, match="s3://rows/none cannot be read: there is no such file or folder"):
        _learned(source_of(f"{s3}/none"))


@pytest.mark.long
def test_a_storage_that_does_not_answer(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, after some seconds in which Arrow has tried again."""
    assert s3 == "s3://rows"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="s3://rows/good cannot be read"):
        _learned(source_of("s3://rows/good?region=us-east-1"))


def test_postgresql_has_numerics_and_whole_seasons(database: str) -> None:
    """`numeric` is read as the number that it is, a year as a season, names of columns in any case."""
    sql = (
        'SELECT region AS "Region", season::int AS season, temperature::numeric(20,10), rainfall::real, humidity, '
        "mango::numeric AS mango FROM good WHERE mango IS NOT NULL"
    )
    found = _learned(source_of(database, sql))
    assert found.table is not None
    assert list(found.moments) == ["mango"]
    assert set(found.table.seasons) <= {str(year) for year in range(2006, 2026)}


@pytest.mark.parametrize("ends", ["", ";", " ;\n", " -- all of them"])
def test_queries_end_as_people_end_them(database: str, sail: str, places: Places, ends: str) -> None:
    """A semicolon or a comment at the end is no fault, in a URL of any case."""
    url = database.replace("postgresql://", "PostgreSQL://")
    assert _learned(source_of(url, f"SELECT * FROM good{ends}")).rows
    assert _learned(source_of(None, f"SELECT * FROM parquet.`{places.file}`{ends}", sail)).rows


def test_a_query_that_is_interrupted(database: str) -> None:
    """Ctrl-C ends a query on which nothing has come yet, as Ctrl-C: it is not taken for a fault of the query."""
    sql = "SELECT pg_sleep(600)::text AS season, 1.0::float8 AS mango, 70.0::float8 AS temperature"
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Sail may have taken it, in this process
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _learned(source_of(database, sql))
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()


def test_what_is_shown_of_a_source_for_debugging_has_no_secret() -> None:
    """Neither a URL nor a query is in it."""
    for asked in (("postgresql://u:hidden@h/d", "hidden"), ("s3://k:hidden@b", None)):
        assert "hidden" not in repr(source_of(*asked))
    assert "hidden" not in repr(source_of(None, "hidden", "sc://h/;token=hidden"))


def test_queries_that_fail_are_told_without_the_password(database: str) -> None:
    """A wrong query is the caller's, a database that is away is not; neither names the password."""
    wrong = {
        "SELECT nothing FROM good": (database, InvalidInput, "the query: .*nothing"),
        "CREATE TABLE mine (a int)": (database, InvalidInput, "read-only transaction"),
        "SELECT 1.0::float8 / (rainfall - rainfall) AS mango, rainfall FROM good": (database, InvalidInput, "zero"),
        "SELECT 1": (re.sub(r":\d+/", ":9/", database), StoreUnavailable, "127.0.0.1:9/.* does not answer"),
        "SELECT 2": ("postgresql://a:hidden%20word@127.0.0.1:9/d?sslmode=hidden-word", StoreUnavailable, "answer"),
    }
    for sql, (url, kind, says) in wrong.items():
        with pytest.raises(kind, match=says) as raised:
            _learned(source_of(url, sql))
        assert "hidden" not in raised.value.detail


def test_spark_says_what_is_wrong_in_a_line(sail: str, places: Places) -> None:
    """A wrong query or path is told without pages of a server's words, and a column before a row is read."""
    for asked in ({"query": "SELECT * FROM nothing"}, {"query": "SELEC 1"}, {"data": "/nowhere/at/all"}):
        with pytest.raises(OrchardError) as raised:
            _learned(source_of(asked.get("data"), asked.get("query"), sail))
        assert len(raised.value.detail) < 400
        assert "\n" not in raised.value.detail
    with pytest.raises(InvalidInput, match="'farm_id' does not look like a crop's"):
        _learned(source_of(None, f"SELECT *, 1 AS farm_id FROM parquet.`{places.file}`", sail))
    with pytest.raises(InvalidInput, match="no crop column holds a number"):
        _learned(source_of(None, f"SELECT * FROM parquet.`{places.file}` WHERE rainfall < 0", sail))


def test_spark_carries_out_no_command(sail: str, places: Places, tmp_path: Path) -> None:
    """What would write is not understood, and not carried out: a training reads."""
    writes = f"INSERT OVERWRITE DIRECTORY '{tmp_path}/written' USING parquet SELECT * FROM parquet.`{places.file}`"
    with pytest.raises(OrchardError):
        _learned(source_of(None, writes, sail))
    assert not list(tmp_path.iterdir())


class _Reader:
    """Stands for a session's reader, and keeps the path it is asked for."""

    def __init__(self) -> None:
        self.read = self
        self.path = ""

    def parquet(self, path: str) -> None:
        self.path = path


@pytest.mark.parametrize("path", ["dbfs:/mnt/rows", "hdfs:///rows", "s3a://bucket/rows", "/rows"])
def test_paths_of_a_cluster_stay_what_they_are(path: str) -> None:
    """Spark is asked for what was given; only what is relative is made one of this machine."""
    reader = _Reader()
    Spark("sc://h", "sc://h", path=path).rows(reader)
    assert reader.path == path
    Spark("sc://h", "sc://h", path="rows").rows(reader)
    assert reader.path == str(Path("rows").absolute())


def test_a_spark_that_ends_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told after some tries: left to itself the client waits for ten minutes, and then for ten more."""
    monkeypatch.setattr(spark, "TRIES", 1)
    monkeypatch.setattr(spark, "FEW_TRIES", 1)
    with clusters.sail_process(tmp_path) as (url, process):
        source = source_of(None, "SELECT 70.0D + id % 9 AS temperature, 1.0D AS mango FROM range(9000000000)", url)
        threading.Timer(1.0, process.kill).start()
        with pytest.raises(StoreUnavailable, match="has failed"):
            _learned(source)


def _nulls(path: Path) -> int:
    return int(parquet.read_table(path, columns=["mango"])["mango"].null_count)


def test_what_is_no_spark_is_not_waited_for(sail: str) -> None:
    """Where something else answers (without the TLS that a token asks for) it is told at once, without the token."""
    for parameter in ("token=hidden", "hidden"):
        with pytest.raises(StoreUnavailable, match="has failed") as raised:
            _learned(source_of(None, "SELECT 1", f"{sail}/;{parameter}"))
        assert "hidden" not in raised.value.detail


def test_spark_reads_what_warehouses_have(sail: str, places: Places) -> None:
    """Decimals, seasons that are numbers, and only those columns that are named."""
    sql = (
        f"SELECT region, CAST(season AS INT) AS season, CAST(rainfall AS DECIMAL(20, 10)) AS rainfall, "
        f"CAST(mango AS DECIMAL(24, 12)) AS mango, 5 AS farm_id, map('a', 1) AS `odd.name` FROM parquet.`{places.file}`"
    )
    found = _learned(source_of(None, sql, sail, Reading(crops=("mango",))))
    assert found.rows == ROWS - _nulls(places.file)
    assert min(found.cells["mango"].seasons) == "2006"


def test_temperatures_in_another_unit_are_counted_on_spark(sail: str, places: Places) -> None:
    """What is below any season's, and not so if converted, is counted where the rows are."""
    sql = f"SELECT (temperature - 32) / 1.8 AS temperature, mango FROM parquet.`{places.file}`"
    source = source_of(None, sql, sail)
    assert isinstance(source, Spark)
    found, mistaken = source.learned(lambda _: None)
    assert mistaken["temperature"] > 0.5 * found.rows


WRONG = {
    "a query of nothing": ((None, "SELECT 1", None), "--query: say what is asked"),
    "a query of a folder": (("/tmp", "SELECT 1", None), "not of /tmp"),  # noqa: S108 - nothing is written there
    "a database without a query": (("postgresql://u:hidden@h/d", None, None), "postgresql://u@h/d is a database"),
    "nothing": (("", None, None), "--data is empty"),
    "an empty query": (("postgresql://h/d", " ", None), "--query is empty"),
    "a path that is too long": (("x" * 5_000, None, None), "File name too long"),
    "a glob of nothing": (("/nothing*.parquet", None, None), "/nothing*.parquet matches no file"),
    "an engine of nothing": ((None, None, "sc://h"), "neither is given"),
    "an engine of both": (("/tmp", "SELECT 1", "sc://h"), "both are given"),  # noqa: S108
    "an engine of a database": (("postgresql://u:hidden@h/d", None, "sc://h"), "without --engine"),
    "another engine": (("/tmp", None, "spark://h:1"), "not the URL of Spark Connect"),  # noqa: S108
    "an engine without a host": (("/tmp", None, "sc://:15002"), "not the URL of Spark Connect"),  # noqa: S108
    "another scheme": (("ftp://u:hidden@h/d", None, None), "ftp:// is not read here"),
    "a secret cut short": (("postgresql://u:hid/den@h/d", "SELECT 1", None), "in a password as %2F"),
    "a secret cut by a hash": (("postgresql://u:hid#den@h/d", "SELECT 1", None), "in a password as %2F"),
    "a driver that is not there": (("snowflake://u:hidden@h/d", "SELECT 1", None), "install adbc-driver-snowflake"),
}


@pytest.mark.parametrize(("asked", "says"), WRONG.values(), ids=WRONG)
def test_what_does_not_go_together(asked: tuple[str | None, str | None, str | None], says: str) -> None:
    """Each wrong combination says what to write, and no secret."""
    with pytest.raises(InvalidInput) as raised:
        _learned(source_of(*asked))
    assert says in raised.value.detail
    assert "hid" not in raised.value.detail.replace("hidden files", "")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("postgresql+psycopg://u:hidden@h:5432/d?password=hidden", "postgresql://u@h:5432/d"),
        ("s3://key:hidden@bucket/folder/?endpoint_override=x", "s3://bucket/folder"),
        ("sc://host:15002/;token=hidden;use_ssl=true", "sc://host:15002"),
        ("abfss://container@account.dfs.core.windows.net/p", "abfss://container@account.dfs.core.windows.net/p"),
        ("a folder/x@y", "a folder/x@y"),
    ],
)
def test_secrets_are_left_out(place: str, shown: str) -> None:
    """What is told of a place has no password, token or option in it."""
    assert redacted(place) == shown


def test_the_name_of_a_source_tells_queries_apart() -> None:
    """A query's text is not told, since it may hold secrets; two of them can be told apart."""
    first, second = (name_of(source_of("postgresql://u:hidden@h/d", f"SELECT {n}")) for n in (1, 2))
    assert first != second
    assert first.startswith("postgresql://u@h/d, query ")
    assert name_of(source_of("s3://k:hidden@b/p/*.parquet", None, "sc://h:1/;token=hidden")) == (
        "sc://h:1, s3://b/p/*.parquet"
    )
    assert name_of(source_of("some/where/harvests.csv")) == "harvests.csv"


def test_extras_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, places: Places) -> None:
    """Without what a way needs, it says what to install."""
    for module, asked, says in (
        ("pyspark.sql", (None, "SELECT 1", "sc://127.0.0.1:9"), "orchard-service[spark]"),
        ("adbc_driver_postgresql.dbapi", ("postgresql://h/d", "SELECT 1", None), "orchard-service[adbc]"),
        ("pyarrow", (str(places.folder), None, None), "orchard-service[arrow]"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, module, None)
            with pytest.raises(InvalidInput, match=re.escape(says)):
                _learned(source_of(*asked))


@pytest.mark.long
def test_a_real_spark(tmp_path: Path) -> None:
    """A master with two workers learns what the file says, by code that was sent to it; faults come back as such."""
    home = clusters.spark_home()
    if home is None:
        assert os.environ.get(clusters.NEEDED) != "1", f"{clusters.SPARK_HOME} and Java are needed"
        pytest.skip(f"{clusters.SPARK_HOME} is not set, or there is no Java")
    write_folder(tmp_path / "good", 400_000, 4)
    write(tmp_path / "one.parquet", 1_000)
    rows = parquet.read_table(tmp_path / "one.parquet")
    (tmp_path / "bad").mkdir()
    parquet.write_table(rows.set_column(2, "temperature", pa.array([999.0] * 1_000)), tmp_path / "bad" / "a.parquet")
    wanted = _learned(source_of(str(tmp_path / "good")))
    told: list[str] = []
    with clusters.spark(home, tmp_path) as running:
        source = source_of(str(tmp_path / "good"), engine=running.url)
        assert isinstance(source, Spark)
        found, _ = source.learned(told.append)
        with pytest.raises(InvalidInput, match=r"1,000 values cannot be learned: 1,000 of temperature"):
            _learned(source_of(None, f"SELECT * FROM parquet.`{tmp_path}/bad`", running.url))
    _assert_same(found, wanted)
    assert any(re.fullmatch(r"part \d+ of \d+", at) for at in told)
