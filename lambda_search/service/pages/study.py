"""A study as it goes: how far it is, what leads and by how much, and who drives it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi import Query
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.responses import Response

from lambda_search import studies as door
from lambda_search.records import Evaluation
from lambda_search.records import Image
from lambda_search.records import Interval
from lambda_search.records import steps_of
from lambda_search.report.effort import efforts
from lambda_search.report.effort import total
from lambda_search.report.findings import Findings
from lambda_search.report.findings import read_findings
from lambda_search.report.pages import study_figures
from lambda_search.report.pages import trial_table
from lambda_search.report.words import summary_of
from lambda_search.report.words import verdict_of
from lambda_search.service.context import Here
from lambda_search.service.pages.copying import copies_of
from lambda_search.service.pages.drawing import drawn
from lambda_search.service.pages.names import ANYTHING
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import table_twin
from lambda_search.shell import command
from lambda_search.standings import event_facts
from lambda_search.standings import facts
from lambda_search.store.lookup import constant_beside
from lambda_search.store.overview import Wanted
from lambda_search.store.store import Store

__all__ = ["router"]

router = APIRouter()
_TRIALS = (
    *("number", "generation", "b", "k", "mean", "slope", "n", "fid", "gain", "gain_error"),
    *("state", "reason"),
)
_EVENTS = ("number", "at", "kind", "text")
_SHOWN_EVENTS = 200
_SHOWN_TRIALS = 100
_DRAWN = 300
"""Trials that are drawn one by one."""


@router.get(f"/studies/{{name:{ANYTHING}}}/trials.{{form}}")
def trials(service: Here, name: str, form: Form) -> Response:
    """The trials."""
    store = service.store
    own = store.study(name)
    found = Findings(own, trials=store.trials(own.id), evaluations=store.evaluations(own.id))
    lines = [
        vars(trial) | {"b": trial.schedule.b, "k": trial.schedule.k, "gain_error": error}
        for trial, error, _ in trial_table(found)
    ]
    return table_twin(lines, _TRIALS, form)


@router.get(f"/studies/{{name:{ANYTHING}}}/events.{{form}}")
def events(service: Here, name: str, form: Form) -> Response:
    """What happened."""
    store = service.store
    lines = [event_facts(one) for one in store.events(store.study(name).name)]
    return table_twin(lines, _EVENTS, form)


@router.post(f"/studies/{{name:{ANYTHING}}}/stop")
def stop(service: Here, name: str) -> Response:
    """Stops it."""
    return _back(door.stop(name, service.store).name)


@router.post(f"/studies/{{name:{ANYTHING}}}/resume")
def resume(service: Here, name: str) -> Response:
    """Queues it again."""
    return _back(door.resume(name, service.store).name)


@router.get(f"/studies/{{name:{ANYTHING}}}")
def study(
    request: Request,
    service: Here,
    name: str,
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> Response:
    """The page of one study, with the latest trials, or those `page` − 1 pages before."""
    store = service.store
    now = store.study(name)
    firm = replace(now, progress=None), store.is_driven(now), store.version()
    told = service.drawn.get(name, firm, store.mark(now), lambda: _told(store, name))
    found: Findings = told["found"]
    waits = found.study.state == "queued" or found.is_abandoned
    table, last = told["table"], max(0, len(told["table"]) - (page - 1) * _SHOWN_TRIALS)
    return service.page(
        request,
        "study.html",
        found=found,
        word=told["word"],
        reason=told["reason"],
        is_listed=bool(store.best_rows(found.model, Wanted(), 1)),
        told=facts(store, now),
        progress=None if waits else now.progress,
        waits=waits,
        nobody=command("drive") if waits and door.nobody_drives(store) else "",
        leader=told["leader"],
        summary=told["summary"],
        copies=[]
        if found.row is None
        else copies_of(found.row, request, constant_beside(found.row, store)),
        trials=table[max(0, last - _SHOWN_TRIALS) : last],
        all_trials=len(table),
        few=_DRAWN if len(table) > _DRAWN else 0,
        page=page,
        more=last > _SHOWN_TRIALS,
        images=told["images"],
        happened=found.events,
        surface=told["surface"],
        last=found.events[-1].number if found.events else 0,
        live=found.study.state in ("queued", "running"),
        **told["figures"],
    )


def _told(store: Store, name: str) -> dict[str, Any]:
    """What costs time on the page: read, fitted and drawn."""
    found = read_findings(store, name)
    spent = total(efforts(found.evaluations, found.events, found.nfe))
    word, reason = verdict_of(found)
    return {
        "found": _kept(found),
        "surface": found.surface,
        "word": word,
        "reason": reason,
        "leader": _leader(found),
        "summary": [one for one in summary_of(found, spent) if not one.code],
        "table": trial_table(found),
        "images": [(one.caption, _data(one)) for one in _images(store, found)],
        "figures": drawn(study_figures(found, _DRAWN)),
    }


def _kept(found: Findings) -> Findings:
    """What the page itself says of a study, without what its figures were made of."""
    latest = found.events[-_SHOWN_EVENTS:]
    return replace(found, evaluations=(), events=latest, images=(), rounds=found.rounds[-2:])


def _back(name: str) -> Response:
    return RedirectResponse(f"/studies/{quote(name, safe='')}", 303)


def _leader(found: Findings) -> dict[str, Any] | None:
    """What leads, with its gain and the paired interval of it."""
    best = found.winner
    scored = None if best is None else _last(found, best.number)
    if best is None or scored is None:
        return None
    interval, row = Interval.around(scored.gain, scored.gain_standard_error), found.row
    if row is not None and row.gain_interval is not None and row.gain == scored.gain:
        interval = row.gain_interval  # at a level that holds for all candidates
    left, right = min(0.0, interval.low), max(0.0, interval.high)
    share = 100 / ((right - left) or 1.0)
    places = (0.0, interval.low, scored.gain, interval.high)
    return {
        "places": [share * (place - left) for place in places],
        "trial": best.number,
        "schedule": best.schedule,
        "gain": scored.gain,
        "low": interval.low,
        "high": interval.high,
        "level": f"{100 * interval.level:.4g} %",
        "n": scored.n,
        "phase": scored.phase,
    }


def _last(found: Findings, trial: int) -> Evaluation | None:
    """The evaluation of a trial that tells most: of the confirmation, or on the most images."""
    own = [one for one in found.evaluations if one.trial == trial]
    confirmed = [one for one in own if one.phase == "confirm"]
    return max(confirmed or steps_of(own), key=lambda one: one.n, default=None)


def _images(store: Store, found: Findings) -> list[Image]:
    """λ = 1 beside what leads: those of the row, or while there is none of the search."""
    if found.images:
        return list(found.images)
    best = found.winner
    if best is None:
        return []
    return [*_pictures(store, found, 0, "λ = 1"), *_pictures(store, found, best.number, "")][:2]


def _pictures(store: Store, found: Findings, trial: int, caption: str) -> Iterator[Image]:
    named = next((one for one in found.trials if one.number == trial), None)
    for one in found.evaluations:
        if one.trial == trial and one.phase == "search":
            for image in store.images(one.fingerprint):
                told = caption or f"trial {trial}, λ = {named.schedule if named else ''}"
                yield Image(told, image.content)
                return


def _data(image: Image) -> str:
    return base64.b64encode(image.content).decode()
