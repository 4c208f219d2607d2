"""The stylesheet and the script of all pages: those of a report, and what pages have besides."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.service.answers import etag_of
from lambda_search.service.answers import matches_etag

__all__ = ["router"]

router = APIRouter()


@router.get("/assets/style.css")
def style(request: Request) -> Response:
    """How pages look."""
    return _file(request, _joined("style.css", "pages.css"), "text/css")


@router.get("/assets/script.js")
def script(request: Request) -> Response:
    """What pages do: sort, draw, copy, and follow a study."""
    return _file(request, _joined("report.js", "pages.js"), "text/javascript")


@cache
def _joined(report: str, own: str) -> bytes:
    package = files("lambda_search")
    shared = (package / "report" / "templates" / report).read_bytes()
    return shared + (package / "service" / "assets" / own).read_bytes()


def _file(request: Request, content: bytes, kind: str) -> Response:
    headers = {"ETag": etag_of(content), "Cache-Control": "no-cache"}
    if matches_etag(headers["ETag"], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)
