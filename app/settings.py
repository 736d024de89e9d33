"""Settings: environment variables ORCHARD_*, read once and frozen."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
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

    model_store: Path = Path("model_store")
    """The folder of versions, log, observations and token; created if absent."""
    database_url: str | None = None
    """Where observations are kept, as an SQLAlchemy URL; None: ``observations.db`` in the model store (SQLite)."""
    token: Token = None
    """The token that writes need; None: the one in ``<model store>/token``, made at the first start."""
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
    follow_interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often a process looks whether another one has activated a version, seconds."""
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

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the observation table."""
        return self.database_url or f"sqlite:///{self.model_store.absolute() / 'observations.db'}"
