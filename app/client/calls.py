"""What each call of the service is: its method, path and body, and what its answer becomes. Sends nothing.

Each call is described once, as a method of `Calls`: `Orchard` sends it and returns the answer, `AsyncOrchard` lets it
be awaited.
"""

import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from app.client.errors import Unreadable
from app.data.provenance import KEY_LENGTH
from app.model.progress import Step
from app.store.line import LogLine
from app.training.report import Activate, Report
from app.wire.media_types import CSV, JSON
from app.wire.schemas import (
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    DriftReport,
    EffectsAsked,
    LogPage,
    ObservationPage,
    OnePrediction,
    PredictionColumns,
    Readiness,
    RegionWeather,
    ReportedSeason,
    SeveralPredictions,
    VersionCard,
    VersionPage,
)

if TYPE_CHECKING:
    from app.client.orchard import AsyncOrchard, Orchard

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Shape = TypeVar("Shape", bound=BaseModel)
Regions = Sequence[RegionWeather | Mapping[str, object]]
Seasons = Sequence[ReportedSeason | Mapping[str, object]]
TableContent = str | bytes | Path
"""CSV: its text, its bytes, or the file that holds it."""

RETRAIN_TIMEOUT_S = 660.0
"""A retrain may take as long as the service lets it (ORCHARD_RETRAIN_TIMEOUT_S, by default 600), seconds."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Returned]):
    """One call. ``read`` makes its answer of a response's content.

    ``is_repeatable``: doing it twice is the same as doing it once. ``patience_s``: how long it may take, if longer than
    others.
    """

    method: str
    path: str
    read: Callable[[bytes], Returned]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    is_repeatable: bool = True
    is_retried: bool = True
    patience_s: float = 0.0

    def answer(self, response: httpx.Response) -> Returned:
        """Return what a successful response says.

        Raises:
            Unreadable: it is not what Orchard answers.
        """
        try:
            return self.read(response.content)
        except (ValidationError, UnicodeDecodeError) as error:
            raise Unreadable(
                f"the answer to {self.method} {self.path} is not Orchard's: {_first_line(error)}"
            ) from error


_STEP = TypeAdapter(Step)


def step(data: str) -> Step:
    """Read a progress event's data.

    Raises:
        Unreadable: it is not one.
    """
    try:
        return _STEP.validate_json(data, extra="ignore")
    except ValidationError as error:
        raise Unreadable(f"a progress event is not Orchard's: {_first_line(error)}") from error


def reading(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """Return what validates an answer; what a newer service adds to it is passed over."""
    return partial(shape.model_validate_json, extra="ignore")


class call(Generic[Parameters, Returned]):  # noqa: N801 - used as a decorator
    """A description of a call as a method: of `Orchard` it returns the answer, of `AsyncOrchard` it can be awaited."""

    def __init__(self, describe: Callable[Concatenate[Any, Parameters], Call[Returned]]) -> None:
        self._describe = describe
        described: Any = self
        update_wrapper(described, describe)

    @overload
    def __get__(self, client: "Orchard", kind: type) -> Callable[Parameters, Returned]: ...

    @overload
    def __get__(self, client: "AsyncOrchard", kind: type) -> Callable[Parameters, Coroutine[Any, Any, Returned]]: ...

    @overload
    def __get__(self, client: None, kind: type) -> "call[Parameters, Returned]": ...

    def __get__(self, client: Any, kind: type) -> Any:
        """Return the method bound to a client, which knows how to send."""
        if client is None:
            return self

        def bound(*values: Parameters.args, **named: Parameters.kwargs) -> Any:
            return client.send(self._describe(client, *values, **named))

        return update_wrapper(bound, self._describe)


class Calls:
    """The calls that a service answers, except retraining and what takes several calls."""

    @call
    def predict(
        self,
        *,
        temperature: float | None = None,
        rainfall: float | None = None,
        humidity: float | None = None,
        region: str | None = None,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
    ) -> Call[OnePrediction]:
        """Predict one region's yields, tons.

        ``temperature`` in °F, ``rainfall`` in mm, ``humidity`` in %; what no crop of the model needs may be left out.
        ``level``: the share of harvests that an interval
        should cover, 0.95 if none is given. ``explain`` adds what weather and region contribute. ``version``: the live
        one if none is given. ``effects``: "none" predicts by the line that all regions have in common. ``exact``:
        intervals as wide as the rows of training alone would have them, whatever the record of earlier ones says.
        """
        weather = given(temperature=temperature, rainfall=rainfall, humidity=humidity)
        return _predict(
            reading(OnePrediction),
            {"region": region, **weather},
            _options(level, version, effects, exact, explain=explain),
        )

    @call
    def predict_many(
        self,
        regions: Regions,
        *,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
    ) -> Call[SeveralPredictions]:
        """Predict several regions, answered in their order; options as in `predict`."""
        options = _options(level, version, effects, exact, explain=explain)
        return _predict(reading(SeveralPredictions), {"regions": list(regions)}, options)

    @call
    def predict_columns(
        self,
        *,
        temperature: Sequence[float] | None = None,
        rainfall: Sequence[float] | None = None,
        humidity: Sequence[float] | None = None,
        region: Sequence[str | None] | None = None,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
    ) -> Call[PredictionColumns]:
        """Predict several regions, given and answered as columns of equal length: the quickest for many."""
        weather = given(temperature=temperature, rainfall=rainfall, humidity=humidity)
        columns: dict[str, Any] = {name: list(column) for name, column in weather.items()}
        if region is not None:
            columns["region"] = list(region)
        return _predict(reading(PredictionColumns), columns, _options(level, version, effects, exact, explain=explain))

    @call
    def predict_csv(
        self,
        table: TableContent,
        *,
        level: float | None = None,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
    ) -> Call[str]:
        """Predict the regions of a table with the weather columns, and return it as CSV with the yields added."""
        return Call(
            "POST",
            "/predict",
            bytes.decode,
            _options(level, version, effects, exact),
            {"Content-Type": CSV, "Accept": CSV},
            content_of(table),
        )

    @call
    def models(self, *, limit: int = 20, before: str | None = None) -> Call[VersionPage]:
        """List the versions, newest first; ``before``: the ``next`` of the page before."""
        return Call("GET", "/models", reading(VersionPage), {"limit": limit, "before": before})

    @call
    def card(self, version: str = "live") -> Call[VersionCard]:
        """Return what a version says about itself."""
        return Call("GET", f"/models/{_part(version)}", reading(VersionCard))

    @call
    def activate(self, version: str, *, note: str = "") -> Call[LogLine]:
        """Make a version live: roll back or forward. Needs a token."""
        return Call(
            "POST",
            f"/models/{_part(version)}/activate",
            reading(LogLine),
            headers={"Content-Type": JSON},
            content=to_json({"note": note}),
            is_repeatable=False,  # it would be in the log twice
        )

    @call
    def log(self, *, limit: int = 100, before: int | None = None) -> Call[LogPage]:
        """Return who made which version live, why and when, newest first; ``before`` as in `models`."""
        return Call("GET", "/models/log", reading(LogPage), {"limit": limit, "before": before})

    @call
    def drift(self) -> Call[DriftReport]:
        """Return how far the weather asked about is from that of training."""
        return Call("GET", "/models/live/drift", reading(DriftReport))

    @call
    def ready(self) -> Call[Readiness]:
        """Return the live version, or raise `Unavailable` at once."""
        return Call("GET", "/health/ready", reading(Readiness), is_retried=False)

    @call
    def store(
        self,
        observations: Seasons | None = None,
        *,
        table: TableContent | None = None,
        note: str = "",
        key: str | None = None,
    ) -> Call[BatchStored]:
        """Store a batch of observations, as rows or as a table, for the next retrain. Needs a token.

        ``key``: the idempotency key, under which the call can be repeated later; one is made if none is given.
        """
        query, headers, content = _sent(observations, table, {"note": note}, key)
        return Call("POST", "/observations", reading(BatchStored), query, headers, content)

    @call
    def observation_page(self, *, limit: int = 1_000, after: str | None = None) -> Call[ObservationPage]:
        """Return a page of stored observations, oldest first; ``after``: a page's ``next``. Needs a token."""
        return Call("GET", "/observations", reading(ObservationPage), {"limit": limit, "after": after})

    @call
    def batches(self, *, limit: int = 100, before: str | None = None) -> Call[BatchPage]:
        """Return who stored which batch, when and why, newest first; ``before``: a page's ``next``. Needs a token."""
        return Call("GET", "/observations/batches", reading(BatchPage), {"limit": limit, "before": before})

    @call
    def withdraw(self, batch: str, *, note: str = "") -> Call[BatchWithdrawn]:
        """Take a batch out of future training; nothing is erased. Needs a token."""
        return Call("DELETE", f"/observations/batches/{_part(batch)}", reading(BatchWithdrawn), {"note": note})

    @call
    def restore(self, batch: str, *, note: str = "") -> Call[BatchRestored]:
        """Take a withdrawn batch back into training. Needs a token."""
        path = f"/observations/batches/{_part(batch)}/restore"
        return Call("POST", path, reading(BatchRestored), {"note": note}, is_repeatable=True)


