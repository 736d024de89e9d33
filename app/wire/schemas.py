"""Request and response shapes.

Numbers are strict: no strings, no booleans, finite; unknown fields are refused by name. Names may be given as whole
numbers, which codes of regions and years often are: they become text.
"""

import math
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    create_model,
    model_validator,
)

from app.data.naming import (
    CROP_PATTERN,
    ID_LENGTH,
    MAX_CROPS,
    NAME_PATTERN,
    NOTE_PATTERN,
    crop_name_problem,
    day_of,
)
from app.model.weather import FEATURE_NAMES, REGION_LENGTH, WEATHER, YIELD, Feature
from app.model.worth import By
from app.store.card import Card, Decision
from app.store.line import LogLine
from app.training.report import Activate


def _number(feature: Feature) -> Any:
    description = f"{feature.meaning}, {feature.unit}"
    return Field(ge=feature.low, le=feature.high, allow_inf_nan=False, description=description)


Temperature = Annotated[float, _number(WEATHER[0])]
Rainfall = Annotated[float, _number(WEATHER[1])]
Humidity = Annotated[float, _number(WEATHER[2])]
Tons = Annotated[float, _number(YIELD)]
EXACT = 2**53
"""Below this every whole number is a float64, too, so that no program on its way has changed it."""


def _as_text(name: Any) -> Any:
    """Return a whole number as text; what is none, as it is."""
    return str(name) if type(name) is int and abs(name) < EXACT else name


_Code = Annotated[int, Field(gt=-EXACT, lt=EXACT)]
_PlainName = Annotated[str, Field(max_length=REGION_LENGTH)]
_PlainStoredName = Annotated[str, Field(max_length=REGION_LENGTH, pattern=NAME_PATTERN)]
_PlainId = Annotated[str, Field(max_length=ID_LENGTH, pattern=NAME_PATTERN)]
ForecastId = Annotated[_PlainId, BeforeValidator(_as_text, json_schema_input_type=_PlainId | _Code)]
"""What a forecast is called by; empty: nothing."""


def _day(text: str) -> str:
    if text:
        day_of(text)
    return text


Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
"""A day as text, YYYY-MM-DD; empty: none."""
Name = Annotated[_PlainName, BeforeValidator(_as_text, json_schema_input_type=_PlainName | _Code)]
StoredName = Annotated[_PlainStoredName, BeforeValidator(_as_text, json_schema_input_type=_PlainStoredName | _Code)]
_SomeName = Annotated[_PlainStoredName, Field(min_length=1)]
NeededName = Annotated[_PlainStoredName, BeforeValidator(_as_text, json_schema_input_type=_SomeName | _Code)]
"""A name that may not be empty: the document says so, and what reads forecasts says why."""


def _nothing() -> float:
    return math.nan


MAY_LACK: Any = Field(default_factory=_nothing, exclude_if=math.isnan)
"""A number that may be left out, and is NaN then."""


def _is_none(value: object) -> bool:
    return value is None


_MAY_BE_NONE: Any = Field(default=None, exclude_if=_is_none)
"""What is not written where there is none: answers without it are what they were before it was."""
NOTE_LENGTH = 1_000
Note = Annotated[str, Field(max_length=NOTE_LENGTH, pattern=NOTE_PATTERN)]


def _crop_name(name: str) -> str:
    if problem := crop_name_problem(name):
        raise ValueError(problem)
    return name


