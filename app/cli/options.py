"""What commands have in common: options, where they work (a service or the local store), and how they end.

What is not needed by every command is imported by the one that needs it, so that each starts quickly.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from pydantic import ValidationError

from app.cli.terminal import escaped, escaped_json, wrapped
from app.errors import (
    Conflict,
    FieldError,
    InputError,
    InvalidInput,
    NotReady,
    OrchardError,
    ServiceError,
    StoreUnavailable,
)
from app.settings import PREFIX, Settings
from app.training.report import Activate

if TYPE_CHECKING:
    from app.cli.local import Local
    from app.client import ClientError, Orchard
    from app.model.units import Units

DONE, OTHER, WRONG, CONFLICT, UNAVAILABLE, REJECTED = range(6)
EXIT_CODES = {
    DONE: "done",
    OTHER: "anything that is not below",
    WRONG: "the input, an option, a setting or the token is wrong, or there is no such version or batch",
    CONFLICT: "another training is running, or the idempotency key was used for another request",
    UNAVAILABLE: "what it needs is not available, or damaged: the service, a model, the store, the address, torch",
    REJECTED: "a retrain is done, and the gate has rejected its version: it is not live",
}
NO_MODEL, NONE_LIVE, STORE = "no model has been trained yet", "there are versions, and none is live", "the model store"
"""What is said of a model store, and does not name it: over HTTP its path is nobody's business."""
LISTED_FAULTS = 20
"""Faults that are printed one by one; the rest is counted."""


