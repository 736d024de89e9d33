"""Answers of Open-Meteo and NASA POWER, in the shapes in which they come: what is made of them, and what is refused."""

import copy
import json
import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput, MalformedInput, OrchardError, TooLarge
from app.model.units import UNITS
from app.model.weather import FEATURE_NAMES
from app.wire import geojson, json_body, open_meteo, power
from app.wire.daily import MOST_DAYS
from app.wire.questions import PLAIN, BodyOptions, Question
from app.wire.weather_body import read

START, DAYS = date(2026, 4, 1), 214
"""Of a season from the first of April to the last of October."""
RANDOM = np.random.default_rng(19)
WEATHER = {
    "temperature": np.round(18 + 8 * RANDOM.random(DAYS), 1),
    "rainfall": np.round(RANDOM.gamma(0.2, 8.0, DAYS), 1),
    "humidity": np.round(40 + 50 * RANDOM.random(DAYS)),
}
"""In °C, mm and %."""


def _days(count: int, start: date = START) -> list[date]:
    return [start + timedelta(number) for number in range(count)]


def _open_meteo(weather: dict[str, Any] | None = None, days: list[date] | None = None) -> dict[str, Any]:
    """Return an answer of archive-api.open-meteo.com/v1/archive."""
    columns = WEATHER if weather is None else weather
    days = _days(len(columns["temperature"])) if days is None else days
    called = open_meteo.CALLED
    return {
        "latitude": 52.52,
        "longitude": 13.419998,
        "generationtime_ms": 0.1399517059326172,
        "utc_offset_seconds": 7200,
        "timezone": "Europe/Berlin",
        "timezone_abbreviation": "GMT+2",
        "elevation": 38.0,
        "daily_units": {"time": "iso8601"} | dict(zip(called.values(), ("°C", "mm", "%"), strict=True)),
        "daily": {"time": list(map(str, days))} | {called[name]: list(column) for name, column in columns.items()},
    }


def _power(weather: dict[str, Any] | None = None, days: list[date] | None = None) -> dict[str, Any]:
    """Return an answer of power.larc.nasa.gov/api/temporal/daily/point."""
    columns = WEATHER if weather is None else weather
    days = _days(len(columns["temperature"])) if days is None else days
    keys = [f"{day:%Y%m%d}" for day in days]
    called = power.CALLED
    units = dict(zip(called.values(), ("C", "mm/day", "%"), strict=True))
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [13.42, 52.52, 46.71]},
        "properties": {
            "parameter": {called[name]: dict(zip(keys, column, strict=True)) for name, column in columns.items()}
        },
        "header": {
            "title": "NASA/POWER Source Native Resolution Daily Data",
            "api": {"version": "v2.9.7", "name": "POWER Daily API"},
            "sources": ["MERRA2"],
            "fill_value": -999.0,
            "time_standard": "LST",
            "start": keys[0] if keys else "",
            "end": keys[-1] if keys else "",
        },
        "messages": [],
        "parameters": {name: {"units": unit, "longname": name.title()} for name, unit in units.items()},
        "times": {"data": 1.268, "process": 0.03},
    }


MADE: list[Callable[..., dict[str, Any]]] = [_open_meteo, _power]


def _read(body: Any, options: BodyOptions = PLAIN, max_rows: int = 10) -> Question:
    return read(json.dumps(body, default=float).encode(), max_rows, options)


def _row(question: Question, row: int = 0) -> list[float]:
    return [float(column[row]) for column in question.weather]


def _refused(body: Any, options: BodyOptions = PLAIN, kind: type[OrchardError] = InvalidInput) -> list[tuple[Any, str]]:
    with pytest.raises(kind) as refused:
        _read(body, options)
    assert type(refused.value) is kind
    return [(fault.loc, fault.message) for fault in refused.value.errors]


SEASON = [
    float(np.mean(WEATHER["temperature"]) * 1.8 + 32),
    float(np.sum(WEATHER["rainfall"])),
    float(np.mean(WEATHER["humidity"])),
]


