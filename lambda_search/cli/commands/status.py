"""`status`: what studies do, from the store alone."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

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
from lambda_search.shell import command
from lambda_search.standings import facts
from lambda_search.standings import history
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
            print_json([facts(opened, one) for one in opened.studies()])
        else:
            print_json(facts(opened, opened.study(study)) | history(opened, opened.study(study)))
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
    message = facts(store, study)["message"]
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
    told = [facts(store, study) for study in studies]
    driven = any(one["driver"] for one in told)
    headings = ("study", "state", "trials", "best λ (gain), or row", *(["driver"] * driven))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("state", "trials"), overflow="fold")
    for study, one in zip(studies, told, strict=True):
        best, row, state = one["best"], one["row"], one["state"]
        table.add_row(
            Text(study.name, "bold"),
            Text(state, _STYLES.get(state, "")),
            f"{one['trials']}/{one['budget'] or '–'}",
            Text(
                f"{row['schedule']}  {row['status']}"
                if row and state == "done"
                else f"{best['schedule']} ({best['gain']:+.3f})"
                if best
                else "–"
            ),
            *([Text(one["driver"] or "–")] * driven),
        )
    return table


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
