"""The models of the table."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.service.api.shapes import MODELS
from lambda_search.service.context import Here
from lambda_search.service.linking import json_answer
from lambda_search.service.linking import link_header
from lambda_search.service.problems import answers
from lambda_search.service.words import Page
from lambda_search.service.words import Skip
from lambda_search.service.words import Word

__all__ = ["router"]

router = APIRouter(tags=["lookup"])


@router.get("/models", responses={200: MODELS, 304: {}, **answers()})
def models(
    request: Request, service: Here, q: Word = None, limit: Page = 50, offset: Skip = 0
) -> Response:
    """Models with rows, by name; with `q` in their name, hub's name or file, or SHA-256 so."""
    names = service.store.model_names(q or "")
    page = names[offset : offset + limit]
    told = [one.to_json() for one in service.store.model_summaries(page)]
    more = {"offset": offset + limit} if offset + limit < len(names) else None
    less = {"offset": max(0, offset - limit)} if offset else None
    headers = link_header(request, next=more, prev=less)
    return json_answer(request, {"models": told, "total": len(names)}, headers=headers)
