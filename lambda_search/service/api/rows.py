"""Rows by their ids, all of them as a file, and files of rows that come in."""

from __future__ import annotations

import tempfile
from typing import Annotated
from typing import Literal

from fastapi import APIRouter
from fastapi import Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.exchange import import_stream
from lambda_search.exchange import pieces
from lambda_search.records import row_json
from lambda_search.service.api.shapes import FILE
from lambda_search.service.api.shapes import ROW
from lambda_search.service.api.shapes import content
from lambda_search.service.context import Here
from lambda_search.service.linking import begun
from lambda_search.service.linking import json_answer
from lambda_search.service.problems import answers
from lambda_search.service.words import Name

__all__ = ["router"]

router = APIRouter(tags=["rows"])
_IN_MEMORY = 1 << 20
_TEXT = {"schema": {"type": "string", "format": "binary"}}
_IMPORTED = content(
    "What became of them.",
    {
        "type": "object",
        "required": ["new", "doubles", "taken_back"],
        "properties": {name: {"type": "integer"} for name in ("new", "doubles", "taken_back")},
    },
)


@router.get("/rows", responses={200: FILE, **answers(404)})
def export(
    service: Here,
    model: Annotated[list[str] | None, Query(max_length=100)] = None,
    format: Literal["json", "csv"] = "json",
) -> Response:
    """All rows, or those of models, superseded and retracted ones too: `export`'s file."""
    return begun(pieces(service.store, model or (), format), format)


@router.post(
    "/rows",
    responses={200: _IMPORTED, **answers(400, 408, 413)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}, "text/csv": _TEXT},
        }
    },
)
async def import_(request: Request, service: Here) -> Response:
    """Reads a file of rows, all of it or nothing, as `db import` does."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        async for piece in request.stream():
            file.write(piece)
        file.seek(0)
        store = await run_in_threadpool(lambda: service.store)
        told = await run_in_threadpool(import_stream, file, "the posted file", store)
    service.answers.expire()
    return json_answer(
        request, {"new": told.new, "doubles": told.doubles, "taken_back": told.taken_back}
    )


@router.get("/rows/{id}", responses={200: ROW, 304: {}, **answers(400, 404)})
def row(request: Request, service: Here, id: Name) -> Response:
    """A row by its id or the start of it, superseded and retracted ones too."""
    found = service.store.row(id)
    instead = service.store.instead_of(found.id)
    told = row_json(found) | {"superseded_by": None if instead is None else instead.id}
    return json_answer(request, told)