@pytest.mark.parametrize(("body", "region"), [(_open_meteo(), "52.52,13.419998"), (_power(), "52.52,13.42")])
def test_a_season_of_either_service(body: dict[str, Any], region: str) -> None:
    """Mean temperature, total rainfall, mean humidity, as NumPy has them, in what is stored: °F, mm and %."""
    question = _read(body)
    assert _row(question) == pytest.approx(SEASON, rel=1e-12)
    assert (question.shape, list(question.regions), list(question.notes)) == ("one", [region], [[]])
    assert list(_read(body, BodyOptions(region="Dahlem")).regions) == ["Dahlem"]


def test_they_are_told_apart_in_every_format_that_is_theirs() -> None:
    """JSON for both; POWER's is GeoJSON besides."""
    for body in (_open_meteo(), _power()):
        content = json.dumps(body, default=float).encode()
        assert _row(json_body.read(content, 10)) == pytest.approx(SEASON)
    assert _row(geojson.read(json.dumps(_power(), default=float).encode(), 10)) == pytest.approx(SEASON)
    years = _open_meteo({name: np.tile(column, 9) for name, column in WEATHER.items()})
    content = json.dumps(years, default=float).encode()
    assert len(content) > json_body.QUICK_FROM
    season = BodyOptions(START, START + timedelta(DAYS - 1))
    assert _row(json_body.read(content, 10, season)) == pytest.approx(SEASON)


def test_several_places() -> None:
    """A list of Open-Meteo's answers, a collection of POWER's; one in a list is still a list."""
    other = _open_meteo() | {"latitude": -25, "longitude": 180.0}
    question = _read([_open_meteo(), other])
    assert (question.shape, list(question.regions)) == ("several", ["52.52,13.419998", "-25,180"])
    assert _row(question, 1) == pytest.approx(SEASON)
    assert _read([other]).shape == "several"
    alone = _power()
    collection = {
        **{name: alone[name] for name in ("header", "messages", "parameters", "times")},
        "type": "FeatureCollection",
        "features": [{name: alone[name] for name in ("type", "geometry", "properties")}] * 2,
    }
    found = _read(collection)
    assert (found.shape, list(found.regions)) == ("several", ["52.52,13.42"] * 2)
    assert _row(found, 1) == pytest.approx(SEASON)
    told = [(("query", "region"), "names one place, and the body has 2: leave it out")]
    assert _refused([other, other], BodyOptions(region="A")) == told
    with pytest.raises(TooLarge, match="3 places: the limit is 2"):
        _read([other] * 3, max_rows=2)


values = {
    "temperature": st.floats(-80, 55),
    "rainfall": st.floats(0, 400),
    "humidity": st.floats(0, 100),
}


@given(
    st.lists(st.tuples(*values.values()), min_size=1, max_size=40),
    st.integers(0, 39),
    st.integers(0, 39),
    st.randoms(use_true_random=False),
    st.sampled_from(MADE),
)
def test_days_in_any_order(
    rows: list[tuple[float, ...]], first: int, last: int, shuffled: random.Random, made: Callable[..., dict[str, Any]]
) -> None:
    """Of a season within them, both ends included, as NumPy has its mean, sum and mean."""
    first, last = sorted((first % len(rows), last % len(rows)))
    order = list(range(len(rows)))
    shuffled.shuffle(order)
    days = _days(len(rows))
    columns = {name: [rows[row][place] for row in order] for place, name in enumerate(FEATURE_NAMES)}
    question = _read(made(columns, [days[row] for row in order]), BodyOptions(days[first], days[last]))
    inside = np.array(rows)[first : last + 1]
    means = inside.mean(axis=0)
    assert _row(question) == pytest.approx([means[0] * 1.8 + 32, inside[:, 1].sum(), means[2]], rel=1e-9, abs=1e-9)
    assert list(question.notes) == [[]]


