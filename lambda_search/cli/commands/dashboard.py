"""`dashboard`: Optuna's dashboard on the store."""

from __future__ import annotations

import socket
import threading
from typing import Annotated
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.simple_server import WSGIServer

import typer

from lambda_search.cli.console import err
from lambda_search.cli.host_check import under_own_names
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.errors import UsageError

__all__ = ["dashboard"]


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8080,
    store: StoreUrl = None,
) -> None:
    """Watch the trials in Optuna's dashboard, which can only read. It has no password."""
    from lambda_search.store.optuna_view.dashboard import dashboard_app

    app = under_own_names(dashboard_app(look(store)), host)
    try:
        server = _server(host, port)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be used: {error.strerror}.", "Choose another --host or --port."
        ) from error
    with server:
        server.set_app(app)
        at = f"[{host}]" if ":" in host else host
        err.print(f"Optuna's dashboard: http://{at}:{port}/   (Ctrl-C ends it)")
        err.print("Its values are FID(λ) − FID(1), bias-corrected: lower is better.")
        _serve(server)


def _serve(server: WSGIServer) -> None:
    """Serves until Ctrl-C, which a request in this thread would take for an error of its own."""
    serving = threading.Thread(target=server.serve_forever, name="dashboard", daemon=True)
    serving.start()
    try:
        serving.join()
    finally:
        server.shutdown()


def _server(host: str, port: int) -> WSGIServer:
    """Listens at `host`, of either version of the Internet Protocol."""
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]

    class Server(WSGIServer):
        address_family = family

    return Server((host, port), _Quiet)


class _Quiet(WSGIRequestHandler):
    """Does not write a line for every request."""

    def log_message(self, *_: object) -> None:
        pass
