"""The application: everything is put together here, and nothing happens at import."""

import asyncio
import contextlib
import itertools
import logging
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from app import __version__, memory, parent, stopping
from app.api import (
    access,
    events,
    forecasts,
    grafana,
    health,
    inference,
    link,
    metrics,
    models,
    observations,
    page,
    predict,
    problems,
    retrain,
    scores,
)
from app.api.address import Prefixed, check_query
from app.api.concurrency import Concurrency, ConcurrencyLimit
from app.api.cors import CORS
from app.api.doors import Doors
from app.api.express import Express
from app.api.guards import require_reader
from app.api.helper import Helper
from app.api.hosts import HostCheck
from app.api.openapi import page as documentation
from app.api.openapi.document import DocumentedAPI
from app.api.openapi.parts import TAGS, operation_id
from app.api.request_id import RequestId
from app.api.services import Services
from app.api.tokens import Tokens, WrongTokens
from app.data.integrity import database_fault, has_trainings, is_open_to_all, is_there
from app.errors import InvalidInput, NotReady, OrchardError
from app.logs import log_write
from app.serving import retention
from app.serving.drift import AskedWeather
from app.serving.live import Live
from app.serving.tally import Tally
from app.settings import Settings
from app.store.objects import Objects, open_store
from app.store.registry import Registry
from app.training.process import Trainer

logger = logging.getLogger("orchard")

