"""The model store of this machine, asked without a service: the calls of `app.client.Orchard`, with the same answers.

Writes go through the same transactions as a service's, so that a service on the same store may run meanwhile.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_json

from app import memory
from app.data.dialect import ZIP
from app.data.harvest import Harvest
from app.data.provenance import Once, Provenance
from app.data.table_file import TableFile
from app.data.tables import Reading
from app.errors import TrainingUnavailable
from app.model.progress import Progress
from app.model.units import STORED, Units
from app.serving.groups import Basis
from app.serving.live import LEVEL, Live, Served
from app.settings import Settings
from app.store.line import LogLine
from app.store.objects import open_store
from app.store.registry import Registry
from app.training.order import Order
from app.training.report import Activate, Report
from app.wire import forecasts, records, scores
from app.wire.forecasts import ForecastOptions
from app.wire.formats import PredictOptions, answered_in, reply
from app.wire.media_types import CSV, JSON, XLSX
from app.wire.parts import take
from app.wire.questions import BodyOptions
from app.wire.schemas import (
    BatchPage,
    BatchRestored,
    BatchStored,
    BatchWithdrawn,
    EffectsAsked,
    ForecastBatchPage,
    ForecastEntry,
    ForecastPage,
    ForecastsErased,
    ForecastsStored,
    LogPage,
    ObservationEntry,
    ObservationPage,
    OnePrediction,
    RegionWeather,
    ResidualPage,
    ScorePage,
    SeveralPredictions,
    VersionCard,
    VersionPage,
)

if TYPE_CHECKING:
    from app.data.observations import Observations
    from app.training.job import Outcome

WHO = "command line"
PAGE = 1_000


class Local:
    """A model store and its observations. A call that fails raises `app.errors.OrchardError`."""

    def __init__(self, settings: Settings, units: Units = STORED) -> None:
        """``units``: what the weather in predictions, harvests and their answers is given in."""
        self._settings = settings
        self.units = units
        self._registry = Registry(open_store(settings))
        self._live = Live(self._registry)
        self._live.follow()
        self.place = settings.place
        """Where it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing stays open between calls."""

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
        count: bool = True,  # noqa: ARG002 - without a service nothing is counted
    ) -> OnePrediction:
        """Predict one region's yields, tons."""
        weather = {"temperature": temperature, "rainfall": rainfall, "humidity": humidity}
        place = {"region": region} | {name: value for name, value in weather.items() if value is not None}
        answer = self._replied(_json(place), JSON, level, version, effects, exact, explain=explain)
        return OnePrediction.model_validate_json(answer)

    def predict_many(
        self,
        regions: Sequence[RegionWeather | Mapping[str, object]],
        *,
        level: float | None = None,
        explain: bool = False,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,  # noqa: ARG002 - without a service nothing is counted
    ) -> SeveralPredictions:
        """Predict several regions, answered in their order."""
        answer = self._replied(_json({"regions": list(regions)}), JSON, level, version, effects, exact, explain=explain)
        return SeveralPredictions.model_validate_json(answer)

    def predict_csv(
        self,
        table: bytes,
        *,
        level: float | None = None,
        version: str | None = None,
        effects: EffectsAsked | None = None,
        exact: bool = False,
        count: bool = True,  # noqa: ARG002 - without a service nothing is counted
    ) -> str:
        """Predict the regions of a table, CSV or a workbook, and return it as CSV with the yields added."""
        media_type = XLSX if table.startswith(ZIP) else CSV
        return self._replied(table, media_type, level, version, effects, exact, explain=False).decode()

    @property
    def _current(self) -> Served:
        """The live version.

        Raises:
            NotReady: none is live.
        """
        return self._live.current

    def location(self, version: str | None) -> str:
        """Return the path or the URL of a version's file; nothing for none."""
        return "" if version is None else self._registry.location(version)

    def _replied(
        self,
        body: bytes,
        media_type: str,
        level: float | None,
        version: str | None,
        effects: EffectsAsked | None,
        exact: bool,
        *,
        explain: bool,
    ) -> bytes:
        served = self._current if version is None else self._live.version(version)
        options = PredictOptions(
            sent=media_type,
            wanted=answered_in(media_type)[0],
            max_rows=self._settings.max_rows,
            version=served.version,
            model=served.model.asked(effects=effects != "none", exact=exact),
            level=LEVEL if level is None else level,
            explain=explain,
            body=BodyOptions(units=self.units),
        )
        content, _ = reply(body, options)
        return take(content)

    def retrain(
        self,
        *,
        table: Path | None = None,
        crops: Sequence[str] | None = None,
        activate: Activate = "if_better",
        dry_run: bool = False,
        note: str = "",
        key: str | None = None,
        progress: Progress,
    ) -> Report:
        """Learn from a table, CSV or Parquet of any size or a workbook, and all that is stored, or only from that."""
        file = self._file(table, crops) if table is not None else None
        order = Order(
            Provenance("stored observations" if table is None else table.name, WHO, note),
            file,
            activate=activate,
            dry_run=dry_run,
            once=_once(key, file, "retrain", activate, dry_run, note),
        )
        report = train(self._settings, order, progress).report
        self._live.follow()
        return report

    def models(self, *, limit: int = 20, before: str | None = None) -> VersionPage:
        """List the versions, newest first."""
        return records.versions(self._registry, self._live, limit, int(before) if before is not None else None)

    def card(self, version: str = "live") -> VersionCard:
        """Return what a version says about itself."""
        served = self._current if version == "live" else self._live.version(version)
        return records.card(served, self._live)

    def residuals(self, version: str = "live", *, crop: str | None = None) -> ResidualPage:
        """Return the rows that a version was trained on, beside what is predicted of them."""
        number = self._current.version if version == "live" else version
        with self._observations() as observations:
            return records.residuals(self._registry, observations, number, crop)

    def activate(self, version: str, *, note: str = "") -> LogLine:
        """Make a version live: roll back or forward."""
        return self._registry.activate(version, WHO, note)

    def log(self, *, limit: int = 100, before: int | None = None) -> LogPage:
        """Return who made which version live, why and when, newest first."""
        return records.log(self._registry, limit, before)

    def store(
        self, *, table: Path, crops: Sequence[str] | None = None, note: str = "", key: str | None = None
    ) -> BatchStored:
        """Store a table, CSV or Parquet of any size or a workbook, as a batch of observations, for the next retrain."""
        file = self._file(table, crops)
        harvest = Harvest.of(file)
        once = _once(key, file, "store", note)
        with self._observations() as observations:
            answer, _ = records.store(observations, harvest, Provenance(table.name, WHO, note), once)
        return BatchStored.model_validate_json(answer)

    def observation_page(self, *, limit: int = PAGE, after: str | None = None) -> ObservationPage:
        """Return a page of stored observations, oldest first."""
        with self._observations() as observations:
            return records.page(observations, limit, after)

    def observations(self, *, page: int = PAGE, withdrawn: bool = False) -> Iterator[ObservationEntry]:
        """Yield the stored observations in use, oldest first; ``withdrawn``: also the others."""
        after: str | None = None
        while True:
            found = self.observation_page(limit=page, after=after)
            yield from (entry for entry in found.observations if withdrawn or not entry.withdrawn)
            if (after := found.next) is None:
                return

    def batches(self, *, limit: int = 100, before: str | None = None) -> BatchPage:
        """Return who stored which batch, when and why, newest first."""
        with self._observations() as observations:
            return records.batches(observations, limit, before)

    def withdraw(self, batch: str, *, note: str = "") -> BatchWithdrawn:
        """Take a batch out of future training; nothing is erased."""
        with self._observations() as observations:
            return records.withdraw(observations, batch, WHO, note)

    def restore(self, batch: str, *, note: str = "") -> BatchRestored:
        """Take a withdrawn batch back into training."""
        with self._observations() as observations:
            return records.restore(observations, batch, WHO, note)

    def forecast(
        self,
        *,
        table: Path,
        level: float | None = None,
        version: str | None = None,
        note: str = "",
        key: str | None = None,
    ) -> ForecastsStored:
        """Predict a table's regions by the weather that is expected, and keep what was predicted until the harvest."""
        served = self._current if version is None else self._live.version(version)
        content = table.read_bytes()
        media_type = XLSX if content.startswith(ZIP) else CSV
        level = LEVEL if level is None else level
        model = served.model
        options = ForecastOptions(media_type, self._settings.max_rows, served.version, model, level, self.units)
        told = hashlib.sha256(repr((content, level, version, note, self.units.named)).encode()).hexdigest()
        once = Once(key, told) if key else None
        with self._observations() as observations:
            answer, _ = forecasts.store(content, options, Provenance(table.name, WHO, note), once, observations)
        return ForecastsStored.model_validate_json(answer)

    def forecast_page(
        self,
        *,
        region: str | None = None,
        season: str | None = None,
        is_open: bool = False,
        limit: int = PAGE,
        after: str | None = None,
    ) -> ForecastPage:
        """Return a page of stored forecasts, oldest first."""
        from app.data.forecasts import Wanted  # SQLAlchemy is imported when it is first needed

        with self._observations() as observations:
            return forecasts.page(observations, limit, after, Wanted(region, season, is_open))

    def forecasts(
        self, *, region: str | None = None, season: str | None = None, is_open: bool = False, page: int = PAGE
    ) -> Iterator[ForecastEntry]:
        """Yield the stored forecasts, oldest first, ``page`` of them in a call.

        ``is_open``: those of which no harvest was reported so far.
        """
        after: str | None = None
        while True:
            found = self.forecast_page(region=region, season=season, is_open=is_open, limit=page, after=after)
            yield from found.forecasts
            if (after := found.next) is None:
                return

    def forecast_batches(self, *, limit: int = 100, before: str | None = None) -> ForecastBatchPage:
        """Return who stored which forecasts, when and why, newest first."""
        with self._observations() as observations:
            return forecasts.batches(observations, limit, before)

    def erase_forecasts(self, batch: str) -> ForecastsErased:
        """Erase a batch of forecasts for good."""
        with self._observations() as observations:
            return forecasts.erase(observations, batch)

    def scores(self, *, basis: Basis = "forecast", by: Iterable[str] = ()) -> ScorePage:
        """Return what was predicted beside what was harvested, by group."""
        with self._observations() as observations:
            return scores.page(self._registry, observations, basis, scores.keys(",".join(by)))

    def _file(self, table: Path, crops: Sequence[str] | None) -> TableFile:
        return TableFile(table, Reading(self.units, None if crops is None else tuple(crops)))

    @contextmanager
    def _observations(self) -> Iterator["Observations"]:
        from app.data.observations import Observations  # SQLAlchemy is imported when it is first needed

        observations = Observations(self._settings.database)
        try:
            yield observations
        finally:
            observations.close()


