"""The two clients: what differs between waiting and awaiting, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.client import calls
from app.client.calls import KEPT_ALIVE_S, Call, Calls, Seasons, TableContent
from app.client.errors import Unreadable, problem_of_event
from app.client.events import Event, Events, ServiceEvent, happened
from app.client.retries import Retries
from app.model.progress import Progress
from app.model.units import STORED, Units
from app.training.report import Activate, Report
from app.wire.media_types import EVENTS
from app.wire.schemas import ForecastEntry, ObservationEntry

Returned = TypeVar("Returned")

URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
RETRIES = 3
PAGE = 1_000
RECONNECTS = 8
"""Attempts to take up a stream of events again that was there: about a minute."""
_CUT = "the event stream ended before its result"
_ENDED = "the service has ended the stream of events"
_SILENT = f"nothing was heard for {KEPT_ALIVE_S:g} s"


class _Client(Calls):
    """What both clients are made of."""

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        units: Units | None = None,
    ) -> None:
        """``token``: what writes need. ``timeout``: seconds without an answer. ``retries``: attempts after the first.

        A token has 16 characters or more; an empty one counts as none. ``units``: what the weather in predictions,
        harvests and their answers is given in; what is stored, and listed, is in °F and mm.

        Raises:
            ValueError: the URL is not one of HTTP, or the token cannot be one.
        """
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("the token has characters that no token has")
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError(f"{url!r} is not a URL like {URL}")
        self._retries = retries
        self._timeout = timeout
        self.units = units or STORED
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._settings: dict[str, Any] = {"base_url": address, "timeout": timeout, "headers": headers}

    def location(self, version: str | None) -> str:
        """Return the address of a version's card; nothing for none."""
        return "" if version is None else str(self._settings["base_url"].join(f"models/{version}"))

    def _retries_of(self, call: Call[Any]) -> Retries:
        retries = self._retries if call.is_retried else 0
        return Retries(retries, is_repeatable=call.is_repeatable, patience_s=call.patience_s)

    def _request(self, call: Call[Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {
            "method": call.method,
            "url": call.path,
            "params": {name: value for name, value in call.query.items() if value is not None},
            "headers": {**call.headers, **(headers or {})},
            "content": call.content,
            "timeout": max(self._timeout, call.patience_s),
        }


class Orchard(_Client):
    """A client that waits for its answers.

    A call that fails raises `ClientError`; what is wrong before anything is sent raises ValueError.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        units: Units | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries, units=units)
        self._http = httpx.Client(**self._settings, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, call: Call[Returned]) -> Returned:
        """Make a call, if need be several times, and return its answer.

        Raises:
            Problem, Unreachable, Unreadable: there is no answer.
        """
        retries = self._retries_of(call)
        while True:
            outcome = self._tried(call)
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return call.answer(outcome)
            time.sleep(retries.wait_after(outcome))

    def _tried(self, call: Call[Any]) -> httpx.Response | httpx.RequestError:
        try:
            return self._http.request(**self._request(call))
        except httpx.RequestError as error:
            return error

    def observations(self, *, page: int = PAGE, withdrawn: bool = False) -> Iterator[ObservationEntry]:
        """Yield the stored observations in use, oldest first, ``page`` of them in a call. Needs a token.

        ``withdrawn``: also those that take no part in training, since they were withdrawn or refused.
        """
        after: str | None = None
        while True:
            found = self.observation_page(limit=page, after=after)
            yield from (entry for entry in found.observations if withdrawn or not entry.withdrawn)
            if (after := found.next) is None:
                return

    def forecasts(
        self, *, region: str | None = None, season: str | None = None, is_open: bool = False, page: int = PAGE
    ) -> Iterator[ForecastEntry]:
        """Yield the stored forecasts, oldest first, ``page`` of them in a call. Needs a token.

        ``is_open``: those of which no harvest was reported so far.
        """
        after: str | None = None
        while True:
            found = self.forecast_page(region=region, season=season, is_open=is_open, limit=page, after=after)
            yield from found.forecasts
            if (after := found.next) is None:
                return

    def events(self, *, after: int | None = None) -> Iterator[ServiceEvent]:
        """Yield what happens to the service, as it happens, without an end.

        ``after``: an event's ``id``; what was made live since then is told first. A connection that breaks is made
        again, and what was made live meanwhile is told.

        Raises:
            Problem, Unreachable, Unreadable: there is no stream, or after a minute none any more.
        """
        follower = _Follower(self._retries, after)
        while True:
            try:
                with self._http.stream(**self._request(calls.EVENTS_CALL, follower.headers)) as response:
                    if response.is_success:
                        for part in response.iter_bytes():
                            yield from follower.take(part)
                    else:
                        response.read()
                    outcome: httpx.Response | httpx.RequestError = follower.ended(response)
            except httpx.RequestError as error:
                outcome = error
            time.sleep(follower.wait_after(outcome))

    def retrain(
        self,
        observations: Seasons | None = None,
        *,
        table: TableContent | None = None,
        crops: Sequence[str] | None = None,
        activate: Activate = "if_better",
        dry_run: bool = False,
        note: str = "",
        key: str | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Learn from observations, as rows or as a table, and all that is stored, or only from that. Needs a token.

        ``crops``: the columns of the table that hold yields; without it, all that are neither weather nor names.
        ``activate``: whether the new version becomes live. ``dry_run``: store and publish nothing. ``key``: the
        idempotency key, under which the call can be repeated later; one is made if none is given. ``progress`` is
        called as the service tells how it goes. The name of a file is kept with its rows, as where they come from.
        """
        call = calls.retrain(self.units, observations, table, crops, activate, dry_run, note, key)
        if progress is None:
            return self.send(call)
        retries = self._retries_of(call)
        while True:
            outcome = self._followed(call, progress)
            if isinstance(outcome, Report):
                return outcome
            time.sleep(retries.wait_after(outcome))

    def _followed(self, call: Call[Report], progress: Progress) -> Report | httpx.Response | httpx.RequestError:
        events = Events()
        try:
            with self._http.stream(**self._request(call, {"Accept": EVENTS})) as response:
                if not response.is_success:
                    response.read()
                    return response
                for part in response.iter_bytes():
                    for event in events.take(part):
                        if report := _taken(event, call, progress):
                            return report
                return _cut(response)
        except httpx.RequestError as error:
            return error


class AsyncOrchard(_Client):
    """A client whose answers are awaited.

    A call that fails raises `ClientError`; what is wrong before anything is sent raises ValueError.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        units: Units | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries, units=units)
        self._http = httpx.AsyncClient(**self._settings, transport=transport)

    @staticmethod
    def returns(answer: Any) -> Any:
        """Return the type of what can be awaited for an answer."""
        return Coroutine[Any, Any, answer]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[Returned]) -> Returned:
        """Make a call as `Orchard.send` does."""
        retries = self._retries_of(call)
        while True:
            outcome = await self._tried(call)
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return call.answer(outcome)
            await asyncio.sleep(retries.wait_after(outcome))

    async def _tried(self, call: Call[Any]) -> httpx.Response | httpx.RequestError:
        try:
            return await self._http.request(**self._request(call))
        except httpx.RequestError as error:
            return error

    async def observations(self, *, page: int = PAGE, withdrawn: bool = False) -> AsyncIterator[ObservationEntry]:
        """Yield the stored observations in use as `Orchard.observations` does."""
        after: str | None = None
        while True:
            found = await self.observation_page(limit=page, after=after)
            for entry in found.observations:
                if withdrawn or not entry.withdrawn:
                    yield entry
            if (after := found.next) is None:
                return

    async def forecasts(
        self, *, region: str | None = None, season: str | None = None, is_open: bool = False, page: int = PAGE
    ) -> AsyncIterator[ForecastEntry]:
        """Yield the stored forecasts as `Orchard.forecasts` does."""
        after: str | None = None
        while True:
            found = await self.forecast_page(region=region, season=season, is_open=is_open, limit=page, after=after)
            for entry in found.forecasts:
                yield entry
            if (after := found.next) is None:
                return

    async def events(self, *, after: int | None = None) -> AsyncIterator[ServiceEvent]:
        """Yield what happens to the service as `Orchard.events` does."""
        follower = _Follower(self._retries, after)
        while True:
            try:
                async with self._http.stream(**self._request(calls.EVENTS_CALL, follower.headers)) as response:
                    if response.is_success:
                        async for part in response.aiter_bytes():
                            for told in follower.take(part):
                                yield told
                    else:
                        await response.aread()
                    outcome: httpx.Response | httpx.RequestError = follower.ended(response)
            except httpx.RequestError as error:
                outcome = error
            await asyncio.sleep(follower.wait_after(outcome))

    async def retrain(
        self,
        observations: Seasons | None = None,
        *,
        table: TableContent | None = None,
        crops: Sequence[str] | None = None,
        activate: Activate = "if_better",
        dry_run: bool = False,
        note: str = "",
        key: str | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Retrain as `Orchard.retrain` does."""
        call = calls.retrain(self.units, observations, table, crops, activate, dry_run, note, key)
        if progress is None:
            return await self.send(call)
        retries = self._retries_of(call)
        while True:
            outcome = await self._followed(call, progress)
            if isinstance(outcome, Report):
                return outcome
            await asyncio.sleep(retries.wait_after(outcome))

    async def _followed(self, call: Call[Report], progress: Progress) -> Report | httpx.Response | httpx.RequestError:
        events = Events()
        try:
            async with self._http.stream(**self._request(call, {"Accept": EVENTS})) as response:
                if not response.is_success:
                    await response.aread()
                    return response
                async for part in response.aiter_bytes():
                    for event in events.take(part):
                        if report := _taken(event, call, progress):
                            return report
                return _cut(response)
        except httpx.RequestError as error:
            return error


class _Follower:
    """Follows the events of a service over one connection after the other."""

    def __init__(self, retries: int, after: int | None) -> None:
        self._retries = Retries(retries, is_repeatable=True)
        self._again = RECONNECTS if retries else 0
        self._seen = after
        self._events = Events()

    @property
    def headers(self) -> dict[str, str]:
        """What to ask with for the events that were not seen yet."""
        self._events = Events()
        return {"Accept": EVENTS} | ({} if self._seen is None else {"Last-Event-ID": str(self._seen)})

    def take(self, part: bytes) -> Iterator[ServiceEvent]:
        """Take in a part of the stream; yield the events that it completes."""
        self._retries = Retries(self._again, is_repeatable=True)  # it is connected
        for event in self._events.take(part):
            told = happened(event)
            self._seen = told.id if told.id is not None else self._seen
            yield told

    @staticmethod
    def ended(response: httpx.Response) -> httpx.Response | httpx.RequestError:
        """Return what a connection has come to that did not break: an error's answer, or an end of the stream."""
        return _cut(response, _ENDED) if response.is_success else response

    def wait_after(self, outcome: httpx.Response | httpx.RequestError) -> float:
        """Return the seconds to wait before the next connection.

        Raises:
            Problem, Unreachable: there is to be none.
        """
        if isinstance(outcome, httpx.ReadTimeout):
            outcome = httpx.RemoteProtocolError(_SILENT, request=outcome.request)
        return self._retries.wait_after(outcome)


def _taken(event: Event, call: Call[Report], progress: Progress) -> Report | None:
    """Take in an event of a retrain; return the report, if it is that.

    Raises:
        Problem: it says that the retrain has failed.
    """
    if event.name == "result":
        return call.answer(httpx.Response(200, text=event.data))
    if event.name == "error":
        raise problem_of_event(event.data)
    if event.name == "progress":
        progress(calls.step(event.data))
    return None


def _cut(response: httpx.Response, why: str = _CUT) -> httpx.RequestError:
    """Return the error for a stream that ended as if it were whole."""
    if not response.headers.get("content-type", "").startswith(EVENTS):
        what = f"{response.request.method} {response.request.url.path}"
        raise Unreadable(f"the answer to {what} is not Orchard's: it is no stream of events")
    return httpx.RemoteProtocolError(why, request=response.request)
