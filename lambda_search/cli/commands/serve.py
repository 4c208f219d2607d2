"""`serve`: pages, REST and Optuna's dashboard."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.options import Features
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import Hub
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import Roots
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Workers
from lambda_search.cli.options import WorkersPerGpu
from lambda_search.cli.options import gpus_of
from lambda_search.errors import UsageError
from lambda_search.spec import Bounds
from lambda_search.store.address import Address

__all__ = ["serve"]

_TOKEN = "LAMBDA_SEARCH_TOKEN"
_SHORT = 16


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8000,
    drive: Annotated[
        bool, typer.Option("--drive", help="Run queued studies beside it, as `drive` does.")
    ] = False,
    public_read: Annotated[
        bool,
        typer.Option("--public-read", help="Let everybody read who can reach it."),
    ] = False,
    roots: Roots = None,
    hub: Hub = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            envvar="LAMBDA_SEARCH_NAME",
            metavar="HOST",
            help="A host name under which a proxy asks; several may be given.",
        ),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Tell every request on stderr, as JSON.")
    ] = False,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    workers_per_gpu: WorkersPerGpu = None,
    features: Features = None,
    store: StoreUrl = None,
) -> None:
    """Serve pages, REST and Optuna's dashboard on the store.

    Reading is open to this machine; who writes, or reads from elsewhere, needs the token in
    LAMBDA_SEARCH_TOKEN. Posted studies may name files in --roots, and repositories in --hub.
    """
    gpus = gpus_of(gpus, workers_per_gpu)
    from lambda_search.paths import store_url
    from lambda_search.service.app import create_app
    from lambda_search.service.running import Driver
    from lambda_search.service.running import run
    from lambda_search.service.settings import Settings

    Address.of(store_url(store))
    Bounds.of(roots or (), hub or ())
    settings = Settings(
        store=store,
        host=host,
        port=port,
        token=os.environ.get(_TOKEN, "").strip(),
        public_read=public_read,
        roots=tuple(roots or ()),
        hub=tuple(hub or ()),
        names=tuple(names or ()),
        log_json=log_json,
    )
    _check(settings.token, settings.open_to_read)

    with ExitStack() as stack:

        def started() -> None:
            err.print(Text(f"lambda_search: {settings.address}/   (Ctrl-C ends it)"))
            if drive:
                options = _options(workers, ray_address, gpus, roots, hub)
                stack.enter_context(Driver(store, options, features))

        run(create_app(settings), settings, started)


def _check(token: str, open_to_read: bool) -> None:
    """Says what the token lets nobody do.

    Raises:
        UsageError: if nobody could do anything.
    """
    if not token and not open_to_read:
        raise UsageError(
            "There, or behind a proxy, reading needs a token, and there is none.",
            f"Set {_TOKEN}, or let everybody read with --public-read.",
        )
    if not token:
        err.print(Text(f"Nobody can write: {_TOKEN} is not set."))
    elif len(token) < _SHORT:
        err.print(Text(f"The token is short; it can be guessed. Set a longer {_TOKEN}."))


def _options(
    workers: int | None,
    ray_address: str | None,
    gpus: float | None,
    roots: list[Path] | None,
    hub: list[str] | None,
) -> list[str]:
    """The driver's own."""
    told = {"--workers": workers, "--ray-address": ray_address, "--gpus": gpus}
    found: list[object] = []
    for name, value in told.items():
        found += [] if value is None else [name, value]
    found += [word for root in roots or () for word in ("--roots", root)]
    found += [word for one in hub or () for word in ("--hub", one)]
    return [str(word) for word in found]
