"""Optuna's dashboard on a store, as a web application that can only read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lambda_search.errors import LambdaSearchError
from lambda_search.store.optuna_view.artifacts import Pictures
from lambda_search.store.optuna_view.read_only import reading_only
from lambda_search.store.optuna_view.storage import OptunaView
from lambda_search.store.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["dashboard_app"]


def dashboard_app(store: Store) -> WSGIApplication:
    """The dashboard (WSGI) on the studies of `store`; it has no password."""
    from optuna_dashboard import wsgi

    shown = wsgi(OptunaView(store), artifact_store=Pictures(store))
    return reading_only(_telling_that_it_is_away(shown, store))


def _telling_that_it_is_away(app: WSGIApplication, store: Store) -> WSGIApplication:
    """`app`, which answers 503 while the store is away, and not that it failed."""

    def answered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith("/api/"):
            try:
                store.version()
            except LambdaSearchError:
                headers = [("Content-Type", "application/json"), ("Retry-After", "5")]
                start_response("503 Service Unavailable", headers)
                return [b'{"reason": "The store cannot be reached now."}']
        return app(environ, start_response)

    return answered