def retrain(
    observations: Seasons | None,
    table: TableContent | None,
    activate: Activate,
    dry_run: bool,
    note: str,
    key: str | None,
) -> Call[Report]:
    """Describe a retrain: on new observations and all that is stored, or on what is stored alone."""
    options = {"activate": activate, "dry_run": dry_run, "note": note}
    query, headers, content = _sent(observations, table, options, key)
    return Call("POST", "/retrain", reading(Report), query, headers, content, patience_s=RETRAIN_TIMEOUT_S)


def _predict(read: Callable[[bytes], Shape], body: Mapping[str, Any], options: Mapping[str, Any]) -> Call[Shape]:
    return Call("POST", "/predict", read, options, {"Content-Type": JSON}, to_bytes(body))


def _options(
    level: float | None, version: str | None, effects: EffectsAsked | None, exact: bool, *, explain: bool = False
) -> dict[str, Any]:
    """Return the query of a prediction."""
    return {"level": level, "explain": explain or None, "version": version, "effects": effects, "exact": exact or None}


def _sent(
    observations: Seasons | None, table: TableContent | None, options: dict[str, Any], key: str | None
) -> tuple[Mapping[str, Any], Mapping[str, str], bytes]:
    """Return query, headers and body: a table has its options in the query, rows have them beside them."""
    if observations is not None and table is not None:
        raise ValueError("give observations or a table, not both")
    if key is not None and (problem := key_problem(key)):
        raise ValueError(problem)
    headers = {"Idempotency-Key": secrets.token_hex(16) if key is None else key}
    if table is not None:
        return options, headers | {"Content-Type": CSV}, content_of(table)
    rows = {} if observations is None else {"observations": list(observations)}
    return {}, headers | {"Content-Type": JSON}, to_bytes(rows | options)


def given(**values: Any) -> dict[str, Any]:
    """Return those that were given: None is left out."""
    return {name: value for name, value in values.items() if value is not None}


def key_problem(key: str) -> str | None:
    """Say why a text cannot be an idempotency key, or return None."""
    if 1 <= len(key) <= KEY_LENGTH and key.isascii() and key.isprintable():
        return None
    return f"an idempotency key has 1 to {KEY_LENGTH} printable characters of ASCII"


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """Return JSON; a number that is not finite is written as such, so that the service can say where it is."""
    return to_json(body, inf_nan_mode="constants")


def content_of(table: TableContent) -> bytes:
    """Return a table's bytes."""
    if isinstance(table, Path):
        return table.read_bytes()
    return table.encode() if isinstance(table, str) else table


def _part(name: str) -> str:
    """Return a name as one part of a path, whatever it holds."""
    return quote(name, safe="").replace(".", "%2E")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
