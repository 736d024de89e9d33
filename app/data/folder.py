"""Many files as one table: a folder, a glob, or objects of s3://, gs://, az://; Parquet, or CSV.

Files are read one after another, each in parts, so that memory does not grow with them.
"""

import codecs
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from app.data.columns import KNOWN
from app.data.dialect import UTF16
from app.data.naming import TEXT_COLUMNS, name_problem
from app.data.redaction import without_secrets
from app.data.table_file import PARQUET, ahead, csv_parts
from app.data.tables import AS_IT_IS, Reading, Table
from app.errors import InputError, InvalidInput, MalformedInput, StoreUnavailable
from app.model.names import Names

REMOTE = ("s3", "gs", "az", "abfs", "abfss")
"""Schemes of object storage."""
WILD = "*?["
"""Signs of a glob; in a URL `?` begins its options."""
HIDDEN = (".", "_")
"""What names begin with of files that are none of the data, as those that Spark and Hadoop leave."""
PACKED = ".csv.gz"
OF_PARQUET, OF_CSV = (".parquet", ".parq", ".pq"), (".csv", PACKED)
NO_VALUE_OF_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""Stands in a folder's name for none."""
PLAIN_IN_URL = "/%:@!$&'()*+,;=~-._[]"
"""What a URL of storage keeps as it is, besides letters and digits."""
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

    place: str = field(repr=False)
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
            raise InvalidInput(
                f"{self.shown} matches no file (empty ones, and those that begin with . or _, are not read); "
                f"of folders write {self.shown}/*"
                if self._pattern
                else f"{self.shown} holds no Parquet file and no CSV: hidden and empty files are not read"
            )
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
        with _reported(self.shown, self.place):
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

        first = _own_schema(dataset.ParquetFileFormat().make_fragment(files[0].path, self._system))
        used(first.names, self.reading)
        # What a file says itself is what it says; and a name is a text, which may begin with a 0.
        of_folders = [name for name in self._of_folders(files) if name not in first.names]
        with _reported(self.shown):
            whole = dataset.dataset(
                [file.path for file in files],
                filesystem=self._system,
                format="parquet",
                partitioning=dataset.HivePartitioning(pa.schema([(name, pa.string()) for name in of_folders])),
                partition_base_dir=self._base,
            )
        kept = used(whole.schema.names, self.reading)

        def batches() -> Iterator[Any]:
            checked = None
            for number, fragment in enumerate(whole.get_fragments(), 1):
                self._tell(number, len(files), fragment.path)
                own = _own_schema(fragment)
                schema = pa.schema([*own, *(whole.schema.field(name) for name in of_folders if name not in own.names)])
                if schema != checked:
                    with _of(fragment.path if number > 1 else ""):
                        used(schema.names, self.reading)
                        _check_same(whole.schema.names, schema.names, files[0].path, fragment.path)
                        check_columns(pa.schema([schema.field(name) for name in kept]), self.reading)
                    checked = schema
                with _reported(fragment.path):
                    yield from _of_fragment(fragment, schema, kept)

        yield from tables(in_parts(batches()), self.reading, found)

    def _csv(self, files: Sequence[Listed], found: Any) -> Iterator[Table]:
        first: Table | None = None
        for number, file in enumerate(files, 1):
            self._tell(number, len(files), file.path)
            try:
                with _reported(file.path), self._system.open_input_stream(file.path, compression="detect") as opened:
                    names = self._names_of(file)
                    for part in csv_parts(_decoded(io.BufferedReader(opened)), self.reading):
                        first = first or part
                        yield _named(_like(part, first, files[0].path, file.path), names)
            except InputError as error:
                found.add(error, file.path)

    def _folders(self, file: Listed) -> dict[str, str]:
        """Return what the folders of a file say, by column."""
        names = file.path[len(self._base) :].split("/")[:-1]
        return {unquote(column): unquote(value) for column, sign, value in (n.partition("=") for n in names) if sign}

    def _of_folders(self, files: Sequence[Listed]) -> list[str]:
        return list(dict.fromkeys(column for file in files for column in self._folders(file)))

    def _names_of(self, file: Listed) -> dict[str, str]:
        """Return the region and the season that a file of CSV has by its folders.

        Raises:
            InvalidInput: they say something else, or it is no name.
        """
        names: dict[str, str] = {}
        for column, value in self._folders(file).items():
            name = column.casefold()
            problem = name_problem(value) if value != NO_VALUE_OF_FOLDER else None
            if name in TEXT_COLUMNS and problem is None:
                names |= {name: value} if value != NO_VALUE_OF_FOLDER else {}
            elif problem is not None or self.reading.crops is None or name in KNOWN:
                problem = problem or "of CSV only regions and seasons are read from the names of folders"
                raise InvalidInput(f"the folder {column}={value}: {problem}")
        return names

    def _tell(self, number: int, files: int, path: str) -> None:
        self.at = f"file {number} of {files}: {path.rpartition('/')[2]}"


