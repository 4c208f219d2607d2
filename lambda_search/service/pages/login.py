"""Signing in: the token is asked for once, and a signed cookie stands for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Form
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.responses import Response

from lambda_search.service.context import Here
from lambda_search.service.sessions import COOKIE
from lambda_search.service.sessions import SECONDS
from lambda_search.service.visitors import host_asking

__all__ = ["router"]

router = APIRouter()
_LONGEST = 2000


@router.get("/login")
def ask(request: Request, service: Here, next: str = "/") -> Response:
    """The form."""
    return service.page(request, "login.html", next=_inside(next), told="")


@router.post("/login")
def sign_in(
    request: Request,
    service: Here,
    token: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Gives the cookie to who knows the token, however many others do not."""
    if not service.sessions.knows(token.strip()):
        wait = service.attempts.wait_after(host_asking(request.scope))
        told = "That is not the token of this service."
        if wait:
            told = f"Too many attempts; wait {wait} seconds."
        page = service.page(
            request, "login.html", 429 if wait else 401, next=_inside(next), told=told
        )
        if wait:
            page.headers["Retry-After"] = str(wait)
        return page
    answer = RedirectResponse(_inside(next), 303)
    answer.set_cookie(
        COOKIE,
        service.sessions.issue(),
        max_age=SECONDS,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/logout")
def sign_out(request: Request, service: Here) -> Response:
    """Takes the cookie back, and ends it."""
    service.sessions.end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _inside(next: str) -> str:
    """A place on this service; whatever leads elsewhere becomes the first page."""
    own = next.startswith("/") and not next.startswith(("//", "/\\")) and next.isprintable()
    return next if own and len(next) <= _LONGEST else "/"
