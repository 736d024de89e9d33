"""Regions as GeoJSON has them (RFC 7946): features, of which nothing but weather, yields and names is read."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, TypeAdapter, WithJsonSchema
from pydantic_core import from_json

from app.errors import FieldError, InvalidInput, MalformedInput
from app.faults import Faults
from app.model.units import Units
from app.model.weather import REGION_LENGTH
from app.wire import given
from app.wire.media_types import GEOJSON
from app.wire.positions import blanked
from app.wire.schemas import (
    MAY_LACK,
    Day,
    ForecastId,
    Humidity,
    Loose,
    Name,
    NeededName,
    Rainfall,
    StoredName,
    Temperature,
    Yields,
)
from app.wire.strict_json import SHOWN, Place, parse_json
from app.wire.validation import validated

PER_FEATURE = 8
"""Brackets of a feature: its own, its properties', its geometry's, a Point's, its yields', and some that are unread."""
KINDS = ("FeatureCollection", "Feature")

Body = TypeVar("Body")
_FALLBACK = {"description": "The region's name, where properties have no `region`."}


class WeatherProperties(Loose):
    """A region's season; `name` names it where neither `region` nor the feature's `id` does."""

    region: Name | None = None
    name: Annotated[Any, WithJsonSchema(_FALLBACK)] = None
    temperature: Temperature
    rainfall: Rainfall
    humidity: Humidity


class ReportedProperties(WeatherProperties):
    """What a region reports after harvest: its weather and the yield of one crop or more, in tons."""

    region: StoredName | None = None
    season: StoredName | None = None
    yields: Yields
    forecast: ForecastId | None = None
    harvested: Day | None = None


class ForecastProperties(Loose):
    """A region's season by the weather that is expected; `name` names it where neither `region` nor the `id` does.

    ``id``: what the forecast is called by. A feature of weather that no crop of the model needs may be left out.
    """

    id: ForecastId | None = None
    region: StoredName | None = None
    name: Annotated[Any, WithJsonSchema(_FALLBACK)] = None
    season: NeededName
    due: Day | None = None
    temperature: Temperature = MAY_LACK
    rainfall: Rainfall = MAY_LACK
    humidity: Humidity = MAY_LACK


class _Feature(Loose):
    type: Literal["Feature"]
    id: Annotated[Any, WithJsonSchema(_FALLBACK)] = None


class WeatherFeature(_Feature):
    """One region, whatever its geometry."""

    properties: WeatherProperties


class ReportedFeature(_Feature):
    """One region's harvest."""

    properties: ReportedProperties


class ForecastFeature(_Feature):
    """One region's forecast, whatever its geometry."""

    properties: ForecastProperties


class WeatherFeatures(Loose):
    """Several regions."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[WeatherFeature], Field(min_length=1, fail_fast=True)]


class ReportedFeatures(Loose):
    """Several regions' harvests."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[ReportedFeature], Field(min_length=1, fail_fast=True)]


