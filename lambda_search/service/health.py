"""For those who watch over the service: whether it is well, and its counts."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.errors import LambdaSearchError
from lambda_search.service.api.shapes import content
from lambda_search.service.context import Here
from lambda_search.service.linking import json_answer
from lambda_search.service.problems import answers
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter(tags=["operation"])
_WELL = content("It is well.", {"type": "object", "required": ["status", "store"]})
_COUNTS = {
    "description": "Counts, as Prometheus reads them.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


@router.get("/healthz", responses={200: _WELL, 304: {}, **answers(without=(422,))})
def health(request: Request, service: Here) -> Response:
    """Whether the service answers, and its store; 503 if that is away."""
    service.store.version()
    return json_answer(request, {"status": "ok", "store": "ok"})


@router.get("/metrics", responses={200: _COUNTS, **answers(without=(422, 503))})
def metrics(service: Here) -> Response:
    """Queue, shards and images per second, lookups, errors."""
    store: Store | None = None
    try:
        store = service.store
    except LambdaSearchError:
        pass  # that it is away is among what is counted
    service.metrics.streams.set(service.streams.total())
    return Response(service.metrics.text(store), media_type=CONTENT_TYPE_LATEST)
