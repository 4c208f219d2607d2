"""The first page: all models with their best rows."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from lambda_search.service.context import Here

__all__ = ["router"]

router = APIRouter()


@router.get("/")
def index(request: Request, service: Here) -> HTMLResponse:
    """All models."""
    rows = service.store.lookup_rows()
    return service.page(request, "index.html", rows=rows)
