"""How much a request may bring, and how slowly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

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
_SMALL = 8 << 10
_READING = ("GET", "HEAD", "OPTIONS")
_BODY = (b"content-length", b"transfer-encoding")


@dataclass(frozen=True)
class _Bound:
    """Bytes that a body may have, and seconds that it may take."""

    most: int
    seconds: float


_BOUND_OF = {"/v1/rows": _Bound(64 << 20, 270.0), "/login": _Bound(_SMALL, 10.0)}
_USUAL, _READ = _Bound(LARGEST, 45.0), _Bound(_SMALL, 10.0)


class Limits:
    """Refuses bodies that are too large (413) or too slow (408), whatever the method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name in _BODY for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        reads = scope["method"] in _READING
        bound = _READ if reads else _BOUND_OF.get(scope["path"], _USUAL)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > bound.most:
            told = _told(bound.most)
            too_large = Problem(413, "too-large", "Too large", told, "Send less at once.")
            refused = answer(Request(scope, receive), too_large, {"Connection": "close"})
            await refused(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, bound), send)


def _bounded(receive: Receive, bound: _Bound) -> Receive:
    """`receive`, which raises HTTPException when too much comes, or too slowly."""
    left, whole = bound.most, False
    until = time.monotonic() + bound.seconds

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
                raise HTTPException(413, _told(bound.most))
        return message

    return bounded


def _told(most: int) -> str:
    return f"At most {most:,} bytes are taken here."
