"""The two clients: what differs between waiting and awaiting, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.client import calls
from app.client.calls import Call, Calls, Seasons, TableContent
from app.client.errors import Unreadable, problem_of_event
from app.client.events import Event, Events
from app.client.retries import Retries
from app.model.progress import Progress
from app.training.report import Activate, Report
from app.wire.media_types import EVENTS
from app.wire.schemas import ObservationEntry

Returned = TypeVar("Returned")

URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
RETRIES = 3
PAGE = 1_000
_CUT = "the event stream ended before its result"


class _Client(Calls):
    """What both clients are made of."""

    def __init__(
        self, url: str = URL, token: str | None = None, *, timeout: float = TIMEOUT_S, retries: int = RETRIES
    ) -> None:
        """``token``: what writes need. ``timeout``: seconds without an answer. ``retries``: attempts after the first.

        An empty token counts as no token.

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

    A call that fails raises `app.client.errors.ClientError`.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries)
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

    def observations(self, *, page: int = PAGE) -> Iterator[ObservationEntry]:
        """Yield all stored observations, oldest first, ``page`` of them in a call."""
        after: str | None = None
        while True:
            found = self.observation_page(limit=page, after=after)
            yield from found.observations
            if (after := found.next) is None:
                return

    def retrain(
        self,
        observations: Seasons | None = None,
        *,
        table: TableContent | None = None,
        activate: Activate = "if_better",
        dry_run: bool = False,
        note: str = "",
        key: str | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Learn from observations, as rows or as a table, and all that is stored, or only from that. Needs a token.

        ``activate``: whether the new version becomes live. ``dry_run``: store and publish nothing. ``key``: the
        idempotency key, under which the call can be repeated later; one is made if none is given. ``progress`` is
        called as the service tells how it goes.
        """
        call = calls.retrain(observations, table, activate, dry_run, note, key)
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
                for line in response.iter_lines():
                    if (event := events.feed(line)) and (report := _taken(event, call, progress)):
                        return report
                return _cut(response)
        except httpx.RequestError as error:
            return error


class AsyncOrchard(_Client):
    """A client whose answers are awaited.

    A call that fails raises `app.client.errors.ClientError`.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries)
        self._http = httpx.AsyncClient(**self._settings, transport=transport)

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

    async def observations(self, *, page: int = PAGE) -> AsyncIterator[ObservationEntry]:
        """Yield all stored observations, oldest first, ``page`` of them in a call."""
        after: str | None = None
        while True:
            found = await self.observation_page(limit=page, after=after)
            for entry in found.observations:
                yield entry
            if (after := found.next) is None:
                return

    async def retrain(
        self,
        observations: Seasons | None = None,
        *,
        table: TableContent | None = None,
        activate: Activate = "if_better",
        dry_run: bool = False,
        note: str = "",
        key: str | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Retrain as `Orchard.retrain` does."""
        call = calls.retrain(observations, table, activate, dry_run, note, key)
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
                async for line in response.aiter_lines():
                    if (event := events.feed(line)) and (report := _taken(event, call, progress)):
                        return report
                return _cut(response)
        except httpx.RequestError as error:
            return error


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


def _cut(response: httpx.Response) -> httpx.RequestError:
    """Return the error for a stream that ended as if it were whole."""
    if not response.headers.get("content-type", "").startswith(EVENTS):
        raise Unreadable("the answer to POST /retrain is not Orchard's: it is no stream of events")
    return httpx.RemoteProtocolError(_CUT, request=response.request)