class ForecastFeatures(Loose):
    """Several regions' forecasts."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[ForecastFeature], Field(min_length=1, fail_fast=True)]


def _kind(body: Any) -> str:
    return "several" if isinstance(body, dict) and body.get("type") == KINDS[0] else "one"


WEATHER_FEATURES: TypeAdapter[WeatherFeature | WeatherFeatures] = TypeAdapter(
    Annotated[Annotated[WeatherFeature, Tag("one")] | Annotated[WeatherFeatures, Tag("several")], Discriminator(_kind)]
)
REPORTED_FEATURES: TypeAdapter[ReportedFeature | ReportedFeatures] = TypeAdapter(
    Annotated[
        Annotated[ReportedFeature, Tag("one")] | Annotated[ReportedFeatures, Tag("several")], Discriminator(_kind)
    ]
)


FORECAST_FEATURES: TypeAdapter[ForecastFeature | ForecastFeatures] = TypeAdapter(
    Annotated[
        Annotated[ForecastFeature, Tag("one")] | Annotated[ForecastFeatures, Tag("several")], Discriminator(_kind)
    ]
)


def is_geojson(body: Any) -> bool:
    """Tell whether a parsed body is one of GeoJSON."""
    return isinstance(body, dict) and body.get("type") in KINDS and ("features" in body or "properties" in body)


def refuse(body: Any) -> None:
    """Refuse a parsed body of GeoJSON that came as plain JSON.

    Raises:
        InvalidInput: it is one; the sentence says how to send it.
    """
    if is_geojson(body):
        told = f"{body['type']!r} is GeoJSON: send it with the header Content-Type: {GEOJSON}"
        raise InvalidInput(f"type: {told}", [FieldError(("type",), told, "geojson")])


def parsed(content: bytes, max_rows: int) -> tuple[Any, bytes]:
    """Return what a body says, except for its positions, and the body without them.

    Raises:
        MalformedInput: not JSON.
        TooLarge: more than ``max_rows`` features, or more positions, lists and objects than a body may have.
    """
    plain = blanked(content)
    return parse_json(plain, max_rows, PER_FEATURE), plain


def checked(adapter: TypeAdapter[Body], body: Any, plain: bytes, units: Units) -> Body:
    """Validate a parsed body whose weather is in ``units``.

    Raises:
        MalformedInput: a number is not finite, also one that nobody reads: it would come back.
        InvalidInput: it is no GeoJSON, or a property is missing, of the wrong type or out of bounds.
    """
    if isinstance(body, dict) and body.get("type") not in KINDS:
        told = f"{_shown(body.get('type'))} is neither 'FeatureCollection' nor 'Feature'"
        raise InvalidInput(f"type: {told}", [FieldError(("type",), told, "invalid")])
    found = validated(adapter, _as_stored(body, units), units=units)
    check_finite(plain)
    return found


def _as_stored(body: Any, units: Units) -> Any:
    """Return a body with the weather of its properties in the units that are stored."""
    if not units.named or not isinstance(body, dict):
        return body
    if isinstance(listed := body.get("features"), list):
        return body | {"features": [_as_stored(feature, units) for feature in listed]}
    return body | ({"properties": given.as_stored(body["properties"], units)} if "properties" in body else {})


def _shown(value: Any) -> str:
    return repr(value)[:SHOWN]


def check_finite(plain: bytes) -> None:
    """Check that a body that was parsed has no NaN and no Infinity, which JSON has not.

    Raises:
        MalformedInput: it has.
    """
    if b"NaN" not in plain and b"Infinity" not in plain:
        return
    try:
        from_json(plain, allow_inf_nan=False)
    except ValueError as error:
        message = f"the body is not JSON, which has no NaN and no Infinity: {error}"
        raise MalformedInput(message, [FieldError((), message, "not_json")]) from error


def rows_of(body: Any) -> tuple[Sequence[Any], list[Place]]:
    """Return the features of a validated body, and where each stands."""
    if isinstance(body, WeatherFeature | ReportedFeature | ForecastFeature):
        return [body], [()]
    return body.features, [("features", row) for row in range(len(body.features))]


def regions_of(features: Iterable[_Feature], places: Iterable[Place]) -> tuple[list[str | None], list[Place]]:
    """Return the features' names, and where each was found: `region` of their properties, else `id`, else `name`.

    Raises:
        InvalidInput: what would be the name is no text, or a long one; an `id` may be a number.
    """
    names: list[str | None] = []
    found: list[Place] = []
    faults = Faults()
    for feature, place in zip(features, places, strict=True):
        where, name = _name(feature)
        if problem := _problem(name):
            faults.add(FieldError((*place, *where), *problem))
        names.append(name)
        found.append((*place, *where))
    faults.raise_if_any(placed=True)
    return names, found


def _name(feature: Any) -> tuple[Place, Any]:
    properties, number = feature.properties, feature.id
    if properties.region is not None:
        return ("properties", "region"), properties.region
    if number is not None:
        is_number = type(number) is int or (type(number) is float and math.isfinite(number))
        return ("id",), str(number) if is_number else number
    return ("properties", "name"), properties.name


def _problem(name: Any) -> tuple[str, str] | None:
    """Say what is wrong with a name, and a stable word for it."""
    if name is None:
        return None
    if not isinstance(name, str):
        return f"{_shown(name)} is not a string", "not_a_string"
    return (f"is longer than {REGION_LENGTH} characters", "too_long") if len(name) > REGION_LENGTH else None
