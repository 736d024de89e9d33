"""The application: everything is put together here, and nothing happens at import."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version

from fastapi import FastAPI

from app import memory
from app.api import health, metrics, models, observations, predict, problems, retrain
from app.api.aside import Aside
from app.api.document import DocumentedAPI
from app.api.express import Express
from app.api.security import RequestId, token_of
from app.api.services import Services
from app.errors import OrchardError
from app.serving.drift import Asked
from app.serving.live import Live
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.process import Trainer

logger = logging.getLogger("orchard")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application; without ``settings``, they come from the environment."""
    app = DocumentedAPI(
        title="Orchard",
        version=version("orchard"),
        summary="Crop yields from region weather, with how far to trust each number.",
        lifespan=_lifespan(settings or Settings()),
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestId)
    problems.install(app)
    for resource in (predict, retrain, observations, models, health, metrics):
        app.include_router(resource.router)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = Registry(Objects(settings.model_store))
        live = Live(registry)
        live.follow()
        asked = Asked(Objects(settings.shared_folder) if settings.shared_folder else None)
        services = Services(settings, token_of(settings), registry, live, asked, Trainer(settings), Aside())
        app.state.services = services
        assert isinstance(app, DocumentedAPI)  # noqa: S101 - it is made below
        app.express = Express(super(DocumentedAPI, app).__call__, services)
        follower = asyncio.create_task(_follow(services))
        memory.keep_freed()
        memory.settle()
        try:
            yield
        finally:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await follower
            await services.close()

    return lifespan


async def _follow(services: Services) -> None:
    """Look for activations by other processes, and sum up the weather asked about, for as long as the service runs."""
    while True:
        await asyncio.sleep(services.settings.follow_interval_s)
        await asyncio.to_thread(services.live.follow)
        try:
            await asyncio.to_thread(services.asked.take())
        except OrchardError:
            logger.exception("the weather asked about could not be shared")
