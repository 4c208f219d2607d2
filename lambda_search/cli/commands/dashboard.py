"""`dashboard`: Optuna's dashboard on the store."""

from __future__ import annotations

import socket
from typing import Annotated
from wsgiref.simple_server import WSGIRequestHandler

import typer

from lambda_search.cli.console import err
from lambda_search.cli.options import StoreUrl
from lambda_search.errors import UsageError
from lambda_search.store.store import Store

__all__ = ["dashboard"]


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8080,
    store: StoreUrl = None,
) -> None:
    """Watch the trials in Optuna's dashboard, which can only read. It has no password."""
    from wsgiref.simple_server import make_server

    from lambda_search.store.optuna_view.dashboard import dashboard_app

    app = dashboard_app(Store(store))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be used: {error.strerror}.", "Choose another --port."
            ) from error
    err.print(f"Optuna's dashboard: http://{host}:{port}/   (Ctrl-C ends it)")
    err.print("Its values are FID(λ) − FID(1), bias-corrected: lower is better.")
    with make_server(host, port, app, handler_class=_Quiet) as server:
        server.serve_forever()


class _Quiet(WSGIRequestHandler):
    """Does not write a line for every request."""

    def log_message(self, *_: object) -> None:
        pass
