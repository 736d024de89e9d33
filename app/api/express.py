"""The express lane of POST /predict: one region, JSON in and out, the live version, no query.

Most requests are of this kind, and here they cost less than the server's own handling of a request: the head and body
of a request to pydantic to plain floats to bytes, with no scope, task, router, request object or array between. What is
not of this kind, or not valid, goes on to the general path with nothing lost, so that this room knows no errors; what
it answers, the general path would answer byte for byte (tests/api/test_express.py). `app.api.door` hands requests in.
"""

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from app.api.headers import NO_SNIFFING
from app.api.request_id import request_id
from app.api.services import Services
from app.model.linear import LEVERAGE_SLACK, CropModel, LinearModel, Spread
from app.model.warning_texts import record_warnings, warnings_for
from app.serving.live import LEVEL, Served
from app.wire.json_body import to_bytes
from app.wire.schemas import PlainRegion

JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8"})
ANY_TYPES = frozenset({b"*/*", b"application/json", b"application/json, */*"})
LONGEST = 4_096
"""Bytes: one region's body is shorter, whatever its name; what is longer is not even looked at."""
LONGEST_DIGITS = len(str(LONGEST))
NO_MATTER = frozenset(
    {
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"dnt",
        b"forwarded",
        b"pragma",
        b"referer",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""Headers that make no difference to the answer; with those that are not known here a request is no plain one."""
VALIDATE = TypeAdapter(PlainRegion).validator.validate_json

Headers = Sequence[tuple[bytes, bytes]]
Answering = Callable[[str | None, tuple[float, float, float]], dict[str, Any]]
"""Of a region's name and weather."""
Regional = Callable[[float, float, float, int], tuple[float, float]]
"""Of a region's weather and its place in the effects: tons, and half the width of the interval."""


class Express:
    """Answers what it can by itself; None means that the general path is to answer."""

    def __init__(self, services: Services) -> None:
        self._live = services.live
        self._concurrency = services.concurrency
        self._hosts = services.hosts
        self._is_open = services.tokens.reading_is_open
        self._note = services.asked_weather.note
        self._tally = services.tally
        self._took = services.tally.pending.append
        self.longest = min(LONGEST, services.settings.max_body_bytes)
        """Bytes of a body that is looked at."""
        self._served: Served | None = None
        self._answer: Answering = _unready
        self._common: Headers = ()
        self._head = b""

    def length(self, method: bytes, url: bytes, headers: Headers) -> int | None:
        """Return how long the body of a plain request is, None of one that is not for this lane.

        ``headers``: all that came, their names in small letters, in the order in which they came.
        """
        given = dict(headers)
        if (method, url) != (b"POST", b"/predict") or not self._is_open or len(given) < len(headers):
            return None
        if b"host" not in given or not all(self._is_plain(name, value) for name, value in headers):
            return None
        length = int(given.get(b"content-length", self.longest + 1))
        return length if length <= self.longest else None

    def _is_plain(self, name: bytes, value: bytes) -> bool:
        """Say whether there is nothing special about a header."""
        match name:
            case b"content-type":
                return value in JSON_TYPES
            case b"content-length":
                return value.isdigit() and len(value) <= LONGEST_DIGITS
            case b"accept":
                return value in ANY_TYPES
            case b"host":
                return self._hosts.admits(value)
            case b"connection":
                return value.lower() == b"keep-alive"
            case _:
                return name == b"x-request-id" or name in NO_MATTER

    def answer(self, body: bytes, given: bytes, common: Headers) -> bytes | None:
        """Return the whole answer to a region's body.

        ``given``: the X-Request-ID of the request, b"" for none. ``common``: headers that the server gives all answers.
        """
        began = perf_counter()
        served = self._live.loaded
        concurrency = self._concurrency
        if served is None or concurrency.at_work >= concurrency.limit:
            return None
        try:
            region: PlainRegion = VALIDATE(body)
        except ValidationError:
            return None
        if body.count(b":") > len(region.model_fields_set):  # a field is named twice, or a name has colons
            return None
        if served is not self._served or common is not self._common:
            self._take(served, common)
        weather = (region.temperature, region.rainfall, region.humidity)
        found = self._answer(region.region, weather)
        content = to_bytes(found)
        self._note(weather)
        answer = self._head % (len(content), request_id(given)) + content
        took = perf_counter() - began
        self._took(-took if found["extrapolated"] else took)
        return answer

    def _take(self, served: Served, common: Headers) -> None:
        """Prepare a version that has just become live, and what stands before its answers."""
        if served is not self._served:
            self._tally.set_aside([crop.crop for crop in served.model.crops])
            self._answer = answering(served.version, served.model)
            self._served = served
        self._common = common
        before = [*common, (b"x-model-version", served.version.encode())]
        lines = [b"%b: %b\r\n" % header for header in before]
        self._head = (
            b"HTTP/1.1 200 OK\r\n"
            + b"".join(lines).replace(b"%", b"%%")
            + b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
            + b"%b: %b\r\n\r\n" % NO_SNIFFING
        )


def _unready(_region: str | None, _weather: tuple[float, float, float]) -> dict[str, Any]:
    raise AssertionError("a version is taken before it answers")


def answering(version: str, model: LinearModel) -> Answering:
    """Return the function that answers one region by a version.

    Its numbers unpacked, its products in linear.py's order.
    """
    spreads = {spread: number for number, spread in enumerate(model.spreads)}
    leverages = tuple(_leverage(spread) for spread in spreads)
    lines: list[tuple[str, float, float, float, float, int, float | None, Regional | None]] = [
        (crop.crop, crop.intercept, *_three(crop.weights), spreads[crop.spread], crop.scale(LEVEL), _regional(crop))
        for crop in model.crops
    ]
    root = math.sqrt
    never_sure = any(crop.is_exact for crop in model.crops)
    find, unseen = model.index.get, len(model.regions)
    always = record_warnings(model, LEVEL)
    not_learned = frozenset(np.flatnonzero(model.not_learned).tolist())

    def answer(region: str | None, weather: tuple[float, float, float]) -> dict[str, Any]:
        x0, x1, x2 = weather
        place = find(region, unseen) if region else unseen
        outside, doubtful = False, never_sure or (place in not_learned and bool(region))
        widths = []
        for leverage in leverages:
            distance, beyond = leverage(x0, x1, x2)
            outside = outside or beyond
            widths.append(root(1.0 + distance))
        yields = {}
        margin: float | None
        for crop, intercept, w0, w1, w2, spread, scale, regional in lines:
            if regional is not None:
                tons, margin = regional(x0, x1, x2, place)
            else:
                tons = intercept + w0 * x0 + w1 * x1 + w2 * x2
                margin = None if scale is None else scale * widths[spread]
            if margin is None:
                low = high = None
                doubtful = True
            else:
                low, high = tons - margin, tons + margin
                if low < 0.0:
                    doubtful = True
                    low = 0.0
                    high = max(0.0, high)
            yields[crop] = {"tons": max(0.0, tons), "low": low, "high": high}
        return {
            "model_version": version,
            "region": region,
            "yields": yields,
            "extrapolated": outside,
            "warnings": warnings_for(model, weather, LEVEL, region) if outside or doubtful else always,
        }

    return answer


def _regional(crop: CropModel) -> Regional | None:
    """Return the function of a region's weather and place that gives its prediction and half its interval's width."""
    effects = crop.effects
    if effects is None:
        return None
    w0, w1, w2 = _three(tuple(effects.weights.tolist()))
    intercept, root = effects.intercept, math.sqrt
    (t00, t01, t02), (t10, t11, t12), (t20, t21, t22) = effects.whitener.tolist()
    columns = (effects.offset, *effects.center.T, effects.base, effects.beyond_by_place, crop.scales(LEVEL))
    by_place = list(zip(*(column.tolist() for column in columns), strict=True))

    def regional(x0: float, x1: float, x2: float, place: int) -> tuple[float, float]:
        offset, c0, c1, c2, base, beyond, scale = by_place[place]
        a0, a1, a2 = x0 - c0, x1 - c1, x2 - c2
        first = t00 * a0 + t01 * a1 + t02 * a2
        second = t10 * a0 + t11 * a1 + t12 * a2
        third = t20 * a0 + t21 * a1 + t22 * a2
        width = root(beyond + (base + (first * first + second * second + third * third)))
        return intercept + (w0 * x0 + w1 * x1 + w2 * x2) + offset, scale * width

    return regional


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _leverage(spread: Spread) -> Callable[[float, float, float], tuple[float, bool]]:
    """Return the function of a region's weather that gives its leverage, and whether it lies outside training."""
    c0, c1, c2 = spread.center
    (t00, t01, t02), (t10, t11, t12), (t20, t21, t22) = spread.whitener
    low0, low1, low2 = spread.minimum
    high0, high1, high2 = spread.maximum
    base = 1.0 / spread.rows
    largest = spread.largest_leverage * (1.0 + LEVERAGE_SLACK)

    def leverage(x0: float, x1: float, x2: float) -> tuple[float, bool]:
        a0, a1, a2 = x0 - c0, x1 - c1, x2 - c2
        first = t00 * a0 + t01 * a1 + t02 * a2
        second = t10 * a0 + t11 * a1 + t12 * a2
        third = t20 * a0 + t21 * a1 + t22 * a2
        value = base + (first * first + second * second + third * third)
        within = low0 <= x0 <= high0 and low1 <= x1 <= high1 and low2 <= x2 <= high2
        return value, value > largest or not within

    return leverage
