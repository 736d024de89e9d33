"""Many files as one table: a folder, a glob, or objects of s3://, gs://, az://; Parquet, or CSV.

Files are read one after another, each in parts, so that memory does not grow with them.
"""

import codecs
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from app.data.dialect import UTF16
from app.data.table_file import PARQUET, ahead, csv_parts
from app.data.tables import AS_IT_IS, Reading, Table
from app.errors import InputError, InvalidInput, MalformedInput, StoreUnavailable

REMOTE = ("s3", "gs", "az", "abfs", "abfss")
"""Schemes of object storage."""
WILD = "*?["
"""Signs of a glob; in a URL `?` begins its options."""
HIDDEN = (".", "_")
"""What names begin with of files that are none of the data, as those that Spark and Hadoop leave."""
OF_PARQUET, OF_CSV = (".parquet", ".parq", ".pq"), (".csv", ".csv.gz")
QUERY = '--query "SELECT … FROM …"'
"""How it is written, for messages."""
AZURE_ACCOUNT, AZURE_KEY = "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file: its path in its file system, its bytes, and when it was written, in nanoseconds."""

    path: str
    size: int
    written: int | None


@dataclass
class Folder:
    """Files below a folder, or that match a glob; ``place``: a path or a URL, ``shown``: the same without secrets.

    Folders called `season=2021` give their files a column. ``at``: which file is being read, in words.
    """

    place: str
    shown: str
    reading: Reading = field(default=AS_IT_IS)
    at: str = ""

    def __str__(self) -> str:
        return self.shown

    def parts(self) -> Iterator[Table]:
        """Yield the rows, file by file in the order of their paths, each part read while the one before is worked on.

        Raises:
            MalformedInput, InvalidInput: a file is not what it claims to be, files have different columns, or values
                are wrong: all are looked at before that is told, those of CSV up to the first part with a fault.
            StoreUnavailable: the storage does not answer.
        """
        from app.data.parts import Found  # noqa: PLC0415 - imports pyarrow

        files = self._files
        if not files:
            raise InvalidInput(f"{self.shown} holds no Parquet file and no CSV: hidden and empty files are not read")
        kinds = {file.path: self._kind(file) for file in files}
        if len(set(kinds.values())) > 1:
            raise InvalidInput(
                f"{self.shown} holds Parquet and CSV: name those to be read, as in {self.shown.rstrip('/')}/*.parquet"
            )
        found = Found()
        parts = self._parquet(files, found) if kinds[files[0].path] == PARQUET else self._csv(files, found)
        for part in ahead(parts):
            if not found:
                yield part
        found.raise_if_any()

    def digest(self) -> str:
        """Return a sha256 over the files' paths, sizes and times, hexadecimal: their bytes may be somewhere else."""
        return hashlib.sha256(repr([(file.path, file.size, file.written) for file in self._files]).encode()).hexdigest()

    def state(self) -> object:
        """List the files again."""
        self.__dict__.pop("_files", None)
        return self._files

    @cached_property
    def _files(self) -> list[Listed]:
        """The files that are to be read, by path."""
        with _reported(self.shown):
            return [file for file in _listed(self._system, self._base, self._pattern) if file.size]

    @cached_property
    def _opened(self) -> tuple[Any, str, tuple[str, ...]]:
        """The file system, the folder below which the files are, and what their paths below it must match."""
        with _reported(self.shown):
            return _opened(self.place)

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @property
    def _base(self) -> str:
        return self._opened[1]

    @property
    def _pattern(self) -> tuple[str, ...]:
        return self._opened[2]

    def _kind(self, file: Listed) -> bytes:
        """Return what a file of that kind begins with; nothing for CSV, which begins with anything."""
        name = file.path.lower()
        if name.endswith(OF_CSV):
            return b""
        if name.endswith(OF_PARQUET):
            return PARQUET
        with _reported(file.path), self._system.open_input_file(file.path) as opened:
            if opened.read(len(PARQUET)) == PARQUET:
                return PARQUET
        raise InvalidInput(
            f"{file.path} is neither Parquet nor CSV by its name: take it away, or name those to be read by a glob"
        )

    def _parquet(self, files: Sequence[Listed], found: Any) -> Iterator[Table]:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed
        from pyarrow import dataset  # noqa: PLC0415

        from app.data.parts import check_columns, in_parts, tables, used  # noqa: PLC0415 - imports pyarrow

        with _reported(self.shown):
            whole = dataset.dataset(
                [file.path for file in files],
                filesystem=self._system,
                format="parquet",
                partitioning=dataset.partitioning(flavor="hive"),
                partition_base_dir=self._base,
            )
        of_folders = [name for name in whole.schema.names if name not in _own_schema(next(whole.get_fragments())).names]
        kept = used(whole.schema.names, self.reading)

        def batches() -> Iterator[Any]:
            for number, fragment in enumerate(whole.get_fragments(), 1):
                self._tell(number, len(files), fragment.path)
                own = _own_schema(fragment)
                schema = pa.schema([*own, *(whole.schema.field(name) for name in of_folders if name not in own.names)])
                _check_same(whole.schema.names, schema.names, files[0].path, fragment.path)
                if number == 1:
                    check_columns(pa.schema([schema.field(name) for name in kept]), self.reading)
                with _reported(fragment.path):
                    yield from _of_fragment(fragment, schema, kept)

        yield from tables(in_parts(batches()), self.reading, found)

    def _csv(self, files: Sequence[Listed], found: Any) -> Iterator[Table]:
        first: Table | None = None
        for number, file in enumerate(files, 1):
            self._tell(number, len(files), file.path)
            try:
                with _reported(file.path), self._system.open_input_stream(file.path, compression="detect") as opened:
                    for part in csv_parts(_decoded(io.BufferedReader(opened)), self.reading):
                        first = first or part
                        yield _like(part, first, files[0].path, file.path)
            except InputError as error:
                found.add(error, file.path)

    def _tell(self, number: int, files: int, path: str) -> None:
        self.at = f"file {number} of {files}: {path.rpartition('/')[2]}"