@given(
    st.lists(st.tuples(*values.values()), min_size=2, max_size=10),
    st.sampled_from(["°F", "K", "°C", "kelvin", "degC"]),
    st.sampled_from(["inch", "mm", "kg m-2", "in"]),
    st.sampled_from(MADE),
)
def test_units_are_those_of_the_body(
    rows: list[tuple[float, ...]], temperature: str, rainfall: str, made: Callable[..., dict[str, Any]]
) -> None:
    """The same weather in another unit is the same weather."""
    columns = dict(zip(FEATURE_NAMES, map(np.array, zip(*rows, strict=True)), strict=True))
    plain = made(columns)
    kelvin, inches = temperature in ("K", "kelvin"), rainfall in ("inch", "in")
    given_in = {
        "temperature": "kelvin" if kelvin else "fahrenheit" if temperature == "°F" else "celsius",
        "rainfall": "inch" if inches else "mm",
    }
    stored = {
        "temperature": UNITS["temperature"]["celsius"].stored(columns["temperature"]),
        "rainfall": columns["rainfall"],
    }
    other = made(columns | {name: UNITS[name][unit].given(stored[name]) for name, unit in given_in.items()})
    if made is _open_meteo:
        other["daily_units"] |= {"temperature_2m_mean": temperature, "precipitation_sum": rainfall}
    else:
        other["parameters"]["T2M"]["units"] = temperature
        other["parameters"]["PRECTOTCORR"]["units"] = f"{rainfall}/day"
    assert _row(_read(other)) == pytest.approx(_row(_read(plain)), rel=1e-9, abs=1e-9)


def _without(body: dict[str, Any], count: int, how: str) -> dict[str, Any]:
    """Return a body whose first days of rainfall are missing, in one of the ways in which they can be."""
    body = copy.deepcopy(body)
    if "daily" in body:
        daily = body["daily"]
        if how == "null":
            daily["precipitation_sum"][:count] = [None] * count
        else:
            for name, column in daily.items():
                daily[name] = column[:1] + column[1 + count :]
        return body
    for name, by_day in body["properties"]["parameter"].items():
        for day in list(by_day)[1 : 1 + count]:
            if how == "gap":
                del by_day[day]
            elif name == "PRECTOTCORR":
                by_day[day] = None if how == "null" else -999.0
    return body


RAIN = "rainfall: 201 of 214 days; the sum is too low by the missing ones"
GAP = ["temperature: 201 of 214 days", RAIN, "humidity: 201 of 214 days"]


@pytest.mark.parametrize(
    ("body", "how", "notes"),
    [
        (_open_meteo(), "null", [RAIN]),
        (_open_meteo(), "gap", GAP),
        (_power(), "fill", [RAIN]),
        (_power(), "null", [RAIN]),
        (_power(), "gap", GAP),
    ],
)
def test_missing_days_are_told(body: dict[str, Any], how: str, notes: list[str]) -> None:
    """Null, a fill value, or no such day: all days of the season are expected."""
    assert list(_read(_without(body, 13, how)).notes) == [notes]


@pytest.mark.parametrize("body", [_open_meteo(), _power()])
def test_too_many_missing_days(body: dict[str, Any]) -> None:
    """With 80% of them it is a season, with fewer it is none."""
    season = BodyOptions(START, START + timedelta(199))
    ((note,),) = _read(_without(body, 40, "null"), season).notes
    assert note.startswith("rainfall: 160 of 200 days;")
    ((place, told),) = _refused(_without(body, 41, "null"), season)
    assert place[-1] in ("precipitation_sum", "PRECTOTCORR")
    assert told.startswith("159 of 200 days have a value, from 2026-04-01 to 2026-10-17: at least 80% must; add")


def test_days_that_the_body_does_not_reach() -> None:
    """They are missing too: the season is what the query says."""
    late = BodyOptions(START - timedelta(10), None)
    assert list(_read(_open_meteo(), late).notes) == [
        [
            "temperature: 214 of 224 days",
            "rainfall: 214 of 224 days; the sum is too low by the missing ones",
            "humidity: 214 of 224 days",
        ]
    ]


