"""`launch` and `drive`: studies are run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.commands.queue import show_changes
from lambda_search.cli.commands.queue import submit_files
from lambda_search.cli.console import complain
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.job import options
from lambda_search.cli.job import submit_job
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Features
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import Hub
from lambda_search.cli.options import Models
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import Roots
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Submit
from lambda_search.cli.options import Workers
from lambda_search.cli.options import WorkersPerGpu
from lambda_search.cli.options import gpus_of
from lambda_search.cli.progress import Display
from lambda_search.cli.progress import show_cost
from lambda_search.cli.rows import row_panel
from lambda_search.cluster.opening import Opening
from lambda_search.earlier import answered
from lambda_search.earlier import driven_by
from lambda_search.earlier import held
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.records import Driven
from lambda_search.records import Row
from lambda_search.shell import command
from lambda_search.spec import Bounds
from lambda_search.spec import Written
from lambda_search.spec import located
from lambda_search.store.address import missing_file
from lambda_search.store.queue import Queue
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store
from lambda_search.studies import written

__all__ = ["drive", "launch", "run", "show_rows", "terminable"]


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
        _check_alone(submit, ray_address, dry_run, detach)
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


def drive(
    models: Models = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing waits that can be run here.")
    ] = False,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1, help=r"Studies that run side by side. \[default: as many as fill the workers]"
        ),
    ] = None,
    roots: Roots = None,
    hub: Hub = None,
    beside: Annotated[int | None, typer.Option(hidden=True)] = None,
    submit: Submit = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    workers_per_gpu: WorkersPerGpu = None,
    features: Features = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Run queued studies on this machine's workers, until it is stopped."""
    gpus = gpus_of(gpus, workers_per_gpu)
    if submit is not None:
        _check_alone(submit, ray_address)
        told = options(
            models=models,
            until_empty=until_empty,
            at_once=at_once,
            roots=roots,
            hub=hub,
            workers=workers,
            gpus=gpus,
            features=features,
        )
        submit_job(submit, "drive", told, store, as_json)
        return
    try:
        with ExitStack() as stack:
            bounds = Bounds.of(roots or (), hub or ())
            opened = Store(store, PATIENCE_SECONDS)
            stack.callback(opened.close)
            opened.check_writable()
            Queue(opened).check_one_host()
            stack.enter_context(terminable())
            opening = stack.enter_context(Opening(workers, ray_address, gpus))
            with working("starting workers"):
                opening.begin()
                from lambda_search.drive import drive as run_queue

                pool = opening.pool()
            if beside is not None:
                threading.Thread(target=_end_after, args=(beside,), daemon=True).start()
            until = "until none waits" if until_empty else "until Ctrl-C"
            err.print(f"driving studies of {opened.address} on {_count(pool.size)}, {until}")
            with Display(ends=True, notes=pool.notes) as display:
                driven = run_queue(
                    opened,
                    pool,
                    folders=models or (),
                    bounds=bounds,
                    at_once=at_once,
                    until_empty=until_empty,
                    watch=display,
                    listeners=[display.hear],
                    features=features,
                )
    except KeyboardInterrupt:
        raise Interrupted(
            "No study was taken yet.", "Start again with the same command."
        ) from None
    show_rows(list(driven.rows.values()), as_json)
    for name, what in driven.unable.items():
        err.print(Text(f"{name} waits on: {what}"))
    _complain(driven.errors)


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
                err.print(f"{count} on {_count(pool.size)} ({pool.device_kind})")
                with Display(notes=pool.notes) as display:
                    driven = launch.run(opened, pool, display, [display.hear])
                show_cost(display.studies, pool.busy_seconds)
    except KeyboardInterrupt:
        raise Interrupted(
            "Nothing was computed yet.", "Start again with the same command."
        ) from None
    rows, errors = {**launch.finished, **driven.rows}, launch.errors_of(driven)
    _finish({name: rows[name] for name in launch.names if name in rows}, as_json)
    _complain(errors)


def _check_alone(
    submit: str, ray_address: str | None, dry_run: bool = False, detach: bool = False
) -> None:
    """Raises UsageError where --submit stands beside what says otherwise."""
    if ray_address is not None:
        raise UsageError(
            f"A job runs on the cluster of {submit}; --ray-address names one as well.",
            "Leave one of them out (LAMBDA_SEARCH_RAY_ADDRESS, LAMBDA_SEARCH_SUBMIT).",
        )
    if dry_run or detach:
        raise UsageError(
            f"--submit does not go with --{'dry-run' if dry_run else 'detach'}.",
            "Leave one of them out; Ctrl-C leaves a job that was submitted running.",
        )


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, as service managers send it, ends the work like Ctrl-C: studies are given back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_after(process: int) -> None:
    """Ends this driver when the service that started it is gone, however that ended."""
    while os.getppid() == process:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


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
    _complain({name: driven_by(name, driver) for name, driver in elsewhere.items()})
    return []


def _finish(rows: Mapping[str, Row], as_json: bool) -> None:
    """Shows the rows that a launch comes to, by their studies, and the next command."""
    show_rows(list(rows.values()), as_json)
    if rows and not as_json:
        err.print(Text(f"\nnext: {command('report', next(iter(rows)))}"))


def show_rows(rows: list[Row], as_json: bool) -> None:
    """Shows what studies came to."""
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        out.print(row_panel(row))


def _complain(errors: Mapping[str, Exception]) -> None:
    """Raises the only error, or shows them all; the exit code is the first one's."""
    if len(errors) == 1:
        raise next(iter(errors.values()))
    for name, error in errors.items():
        if not isinstance(error, LambdaSearchError):
            error = LambdaSearchError(f"{type(error).__name__}: {error}")
        complain(error, name)
    if errors:
        raise typer.Exit(getattr(next(iter(errors.values())), "exit_code", 1))
