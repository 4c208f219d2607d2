"""Links: to the pages of a list (RFC 8288), and to the login and back. And answers as JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from lambda_search.service.answers import etag_of
from lambda_search.service.answers import matches_etag

__all__ = ["json_answer", "json_bytes", "link_header", "sign_in_link"]


def json_bytes(told: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


def json_answer(
    request: Request, told: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """An answer in JSON with its tag; 304 to who has it."""
    body = json_bytes(told)
    tagged = {"ETag": etag_of(body), "Cache-Control": "no-cache"} | (headers or {})
    asked = request.headers.get("if-none-match")
    if request.method in ("GET", "HEAD") and matches_etag(tagged["ETag"], asked):
        return Response(status_code=304, headers=tagged)
    return Response(body, status, tagged, "application/json")


def link_header(request: Request, **pages: dict[str, Any] | None) -> dict[str, str]:
    """The header that leads to other pages, by what differs in their parameters.

    None leads nowhere.
    """
    links = [
        f"<{request.url.include_query_params(**differs).path}"
        f'?{request.url.include_query_params(**differs).query}>; rel="{name}"'
        for name, differs in pages.items()
        if differs is not None
    ]
    return {"Link": ", ".join(links)} if links else {}


def sign_in_link(request: Request) -> str:
    """Where who asks signs in, and comes back from to what was asked for, if that is a page."""
    path, query = request.scope["path"], request.scope["query_string"]
    if request.method not in ("GET", "HEAD") or path == "/login":
        return "/login"
    place = quote(path, errors="replace") + (f"?{query.decode('latin-1')}" if query else "")
    return f"/login?next={quote(place, safe='/')}"
