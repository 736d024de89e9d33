"""The command line: ``orchard``. What it cannot do it says on standard error.

Exit codes: 0 done; 2 the input or a setting is wrong; 3 it conflicts with something running; 1 anything else.
"""

import importlib.util
import math
import os
import signal
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from app.errors import Conflict, InputError, NotReady, OrchardError
from app.settings import Settings

if TYPE_CHECKING:
    from app.store.registry import Registry

CLI = typer.Typer(
    name="orchard",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Crop yields from region weather, with how far to trust each number.",
)
LISTED_FAULTS = 20
"""Faults that are printed one by one; the rest is counted."""


def main() -> None:
    """Run the command, and turn errors into a message and an exit code."""
    try:
        CLI()
    except OrchardError as error:
        _complain(error)
        sys.exit(_exit_code(error))
    except ValidationError as error:
        for fault in error.errors():
            print(
                f"orchard: ORCHARD_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}",
                file=sys.stderr,
            )
        sys.exit(2)


def _exit_code(error: OrchardError) -> int:
    if isinstance(error, InputError):
        return 2
    return 3 if isinstance(error, Conflict) else 1


def _complain(error: OrchardError) -> None:
    print(f"orchard: {error.detail}", file=sys.stderr)
    if len(error.errors) > 1:
        for fault in error.errors[:LISTED_FAULTS]:
            print(f"  {fault.message}", file=sys.stderr)
        if len(error.errors) > LISTED_FAULTS:
            print(f"  … and {len(error.errors) - LISTED_FAULTS} more", file=sys.stderr)


@CLI.callback()
def _options() -> None:
    """Crop yields from region weather, with how far to trust each number."""


@CLI.command()
def train(
    data: Annotated[
        Path | None, typer.Option(help="A table, CSV or Parquet: region, season, weather, one column per crop.")
    ] = None,
    recipe: Annotated[Literal["descent", "tutorial"], typer.Option(help="How to fit.")] = "descent",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs at most.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="The step of an update.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows of a mini-batch (tutorial).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Makes a run reproducible to the bit.")] = None,
    activate: Annotated[
        Literal["if_better", "always", "never"], typer.Option(help="Whether the version becomes live.")
    ] = "if_better",
    note: Annotated[str, typer.Option(help="Why, for the records.")] = "",
) -> None:
    """Fit a model on one table alone (by default the tutorial's 15 regions), and write it to the model store.

    Batches stored earlier are withdrawn from training, not erased; `orchard retrain` adds to them instead.
    """
    from app.data.table_file import TableFile  # noqa: PLC0415 - the command starts quickly, and training imports torch
    from app.training.order import Order, Recipe  # noqa: PLC0415

    order = Order(
        source="tutorial.csv" if data is None else data.name,
        who="command line",
        table=TableFile(data or Path(str(files("app.data").joinpath("tutorial.csv")))),
        alone=True,
        activate=activate,
        note=note,
        recipe=Recipe(recipe, epochs, learning_rate, batch_size, seed),
    )
    from app.console import run  # noqa: PLC0415

    run(Settings(), order)


VERSIONS = typer.Typer(invoke_without_command=True, help="List the versions in the model store, or compare two.")
CLI.add_typer(VERSIONS, name="models")


@VERSIONS.callback()
def models(context: typer.Context) -> None:
    """List the versions in the model store, newest first."""
    from app.console import print_versions  # noqa: PLC0415

    if context.invoked_subcommand is None:
        print_versions(_registry())


@VERSIONS.command("show")
def show(version: Annotated[str, typer.Argument(help="A version's number.")]) -> None:
    """Show one version's card."""
    from app.console import print_version  # noqa: PLC0415

    print_version(_registry(), version)


@VERSIONS.command("diff")
def diff(
    first: Annotated[str, typer.Argument(help="A version's number.")],
    second: Annotated[str, typer.Argument(help="Another version's number.")],
) -> None:
    """Show what changed between two versions."""
    from app.console import print_difference  # noqa: PLC0415

    print_difference(_registry(), first, second)


def _registry() -> "Registry":
    from app.store.objects import Objects  # noqa: PLC0415
    from app.store.registry import Registry  # noqa: PLC0415

    return Registry(Objects(Settings().model_store))


@CLI.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Serving processes.")] = None,
) -> None:
    """Serve predictions over HTTP; the first start trains a first model on the tutorial's regions."""
    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    # The environment is what worker processes inherit.
    os.environ.update({f"ORCHARD_{name}": str(value) for name, value in given.items() if value is not None})
    settings = Settings()
    # The first process of a container never gets a SIGTERM that it does not handle: not even before the server is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _ensure_model()
    import uvicorn  # noqa: PLC0415 - other commands start without it

    from app import logs  # noqa: PLC0415

    if settings.workers > 1 and settings.shared_folder is None:
        shared = tempfile.TemporaryDirectory(prefix="orchard-")
        os.environ["ORCHARD_SHARED_FOLDER"] = shared.name
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        access_log=False,
        server_header=False,
        log_config=logs.configuration(settings.log_format, settings.log_level),
        timeout_graceful_shutdown=math.ceil(settings.grace_s),
    )


def _ensure_model() -> None:
    """Train a first model, in a process of its own, if none has ever been activated.

    Without torch the service starts without one: it says so when asked, and serves as soon as one is in the store.
    """
    if _registry().last_number() > 0:
        return
    if importlib.util.find_spec("torch") is None:
        print("orchard: no model is live, and without torch none can be trained here", file=sys.stderr)
        return
    done = subprocess.run([sys.executable, "-m", "app", "train", "--note", "first model"], check=False)
    if done.returncode not in (0, 3):  # 3: another process is training it
        raise NotReady("the first model could not be trained; serving without one is no use")
