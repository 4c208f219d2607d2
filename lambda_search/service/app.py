"""The application: its rooms, one upon the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware

from lambda_search.service import api
from lambda_search.service import files
from lambda_search.service import health
from lambda_search.service import pages
from lambda_search.service.access import Gate
from lambda_search.service.answers import Quickly
from lambda_search.service.context import Context
from lambda_search.service.dashboard import Dashboard
from lambda_search.service.document import add_security
from lambda_search.service.heads import Heads
from lambda_search.service.limits import Limits
from lambda_search.service.problems import add_problems
from lambda_search.service.sessions import Sessions
from lambda_search.service.settings import Settings
from lambda_search.service.shield import Shield
from lambda_search.service.stores import Stores
from lambda_search.service.watch import Watch

__all__ = ["create_app"]


def create_app(settings: Settings) -> FastAPI:
    """A service; its store is opened when something is asked of it.

    Arguments:
        settings: what it is started with.
    """
    context = Context(settings, Stores(settings.store), Sessions(settings.token))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.stopping.set()
        context.stores.close()

    app = FastAPI(
        title="lambda_search",
        version=version("lambda-search"),
        description="λ schedules for diffusion models: looked up, and searched for.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lifespan,
        middleware=[
            Middleware(Shield),
            Middleware(Watch, context.metrics),
            Middleware(Gate, settings, context.sessions, context.attempts),
            Middleware(Limits),
            Middleware(Heads),
            Middleware(Quickly, context.answers, context.metrics),
        ],
    )
    app.state.context = context
    add_problems(app)
    add_security(app)
    for router in (api.router, health.router, files.router, pages.router):
        app.include_router(router)
    app.router.routes += [files.mount(), Dashboard(context)]
    return app
