"""Every request is counted, and told in a line where that is wanted; secrets are in neither.

Of an address only its path is told: its parameters may hold what nobody else should read.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from lambda_search.errors import printable
from lambda_search.errors import without_secrets
from lambda_search.service.metrics import Metrics
from lambda_search.service.problems import Problem
from lambda_search.service.problems import answer

__all__ = ["Watch", "log_to_stderr"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_LONGEST = 300
_requests = logging.getLogger("lambda_search.service.requests")
_log = logging.getLogger("lambda_search.service")


class Watch:
    """Counts what `app` answers, and answers what it fails to.

    Arguments:
        app: what answers.
        metrics: the counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            _log.error("%s %s failed", scope["method"], _path(scope), exc_info=error)
            if status:
                raise
            await answer(Request(scope, receive), _FAILED)(scope, receive, watched)
        finally:
            self._count(scope, status, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = scope.get("route_path") or getattr(scope.get("route"), "path", "none")
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if status >= 500:
            self._metrics.errors.inc()
        if _requests.isEnabledFor(logging.INFO):
            client = scope.get("client") or ("",)
            told = {
                "method": printable(scope["method"], 20),
                "path": _path(scope),
                "status": status,
                "ms": round(1000 * seconds, 2),
                "client": client[0],
            }
            _requests.info("request", extra={"told": told})


_FAILED = Problem(500, "failed", "The service failed", "Its log tells why.", "Tell its operator.")


def log_to_stderr(in_json: bool) -> None:
    """Has what happens told on stderr: in JSON every request as well, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if in_json else _Plain("%(levelname)s: %(message)s"))
    for name in ("lambda_search.service", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if in_json else logging.WARNING)


class _Plain(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class _Json(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": without_secrets(record.getMessage()),
        }
        told |= getattr(record, "told", {})
        if record.exc_info:
            told["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def _path(scope: Scope) -> str:
    return printable(without_secrets(scope["path"]), _LONGEST)
