"""Which observation is the outcome of a forecast: the one that names its id, else one of the same region and season.

Harvests come months later, and ids get lost in spreadsheets; so the names must do. They are compared in Unicode's
composed form, without the space around them.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Reported(NamedTuple):
    """An observation: its place (the sequence of its batch, and its row there), names, and yields in tons by crop.

    ``forecast``: the id of the forecast that it says it is the outcome of.
    """

    batch: int
    row: int
    region: str | None
    season: str | None
    forecast: str | None
    harvested: str | None
    yields: Mapping[str, float]
    weather: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a forecast of one crop: the newest, ``is_ambiguous`` where others might be its outcome as well."""

    reported: Reported
    is_ambiguous: bool


def plain(name: str | None) -> str:
    """Return a name as it is compared; nothing for none."""
    if name is None or (name.isascii() and not (name[:1].isspace() or name[-1:].isspace())):
        return name or ""
    return unicodedata.normalize("NFC", name).strip()


class Outcomes:
    """Observations by what forecasts can be matched with."""

    def __init__(self, reported: Iterable[Reported]) -> None:
        """``reported``: in any order; what stands in a later batch, or further down in one, is the newer."""
        self._by_id: dict[tuple[str, str], Outcome] = {}
        self._by_place: dict[tuple[str, str, str], Outcome] = {}
        for one in sorted(reported, key=lambda each: (each.batch, each.row)):
            region, season, forecast = plain(one.region), plain(one.season), plain(one.forecast)
            for crop in one.yields:
                if forecast:
                    self._by_id[forecast, crop] = Outcome(one, (forecast, crop) in self._by_id)
                if region and season:
                    place = region, season, crop
                    self._by_place[place] = Outcome(one, place in self._by_place)

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._by_id or self._by_place)

    def of(self, name: str, region: str, season: str, crop: str) -> Outcome | None:
        """Return the outcome of a forecast of one crop, None for none so far. ``name``: the forecast's id."""
        found = self._by_id.get((plain(name), crop)) if self._by_id else None
        return found or self._by_place.get((plain(region), plain(season), crop))
