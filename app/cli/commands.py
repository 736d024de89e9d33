"""The command line: ``orchard``. Its options, errors and exit codes are described in `app.cli.options`."""

import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import __version__
from app.cli import besides, sent
from app.cli.options import (
    EXIT_CODES,
    NO_MODEL,
    REJECTED,
    UNAVAILABLE,
    Activation,
    AsJson,
    Celsius,
    Crops,
    Details,
    Inches,
    Kelvin,
    Key,
    Note,
    Scales,
    Url,
    Version,
    backend,
    crops_named,
    reported,
)
from app.cli.terminal import quoted
from app.errors import InvalidInput
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.cli.local import Local
    from app.cli.rollback import Left
    from app.client import Orchard
    from app.wire.schemas import BatchWithdrawn

LOADING = "loading torch, which takes some seconds"
"""What is shown while a command that trains has not begun."""

HELP = {"help_option_names": ["-h", "--help"]}
CLI = typer.Typer(
    name="orchard",
    context_settings=HELP,
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


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print("orchard", __version__)
        raise typer.Exit


@CLI.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print which Orchard this is.")
    ] = False,
) -> None:
    """Crop yields from region weather, with how far to trust each number."""


@CLI.command()
def train(
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[HARVESTS.csv]",
            show_default=False,
            help="A table, CSV, Excel or Parquet: region, season, weather, one column per crop; - is standard input.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|GLOB|URL",
            show_default=False,
            help="The same table, or a folder or glob of them; s3://…, gs://…, az://…; postgresql://… with --query.",
        ),
    ] = None,
    query: Annotated[
        str | None, typer.Option(metavar="SQL", show_default=False, help="Which rows of a database, or of an engine.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="sc://HOST:PORT",
            show_default=False,
            help="Spark Connect: rows are learned on the cluster, of --data or --query.",
        ),
    ] = None,
    crops: Crops = None,
    celsius: Celsius = False,
    kelvin: Kelvin = False,
    inches: Inches = False,
    recipe: Annotated[Literal["descent", "tutorial"], typer.Option(help="How to fit.")] = "descent",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs at most.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="The step of an update.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows of a mini-batch (tutorial).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Makes a run reproducible to the bit.")] = None,
    activate: Activation = "if_better",
    note: Note = "",
    details: Details = False,
    as_json: AsJson = None,
) -> None:
    """Fit a model on one table alone (by default the tutorial's 15 regions), and write it to the local model store.

    Batches stored earlier are withdrawn from training, not erased; `orchard retrain` adds to them instead. A version
    that the gate rejects is written all the same: exit code 0. Rows may be learned where they are: in a folder, object
    storage, a database (--query) or a Spark cluster (--engine).
    """
    from app.cli import console, local
    from app.data import engines, example
    from app.data.provenance import Provenance
    from app.data.table_file import TableFile
    from app.data.tables import Reading
    from app.training.order import Order, Recipe

    with reported(as_json=as_json), sent.place(_one_of(table, data)) as given:
        scales = Scales(celsius, kelvin, inches)
        scales.check_table(given or query)
        reading = Reading(scales.units(), crops_named(crops))
        is_example = given is None and query is None and engine is None
        source = engines.source_of(str(example.path()) if is_example else given, query, engine, reading)
        order = Order(
            Provenance(example.NAME if is_example else engines.name_of(source), local.WHO, note),
            source,
            alone=True,
            activate=activate,
            recipe=Recipe(recipe, epochs, learning_rate, batch_size, seed),
        )
        settings = Settings()
        every_epoch = recipe == "tutorial"
        with console.progress(as_json=bool(as_json), every_epoch=every_epoch, details=details, begins=LOADING) as show:
            outcome = local.train(settings, order, show)
        if as_json:
            console.print_json(outcome.report)
            return
        if outcome.predictions is not None:
            console.print_beside_targets(outcome.version.card.crops, *outcome.predictions)
        with local.Local(settings) as store:
            lines_of = source.path if isinstance(source, TableFile) else None
            besides.print_report(store, outcome.report, lines_of, details=details)


def _one_of(table: str | None, data: str | None) -> str | None:
    """Return the table that is given, as an argument or as an option.

    Raises:
        InvalidInput: both are.
    """
    if table is not None and data is not None:
        from app.data import engines

        raise InvalidInput(f"{engines.redacted(table)} and --data {engines.redacted(data)}: give one table")
    return table if table is not None else data