CropName = Annotated[
    str,
    AfterValidator(_crop_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": REGION_LENGTH, "pattern": CROP_PATTERN}),
]

Yields = Annotated[
    dict[CropName, Tons], Field(min_length=1, max_length=MAX_CROPS, json_schema_extra={"additionalProperties": False})
]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Loose(BaseModel):
    """What others have made: members that are not named here are not looked at."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class PlainRegion(_Request):
    """One region's season, whose name is text: what the express lane answers."""

    region: _PlainName | None = None
    temperature: Temperature
    rainfall: Rainfall
    humidity: Humidity


class RegionWeather(PlainRegion):
    """One region's season."""

    region: Name | None = None


class SeveralRegions(_Request):
    """Several regions, answered in the same order."""

    regions: Annotated[list[RegionWeather], Field(min_length=1, fail_fast=True)]


class WeatherColumns(_Request):
    """Several regions as columns of equal length, answered as columns."""

    temperature: Annotated[list[Temperature], Field(min_length=1, fail_fast=True)]
    rainfall: Annotated[list[Rainfall], Field(fail_fast=True)]
    humidity: Annotated[list[Humidity], Field(fail_fast=True)]
    region: Annotated[list[Name | None], Field(fail_fast=True)] | None = None

    @property
    def rows(self) -> int:
        """How many regions there are."""
        return max(len(self.temperature), len(self.rainfall), len(self.humidity))

    @model_validator(mode="after")
    def _equal_lengths(self) -> Self:
        given = {name: column for name, column in self if name in self.model_fields_set and column is not None}
        first = next((name for name in given if name != "region"), None)
        for name, column in given.items():
            if first is not None and len(column) != len(given[first]):
                raise ValueError(f"{name} has {len(column)} values, {first} {len(given[first])}")
        return self


def shape_of(body: Any) -> str:
    """Return which of its shapes a question has: `one`, `several` or `columns`."""
    if isinstance(body, dict):
        if "regions" in body:
            return "several"
        if any(isinstance(body.get(feature.name), list) for feature in WEATHER):
            return "columns"
    return "one"


PredictRequest = Annotated[
    Annotated[RegionWeather, Tag("one")]
    | Annotated[SeveralRegions, Tag("several")]
    | Annotated[WeatherColumns, Tag("columns")],
    Discriminator(shape_of),
]
PREDICT_REQUEST: TypeAdapter[RegionWeather | SeveralRegions | WeatherColumns] = TypeAdapter(PredictRequest)
"""A question that has all features."""


@cache
def predict_request(needed: frozenset[str]) -> TypeAdapter[RegionWeather | SeveralRegions | WeatherColumns]:
    """Return what validates a question that need have these features only.

    Of those that it does not have a region's value is NaN, and a column is empty.
    """
    if needed >= set(FEATURE_NAMES):
        return PREDICT_REQUEST
    kinds = dict(zip(FEATURE_NAMES, (Temperature, Rainfall, Humidity), strict=True))
    optional = {name: kind for name, kind in kinds.items() if name not in needed}
    values: Any = {name: (kind, Field(default_factory=_nothing)) for name, kind in optional.items()}
    columns: Any = {
        name: (Annotated[list[kind], Field(min_length=1, fail_fast=True)], Field(default_factory=list))  # type: ignore[valid-type]
        for name, kind in optional.items()
    }
    one: Any = create_model("RegionWeather", __base__=RegionWeather, **values)
    regions: Any = (Annotated[list[one], Field(min_length=1, fail_fast=True)], ...)
    several: Any = create_model("SeveralRegions", __base__=SeveralRegions, regions=regions)
    in_columns: Any = create_model("WeatherColumns", __base__=WeatherColumns, **columns)
    shapes: Any = Annotated[
        Annotated[one, Tag("one")] | Annotated[several, Tag("several")] | Annotated[in_columns, Tag("columns")],
        Discriminator(shape_of),
    ]
    return TypeAdapter(shapes)


class ForecastRegion(_Request):
    """What is forecast: a region's season by the weather that is expected, and the day when its harvest is due.

    ``id``: what the forecast is called by, one that no other has; without it, it is given one. A feature that no crop
    of the model needs may be left out.
    """

    id: ForecastId | None = _MAY_BE_NONE
    region: NeededName
    season: NeededName
    due: Day | None = _MAY_BE_NONE
    temperature: Temperature = MAY_LACK
    rainfall: Rainfall = MAY_LACK
    humidity: Humidity = MAY_LACK


class SeveralForecasts(_Request):
    """Several regions' forecasts, stored in the same order."""

    regions: Annotated[list[ForecastRegion], Field(min_length=1, fail_fast=True)]


class ForecastColumns(_Request):
    """Several regions' forecasts as columns of equal length."""

    id: Annotated[list[ForecastId | None], Field(fail_fast=True)] | None = None
    region: Annotated[list[NeededName], Field(min_length=1, fail_fast=True)]
    season: Annotated[list[NeededName], Field(fail_fast=True)]
    due: Annotated[list[Day | None], Field(fail_fast=True)] | None = None
    temperature: Annotated[list[Temperature], Field(fail_fast=True)] | None = None
    rainfall: Annotated[list[Rainfall], Field(fail_fast=True)] | None = None
    humidity: Annotated[list[Humidity], Field(fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _equal_lengths(self) -> Self:
        for name, column in self:
            if column is not None and len(column) != len(self.region):
                raise ValueError(f"{name} has {len(column)} values, region {len(self.region)}")
        return self


FORECAST_REQUEST: TypeAdapter[ForecastRegion | SeveralForecasts | ForecastColumns] = TypeAdapter(
    Annotated[
        Annotated[ForecastRegion, Tag("one")]
        | Annotated[SeveralForecasts, Tag("several")]
        | Annotated[ForecastColumns, Tag("columns")],
        Discriminator(shape_of),
    ]
)


class ReportedSeason(_Request):
    """What a region reports after harvest: its weather and the yield of one crop or more, in tons.

    A feature that was not measured is left out of all rows; at least one is there. ``forecast``: the id of the forecast
    that this is the outcome of. ``harvested``: the day.
    """

    region: StoredName | None = None
    season: StoredName | None = None
    temperature: Temperature = MAY_LACK
    rainfall: Rainfall = MAY_LACK
    humidity: Humidity = MAY_LACK
    yields: Yields
    forecast: ForecastId | None = _MAY_BE_NONE
    harvested: Day | None = _MAY_BE_NONE


class ObservationsRequest(_Request):
    """A batch to store."""

    observations: Annotated[list[ReportedSeason], Field(min_length=1, fail_fast=True)]
    note: Note = ""


class RetrainRequest(_Request):
    """A retrain, on new observations and all that is stored, or on what is stored alone."""

    observations: Annotated[list[ReportedSeason], Field(min_length=1, fail_fast=True)] | None = None
    activate: Activate = "if_better"
    dry_run: bool = False
    note: Note = ""


class ActivateRequest(_Request):
    """Why a version is made live."""

    note: Note = ""


LEVELS = (0.5, 0.999)
"""The least and the largest level of an interval: the share of harvests that it should cover."""
EffectsAsked = Literal["all", "none"]
"""Whether what a region and a season have of their own is in a prediction, or only what all rows have in common."""


class CropYield(BaseModel):
    """A crop's yield in tons with its prediction interval.

    ``baseline`` and ``contributions`` with ``explain=true`` only.
    """

    tons: float
    low: float | None
    high: float | None
    baseline: float | None = None
    contributions: dict[str, float] | None = None


class Prediction(BaseModel):
    """One region's answer, within a list of them."""

    region: str | None
    yields: dict[str, CropYield]
    extrapolated: bool
    warnings: list[str]


class OnePrediction(Prediction):
    """The answer for one region; ``units``: those of the question, where it names them."""

    model_version: str
    units: dict[str, str] | None = None


class SeveralPredictions(BaseModel):
    """The answer for several regions, in their order; ``units``: those of the question, where it names them."""

    model_version: str
    units: dict[str, str] | None = None
    predictions: list[Prediction]


class CropYieldColumns(BaseModel):
    """A crop's columns, in tons."""

    tons: list[float]
    low: list[float] | list[None]
    high: list[float] | list[None]
    baseline: float | None = None
    contributions: dict[str, list[float]] | None = None


class PredictionColumns(BaseModel):
    """The answer for columns; ``units``: those of the question, where it names them."""

    model_version: str
    units: dict[str, str] | None = None
    region: list[str | None] | None
    yields: dict[str, CropYieldColumns]
    extrapolated: list[bool]
    warnings: list[list[str]]


class HeldOutError(BaseModel):
    """A crop's root mean squared error on rows that were held out, tons, and by what: as in the card."""

    rmse: float
    by: By | None


class VersionEntry(BaseModel):
    """A version in the list; what cannot be read of a damaged one is null.

    ``parent``: the version that was live when it was trained. ``out_of_fold``: by crop.
    """

    version: str
    live: bool
    damaged: bool
    created: datetime | None
    recipe: str | None
    rows: int | None
    crops: list[str] | None
    decision: Decision | None
    loss: float | None
    source: str | None
    note: str | None
    parent: str | None = None
    out_of_fold: dict[str, HeldOutError] | None = None


class VersionPage(BaseModel):
    """Versions, newest first; ``next`` is the ``before`` of the next page, null on the last one."""

    live: str | None
    versions: list[VersionEntry]
    next: str | None


class VersionCard(Card):
    """A version's card, with its number and whether it is live.

    ``below_promise``: of the live one, which crops' forecasts were less often within their intervals than these
    promise, a sentence each; the field is there only where there are any.
    """

    version: str
    live: bool
    below_promise: list[str] = Field(default=[], exclude_if=lambda sentences: not sentences)


class CropResidual(BaseModel):
    """A crop's reported yield of a row, and what is predicted of it, tons; predictions may be below 0.

    ``fitted``: by the version's common line. ``out_of_fold``: by the line fitted without the part of the rows that this
    one is held out with. ``low`` and ``high``: the interval of ``out_of_fold``, as that line's rows alone have it.
    These three are null where seasons are held out and not all of the version's rows are known here. ``leverage``: of
    the row, among all of training.
    """

    tons: float
    fitted: float
    out_of_fold: float | None
    low: float | None
    high: float | None
    leverage: float


class ResidualEntry(BaseModel):
    """A row that a version was trained on, as in `/observations`, with its residuals by crop.

    ``withdrawn``: whether its batch takes no part in training any more.
    """

    batch: str
    row: int
    region: str | None
    season: str | None
    temperature: float | None
    rainfall: float | None
    humidity: float | None
    yields: dict[str, CropResidual]
    withdrawn: bool


class CropResiduals(BaseModel):
    """A crop's ``rows`` that were read, and their root mean squared error out of fold, tons, shown or not.

    It is that of the card where all rows of training were read (where seasons are held out and several rows share a
    region and a season, nearly). ``by``: what was held out at a time, as in the card;
    where it is "nothing", ``out_of_fold`` is in sample, too.
    """

    rows: int
    rmse: float | None
    by: By | None


class ResidualPage(BaseModel):
    """The rows that a version was trained on, in the order in which they were stored.

    ``level``: of the intervals. ``total``: rows that were read and report one of the ``crops``; ``shown``: how many of
    them are here, ``selected_by``: which, null where all are. ``not_stored``: rows of training that are not stored
    here; ``reason``: why, null where all are.
    """

    model_version: str
    level: float
    crops: dict[str, CropResiduals]
    total: int
    shown: int
    selected_by: str | None
    not_stored: int
    reason: str | None
    residuals: list[ResidualEntry]


class FeatureDriftEntry(BaseModel):
    """A feature's mean and standard deviation in what was asked and in training, in its unit.

    ``shift``: the difference of the means in training's standard deviations.
    """

    asked_mean: float
    training_mean: float
    shift: float | None
    asked_deviation: float
    training_deviation: float


class DriftReport(BaseModel):
    """How far the weather asked about in the last ``hours`` lies from the live version's training.

    ``asked``: regions. ``distance``: Mahalanobis distance of the mean weathers; null where nothing was asked.
    ``different``: whether chance alone would show as much in less than 1 of 100 cases; ``reasons`` say how.
    """

    model_version: str
    hours: int
    asked: int
    features: dict[str, FeatureDriftEntry]
    distance: float | None
    different: bool
    reasons: list[str]


class LogPage(BaseModel):
    """Lines of the activation log, newest first; ``next`` is the ``before`` of the next page, null on the last one."""

    log: list[LogLine]
    next: int | None


class BatchStored(BaseModel):
    """The answer to stored observations."""

    batch: str
    rows: int


class BatchEntry(BaseModel):
    """A batch: where its rows came from, who stored it, when and why; if it was withdrawn, when, by whom and why.

    By whom is null for batches that version 0.1.0 has withdrawn: there, it stands in ``withdrawn_why``. ``sequence``:
    its place in the order in which batches were stored, by which a version's card tells what it has learned.
    """

    batch: str
    sequence: int = 0
    source: str
    note: str
    who: str
    rows: int
    created: datetime
    withdrawn: datetime | None
    withdrawn_by: str | None = None
    withdrawn_why: str | None


class BatchPage(BaseModel):
    """Batches, newest first; ``next`` is the ``before`` of the next page, null on the last one."""

    batches: list[BatchEntry]
    next: str | None


class BatchWithdrawn(BaseModel):
    """The answer to a withdrawn batch: it takes no part in training from the next one on."""

    batch: str
    rows: int
    withdrawn: datetime


class BatchRestored(BaseModel):
    """The answer to a restored batch: it takes part in training from the next one on."""

    batch: str
    rows: int


class ObservationEntry(BaseModel):
    """A stored observation, yields in tons; null for weather that was not reported.

    ``forecast`` and ``harvested``: there only where they were reported.
    """

    batch: str
    row: int
    region: str | None
    season: str | None
    temperature: float | None
    rainfall: float | None
    humidity: float | None
    yields: dict[str, float]
    withdrawn: bool
    forecast: str | None = _MAY_BE_NONE
    harvested: str | None = _MAY_BE_NONE


class ObservationPage(BaseModel):
    """Stored observations, oldest first; ``next`` is the ``after`` of the next page, null on the last one."""

    observations: list[ObservationEntry]
    next: str | None


class ForecastYield(BaseModel):
    """A crop's yield in tons as it was foretold, with its prediction interval."""

    tons: float
    low: float | None
    high: float | None


class StoredForecast(BaseModel):
    """One stored forecast, in the answer to the call that has stored it."""

    id: str
    region: str
    season: str
    yields: dict[str, ForecastYield]
    extrapolated: bool
    warnings: list[str]


class ForecastsStored(BaseModel):
    """The answer to stored forecasts: what was predicted, by which version and at which level."""

    batch: str
    model_version: str
    level: float
    predictions: list[StoredForecast]


class ForecastEntry(BaseModel):
    """A stored forecast as it was given; null for weather that was not, and for a day that nobody has said."""

    batch: str
    row: int
    id: str
    region: str
    season: str
    due: str | None
    temperature: float | None
    rainfall: float | None
    humidity: float | None
    yields: dict[str, ForecastYield]
    extrapolated: bool
    warnings: list[str]
    model_version: str
    level: float
    created: datetime


class ForecastPage(BaseModel):
    """Stored forecasts, oldest first; ``next`` is the ``after`` of the next page, null on the last one."""

    forecasts: list[ForecastEntry]
    next: str | None


class ForecastBatchEntry(BaseModel):
    """A batch of forecasts: by which version, at which level, where they came from, who stored them, when and why.

    ``erased``: how many of its ``rows`` are not there any more, since they were too old.
    """

    batch: str
    model_version: str
    level: float
    crops: list[str]
    source: str
    note: str
    who: str
    rows: int
    erased: int
    created: datetime


class ForecastBatchPage(BaseModel):
    """Batches of forecasts, newest first; ``next`` is the ``before`` of the next page, null on the last one."""

    batches: list[ForecastBatchEntry]
    next: str | None


class ForecastsErased(BaseModel):
    """The answer to an erased batch of forecasts: how many there were."""

    batch: str
    rows: int


class BandedTons(BaseModel):
    """A figure in tons, and its band of 95%: null where there are too few yields for one."""

    tons: float
    low: float | None
    high: float | None


class ScoredCoverage(BaseModel):
    """How many yields lay ``inside`` of the intervals ``of`` so many, and the share that was ``promised``.

    ``low`` and ``high``: the band of 95% of the share that is inside, null where there are too few for one.
    """

    inside: int
    of: int
    promised: float
    low: float | None
    high: float | None


class ScoredGroup(BaseModel):
    """What was said of a group's ``n`` yields of ``seasons`` that are named, beside what they were, in tons.

    ``version``, ``season``, ``region``, ``lead`` (days before the harvest) and ``extrapolated`` are there where they
    were asked for, null where they are not known. ``set_aside``: of batches that a training has brought and not been
    made live with. ``ambiguous``: yields that others might be as well. ``bias``: mean of reported less predicted, below
    0 where predictions were too high. ``coverage``, and of the same yields ``width`` and ``interval_score``, means:
    null where none had an interval. ``skill``: 1 less the squared error over that of the mean yield in training.
    ``model_error`` and ``weather_error`` add up to the bias: what the model by itself would have erred by, and the
    forecast of the weather; ``weather_by_feature``: what each feature is of the latter. A figure that is not known of
    every yield is null. ``below_promise``: whether coverage is below what was promised by more than chance.
    """

    crop: str
    version: str | None = None
    season: str | None = None
    region: str | None = None
    lead: Literal["0-30", "31-90", "91-180", ">180"] | None = None
    extrapolated: bool | None = None
    set_aside: bool
    n: int
    seasons: int
    ambiguous: int
    bias: BandedTons | None
    mae: float | None
    rmse: BandedTons | None
    coverage: ScoredCoverage | None
    width: float | None
    interval_score: float | None
    skill: float | None
    model_error: float | None
    weather_error: float | None
    weather_by_feature: dict[str, float] | None
    below_promise: bool
    verdict: str


class UncountedPairs(BaseModel):
    """What is no prediction, or cannot be known. ``learned``: the version had learned the yield.

    ``known``: the forecast was stored after the yield. ``unreadable``: the version cannot be read, or what is stored.
    """

    learned: int
    known: int
    unreadable: int


class ScorePage(BaseModel):
    """Scores by group: as forecasts were given, or when yields arrived; ``by`` what the groups are, besides crops."""

    basis: Literal["forecast", "arrival"]
    by: list[str]
    scores: list[ScoredGroup]
    left_out: UncountedPairs


class Liveness(BaseModel):
    """The process answers."""

    status: str


class Access(BaseModel):
    """What the caller may do with the token that it has sent, or without one.

    ``who``: the name that its writes are logged with; null where it may not write. ``read``: all but what regions
    reported. ``rows``: that, too. ``retrain``: whether this installation can train at all, whoever asks; one that
    serves only answers `/retrain` with a 503.
    """

    who: str | None
    read: bool
    rows: bool
    write: bool
    retrain: bool


class Readiness(BaseModel):
    """A model is live; ``details`` says what is damaged, where something is.

    ``source``: there while the live version was trained on the example's rows alone, and says so.
    """

    status: str
    model_version: str
    details: list[str] = []
    source: str | None = None
