"""What each call of the service is: its method, path and body, and what its answer becomes. Sends nothing.

Each call is described once, as a method of `Calls`: `Orchard` sends it and returns the answer, `AsyncOrchard` lets it
be awaited.
"""

import inspect
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_args, overload
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from app.client import values
from app.client.errors import Unreadable
from app.client.values import Number
from app.data.provenance import KEY_LENGTH, SOURCE_LENGTH
from app.model.progress import Step
from app.model.units import STORED, Units
from app.store.line import LogLine
from app.training.report import Activate, Report
from app.wire.media_types import CSV, GEOJSON, JSON, XLSX
from app.wire.schemas import (
    Access,
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    DriftReport,
    EffectsAsked,
    ForecastBatchPage,
    ForecastPage,
    ForecastRegion,
    ForecastsErased,
    ForecastsStored,
    LogPage,
    ObservationPage,
    OnePrediction,
    PredictionColumns,
    Readiness,
    RegionWeather,
    ReportedSeason,
    ResidualPage,
    ScorePage,
    SeveralPredictions,
    VersionCard,
    VersionPage,
)

if TYPE_CHECKING:
    from app.client.orchard import AsyncOrchard, Orchard

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Shape = TypeVar("Shape", bound=BaseModel)
Regions = Iterable[RegionWeather | Mapping[str, object]]
Seasons = Iterable[ReportedSeason | Mapping[str, object]]
Expected = Iterable[ForecastRegion | Mapping[str, object]]
TableContent = str | bytes | Path
"""CSV: its text, its bytes, or the file that holds it; or an Excel workbook: its bytes or its file."""
ZIP = b"PK\x03\x04"
"""What a workbook begins with."""

KEPT_ALIVE_S = 45.0
"""A stream of events that is silent for so long is dead: the service says something every 15 seconds."""
RESIDUALS_TIMEOUT_S = 310.0
"""All rows of a version are read, some ten thousand a second, for 300 seconds at most."""
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
_OBJECT = TypeAdapter(dict[str, Any])


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
        self._methods: dict[type, Callable[..., Any]] = {}
        described: Any = self
        update_wrapper(described, describe)

    @overload
    def __get__(self, client: "Orchard", kind: type) -> Callable[Parameters, Returned]: ...

    @overload
    def __get__(self, client: "AsyncOrchard", kind: type) -> Callable[Parameters, Coroutine[Any, Any, Returned]]: ...

    @overload
    def __get__(
        self, client: None, kind: "type[Orchard]"
    ) -> Callable[Concatenate["Orchard", Parameters], Returned]: ...

    @overload
    def __get__(
        self, client: None, kind: "type[AsyncOrchard]"
    ) -> Callable[Concatenate["AsyncOrchard", Parameters], Coroutine[Any, Any, Returned]]: ...

    def __get__(self, client: Any, kind: Any) -> Any:
        """Return the method of a class of clients, bound to a client where there is one."""
        method = self._methods.get(kind)
        if method is None:
            method = self._methods[kind] = _method(self._describe, kind)
        return method if client is None else MethodType(method, client)


def _method(describe: Callable[..., Call[Any]], kind: "type[Calls]") -> Callable[..., Any]:
    """Return a description as a method that sends the call; its signature says what the client returns."""

    def method(client: Any, /, *given: Any, **named: Any) -> Any:
        return client.send(describe(client, *given, **named))

    signature = inspect.signature(describe)
    returned = kind.returns(*get_args(signature.return_annotation))
    told: Any = update_wrapper(method, describe)
    del told.__wrapped__  # it returns something else
    told.__qualname__ = f"{kind.__qualname__}.{describe.__name__}"
    told.__annotations__ = {**describe.__annotations__, "return": returned}
    told.__signature__ = signature.replace(return_annotation=returned)
    return method


