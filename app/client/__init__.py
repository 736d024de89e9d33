"""A typed client of a running service: `Orchard`, and `AsyncOrchard` for asyncio.

with Orchard("http://127.0.0.1:8000", token="...") as orchard:
    orchard.predict(temperature=73, rainfall=67, humidity=43).yields["mango"].tons
"""

from app.client.errors import ClientError, Conflict, Problem, Rejected, Unavailable, Unreachable, Unreadable
from app.client.orchard import AsyncOrchard, Orchard
from app.wire.schemas import RegionWeather, ReportedSeason

__all__ = [
    "AsyncOrchard",
    "ClientError",
    "Conflict",
    "Orchard",
    "Problem",
    "RegionWeather",
    "Rejected",
    "ReportedSeason",
    "Unavailable",
    "Unreachable",
    "Unreadable",
]
