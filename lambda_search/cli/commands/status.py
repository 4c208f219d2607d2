"""`status`: what studies do, from the store alone."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from typing import Any

import typer
from rich.console import Group
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.cli.running import RunningStudies
from lambda_search.records import Study
from lambda_search.records import leading
from lambda_search.shell import command
from lambda_search.spec import stored_spec
from lambda_search.store.store import Store
from lambda_search.studies import nobody_drives
from lambda_search.studies import nobody_drives_now

__all__ = ["status"]

_STYLES = {"done": "green", "failed": "red", "stopped": "yellow"}
_EVENTS = 20


def status(
    study: Annotated[str | None, typer.Argument(help=r"One study. \[default: all]")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep it up to date.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the studies of the store; of one, also who drove it and what happened."""
    opened = look(store)
    if study is not None:
        opened.study(study)  # says at once if there is none
    if as_json:
        if study is None:
            print_json([_facts(opened, one) for one in opened.studies()])
        else:
            print_json(_facts(opened, opened.study(study)) | _history(opened, study))
        return
    if not watch or not out.is_terminal:
        out.print(_picture(opened, study))
        if nobody_drives(opened):
            err.print(Text(nobody_drives_now()))
        return
    with Live(_picture(opened, study), console=out, refresh_per_second=2) as live:
        while True:
            time.sleep(1)
            live.update(_picture(opened, study))


def _picture(store: Store, name: str | None) -> RenderableType:
    if name is None:
        return _studies(store, store.studies())
    study = store.study(name)
    parts: list[RenderableType] = [_studies(store, [study])]
    message = _facts(store, study)["message"]
    if message:
        parts.append(Text(message))
    for attempt in study.attempts:
        ended = "" if attempt.ended is None else f" to {_time(attempt.ended)}"
        words = (
            f"{_time(attempt.began)}{ended}  {attempt.driver}  {attempt.outcome or 'drives it'}"
        )
        parts.append(Text(f"{words}  {attempt.reason.splitlines()[0] if attempt.reason else ''}"))
    events = store.events(name)[-_EVENTS:]
    if events:
        parts.append(Text())
    parts += [Text(f"{_time(event.at)}  {event.kind:<8}  {event.text}") for event in events]
    return Group(*parts)


def _studies(store: Store, studies: list[Study]) -> RenderableType:
    """Those that run as a launch shows them, then the others."""
    if not studies:
        err.print(Text(f"No study yet. Run: {command('demo')}"))
    running = {study.name: study.driver for study in studies if store.is_driven(study)}
    progress = [one.progress for one in studies if one.name in running and one.progress]
    shown = [one.study for one in progress]
    others = [study for study in studies if study.name not in shown]
    parts: list[RenderableType] = []
    if progress:
        notes = {name: f"driven by {driver}" for name, driver in running.items()}
        parts.append(RunningStudies(progress, notes))
    if progress and others:
        parts.append(Text())
    if others or not progress:
        parts.append(_table(store, others))
    return Group(*parts)


def _table(store: Store, studies: list[Study]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    told = [_facts(store, study) for study in studies]
    driven = any(facts["driver"] for facts in told)
    headings = ("study", "state", "trials", "best λ (gain), or row", *(["driver"] * driven))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("state", "trials"), overflow="fold")
    for study, facts in zip(studies, told, strict=True):
        best, row, state = facts["best"], facts["row"], facts["state"]
        table.add_row(
            Text(study.name, "bold"),
            Text(state, _STYLES.get(state, "")),
            f"{facts['trials']}/{facts['budget'] or '–'}",
            Text(
                f"{row['schedule']}  {row['status']}"
                if row and state == "done"
                else f"{best['schedule']} ({best['gain']:+.3f})"
                if best
                else "–"
            ),
            *([Text(facts["driver"] or "–")] * driven),
        )
    return table


def _facts(store: Store, study: Study) -> dict[str, Any]:
    trials = [trial for trial in store.trials(study.id) if not trial.is_open]
    best, rows, spec = leading(trials), store.rows(study.id), stored_spec(study.spec)
    running = store.is_driven(study)
    abandoned = study.state == "running" and not running
    progress = study.progress if running else None
    return {
        "study": study.name,
        "state": "queued" if abandoned else study.state,
        "phase": None if progress is None else progress.phase,
        "message": "Its driver is gone; the next one goes on." if abandoned else study.message,
        "driver": study.driver if running else None,
        "trials": len(trials),
        "budget": None if spec is None else spec.search.trials,
        "images": None if progress is None else progress.images,
        "images_expected": None if progress is None else progress.images_expected,
        "images_per_second": None if progress is None else progress.images_per_second,
        "workers": None if progress is None else progress.workers,
        "seconds_left": None if progress is None else progress.seconds_left,
        "best": None
        if best is None
        else {
            "b": best.schedule.b,
            "k": best.schedule.k,
            "schedule": str(best.schedule),
            "gain": best.gain,
            "n": best.n,
        },
        "row": None
        if not rows
        else {
            "id": rows[-1].id,
            "b": rows[-1].schedule.b,
            "k": rows[-1].schedule.k,
            "schedule": str(rows[-1].schedule),
            "status": rows[-1].status,
        },
        "updated": study.updated,
    }


def _history(store: Store, name: str) -> dict[str, Any]:
    """Who drove a study, and what happened."""
    return {
        "attempts": [asdict(attempt) for attempt in store.study(name).attempts],
        "events": [asdict(event) for event in store.events(name)],
    }


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
