"""HEAD is GET without its body (RFC 9110 §9.3.2), for every route, page and dashboard alike."""

from __future__ import annotations

from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

__all__ = ["Heads"]

_ENDLESS = "text/event-stream"


class Heads:
    """Asks `app` with GET, and leaves out the body.

    An answer that ends by itself is let run to its end: whoever makes it may hold a thread until
    all of it was taken. A stream of events does not end, and is ended.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if whole.cancel_called:
                return
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)
            if message["type"] == "http.response.start" and _is_endless(message):
                await send({"type": "http.response.body", "body": b""})
                whole.cancel()

        asked = {**scope, "method": "GET"}
        with CancelScope() as whole:
            await self._app(asked, receive, headed)
        scope.update(asked | {"method": "HEAD"})  # the route, for whoever counts


def _is_endless(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith(_ENDLESS)
