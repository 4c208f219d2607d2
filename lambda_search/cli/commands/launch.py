"""`launch`: study files are run to their rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.commands.queue import show_changes
from lambda_search.cli.commands.queue import submit_files
from lambda_search.cli.console import err
from lambda_search.cli.console import working
from lambda_search.cli.job import check_alone
from lambda_search.cli.job import options
from lambda_search.cli.job import submit_job
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Features
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Submit
from lambda_search.cli.options import Workers
from lambda_search.cli.options import WorkersPerGpu
from lambda_search.cli.options import gpus_of
from lambda_search.cli.outcomes import raise_errors
from lambda_search.cli.outcomes import show_rows
from lambda_search.cli.progress import Display
from lambda_search.cli.progress import show_cost
from lambda_search.cli.running import counted
from lambda_search.cli.signals import terminable
from lambda_search.cluster.opening import Opening
from lambda_search.earlier import answered
from lambda_search.earlier import driven_by
from lambda_search.earlier import held
from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.records import Driven
from lambda_search.records import Row
from lambda_search.shell import command
from lambda_search.spec import Written
from lambda_search.spec import located
from lambda_search.store.address import missing_file
from lambda_search.store.queue import Queue
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store
from lambda_search.studies import written

__all__ = ["launch", "run"]


def launch(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY...", help="Study files, or folders of them.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run and what it costs.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="With --dry-run: try one batch of each on a worker.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only queue them, for `drive`: the same as submit.")
    ] = False,
    submit: Submit = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    workers_per_gpu: WorkersPerGpu = None,
    features: Features = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Run studies to their rows; the same command goes on where it stopped.

    With --dry-run, weights and references need not be there: it says where to get them. With
    --probe too, a worker tries one batch: it says what that takes, or which batch has room.
    """
    gpus = gpus_of(gpus, workers_per_gpu)
    if probe and not dry_run:
        raise UsageError("--probe only tries.", "Add --dry-run, or leave --probe out.")
    if submit is not None:
        check_alone(submit, ray_address, dry_run, detach)
        told = options(workers=workers, gpus=gpus, features=features)
        submit_job(submit, "launch", told, store, as_json, studies)
        return
    if dry_run:
        several = written(*studies)
        if missing_file(store_url(store)) is None:
            show_changes(several, Store(store))
        from lambda_search.cli.dry_run import show_studies

        specs = [located(one.spec, [one.base]) for one in several]
        if not probe:
            show_studies(specs, workers, as_json)
            return
        with working("starting workers"):
            from lambda_search.launching import worker_pool
        with worker_pool(workers, ray_address, gpus) as pool:
            show_studies(specs, workers, as_json, pool)
    elif detach:
        submit_files(studies, store, as_json)
    else:
        run(studies, workers, ray_address, gpus, features, store, as_json)


def run(
    studies: list[Path],
    workers: int | None,
    ray_address: str | None,
    gpus: float | None,
    features: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Runs study files with progress on the terminal, and prints their rows."""
    try:
        with ExitStack() as stack:
            several = written(*studies)
            opened = Store(store, PATIENCE_SECONDS)
            stack.callback(opened.close)
            opened.check_writable()
            left = _left_by_the_store(several, opened, as_json)
            if not left:
                return
            Queue(opened).check_one_host()
            stack.enter_context(terminable())
            opening = stack.enter_context(Opening(workers, ray_address, gpus))
            with working("reading models"):
                opening.begin(located(left[0].spec, [left[0].base]))
                from lambda_search.launching import prepare

                launch = prepare(several, opened, features=features)
            driven = Driven()
            if launch.waiting:
                with working("starting workers"):
                    pool = opening.pool()
                count = "1 study" if len(launch.waiting) == 1 else f"{len(launch.waiting)} studies"
                err.print(f"{count} on {counted(pool.size)} ({pool.device_kind})")
                with Display(notes=pool.notes) as display:
                    driven = launch.run(opened, pool, display, [display.hear])
                show_cost(display.studies, pool.busy_seconds)
    except KeyboardInterrupt:
        raise Interrupted(
            "Nothing that was computed is lost.", "Start again with the same command."
        ) from None
    rows, errors = {**launch.finished, **driven.rows}, launch.errors_of(driven)
    _finish({name: rows[name] for name in launch.names if name in rows}, as_json)
    raise_errors(errors)


def _left_by_the_store(studies: list[Written], store: Store, as_json: bool) -> list[Written]:
    """Tells what the store alone knows, before anything heavy is loaded, if that is all.

    Returns:
        The studies that models have to be read for.

    Raises:
        UsageError: if one has become another study than that of its name.
        LambdaSearchError: if another driver has one, and nothing is left to be run.
    """
    elsewhere = held([one.spec.name for one in studies], store)
    free = [one for one in studies if one.spec.name not in elsewhere]
    rows = answered(free, store)
    show_changes(free, store)
    left = [one for one in free if one.spec.name not in rows]
    if left:
        return left
    if rows:
        _finish(rows, as_json)
    raise_errors({name: driven_by(name, driver) for name, driver in elsewhere.items()})
    return []


def _finish(rows: Mapping[str, Row], as_json: bool) -> None:
    """Shows the rows that a launch comes to, by their studies, and the next command."""
    show_rows(list(rows.values()), as_json)
    if rows and not as_json:
        err.print(Text(f"\nnext: {command('report', next(iter(rows)))}"))