@pytest.mark.parametrize(
    ("options", "name", "told"),
    [
        (
            BodyOptions(date(2026, 5, 1), date(2026, 4, 30)),
            "season_start",
            "2026-05-01 is after season_end, 2026-04-30",
        ),
        (
            BodyOptions(date(2027, 1, 1), date(9999, 12, 31)),
            "season_start",
            "the body has no day from 2027-01-01 to 9999-12-31: its days are 2026-04-01 to 2026-10-31",
        ),
        (
            BodyOptions(date(2026, 11, 1)),
            "season_start",
            "the body has no day from 2026-11-01: its days are 2026-04-01 to 2026-10-31",
        ),
        (
            BodyOptions(None, date(1, 1, 1)),
            "season_end",
            "the body has no day to 0001-01-01: its days are 2026-04-01 to 2026-10-31",
        ),
    ],
)
def test_seasons_that_are_none(options: BodyOptions, name: str, told: str) -> None:
    """They end before they begin, or no day of the body is in them."""
    assert _refused(_open_meteo(), options) == [(("query", name), told)]
    assert _refused(_power(), options) == [(("query", name), told)]


def _changed(body: dict[str, Any], *place: str | int, **last: Any) -> dict[str, Any]:
    """Return a body in which something is another thing (``to``), or not there."""
    changed = copy.deepcopy(body)
    inner: Any = changed
    for part in place[:-1]:
        inner = inner[part]
    if "to" in last:
        inner[place[-1]] = last["to"]
    else:
        del inner[place[-1]]
    return changed


OM, PW = _open_meteo(), _power()
T2M = ("properties", "parameter", "T2M")
ASK = "ask Open-Meteo for daily=temperature_2m_mean,precipitation_sum,relative_humidity_2m_mean"
NOWHERE = "the place has no latitude and longitude: give the region's name as region= in the query"
ASK_POWER = "ask NASA POWER for /api/temporal/daily/point?parameters=T2M,PRECTOTCORR,RH2M"


