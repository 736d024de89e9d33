"""Settings: environment variables ORCHARD_*, read once and frozen."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "ORCHARD_"
SHORTEST_TOKEN = 16
"""Characters: a shorter token could be guessed."""
DEFAULT_PORTS = {"http": 80, "https": 443}
PREFIX_OF_PATHS = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
"""Segments that need no percent-encoding, none of them ``.`` or ``..``."""
OWN = (
    "access",
    "docs",
    "events",
    "forecasts",
    "grafana.json",
    "health",
    "metrics",
    "models",
    "observations",
    "openapi.json",
    "page",
    "predict",
    "retrain",
    "scores",
    "v2",
)
"""What this service's own paths begin with: below such a prefix it could not be told what is asked."""
SCHEMES = ("s3", "gs", "az")
"""Of URLs that a model store may have: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage."""
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)")
BUCKET_URL = re.compile(r"(?:[^/?#@:\\\s]+)(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~=+-]+)*")
"""A bucket, and a prefix in it, of segments that need no percent-encoding."""
FOLLOWED_EVERY_S, FOLLOWED_FAR_EVERY_S = 0.5, 5.0
"""How often the log is looked at where nothing else is set, seconds: in a folder, and in object storage, where looks
are paid for and a thousand replicas may follow one log."""
SQLITE = "sqlite"
HOST_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def _checked(token: SecretStr | None) -> SecretStr | None:
    given = "" if token is None else token.get_secret_value()
    if token is not None and len(given) < SHORTEST_TOKEN:
        raise ValueError(
            f"has fewer than {SHORTEST_TOKEN} characters and could be guessed: "
            "take a longer one, such as `openssl rand -hex 32` prints"
        )
    if not (given.isascii() and given.isprintable()):
        raise ValueError("has characters that no request's header can carry: take letters, digits and signs of ASCII")
    return token


@dataclass(frozen=True, slots=True)
class StoreURL:
    """Where a model store in object storage is: ``s3://bucket/prefix``, or the same with gs or az."""

    text: str

    def __str__(self) -> str:
        return self.text


def _store(given: Any) -> Any:
    """Return a folder's path, or the URL of a place in object storage."""
    found = SCHEME.match(given) if isinstance(given, str) else None
    if found is None or (found[2] == "/" and found[1].lower() not in SCHEMES):
        return given
    scheme, rest = found[1].lower(), given[found.end() :].rstrip("/")
    if scheme not in SCHEMES:
        raise ValueError(
            f"a model store is a folder, or in object storage at a URL of the scheme {', '.join(SCHEMES)}, "
            f"and not of {found[1]!r}: write a path, or s3://bucket/prefix"
        )
    if not BUCKET_URL.fullmatch(rest):
        raise ValueError(
            f"not a bucket and perhaps a prefix, such as {scheme}://bucket/prefix: a prefix has letters, digits and "
            "- . _ ~ = + between slashes; keys and endpoints belong into the environment, as AWS_ACCESS_KEY_ID does"
        )
    url = f"{scheme}://{rest}"
    if url != given.rstrip("/"):
        raise ValueError(f"not the URL of a model store: did you mean {url}?")
    return StoreURL(url)