class Calls:
    """The calls that a service answers, except retraining and what takes several calls."""

    units = STORED
    """What weather is given in, and the answers' sentences speak of."""

    @staticmethod
    def returns(answer: Any) -> Any:
        """Return what the type of a call's result is, given that of its answer."""
        return answer

    @call
    def predict(
        self,
        *,
        temperature: Number | None = None,
        rainfall: Number | None = None,
        humidity: Number | None = None,
        region: str | None = None,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,
    ) -> Call[OnePrediction]:
        """Predict one region's yields, tons.

        ``temperature`` in °F and ``rainfall`` in mm, unless the client has ``units`` of its own, ``humidity`` in %;
        numbers of any kind, also NumPy's; what no crop of the model needs may be left out. ``level``: the share of
        harvests that an interval should cover, 0.95 if none is given. ``explain`` adds what weather and region
        contribute. ``version``: the live one if none is given. ``effects``: "none" predicts by the line that all
        regions have in common. ``exact``: intervals as wide as the rows of training alone would have them, whatever the
        record of earlier ones says. Without ``count`` the question leaves no trace in drift and in the counts of
        predictions: for curves, maps and trials, which ask about weather that no region has.
        """
        weather = given(temperature=temperature, rainfall=rainfall, humidity=humidity)
        asked = {"region": values.plain("region", region)} | {
            name: values.number(name, value) for name, value in weather.items()
        }
        options = _options(self.units, level, version, effects, exact, count=count, explain=explain)
        return _predict(reading(OnePrediction), asked, options)

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
        count: bool = True,
    ) -> Call[SeveralPredictions]:
        """Predict several regions, answered in their order; options as in `predict`."""
        options = _options(self.units, level, version, effects, exact, count=count, explain=explain)
        return _predict(reading(SeveralPredictions), {"regions": values.rows("regions", regions)}, options)

    @call
    def predict_columns(
        self,
        *,
        temperature: Iterable[Number] | None = None,
        rainfall: Iterable[Number] | None = None,
        humidity: Iterable[Number] | None = None,
        region: Iterable[str | None] | None = None,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,
    ) -> Call[PredictionColumns]:
        """Predict several regions, given and answered as columns of equal length: the quickest for many.

        A column is a list, an array of NumPy, a column of a DataFrame, or the like.
        """
        columns = given(temperature=temperature, rainfall=rainfall, humidity=humidity, region=region)
        asked = {name: values.column(name, column) for name, column in columns.items()}
        options = _options(self.units, level, version, effects, exact, count=count, explain=explain)
        return _predict(reading(PredictionColumns), asked, options)

    @call
    def predict_csv(
        self,
        table: TableContent,
        *,
        level: float | None = None,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,
    ) -> Call[str]:
        """Predict the regions of a table with the weather columns, and return it as CSV with the yields added."""
        options = _options(self.units, level, version, effects, exact, count=count)
        content = content_of(table)
        headers = {"Content-Type": _type_of(content), "Accept": CSV}
        return Call("POST", "/predict", bytes.decode, options, headers, content)

    @call
    def predict_geojson(
        self,
        collection: Mapping[str, Any],
        *,
        level: float | None = None,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,
    ) -> Call[dict[str, Any]]:
        """Predict the features of a GeoJSON object, and return it with the yields in their properties.

        A FeatureCollection or a Feature (RFC 7946), with the weather in ``properties``.
        """
        options = _options(self.units, level, version, effects, exact, count=count)
        headers = {"Content-Type": GEOJSON, "Accept": GEOJSON}
        return Call("POST", "/predict", _OBJECT.validate_json, options, headers, to_bytes(collection))

    @call
    def models(self, *, limit: int = 20, before: str | None = None) -> Call[VersionPage]:
        """List the versions, newest first; ``before``: the ``next`` of the page before."""
        return Call("GET", "/models", reading(VersionPage), {"limit": limit, "before": before})

    @call
    def card(self, version: str = "live") -> Call[VersionCard]:
        """Return what a version says about itself."""
        return Call("GET", f"/models/{_part(version)}", reading(VersionCard))

    @call
    def residuals(self, version: str = "live", *, crop: str | None = None) -> Call[ResidualPage]:
        """Return the rows that a version was trained on, beside what is predicted of them. Needs a token.

        ``crop``: of this one alone. Of more than 2000 rows those that lie farthest off, and some spread over all.
        """
        path = f"/models/{_part(version)}/residuals"
        return Call("GET", path, reading(ResidualPage), {"crop": crop}, patience_s=RESIDUALS_TIMEOUT_S)

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
    def access(self) -> Call[Access]:
        """Return what may be done with this client's token, or without one; `Rejected` where it is wrong."""
        return Call("GET", "/access", reading(Access))

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
        crops: Sequence[str] | None = None,
        note: str = "",
        key: str | None = None,
    ) -> Call[BatchStored]:
        """Store a batch of observations, as rows or as a table, for the next retrain. Needs a token.

        ``crops``: the columns of the table that hold yields; without it, all that are neither weather nor names.
        The name of a file is kept with its rows, as where they come from.
        ``key``: the idempotency key, under which the call can be repeated later; one is made if none is given.
        """
        query, headers, content = _sent(self.units, observations, table, crops, {"note": note}, key)
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

    @call
    def forecast(
        self,
        regions: Expected | None = None,
        *,
        table: TableContent | None = None,
        level: float | None = None,
        version: str | None = None,
        note: str = "",
        key: str | None = None,
    ) -> Call[ForecastsStored]:
        """Predict regions by the weather that is expected, and keep what was predicted. Needs a token.

        ``regions``, as rows or as a ``table``: each with ``region``, ``season`` and weather, and perhaps an ``id`` of
        its own and the day when the harvest is ``due``. ``level`` and ``version`` as in `predict`, ``key`` as in
        `store`.
        """
        query = {"level": level, "version": version, "note": values.plain("note", note) or None}
        named, headers, content = _sent(self.units, None, table, None, {}, key)
        if table is None:
            content = to_bytes({"regions": values.rows("regions", regions or ())})
        elif regions is not None:
            raise ValueError("give regions or a table, not both")
        return Call("POST", "/forecasts", reading(ForecastsStored), {**named, **query}, headers, content)

    @call
    def forecast_page(
        self,
        *,
        region: str | None = None,
        season: str | None = None,
        is_open: bool = False,
        limit: int = 1_000,
        after: str | None = None,
    ) -> Call[ForecastPage]:
        """Return a page of stored forecasts, oldest first; ``after``: a page's ``next``. Needs a token.

        ``is_open``: those of which no harvest was reported so far; such a page may be a short one.
        """
        query = {"region": region, "season": season, "open": is_open or None, "limit": limit, "after": after}
        return Call("GET", "/forecasts", reading(ForecastPage), query)

    @call
    def forecast_batches(self, *, limit: int = 100, before: str | None = None) -> Call[ForecastBatchPage]:
        """Return who stored which forecasts, newest first; ``before``: a page's ``next``. Needs a token."""
        query = {"limit": limit, "before": before}
        return Call("GET", "/forecasts/batches", reading(ForecastBatchPage), query)

    @call
    def erase_forecasts(self, batch: str) -> Call[ForecastsErased]:
        """Erase a batch of forecasts for good. Needs a token."""
        path = f"/forecasts/batches/{_part(batch)}"
        return Call("DELETE", path, reading(ForecastsErased), is_repeatable=False)  # then it is not there any more

    @call
    def scores(self, *, basis: Literal["forecast", "arrival"] = "forecast", by: Iterable[str] = ()) -> Call[ScorePage]:
        """Return what was predicted beside what was harvested: bias, error and coverage, in tons and in words.

        ``basis``: forecasts as they were given, or what the version that was live says of the weather that yields
        arrived with. ``by``: what to group by besides crops, such as "version", "season", "lead" or "extrapolated";
        "region" needs a token.
        """
        return Call("GET", "/scores", reading(ScorePage), {"basis": basis, "by": ",".join(by) or None})


