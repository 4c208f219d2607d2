"""`confirm`: a finished study is proven again, or further, on images of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated
from typing import Any

import typer
from rich.text import Text

from lambda_search import studies as door
from lambda_search.cli.commands.queue import show_state
from lambda_search.cli.console import err
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Features
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import Hub
from lambda_search.cli.options import Models
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import Roots
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Workers
from lambda_search.cli.options import WorkersPerGpu
from lambda_search.cli.options import gpus_of
from lambda_search.cli.outcomes import show_rows
from lambda_search.cli.progress import Display
from lambda_search.cli.progress import show_cost
from lambda_search.cli.reading import look
from lambda_search.cli.signals import terminable
from lambda_search.cluster.opening import Opening
from lambda_search.errors import Interrupted
from lambda_search.remote import service_at
from lambda_search.spec import Bounds
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store

__all__ = ["confirm"]


def confirm(
    study: Annotated[str, typer.Argument(help="The study's name.")],
    samples: Annotated[
        int | None, typer.Option(help="Images for each candidate, at most with a precision.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="End as soon as the gain is known to this share of FID(1), like 1%.",
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(help="How many candidates.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only queue it; a service does it so in any case.")
    ] = False,
    models: Models = None,
    roots: Roots = None,
    hub: Hub = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    workers_per_gpu: WorkersPerGpu = None,
    features: Features = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Prove a finished study again, or further, on images that nobody has seen.

    Nothing is searched, and its file stays as it is. What is not given is as in that.
    """
    gpus = gpus_of(gpus, workers_per_gpu)
    told: dict[str, Any] = {"samples": samples, "precision": precision, "top": top}
    service = service_at(store)
    if detach or service is not None:
        opened = service or look(store)
        show_state(door.confirm(study, opened, **told), "queued", as_json)
        if door.nobody_drives(opened):
            err.print(Text(door.nobody_drives_now()))
        return
    try:
        with ExitStack() as stack:
            bounds = Bounds.of(roots or (), hub or ())
            door.proof_wanted(study, look(store), **told)  # before anything heavy is loaded
            here = Store(store, PATIENCE_SECONDS)
            stack.callback(here.close)
            here.check_writable()
            stack.enter_context(terminable())
            opening = stack.enter_context(Opening(workers, ray_address, gpus))
            with working("reading models"):
                opening.begin()
                from lambda_search.proving import prepare_proof

                proof = prepare_proof(study, here, models or (), bounds, features, **told)
            with working("starting workers"):
                pool = opening.pool()
            with Display(notes=pool.notes) as display:
                row = proof.run(here, pool, display, [display.hear])
            show_cost(display.studies, pool.busy_seconds)
    except KeyboardInterrupt:
        raise Interrupted(
            "Nothing that was computed is lost.", "Start again with the same command."
        ) from None
    show_rows([row], as_json)
