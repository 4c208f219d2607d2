"""The gate: who is asked for what, before any route, page or dashboard hears of it.

A request must call the service by a name of its own. Reading is open to this machine; everything
else needs the token, as a bearer's or as the cookie that signing in gives. What a cookie may write
must come from the service's own pages: by where the browser says that it comes from, and by a
number that only these pages know.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from lambda_search.service.hosts import host_of
from lambda_search.service.hosts import is_loopback
from lambda_search.service.hosts import is_own
from lambda_search.service.linking import sign_in_link
from lambda_search.service.problems import Problem
from lambda_search.service.problems import answer
from lambda_search.service.sessions import COOKIE
from lambda_search.service.sessions import Attempts
from lambda_search.service.sessions import Sessions
from lambda_search.service.settings import Settings
from lambda_search.service.visitors import Visitor
from lambda_search.service.visitors import host_asking
from lambda_search.service.visitors import visitor_of

__all__ = ["READING", "Gate", "check_form"]

READING = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/healthz", "/login")
"""Anybody may ask for these; nothing of the store is in them."""
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Gate:
    """Lets through what is allowed, and says on the way who it is (`visitors`).

    Arguments:
        app: what lies behind.
        settings: the service's.
        sessions: who may write.
        attempts: wrong tokens.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, sessions: Sessions, attempts: Attempts
    ) -> None:
        self._app = app
        self._attempts = attempts
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"]
        visitor = self._visitor(headers)
        scope.setdefault("state", {})["visitor"] = visitor
        wait = 0 if visitor.may_write else self._wait(scope, headers)
        refusal = (
            _guessing(wait) if wait else self._refusal(scope["path"], method, headers, visitor)
        )
        if refusal is None:
            await self._app(scope, receive, send)
            return
        answered = self._refused(Request(scope, receive), refusal)
        if wait:
            answered.headers["Retry-After"] = str(wait)
        await answered(scope, receive, send)

    def _wait(self, scope: Scope, headers: Headers) -> int:
        """For how long who brings a wrong token has to wait, after too many of them."""
        if not self._sessions.exist or not _token(headers):
            return 0
        return self._attempts.wait_after(host_asking(scope))

    def _visitor(self, headers: Headers) -> Visitor:
        token = _token(headers)
        if token is not None:
            known = self._sessions.knows(token)
            return Visitor(known or self._reads_freely(headers), known)
        csrf = self._sessions.csrf_of(_cookie(headers))
        known = csrf != ""
        return Visitor(known or self._reads_freely(headers), known, csrf)

    def _reads_freely(self, headers: Headers) -> bool:
        """Whether no token is needed to read; what came through a proxy is from elsewhere.

        A proxy may say nothing of itself, and then it is known by the name that it was given.
        """
        if self._settings.public_read:
            return True
        proxied = any(name in headers for name in _PROXIED)
        own = is_loopback(host_of(headers.get("host", "")))
        return self._settings.open_to_read and own and not proxied

    def _refusal(
        self, path: str, method: str, headers: Headers, visitor: Visitor
    ) -> Problem | None:
        """Why a request is not let through; None if it is."""
        origin = headers.get("origin")
        named = headers.get("host", "")
        if not self._is_own(named) or (
            origin is not None and not self._is_own(origin.partition("://")[2])
        ):
            return _foreign(
                "This service has another address.",
                "Use the one it was started with, or have its operator add this one by --name.",
            )
        if method in READING:
            if visitor.may_read or path in _OPEN or path.startswith("/assets/"):
                return None
            return _unknown("Reading here needs the token.")
        if not _same_origin(headers):
            return _foreign("It comes from a page elsewhere.", "Use the service's own pages.")
        if path in _OPEN:
            return None
        if not self._sessions.exist:
            return _foreign(
                "Nothing can be written here: the service was started without a token.",
                "Start it with LAMBDA_SEARCH_TOKEN set.",
            )
        if not visitor.may_write:
            return _unknown("Writing needs the token.")
        if visitor.csrf and not self._is_ours(path, headers, visitor):
            return _foreign(
                "This request does not come from a page that you signed in on.",
                "Load the page again, or send the token.",
            )
        return None

    def _is_own(self, name: str) -> bool:
        return is_own(name, self._settings.host, self._settings.names)

    @staticmethod
    def _is_ours(path: str, headers: Headers, visitor: Visitor) -> bool:
        """Whether the page's number is there; a form's own field is checked with the form."""
        told = headers.get("x-csrf-token")
        if told is not None:
            return _equal(told, visitor.csrf)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind in _FORMS and not path.startswith("/v1/")

    @staticmethod
    def _refused(request: Request, problem: Problem) -> Response:
        for_people = "text/html" in request.headers.get("accept", "")
        if problem.status == 401 and request.method == "GET" and for_people:
            return RedirectResponse(sign_in_link(request), 303)
        headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
        return answer(request, problem, headers)


async def check_form(request: Request) -> None:
    """Refuses a form of a signed-in browser that does not carry its page's number.

    A dependency of all pages; a page that takes forms gives them a hidden field `csrf`, filled
    with `visitor.csrf`.

    Raises:
        HTTPException: 403 if it does not.
    """
    csrf = visitor_of(request).csrf
    if request.method in READING or not csrf or "x-csrf-token" in request.headers:
        return
    if request.url.path in _OPEN:
        return
    form = await request.form()
    if not _equal(str(form.get("csrf", "")), csrf):
        raise HTTPException(403, "This form is out of date; load the page again.")


def _token(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _cookie(headers: Headers) -> str:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _same_origin(headers: Headers) -> bool:
    """Whether the browser says that its page is the service's; programs say nothing of that."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None:
        return origin.partition("://")[2].lower() == headers.get("host", "").lower()
    return site in (None, "same-origin", "none")


def _equal(told: str, known: str) -> bool:
    return hmac.compare_digest(told.encode("utf-8", "replace"), known.encode())


def _foreign(detail: str, hint: str) -> Problem:
    return Problem(403, "forbidden", "That is not allowed", detail, hint)


def _guessing(wait: int) -> Problem:
    told = f"Too many wrong tokens came from there; wait {wait} seconds."
    return Problem(429, "attempts", "Too many attempts", told, "The right one is always heard.")


def _unknown(detail: str) -> Problem:
    return Problem(
        401,
        "token",
        "The token is needed",
        detail,
        "Send Authorization: Bearer with the service's LAMBDA_SEARCH_TOKEN, or sign in.",
    )
