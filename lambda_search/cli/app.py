"""The application: its commands and global options."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

import typer

from lambda_search.cli.commands import apply
from lambda_search.cli.commands import confirm
from lambda_search.cli.commands import dashboard
from lambda_search.cli.commands import db
from lambda_search.cli.commands import demo
from lambda_search.cli.commands import diagnose
from lambda_search.cli.commands import doctor
from lambda_search.cli.commands import drive
from lambda_search.cli.commands import evaluate
from lambda_search.cli.commands import export
from lambda_search.cli.commands import init
from lambda_search.cli.commands import launch
from lambda_search.cli.commands import lookup
from lambda_search.cli.commands import models
from lambda_search.cli.commands import queue
from lambda_search.cli.commands import reference
from lambda_search.cli.commands import report
from lambda_search.cli.commands import serve
from lambda_search.cli.commands import status
from lambda_search.cli.examples import example
from lambda_search.downloads import go_offline

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "LAMBDA_SEARCH",
    },
    help="Finds, proves and serves the best Epsilon Scaling schedule λ(i) = b + k·i of a "
    "diffusion model.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 no entry, 130 interrupted.",
)

for command in (
    demo.demo,
    init.init,
    launch.launch,
    queue.submit,
    drive.drive,
    status.status,
    queue.wait,
    queue.stop,
    queue.resume,
    confirm.confirm,
    queue.rename,
    queue.remove,
    lookup.best,
    lookup.rows,
    apply.apply,
    queue.retract,
    diagnose.diagnose,
    evaluate.evaluate,
    report.report,
    export.export,
    serve.serve,
    dashboard.dashboard,
    doctor.doctor,
):
    app.command(epilog=example(command.__name__))(command)
app.add_typer(db.app, name="db")
app.add_typer(models.app, name="models")
app.add_typer(reference.app, name="reference")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("lambda-search"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option(envvar="LAMBDA_SEARCH_DEBUG", help="Show tracebacks of errors.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            envvar="LAMBDA_SEARCH_OFFLINE",
            help="Never ask the network; use local files.",
        ),
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, show_envvar=False, help="Show it."
        ),
    ] = False,
) -> None:
    if debug:
        os.environ["LAMBDA_SEARCH_DEBUG"] = "1"
    if offline:
        go_offline()
