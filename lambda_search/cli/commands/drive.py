"""`drive`: queued studies are run, whoever submitted them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import working
from lambda_search.cli.job import check_alone
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
from lambda_search.cli.outcomes import raise_errors
from lambda_search.cli.outcomes import show_rows
from lambda_search.cli.progress import Display
from lambda_search.cli.running import counted
from lambda_search.cli.signals import end_with
from lambda_search.cli.signals import terminable
from lambda_search.cluster.opening import Opening
from lambda_search.errors import Interrupted
from lambda_search.spec import Bounds
from lambda_search.store.queue import Queue
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store

__all__ = ["drive"]


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
        check_alone(submit, ray_address)
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
                end_with(beside)
            until = "until none waits" if until_empty else "until Ctrl-C"
            err.print(f"driving studies of {opened.address} on {counted(pool.size)}, {until}")
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
            "Nothing that was computed is lost.", "Start again with the same command."
        ) from None
    show_rows(list(driven.rows.values()), as_json)
    for name, what in driven.unable.items():
        err.print(Text(f"{name} waits on: {what}"))
    raise_errors(driven.errors)
