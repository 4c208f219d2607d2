"""How to read the evidence: a page of words."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.service.context import Here

__all__ = ["router"]

router = APIRouter()


@router.get("/evidence")
def evidence(request: Request, service: Here) -> Response:
    """The page."""
    return service.page(request, "evidence.html")
