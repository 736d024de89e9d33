"""The command line: ``orchard``. Its options, errors and exit codes are described in `app.cli.options`."""

import importlib.util
import math
import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import PACKAGE
from app.cli.options import (
    EXIT_CODES,
    REJECTED,
    UNAVAILABLE,
    Activation,
    AsJson,
    Key,
    Note,
    Url,
    Version,
    backend,
    reported,
)
from app.cli.terminal import quoted
from app.errors import InvalidInput, MalformedInput, NotReady
from app.settings import Settings

if TYPE_CHECKING:
    from app.cli.local import Local
    from app.client import Orchard

CLI = typer.Typer(
    name="orchard",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="\n".join(["Exit codes:", *(f"{code}  {meaning}" for code, meaning in EXIT_CODES.items())]),
)
Limit = Annotated[int, typer.Option(min=1, max=1_000, help="Lines at most.")]
Before = Annotated[int | None, typer.Option(min=1, show_default=False, help="Only those older than this one.")]


def main() -> None:
    """Run the command, and turn errors into a message and an exit code."""
    with reported():
        CLI(prog_name="orchard")


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
    activate: Activation = "if_better",
    note: Note = "",
    as_json: AsJson = None,
) -> None:
    """Fit a model on one table alone (by default the tutorial's 15 regions), and write it to the local model store.

    Batches stored earlier are withdrawn from training, not erased; `orchard retrain` adds to them instead. A version
    that the gate rejects is written all the same: exit code 0.
    """
    from app.cli import console, local
    from app.data.provenance import Provenance
    from app.data.table_file import TableFile
    from app.training.order import Order, Recipe

    order = Order(
        Provenance("tutorial.csv" if data is None else data.name, local.WHO, note),
        TableFile(data or Path(str(files(f"{PACKAGE}.data").joinpath("tutorial.csv")))),
        alone=True,
        activate=activate,
        recipe=Recipe(recipe, epochs, learning_rate, batch_size, seed),
    )
    with reported(as_json=as_json):
        settings = Settings()
        with console.progress(as_json=bool(as_json), every_epoch=recipe == "tutorial") as show:
            outcome = local.train(settings, order, show)
        if as_json:
            console.print_json(outcome.report)
            return
        card = outcome.version.card
        if outcome.predictions is not None:
            console.print_beside_targets(card, *outcome.predictions)
        console.print_report(outcome.report, card, local.Local(settings).location(outcome.report.version))


