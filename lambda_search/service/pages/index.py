"""The first page: all models with their best rows, found by name, file or SHA-256."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from typing import TypeAlias

from fastapi import APIRouter
from fastapi import Depends
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.errors import UsageError
from lambda_search.records import ModelFacts
from lambda_search.records import Row
from lambda_search.service.context import Here
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import rows_twin
from lambda_search.service.words import LARGEST
from lambda_search.service.words import Typed
from lambda_search.shell import command
from lambda_search.store.overview import Wanted
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter()
STATUSES = ("confirmed", "published", "measured")
MODELS, ROWS = 20, 6
"""Of a page, and of a model on it."""
_Page = Annotated[int, Query(ge=1, le=10**6)]


@dataclass(frozen=True)
class Listed:
    """A model of the page.

    Arguments:
        about: what is known of it.
        rows: the best ones, some of them.
        more: how many may be left out.
    """

    about: ModelFacts
    rows: list[Row]
    more: int


def wanted(
    q: Typed = "",
    framework: Typed = "",
    sampler: Typed = "",
    steps: Typed = "",
    status: Typed = "",
) -> Wanted:
    """What the address asks for; an empty field asks for nothing.

    Raises:
        UsageError: for what no row can have.
    """
    count = steps.strip()
    if count and not (count.isdecimal() and len(count) <= 10 and int(count) <= LARGEST):
        raise UsageError(f"'{count[:20]}' is no number of steps.", "Ask for 20, for example.")
    if status and status not in STATUSES:
        raise UsageError("There is no such status.", f"There are {', '.join(STATUSES)}.")
    return Wanted(q.strip(), framework, sampler, int(count) if count else None, status)


Asked: TypeAlias = Annotated[Wanted, Depends(wanted)]


@router.get("/")
@router.get("/models")
def index(request: Request, service: Here, asked: Asked, page: _Page = 1) -> Response:
    """All models."""
    store = service.store
    names = store.models_found(asked, MODELS + 1, (page - 1) * MODELS)
    models = [_listed(store, name, asked) for name in names[:MODELS]]
    frameworks, samplers = store.words_known()
    return service.page(
        request,
        "index.html",
        models=models,
        asked=asked,
        row=_row_named(store, asked.words) if page == 1 else None,
        page=page,
        more=len(names) > MODELS,
        frameworks=frameworks,
        samplers=samplers,
        statuses=STATUSES,
        fill=command("demo") if store.is_bare else "",
    )


@router.get("/models.json")
def as_json(service: Here, asked: Asked) -> Response:
    """The same rows, of all pages, as a file that can be imported."""
    return _twin(service.store, asked, "json")


@router.get("/models.csv")
def as_csv(service: Here, asked: Asked) -> Response:
    """The same for a spreadsheet."""
    return _twin(service.store, asked, "csv")


def _twin(store: Store, asked: Wanted, form: Form) -> Response:
    return rows_twin(store.every_best_row(asked), form)


def _listed(store: Store, name: str, asked: Wanted) -> Listed:
    rows = store.best_rows(name, asked, ROWS + 1)
    more = max(store.contests_of(name) - ROWS, 1) if len(rows) > ROWS else 0
    return Listed(store.about(name), rows[:ROWS], more)


def _row_named(store: Store, words: str) -> Row | None:
    """The row whose id was typed into the search."""
    if not re.fullmatch("[0-9a-f]{8,64}", words.lower()):
        return None
    try:
        return store.row(words)
    except UsageError:
        return None
