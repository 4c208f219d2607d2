"""HEAD is GET without its body (RFC 9110 §9.3.2), for every route, page and dashboard alike."""

from __future__ import annotations

from anyio import CancelScope
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

__all__ = ["Heads"]


class Heads:
    """Asks `app` with GET, and ends the answer where its body would begin, a stream's too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                whole.cancel()

        asked = {**scope, "method": "GET"}
        with CancelScope() as whole:
            await self._app(asked, receive, headed)
        scope.update(asked | {"method": "HEAD"})  # the route, for whoever counts
