"""A typed client of a running service: `Orchard`, and `AsyncOrchard` for asyncio.

with Orchard("http://127.0.0.1:8000", token="...") as orchard:
    orchard.predict(temperature=73, rainfall=67, humidity=43).yields["mango"].tons
"""

from app.client.errors import ClientError, Conflict, Problem, Rejected, Unavailable, Unreachable, Unreadable
from app.client.events import ServiceEvent
from app.client.orchard import AsyncOrchard, Orchard
from app.model.progress import Step
from app.model.units import Units
from app.training.report import Report
from app.wire.schemas import (
    ObservationEntry,
    OnePrediction,
    PredictionColumns,
    RegionWeather,
    ReportedSeason,
    SeveralPredictions,
    VersionCard,
)

__all__ = [
    "AsyncOrchard",
    "ClientError",
    "Conflict",
    "ObservationEntry",
    "OnePrediction",
    "Orchard",
    "PredictionColumns",
    "Problem",
    "RegionWeather",
    "Rejected",
    "Report",
    "ReportedSeason",
    "ServiceEvent",
    "SeveralPredictions",
    "Step",
    "Unavailable",
    "Units",
    "Unreachable",
    "Unreadable",
    "VersionCard",
]