EVENTS_CALL = Call("GET", "/events", bytes.decode, patience_s=KEPT_ALIVE_S)
"""What happens to the service: a stream, whose lines are read as they come."""


def retrain(
    units: Units,
    observations: Seasons | None,
    table: TableContent | None,
    crops: Sequence[str] | None,
    activate: Activate,
    dry_run: bool,
    note: str,
    key: str | None,
) -> Call[Report]:
    """Describe a retrain: on new observations and all that is stored, or on what is stored alone."""
    options = {"activate": activate, "dry_run": dry_run, "note": note}
    query, headers, content = _sent(units, observations, table, crops, options, key)
    return Call("POST", "/retrain", reading(Report), query, headers, content, patience_s=RETRAIN_TIMEOUT_S)


def _predict(read: Callable[[bytes], Shape], body: Mapping[str, Any], options: Mapping[str, Any]) -> Call[Shape]:
    return Call("POST", "/predict", read, options, {"Content-Type": JSON}, to_bytes(body))


def _options(
    units: Units,
    level: float | None,
    version: str | None,
    effects: EffectsAsked | None,
    exact: bool,
    *,
    count: bool,
    explain: bool = False,
) -> dict[str, Any]:
    """Return the query of a prediction."""
    options = {"level": level, "explain": explain or None, "version": version, "effects": effects}
    return options | {"exact": exact or None, "count": None if count else False} | _named(units)


