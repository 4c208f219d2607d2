"""A row: all that it says, where every number comes from, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.responses import Response

from lambda_search.errors import UnknownName
from lambda_search.records import Row
from lambda_search.report import figures
from lambda_search.schedule import LambdaSchedule
from lambda_search.service.context import Here
from lambda_search.service.pages.copying import copies_of
from lambda_search.service.pages.drawing import drawn
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import rows_twin
from lambda_search.service.pages.twins import table_twin
from lambda_search.service.telling import evidence_of
from lambda_search.service.telling import facts_of
from lambda_search.service.telling import origin_of
from lambda_search.service.words import Name
from lambda_search.store.lookup import constant_beside
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter()
_STEPS = ("i", "timestep", "sigma", "lambda")
_CANDIDATES = (
    *("trial", "b", "k", "fid", "corrected", "gain", "gain_standard_error", "raw_gain"),
    *("correlation", "fid_at_infinity", "kid"),
)


@router.get("/rows/{id}.json")
def as_json(service: Here, id: Name) -> Response:
    """The row as a file that can be imported."""
    return rows_twin([service.store.row(id)], "json")


@router.get("/rows/{id}.csv")
def as_csv(service: Here, id: Name) -> Response:
    """The same for a spreadsheet."""
    return rows_twin([service.store.row(id)], "csv")


@router.get("/rows/{id}/steps.{form}")
def steps(service: Here, id: Name, form: Form) -> Response:
    """λ step by step."""
    return table_twin(_steps(service.store.row(id)), _STEPS, form)


@router.get("/rows/{id}/candidates.{form}")
def candidates(service: Here, id: Name, form: Form) -> Response:
    """What was confirmed against λ = 1."""
    told = [vars(one) for one in service.store.row(id).provenance.candidates]
    return table_twin(told, _CANDIDATES, form)


@router.get("/rows/{id}")
def row(request: Request, service: Here, id: Name) -> Response:
    """The page of one row."""
    found = service.store.row(id)
    if len(id) < 12:
        return RedirectResponse(f"/rows/{found.id[:12]}", 307)
    told = found.provenance
    return service.page(
        request,
        "row.html",
        row=found,
        instead=service.store.instead_of(found.id),
        has_study=_has(service.store, told.study),
        evidence=evidence_of(found),
        origin=origin_of(found),
        copies_=copies_of(found, request, constant_beside(found, service.store)),
        facts=facts_of(found),
        steps=_steps(found),
        candidates=[(one, LambdaSchedule(one.b, one.k)) for one in told.candidates],
        images=service.store.images(told.preview) if told.preview else [],
        **drawn({"lambdas": figures.lambda_figure(found.lambdas)}),
    )


def _has(store: Store, study: str) -> bool:
    """Whether a row's study is here too."""
    with suppress(UnknownName):
        return bool(study) and store.study(study).name == study
    return False


def _steps(row: Row) -> list[Mapping[str, Any]]:
    told = row.to_json()["table"]
    return [{"i": i, **step} for i, step in enumerate(told)]
