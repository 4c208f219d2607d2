"""Optuna's dashboard in the service: read-only, on the same studies, under its own addresses.

It cannot live below a folder of its own (its pages name /static, /api and so on), so it comes last
and has these. Optuna is loaded when somebody first asks for it.
"""

from __future__ import annotations

import threading
from typing import Any
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.routing import Match
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from lambda_search.service.context import Context
from lambda_search.service.problems import Problem
from lambda_search.service.problems import answer
from lambda_search.store.store import Store

__all__ = ["OWN", "Dashboard"]

OWN = ("dashboard", "api", "static", "csv", "artifacts", "favicon.ico")
"""The first parts of the addresses that are the dashboard's."""
_READING = ("GET", "HEAD")
_OF_BODIES = (b"content-length", b"content-type", b"transfer-encoding")
_WORKERS = 4


class Dashboard(BaseRoute):
    """The dashboard's addresses, whatever comes below them.

    Arguments:
        service: whose studies it shows.
    """

    path = "dashboard"

    def __init__(self, service: Context) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._app: Any = None
        self._store: Store | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether an address is the dashboard's."""
        parts = scope["path"].split("/", 2) if scope["type"] == "http" else []
        own = len(parts) > 1 and parts[1] in OWN  # the path of `OPTIONS *` has one part
        return (Match.FULL, {"route": self}) if own else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """No route of ours leads here by name."""
        from starlette.routing import NoMatchFound

        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers; what would write is refused before the dashboard hears of it."""
        request = Request(scope, receive)
        if scope["method"] not in _READING:
            only = Problem(
                405,
                "method-not-allowed",
                "The dashboard can only be read",
                "Studies are changed with lambda_search alone.",
            )
            refused = answer(request, only, {"Allow": ", ".join(_READING)})
            await refused(scope, receive, send)
            return
        try:
            app = await run_in_threadpool(self._made)
        except ModuleNotFoundError as error:
            missing = Problem(
                501,
                "not-installed",
                "The dashboard is not installed",
                f"It needs the package '{error.name}'.",
                "Install it with: pip install 'lambda-search[serve]'",
            )
            await answer(request, missing)(scope, receive, send)
            return
        headers = [one for one in scope["headers"] if one[0] not in _OF_BODIES]
        await app({**scope, "headers": headers}, _no_body, send)

    def _made(self) -> ASGIApp:
        """The dashboard on the store that is there now; StoreAway if none is."""
        store = self._service.stores.sure()
        with self._lock:
            if self._app is None or self._store is not store:
                from a2wsgi import WSGIMiddleware

                from lambda_search.store.optuna_view.dashboard import dashboard_app

                made: Any = dashboard_app(store)
                self._app, self._store = WSGIMiddleware(made, _WORKERS), store
            return cast(ASGIApp, self._app)


async def _no_body() -> Message:
    """All that the dashboard hears of a body: it only reads, and would wait for one."""
    return {"type": "http.request", "body": b"", "more_body": False}