@CLI.command()
def predict(
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TABLE.csv]",
            show_default=False,
            help="Regions as CSV or Excel: region (optional) and the weather; - is standard input. "
            "Printed as CSV with the yields added.",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(show_default=False, help="Average over the season, °F unless said otherwise.")
    ] = None,
    rainfall: Annotated[
        float | None, typer.Option(show_default=False, help="Total over the season, mm unless said otherwise.")
    ] = None,
    humidity: Annotated[float | None, typer.Option(show_default=False, help="Average relative humidity, %.")] = None,
    region: Annotated[str | None, typer.Option(show_default=False, help="The region's name.")] = None,
    celsius: Celsius = False,
    kelvin: Kelvin = False,
    inches: Inches = False,
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
    uncounted: Annotated[
        bool, typer.Option("--uncounted", help="A trial: leave no trace in the service's drift and counts.")
    ] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Predict yields, tons: for one region's weather, or for a table of regions."""
    from app.cli import console

    weather = {"--temperature": temperature, "--rainfall": rainfall, "--humidity": humidity}
    with backend(url, as_json, Scales(celsius, kelvin, inches)) as orchard:
        if table is not None:
            if explain or region is not None or any(value is not None for value in weather.values()):
                raise InvalidInput(
                    "a table takes the options --level, --version, --effects, --exact, --uncounted, --celsius, "
                    "--kelvin, --inches, --url and --json only"
                )
            options: dict[str, Any] = {
                "level": level,
                "version": version,
                "effects": effects,
                "exact": exact,
                "count": not uncounted,
            }
            _predict_table(orchard, table, options, as_json=bool(as_json))
            if not as_json:
                besides.tell_example(orchard, version or "live")
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
            count=not uncounted,
        )
        if as_json:
            console.print_json(answer)
            return
        console.print_prediction(answer, level)
        besides.tell_example(orchard, answer.model_version)


def _predict_table(orchard: "Orchard | Local", table: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from app.cli import console
    from app.model.weather import FEATURE_NAMES

    content = sent.content(table)
    if not as_json:
        answer = orchard.predict_csv(content, **options)
        console.print_table(answer)
        besides.tell_extrapolated(answer)
        return
    asked = sent.regions(content, orchard.units)
    orchard.units = asked.units  # those of the header, too
    rows = zip(*(column.tolist() for column in asked.units.given(list(asked.table.weather.T))), strict=True)
    regions = [
        {"region": region}
        | {name: value for name, value in zip(FEATURE_NAMES, weather, strict=True) if not math.isnan(value)}
        for region, weather in zip(asked.table.regions, rows, strict=True)
    ]
    console.print_json(orchard.predict_many(regions, **options))


@CLI.command()
def retrain(
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HARVEST.csv]",
            show_default=False,
            help="Observations, CSV or Excel: region, season, weather, a column per crop; - is standard input. "
            "Without it, learn from what is stored.",
        ),
    ] = None,
    crops: Crops = None,
    celsius: Celsius = False,
    kelvin: Kelvin = False,
    inches: Inches = False,
    activate: Activation = "if_better",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; store nothing.")] = False,
    note: Note = "",
    key: Key = None,
    details: Details = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Learn from a harvest and all that is stored, and make the new version live if the gate finds it no worse.

    A version that is rejected is exit code 5. On the store alone this takes some seconds, most of which load torch; a
    running service has it loaded, and takes a moment.
    """
    from app.cli import console, local

    scales = Scales(celsius, kelvin, inches)
    with backend(url, as_json, scales) as orchard, sent.file(table) as given:
        sent.check_readable(table)
        scales.check_table(table)
        named = _crops_of_table(crops, table)
        begins = LOADING if isinstance(orchard, local.Local) else "starting"
        with console.progress(as_json=bool(as_json), details=details, begins=begins) as show:
            report = orchard.retrain(
                table=given, crops=named, activate=activate, dry_run=dry_run, note=note, key=key, progress=show
            )
        if as_json:
            console.print_json(report)
        else:
            besides.print_report(orchard, report, given, details=details)
        if report.decision == "rejected" and not report.activated:
            raise SystemExit(REJECTED)


def _crops_of_table(crops: str | None, table: Path | None) -> tuple[str, ...] | None:
    """Return the crops that are named.

    Raises:
        InvalidInput: they are, and there is no table.
    """
    if crops is not None and table is None:
        raise InvalidInput("--crops: goes with a table, whose columns it names, and none is given")
    return crops_named(crops)


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
        asked = service.season(sent.content(answer), Settings().max_rows, season_start, season_end, region)
        for note in service.notes(asked):
            print(f"orchard: {quoted(note)}", file=sys.stderr)
        if as_json:
            console.print_json(service.as_json(asked))
        else:
            console.print_table(service.as_csv(asked))


@CLI.command()
def activate(
    version: Version,
    note: Note = "",
    withdraw_later: Annotated[
        bool,
        typer.Option("--withdraw-later", help="Also withdraw from training what later versions have learned since."),
    ] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Make a version live: roll back or forward.

    What later versions have learned stays in training: the next retrain learns it again, unless it is withdrawn.
    """
    from app.cli import console, rollback

    with backend(url, as_json) as orchard:
        found = besides.left(orchard, version, needed=withdraw_later)
        line = orchard.activate(version, note=note)
        if not as_json:
            console.print_line(f"version {line.version} is live (line {line.number} of the log)")
        gone = []
        for batch in _withdrawn(orchard, found if withdraw_later else None, note):
            gone.append(batch)
            if not as_json:
                _print_withdrawn(batch)
        if as_json:
            console.print_json(line.model_dump(mode="json") | {"withdrawn": gone} if withdraw_later else line)
        elif withdraw_later:
            console.print_line(rollback.taken_out(len(gone)))
        elif found is not None:
            console.console().say(*found.sentences())


