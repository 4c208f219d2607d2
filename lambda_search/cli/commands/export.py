"""`export`: rows as JSON or CSV, a row for ComfyUI, and studies as Optuna's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from typing import Literal

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import working
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.errors import UsageError
from lambda_search.exchange import export_rows
from lambda_search.exchange import pieces
from lambda_search.store.opened import asking
from lambda_search.store.store import Store

__all__ = ["export"]


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help=r"Models, with comfyui one; with --format optuna, studies. \[default: all]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Literal["json", "csv", "optuna", "comfyui"],
        typer.Option(
            "--format",
            envvar="LAMBDA_SEARCH_FORMAT",
            help="Rows of the lookup table as json or csv, one row as a node for ComfyUI, or "
            "studies as Optuna's.",
        ),
    ] = "json",
    to: Annotated[
        str | None,
        typer.Option(
            envvar="LAMBDA_SEARCH_TO",
            metavar="FILE|URL|DIR",
            help="Where to. With optuna: sqlite:///PATH, postgresql://…, or a journal file. With "
            r"comfyui: the node's folder in ComfyUI/custom_nodes. \[default: stdout]",
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            envvar="LAMBDA_SEARCH_ARTIFACTS",
            metavar="DIR",
            help="With optuna: also the trials' pictures, for optuna-dashboard --artifact-dir.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="With comfyui: the row's solver steps.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="With comfyui: ancestral, ddim … of the row.")
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(metavar="ID", help="With comfyui: the row by its id, or the id's start."),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Write rows for programs, other stores and ComfyUI, or copy studies to Optuna.

    All rows are written, superseded, retracted and published ones too; `db import` reads the file
    into another store, where nothing in a row is changed.

    With comfyui, it tells the constant for ComfyUI's own node, Forge and reForge, and which
    settings of ComfyUI take the row's steps; with --to, it writes a node that applies λ(σ).

    A copy in Optuna's storage is yours: one that you changed is never overwritten, and nor is a
    study of the same name that is no copy of this one.
    """
    if artifacts is not None and form != "optuna":
        raise UsageError(f"Rows as {form} have no pictures.", "Leave --artifacts out.")
    if form == "comfyui":
        from lambda_search.cli.commands.comfyui import export_to_comfyui

        export_to_comfyui(store, names or [], steps, sampler, row, to)
        return
    if steps is not None or sampler is not None or row is not None:
        raise UsageError(
            f"One row cannot be named with --format {form}.",
            "Leave --steps, --sampler and --row out.",
        )
    if form == "optuna":
        _copy(look(store), names or [], to, artifacts)
        return
    if to is None:
        with asking(store) as opened:
            for piece in pieces(opened, names or [], form):
                sys.stdout.buffer.write(piece.encode())  # a file's text, whatever a terminal has
        return
    if "://" in to:
        raise UsageError(
            f"{to.split('://')[0]}:// is no file.",
            "Rows go into a file; --format optuna copies studies into a database.",
        )
    count = export_rows(to, store, names or [], form)
    err.print(Text(f"{count:,} rows in {to}"))


def _copy(store: Store, names: Sequence[str], to: str | None, artifacts: Path | None) -> None:
    import optuna

    from lambda_search.store.optuna_view.copying import copy_studies

    if to is None:
        raise UsageError(
            "An export to Optuna needs a storage.", "Name one with: --to sqlite:///copy.db"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    named = names or [study.name for study in reversed(store.studies())]
    with working("copying"):
        copies = copy_studies(store, list(dict.fromkeys(named)), to, artifacts)
    for one in copies:
        err.print(Text(f"{one.name}: {one.trials} trials, {one.outcome}"))