def _named(units: Units) -> dict[str, str]:
    """Return what a query says of units: nothing where nobody has said any."""
    return {f"{feature}_unit": unit for feature, unit in units.named.items()}


def _sent(
    units: Units,
    observations: Seasons | None,
    table: TableContent | None,
    crops: Sequence[str] | None,
    options: dict[str, Any],
    key: str | None,
) -> tuple[Mapping[str, Any], Mapping[str, str], bytes]:
    """Return query, headers and body: a table has its options in the query, rows have them beside them."""
    if observations is not None and table is not None:
        raise ValueError("give observations or a table, not both")
    if crops is not None and (table is None or isinstance(crops, str)):
        raise ValueError("crops are names of a table's columns, as a list: give them with a table")
    if key is not None and (problem := key_problem(key)):
        raise ValueError(problem)
    headers = {"Idempotency-Key": secrets.token_hex(16) if key is None else key}
    query, options = _named(units), {name: values.plain(name, value) for name, value in options.items()}
    if table is not None:
        content = content_of(table)
        query |= {} if crops is None else {"crops": ",".join(crops)}
        return query | options | _source(table), headers | {"Content-Type": _type_of(content)}, content
    rows = {} if observations is None else {"observations": values.rows("observations", observations)}
    return query, headers | {"Content-Type": JSON}, to_bytes(rows | options)


def _type_of(table: bytes) -> str:
    """Return a table's content type by what it begins with."""
    return XLSX if table.startswith(ZIP) else CSV


def _source(table: TableContent) -> dict[str, str]:
    """Return what a query says of where a table comes from: a file's name, if it can be told."""
    if isinstance(table, Path) and table.name.isprintable() and len(table.name) <= SOURCE_LENGTH:
        return {"source": table.name}
    return {}


def given(**values: Any) -> dict[str, Any]:
    """Return those that were given: None is left out."""
    return {name: value for name, value in values.items() if value is not None}


def key_problem(key: str) -> str | None:
    """Say why a text cannot be an idempotency key, or return None."""
    if 1 <= len(key) <= KEY_LENGTH and key.isascii() and key.isprintable():
        return None
    return f"an idempotency key has 1 to {KEY_LENGTH} printable characters of ASCII"


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """Return JSON; a number that is not finite is written as such, so that the service can say where it is.

    Raises:
        ValueError: it holds what JSON cannot hold.
    """
    try:
        return to_json(body, inf_nan_mode="constants", fallback=partial(values.plain, "the body"))
    except PydanticSerializationError as error:
        raise ValueError(f"what is to be sent cannot be written as JSON: {error}") from error


def content_of(table: TableContent) -> bytes:
    """Return a table's bytes.

    Raises:
        ValueError: it is the name of a file, or no table at all.
    """
    if isinstance(table, Path):
        return table.read_bytes()
    if isinstance(table, str):
        if _is_name(table):
            raise ValueError(f"the table is one line of text: a file is a pathlib.Path: Path({table!r})")
        return table.encode()
    if isinstance(table, bytes | bytearray | memoryview):
        return bytes(table)
    raise ValueError(
        f"a {type(table).__name__} is no table: give CSV as text or bytes, or the pathlib.Path of a file; of a "
        "DataFrame, give its to_csv(index=False)"
    )


def _is_name(text: str) -> bool:
    """Tell whether a text is a file's name rather than a table: one line with a slash, or an ending behind a dot."""
    return len(text.splitlines()) == 1 and "," not in text and ("/" in text or bool(Path(text).suffix))


def _part(name: str) -> str:
    """Return a name as one part of a path, whatever it holds."""
    return quote(name, safe="").replace(".", "%2E")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
