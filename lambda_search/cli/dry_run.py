"""`launch --dry-run`: what would be run, and what it costs; with `--probe`, tried on workers."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.search.cost import describe
from lambda_search.search.cost import outlines
from lambda_search.search.missing import Missing
from lambda_search.search.plan import Plan
from lambda_search.spec import StudySpec
from lambda_search.work.memory import Probe
from lambda_search.work.pool import Pool

__all__ = ["show_studies"]


def show_studies(
    specs: Sequence[StudySpec], workers: int | None, as_json: bool, pool: Pool | None = None
) -> None:
    """Prints settings, trials, images, network evaluations and time, and what is not here.

    Arguments:
        specs: the studies.
        workers: how many the time is told for.
        as_json: whether to print JSON.
        pool: workers to try a batch of each study on, of those for which nothing is missing.

    Raises:
        UsageError: for what is wrong with a study; what is only missing is shown.
        LambdaSearchError: if a batch does not fit into a worker's memory: which one does.
    """
    described = [
        describe(plan, missing, workers) | _tried(plan, missing, pool)
        for plan, missing in outlines(specs)
    ]
    if as_json:
        print_json(described)
        return
    for one in described:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in one.items():
            if name not in ("cautions", "missing") and value is not None:
                shown = f"{value:,}" if isinstance(value, int) else str(value)
                table.add_row(name.replace("_", " "), Text(shown))
        out.print(Text(one["study"], style="bold"))
        out.print(table)
        for caution in one["cautions"]:
            out.print(Text(f"caution  {caution}", style="yellow"))
        for item in one["missing"]:  # below the table, which would cut addresses
            out.print(Text(f"missing  {item['cause']} {item['hint']}", style="yellow"))
        out.print()
    for fetched, outcome in (
        (False, "cannot be launched on this machine yet"),
        (True, "can be launched, which fetches what is missing"),
    ):
        count = sum(_waits(one["missing"], fetched) for one in described)
        if count:
            err.print(f"{count} of {len(described)} studies {outcome}")


def _tried(plan: Plan, missing: Sequence[Missing], pool: Pool | None) -> dict[str, str]:
    """What a batch took on a worker, in words."""
    if pool is None or missing:
        return {}
    found = pool.submit(Probe(plan.recipe)).result()
    memory = "" if found.peak is None else f", {found.peak / 2**30:.1f} GB of its memory at most"
    return {"probe": f"{found.batch} images in {found.seconds:.1f} s on {found.kind}{memory}"}


def _waits(missing: Sequence[Mapping[str, Any]], fetched: bool) -> bool:
    """Whether something is missing that a launch does not fetch, or else only what it does."""
    return bool(missing) and all(item["fetched"] for item in missing) == fetched