def _listed(check: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return what reads a list with commas between its entries, each checked."""

    def read(given: Any) -> Any:
        entries = given.split(",") if isinstance(given, str) else given
        return tuple(check(entry.strip()) for entry in entries if entry.strip())

    return read


def _origin(given: str) -> str:
    """Return an origin as browsers write it."""
    if given == "*":
        return given
    plain = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(plain)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{given!r} is not an origin: {error}") from error
    origin = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}"
    if port is not None and port != DEFAULT_PORTS.get(parts.scheme):
        origin += f":{port}"
    if not host or plain != given or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        raise ValueError(
            f"{given!r} is not an origin, which is a scheme, a host and perhaps a port, and nothing else: "
            f"did you mean {origin if host else 'http://localhost:3000'}?"
        )
    return origin


def _host_name(given: str) -> str:
    name = given.lower().removesuffix(".")
    if name != "*" and not HOST_NAME.fullmatch(name):
        raise ValueError(f"{given!r} is not a host name: write it without scheme, port and path (* for any)")
    return name


def _root_path(given: str) -> str:
    if not given:
        return given
    plain = "/" + given.strip("/")
    if not PREFIX_OF_PATHS.fullmatch(plain):
        raise ValueError(
            f"{given!r} is not a path prefix such as /orchard: letters, digits, and - . _ ~ between slashes; "
            "leave it out where there is none"
        )
    if plain != given:
        raise ValueError(f"{given!r} is not a path prefix: did you mean {plain}?")
    if plain.split("/")[1] in OWN:
        raise ValueError(f"{given!r} begins like this service's own paths: choose another prefix, such as /orchard")
    return plain


def _proxy(given: str) -> str:
    try:
        ipaddress.ip_network(given)
    except ValueError as error:
        raise ValueError(
            f"{given!r} is not an IP address or network, such as 10.0.0.7 or 10.0.0.0/8: {error}"
        ) from error
    return given


ModelStore = Annotated[Path | StoreURL, BeforeValidator(_store)]
Token = Annotated[SecretStr | None, AfterValidator(_checked)]
RootPath = Annotated[str, AfterValidator(_root_path)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed(_origin))]
HostNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed(_host_name))]
Proxies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed(_proxy))]


class Settings(BaseSettings):
    """What can be set, each with its unit, bounds and default. ``ORCHARD_PORT=9000`` sets ``port``.

    An empty variable is one that is not set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    model_store: ModelStore = Path("model_store")
    """The folder of versions, log, observations and token, created if absent; or the URL of a place in object storage
    for versions and log, such as s3://bucket/prefix."""
    database_url: str | None = None
    """Where observations are kept, as an SQLAlchemy URL; None: ``observations.db`` in the model store (SQLite)."""
    token: Token = None
    """The token that writes need; None: those of ``token_file``."""
    token_file: Path | None = None
    """The file of the tokens that writes need, which is read again when it changes, and never written; None:
    ``<model store>/token``, made at the first start."""
    read_token: Token = None
    """If set, reading needs a token too: this one, or one for writing. Health and the page to read are open."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    hosts: HostNames = ()
    """Host names that requests may be for, with commas between them, * for any; addresses and localhost always are.

    None named: any where the service listens beyond this machine, no other on a loopback address."""
    trusted_proxies: Proxies = ()
    """Addresses and networks of proxies whose X-Forwarded-For is believed, with commas between them."""
    root_path: RootPath = ""
    """The prefix of all paths behind a proxy, such as /orchard; the proxy may take it off or leave it."""
    keep_alive_s: Annotated[float, Field(gt=0, le=3_600)] = 75.0
    """How long a connection may be idle between two requests, seconds: longer than the proxy's in front."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """The port to listen on; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Serving processes."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=2**31)] = 32 * 2**20
    """The largest request body, bytes."""
    max_waiting_bytes: Annotated[int, Field(ge=1_024, le=2**40)] = 64 * 2**20
    """The large bodies that one process takes at once, bytes together; more are answered 503. One alone always fits."""
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """The most regions or observations in one request, rows."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """How long a body may take to arrive, seconds."""
    max_concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Requests that one process works on at once; more are answered 503, except health and metrics."""
    max_listeners: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Clients of one process that listen to /events at once; more are answered 503. Each keeps a connection open."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """How long after SIGTERM the service says that it is not ready, and still answers, seconds."""
    grace_s: Annotated[float, Field(ge=0, le=3_600)] = 8.0
    """How long after that requests and a training may take to finish before they are cancelled, seconds."""
    log_format: Literal["console", "json"] = "console"
    """Log lines for people, or JSON, one object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on lines are logged; debug has a line for each request but those of the express lane."""
    cors_origins: Origins = ()
    """Origins whose pages may call, with commas between them; none without, * for all."""
    follow_interval_s: Annotated[float, Field(gt=0, le=60)] | None = None
    """How often a process looks whether another one has activated a version, seconds; None: every 0.5, and every 5
    where the model store is a URL."""
    forecast_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """How long forecasts are kept that have no outcome, days: older ones are erased. None: for good."""
    trainer_idle_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    """How long the training process is kept after a retrain, so that the next one starts at once, seconds."""
    retrain_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """How long one retrain may take before it is stopped, seconds."""

    url: str | None = None
    """A running service that the command line talks to; None: it works on the model store itself."""
    shared_folder: Path | None = None
    """Where worker processes share their counts; `orchard serve` makes one when there are several workers."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """See that settings do not contradict each other, and that nothing is missing for a store elsewhere."""
        if self.token is not None and self.token_file is not None:
            raise ValueError(
                f"{PREFIX}TOKEN and {PREFIX}TOKEN_FILE are both set, and each says which tokens there are: unset one"
            )
        if self.is_remote and (self.database_url is None or self.database_url.lower().startswith(SQLITE)):
            raise ValueError(
                f"{PREFIX}DATABASE_URL: the model store is {self.model_store}, which others share: "
                f"its observations need a database that they share too, and no SQLite file; write "
                "postgresql+psycopg://user:password@host/database"
            )
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the model store is in object storage."""
        return isinstance(self.model_store, StoreURL)

    @property
    def folder(self) -> Path:
        """The folder that the model store is.

        Raises:
            TypeError: it is in object storage: who asks has forgotten that it may be.
        """
        if isinstance(self.model_store, StoreURL):
            raise TypeError(f"{self.model_store} is not a folder")
        return self.model_store

    @property
    def place(self) -> str:
        """Where the model store is, for people: its URL, or the absolute path of its folder."""
        return str(self.model_store) if self.is_remote else str(self.folder.absolute())

    @property
    def follow_every_s(self) -> float:
        """How often the log is looked at, seconds."""
        return self.follow_interval_s or (FOLLOWED_FAR_EVERY_S if self.is_remote else FOLLOWED_EVERY_S)

    @property
    def unservable(self) -> str | None:
        """Why no service can be started with these settings, None if one can; the token file is looked at."""
        if self.is_remote and self.token is None and self.token_file is None:
            return (
                f"{PREFIX}TOKEN_FILE: the model store {self.model_store} holds no token, as a folder would: name a "
                f"file that has one, such as a mounted secret, or set {PREFIX}TOKEN (`openssl rand -hex 32` makes one)"
            )
        try:
            if self.token_file is not None:
                self.token_file.open("rb").close()
        except OSError as error:
            return f"{PREFIX}TOKEN_FILE: {self.token_file} cannot be read: {error.strerror}"
        return None

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the observation table."""
        return self.database_url or f"sqlite:///{self.folder.absolute() / 'observations.db'}"