@CLI.command()
def predict(
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TABLE.csv]",
            show_default=False,
            help="Regions as CSV: region (optional) and the weather. Printed with the yields added.",
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option(show_default=False, help="Average over the season, °F.")] = None,
    rainfall: Annotated[float | None, typer.Option(show_default=False, help="Total over the season, mm.")] = None,
    humidity: Annotated[float | None, typer.Option(show_default=False, help="Average relative humidity, %.")] = None,
    region: Annotated[str | None, typer.Option(show_default=False, help="The region's name.")] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="The share of harvests to cover.")] = 0.95,
    explain: Annotated[bool, typer.Option("--explain", help="Add what weather and region add to it.")] = False,
    version: Annotated[str | None, typer.Option(show_default=False, help="Another version than the live one.")] = None,
    effects: Annotated[
        Literal["all", "none"] | None,
        typer.Option(show_default=False, help="none: by the common line, whatever the region."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Intervals as the rows alone have them, whatever the record says.")
    ] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Predict yields, tons: for one region's weather, or for a table of regions."""
    from app.cli import console

    weather = {"--temperature": temperature, "--rainfall": rainfall, "--humidity": humidity}
    with backend(url, as_json) as orchard:
        if table is not None:
            if explain or region is not None or any(value is not None for value in weather.values()):
                raise InvalidInput(
                    "a table takes the options --level, --version, --effects, --exact, --url and --json only"
                )
            options: dict[str, Any] = {"level": level, "version": version, "effects": effects, "exact": exact}
            _predict_table(orchard, table, options, as_json=bool(as_json))
            return
        if all(value is None for value in weather.values()):
            raise InvalidInput(f"give {', '.join(weather)}, or a table of regions")
        answer = orchard.predict(
            temperature=temperature,
            rainfall=rainfall,
            humidity=humidity,
            region=region,
            level=level,
            explain=explain,
            version=version,
            effects=effects,
            exact=exact,
        )
        console.print_json(answer) if as_json else console.print_prediction(answer, level)


def _predict_table(orchard: "Orchard | Local", table: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from app.cli import console
    from app.data.tables import Reading, parse_regions
    from app.model.weather import FEATURE_NAMES, NONE

    content = _content(table)
    if not as_json:
        console.print_table(orchard.predict_csv(content, **options))
        return
    read = parse_regions(content, reading=Reading(needs=NONE)).table
    regions = [
        {"region": region}
        | {name: value for name, value in zip(FEATURE_NAMES, weather, strict=True) if not math.isnan(value)}
        for region, weather in zip(read.regions, read.weather.tolist(), strict=True)
    ]
    console.print_json(orchard.predict_many(regions, **options))


def _content(table: Path) -> bytes:
    try:
        return table.read_bytes()
    except OSError as error:
        raise MalformedInput(f"{table} cannot be read: {error.strerror}") from error


@CLI.command()
def retrain(
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HARVEST.csv]",
            show_default=False,
            help="Observations: region, season, weather, a column per crop. Without it, learn from what is stored.",
        ),
    ] = None,
    activate: Activation = "if_better",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; store nothing.")] = False,
    note: Note = "",
    key: Key = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Learn from a harvest and all that is stored, and make the new version live if the gate finds it no worse.

    A version that is rejected is exit code 5.
    """
    from app.cli import console

    with backend(url, as_json) as orchard:
        with console.progress(as_json=bool(as_json)) as show:
            report = orchard.retrain(
                table=_existing(table), activate=activate, dry_run=dry_run, note=note, key=key, progress=show
            )
        if as_json:
            console.print_json(report)
        else:
            card = None if report.version is None else orchard.card(report.version)
            console.print_report(report, card, orchard.location(report.version))
        if report.decision == "rejected" and not report.activated:
            raise SystemExit(REJECTED)


@CLI.command()
def weather(
    answer: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWER.json",
            show_default=False,
            help="The answer of Open-Meteo or NASA POWER; - is standard input.",
        ),
    ],
    season_start: Annotated[
        str | None, typer.Option(show_default=False, help="The first day, YYYY-MM-DD; without it, that of the answer.")
    ] = None,
    season_end: Annotated[
        str | None, typer.Option(show_default=False, help="The last day, YYYY-MM-DD; without it, that of the answer.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(show_default=False, help="The region's name; without it, latitude,longitude.")
    ] = None,
    as_json: AsJson = None,
) -> None:
    """Print a weather service's days as a region's season, in °F, mm and %, as `orchard predict` takes it.

    Days that are missing are told on standard error; with fewer than 80% of them nothing is printed.
    """
    from app.cli import console
    from app.cli import weather as service

    with reported(as_json=as_json):
        asked = service.season(_given(answer), Settings().max_rows, season_start, season_end, region)
        for note in service.notes(asked):
            print(f"orchard: {quoted(note)}", file=sys.stderr)
        if as_json:
            console.print_json(service.as_json(asked))
        else:
            console.print_table(service.as_csv(asked))


def _given(path: Path) -> bytes:
    """Return what a file holds, or standard input for -."""
    return sys.stdin.buffer.read() if str(path) == "-" else _content(path)


def _existing(table: Path | None) -> Path | None:
    """Return a table's path.

    Raises:
        MalformedInput: it cannot be read.
    """
    if table is not None and not table.is_file():
        raise MalformedInput(
            f"{table} cannot be read: {'it is a folder' if table.is_dir() else 'there is no such file'}"
        )
    return table


@CLI.command()
def activate(version: Version, note: Note = "", url: Url = None, as_json: AsJson = None) -> None:
    """Make a version live: roll back or forward."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        line = orchard.activate(version, note=note)
        if as_json:
            console.print_json(line)
        else:
            console.print_line(f"version {line.version} is live (line {line.number} of the log)")


