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
from lambda_search.store.overview import Wanted

__all__ = ["router"]

router = APIRouter(tags=["lookup"])


@router.get("/models", responses={200: MODELS, 304: {}, **answers()})
def models(
    request: Request, service: Here, q: Word = None, limit: Page = 50, offset: Skip = 0
) -> Response:
    """Models with rows, by name; with `q` in their name, hub's name or file, or SHA-256 so."""
    store, wanted = service.store, Wanted(q or "")
    names, total = store.models_found(wanted, limit, offset), store.how_many_models(wanted)
    told = [one.to_json() for one in store.model_summaries(names)]
    more = {"offset": offset + limit} if offset + limit < total else None
    less = {"offset": max(0, offset - limit)} if offset else None
    headers = link_header(request, next=more, prev=less)
    return json_answer(request, {"models": told, "total": total}, headers=headers)
