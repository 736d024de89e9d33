"""What the first start on a store trains, so that it serves something: never what would change what is stored."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import PACKAGE
from app.cli.options import CONFLICT, DONE, REJECTED, WRONG
from app.data.integrity import PREFIX
from app.errors import NotReady, OrchardError
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry

NOTE = "first model"

logger = logging.getLogger("orchard")


@dataclass(frozen=True, slots=True)
class Plan:
    """``words``: the command that trains, None for none; ``accepted``: its exit codes with which it goes on.

    ``why``: what is to be said where nothing is trained.
    """

    words: tuple[str, ...] | None
    accepted: frozenset[int] = frozenset({DONE, CONFLICT})  # another process is training it
    why: str = ""


NOTHING = Plan(None)
TUTORIAL = Plan(("train", "--note", NOTE))
STORED = Plan(
    ("retrain", "--note", f"{NOTE}, of what is stored"),
    frozenset({DONE, CONFLICT, REJECTED, WRONG}),
)
"""Where too few rows are stored, or the gate refuses them, the service starts without a model, and takes more."""


def plan(settings: Settings) -> Plan:
    """Say what is to be trained before the service starts.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    registry = Registry(open_store(settings))
    if registry.last_number() > 0:
        return NOTHING
    try:
        in_use, stored = _batches(settings)
    except OrchardError as error:
        return Plan(None, why=f"no model is live, and none is trained: {error.detail}")
    if in_use:
        return STORED
    if versions := registry.versions():
        return Plan(None, why=f"no version is live: `orchard activate {versions[0]}` makes the newest one live")
    if stored:
        return Plan(None, why=f"no model is live, and none is trained: all {stored} stored batches are withdrawn")
    return TUTORIAL


def _batches(settings: Settings) -> tuple[int, int]:
    """Return how many batches are in use, and how many there are."""
    url = settings.database
    if url.startswith(PREFIX) and not Path(url.removeprefix(PREFIX)).is_file():
        return 0, 0
    from app.data.observations import Observations  # SQLAlchemy is imported where there is a database

    observations = Observations(url)
    try:
        with observations.reading() as transaction:
            batches = transaction.all()
    finally:
        observations.close()
    return sum(batch.withdrawn is None for batch in batches), len(batches)


def ensure(settings: Settings) -> None:
    """Train a first model, in a process of its own, if none has ever been activated and none is lost.

    Never on a store that replicas may share: each would train one of its own. On what the database has in use; on the
    tutorial's regions only where nothing was ever stored. Without a model the service starts all the same: it says so
    when asked, and serves as soon as one is live.

    Raises:
        NotReady: it could not be trained.
        StoreUnavailable: the store cannot be read.
    """
    if settings.is_remote:
        return
    planned = plan(settings)
    if planned.words is None:
        if planned.why:
            _warn(settings, planned.why)
        return
    if importlib.util.find_spec("torch") is None:
        _warn(settings, "no model is live, and without torch none can be trained here")
        return
    trained = _logged if settings.log_format == "json" else _shown
    if trained(planned.words) not in planned.accepted:
        raise NotReady("the first model could not be trained; serving without one is no use")


def _warn(settings: Settings, why: str) -> None:
    if settings.log_format == "json":
        logger.warning(why)
    else:
        print(f"orchard: {why}", file=sys.stderr)


def _run(words: tuple[str, ...], **options: Any) -> subprocess.CompletedProcess[str]:
    # On the store, even where the environment names a service.
    environment = {name: value for name, value in os.environ.items() if name != "ORCHARD_URL"}
    command = [sys.executable, "-m", PACKAGE, *words]
    return subprocess.run(command, env=environment, check=False, text=True, **options)  # noqa: S603 - this program


def _shown(words: tuple[str, ...]) -> int:
    """Train in sight of whoever has started the service, and return the exit code."""
    return _run(words).returncode


def _logged(words: tuple[str, ...]) -> int:
    """Train, put a line into the log instead of a report, and return the exit code."""
    done = _run((*words, "--json"), capture_output=True)
    if done.stderr:
        logger.warning("while the first model was trained", extra={"output": done.stderr.strip()})
    if done.returncode in {DONE, REJECTED}:
        report = json.loads(done.stdout)
        told = {name: report[name] for name in ("version", "decision", "activated")}
        more = {"crops": list(report["scores"]), "rows": report["rows"]["total"], "example": words == TUTORIAL.words}
        logger.info("first model trained", extra=told | more)
    return done.returncode