def train(settings: Settings, order: Order, progress: Progress) -> "Outcome":
    """Carry out an order in this process.

    Raises:
        TrainingUnavailable: torch is not installed.
        OrchardError: whatever the job raises.
    """
    try:
        from app.training.job import Job  # imports torch, which may not be there
    except ModuleNotFoundError as error:
        raise TrainingUnavailable("torch, which training needs, is not installed here") from error
    memory.keep_freed()
    job = Job(settings)
    try:
        return job.run(order, progress)
    finally:
        job.close()


def _json(body: Mapping[str, Any]) -> bytes:
    """Return JSON; a number that is not finite is written as such, so that the answer can say where it is."""
    return to_json(body, inf_nan_mode="constants")


def _once(key: str | None, file: TableFile | None, *options: object) -> Once | None:
    """Return a key with what tells a repeated order from another one; None without a key."""
    if not key:
        return None
    content = file.digest() if file is not None else None
    told = _told(file.reading) if file is not None else ()
    return Once(key, hashlib.sha256(repr((content, *options, *told)).encode()).hexdigest())


def _told(reading: Reading) -> tuple[object, ...]:
    """Return what is said of how a table is read; nothing where nothing is: earlier keys stay what they were."""
    return () if not reading.units.named and reading.crops is None else (reading.units.named, reading.crops)
