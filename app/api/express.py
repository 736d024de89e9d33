"""The express lane of POST /predict: one region, JSON in and out, the live version, no query.

Most requests are of this kind, and here they cost little more than the server under them: bytes to pydantic to plain
floats to bytes, with no router, request object or array between. Whatever is not of this kind, or not valid, goes on to
the general path with nothing lost, so that this room knows no errors; what it answers, the general path would answer
byte for byte (tests/api/test_express.py).
"""

import asyncio
import math
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.headers import NO_SNIFFING
from app.api.hosts import Hosts
from app.api.request_id import request_id
from app.api.services import Services
from app.model.linear import LEVERAGE_SLACK, CropModel, LinearModel, Spread
from app.model.warning_texts import record_warnings, warnings_for
from app.serving.live import LEVEL, Served
from app.wire.json_body import to_bytes
from app.wire.schemas import RegionWeather

JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8"})
ANY_TYPES = frozenset({b"*/*", b"application/json", b"application/json, */*"})
LONGEST = 4_096
"""Bytes: one region's body is shorter, whatever its name; what is longer is not even looked at."""
OTHERS = frozenset({b"expect", b"origin", b"content-encoding"})
"""Headers that say that there is more to a request."""
CONTENT_TYPE = (b"content-type", b"application/json")
VALIDATE = TypeAdapter(RegionWeather).validator.validate_json

Answering = Callable[[str | None, tuple[float, float, float]], dict[str, Any]]
"""Of a region's name and weather."""
Regional = Callable[[float, float, float, int], tuple[float, float]]
"""Of a region's weather and its place in the effects: tons, and half the width of the interval."""


class Express:
    """Answers what it can by itself, and hands everything else to the application behind it."""

    def __init__(self, general: ASGIApp, services: Services) -> None:
        self._general = general
        self._live = services.live
        self._concurrency = services.concurrency
        self._hosts = services.hosts
        self._is_open = services.tokens.reading_is_open
        self._note = services.asked_weather.note
        self._tally = services.tally
        self._took = services.tally.pending.append
        self._limit = min(LONGEST, services.settings.max_body_bytes)
        self._served: Served | None = None
        self._answer: Answering = _unready
        self._version = (b"x-model-version", b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one POST /predict."""
        began = perf_counter()
        given = _plain_request(scope, self._hosts)
        served = self._live.loaded
        concurrency = self._concurrency
        if (
            given is None
            or served is None
            or not self._is_open
            or len(concurrency.waiting) + concurrency.at_work >= concurrency.limit
        ):
            await self._general(scope, receive, send)
            return
        task = asyncio.current_task()
        concurrency.waiting[task] = concurrency.tick
        try:
            message = await receive()
        except asyncio.CancelledError:
            if task is None or task in concurrency.waiting:
                raise
            task.uncancel()  # it was cancelled only for being slow, and now answers that it was
            await self._general(scope, self._too_slow, send)
            return
        finally:
            concurrency.waiting.pop(task, None)
        body = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request" or len(body) > self._limit:
            await self._general(scope, _again(message, receive), send)
            return
        try:
            region: RegionWeather = VALIDATE(body)
        except ValidationError:
            await self._general(scope, _again(message, receive), send)
            return
        if body.count(b":") > len(region.model_fields_set):  # a field is named twice, or a name has colons
            await self._general(scope, _again(message, receive), send)
            return
        if served is not self._served:
            self._take(served)
        weather = (region.temperature, region.rainfall, region.humidity)
        found = self._answer(region.region, weather)
        answer = to_bytes(found)
        self._note(weather)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    self._version,
                    (b"content-length", b"%d" % len(answer)),
                    CONTENT_TYPE,
                    (b"x-request-id", request_id(given)),
                    NO_SNIFFING,
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})
        took = perf_counter() - began
        self._took(-took if found["extrapolated"] else took)

    async def _too_slow(self) -> Message:
        raise self._concurrency.too_slow()

    def _take(self, served: Served) -> None:
        """Prepare a version that has just become live."""
        self._tally.set_aside([crop.crop for crop in served.model.crops])
        self._answer = answering(served.version, served.model)
        self._version = (b"x-model-version", served.version.encode())
        self._served = served


def _unready(_region: str | None, _weather: tuple[float, float, float]) -> dict[str, Any]:
    raise AssertionError("a version is taken before it answers")


def _plain_request(scope: Scope, hosts: Hosts) -> bytes | None:
    """Return the X-Request-ID given, b"" for none, if the request is one for this lane; None if it is not."""
    if scope["method"] != "POST" or scope["query_string"]:
        return None
    given = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value not in JSON_TYPES:
                return None
        elif name == b"accept":
            if value not in ANY_TYPES:
                return None
        elif name == b"x-request-id":
            given = value
        elif name in OTHERS or (name == b"host" and value not in hosts.accepted and not hosts.admits(value)):
            return None
    return given


def _again(first: Message, receive: Receive) -> Receive:
    """Return a receive that repeats a message already taken."""
    pending = [first]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


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
