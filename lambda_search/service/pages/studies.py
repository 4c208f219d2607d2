"""The queue: which studies wait, run and have ended, and who drives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from typing import Any
from typing import get_args

from fastapi import APIRouter
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from lambda_search import studies as door
from lambda_search.errors import UsageError
from lambda_search.records import StudyState
from lambda_search.service.context import Here
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import table_twin
from lambda_search.service.words import Typed
from lambda_search.shell import command
from lambda_search.standings import several_facts
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter()
_LINES = 25
_AT_ONCE = 500
_STATES: tuple[str, ...] = get_args(StudyState)
_COLUMNS = (
    *("study", "state", "phase", "message", "driver", "trials", "budget", "images"),
    *("images_expected", "images_per_second", "workers", "seconds_left"),
    *("best_b", "best_k", "best_gain", "best_n", "row", "row_status", "updated"),
)


@dataclass(frozen=True)
class Queue:
    """A page of studies, as `facts` has them, and how many there are in all."""

    studies: list[dict[str, Any]]
    total: int


@router.get("/studies")
def studies(
    request: Request,
    service: Here,
    state: Typed = "",
    q: Typed = "",
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> Response:
    """The page."""
    store = service.store
    found = _queue(store, state, q, page)
    return service.page(
        request,
        "studies.html",
        found=found,
        state=state,
        q=q,
        page=page,
        states=_STATES,
        counts=store.states(),
        more=page * _LINES < found.total,
        nobody=command("drive") if door.nobody_drives(store) else "",
    )


@router.get("/studies.{form}")
def twin(service: Here, form: Form, state: Typed = "", q: Typed = "") -> Response:
    """The same studies, of all pages."""
    page, lines = 1, []
    while (found := _queue(service.store, state, q, page, _AT_ONCE)).studies:
        lines += [_line(one) for one in found.studies]
        if page * _AT_ONCE >= found.total:
            break
        page += 1
    return table_twin(lines, _COLUMNS, form)


def _queue(store: Store, state: str, q: str, page: int, most: int = _LINES) -> Queue:
    if state and state not in _STATES:
        raise UsageError("There is no such state.", f"There are {', '.join(_STATES)}.")
    states = (state,) if state else ()
    named = q.strip() or None
    found, total = store.studies_page(most, skip=(page - 1) * most, states=states, named=named)
    return Queue(list(several_facts(store, found)), total)


def _line(told: dict[str, Any]) -> dict[str, Any]:
    """What `facts` says in a line."""
    best, row = told["best"] or {}, told["row"] or {}
    return told | {
        **{f"best_{name}": best.get(name) for name in ("b", "k", "gain", "n")},
        "row": row.get("id"),
        "row_status": row.get("status"),
    }
