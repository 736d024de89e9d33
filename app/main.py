"""The application: everything is put together here, and nothing happens at import."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app import memory, stopping
from app.api import docs, health, inference, metrics, models, observations, predict, problems, retrain
from app.api.aside import Aside
from app.api.described import TAGS, operation_id
from app.api.document import DocumentedAPI
from app.api.express import Express
from app.api.load import Limited, Load
from app.api.security import RequestId
from app.api.services import Services
from app.api.tokens import Attempts, Tokens, require_reader
from app.data.integrity import database_fault
from app.errors import OrchardError
from app.serving.drift import Asked
from app.serving.live import Live
from app.serving.tally import Tally
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.process import Trainer

logger = logging.getLogger("orchard")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application; without ``settings``, they come from the environment."""
    settings = settings or Settings()
    app = DocumentedAPI(
        title="Orchard",
        version=version("orchard"),
        summary="Crop yields from region weather, with how far to trust each number.",
        lifespan=_lifespan(settings),
        docs_url=None,
        redoc_url=None,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
    )
    app.add_middleware(Limited)
    if settings.cors_origins:
        origins = [origin.strip() for origin in settings.cors_origins.split(",")]
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=["*"]
        )
    app.add_middleware(RequestId)
    problems.install(app)
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(inference.health)
    guard = [Depends(require_reader)] if settings.read_token is not None else []
    for resource in (predict, retrain, observations, models, inference, metrics):
        app.include_router(resource.router, dependencies=guard)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = Registry(Objects(settings.model_store))
        live = Live(registry)
        live.follow()
        shared = Objects(settings.shared_folder) if settings.shared_folder else None
        asked, tally = Asked(shared), Tally(metrics.EXPRESS, shared)
        load = Load(settings.max_concurrency, settings.body_timeout_s)
        tokens = Tokens(settings)
        services = Services(
            settings, tokens, Attempts(), load, registry, live, asked, tally, Trainer(settings), Aside()
        )
        app.state.services = services
        assert isinstance(app, DocumentedAPI)  # noqa: S101 - it is made below
        app.express = Express(super(DocumentedAPI, app).__call__, services)
        await asyncio.to_thread(_look_over, services)
        background = [asyncio.create_task(_follow(services)), asyncio.create_task(load.watch())]
        memory.keep_freed()
        memory.settle()
        try:
            with stopping.announced(load.stop, settings.drain_s):
                yield
        finally:
            for task in background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await services.close()

    return lifespan


def _look_over(services: Services) -> None:
    """Clean up after writers that died, and see whether the database is whole."""
    try:
        removed = Objects(services.settings.model_store).clean()
        if removed:
            logger.warning("%d temporary files of writers that died were removed", removed)
        if fault := database_fault(services.settings.database):
            services.damage.append(fault)
            logger.error(fault)
    except OrchardError as error:
        logger.warning("the store could not be looked over: %s", error.detail)


async def _follow(services: Services) -> None:
    """Look for activations by other processes, and sum up what was asked, for as long as the service runs."""
    while True:
        await asyncio.sleep(services.settings.follow_interval_s)
        await asyncio.to_thread(services.live.follow)
        try:
            await metrics.settle(services)
        except OrchardError:
            logger.exception("what was asked could not be shared")