@CLI.command()
def log(limit: Limit = 20, before: Before = None, url: Url = None, as_json: AsJson = None) -> None:
    """List who made which version live, when and why, newest first."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        page = orchard.log(limit=limit, before=before)
        console.print_json(page) if as_json else console.print_log(page)


VERSIONS = typer.Typer(invoke_without_command=True)
CLI.add_typer(VERSIONS, name="models")


@VERSIONS.callback()
def models(
    context: typer.Context, limit: Limit = 20, before: Before = None, url: Url = None, as_json: AsJson = None
) -> None:
    """List the versions, newest first; show one, or compare two."""
    from app.cli import console

    if context.invoked_subcommand is not None:
        return
    with backend(url, as_json) as orchard:
        page = orchard.models(limit=limit, before=None if before is None else str(before))
        console.print_json(page) if as_json else console.print_versions(page)


@VERSIONS.command("show")
def show(
    version: Annotated[str, typer.Argument(help="A version's number, or live.", show_default=False)],
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Show one version's card."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        card = orchard.card(version)
        console.print_json(card) if as_json else console.print_card(card)


@VERSIONS.command("diff")
def diff(first: Version, second: Version, url: Url = None, as_json: AsJson = None) -> None:
    """Show what changed between two versions."""
    from app.cli import console, grids

    with backend(url, as_json) as orchard:
        cards = orchard.card(first), orchard.card(second)
        if as_json:
            found = grids.differences(*cards)
            console.print_json([number._asdict() | {"change": number.change} for number in found])
        else:
            console.print_difference(*cards)


STORED = typer.Typer(invoke_without_command=True)
CLI.add_typer(STORED, name="observations")


@STORED.callback()
def observations(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 20,
    after: Annotated[str | None, typer.Option(show_default=False, help="Only those behind this cursor.")] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all those in use, as `add` and `retrain` take them.")
    ] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """List the stored observations, oldest first; store more, or withdraw a batch from training."""
    from app.cli import console

    if context.invoked_subcommand is not None:
        return
    with backend(url, as_json) as orchard:
        if as_csv and as_json:
            raise InvalidInput("--csv or --json, not both")
        if as_csv:
            from app.wire.records import csv_of

            console.print_table(csv_of(orchard.observations()))
            return
        page = orchard.observation_page(limit=limit, after=after)
        console.print_json(page) if as_json else console.print_observations(page)


@STORED.command("add")
def add(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="HARVEST.csv", show_default=False, help="Observations, as `orchard retrain` takes them."
        ),
    ],
    note: Note = "",
    key: Key = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Store a batch for the next retrain, whole or not at all."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        _existing(table)
        batch = orchard.store(table=table, note=note, key=key)
        if as_json:
            console.print_json(batch)
        else:
            console.print_line(f"batch {batch.batch}: {batch.rows} rows stored")


@STORED.command("withdraw")
def withdraw(
    batch: Annotated[str, typer.Argument(help="A batch's id.", show_default=False)],
    note: Note = "",
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Take a batch out of training from the next one on; nothing is erased."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        gone = orchard.withdraw(batch, note=note)
        if as_json:
            console.print_json(gone)
        else:
            console.print_line(f"batch {gone.batch}: {gone.rows} rows withdrawn")


@STORED.command("restore")
def restore(
    batch: Annotated[str, typer.Argument(help="A batch's id.", show_default=False)],
    note: Note = "",
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Take a withdrawn batch back into training, from the next one on."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        back = orchard.restore(batch, note=note)
        console.print_json(back) if as_json else print(f"batch {back.batch}: {back.rows} rows restored")


@CLI.command()
def check(as_json: AsJson = None) -> None:
    """Look at all that the local model store and its database hold, and say what is not what was written.

    What is damaged is exit code 4.
    """
    from app.cli import console, inspection

    with reported(as_json=as_json):
        found = inspection.inspect(Settings())
        if as_json:
            console.print_json({"looked_at": found.looked_at, "faults": found.faults})
        else:
            print("looked at", ", ".join(f"{count} {what}" for what, count in found.looked_at.items()))
            print(*(found.faults or ["all is as it was written"]), sep="\n")
        if found.faults:
            raise SystemExit(UNAVAILABLE)


@CLI.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Serving processes.")] = None,
) -> None:
    """Serve predictions over HTTP.

    The first start trains a first model: on the observations that are stored, or, if there are none, on the tutorial's
    regions.
    """
    # The first process of a container never gets a SIGTERM that it does not handle: not even before the server is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from app.cli.serve import Server  # other commands start without it

    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    # The environment is what worker processes inherit.
    os.environ.update({f"ORCHARD_{name}": str(value) for name, value in given.items() if value is not None})
    server = Server(Settings())
    _ensure_model()
    server.run()


def _ensure_model() -> None:
    """Train a first model, in a process of its own, if none has ever been activated and none is lost.

    On what the database has in use; on the tutorial's regions only where nothing was ever stored. Without a model the
    service starts all the same: it says so when asked, and serves as soon as one is live.
    """
    from app.cli import first  # SQLAlchemy is imported where there is a database

    plan = first.plan(Settings())
    if plan.words is None:
        if plan.why:
            print(f"orchard: {plan.why}", file=sys.stderr)
        return
    if importlib.util.find_spec("torch") is None:
        print("orchard: no model is live, and without torch none can be trained here", file=sys.stderr)
        return
    # On the store, even where the environment names a service.
    environment = {name: value for name, value in os.environ.items() if name != "ORCHARD_URL"}
    command = [sys.executable, "-m", PACKAGE, *plan.words]
    done = subprocess.run(command, env=environment, check=False)  # noqa: S603 - this program itself
    if done.returncode not in plan.accepted:
        raise NotReady("the first model could not be trained; serving without one is no use")
