"""How much a request may bring, and how slowly."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from lambda_search.service.problems import Problem
from lambda_search.service.problems import answer

__all__ = ["LARGEST", "Limits"]

LARGEST = 4 << 20
"""Bytes of a body: a study file with its config and prompts."""
_LARGEST_OF = {"/v1/rows": 64 << 20}
_SECONDS = 30.0
"""For which a body may take, and as long again for each MiB that it may have."""


class Limits:
    """Refuses bodies that are too large (413) or too slow (408)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        most = _LARGEST_OF.get(scope["path"], LARGEST)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > most:
            too_large = Problem(413, "too-large", "Too large", _told(most), "Send less at once.")
            refused = answer(Request(scope, receive), too_large, {"Connection": "close"})
            await refused(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, most), send)


def _bounded(receive: Receive, most: int) -> Receive:
    """`receive`, which raises HTTPException when too much comes, or too slowly."""
    left, whole = most, False
    until = time.monotonic() + _SECONDS * (1 + (most >> 20) / 8)

    async def bounded() -> Message:
        nonlocal left, whole
        if whole:  # then it waits for who asked to go away, however long
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise HTTPException(408, "The body came too slowly.") from None
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if left < 0:
                raise HTTPException(413, _told(most))
        return message

    return bounded


def _told(most: int) -> str:
    return f"At most {most:,} bytes are taken here."