def _opened(place: str) -> tuple[Any, str, tuple[str, ...]]:
    from pyarrow import fs  # noqa: PLC0415 - not everywhere installed

    scheme, separator, rest = place.partition("://")
    if not separator:
        path = str(Path(place).absolute())
        base, pattern = (path, ()) if Path(path).exists() else _split(path, WILD)
        return fs.LocalFileSystem(), base, pattern
    address, _, options = rest.partition("?")
    base, pattern = _split(address, WILD.replace("?", ""))
    if scheme == "az":
        return _azure(fs), base.rstrip("/"), pattern
    system, base = fs.FileSystem.from_uri(f"{scheme}://{base}" + (f"?{options}" if options else ""))
    return system, base.rstrip("/"), pattern


def _azure(fs: Any) -> Any:
    account = os.environ.get(AZURE_ACCOUNT)
    if not account:
        raise InvalidInput(f"az:// needs {AZURE_ACCOUNT} in the environment, and {AZURE_KEY} where a key opens it")
    return fs.AzureFileSystem(account, account_key=os.environ.get(AZURE_KEY))


def _split(path: str, wild: str) -> tuple[str, tuple[str, ...]]:
    """Cut before the first part of a path with a sign of a glob."""
    names = path.split("/")
    first = next((place for place, name in enumerate(names) if any(sign in name for sign in wild)), len(names))
    return "/".join(names[:first]) or "/", tuple(names[first:])


def _listed(system: Any, base: str, pattern: tuple[str, ...]) -> list[Listed]:
    """Return the files below a folder that match, or the one that the path is of; none that is hidden."""
    from pyarrow import fs  # noqa: PLC0415 - not everywhere installed

    (itself,) = system.get_file_info([base])
    if itself.type == fs.FileType.File:
        return [Listed(itself.path, itself.size, itself.mtime_ns)]
    infos = system.get_file_info(fs.FileSelector(base, recursive=True))
    paths = {info.path: tuple(info.path[len(base) :].strip("/").split("/")) for info in infos}
    found = sorted(
        (
            Listed(info.path, info.size, info.mtime_ns)
            for info in infos
            if info.type == fs.FileType.File
            and not any(name.startswith(HIDDEN) for name in paths[info.path])
            and (not pattern or _matches(paths[info.path], pattern))
        ),
        key=lambda file: file.path,
    )
    _check_plain([paths[file.path] for file in found], paths.values())
    return found