def _opened(place: str) -> tuple[Any, str, tuple[str, ...]]:
    from pyarrow import fs  # noqa: PLC0415 - not everywhere installed

    scheme, separator, rest = place.partition("://")
    scheme = scheme.lower()
    if not separator:
        path = str(Path(place).absolute())
        base, pattern = (path, ()) if Path(path).exists() else _split(path, WILD)
        return fs.LocalFileSystem(), base, pattern
    address, _, options = rest.partition("?")
    base, pattern = _split(address, WILD.replace("?", ""))
    if scheme == "az":
        return _azure(fs), base.rstrip("/"), pattern
    address = quote(base, safe=PLAIN_IN_URL)  # of spaces and letters of other alphabets URLs have none
    system, base = fs.FileSystem.from_uri(f"{scheme}://{address}" + (f"?{options}" if options else ""))
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
    # What cannot match is not looked into: below may be a whole disk, and folders that nobody may read.
    is_deep = len(pattern) != 1 or pattern == ("**",)
    infos = system.get_file_info(fs.FileSelector(base, recursive=is_deep))
    paths = {info.path: tuple(info.path[len(base) :].strip("/").split("/")) for info in infos}
    asked = [
        info
        for info in sorted(infos, key=lambda info: str(info.path))
        if info.type != fs.FileType.Directory
        and not any(name.startswith(HIDDEN) for name in paths[info.path])
        and (not pattern or _matches(paths[info.path], pattern))
    ]
    for info in asked:
        if info.type != fs.FileType.File:
            raise MalformedInput(f"{info.path} is neither a file nor a folder: take it away")
    _check_plain([paths[info.path] for info in asked], paths.values())
    if isinstance(system, fs.LocalFileSystem):
        _check_links(base, pattern)
        _check_once([info.path for info in asked])
    return [Listed(info.path, info.size, info.mtime_ns) for info in asked]


def _check_links(base: str, pattern: tuple[str, ...]) -> None:
    """Check that links lead to something: Arrow passes over those that do not.

    Raises:
        MalformedInput: one leads to nothing, as to a disk that is away.
    """
    for path in Path(base).rglob("*") if not pattern else Path(base).glob("/".join(pattern)):
        if path.is_symlink() and not path.name.startswith(HIDDEN) and not path.exists():
            raise MalformedInput(f"{path} is a link to nothing: take it away, or bring back what it leads to")


def _check_once(paths: Iterable[str]) -> None:
    """Check that no file is there twice by a link: its rows would count twice.

    Raises:
        InvalidInput: one is.
    """
    known: dict[str, str] = {}
    for path in paths:
        other = known.setdefault(os.path.realpath(path), path)
        if other != path:
            raise InvalidInput(f"{path} is the same file as {other}, by a link: its rows would count twice")


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
    if len(part):  # where no row reports a yield there is no weather to be seen
        _check_same([*part.absent], [*first.absent], first_path, path)
    if part.crops == first.crops:
        return part
    order = [part.crops.index(crop) for crop in first.crops]
    return replace(part, crops=first.crops, yields=part.yields[:, order])


def _named(part: Table, names: Mapping[str, str]) -> Table:
    """Return a part whose rows have a region or a season by their folders, where they say none themselves."""
    if "region" in names and all(own is None for own in part.regions):
        part = replace(part, regions=_repeated(names["region"], len(part)))
    if "season" in names and all(own is None for own in part.seasons):
        part = replace(part, seasons=_repeated(names["season"], len(part)))
    return part


def _repeated(name: str, rows: int) -> Names:
    return Names((name,), np.zeros(rows, np.int32))


@contextmanager
def _of(path: str) -> Iterator[None]:
    """Say of which file something is; of none that is empty."""
    try:
        yield
    except InputError as error:
        if not path or path in error.detail:
            raise
        raise type(error)(f"{path}: {error.detail}", error.errors) from error


def _decoded(file: io.BufferedReader) -> Any:
    return codecs.EncodedFile(file, "utf-8", "utf-16") if file.peek(2).startswith(UTF16) else file


@contextmanager
def _reported(shown: str, url: str | None = None) -> Iterator[None]:
    """Say which file or place cannot be read, and why; ``url``: whose secrets that might tell."""
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
        raise MalformedInput(f"{shown} cannot be read: {without_secrets(error, url)}") from error
    except OSError as error:
        if shown.partition("://")[1]:
            raise StoreUnavailable(f"{shown} cannot be read: {without_secrets(error, url)}") from error
        raise MalformedInput(f"{shown} cannot be read: {error.strerror or without_secrets(error, url)}") from error
