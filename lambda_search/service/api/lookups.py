"""Lookups: the best schedule, all that compete with it, and the table in pages."""

from __future__ import annotations

from typing import Annotated
from typing import Literal

from fastapi import APIRouter
from fastapi import Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.errors import NoScheduleFound
from lambda_search.exchange import text_of
from lambda_search.records import match_json
from lambda_search.records import row_json
from lambda_search.service.answers import Answer
from lambda_search.service.answers import etag_of
from lambda_search.service.answers import matches_etag
from lambda_search.service.api.asked import Best
from lambda_search.service.api.asked import Matches
from lambda_search.service.api.shapes import FILE
from lambda_search.service.api.shapes import ROW
from lambda_search.service.api.shapes import ROWS
from lambda_search.service.api.shapes import UNDER_WAY
from lambda_search.service.context import Here
from lambda_search.service.linking import FORMS
from lambda_search.service.linking import json_answer
from lambda_search.service.linking import json_bytes
from lambda_search.service.linking import link_header
from lambda_search.service.problems import answers
from lambda_search.service.words import LARGEST
from lambda_search.service.words import SEEN
from lambda_search.service.words import After
from lambda_search.service.words import Page
from lambda_search.service.words import Word
from lambda_search.store import lookup
from lambda_search.store import misses

__all__ = ["router"]

router = APIRouter(tags=["lookup"])
Model = Annotated[
    str, Query(max_length=300, pattern=SEEN, description="The model's name in the store.")
]
Count = Annotated[int | None, Query(ge=1, le=LARGEST)]


@router.get("/schedules/best", responses={200: ROW, 304: {}, **answers(400, 404)})
async def best(
    request: Request,
    service: Here,
    asked: Annotated[Best, Query()],
) -> Response:
    """The best known schedule of a model at `steps` solver steps, or `nfe` network evaluations.

    With `nearest`, where no row is exact the nearest one, labelled: a match instead of a row.
    """
    version = await service.answers.version()

    def found() -> bytes:
        counted = {**asked.told(), "store": service.store}
        if asked.nearest:
            return json_bytes(match_json(lookup.nearest(asked.model, **counted)))
        return json_bytes(row_json(lookup.best(asked.model, **counted)))

    try:
        body = await run_in_threadpool(found)
    except NoScheduleFound:
        service.metrics.lookups.labels("none").inc()
        raise
    service.metrics.lookups.labels("found").inc()
    answer = Answer(body, etag_of(body))
    service.answers.keep(request.scope["query_string"], answer, version)
    headers = {"ETag": answer.etag, "Cache-Control": "no-cache"}
    if matches_etag(answer.etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.get("/schedules/matches", responses={200: ROWS, 304: {}, **answers(400, 404)})
def matches(
    request: Request,
    service: Here,
    asked: Annotated[Matches, Query()],
) -> Response:
    """All rows that compete, the best first; without `steps` and `nfe` all that stand."""
    limit, offset = asked.limit, asked.offset
    found, total = lookup.page(service.store, asked.model, limit, offset, **asked.told())
    more = {"offset": offset + limit} if offset + limit < total else None
    less = {"offset": max(0, offset - limit)} if offset else None
    told = {"rows": [row_json(row) for row in found], "total": total}
    return json_answer(request, told, headers=link_header(request, next=more, prev=less))


@router.get("/schedules/under-way", responses={200: UNDER_WAY, 304: {}, **answers()})
def under_way(request: Request, service: Here, model: Model) -> Response:
    """The studies of a model that wait or run, a phrase each."""
    return json_answer(request, {"under_way": misses.under_way(service.store, model)})


@router.get("/schedules", responses={200: FILE, 304: {}, **answers()})
def schedules(
    request: Request,
    service: Here,
    model: Word = None,
    sampler: Word = None,
    steps: Count = None,
    status: Literal["confirmed", "published", "measured"] | None = None,
    every: Annotated[bool, Query(description="Superseded and retracted ones too.")] = False,
    limit: Page = 50,
    after: After = None,
    format: Literal["json", "csv"] = "json",
) -> Response:
    """Rows of the table, the newest first: a file of rows, as `db import` reads it."""
    rows, more = service.store.rows_page(
        limit,
        after=after,
        model=model,
        sampler=sampler,
        steps=steps,
        status=status,
        every=every,
    )
    headers = link_header(request, next=None if more is None else {"after": more})
    body = text_of(rows, format).encode()
    tagged = {"ETag": etag_of(body), "Cache-Control": "no-cache"} | headers
    if matches_etag(tagged["ETag"], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=tagged)
    return Response(body, headers=tagged, media_type=FORMS[format])