THOROUGHLY_S, THOROUGHLY_FAR_S = 5.0, 60.0
"""How often it is looked whether the log's end is what it was, which may have been changed by hand, in a folder and in
object storage, seconds; else the next line is asked for."""
JITTER = 0.2
"""By how much the pauses between looks at object storage differ, so that replicas do not look all at once."""
SHARED_EVERY_S = 0.5
"""How often counts are shared with other workers, seconds."""
LOOKED_AT = 200
"""Lines of the log that are looked at when the service starts, the newest; `orchard check` looks at all."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application; without ``settings``, they come from the environment."""
    settings = settings or Settings()
    if settings.unservable is not None:
        raise InvalidInput(settings.unservable)
    app = DocumentedAPI(
        title="Orchard",
        version=__version__,
        summary="Crop yields from region weather, with how far to trust each number.",
        lifespan=_lifespan(settings),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        openapi_tags=TAGS,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        generate_unique_id_function=operation_id,
    )
    app.add_middleware(ConcurrencyLimit, exempt=_paths(health.router, inference.health, metrics.router, events.router))
    if settings.cors_origins:
        app.add_middleware(
            CORS,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(HostCheck)
    app.add_middleware(RequestId, bare=_paths(predict.router))
    if settings.root_path:
        app.add_middleware(Prefixed, prefix=settings.root_path)
    problems.install(app, {inference.router.prefix: inference.problem})
    app.include_router(health.router)
    app.include_router(page.router)
    app.include_router(page.file_router)
    app.include_router(documentation.router)
    app.include_router(inference.health)
    app.include_router(access.router, dependencies=[Depends(check_query)])
    guard = [Depends(require_reader)] if settings.read_token is not None else []
    app.include_router(documentation.document, dependencies=guard)
    for resource in (
        predict,
        link,
        retrain,
        observations,
        forecasts,
        scores,
        models,
        events,
        inference,
        metrics,
        grafana,
    ):
        app.include_router(resource.router, dependencies=[*guard, Depends(check_query)])
    return app


def _paths(*routers: APIRouter) -> frozenset[str]:
    return frozenset(route.path for router in routers for route in router.routes if isinstance(route, APIRoute))


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parent.end_with_supervisor()
        registry = Registry(open_store(settings))
        live = Live(registry)
        with contextlib.suppress(OrchardError):  # it says itself why it is not ready
            live.follow()
        _tell_of_waiting(settings, live)
        shared = Objects(settings.shared_folder) if settings.shared_folder else None
        asked, tally = AskedWeather(shared), Tally(metrics.EXPRESS, shared)
        concurrency = Concurrency(settings.max_concurrency, settings.body_timeout_s, settings.max_waiting_bytes)
        tokens = Tokens(settings)
        services = Services(
            settings,
            tokens,
            WrongTokens(),
            concurrency,
            registry,
            live,
            asked,
            tally,
            Trainer(settings),
            Helper(settings.max_body_bytes),
            Helper(settings.max_body_bytes),
        )
        app.state.services = services
        assert isinstance(app, DocumentedAPI)  # noqa: S101 - it is made below
        app.doors = doors = Doors(Express(services), settings.keep_alive_s)
        await asyncio.to_thread(_look_over, services)
        with contextlib.suppress(OrchardError):  # it is told of when it can be looked at
            await events.tell(services)
        services.database.start()
        tasks = (_settle(services), _follow(services), _share(services), _forget(services), doors.watch())
        background = [asyncio.create_task(task) for task in tasks]
        memory.keep_freed()
        memory.freeze_heap()
        try:
            with (
                stopping.announced(concurrency.stop, settings.drain_s),
                # Before what is open is waited for, of which these would be the last.
                stopping.heard(signal.SIGTERM, services.listeners.close),
                stopping.heard(signal.SIGINT, services.listeners.close),
            ):
                yield
        finally:
            services.listeners.close()
            for task in background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            services.database.stop()
            await services.close()

    return lifespan


def _tell_of_waiting(settings: Settings, live: Live) -> None:
    """Say how a store that replicas may share gets its first version: none of them trains one of its own."""
    try:
        _ = live.current
    except NotReady as error:
        if settings.is_remote:
            logger.warning(
                "no version of %s is served yet (%s): this service is ready once one is live there; it trains "
                "none unasked, since others may share the store: `orchard train` with the same settings, or "
                "POST /retrain, does",
                settings.place,
                error.detail,
            )


def _look_over(services: Services) -> None:
    """Clean up after writers that died, and see whether the database and the log are whole."""
    settings, condition = services.settings, services.condition
    try:
        removed = open_store(settings).clean()
        if removed:
            logger.warning("%d temporary files of writers that died were removed", removed)
        if not settings.is_remote:  # where nobody edits it, and each replica would read it anew
            condition.tell("log", "; ".join(services.registry.log(LOOKED_AT).damage) or None)
        condition.tell("database", database_fault(settings.database))
        if is_open_to_all(settings.database):
            logger.warning(
                "the observations' database can be read by everybody on this machine: chmod 600 it, "
                "or 640 for a group that takes backups"
            )
    except OrchardError as error:
        logger.error("the store could not be looked over: %s", error.detail)  # noqa: TRY400 - the detail says it all


async def _settle(services: Services) -> None:
    """Carry through or take back what a training has left that was interrupted."""
    if has_trainings(services.settings.database):
        from app.training.pending import settle_at_start  # noqa: PLC0415 - SQLAlchemy: when it is first needed

        try:
            await services.in_database(settle_at_start, services.settings)
        except OrchardError as error:
            logger.warning("an interrupted training could not be settled yet: %s", error.detail)


async def _forget(services: Services) -> None:
    """Erase old forecasts without an outcome, now and every hour, where the settings say how long they are kept."""
    days = services.settings.forecast_days
    if days is None:
        return
    looks = retention.Retention(days)
    while True:
        if is_there(services.settings.database):
            await _tried("old forecasts cannot be erased", services, _look(services, looks, days))
        await asyncio.sleep(retention.INTERVAL_S)


async def _look(services: Services, looks: retention.Retention, days: int) -> None:
    erased = await services.in_database(lambda: looks.look(services.observations))
    if erased:
        why = f"older than {days} days, and without an outcome"
        log_write("forecasts were erased", who="orchard", note=why, rows=erased)


async def _follow(services: Services) -> None:
    """Look for activations by other processes, for as long as the service runs.

    Whatever goes wrong is logged, once, and tried again: `/health/ready` says since when the log was not looked at.
    """
    loop, settings = asyncio.get_running_loop(), services.settings
    interval_s, jitter = settings.follow_every_s, JITTER if settings.is_remote else 0.0
    thoroughly_every = max(1, round((THOROUGHLY_FAR_S if settings.is_remote else THOROUGHLY_S) / interval_s))
    thread = ThreadPoolExecutor(1, "follow")  # whatever else is slow, this goes on
    try:
        for turn in itertools.count(1):
            await asyncio.sleep(interval_s * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311 - no secret
            follow = partial(services.live.follow, thoroughly=turn % thoroughly_every == 0)
            await _tried("the log cannot be looked at", services, loop.run_in_executor(thread, follow))
            await _tried("what is new cannot be told", services, events.tell(services, thread))
    finally:
        thread.shutdown(wait=False)  # a look at a store that hangs takes its time


async def _share(services: Services) -> None:
    """Sum up the requests, and share them with other workers, for as long as the service runs."""
    while True:
        await asyncio.sleep(min(SHARED_EVERY_S, services.settings.follow_every_s))
        await _tried("what requests asked about cannot be shared", services, metrics.publish(services))


async def _tried(failure: str, services: Services, work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - without this task the process would serve the same version for ever
        detail = error.detail if isinstance(error, OrchardError) else repr(error)
        services.condition.tell(failure, f"{failure}: {detail}")
    else:
        services.condition.tell(failure, None)
