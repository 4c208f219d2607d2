"""A web application that answers only those who call this server by a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lambda_search.service.hosts import is_own

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["under_own_names"]


def under_own_names(app: WSGIApplication, host: str) -> WSGIApplication:
    """`app`, for who means this very server.

    A page elsewhere could give its own name this server's address, and then read what is here
    (DNS rebinding); its browser still says that name, as Host or as Origin.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        named = [environ.get("HTTP_HOST", "")]
        if "HTTP_ORIGIN" in environ:
            named.append(environ["HTTP_ORIGIN"].partition("://")[2])
        if all(is_own(name, host) for name in named):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This server has another address. Use the one that it was started with."]

    return guarded