@pytest.mark.parametrize(
    ("body", "place", "told"),
    [
        (_changed(OM, "daily", "precipitation_sum"), ("daily", "precipitation_sum"), f"is missing: {ASK}"),
        (_changed(OM, "daily_units", "precipitation_sum"), ("daily_units", "precipitation_sum"), "is missing"),
        (_changed(OM, "daily_units"), ("daily_units",), "is missing"),
        (_changed(OM, "daily_units", "temperature_2m_mean", to="°R"), ("daily_units", "temperature_2m_mean"),
         "'°R' is no unit of temperature that is known here: use °F or °C or K"),
        (_changed(OM, "daily_units", "precipitation_sum", to=5), ("daily_units", "precipitation_sum"),
         "5 is not a string"),
        (_changed(OM, "daily_units", "time", to="unixtime"), ("daily_units", "time"),
         "'unixtime' counts seconds: ask Open-Meteo without timeformat=unixtime"),
        (_changed(OM, "daily"), ("daily",), f"is missing, the body has no days: {ASK}"),
        ({"latitude": 1, "longitude": 2, "hourly": {"time": []}, "hourly_units": {}}, ("daily",),
         f"is missing, the body has hours: {ASK}"),
        (_changed(OM, "daily", to=[1]), ("daily",), "is not an object"),
        (_changed(OM, "daily", "time", 5, to="2026-04-05"), ("daily", "time", 5), "2026-04-05 is given twice"),
        (_changed(OM, "daily", "time", 5, to="2026-02-30"), ("daily", "time", 5), f"'2026-02-30' is not a day: {ASK}"),
        (_changed(OM, "daily", "time", 5, to="0000-01-01"), ("daily", "time", 5), f"'0000-01-01' is not a day: {ASK}"),
        (_changed(OM, "daily", "time", 5, to="2026-04-06T00:00"), ("daily", "time", 5),
         f"'2026-04-06T00:00' is not a day: {ASK}"),
        (_changed(OM, "daily", "time", 5, to=20260406), ("daily", "time", 5), "20260406 is not a string"),
        (_changed(OM, "daily", "time", 5), ("daily", "temperature_2m_mean"), "has 214 values, time 213"),
        (_changed(OM, "daily", "temperature_2m_mean", 7, to=True), ("daily", "temperature_2m_mean", 7),
         "true is not a number"),
        (_changed(OM, "daily", "temperature_2m_mean", 7, to="20"), ("daily", "temperature_2m_mean", 7),
         '"20" is not a number'),
        (_changed(OM, "daily", "temperature_2m_mean", 7, to=-999), ("daily", "temperature_2m_mean", 7),
         "-999 is below -90 °C, on 2026-04-08"),
        (_changed(OM, "daily", "precipitation_sum", 7, to=-0.5), ("daily", "precipitation_sum", 7),
         "-0.5 is below 0 mm, on 2026-04-08"),
        (_changed(OM, "daily", "relative_humidity_2m_mean", 7, to=101), ("daily", "relative_humidity_2m_mean", 7),
         "101 is above 100 %, on 2026-04-08"),
        (_changed(OM, "daily", "precipitation_sum", to=[200.0] * DAYS), ("daily", "precipitation_sum"),
         "over the season, 42800 is above 30000 mm"),
        (_changed(OM, "daily", "temperature_2m_mean", to={}), ("daily", "temperature_2m_mean"), "is not a list"),
        (_changed(OM, "latitude"), (), NOWHERE),
        (_changed(OM, "latitude", to=91), ("latitude",), "91 is above 90"),
        (_open_meteo({name: [] for name in FEATURE_NAMES}), ("daily", "temperature_2m_mean"), "has no days"),
        ([OM, _changed(OM, "daily", "precipitation_sum")], (1, "daily", "precipitation_sum"), f"is missing: {ASK}"),
        ([OM, 5], (1,), "is not an object"),
        ([OM, _changed(OM, "daily", "time", 5, to="x")], (1, "daily", "time", 5), f"'x' is not a day: {ASK}"),
        (_changed(PW, *T2M), T2M, f"is missing: {ASK_POWER}"),
        (_changed(PW, "parameters", "T2M"), ("parameters", "T2M"), "is missing"),
        (_changed(PW, "parameters", "T2M", "units", to="C/day "), ("parameters", "T2M", "units"),
         "'C/day ' is no unit of temperature that is known here: use °F or °C or K"),
        (_changed(PW, "header"), ("header",), "is missing"),
        (_changed(PW, "header", to={"fill_value": "-999"}), ("header", "fill_value"), "'-999' is not a number"),
        (_changed(PW, "header", "fill_value", to=-99)
         | {"properties": _without(PW, 1, "fill")["properties"]},
         ("properties", "parameter", "PRECTOTCORR", "20260402"), "-999 is below 0 mm, on 2026-04-02"),
        (_changed(PW, *T2M, to={"2026040100": 20.1}), (*T2M, "2026040100"), f"'2026040100' is not a day: {ASK_POWER}"),
        (_changed(PW, *T2M, to={"202604": 20.1}), (*T2M, "202604"), f"'202604' is not a day: {ASK_POWER}"),
        (_changed(PW, *T2M, to={"JAN": 20.1}), (*T2M, "JAN"), f"'JAN' is not a day: {ASK_POWER}"),
        (_changed(PW, *T2M, to={"20261301": 20.1}), (*T2M, "20261301"), f"'20261301' is not a day: {ASK_POWER}"),
        (_changed(PW, *T2M, to=[20.1]), T2M, "is not an object"),
        (_changed(PW, *T2M, "20260401", to="x"), (*T2M, "20260401"), '"x" is not a number'),
        (_changed(PW, "geometry", to=None), (),
         NOWHERE),
        (PW | {"features": []}, ("type",), '"Feature" is not \'FeatureCollection\''),
        (PW | {"type": "FeatureCollection", "features": 5}, ("type",), '"FeatureCollection" is not \'Feature\''),
        ({"error": True, "reason": "Data corrupted at path ''."}, ("reason",),
         "Open-Meteo has answered with an error: Data corrupted at path ''."),
        ({"header": "The POWER Daily API failed to complete it.", "messages": ["Start is missing", 5]},
         ("messages",),
         "NASA POWER has answered with an error: The POWER Daily API failed to complete it. Start is missing"),
        ({"error": True, "reason": "x" * 10_000}, ("reason",), f"Open-Meteo has answered with an error: {'x' * 200}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(body: Any, place: tuple[Any, ...], told: str) -> None:
    """Where it is, and what the service has to be asked for."""
    assert (place, told) in _refused(body)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_number_may_be_anything_but_finite(number: float) -> None:
    """In the days of either service."""
    for body, place in ((OM, ("daily", "precipitation_sum", 3)), (PW, (*T2M, "20260401"))):
        ((found, told),) = _refused(_changed(body, *place, to=number), kind=MalformedInput)
        said = "NaN" if number != number else "Infinity, or a number too large for 64 bits,"  # noqa: PLR0124
        assert (found, told) == (place, f"{said} is not finite")


@pytest.mark.parametrize("body", [OM, PW])
def test_a_number_of_any_length(body: dict[str, Any]) -> None:
    """It is no weather."""
    content = json.dumps(body, default=float).encode()
    number = str(WEATHER["temperature"][0]).encode()
    for huge in (b"1" * 400, b"1e308", b"-1e400"):
        with pytest.raises((InvalidInput, MalformedInput)):
            read(content.replace(number, huge, 1), 10, PLAIN)


def test_days_have_a_limit() -> None:
    """More than a century is no season."""
    days = _days(MOST_DAYS + 1, date(1900, 1, 1))
    many = dict.fromkeys(FEATURE_NAMES, [20] * len(days))
    faults = dict(_refused(_open_meteo(many, days)))
    assert faults["daily", "time"] == f"has more than {MOST_DAYS} entries, which is the limit"
    with pytest.raises(InvalidInput, match=f"an object has {MOST_DAYS + 1} fields: none has more than {MOST_DAYS}"):
        _read(_power(many, days))
    fewer = {name: column[:-1] for name, column in many.items()}
    assert _row(_read(_power(fewer, days[:-1]), BodyOptions(days[0], days[9])))[1] == 200


def test_other_bodies_are_none() -> None:
    """Who reads only weather says what it has to be."""
    for body in ({"temperature": 73, "rainfall": 67, "humidity": 43}, [], {}, 5, None, [5]):
        with pytest.raises(InvalidInput, match="this is no answer of Open-Meteo, which has daily and daily_units, nor"):
            _read(body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["2026-04-01", "20260401", "°C", "mm", "%"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["time", "units", "T2M", "20260401"]), inner)
    ),
    max_leaves=5,
)


def _places(body: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(body, dict):
        return [place, *(found for name, inner in body.items() for found in _places(inner, (*place, name)))]
    if isinstance(body, list):
        return [place, *(found for row, inner in enumerate(body) for found in _places(inner, (*place, row)))]
    return [place]


FEW = {name: column[:3] for name, column in WEATHER.items()}
BOTH = [_open_meteo(FEW), [_open_meteo(FEW)], _power(FEW)]


@given(st.data(), json_values)
def test_anything_anywhere_is_refused_in_words(data: st.DataObject, value: Any) -> None:
    """Whatever stands where something else should: an error that names a place, or an answer."""
    body = data.draw(st.sampled_from(BOTH))
    place = data.draw(st.sampled_from(_places(body)[1:]))
    changed: Any = json.loads(json.dumps(body, default=float))
    inner = changed
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    try:
        question = _read(changed)
    except (InvalidInput, MalformedInput) as error:
        assert error.detail  # noqa: PT017 - any error will do
        return
    assert all(np.isfinite(column).all() for column in question.weather)