def _withdrawn(orchard: "Orchard | Local", found: "Left | None", note: str) -> "Iterator[BatchWithdrawn]":
    from app.cli import rollback

    yield from () if found is None else rollback.withdraw(orchard, found, note)


def _print_withdrawn(batch: "BatchWithdrawn") -> None:
    from app.cli import console

    console.print_line(f"batch {batch.batch}: {batch.rows} rows withdrawn")


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
    context: typer.Context,
    limit: Limit = 20,
    before: Before = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="All that is known of each, however wide the terminal is.")
    ] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """List the versions, newest first; show one, or compare two."""
    from app.cli import console, local

    if context.invoked_subcommand is not None:
        return
    with backend(url, as_json) as orchard:
        page = orchard.models(limit=limit, before=None if before is None else str(before))
        if as_json:
            console.print_json(page)
        elif page.versions or before is not None:
            console.print_versions(page, wide=wide)
        else:
            console.complain(f"{NO_MODEL}{f' in {orchard.place}' if isinstance(orchard, local.Local) else ''}")


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


@CLI.command()
def residuals(
    version: Annotated[str, typer.Argument(help="A version's number, or live.", show_default=False)] = "live",
    crop: Annotated[str | None, typer.Option(show_default=False, help="Of this crop alone.")] = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Show the rows that lie farthest from what a version, trained without them, predicts of them.

    As JSON all that `GET /models/{version}/residuals` answers, up to 2000 rows.
    """
    from app.cli import console

    with backend(url, as_json) as orchard:
        page = orchard.residuals(version, crop=crop)
        console.print_json(page) if as_json else console.print_residuals(page, limit)


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
            metavar="HARVEST.csv", show_default=False, help="Observations, as `orchard retrain` takes them; - too."
        ),
    ],
    crops: Crops = None,
    celsius: Celsius = False,
    kelvin: Kelvin = False,
    inches: Inches = False,
    note: Note = "",
    key: Key = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Store a batch for the next retrain, whole or not at all."""
    from app.cli import console

    with backend(url, as_json, Scales(celsius, kelvin, inches)) as orchard, sent.file(table) as given:
        sent.check_readable(table)
        assert given is not None  # noqa: S101 - it is required
        batch = orchard.store(table=given, crops=crops_named(crops), note=note, key=key)
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
        console.print_json(gone) if as_json else _print_withdrawn(gone)


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


@STORED.command("batches")
def batches(
    limit: Limit = 20,
    before: Annotated[str | None, typer.Option(show_default=False, help="Only those older than this batch.")] = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """List the batches, newest first: where their rows come from, and which are withdrawn from training."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        page = orchard.batches(limit=limit, before=before)
        console.print_json(page) if as_json else console.print_batches(page)


@CLI.command()
def forecast(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE.csv",
            show_default=False,
            help="Regions as CSV or Excel: region, season and the weather that is expected, id and due (a day) "
            "optional; - is standard input.",
        ),
    ],
    celsius: Celsius = False,
    kelvin: Kelvin = False,
    inches: Inches = False,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="The share of harvests to cover.")] = 0.95,
    version: Annotated[str | None, typer.Option(show_default=False, help="Another version than the live one.")] = None,
    note: Note = "",
    key: Key = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Predict a table of regions, and keep what was predicted, to be compared with the harvest once it is reported.

    A harvest finds its forecast by the column `forecast` (the id), or by its region and season.
    """
    from app.cli import console

    with backend(url, as_json, Scales(celsius, kelvin, inches)) as orchard, sent.file(table) as given:
        sent.check_readable(table)
        assert given is not None  # noqa: S101 - it is required
        stored = orchard.forecast(table=given, level=level, version=version, note=note, key=key)
        console.print_json(stored) if as_json else console.print_stored_forecasts(stored)


FORECASTS = typer.Typer(invoke_without_command=True)
CLI.add_typer(FORECASTS, name="forecasts")


@FORECASTS.callback()
def forecasts(
    context: typer.Context,
    region: Annotated[str | None, typer.Option(show_default=False, help="Of this region alone.")] = None,
    season: Annotated[str | None, typer.Option(show_default=False, help="Of this season alone.")] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Only those of which no harvest was reported so far.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 20,
    after: Annotated[str | None, typer.Option(show_default=False, help="Only those behind this cursor.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of them as a table.")] = False,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """List the stored forecasts, oldest first; list or erase their batches."""
    from app.cli import console

    if context.invoked_subcommand is not None:
        return
    with backend(url, as_json) as orchard:
        if as_csv and as_json:
            raise InvalidInput("--csv or --json, not both")
        if as_csv:
            from app.wire.forecasts import csv_of

            console.print_table(csv_of(orchard.forecasts(region=region, season=season, is_open=is_open)))
            return
        page = orchard.forecast_page(region=region, season=season, is_open=is_open, limit=limit, after=after)
        console.print_json(page) if as_json else console.print_forecasts(page)


@FORECASTS.command("batches")
def forecast_batches(
    limit: Limit = 20,
    before: Annotated[str | None, typer.Option(show_default=False, help="Only those older than this batch.")] = None,
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """List the batches of forecasts, newest first: by which version they were predicted, when and why."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        page = orchard.forecast_batches(limit=limit, before=before)
        console.print_json(page) if as_json else console.print_forecast_batches(page)


@FORECASTS.command("erase")
def erase(
    batch: Annotated[str, typer.Argument(help="A batch's id.", show_default=False)],
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Erase a batch of forecasts for good."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        gone = orchard.erase_forecasts(batch)
        console.print_json(gone) if as_json else print(f"batch {gone.batch}: {gone.rows} forecasts erased")


@CLI.command()
def scores(
    basis: Annotated[
        Literal["forecast", "arrival"],
        typer.Option(
            help="forecast: as forecasts were given. arrival: what the version that was live when yields were "
            "reported says of the weather reported with them; nothing need have been recorded for that."
        ),
    ] = "forecast",
    by: Annotated[
        str,
        typer.Option(
            help="What to group by, besides crops: some of version, season, region, lead, extrapolated, with commas "
            "between them."
        ),
    ] = "",
    url: Url = None,
    as_json: AsJson = None,
) -> None:
    """Score what was predicted against what was harvested: how far off it was, and whether intervals held."""
    from app.cli import console

    with backend(url, as_json) as orchard:
        page = orchard.scores(basis=basis, by=[by] if by else [])
        console.print_json(page) if as_json else console.print_scores(page)


@CLI.command()
def drift(url: Url = None, as_json: AsJson = None) -> None:
    """Say whether the weather that a service was asked about in the last day is like that of training."""
    from app.cli import console, local

    with backend(url, as_json) as orchard:
        if isinstance(orchard, local.Local):
            raise InvalidInput("drift is of what a running service has been asked: give --url, or set ORCHARD_URL")
        report = orchard.drift()
        console.print_json(report) if as_json else console.print_drift(report)


@CLI.command()
def access(url: Url = None, as_json: AsJson = None) -> None:
    """Say what the token may do at a service, or what may be done there without one."""
    from app.cli import console, local

    with backend(url, as_json) as orchard:
        if isinstance(orchard, local.Local):
            raise InvalidInput(
                "a running service says what a token may do: give --url, or set ORCHARD_URL; the local model store "
                "asks for none"
            )
        found = orchard.access()
        console.print_json(found) if as_json else console.print_access(found)


@CLI.command()
def glossary(as_json: AsJson = None) -> None:
    """Say what the terms in reports, warnings and answers mean, a line each."""
    from app.cli import console
    from app.model.glossary import GLOSSARY

    console.print_json(GLOSSARY) if as_json else console.print_glossary(GLOSSARY)


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
    from app.cli import first
    from app.cli.serve import Server  # other commands start without it

    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    # The environment is what worker processes inherit.
    os.environ.update({f"ORCHARD_{name}": str(value) for name, value in given.items() if value is not None})
    settings = Settings()
    with reported(as_json=settings.log_format == "json"):
        server = Server(settings)
        first.ensure(settings)
        server.run()
