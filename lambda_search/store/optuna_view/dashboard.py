"""Optuna's dashboard on a store, as a web application that can only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_search.store.optuna_view.artifacts import Pictures
from lambda_search.store.optuna_view.read_only import reading_only
from lambda_search.store.optuna_view.storage import OptunaView
from lambda_search.store.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["dashboard_app"]


def dashboard_app(store: Store) -> WSGIApplication:
    """The dashboard (WSGI) on the studies of `store`; it has no password."""
    from optuna_dashboard import wsgi

    return reading_only(wsgi(OptunaView(store), artifact_store=Pictures(store)))
