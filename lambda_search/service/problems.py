"""Errors as RFC 9457 has them: `application/problem+json`, or a page for who reads pages."""

from __future__ import annotations

import logging
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.responses import Response

from lambda_search.errors import Conflict
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UnknownName
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.errors import without_secrets
from lambda_search.service.context import context_of
from lambda_search.service.methods import allowed
from lambda_search.store.engine import StoreAway

__all__ = [
    "MEDIA_TYPE",
    "Problem",
    "add_problems",
    "answer",
    "answers",
    "problem_by",
    "problem_of",
]

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = 5
_AWAY = "Nothing can be read or written now; nothing that was stored is lost."
_SHOWN = 10
_log = logging.getLogger("lambda_search.service")


@dataclass(frozen=True)
class Problem:
    """What went wrong.

    Arguments:
        status: of HTTP.
        code: which kind of problem, for programs.
        title: the kind in words.
        detail: this one, in words.
        hint: what to do next.
    """

    status: int
    code: str
    title: str
    detail: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {"type": "about:blank", **asdict(self)}


_KINDS: tuple[tuple[type[LambdaSearchError], int, str, str], ...] = (
    (NoScheduleFound, 404, "no-schedule", "No schedule found"),
    (UnknownName, 404, "unknown", "There is no such thing"),
    (Conflict, 409, "conflict", "That cannot be done now"),
    (UsageError, 400, "usage", "That cannot be done as it was asked"),
    (StoreAway, 503, "store-away", "The store cannot be reached"),
    (LambdaSearchError, 503, "store", "The store failed"),
)


_STATUSES: dict[int, tuple[str, str, str]] = {
    400: ("usage", "That cannot be done as it was asked", "Ask as /v1/openapi.json describes it."),
    401: ("token", "The token is needed", "Send Authorization: Bearer with it, or sign in."),
    403: ("forbidden", "That is not allowed", "Load the page again, and send its form anew."),
    404: ("not-found", "There is no such address", "/ has the pages, /v1/openapi.json the rest."),
    405: (
        "method-not-allowed",
        "That method is not taken",
        "The header Allow names others.",
    ),
    408: ("too-slow", "Too slow", "Send it again, or less at once."),
    413: ("too-large", "Too large", "Send less at once."),
    422: ("invalid", "The request is not valid", "Ask as /v1/openapi.json describes it."),
    429: ("too-many", "Too many attempts", "Wait, and try again."),
    500: ("failed", "The service failed", "Tell its operator; its log tells why."),
    503: ("busy", "The service is busy", f"Ask again in {_RETRY_SECONDS} s."),
}
"""Code, title and hint of what is told by its status alone."""


def problem_by(status: int, detail: str) -> Problem:
    """The problem of a status."""
    phrase = HTTPStatus(status).phrase
    by_itself = phrase.lower().replace(" ", "-"), phrase, _STATUSES[400][2]
    code, title, hint = _STATUSES.get(status, by_itself)
    return Problem(status, code, title, detail, hint)


def problem_of(error: LambdaSearchError) -> Problem:
    """The problem that an error of ours is."""
    for kind, status, code, title in _KINDS:
        if isinstance(error, kind):
            return Problem(status, code, title, error.cause, error.hint)
    raise AssertionError(error)


def answer(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The answer that tells a problem, as a page to who asks for pages."""
    told = dict(headers or {})
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        told.setdefault("Retry-After", str(_RETRY_SECONDS))
    for_people = "text/html" in request.headers.get("accept", "")
    if for_people and not request.url.path.startswith("/v1/"):
        page = context_of(request).page(request, "error.html", problem.status, problem=problem)
        page.headers.update(told)
        return page
    return JSONResponse(problem.to_json(), problem.status, told, MEDIA_TYPE)


def answers(*several: int, without: tuple[int, ...] = ()) -> dict[int | str, dict[str, Any]]:
    """What an operation may answer besides, for the OpenAPI document.

    Arguments:
        several: statuses besides those that nearly all have.
        without: which of those it never has.
    """
    schema = {
        "type": "object",
        "required": ["type", "status", "code", "title", "detail", "hint"],
        "properties": {
            name: {"type": "integer" if name == "status" else "string"}
            for name in ("type", "status", "code", "title", "detail", "hint")
        },
    }
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted({401, 403, 405, 422, 503, *several} - {*without})
    }


def add_problems(app: FastAPI) -> None:
    """Has every error of `app` answered so."""

    @app.exception_handler(LambdaSearchError)
    def _ours(request: Request, error: LambdaSearchError) -> Response:
        problem = problem_of(error)
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            _log.warning("%s", error.cause)  # where the store is, is nobody else's business
            context_of(request).stores.forget()
            problem = replace(problem, detail=_AWAY, hint=f"Ask again in {_RETRY_SECONDS} s.")
        return answer(request, problem)

    @app.exception_handler(HTTPException)
    def _of_http(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = allowed(app, request.scope)
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        detail = error.detail if error.detail != phrase else f"{request.method} {request.url.path}"
        return answer(request, problem_by(error.status_code, printable(detail, 300)), headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        told = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors()[:_SHOWN]
        ]
        detail = printable(without_secrets("; ".join(told)), 1000)
        return answer(request, problem_by(422, detail))
