"""Pairs of the basis "forecast": forecasts as they were given, and the yields that were reported of them since."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from app.model.names import Names
from app.model.pairs import Pairs
from app.serving.groups import Keyed, Scores
from app.training.arrivals import Versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.data.forecasts import Forecast
    from app.data.matching import Outcome
    from app.data.observations import Observations
    from app.data.outcomes import Harvested, Part
    from app.model.linear import CropModel
    from app.store.registry import Registry
    from app.store.version import Version

READ_AT_ONCE = 20_000
"""Forecasts of a part: of a few crops each they make some 100 000 pairs."""
LEADS = ((30, "0-30"), (90, "31-90"), (180, "91-180"))
LONG = ">180"
"""Of how many days before the harvest a forecast was given."""


class _Found(NamedTuple):
    """A forecast of a crop and its outcome."""

    forecast: "Forecast"
    outcome: "Outcome"
    harvested: "Harvested"


def read(scores: Scores, registry: "Registry", observations: "Observations") -> None:
    """Count in all forecasts of which a yield was reported: all of them by lead, else the last one of each yield.

    Raises:
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    versions = Versions(registry, observations.ids_at)
    after = None
    while True:
        with observations.reading() as transaction:
            part = transaction.forecasts_with_outcomes(after, READ_AT_ONCE)
        scores.left_out.unreadable += part.damaged
        for set_aside in (False, True):
            for keyed in _of_part(scores, part, versions, set_aside=set_aside):
                scores.add(keyed)
        if part.end is None:
            return
        after = part.end


def _of_part(scores: Scores, part: "Part", versions: Versions, *, set_aside: bool) -> Iterator[Keyed]:
    """Yield the pairs of a part, those of a version, a crop and a level together."""
    counted = _counted(scores, part, versions, set_aside=set_aside)
    by: dict[tuple[str, str], list[_Found]] = {}
    for (_, _, crop, _), pair in counted.items():
        by.setdefault((pair.forecast.batch.version, crop), []).append(pair)
    for (number, name), rows in by.items():
        version = versions.of(number)
        crops = version.model.crops if version is not None else ()
        found = next((crop for crop in crops if crop.crop == name), None)
        if version is None or found is None:  # the file of another store, with other crops, bears its number
            scores.left_out.unreadable += len(rows)
        else:
            yield _keyed(number, version, found, rows, set_aside=set_aside)


def _counted(
    scores: Scores, part: "Part", versions: Versions, *, set_aside: bool
) -> dict[tuple[int, int, str, object], _Found]:
    """Return the pairs that count: by lead all of them, else the last forecast of each outcome.

    An outcome is compared within a region and season: one that was found by its id alone, under other names, counts
    there as well.
    """
    every = "lead" in scores.by
    known = part.set_aside if set_aside else part.in_use
    if not known:
        return {}
    found: dict[tuple[int, int, str, object], _Found] = {}
    for forecast in sorted(part.forecasts, key=lambda each: (each.batch.created, each.row)):
        version = None
        for crop in forecast.batch.crops:
            outcome = known.of(forecast.id, forecast.region, forecast.season, crop)
            if outcome is None:
                continue
            harvested = part.harvested[outcome.reported.batch]
            version = version or versions.of(forecast.batch.version)
            if version is None:
                scores.left_out.unreadable += 1
            elif versions.learned(forecast.batch.version, version).has(outcome.reported.batch, harvested.id):
                scores.left_out.learned += 1
            elif forecast.batch.created >= harvested.created:
                scores.left_out.known += 1
            else:
                key = outcome.reported.batch, outcome.reported.row, crop, (forecast.id if every else None)
                found[key] = _Found(forecast, outcome, harvested)
    return found


def _keyed(number: str, version: "Version", crop: "CropModel", found: "Sequence[_Found]", *, set_aside: bool) -> Keyed:
    name = crop.crop
    forecasts = [each.forecast for each in found]
    said = np.array([forecast.yields[name] for forecast in forecasts], dtype=np.float64)
    tons = np.array([each.outcome.reported.yields[name] for each in found])
    before = np.array([forecast.weather for forecast in forecasts], dtype=np.float64)
    after = np.array([each.outcome.reported.weather for each in found], dtype=np.float64)
    regions = [forecast.region for forecast in forecasts]
    seasons = [forecast.season for forecast in forecasts]
    pairs = Pairs.forecast(
        tons,
        (said[:, 0], said[:, 1], said[:, 2]),
        np.array([forecast.batch.level for forecast in forecasts]),
        crop,
        list(before.T),
        list(after.T),
        version.model.places(Names.of(regions)),
    )
    return Keyed(
        name,
        set_aside,
        {
            "version": number,
            "season": seasons,
            "region": regions,
            "lead": list(map(_lead, found)),
            "extrapolated": [forecast.extrapolated for forecast in forecasts],
        },
        Names.of(seasons),
        pairs,
        [each.outcome.is_ambiguous for each in found],
    )


def _lead(found: _Found) -> str:
    """Say how many days before the harvest the forecast was given: before the day told, or expected, or reported."""
    told = found.outcome.reported.harvested or found.forecast.due
    day = date.fromisoformat(told) if told else found.harvested.created.date()
    days = (day - found.forecast.batch.created.date()).days
    return next((name for most, name in LEADS if days <= most), LONG)
