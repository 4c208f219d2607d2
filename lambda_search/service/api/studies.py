"""Studies: listed, posted, stopped, and queued again."""

from __future__ import annotations

from typing import Annotated
from typing import Literal

from fastapi import APIRouter
from fastapi import Query
from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lambda_search import studies as door
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.records import Study
from lambda_search.service.api.shapes import ALLOWED
from lambda_search.service.api.shapes import STUDIES
from lambda_search.service.api.shapes import STUDY
from lambda_search.service.context import Context
from lambda_search.service.context import Here
from lambda_search.service.linking import json_answer
from lambda_search.service.linking import link_header
from lambda_search.service.problems import answers
from lambda_search.service.words import Name
from lambda_search.service.words import Page
from lambda_search.service.words import Skip
from lambda_search.service.words import Word
from lambda_search.spec import registered
from lambda_search.spec.shares import Share
from lambda_search.standings import facts
from lambda_search.standings import history
from lambda_search.standings import several_facts

__all__ = ["LARGEST_FILE", "LARGEST_STUDY", "Posted", "post_studies", "router"]

router = APIRouter(tags=["studies"])
State = Literal["queued", "running", "done", "failed", "stopped"]


LARGEST_STUDY, LARGEST_FILE = 1 << 18, 1 << 20
"""Characters of a study file, and of a file that it names; bytes in a form."""


class Posted(BaseModel):
    """A study file, with the config and prompt files that it names, by the names it has there."""

    model_config = ConfigDict(extra="forbid")

    study: str = Field(max_length=LARGEST_STUDY, description="The study file, YAML.")
    files: dict[str, Annotated[str, Field(max_length=LARGEST_FILE)]] = Field(
        default={}, max_length=100, description="UTF-8 texts."
    )


def post_studies(service: Context, text: str, files: dict[str, str]) -> list[Study]:
    """Queues what was posted, in the bounds of the service.

    Raises:
        UsageError: for anything that is wrong with it.
    """
    try:
        carried = {name: content.encode() for name, content in files.items()}
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("It is not valid Unicode.", "Send UTF-8.") from error
    return door.post(text, carried, service.store, service.bounds)


@router.get("/studies", responses={200: STUDIES, 304: {}, **answers()})
def studies(
    request: Request,
    service: Here,
    state: Annotated[list[State] | None, Query()] = None,
    q: Word = None,
    limit: Page = 50,
    offset: Skip = 0,
) -> Response:
    """Studies, the latest first; with `q` in their names."""
    store = service.store
    found, total = store.studies_page(limit, skip=offset, states=state or (), named=q)
    more = {"offset": offset + limit} if offset + limit < total else None
    less = {"offset": max(0, offset - limit)} if offset else None
    told = {
        "studies": list(several_facts(store, found)),
        "total": total,
        "nobody_drives": door.nobody_drives(store),
    }
    return json_answer(request, told, headers=link_header(request, next=more, prev=less))


@router.get("/allowed", responses={200: ALLOWED, 304: {}, **answers(without=(422,))})
def allowed(request: Request, service: Here) -> Response:
    """What a posted study may name, besides files in the service's roots."""
    return json_answer(request, {**registered(), "hub": sorted(service.bounds.hub)})


@router.post(
    "/studies",
    status_code=201,
    responses={201: STUDIES, **answers(400, 408, 409, 413)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": Posted.model_json_schema()},
                "application/yaml": {"schema": {"type": "string"}},
            },
        }
    },
)
async def post(request: Request, service: Here) -> Response:
    """Queues the studies of a file; a driver runs them. It may name no more than `/v1/allowed`.

    Its `queue.priority` is 0 or less, and all that is posted counts as one user's.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            told = Posted.model_validate_json(body)
        except ValidationError as error:
            one = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(map(str, one["loc"]))
            raise HTTPException(422, printable(f"{place}: {one['msg']}", 300)) from error
    else:
        try:
            told = Posted(study=body.decode())
        except (UnicodeDecodeError, ValidationError) as error:
            raise HTTPException(422, "The study file is not UTF-8, or too large.") from error

    def queued() -> Response:
        found = post_studies(service, told.study, told.files)
        listed = {"studies": list(several_facts(service.store, found))}
        headers = {"Location": f"/v1/studies/{found[0].name}"} if len(found) == 1 else {}
        return json_answer(request, listed, 201, headers)

    return await run_in_threadpool(queued)


@router.get("/studies/{name}", responses={200: STUDY, 304: {}, **answers(404)})
def study(
    request: Request,
    service: Here,
    name: Name,
    events: Annotated[int, Query(ge=0, le=10**6, description="How many of the last.")] = 100,
) -> Response:
    """A study: how it stands, its file, who drove it, and what happened last."""
    found = service.store.study(name)
    told = facts(service.store, found) | history(service.store, found, events)
    return json_answer(request, told | {"spec": found.spec, "door": found.door})


@router.delete("/studies/{name}", responses={200: STUDY, **answers(404, 409)})
def stop(request: Request, service: Here, name: Name) -> Response:
    """Stops a study, or takes it out of the queue; nothing that was computed is lost."""
    return json_answer(request, facts(service.store, door.stop(name, service.store)))


class Wanted(BaseModel):
    """What a proof shall be; what is left out is as in the study's file."""

    model_config = ConfigDict(extra="forbid")

    samples: int | None = Field(default=None, ge=16, le=10**6, description="For each candidate.")
    precision: Share | None = Field(default=None, description="A share of FID(1).")
    top: int | None = Field(default=None, ge=1, le=100, description="How many candidates.")


@router.post("/studies/{name}/confirm", responses={200: STUDY, **answers(404, 409)})
def confirm(request: Request, service: Here, name: Name, wanted: Wanted | None = None) -> Response:
    """Queues a proof of a finished study, again or further; until it is there its row answers."""
    told = (wanted or Wanted()).model_dump()
    return json_answer(request, facts(service.store, door.confirm(name, service.store, **told)))


@router.post("/studies/{name}/resume", responses={200: STUDY, **answers(404, 409)})
def resume(request: Request, service: Here, name: Name) -> Response:
    """Queues a study again that failed or was stopped; it goes on where it was."""
    return json_answer(request, facts(service.store, door.resume(name, service.store)))
