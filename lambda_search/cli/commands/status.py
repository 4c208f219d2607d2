"""`status`: what studies do, from the store alone."""

from __future__ import annotations

import time
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
from lambda_search.cli.reading import ask
from lambda_search.cli.running import RunningStudies
from lambda_search.cli.running import whereabouts
from lambda_search.records import Progress
from lambda_search.remote import Service
from lambda_search.shell import command
from lambda_search.standings import facts
from lambda_search.standings import history
from lambda_search.standings import several_facts
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
    opened = ask(store)
    if study is not None:
        opened.study(study)  # says at once if there is none
    if as_json:
        print_json(_all_facts(opened) if study is None else _study_facts(opened, study))
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


def _all_facts(store: Store | Service) -> list[dict[str, Any]]:
    if isinstance(store, Service):
        return store.studies()
    return list(several_facts(store, store.studies()))


def _study_facts(store: Store | Service, name: str) -> dict[str, Any]:
    if isinstance(store, Service):
        return store.study_facts(name)
    study = store.study(name)
    return facts(store, study) | history(store, study)


def _picture(store: Store | Service, name: str | None) -> RenderableType:
    if name is None:
        return _studies(store, None)
    told = _study_facts(store, name)
    parts: list[RenderableType] = [_studies(store, told)]
    if told["message"]:
        parts.append(Text(told["message"]))
    for attempt in told["attempts"]:
        ended = "" if attempt["ended"] is None else f" to {_time(attempt['ended'])}"
        words = f"{_time(attempt['began'])}{ended}  {attempt['driver']}"
        reason = attempt["reason"].splitlines()[0] if attempt["reason"] else ""
        parts.append(Text(f"{words}  {attempt['outcome'] or 'drives it'}  {reason}"))
    events = told["events"][-_EVENTS:]
    if events:
        parts.append(Text())
    parts += [
        Text(f"{_time(event['at'])}  {event['kind']:<8}  {event['text']}") for event in events
    ]
    return Group(*parts)


def _studies(store: Store | Service, one: dict[str, Any] | None) -> RenderableType:
    """Those that run as a launch shows them, then the others; `one` alone if it is given."""
    told = _all_facts(store) if one is None else [one]
    if not told:
        err.print(Text(f"No study yet. Run: {command('demo')}"))
    progress = [] if isinstance(store, Service) else _running(store, told)
    shown = {found.study for found in progress}
    others = [found for found in told if found["study"] not in shown]
    parts: list[RenderableType] = []
    if progress:
        drivers = {found["study"]: found["driver"] for found in told}
        notes = {
            one.study: f"driven by {drivers[one.study]}; {one.seconds_in_all / 3600:.2f} h of "
            "workers' devices so far"
            for one in progress
        }
        parts.append(RunningStudies(progress, notes))
        places = whereabouts((drivers[one.study], one) for one in progress)
        parts += [Text(line, "dim") for line in places]
    if progress and others:
        parts.append(Text())
    if others or not progress:
        parts.append(_table(others))
    return Group(*parts)


def _running(store: Store, told: list[dict[str, Any]]) -> list[Progress]:
    driven = [store.study(found["study"]) for found in told if found["driver"]]
    return [study.progress for study in driven if study.progress is not None]


def _table(told: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    driven = any(one["driver"] for one in told)
    headings = ("study", "state", "trials", "best λ (gain), or row", *(["driver"] * driven))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("state", "trials"), overflow="fold")
    for one in told:
        best, row, state = one["best"], one["row"], one["state"]
        table.add_row(
            Text(one["study"], "bold"),
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


def _time(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
