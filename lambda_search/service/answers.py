"""Lookups that were answered before, kept as long as no row is new: the hot path of a service.

Whether one is, is asked twice a second at most, and by one of those who wait for it; so a new row
is seen within a second, and a lookup that was asked before costs no database and no thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from lambda_search.errors import LambdaSearchError
from lambda_search.service.metrics import Metrics
from lambda_search.service.stores import Stores

__all__ = ["PATH", "Answer", "Answers", "Quickly", "etag_of", "matches_etag"]

PATH = "/v1/schedules/best"
_MOST = 4096
_MOST_BYTES, _LARGEST = 64 << 20, 1 << 18
_LONGEST, _BESIDE = 2048, 512
"""Bytes: of a question that is kept, and what keeping one takes besides."""
_CHECK_SECONDS = 0.4
Version = tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """What was answered: JSON, and its tag."""

    body: bytes
    etag: str


class Answers:
    """Answers by the text of their questions.

    Arguments:
        stores: gives the store.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()
        self._bytes = 0
        self._version: Version | None = None
        self._checked = float("-inf")
        self._check: asyncio.Task[Version] | None = None

    async def version(self) -> Version:
        """Which rows there are, as they were less than a second ago.

        Raises:
            LambdaSearchError: if the store cannot be asked.
        """
        if self._version is not None and time.monotonic() - self._checked < _CHECK_SECONDS:
            return self._version
        if self._check is None or self._check.done():
            self._check = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._check)

    def expire(self) -> None:
        """Has the next one look whether rows are new: some were just added."""
        self._checked, self._check = float("-inf"), None

    def get(self, question: bytes) -> Answer | None:
        """What was answered to `question`, if it is still true."""
        found = self._kept.get(question)
        if found is not None:
            self._kept.move_to_end(question)
        return found

    def keep(self, question: bytes, answer: Answer, version: Version) -> None:
        """Keeps an answer that was found when `version` was the last that was known."""
        if version != self._version or len(answer.body) > _LARGEST or len(question) > _LONGEST:
            return
        if question in self._kept:
            self._bytes -= _size(question, self._kept.pop(question))
        self._kept[question] = answer
        self._bytes += _size(question, answer)
        while len(self._kept) > _MOST or self._bytes > _MOST_BYTES:
            self._bytes -= _size(*self._kept.popitem(last=False))

    async def _look(self) -> Version:
        began = time.monotonic()
        found = await run_in_threadpool(lambda: self._stores().version())
        if found != self._version:
            self._kept.clear()
            self._bytes = 0
            self._version = found
        self._checked = began
        return found


def _size(question: bytes, answer: Answer) -> int:
    return len(question) + len(answer.body) + _BESIDE


class Quickly:
    """Answers a lookup that was answered before; all else goes on to `app`.

    Arguments:
        app: what else answers.
        answers: those from before.
        metrics: where lookups are counted.
    """

    def __init__(self, app: ASGIApp, answers: Answers, metrics: Metrics) -> None:
        self._app = app
        self._answers = answers
        self._kept = metrics.lookups.labels("kept")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            with suppress(LambdaSearchError):  # who asks the store will say so
                await self._answers.version()
                found = self._answers.get(scope["query_string"])
                if found is not None:
                    self._kept.inc()
                    scope["route_path"] = PATH
                    await _sent(found, Headers(scope=scope), send)
                    return
        await self._app(scope, receive, send)


async def _sent(answer: Answer, asked: Headers, send: Send) -> None:
    same = matches_etag(answer.etag, asked.get("if-none-match"))
    headers = [(b"etag", answer.etag.encode()), (b"cache-control", b"no-cache")]
    if not same:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if same else answer.body})


def etag_of(body: bytes) -> str:
    """The strong tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches_etag(etag: str, asked: str | None) -> bool:
    """Whether If-None-Match names `etag`."""
    several: Sequence[str] = [] if asked is None else [one.strip() for one in asked.split(",")]
    return any(one in ("*", etag, f"W/{etag}") for one in several)
