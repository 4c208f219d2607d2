"""`status` and `wait`: what studies do, from the store alone."""

from __future__ import annotations

import time
from typing import Annotated
from typing import Any

import typer
from rich.live import Live
from rich.table import Table

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import row_panel
from lambda_search.errors import LambdaSearchError
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import parse_specs
from lambda_search.store.lookup import as_best
from lambda_search.store.store import Store
from lambda_search.store.tables import Study

__all__ = ["status", "wait"]

_STYLES = {"running": "cyan", "done": "green", "failed": "red", "stopped": "yellow"}


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Keep it up to date.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show all studies: state, trials, best so far."""
    opened = Store(store)
    if as_json:
        print_json([_facts(opened, study) for study in opened.studies()])
        return
    if not watch or not out.is_terminal:
        out.print(_table(opened))
        return
    with Live(_table(opened), console=out, refresh_per_second=2) as live:
        while True:
            time.sleep(1)
            live.update(_table(opened))


def wait(
    study: Annotated[str, typer.Argument(help="The study's name.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a study ends, and show its row."""
    opened = Store(store)
    while (found := opened.study(study)).state in ("queued", "running"):
        if opened.is_abandoned(found):
            raise LambdaSearchError(
                f"The study '{study}' has no driver any more.", "Launch it again; it goes on."
            )
        time.sleep(1)
    if found.state != "done":
        raise LambdaSearchError(
            f"The study '{study}' is {found.state}: {found.message}",
            "Launch it again; it goes on.",
        )
    row = as_best(opened.rows(found.id)[-1])
    if as_json:
        print_json(row.to_json())
    else:
        out.print(row_panel(row))


def _table(store: Store) -> Table:
    studies = store.studies()
    if not studies:
        err.print("No study yet. Run: lambda-search demo")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("study", "state", "trials", "best so far", "row"):
        table.add_column(heading, no_wrap=heading in ("state", "trials"), overflow="fold")
    for study in studies:
        facts = _facts(store, study)
        style = _STYLES.get(facts["state"], "")
        best = facts["best"]
        table.add_row(
            f"[bold]{study.name}[/]",
            f"[{style}]{facts['state']}[/]" if style else facts["state"],
            f"{facts['trials']}/{facts['budget']}",
            f"λ = {LambdaSchedule(best['b'], best['k'])}  gain {best['gain']:+.3f}"
            if best
            else "–",
            f"λ = {LambdaSchedule(*facts['row'])}  {facts['row_status']}" if facts["row"] else "–",
        )
    return table


def _facts(store: Store, study: Study) -> dict[str, Any]:
    trials = [trial for trial in store.trials(study.id) if trial.gain is not None]
    others = [trial for trial in trials if trial.number != 0]
    best = max(others, key=lambda trial: (trial.n or 0, trial.gain or 0.0), default=None)
    rows = store.rows(study.id)
    abandoned = study.state == "running" and store.is_abandoned(study)
    return {
        "study": study.name,
        "state": "stopped" if abandoned else study.state,
        "message": study.message,
        "trials": len(trials),
        "budget": parse_specs(study.spec)[0].search.trials,
        "best": None
        if best is None
        else {"b": best.b, "k": best.k, "gain": best.gain, "n": best.n},
        "row": [rows[-1].b, rows[-1].k] if rows else None,
        "row_status": rows[-1].status if rows else None,
        "updated": study.updated.isoformat(),
    }