def _remember(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Let an option count for the commands below the one it was given to."""
    name = f"orchard.{parameter.name}"
    if value is not None:
        context.meta[name] = value
    return context.meta.get(name)


def _checked_key(value: str | None) -> str | None:
    if value is not None:
        from app.client.calls import key_problem

        if problem := key_problem(value):
            raise typer.BadParameter(problem)
    return value


def _checked_note(value: str) -> str:
    from app.data.naming import note_problem

    if problem := note_problem(value):
        raise typer.BadParameter(f"the note {problem}")
    return value


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        callback=_remember,
        show_default=False,
        help="A running service; ORCHARD_URL if not given. Without either, or with '', the local model store.",
    ),
]
AsJson = Annotated[
    bool | None,
    typer.Option(
        "--json",
        callback=_remember,
        show_default=False,
        help="Print the service's JSON, and an error's on standard error.",
    ),
]
Activation = Annotated[Activate, typer.Option(help="Whether the version becomes live.")]
Note = Annotated[str, typer.Option(callback=_checked_note, help="Why, for the records.")]
Details = Annotated[
    bool, typer.Option("--details", help="Add all figures: losses, coefficients, scores and every reason.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        callback=_checked_key,
        show_default=False,
        help="An idempotency key: repeated with it, a call is answered as before.",
    ),
]
Celsius = Annotated[bool, typer.Option("--celsius", help="Temperatures are in °C, not in °F.")]
Kelvin = Annotated[bool, typer.Option("--kelvin", help="Temperatures are in kelvin, not in °F.")]
Inches = Annotated[bool, typer.Option("--inches", help="Rainfall is in inches, not in mm.")]
Crops = Annotated[
    str | None,
    typer.Option(
        "--crops",
        show_default=False,
        help="The columns that are crops, as in mango,orange; else all that may be.",
    ),
]
Version = Annotated[str, typer.Argument(help="A version's number.", show_default=False)]


class Scales(NamedTuple):
    """The options that say what weather is given in."""

    celsius: bool = False
    kelvin: bool = False
    inches: bool = False

    def units(self) -> "Units":
        """Return the units that are meant.

        Raises:
            InvalidInput: temperatures would be in two.
        """
        from app.model.units import Units

        if self.celsius and self.kelvin:
            raise InvalidInput("--celsius and --kelvin: temperatures are in one of them, give the one that they are in")
        if self.celsius or self.kelvin:
            return Units("celsius" if self.celsius else "kelvin", "inch" if self.inches else None)
        return Units(None, "inch" if self.inches else None)

    def check_table(self, table: object | None) -> None:
        """See that there is a table whose weather they are about.

        Raises:
            InvalidInput: there is none.
        """
        if table is None and any(self):
            named = " and ".join(f"--{name}" for name, is_given in self._asdict().items() if is_given)
            raise InvalidInput(f"{named}: goes with a table, and none is given")


AS_STORED = Scales()
"""Nothing is said of units: weather is in °F and mm, or in what the header of a table says."""


def crops_named(listed: str | None) -> tuple[str, ...] | None:
    """Return the names in a list with commas; None for none.

    Raises:
        InvalidInput: there is no name in it.
    """
    if listed is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    if not names:
        raise InvalidInput(f"--crops {listed!r} names no crop: write it as in --crops mango,orange")
    return names


@contextmanager
def backend(url: str | None, as_json: bool | None, scales: Scales = AS_STORED) -> Iterator["Orchard | Local"]:
    """Return what answers: a running service, or the local model store. Ends the command if that fails.

    ``scales``: what the weather that it is given is in.
    """
    with reported(as_json=as_json):
        units = scales.units()
        settings = Settings()
        if not (address := settings.url if url is None else url):
            from app.cli.local import Local

            with Local(settings, units) as local:
                yield local
            return
        from app.client import ClientError

        try:
            with _client(address, settings, units) as client:
                yield client
        except ClientError as error:
            _tell(error, _problem(error) if as_json else None)
            raise SystemExit(_code_of_answer(error)) from error


def _client(url: str, settings: Settings, units: "Units") -> "Orchard":
    from app.client import Orchard

    token = settings.token.get_secret_value() if settings.token is not None else None
    try:
        return Orchard(url, token, units=units)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


@contextmanager
def reported(*, as_json: bool | None = None) -> Iterator[None]:
    """Turn Orchard's own errors into a message, or a problem as JSON, and an exit code."""
    try:
        yield
    except OrchardError as error:
        _name_store(error)
        if as_json:
            from app.wire import problems

            _tell(error, problems.body(error))
        else:
            _tell(error, None)
        raise SystemExit(_code(error)) from error
    except ValidationError as error:
        for fault in error.errors():
            # What is wrong with several together names them itself.
            name = f"{PREFIX}{'_'.join(map(str, fault['loc'])).upper()}: " if fault["loc"] else ""
            print(f"orchard: {name}{fault['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        raise SystemExit(WRONG) from error


def _name_store(error: OrchardError) -> None:
    """Add which model store it is about: a command may be in another folder than one thinks."""
    told = NO_MODEL, NONE_LIVE, STORE
    if isinstance(error, NotReady | StoreUnavailable) and any(words in error.detail for words in told):
        try:
            place = Settings().place
        except ValidationError:
            return
        error.detail = (
            error.detail.replace(NO_MODEL, f"{NO_MODEL} in {place}")
            .replace(NONE_LIVE, f"{NONE_LIVE} in {place}")
            .replace(STORE, f"{STORE} {place}")
        )


def _code(error: OrchardError) -> int:
    if isinstance(error, InputError):
        return WRONG
    if isinstance(error, Conflict):
        return CONFLICT
    return UNAVAILABLE if isinstance(error, ServiceError) else OTHER


def _code_of_answer(error: "ClientError") -> int:
    from app import client

    if isinstance(error, client.Rejected):
        return WRONG
    if isinstance(error, client.Conflict):
        return CONFLICT
    return UNAVAILABLE if isinstance(error, client.Unavailable | client.Unreachable) else OTHER


def _problem(error: "ClientError") -> dict[str, Any]:
    """Return a service's problem as it was, and any other failure in the same shape."""
    problem = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": error.request_id,
    }
    listed = [{"loc": fault.loc, "message": fault.message, "code": fault.code} for fault in error.errors]
    return problem | ({"errors": listed} if listed else {})


def _tell(error: "OrchardError | ClientError", problem: dict[str, Any] | None) -> None:
    if problem is not None:
        print(escaped_json(json.dumps(problem, ensure_ascii=False)), file=sys.stderr)
        return
    _complain(f"orchard: {escaped(error.detail)}")
    if len(error.errors) > 1:
        for fault in error.errors[:LISTED_FAULTS]:
            _complain(f"  {escaped(_placed(fault, error.detail, error.errors[0]))}")
        if len(error.errors) > LISTED_FAULTS:
            print(f"  … and {len(error.errors) - LISTED_FAULTS} more", file=sys.stderr)


def _complain(text: str) -> None:
    """Print on standard error; on a terminal lines end between words."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(wrapped(line, width, "    ") for line in text.split("\n"))
    print(text, file=sys.stderr)


def _placed(fault: FieldError, detail: str, first: FieldError) -> str:
    """Return a fault with its place, which a table's faults have in their message and a JSON body's do not."""
    is_placed = detail.startswith(first.message)
    return fault.message if is_placed else f"{'.'.join(map(str, fault.loc))}: {fault.message}"
