"""A model: λ and FID by step count, its best rows with evidence, and all that was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from typing import get_args

import plotly.graph_objects as go
from fastapi import APIRouter
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.errors import NoScheduleFound
from lambda_search.records import Row
from lambda_search.report import figures
from lambda_search.service.context import Here
from lambda_search.service.pages.copying import Copy
from lambda_search.service.pages.copying import copies_of
from lambda_search.service.pages.drawing import drawn
from lambda_search.service.pages.index import Asked
from lambda_search.service.pages.names import ANYTHING
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import rows_twin
from lambda_search.service.telling import evidence_of
from lambda_search.service.telling import origin_of
from lambda_search.service.telling import walk_of
from lambda_search.service.words import After
from lambda_search.store.overview import Wanted
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter()
_CARDS, _LINES = 12, 50


@dataclass(frozen=True)
class Told:
    """A row with what is said of it.

    Arguments:
        row: it.
        evidence: why to believe it, in sentences.
        origin: who says so.
        copies: the lines that use it.
    """

    row: Row
    evidence: Sequence[str]
    origin: str
    copies: Sequence[Copy]


@router.get(f"/models/{{name:{ANYTHING}}}")
def model(
    request: Request,
    service: Here,
    name: str,
    asked: Asked,
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    after: After = None,
) -> Response:
    """The page of one model; with `.json` or `.csv` after its name all its rows, as a file.

    A model may be called weights.csv: that comes first.
    """
    store = service.store
    whole, _, form = name.rpartition(".")
    if whole and form in get_args(Form) and not store.rows_told(name, 1)[0]:
        return _twin(store, whole, form)  # type: ignore[arg-type]
    best = store.best_rows(name, asked, _CARDS + 1, (page - 1) * _CARDS)
    rows, following = store.rows_told(name, _LINES, after)
    if not rows and after is None:
        raise NoScheduleFound(
            f"There is no row of the model '{name[:100]}'.", "The first page lists what there is."
        )
    shown = best[:_CARDS]
    group = _largest_group(shown)
    return service.page(
        request,
        "model.html",
        about=store.about(name),
        asked=asked,
        filtered=asked != Wanted(),
        told=[
            Told(one, evidence_of(one), origin_of(one), copies_of(one, request)) for one in shown
        ],
        rows=rows,
        page=page,
        more=len(best) > _CARDS,
        following=following,
        group=group,
        **drawn(_figures(group)),
    )


def _twin(store: Store, name: str, form: Form) -> Response:
    if not store.rows_told(name, 1)[0]:
        raise NoScheduleFound(
            f"There is no row of the model '{name[:100]}'.", "/models.json has all models."
        )
    return rows_twin(store.all_rows(name), form)


def _largest_group(rows: Sequence[Row]) -> list[Row]:
    """Of the best rows those that differ in their steps alone, so that they can be drawn as one.

    Of groups of one size, that of the better rows.
    """
    groups: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        setting = row.setting
        metric = setting.metric, setting.extractor, setting.reference, row.status == "published"
        groups[walk_of(setting), setting.weights, metric].append(row)
    return max(groups.values(), key=len, default=[])


def _figures(rows: Sequence[Row]) -> dict[str, go.Figure]:
    if not rows:
        return {}
    if len(rows) == 1:
        return {"lambdas": figures.lambda_figure(rows[0].lambdas)}
    named = {f"row {row.id[:6]}": row for row in rows}
    return {"lambdas": figures.lambdas_figure(named), "fids": figures.fid_figure(rows)}