def _check_plain(found: Iterable[tuple[str, ...]], paths: Iterable[tuple[str, ...]]) -> None:
    """Check that files are all there is to them: tables of Delta and Iceberg keep files that are no longer theirs.

    Raises:
        InvalidInput: one is of such a table.
    """
    kinds = {}
    for names in paths:
        if "_delta_log" in names:
            kinds[names[: names.index("_delta_log")]] = "a Delta"
        elif "metadata" in names[:-1] and names[-1].endswith(".metadata.json"):
            kinds[names[: names.index("metadata")]] = "an Iceberg"
    for names in found if kinds else ():
        for root, kind in kinds.items():
            if names[: len(root)] == root:
                raise InvalidInput(
                    f"{'/'.join(names)} is of {kind} table, some of whose files may be no part of it any more: read it "
                    f"where an engine knows it, --engine sc://… {QUERY}"
                )


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Say whether a path matches a glob, name by name; `**` stands for any number of them."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - by those who give a glob

    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_matches(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _own_schema(fragment: Any) -> Any:
    with _reported(fragment.path):
        return fragment.physical_schema.remove_metadata()


def _of_fragment(fragment: Any, schema: Any, kept: list[str]) -> Iterator[Any]:
    from pyarrow import dataset  # noqa: PLC0415 - not everywhere installed

    from app.data.parts import PART_ROWS  # noqa: PLC0415 - imports pyarrow

    # With the defaults it reads ahead by hundreds of megabytes.
    options = dataset.ParquetFragmentScanOptions(use_buffered_stream=True, buffer_size=2**20, pre_buffer=False)
    yield from fragment.to_batches(
        schema=schema,
        columns=kept,
        batch_size=PART_ROWS,
        batch_readahead=1,
        fragment_readahead=1,
        fragment_scan_options=options,
        use_threads=False,
    )


def _check_same(wanted: Sequence[str], names: Sequence[str], first: str, path: str) -> None:
    """Check that a file has the columns of the first one; their types may differ, as long as they can be read.

    Raises:
        InvalidInput: it lacks one, or has another.
    """
    lacks, more = (sorted(set(one) - set(other)) for one, other in ((wanted, names), (names, wanted)))
    if lacks or more:
        says = [f"lacks {', '.join(lacks)}"] if lacks else []
        says += [f"has {', '.join(more)} besides"] if more else []
        raise InvalidInput(
            f"the files differ in their columns: {path} {' and '.join(says)}, compared with {first}; "
            "train on those that are alike, or read them by a --query"
        )


def _like(part: Table, first: Table, first_path: str, path: str) -> Table:
    """Return a part with the crops in the order of the first one.

    Raises:
        InvalidInput: it has other crops, or other weather.
    """
    _check_same([*first.crops], [*part.crops], first_path, path)
    _check_same([*part.absent], [*first.absent], first_path, path)
    if part.crops == first.crops:
        return part
    order = [part.crops.index(crop) for crop in first.crops]
    return replace(part, crops=first.crops, yields=part.yields[:, order])


def _decoded(file: io.BufferedReader) -> Any:
    return codecs.EncodedFile(file, "utf-8", "utf-16") if file.peek(2).startswith(UTF16) else file


@contextmanager
def _reported(shown: str) -> Iterator[None]:
    """Say which file or place cannot be read, and why."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - not everywhere installed
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "this installation reads one file of CSV at a time: install orchard-service[arrow] for folders and storage"
        ) from error
    try:
        yield
    except FileNotFoundError as error:
        raise MalformedInput(f"{shown} cannot be read: there is no such file or folder") from error
    except pa.ArrowException as error:
        raise MalformedInput(f"{shown} cannot be read: {_line(error)}") from error
    except OSError as error:
        if shown.partition("://")[1]:
            raise StoreUnavailable(f"{shown} cannot be read: {_line(error)}") from error
        raise MalformedInput(f"{shown} cannot be read: {error.strerror or _line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
