"""Settings: environment variables ORCHARD_*, read once and frozen."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What can be set, each with its unit, bounds and default. ``ORCHARD_PORT=9000`` sets ``port``."""

    model_config = SettingsConfigDict(env_prefix="ORCHARD_", frozen=True, extra="forbid")

    model_store: Path = Path("model_store")
    """The folder of versions, log, observations and token; created if absent."""
    database_url: str | None = None
    """Where observations are kept, as an SQLAlchemy URL; None: ``observations.db`` in the model store (SQLite)."""
    token: SecretStr | None = None
    """The token that writes need; None: the one in ``<model store>/token``, made at the first start."""
    read_token: SecretStr | None = None
    """If set, reading needs a token too: this one, or one for writing. Health is open."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """The port to listen on; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Serving processes."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=2**31)] = 32 * 2**20
    """The largest request body, bytes."""
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """The most regions or observations in one request, rows."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """How long a body may take to arrive, seconds."""
    max_concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Requests that one process works on at once; more are answered 503, but for health and metrics."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """How long after SIGTERM the service says that it is not ready, and still answers, seconds."""
    grace_s: Annotated[float, Field(ge=0, le=3_600)] = 8.0
    """How long after that requests and a training may take to finish before they are cancelled, seconds."""
    log_format: Literal["console", "json"] = "console"
    """Log lines for people, or JSON, one object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on lines are logged; debug has a line for each request but those of the express lane."""
    cors_origins: str = ""
    """Origins whose pages may call, with commas between them; none without, * for all."""
    follow_interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often a process looks whether another one has activated a version, seconds."""
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
