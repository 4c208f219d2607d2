"""`launch`: runs studies."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Workers
from lambda_search.cli.rows import row_panel
from lambda_search.errors import Interrupted

if TYPE_CHECKING:
    from lambda_search.search.plan import Plan
    from lambda_search.spec import StudySpec

__all__ = ["launch", "run"]


def launch(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY...", help="Study files, or folders of them.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run and what it costs.")
    ] = False,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Run studies to their rows; the same command goes on where it stopped.

    With --dry-run, weights and references need not be there: it says where to get them.
    """
    if dry_run:
        from lambda_search.cli.dry_run import show_studies
        from lambda_search.drive import specs_of

        show_studies(specs_of(_specs(studies)), workers, as_json)
    else:
        run(studies, workers, ray_address, gpus, store, as_json)


def run(
    studies: list[Path],
    workers: int | None,
    ray_address: str | None,
    gpus: float | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Runs study files with progress on the terminal, and prints their rows."""
    from lambda_search.cli.progress import Display
    from lambda_search.cli.progress import show_cost
    from lambda_search.drive import run_studies
    from lambda_search.drive import worker_pool
    from lambda_search.store.lookup import as_best
    from lambda_search.store.store import Store

    try:
        with ExitStack() as stack:
            with working("reading models"):
                plans = _plans(studies)
            opened = Store(store)
            stack.callback(opened.close)
            with working("starting workers"):
                pool = stack.enter_context(worker_pool(workers, ray_address, gpus))
            count = "1 study" if len(plans) == 1 else f"{len(plans)} studies"
            err.print(f"{count} on {pool.size} workers ({pool.device_kind})")
            with Display() as display:
                rows = run_studies(plans, opened, pool, display)
            show_cost(display.studies, pool.busy_seconds)
    except KeyboardInterrupt:
        raise Interrupted(
            "Nothing was computed yet.", "Start again with the same command."
        ) from None
    found = [as_best(row) for row in rows]
    if as_json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        out.print(row_panel(one))
    err.print(f"\nnext: lambda-search report {plans[0].spec.name}")


def _plans(studies: list[Path]) -> list[Plan]:
    from lambda_search.drive import plans_of

    return plans_of(_specs(studies))


def _specs(studies: list[Path]) -> list[StudySpec]:
    from lambda_search.spec import load_specs

    return [spec for path in studies for spec in load_specs(path)]
