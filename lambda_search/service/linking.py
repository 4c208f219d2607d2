"""Links: to the pages of a list (RFC 8288), and to the login and back. And answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from itertools import islice
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.responses import StreamingResponse

from lambda_search.service.answers import etag_of
from lambda_search.service.answers import matches_etag

__all__ = ["FORMS", "begun", "json_answer", "json_bytes", "link_header", "sign_in_link"]

FORMS = {"json": "application/json", "csv": "text/csv; charset=utf-8"}
"""Media types of tables and files of rows."""
_FIRST = 2
"""Pieces of a file until it has a row: its head, and that."""


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


def begun(text: Iterator[str], form: str) -> Response:
    """A file of rows, piece by piece; it begins when its first row was read.

    So what is wrong is answered as it is elsewhere, and not by half a file.
    """
    first = "".join(islice(text, _FIRST))
    return StreamingResponse(chain([first], text), media_type=FORMS[form])


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
