"""`dashboard`: Optuna's dashboard on the store."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING
from typing import Annotated
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.simple_server import WSGIServer

import typer

from lambda_search.cli.console import err
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.errors import UsageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["dashboard"]


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8080,
    store: StoreUrl = None,
) -> None:
    """Watch the trials in Optuna's dashboard, which can only read. It has no password."""
    from optuna_dashboard import wsgi

    from lambda_search.store.optuna_view import optuna_storage

    view = optuna_storage(look(store))
    try:
        server = _server(host, port)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be used: {error.strerror}.", "Choose another --host or --port."
        ) from error
    with server:
        server.set_app(_read_only(_from_here(wsgi(view), host)))
        at = f"[{host}]" if ":" in host else host
        err.print(f"Optuna's dashboard: http://{at}:{port}/   (Ctrl-C ends it)")
        err.print("Its values are FID(λ) − FID(1), bias-corrected: lower is better.")
        server.serve_forever()


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


def _read_only(app: WSGIApplication) -> WSGIApplication:
    """`app`, which is asked nothing but to read."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start_response)
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
        return [b"Studies can only be read here; change them with lambda-search."]

    return guarded


def _from_here(app: WSGIApplication, host: str) -> WSGIApplication:
    """`app`, for who means this very server.

    A page elsewhere could give its own name this server's address, and then read what is here
    (DNS rebinding); its browser still says that name, as Host or as Origin.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        named = [environ.get("HTTP_HOST", "")]
        if "HTTP_ORIGIN" in environ:
            named.append(environ["HTTP_ORIGIN"].partition("://")[2])
        if all(_is_own(name, host) for name in named):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This server is not called so. Use the address that it was started with."]

    return guarded


def _is_own(name: str, host: str) -> bool:
    """Whether HOST:PORT names a server at `host`: itself, loopback, or any address if it has all.

    An address is no name that somebody else could own.
    """
    try:
        asked = (urlsplit(f"//{name}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if asked in ("localhost", host.lower()):
        return True
    try:
        address = ip_address(asked)
        return address.is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return asked == socket.gethostname().lower() and host in ("0.0.0.0", "::")
